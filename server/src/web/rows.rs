//! Events of the watch stream as rows of the live feed.

use super::facts;
use super::words::{self, Moment};
use crate::core::{Core, Cursor};
use crate::error::ApiError;
use crate::feed::WHOLE_RECORD;
use crate::pb::{self, watch_event::Event};
use crate::time::timestamp_us;
use crate::url_mask::masked;

/// Records looked back at for the rows that a page begins with.
const RECORDS_BACK: u64 = 1000;

/// A row of the feed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// What it is about: a newer row of the same key takes its place.
    pub(super) key: String,
    /// Also the class by which it is styled.
    pub(super) kind: &'static str,
    /// Whom it is about; 0: nobody.
    pub(super) person: u64,
    pub(super) called: String,
    /// An exemplar to show; 0: none.
    pub(super) cover: u64,
    pub(super) text: String,
    pub(super) time: Moment,
}

/// The newest rows, newest first, and the cursor behind them. Blocking.
///
/// # Errors
/// If the log or the catalog cannot be read.
pub(super) fn newest(core: &Core, most: usize) -> Result<(Vec<Row>, String), ApiError> {
    let end = core.view().sequence;
    let events = core.events_after(end.saturating_sub(RECORDS_BACK));
    let events: Vec<pb::WatchEvent> = events.collect::<Result<_, _>>()?;
    let mut rows: Vec<Row> = Vec::new();
    let seen = events.iter().filter(|event| event.sequence <= end);
    for event in seen.rev() {
        if rows.len() >= most {
            break;
        }
        let row = row(core, event)?;
        let fresh = |row: &Row| rows.iter().all(|other| other.key != row.key);
        rows.extend(row.filter(fresh));
    }
    let log = core.log();
    let cursor = Cursor {
        log_id: log.id().to_string(),
        epoch: log.epoch(),
        sequence: end,
        number: WHOLE_RECORD,
    };
    Ok((rows, cursor.encode()))
}

/// The row of an event, if it has one. Blocking.
///
/// # Errors
/// If the catalog cannot be read.
pub(super) fn row(core: &Core, event: &pb::WatchEvent) -> Result<Option<Row>, ApiError> {
    let base = Row {
        key: format!("event-{}", event.sequence),
        time: Moment::of(event.time.as_ref()).unwrap_or_default(),
        ..Row::default()
    };
    let Some(told) = &event.event else {
        return Ok(None);
    };
    let row = match told {
        Event::Started(_) | Event::Heartbeat(_) | Event::Gap(_) => None,
        Event::SourceChanged(changed) => Some(source(base, changed)),
        Event::IdentityCreated(created) => identity_created(core, base, created)?,
        Event::IdentityChanged(changed) => {
            let text = edited(changed);
            Some(about(core, base, "edit", changed.identity_id, text)?)
        }
        Event::IdentityAbsorbed(absorbed) => {
            let text = format!("took over person {}", absorbed.identity_id);
            Some(about(core, base, "edit", absorbed.into_identity_id, text)?)
        }
        Event::IdentityRestored(restored) => {
            let text = format!(
                "is no part of person {} any more",
                restored.from_identity_id
            );
            Some(about(core, base, "edit", restored.identity_id, text)?)
        }
        Event::TracksMoved(moved) => {
            let tracks = words::count(moved.track_count, "track");
            let text = format!("got {tracks} of person {}", moved.from_identity_id);
            Some(about(core, base, "edit", moved.to_identity_id, text)?)
        }
        Event::PhotosChanged(photos) => {
            let more = photos.enrolled_track_ids.len();
            let text = match u64::try_from(more).unwrap_or(u64::MAX) {
                0 => "lost photos".to_owned(),
                more => format!("got {}", words::count(more, "photo")),
            };
            Some(about(core, base, "edit", photos.identity_id, text)?)
        }
        Event::SightingStarted(seen) => sighting(core, base, seen.sighting.as_ref())?,
        Event::SightingChanged(seen) => sighting(core, base, seen.sighting.as_ref())?,
        Event::SightingEnded(seen) => sighting(core, base, seen.sighting.as_ref())?,
        Event::TrackReassigned(moved) => {
            let text = format!("got a track of person {}", moved.from_identity_id);
            Some(about(core, base, "moved", moved.to_identity_id, text)?)
        }
        Event::FactChanged(changed) => fact(core, base, changed)?,
        Event::AlertRaised(raised) => {
            let alert = raised.alert.clone().unwrap_or_default();
            let what = match alert.kind() {
                pb::AlertKind::Left => "has left",
                pb::AlertKind::Appeared | pb::AlertKind::Unspecified => "has appeared",
            };
            let (source, rule) = (&alert.source_name, &alert.rule_name);
            let text = format!("{what} on {source}: alert \u{201c}{rule}\u{201d}");
            let row = about(core, base, "alert", alert.identity_id, text)?;
            Some(Row {
                cover: alert.best_exemplar_id,
                ..row
            })
        }
        Event::MigrationChanged(_) | Event::Erased(_) | Event::SightingErased(_) => None,
        Event::SightingRetracted(gone) => {
            let key = track_key(gone.track_id);
            let text = "was not seen there after all".to_owned();
            let row = about(core, base, "gone", gone.identity_id, text)?;
            Some(Row { key, ..row })
        }
    };
    Ok(row)
}

