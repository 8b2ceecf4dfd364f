//! Sealing: AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits in front.
//!
//! A key seals what one track, identity, edit or rule has: thousands of messages at most, far below the 2^32 up to
//! which random nonces are safe.
use std::io;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::format::key::KeyBytes;

/// What is sealed: one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob,
    Track,
    Reason,
    Profile,
    RuleName,
    Alert,
    Face,
}

impl Kind {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Blob => b"rollcall blob",
            Self::Track => b"rollcall track",
            Self::Reason => b"rollcall reason",
            Self::Profile => b"rollcall profile",
            Self::RuleName => b"rollcall rule name",
            Self::Alert => b"rollcall alert",
            Self::Face => b"rollcall face",
        }
    }
}

/// Bytes by which sealing lengthens a message.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_LEN + 16;

/// The message is not what was sealed with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// Fills `bytes` from the system's random source.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| io::Error::other("the system's random source failed"))
}

/// Seals a message: nonce, cipher text, tag.
pub(crate) fn seal(key: &KeyBytes, kind: Kind, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    let mut sealed = Vec::with_capacity(message.len() + OVERHEAD_BYTES);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(message);
    let (_, body) = sealed.split_at_mut(NONCE_LEN);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher(key)
        .seal_in_place_separate_tag(nonce, Aad::from(kind.label()), body)
        .map_err(|_| io::Error::other("a message too long to seal"))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made.
pub(crate) fn open(key: &KeyBytes, kind: Kind, mut sealed: Vec<u8>) -> Result<Vec<u8>, Forged> {
    let nonce = sealed.first_chunk::<NONCE_LEN>().copied().ok_or(Forged)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let body = sealed.get_mut(NONCE_LEN..).ok_or(Forged)?;
    let length = cipher(key)
        .open_in_place(nonce, Aad::from(kind.label()), body)
        .map_err(|_| Forged)?
        .len();
    sealed.drain(..NONCE_LEN);
    sealed.truncate(length);
    Ok(sealed)
}

fn cipher(key: &KeyBytes) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes is one of AES-256");
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_changed_does_not_open() {
        let key = [3; 32];
        let sealed = seal(&key, Kind::Blob, b"message").unwrap();
        assert_eq!(sealed.len(), b"message".len() + OVERHEAD_BYTES);
        assert!(!sealed.windows(7).any(|part| part == b"message"));
        assert_eq!(open(&key, Kind::Blob, sealed.clone()).unwrap(), b"message");
        assert_eq!(open(&[4; 32], Kind::Blob, sealed.clone()), Err(Forged));
        assert_eq!(open(&key, Kind::Track, sealed.clone()), Err(Forged));
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(open(&key, Kind::Blob, changed), Err(Forged));
        }
        for length in 0..sealed.len() {
            assert_eq!(
                open(&key, Kind::Blob, sealed[..length].to_vec()),
                Err(Forged)
            );
        }
        assert_ne!(
            seal(&key, Kind::Blob, b"message").unwrap(),
            sealed,
            "nonces differ"
        );
    }

    proptest! {
        #[test]
        fn open_after_seal(key: [u8; 32], message: Vec<u8>) {
            let sealed = seal(&key, Kind::Track, &message).unwrap();
            prop_assert_eq!(open(&key, Kind::Track, sealed), Ok(message));
        }
    }
}
