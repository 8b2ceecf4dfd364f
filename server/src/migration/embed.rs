//! A batch of exemplars, embedded again from their aligned crops.

use crate::core::{Pending, Reembedding};
use crate::error::ApiError;
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{AlignedCrop, Embedder};
use rollcall_log::{BlobError, LogReader};

/// Far more than a crop of 112x112 pixels takes.
const LIMITS: PhotoLimits = PhotoLimits {
    bytes_max: 1 << 20,
    pixels_max: 1 << 16,
};

/// Embeds what has a crop that can be read; blocking.
///
/// # Errors
/// [`ApiError::Infer`]; [`ApiError::Blob`] where the system refuses a read, which may heal.
pub(super) fn embed(
    log: &LogReader,
    embedder: &mut dyn Embedder,
    batch: Vec<Pending>,
) -> Result<Vec<Reembedding>, ApiError> {
    let mut all = Vec::with_capacity(batch.len());
    let (mut places, mut crops) = (Vec::new(), Vec::new());
    for pending in batch {
        if let Some(crop) = crop(log, &pending)? {
            places.push(all.len());
            crops.push(crop);
        }
        all.push(Reembedding {
            exemplar: pending.exemplar,
            embedding: None,
        });
    }
    for (place, embedding) in places.into_iter().zip(embedder.embed(&crops)?) {
        all[place].embedding = Some(embedding.to_f16_bytes());
    }
    Ok(all)
}

/// The exemplar's aligned crop; `None` if it has none, or none that is one.
fn crop(log: &LogReader, pending: &Pending) -> Result<Option<AlignedCrop>, ApiError> {
    let Some(reference) = &pending.crop else {
        return Ok(None);
    };
    let why = match log.blob(reference) {
        Ok(bytes) => match photo::decode(&bytes, &LIMITS) {
            Ok(picture) => match AlignedCrop::from_picture(picture) {
                Some(crop) => return Ok(Some(crop)),
                None => "it is no picture of 112x112 pixels".to_owned(),
            },
            Err(error) => error.to_string(),
        },
        Err(BlobError::Erased) => return Ok(None),
        Err(error @ BlobError::Io { .. }) => return Err(error.into()),
        Err(
            error @ (BlobError::Missing { .. }
            | BlobError::Corrupt { .. }
            | BlobError::BadReference { .. }),
        ) => error.to_string(),
    };
    tracing::warn!(
        exemplar = pending.exemplar,
        why,
        "a crop cannot be embedded again"
    );
    Ok(None)
}
