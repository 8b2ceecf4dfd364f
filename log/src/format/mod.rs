//! Bytes to values and back, without I/O. `log/FORMAT.md` is the reference.
pub(crate) mod blob;
pub(crate) mod entry;
pub(crate) mod header;
pub(crate) mod key;

/// The format that this build writes. It reads all from [`FORMAT_VERSION_FIRST`] on.
pub const FORMAT_VERSION: u16 = 2;

/// The first format.
pub const FORMAT_VERSION_FIRST: u16 = 1;

/// Largest encoded record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Largest blob, in bytes.
pub const BLOB_BYTES_MAX: usize = 16 << 20;

/// Entries and blobs start at multiples of this many bytes.
pub(crate) const ALIGNMENT: usize = 8;

/// What the checksums of a segment start from: the checksum of its header, which holds the log's
/// id and the segment's number. An entry of another log or segment never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u32);

impl Salt {
    /// CRC-32C of the parts, one after the other, continued from the salt.
    fn checksum(self, parts: &[&[u8]]) -> u32 {
        parts
            .iter()
            .fold(self.0, |crc, part| crc32c::crc32c_append(crc, part))
    }
}

/// What is wrong with some bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("cut short: {found} bytes where {needed} are needed")]
    Short { needed: u64, found: u64 },
    #[error("not a segment of this kind (its first eight bytes are wrong)")]
    Magic,
    #[error("format v{found}")]
    Version { found: u16 },
    #[error("the checksum does not match")]
    Checksum,
    #[error("length {found} is more than {max}")]
    Length { found: u64, max: u64 },
    #[error("{field} has an impossible value")]
    Field { field: &'static str },
    #[error("record {found} lies here instead")]
    Sequence { found: u64 },
}

/// Rounds up to the next multiple of [`ALIGNMENT`].
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The `N` bytes at `at`, or `None` past the end.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}
