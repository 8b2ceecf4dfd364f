//! Segment files: their names, and how one comes into being.
use std::io;
use std::sync::Arc;

use crate::error::Trouble;
use crate::format::header::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::format::{FormatError, Salt};
use crate::storage::{Access, Storage, StorageFile};

/// Folder of the record segments.
pub(crate) const RECORDS: &str = "records";
/// Folder of the blob segments.
pub(crate) const BLOBS: &str = "blobs";
/// Folder of the key segments.
pub(crate) const KEYS: &str = "keys";
/// What a file is called until it is whole.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Returns the folder and the ending of segments of this kind.
fn place(kind: SegmentKind) -> (&'static str, &'static str) {
    match kind {
        SegmentKind::Records => (RECORDS, ".seg"),
        SegmentKind::Blobs => (BLOBS, ".blob"),
        SegmentKind::Keys => (KEYS, ".keys"),
    }
}

/// Returns the name of a segment within the storage.
pub(crate) fn name(kind: SegmentKind, number: u64) -> String {
    let (folder, ending) = place(kind);
    format!("{folder}/{number:020}{ending}")
}

/// Returns the number in a file name (without folder), `None` if it is no segment's.
pub(crate) fn number(kind: SegmentKind, file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(place(kind).1)?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// A segment that was opened, its header checked.
#[derive(Clone)]
pub(crate) struct OpenSegment {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) header: SegmentHeader,
    pub(crate) salt: Salt,
}

/// Why a segment could not be opened.
#[derive(Debug)]
pub(crate) enum SegmentError {
    Io(io::Error),
    Damaged(FormatError),
}

/// Opens a segment and checks that its header is whole and says what its name says.
pub(crate) fn open(
    storage: &dyn Storage,
    kind: SegmentKind,
    number: u64,
    access: Access,
) -> Result<OpenSegment, SegmentError> {
    let file = storage
        .open(&name(kind, number), access)
        .map_err(SegmentError::Io)?;
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes).map_err(SegmentError::Io)?;
    let bytes = bytes.get(..read).unwrap_or_default();
    let (header, salt) = SegmentHeader::decode(bytes, kind).map_err(SegmentError::Damaged)?;
    if header.number != number {
        return Err(SegmentError::Damaged(FormatError::Field {
            field: "the segment's number",
        }));
    }
    Ok(OpenSegment { file, header, salt })
}

/// Creates a segment that holds its header alone: under a temporary name, synced, renamed, its
/// folder synced. Costs two syncs.
pub(crate) fn create(storage: &dyn Storage, header: SegmentHeader) -> Result<OpenSegment, Trouble> {
    let name = name(header.kind, header.number);
    let temporary = format!("{name}{TEMPORARY}");
    let (bytes, salt) = header.encode();
    // Left over from an earlier attempt that failed half-way; usually there is none.
    let _ = storage.remove(&temporary);
    let made = (|| {
        let file = storage
            .create(&temporary)
            .map_err(Trouble::at(storage.locate(&temporary), "create the file"))?;
        file.write_at(0, &bytes)
            .map_err(Trouble::at(storage.locate(&temporary), "write"))?;
        file.sync()
            .map_err(Trouble::fatal(storage.locate(&temporary), "sync"))?;
        storage
            .rename(&temporary, &name)
            .map_err(Trouble::at(storage.locate(&temporary), "rename the file"))?;
        Ok(file)
    })();
    let file = made.inspect_err(|_| {
        let _ = storage.remove(&temporary);
    })?;
    let folder = place(header.kind).0;
    storage
        .sync_folder(folder)
        .map_err(Trouble::fatal(storage.locate(folder), "sync"))?;
    Ok(OpenSegment { file, header, salt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        assert_eq!(
            name(SegmentKind::Records, 1),
            "records/00000000000000000001.seg"
        );
        assert_eq!(
            name(SegmentKind::Blobs, u64::MAX),
            "blobs/18446744073709551615.blob"
        );
        let parse = |name| number(SegmentKind::Records, name);
        assert_eq!(parse("00000000000000000012.seg"), Some(12));
        for other in [
            "12.seg",
            "+0000000000000000012.seg",
            "00000000000000000012.seg.tmp",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
