//! From FFmpeg's errors to faults that an operator can act on.

use std::{fs::File, io::Read};

use ffmpeg_next::{self as ffmpeg, Error};

use super::{Location, Patience, deadline::Deadline, log};
use crate::observe::{Fault, FaultReason};

/// Why `location` could not be opened.
pub(super) fn open_fault(
    location: &Location,
    why: Error,
    deadline: &Deadline,
    patience: Patience,
) -> Fault {
    let shown = &location.shown;
    if let Some(fault) = refused(location) {
        return fault;
    }
    if why == Error::Exit && !deadline.is_stopped() {
        let what = format!(
            "'{shown}' did not open within {} s",
            patience.open.as_secs_f64()
        );
        let reason = if location.is_file {
            FaultReason::ReadTimeout
        } else {
            FaultReason::ConnectFailed
        };
        return Fault::new(reason, what);
    }
    // A text that is called .mp4 lacks that index as well, but nothing would repair it.
    if log::recent("moov atom not found").is_some() && begins_like_mp4(location) {
        let what = format!(
            "'{shown}' is not a video, or one without its index (moov) that was cut off or is still being written: read a complete copy"
        );
        return Fault::new(FaultReason::NotAVideo, what);
    }
    if why == Error::ProtocolNotFound {
        let what = format!(
            "'{shown}' cannot be opened: the FFmpeg in use was built without '{}'",
            location.scheme
        );
        return Fault::new(FaultReason::ProtocolNotAllowed, what);
    }
    let missing = Error::Other {
        errno: ffmpeg::error::ENOENT,
    };
    let (reason, what) = if matches!(why, Error::InvalidData | Error::DemuxerNotFound) {
        (
            FaultReason::NotAVideo,
            "is not a video FFmpeg can read".to_owned(),
        )
    } else if why == Error::Eof && location.is_file {
        let what = "ends before its first picture: it was cut off; read a complete copy";
        (FaultReason::NotAVideo, what.to_owned())
    } else if log::recent("Format not on whitelist").is_some() {
        let what = "is not a video container (a playlist, script or text)";
        (FaultReason::NotAVideo, what.to_owned())
    } else if why == missing && location.is_file {
        (FaultReason::FileNotFound, "does not exist".to_owned())
    } else if location.is_file && File::open(&location.shown).is_ok() {
        let what = format!("is not a video FFmpeg can read: {why}");
        (FaultReason::NotAVideo, what)
    } else if location.is_file {
        (
            FaultReason::FileNotFound,
            format!("cannot be opened: {why}"),
        )
    } else {
        (
            FaultReason::ConnectFailed,
            format!("cannot be opened: {why}"),
        )
    };
    Fault::new(reason, format!("'{shown}' {what}"))
}

/// Whether the first box of the file is one that MP4 files begin with. Streams are taken at their
/// word.
fn begins_like_mp4(location: &Location) -> bool {
    let mut start = [0; 8];
    let read = File::open(&location.shown).and_then(|mut file| file.read_exact(&mut start));
    let known = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];
    !location.is_file || (read.is_ok() && known.iter().any(|name| start[4..] == **name))
}

/// FFmpeg refused a protocol, here or in something the source points at.
pub(super) fn refused(location: &Location) -> Option<Fault> {
    let line = log::recent("not on whitelist '").filter(|line| line.contains("Protocol"));
    let line = line.or_else(|| log::recent("blocked for security reasons"));
    line.map(|line| not_allowed(&location.shown, &line))
}

pub(super) fn not_allowed(shown: &str, line: &str) -> Fault {
    let what = format!("'{shown}' points at something that may not be opened: {line}");
    Fault::new(FaultReason::ProtocolNotAllowed, what)
}
