//! The few facts that the FFmpeg binding keeps behind raw pointers.
#![expect(
    unsafe_code,
    reason = "ffmpeg-next has no safe accessor for these fields"
)]

use ffmpeg_next::{Rational, Stream, ffi, software::scaling};

/// The aspect ratio of a sample as the container states it; 0/1 if it does not.
pub(super) fn stream_sample_aspect(stream: &Stream<'_>) -> Rational {
    // SAFETY: asks the binding for its pointer, which `stream` keeps alive.
    let pointer = unsafe { stream.as_ptr() };
    // SAFETY: a `Stream` exists only for a stream of a live format context, so the pointer is valid
    // and aligned; the field is plain data.
    let aspect = unsafe { (*pointer).sample_aspect_ratio };
    Rational::from(aspect)
}

/// Width and height in pixels as the container states them, 0 where it does not.
pub(super) fn stream_size(stream: &Stream<'_>) -> (u32, u32) {
    // SAFETY: asks the binding for its pointer, which `stream` keeps alive.
    let pointer = unsafe { stream.as_ptr() };
    // SAFETY: as above; FFmpeg makes the parameters with the stream, and frees them with it.
    let parameters = unsafe { (*pointer).codecpar };
    // SAFETY: never null, see above; a plain field.
    let width = unsafe { (*parameters).width };
    // SAFETY: the same.
    let height = unsafe { (*parameters).height };
    (
        u32::try_from(width).unwrap_or(0),
        u32::try_from(height).unwrap_or(0),
    )
}

/// How a scaler is to read the numbers of its input: the matrix by FFmpeg's number for it, and
/// whether they fill their whole range. Inputs that need neither (RGB) are left as they are.
pub(super) fn set_colour(scaler: &mut scaling::Context, matrix: i32, full_range: bool) {
    const ONE: i32 = 1 << 16;
    // SAFETY: gives a pointer to a table that lives as long as the process, whatever the number.
    let table = unsafe { ffi::sws_getCoefficients(matrix) };
    // SAFETY: asks the binding for its pointer, which `scaler` keeps alive.
    let pointer = unsafe { scaler.as_mut_ptr() };
    // SAFETY: a `Context` holds an initialised scaler, and nobody else has it while it is borrowed
    // mutably; the tables have the four numbers that are read. What FFmpeg refuses stays as it was.
    let _ = unsafe {
        ffi::sws_setColorspaceDetails(pointer, table, i32::from(full_range), table, 1, 0, ONE, ONE)
    };
}
