//! Between the API's durations and Rust's.
use std::time::Duration;

/// Seconds of an API duration, negative ones included.
pub fn seconds(duration: &prost_types::Duration) -> f64 {
    duration.seconds as f64 + f64::from(duration.nanos) * 1e-9
}

/// An API duration as Rust's; a negative one is zero.
pub fn duration(duration: &prost_types::Duration) -> Duration {
    Duration::try_from(*duration).unwrap_or_default()
}

/// A Rust duration as the API's; beyond 292 thousand million years it is cut to that.
pub fn to_api(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Below 1e9 by the contract of `subsec_nanos`.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_survive_the_round_trip() {
        for nanos in [
            0_u64,
            1,
            999_999_999,
            1_000_000_000,
            12_480_000_000,
            u64::MAX,
        ] {
            let here = Duration::from_nanos(nanos);
            assert_eq!(duration(&to_api(here)), here);
            assert!((seconds(&to_api(here)) - here.as_secs_f64()).abs() < 1e-5);
        }
        let negative = prost_types::Duration {
            seconds: -1,
            nanos: -500_000_000,
        };
        assert_eq!(duration(&negative), Duration::ZERO);
        assert!((seconds(&negative) + 1.5).abs() < 1e-12);
    }
}
