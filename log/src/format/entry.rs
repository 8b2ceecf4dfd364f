//! The entries of a record segment: records, and marks that say what is durable.
use super::{FormatError, RECORD_BYTES_MAX, Salt, array, padded};

const LENGTH: usize = 0;
const CHECKSUM: usize = LENGTH + 4;
const SEQUENCE: usize = CHECKSUM + 4;

/// Bytes before an entry's payload; a mark has nothing else.
pub(crate) const ENTRY_HEADER_BYTES: usize = SEQUENCE + 8;
const _: () = assert!(ENTRY_HEADER_BYTES.is_multiple_of(super::ALIGNMENT));

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// An encoded record. The payload is not empty.
    Record { sequence: u64, payload: &'a [u8] },
    /// Every record up to `sequence` was durable when this was written.
    Mark { sequence: u64 },
}

/// Returns how many bytes a record with this payload takes.
pub(crate) fn record_bytes(payload: &[u8]) -> usize {
    ENTRY_HEADER_BYTES + padded(payload.len())
}

/// Appends a record entry to `out`. `payload` is not empty and at most [`RECORD_BYTES_MAX`].
pub(crate) fn push_record(out: &mut Vec<u8>, salt: Salt, sequence: u64, payload: &[u8]) {
    assert!(
        !payload.is_empty() && payload.len() <= RECORD_BYTES_MAX,
        "checked by append"
    );
    push(out, salt, sequence, payload);
}

/// Appends a mark to `out`.
pub(crate) fn push_mark(out: &mut Vec<u8>, salt: Salt, sequence: u64) {
    push(out, salt, sequence, &[]);
}

fn push(out: &mut Vec<u8>, salt: Salt, sequence: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .expect("at most RECORD_BYTES_MAX")
        .to_le_bytes();
    let sequence = sequence.to_le_bytes();
    let padding = &[0u8; super::ALIGNMENT][..padded(payload.len()) - payload.len()];
    let checksum = salt.checksum(&[&length, &sequence, payload, padding]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&sequence);
    out.extend_from_slice(payload);
    out.extend_from_slice(padding);
}

/// Returns how many bytes the entry at the start of `bytes` takes, judged by its length field.
pub(crate) fn entry_bytes(bytes: &[u8]) -> Result<usize, FormatError> {
    let Some(length) = array(bytes, LENGTH).map(u32::from_le_bytes) else {
        return Err(short(ENTRY_HEADER_BYTES, bytes));
    };
    match usize::try_from(length) {
        Ok(length) if length <= RECORD_BYTES_MAX => Ok(ENTRY_HEADER_BYTES + padded(length)),
        Ok(_) | Err(_) => {
            let max = RECORD_BYTES_MAX as u64;
            Err(FormatError::Length {
                found: u64::from(length),
                max,
            })
        }
    }
}

/// Reads the entry at the start of `bytes`, which may go on behind it.
pub(crate) fn decode(bytes: &[u8], salt: Salt) -> Result<Entry<'_>, FormatError> {
    let total = entry_bytes(bytes)?;
    let (Some(head), Some(body)) = (
        bytes.first_chunk::<ENTRY_HEADER_BYTES>(),
        bytes.get(ENTRY_HEADER_BYTES..total),
    ) else {
        return Err(short(total, bytes));
    };
    let (length, rest) = head.split_at(CHECKSUM);
    let (checksum, sequence) = rest.split_at(SEQUENCE - CHECKSUM);
    if checksum != salt.checksum(&[length, sequence, body]).to_le_bytes() {
        return Err(FormatError::Checksum);
    }
    let sequence = array(head, SEQUENCE)
        .map(u64::from_le_bytes)
        .unwrap_or_default();
    let length = array(head, LENGTH)
        .map(u32::from_le_bytes)
        .unwrap_or_default();
    if sequence == 0 {
        return Err(FormatError::Field {
            field: "the sequence",
        });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(match body.get(..length) {
        Some(payload) if length > 0 => Entry::Record { sequence, payload },
        Some(_) | None => Entry::Mark { sequence },
    })
}

/// Looks through `bytes`, at every offset, for a mark of a sequence within `range`.
///
/// This tells damage from a torn tail: a mark past the damage proves that what lay before it was
/// once durable. Every offset, not only aligned ones, since a file may have lost bytes.
pub(crate) fn find_mark(bytes: &[u8], salt: Salt, range: &std::ops::Range<u64>) -> Option<u64> {
    bytes.windows(ENTRY_HEADER_BYTES).find_map(|window| {
        if !window.starts_with(&[0; 4]) {
            return None;
        }
        let sequence = array(window, SEQUENCE).map(u64::from_le_bytes)?;
        (range.contains(&sequence) && decode(window, salt).is_ok()).then_some(sequence)
    })
}

fn short(needed: usize, bytes: &[u8]) -> FormatError {
    FormatError::Short {
        needed: needed as u64,
        found: bytes.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: Salt = Salt(0x1234_5678);

    fn check(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_record(&mut bytes, SALT, sequence, payload);
        let entry = decode(&bytes, SALT).unwrap();
        assert_eq!(entry, Entry::Record { sequence, payload });
        assert_eq!(record_bytes(payload), bytes.len());
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(decode(&bytes, Salt(1)), Err(FormatError::Checksum));
        for cut in 0..bytes.len() {
            assert!(matches!(
                decode(&bytes[..cut], SALT),
                Err(FormatError::Short { .. })
            ));
        }
        bytes
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = check(9, b"nine bytes");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            decode(&damaged, SALT).unwrap_err();
        }
    }

    #[test]
    fn marks_are_found_at_any_offset() {
        for before in 0..20 {
            let mut bytes = vec![0; before];
            push_mark(&mut bytes, SALT, 12);
            assert_eq!(
                decode(&bytes[before..], SALT),
                Ok(Entry::Mark { sequence: 12 })
            );
            bytes.extend([0; 5]);
            assert_eq!(find_mark(&bytes, SALT, &(12..13)), Some(12));
            assert_eq!(find_mark(&bytes, SALT, &(13..99)), None);
            assert_eq!(find_mark(&bytes, Salt(0), &(1..99)), None);
        }
    }

    #[test]
    fn lengths_are_bounded_before_they_are_believed() {
        let bytes = [0xff; 16];
        assert!(matches!(
            decode(&bytes, SALT),
            Err(FormatError::Length { .. })
        ));
        assert_eq!(decode(&[0; 16], Salt(0)).ok(), None, "zeros are no entry");
    }

    proptest! {
        #[test]
        fn decode_after_encode(
            sequence in 1u64..,
            payload in prop::collection::vec(any::<u8>(), 1..100),
        ) {
            check(sequence, &payload);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>, salt: u32) {
            let _ = decode(&bytes, Salt(salt));
            let _ = find_mark(&bytes, Salt(salt), &(0..u64::MAX));
        }
    }
}
