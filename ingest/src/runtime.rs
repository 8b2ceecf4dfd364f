//! ONNX Runtime: loaded once a process from the assets, one session a thread.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, TensorRef};

use crate::detect::InferError;
use crate::flush::FlushGuard;
use crate::model::ModelError;
use crate::provider::{self, Provider};

/// What becomes of subnormal numbers while a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Subnormals {
    /// They count as zero: ten times faster on some models, the answers the same to 1e-6.
    #[default]
    Flush,
    /// They are computed. Only for comparison.
    Keep,
}

/// How a model is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunOptions {
    pub(crate) subnormals: Subnormals,
    /// Threads that share the work of one call, the caller included; at least 1.
    pub(crate) threads: usize,
    pub(crate) provider: Provider,
}

impl RunOptions {
    /// On the caller's thread alone.
    pub(crate) fn one_thread(subnormals: Subnormals) -> Self {
        Self {
            subnormals,
            threads: 1,
            provider: Provider::Cpu,
        }
    }
}

/// The library in use and where it came from. One a process: ONNX Runtime cannot be unloaded.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads ONNX Runtime from `library`, or returns the one already loaded.
fn environment(library: &Path) -> Result<Environment, ModelError> {
    let failed = |why: String| ModelError::Runtime {
        path: library.to_path_buf(),
        why,
    };
    // Absolute, or the loader would look beside the executable first.
    let path = library
        .canonicalize()
        .map_err(|error| ModelError::of_file(library, &error))?;
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((from, environment)) = loaded.as_ref() {
        if *from != path {
            return Err(failed(format!(
                "this process already uses {}",
                from.display()
            )));
        }
        return Ok(environment.clone());
    }
    let environment = ort::init_from(&path)
        .map_err(|e| failed(e.to_string()))?
        .with_name("rollcall")
        .with_telemetry(false)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

/// A loaded model that runs on the thread that calls it, and on as many more as it was given.
pub(crate) struct Session {
    model: String,
    inner: OrtSession,
    subnormals: Subnormals,
}

/// A tensor that came out of a model.
pub(crate) struct Output {
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// Its values, last dimension fastest.
    pub(crate) values: Vec<f32>,
}

impl Session {
    /// Loads the model in `bytes`; `model` is its id, for messages.
    pub(crate) fn load(
        library: &Path,
        model: &str,
        bytes: &[u8],
        options: RunOptions,
    ) -> Result<Self, ModelError> {
        let environment = environment(library)?;
        // Loading folds constants, which must not be slow or leave subnormals either.
        let subnormals = options.subnormals;
        let _guard = (subnormals == Subnormals::Flush).then(FlushGuard::new);
        let inner = build(&environment, bytes, options).map_err(|why| ModelError::Load {
            model: model.to_owned(),
            why,
        })?;
        Ok(Self {
            model: model.to_owned(),
            inner,
            subnormals,
        })
    }

    /// The name and dimensions (`None` where any size goes) of each f32 input.
    pub(crate) fn inputs(&self) -> Vec<(String, Vec<Option<usize>>)> {
        outlets(self.inner.inputs())
    }

    /// The name and dimensions (`None` where any size goes) of each f32 output.
    pub(crate) fn outputs(&self) -> Vec<(String, Vec<Option<usize>>)> {
        outlets(self.inner.outputs())
    }

    /// Runs the model on one input of this shape; gives the outputs named, in that order.
    pub(crate) fn run(
        &mut self,
        input: &str,
        shape: [usize; 4],
        values: &[f32],
        outputs: &[&str],
    ) -> Result<Vec<Output>, InferError> {
        let failed = |model: &str, why: String| InferError::Runtime {
            model: model.to_owned(),
            why,
        };
        let tensor = TensorRef::from_array_view((shape, values))
            .map_err(|e| failed(&self.model, e.to_string()))?;
        let results = {
            let _guard = (self.subnormals == Subnormals::Flush).then(FlushGuard::new);
            self.inner.run(ort::inputs![input => tensor])
        }
        .map_err(|e| failed(&self.model, e.to_string()))?;
        let mut found = Vec::with_capacity(outputs.len());
        for name in outputs {
            let value = results.get(*name).ok_or_else(|| InferError::Output {
                model: self.model.clone(),
                why: format!("there is no output named {name}"),
            })?;
            let (shape, values) =
                value
                    .try_extract_tensor::<f32>()
                    .map_err(|e| InferError::Output {
                        model: self.model.clone(),
                        why: format!("{name}: {e}"),
                    })?;
            let shape = shape
                .iter()
                .map(|d| usize::try_from(*d).unwrap_or(0))
                .collect();
            found.push(Output {
                shape,
                values: values.to_vec(),
            });
        }
        Ok(found)
    }
}

fn build(
    environment: &Environment,
    bytes: &[u8],
    options: RunOptions,
) -> Result<OrtSession, String> {
    let session = || -> ort::Result<OrtSession> {
        let mut builder = OrtSession::builder(environment)?
            .with_intra_threads(options.threads.max(1))?
            .with_inter_threads(1)?
            // A thread that waits must not keep another one from its core.
            .with_intra_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_log_level(LogLevel::Error)?;
        if options.subnormals == Subnormals::Flush {
            // Of the runtime's own threads; the caller's is seen to at each call.
            builder = builder.with_flush_to_zero()?;
        }
        provider::register(builder, options)?.commit_from_memory(bytes)
    };
    session().map_err(|e| e.to_string())
}

/// Outlets of any other kind than f32 tensors are left out, so that a search by name misses them.
fn outlets(outlets: &[Outlet]) -> Vec<(String, Vec<Option<usize>>)> {
    outlets
        .iter()
        .filter(|o| o.dtype().tensor_type() == Some(TensorElementType::Float32))
        .map(|o| {
            let shape = o.dtype().tensor_shape();
            let sizes = shape
                .map(|s| s.iter().map(|d| usize::try_from(*d).ok()).collect())
                .unwrap_or_default();
            (o.name().to_owned(), sizes)
        })
        .collect()
}
