//! One opened source: packets in, whole frames out.

use std::time::{Duration, Instant};

use ffmpeg_next::{
    self as ffmpeg, Dictionary, Error, Packet, Rational,
    codec::packet::side_data::Type as SideData,
    format::{self, stream::Disposition},
    frame, media,
};

use super::{
    Location, Patience,
    convert::{Geometry, sample_aspect},
    deadline::Deadline,
    decoder::{open_decoder, size_of},
    faults::{not_allowed, open_fault, refused},
    log,
    orientation::Orientation,
    passed::Passed,
    raw,
    times::{rate_of, starts_at, to_micros},
};
use crate::{
    observe::{Fault, FaultReason, MediaInfo},
    source::{CaptureStatus, DecodeMode},
};

/// Damaged packets in a row after which a demuxer is not expected to find its way again.
const BROKEN_MAX: u32 = 256;
/// A file may end so much before its container says, and still be whole.
const SHORT_MAX_US: i64 = 500_000;
/// Pictures that could not be decoded in a row, after which a decoder is not asked again.
const UNDECODABLE_MAX: u32 = 4096;

pub(super) struct Session {
    input: format::context::Input,
    decoder: ffmpeg::decoder::Video,
    stream: usize,
    /// Of every stream, by index.
    time_bases: Vec<Rational>,
    /// As the container states it.
    aspect: Rational,
    /// Stored width, height and shape of samples of the pictures that come now; `None` before the
    /// first.
    shape: Option<(u32, u32, f64)>,
    geometry: Geometry,
    info: MediaInfo,
    deadline: Deadline,
    patience: Patience,
    mode: DecodeMode,
    /// Where not all pictures are decoded.
    passed: Option<Passed>,
    shown: String,
    is_file: bool,
    drained: bool,
    /// End of the last packet of any stream, in microseconds of the container's clock.
    reached_us: i64,
    /// Where the container says the end is, on the same clock.
    expected_us: Option<i64>,
    trouble: Option<String>,
}

/// A whole frame and its time on the container's clock, in microseconds.
pub(super) struct Decoded {
    pub(super) frame: frame::Video,
    pub(super) time_us: Option<i64>,
    /// Pictures between this one and the one before that were not decoded.
    pub(super) passed: u64,
}

impl Session {
    /// `decoding`: what, and on how many threads.
    pub(super) fn open(
        location: &Location,
        patience: Patience,
        decoding: (DecodeMode, usize),
        deadline: &Deadline,
    ) -> Result<Self, Fault> {
        super::route_logs();
        log::clear();
        deadline.arm(patience.open);
        let resolved = match &location.resolver {
            Some(resolver) => Some(resolver.resolve(location, deadline)?),
            None => None,
        };
        let location = resolved.as_ref().unwrap_or(location);
        deadline.arm(patience.open);
        let watch = deadline.clone();
        let input = format::input_with_interrupt_and_dictionary(
            &location.target,
            move || watch.is_over(),
            options(location, patience),
        )
        .map_err(|why| open_fault(location, why, deadline, patience))?;
        Self::with_input(input, location, patience, decoding, deadline)
    }

    fn with_input(
        input: format::context::Input,
        location: &Location,
        patience: Patience,
        (mode, threads): (DecodeMode, usize),
        deadline: &Deadline,
    ) -> Result<Self, Fault> {
        let shown = &location.shown;
        if input.nb_streams() == 0 && !location.is_file && refused(location).is_none() {
            let what = format!("'{shown}' sends nothing that can be read");
            return Err(Fault::new(FaultReason::ConnectFailed, what));
        }
        let stream = input.streams().best(media::Type::Video);
        let stream = stream
            .filter(|s| !s.disposition().contains(Disposition::ATTACHED_PIC))
            .ok_or_else(|| {
                // An HLS playlist whose segments were refused opens as a container without streams.
                refused(location).unwrap_or_else(|| {
                    let what = format!("'{shown}' has no picture stream (sound or data only)");
                    Fault::new(FaultReason::NoPictureStream, what)
                })
            })?;
        let (width, height) = size_of(&stream, shown)?;
        let decoder = open_decoder(&stream, mode, threads, shown)?;
        let matrix = stream
            .side_data()
            .find(|data| data.kind() == SideData::DisplayMatrix);
        let aspect = raw::stream_sample_aspect(&stream);
        let geometry = Geometry {
            aspect: sample_aspect(aspect, decoder.aspect_ratio()),
            orientation: matrix.map_or(Orientation::UPRIGHT, |data| {
                Orientation::from_matrix(data.data())
            }),
        };
        let (width, height) = geometry.display(width, height);
        let duration_us = (input.duration() > 0).then_some(input.duration());
        let info = MediaInfo {
            container: input.format().name().to_owned(),
            codec: decoder
                .codec()
                .map_or_else(String::new, |c| c.name().to_owned()),
            width,
            height,
            frames_per_second: rate_of(&stream),
            duration: duration_us
                .and_then(|us| u64::try_from(us).ok())
                .map(Duration::from_micros),
        };
        let index = stream.index();
        let start_us = starts_at(&input);
        Ok(Self {
            time_bases: input.streams().map(|s| s.time_base()).collect(),
            expected_us: duration_us.map(|us| start_us.saturating_add(us)),
            input,
            decoder,
            stream: index,
            aspect,
            shape: None,
            geometry,
            info,
            deadline: deadline.clone(),
            patience,
            mode,
            passed: (mode != DecodeMode::All).then(Passed::default),
            shown: shown.clone(),
            is_file: location.is_file,
            drained: false,
            reached_us: i64::MIN,
            trouble: None,
        })
    }

