//! Whose face is it? The seam between the pipeline and whatever embedder is loaded.

use std::sync::Arc;

use rollcall_index::Embedding;

use crate::align::{ALIGNED_SIDE, AlignedCrop};
use crate::detect::InferError;
use crate::model::{EmbedderManifest, ModelError};
use crate::picture::PictureRef;
use crate::runtime::{Output, Session};
use crate::tensor::{Normalisation, push_planes};

/// How many crops go through the model at once. Beyond this nothing is gained and memory grows.
pub const EMBED_BATCH_MAX: usize = 16;

/// Turns aligned faces into embeddings. One belongs to one thread at a time.
pub trait Embedder: Send {
    /// One embedding a crop, in the order of `crops`.
    ///
    /// At most [`EMBED_BATCH_MAX`] crops go through the model at once. The same crops in the same
    /// call give the same embeddings, to the bit, on one machine; in another batch they may differ
    /// in the last bits.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run or gives no usable vector.
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError>;

    /// How many values an embedding has.
    fn dimension(&self) -> usize;
}

/// A model of the `ArcFace` family: an aligned 112x112 face in, one vector out.
pub(crate) struct ArcFaceEmbedder {
    session: Session,
    manifest: Arc<EmbedderManifest>,
    planes: Vec<f32>,
}

impl ArcFaceEmbedder {
    /// An embedder over `session`, whose input and output must be those of the manifest.
    pub(crate) fn new(
        session: Session,
        manifest: Arc<EmbedderManifest>,
    ) -> Result<Self, ModelError> {
        let side = ALIGNED_SIDE as usize;
        let needed = [
            (session.inputs(), &manifest.input.name, vec![3, side, side]),
            (
                session.outputs(),
                &manifest.output.name,
                vec![manifest.output.dim],
            ),
        ];
        for (tensors, name, sizes) in needed {
            let found = tensors
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, shape)| shape);
            let fits = found.is_some_and(|shape| {
                shape.len() == sizes.len() + 1
                    && shape[0].is_none()
                    && shape[1..]
                        .iter()
                        .zip(&sizes)
                        .all(|(a, b)| a.is_none_or(|a| a == *b))
            });
            if !fits {
                return Err(ModelError::WrongShape {
                    model: manifest.model.id.clone(),
                    tensor: name.clone(),
                    expected: format!("f32 of any batch of {sizes:?}"),
                    found: found.map_or("not there (or not f32)".to_owned(), |s| format!("{s:?}")),
                });
            }
        }
        Ok(Self {
            session,
            manifest,
            planes: Vec::new(),
        })
    }

    /// The output for pictures of the network's size, as the model gives it.
    pub(crate) fn raw(&mut self, pictures: &[PictureRef<'_>]) -> Result<Output, InferError> {
        let input = &self.manifest.input;
        let how = Normalisation {
            channels: input.channels,
            mean: input.mean,
            std: input.std,
        };
        self.planes.clear();
        for picture in pictures {
            push_planes(*picture, &how, &mut self.planes);
        }
        let side = ALIGNED_SIDE as usize;
        let shape = [pictures.len(), 3, side, side];
        let name = self.manifest.output.name.as_str();
        let output = self
            .session
            .run(&input.name, shape, &self.planes, &[name])?
            .remove(0);
        let expected = [pictures.len(), self.manifest.output.dim];
        if output.shape == expected {
            return Ok(output);
        }
        let why = format!("{name} has shape {:?}, not {expected:?}", output.shape);
        Err(InferError::Output {
            model: self.manifest.model.id.clone(),
            why,
        })
    }
}

impl Embedder for ArcFaceEmbedder {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        let mut embeddings = Vec::with_capacity(crops.len());
        for batch in crops.chunks(EMBED_BATCH_MAX) {
            let pictures: Vec<PictureRef<'_>> = batch.iter().map(|c| c.picture().view()).collect();
            let output = self.raw(&pictures)?;
            for values in output.values.chunks_exact(self.manifest.output.dim) {
                let embedding = Embedding::normalise(values.to_vec()).map_err(|error| {
                    let (model, why) = (self.manifest.model.id.clone(), error.to_string());
                    InferError::Output { model, why }
                })?;
                embeddings.push(embedding);
            }
        }
        Ok(embeddings)
    }

    fn dimension(&self) -> usize {
        self.manifest.output.dim
    }
}
