//! What containers state about time.

use ffmpeg_next::{Rational, Stream, ffi, format::context::Input};

/// Pictures a second; 0 if nothing sane is stated.
pub(super) fn rate_of(stream: &Stream<'_>) -> f64 {
    let rates = [stream.avg_frame_rate(), stream.rate()];
    let value = |r: &Rational| f64::from(r.numerator()) / f64::from(r.denominator());
    rates
        .iter()
        .map(value)
        .find(|rate| rate.is_finite() && (0.1..=1000.0).contains(rate))
        .unwrap_or(0.0)
}

/// The earliest start of any stream, in microseconds; 0 if none says.
pub(super) fn starts_at(input: &Input) -> i64 {
    let starts = input
        .streams()
        .filter(|s| s.start_time() != ffi::AV_NOPTS_VALUE);
    starts
        .map(|s| to_micros(s.start_time(), s.time_base()))
        .min()
        .unwrap_or(0)
}

/// A time in microseconds, rounded to the nearest.
pub(super) fn to_micros(time: i64, base: Rational) -> i64 {
    let (numerator, denominator) = (i128::from(base.numerator()), i128::from(base.denominator()));
    if denominator == 0 {
        return 0;
    }
    let micros = (i128::from(time) * numerator * 2_000_000 + denominator) / (2 * denominator);
    i64::try_from(micros).unwrap_or(if micros > 0 { i64::MAX } else { i64::MIN })
}
