//! Opening the decoder of a stream, within limits.

use ffmpeg_next::{
    self as ffmpeg, Dictionary, Error, Stream,
    codec::{self, discard::Discard, threading},
};

use super::raw;
use crate::{
    observe::{Fault, FaultReason},
    source::DecodeMode,
};

/// Longer sides are not decoded.
const SIDE_MAX: u32 = 16_384;
/// Nor pictures of more pixels, a little more than 8192x4320: a dozen of them at a time may be in
/// memory, in the queue and as references of the decoder.
const PIXELS_MAX: u32 = 36 << 20;

/// Stored width and height. Both are 0 where nothing has told yet: a stream joined long before its
/// next keyframe.
pub(super) fn size_of(stream: &Stream<'_>, shown: &str) -> Result<(u32, u32), Fault> {
    let (width, height) = raw::stream_size(stream);
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) <= SIDE_MAX && pixels <= u64::from(PIXELS_MAX) {
        return Ok((width, height));
    }
    let what = format!(
        "'{shown}' has pictures of {width}x{height} pixels; sides of at most {SIDE_MAX} and \
         {PIXELS_MAX} pixels in all can be read: scale it down"
    );
    Err(Fault::new(FaultReason::NotAVideo, what))
}

pub(super) fn open_decoder(
    stream: &Stream<'_>,
    mode: DecodeMode,
    threads: usize,
    shown: &str,
) -> Result<ffmpeg::decoder::Video, Fault> {
    let not_decodable = |why: Error| {
        let what = format!("the video in '{shown}' cannot be decoded: {why}");
        Fault::new(FaultReason::NotAVideo, what)
    };
    let mut context =
        codec::context::Context::from_parameters(stream.parameters()).map_err(not_decodable)?;
    // Threads decode a frame each: of one, frames come out without delay.
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        ..threading::Config::count(threads)
    });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    match mode {
        DecodeMode::All => {}
        DecodeMode::Referenced => decoder.skip_frame(Discard::NonReference),
        DecodeMode::KeyFrames => decoder.skip_frame(Discard::NonKey),
    }
    let found = codec::decoder::find(decoder.id())
        .ok_or(Error::DecoderNotFound)
        .map_err(not_decodable)?;
    // The size may change later.
    let mut limits = Dictionary::new();
    limits.set("max_pixels", &PIXELS_MAX.to_string());
    let mut decoder = decoder
        .open_as_with(found, limits)
        .and_then(|opened| opened.video())
        .map_err(not_decodable)?;
    // No other picture is made from these: unfiltered edges of their blocks go no further.
    decoder.skip_loop_filter(Discard::NonReference);
    Ok(decoder)
}
