//! From observations to messages.

use std::time::Duration;

use prost_types::{Duration as WireDuration, Timestamp};

use super::proto as pb;
use crate::attribute::Attribute;
use crate::observe::{
    Counters, Fault, Finished, MediaInfo, MediaTime, ObservedExemplar, ObservedFace, Report,
    RunState, TrackObservation, WallTime,
};

pub(super) fn track(track: TrackObservation) -> pb::TrackObservation {
    pb::TrackObservation {
        track_key: track.key.get(),
        revision: track.revision,
        closed: track.closed,
        start: Some(time(track.start)),
        end: Some(time(track.end)),
        start_frame: track.start_frame.signed(),
        end_frame: track.end_frame.signed(),
        wall_start: Some(wall(track.wall_start)),
        faces: track.faces.iter().map(face).collect(),
        exemplars: track.exemplars.into_iter().map(exemplar).collect(),
        dropped_exemplars: track.dropped_exemplars,
        attributes: track.attributes.into_iter().map(attribute).collect(),
    }
}

fn attribute(attribute: Attribute) -> pb::Attribute {
    pb::Attribute {
        name: attribute.name,
        label: attribute.label,
        value: attribute.value,
        spread: attribute.spread,
        faces: attribute.faces,
        unit: attribute.unit,
    }
}

fn face(face: &ObservedFace) -> pb::ObservedFace {
    let rect = face.rect;
    pb::ObservedFace {
        frame: face.frame.signed(),
        time: Some(time(face.time)),
        r#box: Some(pb::Box {
            x: rect.x,
            y: rect.y,
            width: rect.width,
            height: rect.height,
        }),
        confidence: face.confidence,
    }
}

fn exemplar(exemplar: ObservedExemplar) -> pb::ObservedExemplar {
    pb::ObservedExemplar {
        number: exemplar.number,
        face: Some(face(&exemplar.face)),
        landmarks: exemplar.landmarks.to_vec(),
        quality: exemplar.quality,
        embedding: exemplar.embedding.to_f16_bytes(),
        crop: exemplar.crop,
        loose_crop: exemplar.loose_crop,
    }
}

pub(super) fn report(report: Report) -> pb::Report {
    pb::Report {
        state: state(report.state).into(),
        media: report.media.map(media),
        position: Some(time(report.position)),
        counters: Some(counters(report.counters)),
        error: report.fault.map(fault),
        lag: report.lag.map(duration),
    }
}

pub(super) fn finished(finished: Finished) -> pb::Finished {
    pb::Finished {
        state: state(finished.state).into(),
        error: finished.fault.map(fault),
        position: Some(time(finished.position)),
    }
}

fn media(media: MediaInfo) -> pb::SourceMedia {
    pb::SourceMedia {
        container: media.container,
        codec: media.codec,
        width: media.width,
        height: media.height,
        frames_per_second: media.frames_per_second,
        duration: media.duration.map(duration),
    }
}

fn counters(counters: Counters) -> pb::SourceCounters {
    let owned = |(reason, count): (&'static str, u64)| (reason.to_owned(), count);
    pb::SourceCounters {
        frames_decoded: counters.frames_decoded,
        frames_dropped: counters.frames_dropped,
        frames_detected: counters.frames_detected,
        frames_rejected: counters.frames_rejected.into_iter().map(owned).collect(),
        shots: counters.shots,
        faces_detected: counters.faces_detected,
        faces_rejected: counters.faces_rejected.into_iter().map(owned).collect(),
        faces_embedded: counters.faces_embedded,
        tracks: counters.tracks,
        stage_seconds: counters
            .stages
            .into_iter()
            .map(|(stage, spent)| (stage.to_owned(), spent.as_secs_f64()))
            .collect(),
        reconnects: counters.reconnects,
    }
}

fn fault(fault: Fault) -> pb::SourceError {
    pb::SourceError {
        reason: fault.reason.code().to_owned(),
        message: fault.message,
        position: Some(time(fault.position)),
    }
}

fn state(state: RunState) -> pb::SourceState {
    match state {
        RunState::Connecting => pb::SourceState::Connecting,
        RunState::Running => pb::SourceState::Running,
        RunState::Stalled => pb::SourceState::Stalled,
        RunState::Ended => pb::SourceState::Ended,
        RunState::Stopped => pb::SourceState::Stopped,
        RunState::Failed => pb::SourceState::Failed,
    }
}

/// Stream time as the wire has it: whole microseconds, nothing before the first picture.
pub(super) fn time(time: MediaTime) -> WireDuration {
    duration(time.since(MediaTime::ZERO))
}

/// Stream time from the wire; `None` for what is no time at all.
pub(super) fn media_time(time: &WireDuration) -> Option<MediaTime> {
    let micros = time
        .seconds
        .checked_mul(1_000_000)?
        .checked_add(i64::from(time.nanos) / 1000)?;
    (micros >= 0).then(|| MediaTime::from_micros(micros))
}

fn duration(duration: Duration) -> WireDuration {
    WireDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn wall(wall: WallTime) -> Timestamp {
    let (seconds, micros) = (
        wall.unix_micros().div_euclid(1_000_000),
        wall.unix_micros().rem_euclid(1_000_000),
    );
    Timestamp {
        seconds,
        nanos: i32::try_from(micros * 1000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stream_time_survives_the_wire(micros in 0..i64::MAX / 2) {
            let there = MediaTime::from_micros(micros);
            prop_assert_eq!(media_time(&time(there)), Some(there));
        }
    }

    #[test]
    fn odd_times_are_no_times() {
        assert_eq!(
            media_time(&WireDuration {
                seconds: -1,
                nanos: 0
            }),
            None
        );
        assert_eq!(
            media_time(&WireDuration {
                seconds: i64::MAX,
                nanos: 0
            }),
            None
        );
        assert_eq!(wall(WallTime::from_unix_micros(-1)).nanos, 999_999_000);
    }
}
