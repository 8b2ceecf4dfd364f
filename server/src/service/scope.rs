//! What of people and sightings a key for some sources shows.

use crate::core::{Catalog, CatalogError, SightingKey, SightingQuery};
use crate::pb;
use crate::time::{duration_us, timestamp_us};

/// A person with nothing of where and how often they were seen; as their picture, that of a sighting which may be
/// shown.
pub(super) fn narrowed(identity: pb::Identity, shown: Option<&pb::Sighting>) -> pb::Identity {
    pb::Identity {
        id: identity.id,
        name: identity.name,
        state: identity.state,
        etag: identity.etag,
        external_id: identity.external_id,
        confirmed: identity.confirmed,
        cover_exemplar_id: shown.map_or(0, |sighting| sighting.best_exemplar_id),
        ..pb::Identity::default()
    }
}

/// A sighting of somebody on one of these sources, if there is one.
pub(super) fn sighting_on(
    catalog: &Catalog,
    identity: u64,
    sources: &[u64],
) -> Result<Option<pb::Sighting>, CatalogError> {
    for source in sources {
        let query = SightingQuery {
            identity: Some(identity),
            source: Some(*source),
            seen_after_us: None,
            seen_before_us: None,
            after: None,
            limit: 1,
            newest_first: true,
        };
        if let Some(sighting) = catalog.sightings(&query)?.0.pop() {
            return Ok(Some(sighting));
        }
    }
    Ok(None)
}

/// The sightings of a query on each of these sources, in the order of the list, oldest first.
pub(super) fn sightings_on(
    catalog: &Catalog,
    query: &SightingQuery,
    sources: &[u64],
) -> Result<(Vec<pb::Sighting>, u64), CatalogError> {
    let (mut all, mut sequence) = (Vec::new(), u64::MAX);
    for source in sources {
        let of = SightingQuery {
            source: Some(*source),
            ..query.clone()
        };
        let (sightings, seen) = catalog.sightings(&of)?;
        sequence = sequence.min(seen);
        all.extend(sightings);
    }
    all.sort_by_key(|sighting| {
        let key = key(sighting);
        (key.wall_start_us, key.start_us, key.track)
    });
    all.dedup_by_key(|sighting| sighting.track_id);
    all.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok((all, sequence))
}

/// Where a sighting stands in the list.
pub(super) fn key(sighting: &pb::Sighting) -> SightingKey {
    let wall = sighting.wall_start.as_ref().map(timestamp_us);
    let start = sighting.start.as_ref().map(duration_us);
    SightingKey {
        wall_start_us: wall.unwrap_or_default(),
        start_us: start.unwrap_or_default(),
        track: sighting.track_id,
    }
}
