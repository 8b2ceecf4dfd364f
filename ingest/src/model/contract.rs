//! The contract: which embeddings may be compared.

use sha2::{Digest, Sha256};

use super::manifest::EmbedderManifest;

/// The version of what happens to a face before the embedder sees it (alignment, sampling). A
/// change that moves embeddings raises it, and with it every contract.
pub const PREPROCESSING_VERSION: u32 = 1;

/// What embeddings must have in common to be compared: model, preprocessing, dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contract {
    id: String,
    dimension: usize,
}

impl Contract {
    /// The contract of embeddings made with the model of `manifest`.
    ///
    /// Its id is `rc1-` and the SHA-256, in hex, of the embedder's id, version, file hash,
    /// channels, mean, std, alignment and dimension and [`PREPROCESSING_VERSION`], each as text
    /// after its length in bytes (8 bytes, little-endian).
    #[must_use]
    pub fn of(manifest: &EmbedderManifest) -> Self {
        let numbers = |values: &[f32; 3]| values.map(|v| v.to_string()).join(",");
        let parts = [
            manifest.model.id.clone(),
            manifest.model.version.clone(),
            manifest.model.sha256.clone(),
            manifest.input.channels.name().to_owned(),
            numbers(&manifest.input.mean),
            numbers(&manifest.input.std),
            manifest.input.align.name().to_owned(),
            manifest.output.dim.to_string(),
            PREPROCESSING_VERSION.to_string(),
        ];
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let id = format!("rc1-{}", hex(&hasher.finalize()));
        Self {
            id,
            dimension: manifest.output.dim,
        }
    }

    /// The id, such as `rc1-` and 64 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many values an embedding has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

impl std::fmt::Display for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}

/// Two lower-case hex digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
