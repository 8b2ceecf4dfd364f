//! What can be said of a query picture before it is sent.

/// Largest query picture, bytes: 16 MiB.
pub const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a picture need not be sent: the server would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhotoFault {
    /// Zero bytes.
    #[error("the picture is empty (0 bytes)")]
    Empty,
    /// More bytes than the API takes.
    #[error("the picture has {bytes} bytes, more than {IMAGE_BYTES_MAX} (16 MiB): scale it down")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
}

impl PhotoFault {
    /// The reason the server would give.
    pub fn reason(self) -> &'static str {
        match self {
            PhotoFault::Empty => "IMAGE_UNREADABLE",
            PhotoFault::TooLarge { .. } => "IMAGE_TOO_LARGE",
        }
    }
}

/// Checks the size of a picture.
///
/// # Errors
/// [`PhotoFault`] for a picture that the server refuses whatever it shows.
pub fn check_photo(bytes: u64) -> Result<(), PhotoFault> {
    match bytes {
        0 => Err(PhotoFault::Empty),
        _ if bytes > IMAGE_BYTES_MAX as u64 => Err(PhotoFault::TooLarge { bytes }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_judged_at_their_limits() {
        assert_eq!(check_photo(0).unwrap_err().reason(), "IMAGE_UNREADABLE");
        assert_eq!(check_photo(1), Ok(()));
        assert_eq!(check_photo(IMAGE_BYTES_MAX as u64), Ok(()));
        let fault = check_photo(IMAGE_BYTES_MAX as u64 + 1).unwrap_err();
        assert_eq!(fault.reason(), "IMAGE_TOO_LARGE");
        assert!(fault.to_string().contains("16777217 bytes"), "{fault}");
    }
}
