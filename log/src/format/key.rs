//! The slots of a key segment.
use std::fmt;

use super::{FormatError, Salt, array};

const STATE: usize = 0;
const CHECKSUM: usize = STATE + 4;
const NUMBER: usize = CHECKSUM + 4;
const KEY: usize = NUMBER + 8;
const RESERVED: usize = KEY + KEY_BYTES;

const LIVE: [u8; 4] = *b"Key ";
const GONE: [u8; 4] = *b"Gone";

/// Bytes of a key: AES-256.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a slot. A power of two, so that a slot lies within one sector.
pub(crate) const SLOT_BYTES: usize = RESERVED + 16;
const _: () = assert!(SLOT_BYTES == 64);

/// Keys of a segment at most.
pub(crate) const KEYS_PER_SEGMENT: u64 = 65_536;

/// A key as it is kept.
pub(crate) type KeyBytes = [u8; KEY_BYTES];

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Live(KeyBytes),
    /// Destroyed, for ever.
    Gone,
}

impl fmt::Debug for Slot {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live(_) => "Live(..)",
            Self::Gone => "Gone",
        })
    }
}

/// The segment of a key and the offset of its slot there. Keys are numbered from 1.
pub(crate) fn place(number: u64, header_bytes: u64) -> (u64, u64) {
    let index = number.saturating_sub(1);
    let offset = header_bytes + index % KEYS_PER_SEGMENT * SLOT_BYTES as u64;
    (index / KEYS_PER_SEGMENT + 1, offset)
}

/// The bytes of the slot of a key.
pub(crate) fn encode(salt: Salt, number: u64, key: &KeyBytes) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[STATE..CHECKSUM].copy_from_slice(&LIVE);
    bytes[NUMBER..KEY].copy_from_slice(&number.to_le_bytes());
    bytes[KEY..RESERVED].copy_from_slice(key);
    let checksum = salt.checksum(&[&bytes[NUMBER..]]);
    bytes[CHECKSUM..NUMBER].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The bytes of the slot of a key that is gone: nothing of it is left.
pub(crate) fn gone() -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[STATE..CHECKSUM].copy_from_slice(&GONE);
    bytes
}

/// Reads the slot of the key `number`.
pub(crate) fn decode(bytes: &[u8], salt: Salt, number: u64) -> Result<Slot, FormatError> {
    let Some(bytes) = bytes.first_chunk::<SLOT_BYTES>() else {
        let needed = SLOT_BYTES as u64;
        let found = bytes.len() as u64;
        return Err(FormatError::Short { needed, found });
    };
    let (head, rest) = bytes.split_at(NUMBER);
    let (state, checksum) = head.split_at(CHECKSUM);
    if state.first() == GONE.first() {
        // Whatever else is left of it: its destruction was begun, and is repeated until it is through.
        return Ok(Slot::Gone);
    }
    if state != LIVE {
        return Err(FormatError::Field {
            field: "a key's state",
        });
    }
    if checksum != salt.checksum(&[rest]).to_le_bytes() {
        return Err(FormatError::Checksum);
    }
    if array(bytes, NUMBER).map(u64::from_le_bytes) != Some(number) {
        return Err(FormatError::Field {
            field: "a key's number",
        });
    }
    let key = array(bytes, KEY).expect("a constant place within the slot");
    Ok(Slot::Live(key))
}

/// Whether nothing at all is left of a key in its slot.
pub(crate) fn is_clean(bytes: &[u8]) -> bool {
    bytes == gone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: Salt = Salt(7);

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(SALT, 5, &[9; KEY_BYTES]);
        assert_eq!(decode(&bytes, SALT, 5), Ok(Slot::Live([9; KEY_BYTES])));
        for bit in 0..SLOT_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            decode(&damaged, SALT, 5).unwrap_err();
        }
        decode(&bytes, SALT, 6).unwrap_err();
        decode(&bytes, Salt(8), 5).unwrap_err();
        assert_eq!(decode(&gone(), SALT, 5), Ok(Slot::Gone));
    }

    #[test]
    fn slots_lie_one_behind_the_other() {
        assert_eq!(place(1, 64), (1, 64));
        assert_eq!(place(2, 64), (1, 128));
        assert_eq!(place(KEYS_PER_SEGMENT, 64), (1, 64 * KEYS_PER_SEGMENT));
        assert_eq!(place(KEYS_PER_SEGMENT + 1, 64), (2, 64));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>, salt: u32, number: u64) {
            let _ = decode(&bytes, Salt(salt), number);
            let _ = place(number, 64);
        }
    }
}
