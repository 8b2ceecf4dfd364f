//! From FFmpeg's errors to faults that an operator can act on.

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
    if log::recent("moov atom not found").is_some() {
        let what = format!(
            "'{shown}' has no index (moov): it was cut off or is still being written; repair it, or read a complete copy"
        );
        return Fault::new(FaultReason::NotAVideo, what);
    }
    let format_refused = log::recent("Format not on whitelist").is_some();
    match why {
        Error::InvalidData | Error::DemuxerNotFound => Fault::new(
            FaultReason::NotAVideo,
            format!("'{shown}' is not a video FFmpeg can read"),
        ),
        Error::Eof if location.is_file => Fault::new(
            FaultReason::NotAVideo,
            format!("'{shown}' ends before its first picture: it was cut off; read a complete copy"),
        ),
        _ if format_refused => {
            let what = format!("'{shown}' is not a video container (a playlist, script or text)");
            Fault::new(FaultReason::NotAVideo, what)
        }
        Error::Other {
            errno: ffmpeg::error::ENOENT,
        } if location.is_file => Fault::new(
            FaultReason::FileNotFound,
            format!("'{shown}' does not exist"),
        ),
        why if location.is_file => Fault::new(
            FaultReason::FileNotFound,
            format!("'{shown}' cannot be opened: {why}"),
        ),
        why => Fault::new(
            FaultReason::ConnectFailed,
            format!("'{shown}' cannot be opened: {why}"),
        ),
    }
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
