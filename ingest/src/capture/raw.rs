//! The few facts that the FFmpeg binding keeps behind raw pointers.
#![expect(
    unsafe_code,
    reason = "ffmpeg-next has no safe accessor for these fields"
)]

use ffmpeg_next::{Rational, Stream};

/// The aspect ratio of a sample as the container states it; 0/1 if it does not.
pub(super) fn stream_sample_aspect(stream: &Stream<'_>) -> Rational {
    // SAFETY: asks the binding for its pointer, which `stream` keeps alive.
    let pointer = unsafe { stream.as_ptr() };
    // SAFETY: a `Stream` exists only for a stream of a live format context, so the pointer is valid
    // and aligned; the field is plain data.
    let aspect = unsafe { (*pointer).sample_aspect_ratio };
    Rational::from(aspect)
}
