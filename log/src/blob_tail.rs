//! Opening, the blobs' part: where the last segment ends, and whether it can go on.
use std::io;

use crate::blobs::Growing;
use crate::error::{OpenError, Trouble};
use crate::format::header::{HEADER_BYTES, SegmentKind};
use crate::format::{FORMAT_VERSION, FormatError, blob};
use crate::id::LogId;
use crate::open::header_error;
use crate::segment::{self, OpenSegment, SegmentError};
use crate::storage::{Access, Storage};

/// Where blobs go on.
#[derive(Default)]
pub(crate) struct BlobTail {
    /// The last segment, if it ends in a whole blob.
    pub(crate) growing: Option<Growing>,
    /// Bytes of all blob segments.
    pub(crate) bytes: u64,
    /// The last segment, if it does not.
    pub(crate) left: Option<String>,
}

/// Measures the blob segments, and takes up the last one where it ends in a whole blob.
pub(crate) fn read_blobs(
    storage: &dyn Storage,
    numbers: &[u64],
    log: LogId,
) -> Result<BlobTail, OpenError> {
    let mut tail = BlobTail::default();
    for &number in numbers {
        let name = segment::name(SegmentKind::Blobs, number);
        let at = |action| Trouble::at(storage.locate(&name), action);
        let file = storage
            .open(&name, Access::Read)
            .map_err(at("open the file"))?;
        tail.bytes += file.len().map_err(at("read the length"))?;
    }
    let Some(&number) = numbers.last() else {
        return Ok(tail);
    };
    let mut outdated = false;
    let name = segment::name(SegmentKind::Blobs, number);
    match segment::open(storage, SegmentKind::Blobs, number, Access::Write) {
        Ok(opened) if opened.header.log == log => {
            let at = |action| Trouble::at(storage.locate(&name), action);
            let length = opened.file.len().map_err(at("read the length"))?;
            if walk_blobs(&opened, length).map_err(at("read"))? == length {
                // What a killed process left unsynced lies before what comes next.
                opened.file.sync().map_err(at("sync"))?;
                // Sealed blobs do not belong into a segment of a version that knew none.
                outdated = opened.header.version < FORMAT_VERSION;
                tail.growing = Some(Growing {
                    segment: opened,
                    written: length,
                });
            }
        }
        // Blobs of another log, or damage: found out where they are read.
        Ok(_) => {}
        Err(SegmentError::Damaged(what)) if !matches!(what, FormatError::Version { .. }) => {}
        Err(error) => return Err(header_error(storage, SegmentKind::Blobs, number, error)),
    }
    if outdated {
        tail.growing = None;
    } else if tail.growing.is_none() {
        tail.left = Some(storage.locate(&name));
    }
    Ok(tail)
}

/// Walks a blob segment by its headers alone and returns where the sound ones end.
fn walk_blobs(opened: &OpenSegment, length: u64) -> io::Result<u64> {
    let mut offset = HEADER_BYTES as u64;
    let mut bytes = [0; blob::BLOB_HEADER_BYTES];
    while offset < length {
        let read = opened.file.read_at(offset, &mut bytes)?;
        let header = blob::decode(bytes.get(..read).unwrap_or_default(), opened.salt, offset);
        match header.map(|header| offset + header.bytes() as u64) {
            Ok(next) if next <= length => offset = next,
            Ok(_) | Err(_) => break,
        }
    }
    Ok(offset)
}
