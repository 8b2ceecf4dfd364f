//! What a second contract takes on disk.

use crate::core::View;
use crate::disk::Room;
use crate::error::ApiError;
use std::path::Path;

/// Bytes that an exemplar takes in the log beside its embedding: the blob's header and padding, and its part of
/// a record.
const EXEMPLAR_BYTES: u64 = 128;

/// Bytes of disk that embeddings of `dimension` values take for all exemplars, and their index.
pub(super) fn needed(view: &View, dimension: usize) -> u64 {
    let whole = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let embeddings = whole(dimension).saturating_mul(2) + EXEMPLAR_BYTES;
    let embeddings = embeddings.saturating_mul(view.progress.total);
    // An index grows with the number of values.
    let index = whole(view.index.stats().bytes).saturating_mul(whole(dimension));
    embeddings.saturating_add(index / whole(view.index.dimension()).max(1))
}

/// Whether so much is free in the data folder.
pub(super) fn check(data: &Path, needed: u64) -> Result<(), ApiError> {
    let Some(room) = Room::of(data) else {
        // A disk that says nothing is not known to be full; one that is refuses writes, and is waited for.
        return Ok(());
    };
    enough(data, needed, room.free)
}

fn enough(data: &Path, needed: u64, free: u64) -> Result<(), ApiError> {
    if free >= needed {
        return Ok(());
    }
    Err(ApiError::NoSpace {
        needed,
        free,
        path: data.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_told_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), 1).unwrap();
        let error = check(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(error.reason(), "MIGRATION_NO_SPACE");
        assert!(error.to_string().contains("make room"), "{error}");
        enough(folder.path(), 10, 10).unwrap();
        assert!(enough(folder.path(), 11, 10).is_err());
    }
}
