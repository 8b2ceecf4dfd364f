//! Page tokens: opaque, and good only for the call and the arguments they were made for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Rows of a page when none are asked for.
const PAGE_DEFAULT: u32 = 50;
/// Rows of a page at most.
const PAGE_MAX: u32 = 1000;
const SEAL_BYTES: usize = 12;

/// Why a page cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A negative page size.
    #[error("page_size is {0}; it must not be negative")]
    Size(i32),
    /// Not a token of this call with these arguments.
    #[error("page_token is not one that this call gave for these arguments: begin without one")]
    Token,
}

/// What a token is bound to: the log, the method and its other arguments.
#[derive(Clone, Debug)]
pub struct Seal(Sha256);

impl Seal {
    /// A seal for `method` on the collection of `log`.
    pub fn new(log: &str, method: &str) -> Self {
        Self(Sha256::new())
            .with(b"rollcall page 1")
            .with(log.as_bytes())
            .with(method.as_bytes())
    }

    /// The seal bound to one more argument.
    #[must_use]
    pub fn with(mut self, argument: &[u8]) -> Self {
        // Lengths keep ("ab", "c") apart from ("a", "bc").
        self.0.update((argument.len() as u64).to_le_bytes());
        self.0.update(argument);
        self
    }

    /// The token for the page after the row whose key is `key`.
    pub fn token<const N: usize>(&self, key: [i64; N]) -> String {
        let mut bytes: Vec<u8> = key.iter().flat_map(|part| part.to_le_bytes()).collect();
        let seal = self.clone().with(&bytes).0.finalize();
        bytes.extend_from_slice(&seal[..SEAL_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key in a token; `None` for an empty one: the first page.
    ///
    /// # Errors
    /// [`PageError::Token`].
    pub fn open<const N: usize>(&self, token: &str) -> Result<Option<[i64; N]>, PageError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| PageError::Token)?;
        let mut key = [0; N];
        for (part, bytes) in key.iter_mut().zip(bytes.chunks_exact(8)) {
            *part = i64::from_le_bytes(bytes.try_into().map_err(|_| PageError::Token)?);
        }
        if bytes.len() != N * 8 + SEAL_BYTES || self.token(key) != token {
            return Err(PageError::Token);
        }
        Ok(Some(key))
    }
}

/// Rows to give for `page_size`: 0 means 50, more than 1000 means 1000.
///
/// # Errors
/// [`PageError::Size`] if it is negative.
pub(crate) fn page_size(asked: i32) -> Result<u32, PageError> {
    match u32::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(PageError::Size(asked)),
    }
}

/// Of a page read with one row more than it shows: takes that row off, and says whether it was there,
/// that is, whether there is another page.
pub(crate) fn cut<T>(rows: &mut Vec<T>, size: u32) -> bool {
    let shown = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_with_its_own_arguments() {
        let seal = Seal::new("log", "List").with(b"name");
        let token = seal.token([5, -1, 7]);
        assert_eq!(seal.open(&token), Ok(Some([5, -1, 7])));
        assert_eq!(seal.open::<3>(""), Ok(None));
        let others = [
            Seal::new("log2", "List").with(b"name"),
            Seal::new("log", "List2").with(b"name"),
            Seal::new("log", "List").with(b"nam").with(b"e"),
            Seal::new("log", "List"),
        ];
        for other in others {
            assert_eq!(other.open::<3>(&token), Err(PageError::Token));
        }
        assert_eq!(seal.open::<2>(&token), Err(PageError::Token));
    }

    proptest::proptest! {
        #![proptest_config(crate::test_config())]
        #[test]
        fn any_text_is_refused_not_fatal(text in ".{1,80}") {
            let seal = Seal::new("log", "List");
            proptest::prop_assert_eq!(seal.open::<1>(&text), Err(PageError::Token));
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(page_size(0), Ok(50));
        assert_eq!(page_size(7), Ok(7));
        assert_eq!(page_size(5000), Ok(1000));
        assert_eq!(page_size(-1), Err(PageError::Size(-1)));
    }
}
