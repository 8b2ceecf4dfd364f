//! Who was on screen when, in the formats of editors and researchers: `docs/timelines.md`.
//!
//! From spans to text, one file a format; nothing here reads or writes anything.
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost_types::Timestamp;
use rollcall_client::{pb, time};

use super::format::printable;

pub(crate) mod ass;
pub(crate) mod csv;
pub(crate) mod eaf;
pub(crate) mod edl;
mod lanes;
pub(crate) mod otio;
mod rate;
pub(crate) mod webvtt;

pub(crate) use rate::FrameRate;

/// Somebody on screen without a break.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) identity: u64,
    /// Empty while nobody has named the person.
    pub(crate) name: String,
    /// One; or those that were joined, in the order of time.
    pub(crate) tracks: Vec<u64>,
    /// Stream time of the first frame and of the last.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    pub(crate) first_frame: i64,
    pub(crate) last_frame: i64,
    /// Of the first frame.
    pub(crate) wall_start: Option<Timestamp>,
    /// By which the first track joined its identity; 0 if it opened it.
    pub(crate) cosine: f32,
}

/// What the spans lie on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Credentials masked.
    pub(crate) uri: String,
    pub(crate) rate: FrameRate,
    /// Display size in pixels; a guess where the server does not know it.
    pub(crate) size: (u32, u32),
    pub(crate) duration: Option<Duration>,
}

/// A source with everybody who was seen on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) media: Media,
    /// In the order of time.
    pub(crate) spans: Vec<Span>,
}

impl Span {
    fn new(sighting: &pb::Sighting, names: &HashMap<u64, String>) -> Self {
        let at = |at: &Option<prost_types::Duration>| at.as_ref().map(time::duration);
        let first = at(&sighting.start).unwrap_or_default();
        Self {
            identity: sighting.identity_id,
            name: names
                .get(&sighting.identity_id)
                .cloned()
                .unwrap_or_default(),
            tracks: vec![sighting.track_id],
            first,
            last: at(&sighting.end).unwrap_or_default().max(first),
            first_frame: sighting.start_frame,
            last_frame: sighting.end_frame,
            wall_start: sighting.wall_start,
            cosine: sighting.cosine,
        }
    }

    /// What people read: the name, without what could steer a program, or `person 7`.
    pub(crate) fn label(&self) -> String {
        match printable(&self.name) {
            name if name.trim().is_empty() => format!("person {}", self.identity),
            name => name,
        }
    }

    /// The moment at which the last frame is over.
    fn until(&self, rate: FrameRate) -> Duration {
        self.last.saturating_add(rate.frame())
    }

    /// Begin and end in milliseconds; the end lies behind the begin.
    fn milliseconds(&self, rate: FrameRate) -> (u64, u64) {
        let start = milliseconds(self.first);
        (
            start,
            milliseconds(self.until(rate)).max(start.saturating_add(1)),
        )
    }

    /// The first frame, and the one behind the last, counted from the begin of the source at that rate.
    fn frames(&self, rate: FrameRate) -> (u64, u64) {
        (
            rate.frame_at(self.first),
            rate.frame_at(self.last).saturating_add(1),
        )
    }
}

/// The spans of these sightings in the order of time. Those of one identity that follow each other within `join`
/// become one; without `join` none do.
pub(crate) fn spans(
    sightings: &[pb::Sighting],
    names: &HashMap<u64, String>,
    join: Option<Duration>,
) -> Vec<Span> {
    let mut spans: Vec<Span> = sightings.iter().map(|it| Span::new(it, names)).collect();
    let order = |span: &Span| (span.first, span.last, span.identity, span.tracks[0]);
    spans.sort_by_key(order);
    let Some(join) = join else {
        return spans;
    };
    // The newest span of each identity, by its place in `joined`.
    let mut newest: BTreeMap<u64, usize> = BTreeMap::new();
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        let before = newest.get(&span.identity).map(|at| &mut joined[*at]);
        match before {
            Some(before) if span.first.saturating_sub(before.last) <= join => {
                before.last = before.last.max(span.last);
                before.last_frame = before.last_frame.max(span.last_frame);
                before.tracks.extend(span.tracks);
            }
            Some(_) | None => {
                newest.insert(span.identity, joined.len());
                joined.push(span);
            }
        }
    }
    joined.sort_by_key(order);
    joined
}