    /// A live stream has no duration, whatever its container says.
    pub(super) fn has_no_end(&mut self) {
        self.info.duration = None;
    }

    /// How the latest picture is to be shown.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The usual time from one picture to the next.
    pub(super) fn frame_time(&self) -> Duration {
        let rate = self.info.frames_per_second;
        if rate > 0.0 {
            Duration::from_secs_f64(1.0 / rate)
        } else {
            Duration::from_millis(40)
        }
    }

    /// The next whole frame; `None` at the end of what can be read.
    pub(super) fn next(&mut self, status: &CaptureStatus) -> Result<Option<Decoded>, Fault> {
        let begun = Instant::now();
        let decoded = self.decode(status, begun);
        let spent = begun.elapsed();
        status.update(|facts| {
            facts.decode += spent;
            facts.decoded += u64::from(matches!(decoded, Ok(Some(_))));
        });
        decoded
    }

    fn decode(&mut self, status: &CaptureStatus, begun: Instant) -> Result<Option<Decoded>, Fault> {
        let mut undecodable = 0;
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) if frame.is_corrupt() || frame.width() == 0 || frame.height() == 0 => {
                    status.update(|facts| facts.corrupt += 1);
                }
                // Not every decoder skips what it is told to.
                Ok(()) if self.mode == DecodeMode::KeyFrames && !frame.is_key() => {}
                Ok(()) => {
                    self.follow_shape(&frame, status);
                    let base = self.time_bases[self.stream];
                    let time = frame.timestamp();
                    return Ok(Some(Decoded {
                        time_us: time.map(|pts| to_micros(pts, base)),
                        passed: time
                            .zip(self.passed.as_mut())
                            .map_or(0, |(pts, passed)| passed.came(pts)),
                        frame,
                    }));
                }
                Err(Error::Eof) => return Ok(None),
                Err(Error::Other {
                    errno: ffmpeg::error::EAGAIN,
                }) => {
                    if self.drained {
                        return Ok(None);
                    }
                    self.feed(status, begun)?;
                }
                Err(_) if undecodable == UNDECODABLE_MAX => return Ok(None),
                // A frame that could not be decoded; the next may be whole.
                Err(_) => {
                    undecodable += 1;
                    status.update(|facts| facts.corrupt += 1);
                }
            }
        }
    }

    /// Size and sample aspect may change from one picture to the next: the run goes on.
    fn follow_shape(&mut self, frame: &frame::Video, status: &CaptureStatus) {
        let aspect = sample_aspect(self.aspect, frame.aspect_ratio());
        let shape = Some((frame.width(), frame.height(), aspect));
        if self.shape == shape {
            return;
        }
        self.shape = shape;
        self.geometry.aspect = aspect;
        let (width, height) = self.geometry.display(frame.width(), frame.height());
        (self.info.width, self.info.height) = (width, height);
        status.update(|facts| facts.media = Some(self.info.clone()));
    }

    /// Gives the decoder the next packet, or tells it that there is none. `begun`: since when a
    /// picture is waited for.
    fn feed(&mut self, status: &CaptureStatus, begun: Instant) -> Result<(), Fault> {
        let mut broken = 0;
        loop {
            // Data may come for ever without a picture: sound alone, or what cannot be decoded.
            if !self.is_file && begun.elapsed() > self.longest_wait() {
                return Err(self.timeout("no picture came", self.longest_wait()));
            }
            self.deadline.arm(self.patience.read);
            let mut packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => {
                    self.note_reach(&packet);
                    if packet.stream() != self.stream {
                        continue;
                    }
                    let time = packet.pts().or(packet.dts());
                    if let Some((time, passed)) = time.zip(self.passed.as_mut()) {
                        passed.sent(time);
                    }
                    // A thread that has nothing to do for this one would wait for its turn.
                    if self.mode == DecodeMode::KeyFrames && !packet.is_key() {
                        continue;
                    }
                    if self.decoder.send_packet(&packet).is_err() {
                        status.update(|facts| facts.corrupt += 1);
                    }
                    return Ok(());
                }
                Err(Error::Eof) => break,
                Err(Error::Exit) if self.deadline.is_stopped() => break,
                Err(
                    Error::Exit
                    | Error::Other {
                        errno: ffmpeg::error::ETIMEDOUT,
                    },
                ) => return Err(self.timeout("no data came", self.patience.read)),
                Err(Error::InvalidData) if broken < BROKEN_MAX => {
                    broken += 1;
                    self.trouble
                        .get_or_insert_with(|| "the data are damaged".to_owned());
                }
                Err(Error::Other {
                    errno: ffmpeg::error::EAGAIN,
                }) if broken < BROKEN_MAX => broken += 1,
                Err(why) => {
                    self.trouble = Some(why.to_string());
                    break;
                }
            }
        }
        self.drained = true;
        // What is still in the decoder comes out now; there is nothing to do if it refuses.
        let _ = self.decoder.send_eof();
        Ok(())
    }

    fn note_reach(&mut self, packet: &Packet) {
        let Some(base) = self.time_bases.get(packet.stream()).copied() else {
            return;
        };
        if let Some(start) = packet.pts().or(packet.dts()) {
            let end = to_micros(start.saturating_add(packet.duration().max(0)), base);
            self.reached_us = self.reached_us.max(end);
        }
    }

    /// Whether the end that was reached came too early, and why.
    pub(super) fn early_end(&self) -> Option<Fault> {
        if let Some(fault) =
            log::recent("not on whitelist").map(|line| not_allowed(&self.shown, &line))
        {
            return Some(fault);
        }
        let expected = self
            .expected_us
            .filter(|expected| self.reached_us < expected.saturating_sub(SHORT_MAX_US));
        let seconds = |us: i64| us.max(0) as f64 / 1e6;
        let what = match (expected, &self.trouble) {
            (None, None) => return None,
            // A file cut off within its last half second, or damage after which it went on.
            (None, Some(_)) if self.expected_us.is_some() => return None,
            (None, Some(trouble)) => {
                format!(
                    "'{}' broke off at {:.3} s: {trouble}",
                    self.shown,
                    seconds(self.reached_us)
                )
            }
            (Some(expected), trouble) => format!(
                "'{}' ends at {:.3} s of {:.3} s{}; what is there was kept",
                self.shown,
                seconds(self.reached_us),
                seconds(expected),
                trouble
                    .as_ref()
                    .map_or_else(String::new, |t| format!(" ({t})")),
            ),
        };
        Some(Fault::new(FaultReason::Truncated, what))
    }

    /// Goes to a keyframe at or before `time_us` on the container's clock.
    pub(super) fn seek(&mut self, time_us: i64) -> Result<(), Error> {
        self.deadline.arm(self.patience.open);
        self.input.seek(time_us, ..time_us)?;
        self.decoder.flush();
        self.passed = self.passed.take().map(|_| Passed::default());
        self.drained = false;
        self.trouble = None;
        Ok(())
    }

    fn longest_wait(&self) -> Duration {
        self.patience.read * self.mode.patience_factor()
    }

    fn timeout(&self, what: &str, waited: Duration) -> Fault {
        let seconds = waited.as_secs_f64();
        let what = format!("{what} from '{}' for {seconds} s", self.shown);
        Fault::new(FaultReason::ReadTimeout, what)
    }
}

fn options(location: &Location, patience: Patience) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", &location.protocols);
    options.set("format_whitelist", &location.formats);
    if !location.is_file {
        options.set("rw_timeout", &patience.read.as_micros().to_string());
    }
    match location.scheme.as_str() {
        // A connection that breaks off within a file goes on where it was.
        "http" | "https" => {
            options.set("reconnect", "1");
            options.set("reconnect_delay_max", "2");
        }
        // Of several transports TCP comes first; UDP follows when the server refuses it (461).
        "rtsp" | "rtsps" => {
            options.set("rtsp_transport", location.rtsp_transport);
            options.set("rtsp_flags", "prefer_tcp");
        }
        // A reader that falls behind loses packets, not the stream.
        "udp" => options.set("overrun_nonfatal", "1"),
        _ => {}
    }
    options
}
