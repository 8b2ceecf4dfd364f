//! What a key looks like, and how a right one is told.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::str::FromStr;

/// What every key begins with.
const PREFIX: &str = "rk_";
/// Bytes of randomness in a key.
const SECRET_BYTES: usize = 32;
/// Longest text that is looked at.
const KEY_BYTES_MAX: usize = 128;

/// The digest of a secret.
pub(crate) type Hash = [u8; 32];

/// A key as its owner has it. Not `Debug`: it is not to be shown.
pub(crate) struct Secret {
    pub(crate) id: String,
    text: String,
}

impl Secret {
    /// A new key of that id.
    pub(crate) fn new(id: &str) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
        Self {
            id: id.to_owned(),
            text: format!("{PREFIX}{id}_{secret}"),
        }
    }

    /// A key with a secret that follows from something else.
    pub(crate) fn derived(id: &str, secret: &[u8]) -> Self {
        Self {
            id: id.to_owned(),
            text: format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret)),
        }
    }

    /// A key that somebody has sent; `None` if it does not look like one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > KEY_BYTES_MAX {
            return None;
        }
        let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self {
            id: id.to_owned(),
            text: text.to_owned(),
        })
    }

    /// As its owner sends it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is kept of it. One pass of SHA-256 is enough: there are 2^256 secrets, and nobody chooses them.
    pub(crate) fn hash(&self) -> Hash {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// Whether two digests are the same, in a time that does not say where they differ.
pub(crate) fn same(a: &Hash, b: &Hash) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0
}

/// A digest from text.
pub(crate) fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// How long a key is good for, in seconds, as in `90d`, `12h`, `30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(i64);

impl Lifetime {
    /// Seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no time: write 90d, 12h, 30m or 45s");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let seconds = match unit {
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count = text.strip_suffix(unit).and_then(|n| n.parse::<u32>().ok());
        let count = count.filter(|count| *count > 0).ok_or_else(wrong)?;
        Ok(Self(i64::from(count) * seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::to_hex;

    #[test]
    fn keys_are_told_from_one_another() {
        let (one, other) = (Secret::new("a1"), Secret::new("a1"));
        assert_eq!(one.text().len(), "rk_a1_".len() + 43);
        assert_ne!(one.text(), other.text());
        let sent = Secret::parse(one.text()).unwrap();
        assert_eq!(sent.id, "a1");
        assert!(same(&sent.hash(), &one.hash()));
        assert!(!same(&sent.hash(), &other.hash()));
        // The id is a part of what is compared.
        let moved = one.text().replacen("a1", "a2", 1);
        assert!(!same(&Secret::parse(&moved).unwrap().hash(), &one.hash()));
        let long = format!("rk_a_{}", "x".repeat(200));
        for text in ["", "rk_", "rk_a", "rkx_a_b", long.as_str()] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn digests_come_back() {
        let hash = Secret::new("a").hash();
        assert_eq!(from_hex(&to_hex(&hash)), Some(hash));
        for text in ["", "0", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn lifetimes() {
        let seconds = |text: &str| text.parse::<Lifetime>().map(Lifetime::seconds);
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("12h"), Ok(12 * 3600));
        for text in ["", "90", "d", "0d", "-1d", "1y", "1.5h", "99999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