fn milliseconds(at: Duration) -> u64 {
    let rounded = at.saturating_add(Duration::from_micros(500)).as_millis();
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

/// A place as a URL: an absolute path is made one, what is not becomes no worse.
fn url(uri: &str) -> String {
    if !uri.starts_with('/') {
        return uri.to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let escaped = uri.bytes().map(|byte| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    format!("file://{}", escaped.collect::<String>())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of identity, track, and first and last millisecond; 25 frames a second.
    pub(crate) fn span(identity: u64, name: &str, track: u64, (first, last): (u64, u64)) -> Span {
        let frame = |ms: u64| i64::try_from(ms / 40).unwrap();
        Span {
            identity,
            name: name.to_owned(),
            tracks: vec![track],
            first: Duration::from_millis(first),
            last: Duration::from_millis(last),
            first_frame: frame(first),
            last_frame: frame(last),
            wall_start: None,
            cosine: 0.0,
        }
    }

    pub(crate) fn timeline(spans: Vec<Span>) -> Timeline {
        let media = Media {
            id: 3,
            name: "clip.mp4".to_owned(),
            uri: "/videos/my clip.mp4".to_owned(),
            rate: FrameRate::new(25.0).unwrap(),
            size: (640, 480),
            duration: Some(Duration::from_secs(60)),
        };
        Timeline { media, spans }
    }

    /// Two people; the first is seen twice.
    pub(crate) fn two_people() -> Timeline {
        let mut spans = vec![
            span(1, "Ada <L> & \"Co\"", 4, (480, 2000)),
            span(2, "", 5, (1000, 1000)),
            span(1, "Ada <L> & \"Co\"", 7, (3_600_040, 3_601_000)),
        ];
        spans[2].cosine = 0.742;
        timeline(spans)
    }

    fn sighting(identity_id: u64, track_id: u64, (first, last): (u64, u64)) -> pb::Sighting {
        let at = |ms| Some(time::to_api(Duration::from_millis(ms)));
        pb::Sighting {
            identity_id,
            track_id,
            start: at(first),
            end: at(last),
            ..Default::default()
        }
    }

    /// Identity, tracks, first and last of each.
    fn joined(sightings: &[pb::Sighting], join_ms: Option<u64>) -> Vec<(u64, Vec<u64>, u64, u64)> {
        let join = join_ms.map(Duration::from_millis);
        let spans = spans(sightings, &HashMap::new(), join);
        let short = |span: Span| {
            let (first, last) = (milliseconds(span.first), milliseconds(span.last));
            (span.identity, span.tracks, first, last)
        };
        spans.into_iter().map(short).collect()
    }

    #[test]
    fn sightings_that_touch_are_joined_if_asked_for() {
        let seen = [
            sighting(1, 3, (2100, 3000)),
            sighting(2, 2, (500, 900)),
            sighting(1, 1, (0, 2000)),
            sighting(1, 4, (2500, 2600)),
            sighting(1, 5, (3201, 4000)),
        ];
        assert_eq!(
            joined(&seen, Some(200)),
            [
                (1, vec![1, 3, 4], 0, 3000),
                (2, vec![2], 500, 900),
                (1, vec![5], 3201, 4000)
            ]
        );
        assert_eq!(joined(&seen, Some(201))[0].1, [1, 3, 4, 5]);
        assert_eq!(joined(&seen, None).len(), 5);
        assert!(joined(&seen, None).is_sorted_by_key(|span| span.2));
    }

    #[test]
    fn people_without_a_name_have_a_number() {
        assert_eq!(span(7, "", 1, (0, 0)).label(), "person 7");
        assert_eq!(span(7, " ", 1, (0, 0)).label(), "person 7");
        assert_eq!(span(7, "A\nB", 1, (0, 0)).label(), "A\u{fffd}B");
    }

    #[test]
    fn paths_become_urls() {
        assert_eq!(url("/a b/ü.mp4"), "file:///a%20b/%C3%BC.mp4");
        assert_eq!(url("rtsp://***@cam/1"), "rtsp://***@cam/1");
        assert_eq!(url("studio feed"), "studio feed");
    }
}
