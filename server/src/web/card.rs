//! A sighting with its crops.

use super::words::{self, Moment};
use crate::pb;

/// Crops of a sighting at most.
const CROPS: usize = 6;

/// A sighting as pages show it.
pub(super) struct Card {
    pub(super) track: u64,
    pub(super) source: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) open: bool,
    pub(super) time: Moment,
    /// By which it joined; empty for the track that opened the identity.
    pub(super) cosine: String,
    pub(super) attributes: Vec<String>,
    /// Exemplars, the best first.
    pub(super) crops: Vec<u64>,
}

impl Card {
    pub(super) fn of(sighting: &pb::Sighting, mut crops: Vec<u64>) -> Self {
        crops.truncate(CROPS);
        let attribute = |attribute: &pb::Attribute| {
            let what = if attribute.label.is_empty() {
                format!("{:.0} {}", attribute.value, attribute.unit)
            } else {
                attribute.label.clone()
            };
            format!("{}: {}", attribute.name, what.trim())
        };
        Self {
            track: sighting.track_id,
            source: sighting.source_name.clone(),
            from: words::stream_time(sighting.start.as_ref()),
            to: words::stream_time(sighting.end.as_ref()),
            open: sighting.open,
            time: Moment::of(sighting.wall_start.as_ref()).unwrap_or_default(),
            cosine: Some(sighting.cosine)
                .filter(|cosine| *cosine != 0.0)
                .map(words::cosine)
                .unwrap_or_default(),
            attributes: sighting.attributes.iter().map(attribute).collect(),
            crops,
        }
    }
}
