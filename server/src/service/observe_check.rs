//! Looks at each message of a run before the writer gets it: bytes from outside, however trusted
//! the worker.

use crate::core::Observed;
use crate::pb::{self, SourceState, observe_request::Message};
use crate::time::duration_us;
use rollcall_index::Embedding;
use std::collections::HashMap;

/// Faces of a message at most.
const FACES_MAX: usize = 4096;
/// Exemplars of a message at most.
const EXEMPLARS_MAX: usize = 64;
/// Attributes of a track at most.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of an attribute's name, label and unit at most.
const ATTRIBUTE_BYTES_MAX: usize = 64;
/// Bytes of a crop at most.
const CROP_BYTES_MAX: usize = 1 << 20;
/// Tracks open at a time in one run at most.
const OPEN_TRACKS_MAX: usize = 10_000;
/// Stream times are below ten years.
const TIME_US_MAX: i64 = 10 * 366 * 86_400 * 1_000_000;
/// How far a box may reach beyond the picture, in fractions of it.
const BOX_REACH: f32 = 2.0;
const LANDMARK_VALUES: usize = 10;
/// Characters of a reason and of a message for people at most.
const REASON_CHARS_MAX: usize = 64;
const MESSAGE_CHARS_MAX: usize = 2000;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It does not make sense.
    Protocol(String),
    /// Its embedding cannot be used.
    Embedding(String),
}

fn refuse<T>(what: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::Protocol(what.into()))
}

/// The state of one run's stream.
#[derive(Debug)]
pub(crate) struct Checker {
    dimension: usize,
    next_number: u64,
    /// Last revision of each open track.
    open: HashMap<u64, u32>,
    finished: bool,
}

/// A message that passed.
#[derive(Debug)]
pub(crate) enum Checked {
    /// To be recorded and acknowledged.
    Observed(Box<Observed>),
    /// To be kept in memory.
    Report(Box<pb::Report>),
}

impl Checker {
    pub(crate) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            next_number: 1,
            open: HashMap::new(),
            finished: false,
        }
    }

    /// Checks the next message.
    pub(crate) fn check(&mut self, request: pb::ObserveRequest) -> Result<Checked, Unfit> {
        let number = request.number;
        if self.finished {
            return refuse(format!("message {number} after Finished"));
        }
        let message = match request.message {
            None => return refuse(format!("message {number} is empty")),
            Some(Message::Hello(_)) => return refuse("Hello twice"),
            Some(Message::Report(report)) if number == 0 => {
                check_report(&report)?;
                return Ok(Checked::Report(Box::new(report)));
            }
            Some(Message::Report(_)) => return refuse("a Report has number 0"),
            Some(message) => message,
        };
        if number != self.next_number {
            return refuse(format!(
                "message {number}, where {} is due",
                self.next_number
            ));
        }
        self.next_number += 1;
        let named = |unfit| match unfit {
            Unfit::Protocol(what) => Unfit::Protocol(format!("message {number}: {what}")),
            Unfit::Embedding(what) => Unfit::Embedding(format!("message {number}: {what}")),
        };
        let observed = match message {
            Message::Track(track) => {
                self.check_track(&track).map_err(named)?;
                Observed::Track(track)
            }
            Message::Checkpoint(checkpoint) => {
                let at = checkpoint.complete_up_to.as_ref();
                time("complete_up_to", at).map_err(named)?;
                Observed::Checkpoint(checkpoint)
            }
            Message::Finished(finished) => {
                check_finished(&finished).map_err(named)?;
                self.finished = true;
                Observed::Finished(finished)
            }
            Message::Hello(_) | Message::Report(_) => return refuse("unexpected message"),
        };
        Ok(Checked::Observed(Box::new(observed)))
    }

    fn check_track(&mut self, track: &pb::TrackObservation) -> Result<(), Unfit> {
        let key = track.track_key;
        let due = self
            .open
            .get(&key)
            .map_or(1, |revision| revision.saturating_add(1));
        if track.revision != due {
            return refuse(format!(
                "track {key}: revision {}, where {due} is due",
                track.revision
            ));
        }
        let start = time("start", track.start.as_ref())?;
        let end = time("end", track.end.as_ref())?;
        if start > end || track.start_frame > track.end_frame || track.start_frame < 0 {
            return refuse(format!("track {key} ends before it starts"));
        }
        if track.wall_start.is_none() {
            return refuse(format!("track {key}: wall_start is missing"));
        }
        if track.faces.len() > FACES_MAX {
            return refuse(format!(
                "track {key}: more than {FACES_MAX} faces in a message"
            ));
        }
        if track.exemplars.len() > EXEMPLARS_MAX || track.dropped_exemplars.len() > EXEMPLARS_MAX {
            return refuse(format!(
                "track {key}: more than {EXEMPLARS_MAX} exemplars in a message"
            ));
        }
        check_attributes(&track.attributes)?;
        for face in &track.faces {
            check_face(face)?;
        }
        for exemplar in &track.exemplars {
            self.check_exemplar(exemplar)?;
        }
        if track.closed {
            self.open.remove(&key);
        } else {
            self.open.insert(key, track.revision);
            if self.open.len() > OPEN_TRACKS_MAX {
                return refuse(format!("more than {OPEN_TRACKS_MAX} open tracks"));
            }
        }
        Ok(())
    }

    fn check_exemplar(&self, exemplar: &pb::ObservedExemplar) -> Result<(), Unfit> {
        let number = exemplar.number;
        if number == 0 {
            return refuse("exemplars are numbered from 1");
        }
        let Some(face) = &exemplar.face else {
            return refuse(format!("exemplar {number} has no face"));
        };
        check_face(face)?;
        let landmarks = &exemplar.landmarks;
        if !landmarks.is_empty() && landmarks.len() != LANDMARK_VALUES {
            return refuse(format!(
                "exemplar {number}: landmarks are ten numbers, or none"
            ));
        }
        if landmarks.iter().any(|value| !value.is_finite()) {
            return refuse(format!("exemplar {number}: a landmark is not finite"));
        }
        if !(0.0..=1.0).contains(&exemplar.quality) {
            return refuse(format!("exemplar {number}: quality is not from 0 to 1"));
        }
        for crop in [&exemplar.crop, &exemplar.loose_crop] {
            if crop.len() > CROP_BYTES_MAX {
                return refuse(format!("exemplar {number}: a crop is larger than 1 MiB"));
            }
        }
        let (found, expected) = (exemplar.embedding.len(), self.dimension * 2);
        if found != expected {
            return Err(Unfit::Embedding(format!(
                "exemplar {number}: {found} bytes, where {} 16-bit values are {expected}",
                self.dimension
            )));
        }
        match Embedding::from_f16_bytes(&exemplar.embedding) {
            Ok(_) => Ok(()),
            Err(error) => Err(Unfit::Embedding(format!("exemplar {number}: {error}"))),
        }
    }
}