/// What is said of somebody after an edit.
fn edited(changed: &pb::IdentityChanged) -> String {
    let hidden = changed.state() == pb::IdentityState::Hidden;
    let said = [
        (!changed.name.is_empty(), changed.name.as_str()),
        (changed.confirmed, "confirmed"),
        (hidden, "hidden"),
    ];
    let said = said
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, what)| *what);
    let said: Vec<&str> = said.collect();
    if said.is_empty() {
        "was edited: no name".to_owned()
    } else {
        format!("was edited: {}", said.join(", "))
    }
}

fn track_key(track: u64) -> String {
    format!("track-{track}")
}

fn source(base: Row, changed: &pb::SourceChanged) -> Row {
    let error = changed.error.as_ref();
    let error = error.map(|error| format!(" ({}: {})", error.reason, masked(&error.message)));
    let state = words::state(changed.state());
    Row {
        key: format!("source-{}", changed.source_id),
        kind: "source",
        text: format!("{}: {state}{}", changed.name, error.unwrap_or_default()),
        ..base
    }
}

/// Somebody whom people have made, or whom the machine could not tell from another: all others are told of by
/// the sighting that they begin with.
fn identity_created(
    core: &Core,
    base: Row,
    created: &pb::IdentityCreated,
) -> Result<Option<Row>, ApiError> {
    let text = if created.ambiguous {
        let cosine = words::cosine(created.closest_cosine);
        let closest = core.catalog().identity(created.closest_identity_id)?;
        let closest = closest.map_or_else(
            || words::called(created.closest_identity_id, ""),
            |closest| words::called(closest.id, &closest.name),
        );
        format!("may be {closest} ({cosine}): to be reviewed")
    } else if created.track_id == 0 {
        "was added by hand".to_owned()
    } else {
        return Ok(None);
    };
    let key = format!("new-{}", created.identity_id);
    let row = about(core, base, "new", created.identity_id, text)?;
    Ok(Some(Row { key, ..row }))
}

/// What was said of who is who. That tracks were put somewhere is told of by their moves.
fn fact(core: &Core, base: Row, changed: &pb::FactChanged) -> Result<Option<Row>, ApiError> {
    let fact = changed.fact.unwrap_or_default();
    if fact.kind() == pb::FactKind::Placed {
        return Ok(None);
    }
    let (one, other) = (fact.identity_id, fact.other_identity_id);
    let who = match (one, other) {
        (0, 0) => {
            let text = words::capital(&facts::in_words(&fact));
            let told = ["no longer said", "so people say"][usize::from(changed.holds)];
            return Ok(Some(Row {
                kind: "edit",
                text: format!("{text}: {told}"),
                ..base
            }));
        }
        (0, other) => (other, format!("who track {} shows", fact.track_id)),
        (one, 0) => (one, format!("who track {} shows", fact.other_track_id)),
        (one, other) => (one, format!("person {other}")),
    };
    let (identity, whom) = who;
    let text = if changed.holds {
        format!("is not {whom}")
    } else {
        format!("may be {whom} after all")
    };
    Ok(Some(about(core, base, "edit", identity, text)?))
}

fn sighting(
    core: &Core,
    base: Row,
    sighting: Option<&pb::Sighting>,
) -> Result<Option<Row>, ApiError> {
    let Some(sighting) = sighting else {
        return Ok(None);
    };
    let start = words::stream_time(sighting.start.as_ref());
    let until = if sighting.open {
        "on".to_owned()
    } else {
        format!("to {}", words::stream_time(sighting.end.as_ref()))
    };
    let (kind, seen) = if sighting.open {
        ("open", "is seen")
    } else {
        ("seen", "was seen")
    };
    let text = format!("{seen} on {} from {start} {until}", sighting.source_name);
    let row = about(core, base, kind, sighting.identity_id, text)?;
    Ok(Some(Row {
        key: track_key(sighting.track_id),
        cover: sighting.best_exemplar_id,
        time: Moment::at(sighting.wall_start.as_ref().map_or(0, timestamp_us)),
        ..row
    }))
}

fn about(
    core: &Core,
    base: Row,
    kind: &'static str,
    identity: u64,
    text: String,
) -> Result<Row, ApiError> {
    let found = core.catalog().identity(identity)?.unwrap_or_default();
    let id = if found.id == 0 { identity } else { found.id };
    Ok(Row {
        key: format!("{}-{identity}", base.key),
        kind,
        person: id,
        called: words::called(id, &found.name),
        cover: found.cover_exemplar_id,
        text,
        ..base
    })
}
