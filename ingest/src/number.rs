//! Conversions from real to whole numbers that saturate instead of wrapping.

/// The largest whole number not above `value`; 0 for negatives and NaN.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is the meaning wanted"
)]
pub(crate) fn floor_u32(value: f32) -> u32 {
    // Truncation is the floor of what is not negative; the rest saturates to 0 either way.
    value as u32
}

/// `value` rounded to the nearest byte, halves up; 0 for negatives and NaN, 255 above.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is the meaning wanted"
)]
pub(crate) fn round_u8(value: f32) -> u8 {
    // Not `round`: without SSE 4.1 that is a call into the C library, once a pixel.
    (value + 0.5) as u8
}

/// `value` rounded to the nearest whole number; 0 for negatives and NaN.
pub(crate) fn round_u32(value: f32) -> u32 {
    floor_u32(value.round())
}

/// The nearest `f32`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is the meaning wanted"
)]
pub(crate) fn to_f32(value: f64) -> f32 {
    value as f32
}
