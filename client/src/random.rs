//! Request ids and the jitter of retries.
use std::fmt::Write as _;
use std::time::Duration;

use crate::error::Error;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A random UUID (version 4, RFC 9562) for the `request_id` of a mutation.
///
/// # Errors
/// [`Error::NoRandomness`] if the operating system gives no random bytes.
pub(crate) fn request_id() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::NoRandomness { why: e.to_string() })?;
    Ok(format_uuid(bytes))
}

/// How long to wait before attempt `attempt` (0 is the first repetition): doubling from 100 ms to
/// 5 s, of which a random quarter is taken away, so that clients of one server do not return at
/// the same moment.
pub(crate) fn pause(attempt: u32) -> Duration {
    let full = PAUSE_FIRST
        .saturating_mul(1 << attempt.min(10))
        .min(PAUSE_MAX);
    let mut byte = [0_u8; 1];
    // Without randomness the pause is merely not spread.
    let share = getrandom::fill(&mut byte).map_or(0, |()| u32::from(byte[0]));
    full - full * share / 1024
}

fn format_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_version_4_uuid() {
        assert_eq!(
            format_uuid([0xff; 16]),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(format_uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_ne!(request_id().unwrap(), request_id().unwrap());
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for attempt in 0..64 {
            let full = PAUSE_FIRST
                .saturating_mul(1 << attempt.min(10))
                .min(PAUSE_MAX);
            let pause = pause(attempt);
            assert!(
                pause <= full && pause >= full * 3 / 4,
                "{attempt}: {pause:?} of {full:?}"
            );
        }
    }
}
