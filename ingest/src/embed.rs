//! Whose face is it? The seam between the pipeline and whatever embedder is loaded.

use rollcall_index::Embedding;

use crate::align::AlignedCrop;
use crate::detect::InferError;

/// Turns aligned faces into embeddings. One belongs to one thread at a time.
pub trait Embedder: Send {
    /// One embedding a crop, in the order of `crops`.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run or gives no usable vector.
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError>;

    /// How many values an embedding has.
    fn dimension(&self) -> usize;
}