fn check_attributes(attributes: &[pb::Attribute]) -> Result<(), Unfit> {
    if attributes.len() > ATTRIBUTES_MAX {
        return refuse(format!("more than {ATTRIBUTES_MAX} attributes"));
    }
    let plain = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        text.len() <= ATTRIBUTE_BYTES_MAX && text.chars().all(known)
    };
    for attribute in attributes {
        let Some(text) = Some(&attribute.name).filter(|name| !name.is_empty() && plain(name))
        else {
            return refuse("an attribute's name is not 1 to 64 letters, digits, - _ or .");
        };
        let named = plain(&attribute.label) && attribute.unit.len() <= ATTRIBUTE_BYTES_MAX;
        let sound = attribute.value.is_finite() && (0.0..f32::INFINITY).contains(&attribute.spread);
        if !named || !sound {
            return refuse(format!(
                "attribute {text}: label, unit, value or spread is odd"
            ));
        }
    }
    Ok(())
}

fn check_report(report: &pb::Report) -> Result<(), Unfit> {
    if let Some(position) = &report.position {
        time("position", Some(position))?;
    }
    if let Some(lag) = &report.lag {
        time("lag", Some(lag))?;
    }
    if let Some(error) = &report.error {
        check_error(error)?;
    }
    let Some(counters) = &report.counters else {
        return Ok(());
    };
    let names = counters
        .frames_rejected
        .keys()
        .chain(counters.faces_rejected.keys());
    for name in names.chain(counters.stage_seconds.keys()) {
        // They become labels of metrics.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            return refuse("a counter's name has other characters than letters, digits and _");
        }
    }
    let maps = counters.frames_rejected.len() + counters.faces_rejected.len();
    if maps + counters.stage_seconds.len() > 64 {
        return refuse("more than 64 named counters");
    }
    if counters
        .stage_seconds
        .values()
        .any(|seconds| !seconds.is_finite() || *seconds < 0.0)
    {
        return refuse("a stage's seconds are not a number from 0");
    }
    Ok(())
}

fn check_finished(finished: &pb::Finished) -> Result<(), Unfit> {
    match finished.state() {
        SourceState::Ended | SourceState::Stopped | SourceState::Failed => {}
        SourceState::Unspecified
        | SourceState::Queued
        | SourceState::Connecting
        | SourceState::Running
        | SourceState::Stalled => return refuse("Finished with a state that is no end"),
    }
    if let Some(position) = &finished.position {
        time("position", Some(position))?;
    }
    finished.error.as_ref().map_or(Ok(()), check_error)
}

fn check_error(error: &pb::SourceError) -> Result<(), Unfit> {
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if error.reason.len() > REASON_CHARS_MAX || !error.reason.chars().all(upper) {
        return refuse("an error's reason is not UPPER_SNAKE");
    }
    if error.message.chars().count() > MESSAGE_CHARS_MAX {
        return refuse("an error's message is longer than 2000 characters");
    }
    error.position.as_ref().map_or(Ok(()), |position| {
        time("position", Some(position)).map(drop)
    })
}

fn check_face(face: &pb::ObservedFace) -> Result<(), Unfit> {
    time("a face's time", face.time.as_ref())?;
    if face.frame < 0 {
        return refuse("a face's frame is negative");
    }
    if !(0.0..=1.0).contains(&face.confidence) {
        return refuse("a face's confidence is not from 0 to 1");
    }
    let Some(b) = &face.r#box else {
        return refuse("a face has no box");
    };
    let inside = |value: f32| (-BOX_REACH..=1.0 + BOX_REACH).contains(&value);
    let sized = |value: f32| (0.0..=1.0 + BOX_REACH).contains(&value);
    if !(inside(b.x) && inside(b.y) && sized(b.width) && sized(b.height)) {
        return refuse("a face's box is not in fractions of the picture");
    }
    Ok(())
}

/// A stream time in microseconds.
fn time(what: &str, time: Option<&prost_types::Duration>) -> Result<i64, Unfit> {
    let Some(time) = time else {
        return refuse(format!("{what} is missing"));
    };
    let us = duration_us(time);
    if !(0..1_000_000_000).contains(&time.nanos) || !(0..TIME_US_MAX).contains(&us) {
        return refuse(format!("{what} is out of range"));
    }
    Ok(us)
}

#[cfg(test)]
mod tests;
