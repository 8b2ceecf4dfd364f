//! The name of a log.
use std::fmt;
use std::io;
use std::str::FromStr;

/// The name of a log: 16 random bytes, drawn once when it is created and written into each of its
/// segments. Displays, and parses, as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// Returns the id made of these bytes, in the order in which they are displayed.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, in the order in which they are displayed.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Draws a new id from the operating system's random source.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

/// Why a text is not a log id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log id is 32 hexadecimal digits")]
pub struct LogIdError;

impl FromStr for LogId {
    type Err = LogIdError;

    fn from_str(text: &str) -> Result<Self, LogIdError> {
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(LogIdError)?;
        let digits: [u8; 32] = digits.try_into().map_err(|_| LogIdError)?;
        let (pairs, _) = digits.as_chunks::<2>();
        let mut bytes = [0; 16];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = high * 16 + low;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = LogId::from_bytes(std::array::from_fn(|i| u8::try_from(i * 17).unwrap()));
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            "0",
            "g0112233445566778899aabbccddeeff",
            &"0".repeat(33),
            "ä",
        ] {
            assert_eq!(wrong.parse::<LogId>(), Err(LogIdError), "{wrong}");
        }
        assert_ne!(LogId::random().unwrap(), LogId::random().unwrap());
    }
}
