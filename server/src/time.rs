//! Microseconds to and from the API's times.

use prost_types::{Duration, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

const MICROS: i64 = 1_000_000;

/// Unix time now, microseconds.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A wall-clock time from Unix microseconds.
pub fn timestamp(us: i64) -> Timestamp {
    Timestamp {
        seconds: us.div_euclid(MICROS),
        nanos: nanos(us.rem_euclid(MICROS)),
    }
}

/// A stream time or length from microseconds.
pub fn duration(us: i64) -> Duration {
    Duration {
        seconds: us / MICROS,
        nanos: nanos(us % MICROS),
    }
}

/// Unix microseconds, rounded down; saturating.
pub fn timestamp_us(time: &Timestamp) -> i64 {
    time.seconds
        .saturating_mul(MICROS)
        .saturating_add(i64::from(time.nanos.div_euclid(1000)))
}

/// Microseconds, towards zero; saturating.
pub fn duration_us(time: &Duration) -> i64 {
    time.seconds
        .saturating_mul(MICROS)
        .saturating_add(i64::from(time.nanos / 1000))
}

fn nanos(us: i64) -> i32 {
    i32::try_from(us * 1000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for us in [
            0,
            1,
            -1,
            999_999,
            1_000_000,
            -1_500_000,
            1_700_000_000_123_456,
        ] {
            assert_eq!(timestamp_us(&timestamp(us)), us);
            assert_eq!(duration_us(&duration(us)), us);
        }
        assert_eq!(
            duration(-1_500_000),
            Duration {
                seconds: -1,
                nanos: -500_000_000
            }
        );
    }
}
