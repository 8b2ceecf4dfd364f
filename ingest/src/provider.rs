//! Execution providers: what else than ONNX Runtime's own kernels may run the models.
//!
//! Each needs a feature of this crate, and an ONNX Runtime that has it in `onnxruntime/` of the
//! assets. Embeddings of one provider differ from another's in the last bits.

use ort::session::builder::SessionBuilder;

use crate::runtime::RunOptions;

/// What runs the models.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// OpenVINO on the CPU (feature `openvino`).
    Openvino,
    /// The first NVIDIA GPU (feature `cuda`).
    Cuda,
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "the CPU",
            Self::Openvino => "OpenVINO",
            Self::Cuda => "CUDA",
        })
    }
}

/// Asks for the provider; an error if it cannot be had.
pub(crate) fn register(
    builder: SessionBuilder,
    options: RunOptions,
) -> ort::Result<SessionBuilder> {
    match options.provider {
        Provider::Cpu => Ok(builder),
        Provider::Openvino => openvino(builder, options),
        Provider::Cuda => cuda(builder),
    }
}

#[cfg(feature = "openvino")]
fn openvino(builder: SessionBuilder, options: RunOptions) -> ort::Result<SessionBuilder> {
    use ort::ep::{ArbitrarilyConfigurableExecutionProvider, OpenVINO};
    let provider = OpenVINO::default()
        .with_device_type("CPU")
        .with_num_threads(options.threads)
        .with_num_streams(1)
        .with_arbitrary_config(
            "load_config",
            r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f32","CPU_DENORMALS_OPTIMIZATION":"YES"}}"#,
        );
    Ok(builder.with_execution_providers([provider.build().error_on_failure()])?)
}

#[cfg(not(feature = "openvino"))]
fn openvino(_: SessionBuilder, _: RunOptions) -> ort::Result<SessionBuilder> {
    Err(not_built("openvino"))
}

#[cfg(feature = "cuda")]
fn cuda(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
    let provider = ort::ep::CUDA::default().with_tf32(false).build();
    Ok(builder.with_execution_providers([provider.error_on_failure()])?)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: SessionBuilder) -> ort::Result<SessionBuilder> {
    Err(not_built("cuda"))
}

#[cfg(not(all(feature = "openvino", feature = "cuda")))]
fn not_built(feature: &str) -> ort::Error {
    ort::Error::new(format!(
        "the program was built without it (cargo build --features {feature})"
    ))
}
