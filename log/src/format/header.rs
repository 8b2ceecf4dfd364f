//! The 64 bytes at the start of every segment, of records, blobs or keys.
use super::{FORMAT_VERSION, FORMAT_VERSION_FIRST, FormatError, Salt, array};
use crate::id::LogId;

const MAGIC: usize = 0;
const VERSION: usize = MAGIC + 8;
const RESERVED_A: usize = VERSION + 2;
const HEADER_LENGTH: usize = RESERVED_A + 2;
const LOG_ID: usize = HEADER_LENGTH + 4;
const EPOCH: usize = LOG_ID + 16;
const NUMBER: usize = EPOCH + 8;
const RESERVED_B: usize = NUMBER + 8;
const CHECKSUM: usize = RESERVED_B + 12;

/// Bytes of a segment header.
pub(crate) const HEADER_BYTES: usize = CHECKSUM + 4;
const HEADER_BYTES_U32: u32 = 64;
const _: () = assert!(HEADER_BYTES == HEADER_BYTES_U32 as usize && HEADER_BYTES.is_multiple_of(8));

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Records,
    Blobs,
    Keys,
}

impl SegmentKind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Records => *b"RollcRec",
            Self::Blobs => *b"RollcBlb",
            Self::Keys => *b"RollcKey",
        }
    }
}

/// The identity of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) kind: SegmentKind,
    pub(crate) log: LogId,
    pub(crate) epoch: u64,
    /// The first sequence (records) or the segment's number (blobs, keys), from 1.
    pub(crate) number: u64,
    /// The format of what it holds.
    pub(crate) version: u16,
}

impl SegmentHeader {
    /// Returns the header's bytes, and the salt for what follows it.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], Salt) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[MAGIC..VERSION].copy_from_slice(&self.kind.magic());
        bytes[VERSION..RESERVED_A].copy_from_slice(&self.version.to_le_bytes());
        bytes[HEADER_LENGTH..LOG_ID].copy_from_slice(&HEADER_BYTES_U32.to_le_bytes());
        bytes[LOG_ID..EPOCH].copy_from_slice(&self.log.to_bytes());
        bytes[EPOCH..NUMBER].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[NUMBER..RESERVED_B].copy_from_slice(&self.number.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM]);
        bytes[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        (bytes, Salt(checksum))
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// The checksum has its place in every version, so that a damaged version number is told from
    /// a newer one.
    pub(crate) fn decode(bytes: &[u8], kind: SegmentKind) -> Result<(Self, Salt), FormatError> {
        let found = bytes.len() as u64;
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(FormatError::Short {
                needed: HEADER_BYTES as u64,
                found,
            });
        };
        if array(bytes, MAGIC) != Some(kind.magic()) {
            return Err(FormatError::Magic);
        }
        let version = u16::from_le_bytes(fixed(bytes, VERSION));
        let checksum = u32::from_le_bytes(fixed(bytes, CHECKSUM));
        if crc32c::crc32c(&bytes[..CHECKSUM]) != checksum {
            return Err(FormatError::Checksum);
        }
        if !(FORMAT_VERSION_FIRST..=FORMAT_VERSION).contains(&version) {
            return Err(FormatError::Version { found: version });
        }
        if u32::from_le_bytes(fixed(bytes, HEADER_LENGTH)) != HEADER_BYTES_U32 {
            return Err(FormatError::Field {
                field: "the header's length",
            });
        }
        if fixed::<2>(bytes, RESERVED_A) != [0; 2] || fixed::<12>(bytes, RESERVED_B) != [0; 12] {
            return Err(FormatError::Field {
                field: "a reserved field",
            });
        }
        let header = Self {
            kind,
            log: LogId::from_bytes(fixed(bytes, LOG_ID)),
            epoch: u64::from_le_bytes(fixed(bytes, EPOCH)),
            number: u64::from_le_bytes(fixed(bytes, NUMBER)),
            version,
        };
        if header.epoch == 0 || header.number == 0 {
            return Err(FormatError::Field {
                field: "the epoch or the number",
            });
        }
        Ok((header, Salt(checksum)))
    }
}

/// The `N` bytes at the constant offset `at` of a header.
fn fixed<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    array(bytes, at).expect("the offsets above lie within the header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        let log = LogId::from_bytes([7; 16]);
        SegmentHeader {
            kind: SegmentKind::Records,
            log,
            epoch: 3,
            number: 41,
            version: FORMAT_VERSION,
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _) = header().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            SegmentHeader::decode(&damaged, SegmentKind::Records).unwrap_err();
        }
        let other = SegmentHeader::decode(&bytes, SegmentKind::Blobs);
        assert_eq!(other, Err(FormatError::Magic));
    }

    #[test]
    fn a_newer_version_is_told_from_a_damaged_one() {
        let (mut bytes, _) = header().encode();
        bytes[VERSION] = 3;
        let damaged = SegmentHeader::decode(&bytes, SegmentKind::Records);
        assert_eq!(damaged, Err(FormatError::Checksum));
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM]);
        bytes[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        let newer = SegmentHeader::decode(&bytes, SegmentKind::Records);
        assert_eq!(newer, Err(FormatError::Version { found: 3 }));
    }

    proptest! {
        #[test]
        fn decode_after_encode(log: [u8; 16], epoch in 1u64.., number in 1u64.., version in 1..=FORMAT_VERSION) {
            for kind in [SegmentKind::Records, SegmentKind::Blobs, SegmentKind::Keys] {
                let log = LogId::from_bytes(log);
                let header = SegmentHeader { kind, log, epoch, number, version };
                let (bytes, salt) = header.encode();
                prop_assert_eq!(SegmentHeader::decode(&bytes, kind), Ok((header, salt)));
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = SegmentHeader::decode(&bytes, SegmentKind::Records);
            let _ = SegmentHeader::decode(&bytes, SegmentKind::Blobs);
        }
    }
}
