//! Sightings along a line for each source. A file's line is its own time, since that is where to look; any other's is
//! the wall clock.

use super::words::{Moment, clock};
use crate::pb::{self, SourceKind};
use crate::time::{duration_us, timestamp_us};
use std::collections::{BTreeMap, BTreeSet};

/// The length of a line in its picture's units.
const LENGTH: f64 = 1000.0;
/// The shortest bar that can be seen and hit.
const BAR_MIN: f64 = 4.0;

/// The sightings on one source.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) source: String,
    /// Where the line begins and ends.
    pub(super) from: String,
    pub(super) to: String,
    /// By their beginning.
    pub(super) bars: Vec<Bar>,
}

/// One sighting.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) width: String,
    /// Where and when, in words.
    pub(super) title: String,
    /// The track, if its card is on the page; else 0.
    pub(super) track: u64,
}

/// Lanes by source id. `kinds` has each source's kind; `cards` the tracks that have a card on the page.
pub(super) fn lanes(
    sightings: &[pb::Sighting],
    kinds: &BTreeMap<u64, SourceKind>,
    cards: &BTreeSet<u64>,
) -> Vec<Lane> {
    let mut sources: BTreeMap<u64, Vec<&pb::Sighting>> = BTreeMap::new();
    for sighting in sightings {
        sources
            .entry(sighting.source_id)
            .or_default()
            .push(sighting);
    }
    let lane = |(source, seen): (u64, Vec<&pb::Sighting>)| {
        let file = kinds.get(&source) == Some(&SourceKind::File);
        lane(&seen, file, cards)
    };
    sources.into_iter().map(lane).collect()
}

fn lane(seen: &[&pb::Sighting], file: bool, cards: &BTreeSet<u64>) -> Lane {
    let span = |sighting: &pb::Sighting| {
        let start = sighting.start.as_ref().map_or(0, duration_us);
        let length = sighting.end.as_ref().map_or(0, duration_us) - start;
        let wall = sighting.wall_start.as_ref().map_or(0, timestamp_us);
        let from = if file { start } else { wall };
        (from, from.saturating_add(length.max(0)))
    };
    let mut spans: Vec<_> = seen
        .iter()
        .map(|sighting| (span(sighting), *sighting))
        .collect();
    spans.sort_by_key(|(span, sighting)| (*span, sighting.track_id));
    let from = spans.iter().map(|((from, _), _)| *from).min().unwrap_or(0);
    let to = spans.iter().map(|((_, to), _)| *to).max().unwrap_or(0);
    let say = |us| if file { clock(us) } else { Moment::at(us).text };
    let bars = spans.iter().map(|((start, end), sighting)| {
        let (x, width) = bar(*start - from, *end - from, to - from);
        Bar {
            x: format!("{x:.1}"),
            width: format!("{width:.1}"),
            title: format!("{} to {}", say(*start), say(*end)),
            track: Some(sighting.track_id)
                .filter(|track| cards.contains(track))
                .unwrap_or(0),
        }
    });
    Lane {
        source: seen
            .first()
            .map(|s| s.source_name.clone())
            .unwrap_or_default(),
        from: say(from),
        to: say(to),
        bars: bars.collect(),
    }
}

/// Where a bar lies and how long it is, of a line of `whole` microseconds.
fn bar(start: i64, end: i64, whole: i64) -> (f64, f64) {
    // A pixel of the picture is far more than what rounding makes of a century in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let part = |us: i64| LENGTH * us as f64 / whole.max(1) as f64;
    let width = part(end - start).max(BAR_MIN);
    (part(start).min(LENGTH - width).max(0.0), width.min(LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{duration, timestamp};

    fn seen(track: u64, source: u64, start: i64, end: i64) -> pb::Sighting {
        pb::Sighting {
            track_id: track,
            source_id: source,
            source_name: format!("s{source}"),
            start: Some(duration(start * 1_000_000)),
            end: Some(duration(end * 1_000_000)),
            wall_start: Some(timestamp((1_000 + start) * 1_000_000)),
            ..Default::default()
        }
    }

    #[test]
    fn a_line_for_each_source() {
        let kinds = [(1, SourceKind::File), (2, SourceKind::Live)].into();
        let sightings = [seen(3, 1, 60, 70), seen(2, 1, 10, 20), seen(4, 2, 5, 5)];
        let lanes = lanes(&sightings, &kinds, &[3].into());
        assert_eq!(lanes.len(), 2);
        let (file, live) = (&lanes[0], &lanes[1]);
        assert_eq!((file.from.as_str(), file.to.as_str()), ("0:10", "1:10"));
        let bars = file.bars.iter();
        let bars: Vec<_> = bars
            .map(|b| (b.x.as_str(), b.width.as_str(), b.track))
            .collect();
        assert_eq!(bars, [("0.0", "166.7", 0), ("833.3", "166.7", 3)]);
        assert_eq!(live.from, "1970-01-01 00:16:45 UTC");
        assert_eq!(live.bars[0].width, "4.0");
    }
}
