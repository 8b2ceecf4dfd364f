//! The entries of a blob segment.
use sha2::{Digest as _, Sha256};

use super::{BLOB_BYTES_MAX, FormatError, Salt, array, padded};

const MAGIC_VALUE: [u8; 4] = *b"Blob";
const LIVE: [u8; 4] = [0; 4];

const MAGIC: usize = 0;
const LENGTH: usize = MAGIC + 4;
const DIGEST: usize = LENGTH + 4;
const CHECKSUM: usize = DIGEST + DIGEST_BYTES;

/// Where the mark of erasure lies in a blob's header.
pub(crate) const STATE: usize = CHECKSUM + 4;
/// What is written there by an erasure. Aligned, so that no disk tears it.
pub(crate) const STATE_ERASED: [u8; 4] = *b"Gone";
/// Bytes before a blob's payload.
pub(crate) const BLOB_HEADER_BYTES: usize = STATE + 4;
const _: () =
    assert!(BLOB_HEADER_BYTES.is_multiple_of(super::ALIGNMENT) && STATE.is_multiple_of(4));

/// Bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 16;

/// The first 16 bytes of the SHA-256 of a payload.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// What a blob's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobHeader {
    /// Payload bytes, at most [`BLOB_BYTES_MAX`].
    pub(crate) length: usize,
    pub(crate) digest: Digest,
    pub(crate) state: BlobState,
}

/// Whether a blob can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobState {
    Live,
    Erased,
    /// Neither: damage, or an erasure that failed half-way. It can be erased again.
    Unclear,
}

impl BlobHeader {
    /// Bytes that the blob takes, header and padding included.
    pub(crate) fn bytes(&self) -> usize {
        BLOB_HEADER_BYTES + padded(self.length)
    }
}

/// Returns the digest of a payload.
pub(crate) fn digest(payload: &[u8]) -> Digest {
    let whole: [u8; 32] = Sha256::digest(payload).into();
    array(&whole, 0).expect("16 of 32 bytes")
}

/// Appends a blob to `out`; it will lie at `offset` of its segment.
pub(crate) fn push(out: &mut Vec<u8>, salt: Salt, offset: u64, payload: &[u8]) -> Digest {
    let digest = digest(payload);
    let length = u32::try_from(payload.len())
        .expect("at most BLOB_BYTES_MAX")
        .to_le_bytes();
    out.extend_from_slice(&MAGIC_VALUE);
    out.extend_from_slice(&length);
    out.extend_from_slice(&digest);
    let parts: [&[u8]; 4] = [&offset.to_le_bytes(), &MAGIC_VALUE, &length, &digest];
    out.extend_from_slice(&salt.checksum(&parts).to_le_bytes());
    out.extend_from_slice(&LIVE);
    out.extend_from_slice(payload);
    out.resize(out.len() + padded(payload.len()) - payload.len(), 0);
    digest
}

/// Reads the header of the blob at `offset` of its segment from the start of `bytes`.
pub(crate) fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Result<BlobHeader, FormatError> {
    let Some(head) = bytes.first_chunk::<BLOB_HEADER_BYTES>() else {
        let needed = BLOB_HEADER_BYTES as u64;
        return Err(FormatError::Short {
            needed,
            found: bytes.len() as u64,
        });
    };
    let (covered, rest) = head.split_at(CHECKSUM);
    let (checksum, state) = rest.split_at(STATE - CHECKSUM);
    if !covered.starts_with(&MAGIC_VALUE) {
        return Err(FormatError::Field {
            field: "the blob's first word",
        });
    }
    if checksum
        != salt
            .checksum(&[&offset.to_le_bytes(), covered])
            .to_le_bytes()
    {
        return Err(FormatError::Checksum);
    }
    let length = array(head, LENGTH)
        .map(u32::from_le_bytes)
        .unwrap_or(u32::MAX);
    let length = match usize::try_from(length) {
        Ok(length) if length <= BLOB_BYTES_MAX => length,
        Ok(_) | Err(_) => {
            let max = BLOB_BYTES_MAX as u64;
            return Err(FormatError::Length {
                found: u64::from(length),
                max,
            });
        }
    };
    let state = match state {
        state if state == LIVE => BlobState::Live,
        state if state == STATE_ERASED => BlobState::Erased,
        _ => BlobState::Unclear,
    };
    let digest = array(head, DIGEST).expect("a constant place within the header");
    Ok(BlobHeader {
        length,
        digest,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: Salt = Salt(99);

    #[test]
    fn every_flipped_bit_of_the_header_is_noticed() {
        let mut bytes = Vec::new();
        push(&mut bytes, SALT, 64, b"payload");
        for bit in 0..BLOB_HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(header) = decode(&damaged, SALT, 64) {
                assert!(bit / 8 >= STATE && header.state == BlobState::Unclear);
            }
        }
        assert_eq!(
            decode(&bytes, SALT, 72),
            Err(FormatError::Checksum),
            "moved"
        );
        bytes[STATE..BLOB_HEADER_BYTES].copy_from_slice(&STATE_ERASED);
        assert_eq!(decode(&bytes, SALT, 64).unwrap().state, BlobState::Erased);
    }

    proptest! {
        #[test]
        fn decode_after_encode(payload: Vec<u8>, offset: u64) {
            let mut bytes = Vec::new();
            let digest = push(&mut bytes, SALT, offset, &payload);
            let header = decode(&bytes, SALT, offset).unwrap();
            prop_assert_eq!(header, BlobHeader { length: payload.len(), digest, state: BlobState::Live });
            prop_assert_eq!(header.bytes(), bytes.len());
            prop_assert_eq!(&bytes[BLOB_HEADER_BYTES..][..payload.len()], &payload[..]);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>, salt: u32, offset: u64) {
            let _ = decode(&bytes, Salt(salt), offset);
        }
    }
}
