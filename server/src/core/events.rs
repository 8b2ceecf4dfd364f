//! The public events of a record: what watchers see. Events are made from records alone (source names
//! apart), so a watcher that resumes from the log sees the same ones as a watcher that was there.

use super::{Catalog, alert, attributes, edit};
use crate::pb::{self, watch_event::Event};
use crate::time::{duration, timestamp};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rollcall_log::record::{
    Body, Decision, DecisionKind, ErasureBegun, MigrationOutcome, Record, SourceState,
    SourceStateChanged, TrackObserved,
};
use rollcall_log::{Log, LogReader, ReadError};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Identities, or tracks, of one event that tells that they were erased.
const ERASED_TOLD_AT_ONCE: usize = 1000;

/// A place between two events of one log. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log.
    pub log_id: String,
    /// Its epoch: restore and rebuild open a new one.
    pub epoch: u64,
    /// The record of the last event delivered.
    pub sequence: u64,
    /// The event within that record, from 0.
    pub number: u32,
}

impl Cursor {
    /// The text that clients keep.
    pub fn encode(&self) -> String {
        let Self {
            log_id,
            epoch,
            sequence,
            number,
        } = self;
        URL_SAFE_NO_PAD.encode(format!("1.{log_id}.{epoch}.{sequence}.{number}"))
    }

    /// Reads what [`Cursor::encode`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut parts = std::str::from_utf8(&bytes).ok()?.split('.');
        if parts.next()? != "1" {
            return None;
        }
        let log_id = parts.next()?.to_owned();
        let epoch = parts.next()?.parse().ok()?;
        let sequence = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self {
            log_id,
            epoch,
            sequence,
            number,
        })
    }
}

/// Makes events from records.
#[derive(Debug)]
pub struct EventSource {
    log_id: String,
    epoch: u64,
    catalog: Catalog,
    /// Sources are never renamed, so a name once read stays right.
    names: Mutex<HashMap<u64, String>>,
}

impl EventSource {
    pub(crate) fn new(log: &Log, catalog: Catalog) -> Self {
        Self {
            log_id: log.id().to_string(),
            epoch: log.epoch(),
            catalog,
            names: Mutex::default(),
        }
    }

    /// The cursor just behind event `number` of record `sequence`.
    pub fn cursor(&self, sequence: u64, number: u32) -> Cursor {
        Cursor {
            log_id: self.log_id.clone(),
            epoch: self.epoch,
            sequence,
            number,
        }
    }

    /// The durable events after `sequence`, read as they are asked for.
    pub(crate) fn after(
        &self,
        log: &LogReader,
        sequence: u64,
    ) -> impl Iterator<Item = Result<pb::WatchEvent, ReadError>> + Send + use<> {
        let copy = Self {
            log_id: self.log_id.clone(),
            epoch: self.epoch,
            catalog: self.catalog.clone(),
            names: Mutex::default(),
        };
        log.read_after(sequence)
            .flat_map(move |record| match record {
                Ok(record) => copy.of(&record).into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
    }

    /// The events of one record, in order.
    pub(crate) fn of(&self, record: &Record) -> Vec<pb::WatchEvent> {
        let events = match &record.body {
            None
            | Some(
                Body::CollectionOpened(_)
                | Body::SourceProgress(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertDelivered(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_),
            ) => Vec::new(),
            Some(Body::ErasureBegun(begun)) => erased(record.sequence, begun),
            Some(Body::SourceAdded(added)) => vec![Event::SourceChanged(pb::SourceChanged {
                source_id: added.source_id,
                name: added.name.clone(),
                state: pb::SourceState::Queued.into(),
                error: None,
            })],
            Some(Body::SourceStateChanged(change)) => vec![self.source_changed(change)],
            Some(Body::TrackObserved(track)) => self.track(track),
            Some(Body::TrackRetracted(track)) => {
                vec![Event::SightingRetracted(pb::SightingRetracted {
                    track_id: track.track_id,
                    identity_id: track.identity_id,
                    source_id: track.source_id,
                })]
            }
            Some(Body::IdentityRenamed(rename)) => {
                vec![Event::IdentityChanged(pb::IdentityChanged {
                    identity_id: rename.identity_id,
                    name: rename.name.clone(),
                    ..pb::IdentityChanged::default()
                })]
            }
            Some(Body::Edited(edited)) => edit::events(edited),
            Some(Body::AlertRaised(raised)) if raised.erased => {
                vec![Event::SightingErased(pb::SightingErased {
                    track_id: raised.track_id,
                    identity_id: raised.identity_id,
                    source_id: 0,
                })]
            }
            Some(Body::AlertRaised(raised)) => vec![Event::AlertRaised(pb::AlertRaised {
                alert: Some(pb::Alert {
                    source_name: self.source_name(raised.source_id),
                    ..alert::as_raised(record.sequence, record.time_us, raised)
                }),
            })],
            Some(
                Body::MigrationStarted(_)
                | Body::ExemplarsReembedded(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_),
            ) => migration(record)
                .map(Event::MigrationChanged)
                .into_iter()
                .collect(),
        };
        (0u32..)
            .zip(events)
            .map(|(number, event)| pb::WatchEvent {
                cursor: self.cursor(record.sequence, number).encode(),
                sequence: record.sequence,
                time: Some(timestamp(record.time_us)),
                event: Some(event),
            })
            .collect()
    }

    fn source_changed(&self, change: &SourceStateChanged) -> Event {
        let error = (!change.reason.is_empty()).then(|| pb::SourceError {
            reason: change.reason.clone(),
            message: change.message.clone(),
            position: Some(duration(change.position_us)),
        });
        Event::SourceChanged(pb::SourceChanged {
            source_id: change.source_id,
            name: self.source_name(change.source_id),
            state: api_state(change.state).into(),
            error,
        })
    }

    fn track(&self, track: &TrackObserved) -> Vec<Event> {
        let none = Decision::default();
        let decision = track.decision.as_ref().unwrap_or(&none);
        if track.erased {
            return vec![Event::SightingErased(pb::SightingErased {
                track_id: track.track_id,
                identity_id: decision.identity_id,
                source_id: track.source_id,
            })];
        }
        let sighting = self.sighting(track, decision.identity_id);
        let moved = decision.previous_identity_id != 0
            && decision.previous_identity_id != decision.identity_id;
        let mut events = Vec::new();
        let kind = decision.kind();
        if matches!(kind, DecisionKind::New | DecisionKind::Ambiguous)
            && (track.revision == 1 || moved)
        {
            events.push(Event::IdentityCreated(pb::IdentityCreated {
                identity_id: decision.identity_id,
                track_id: track.track_id,
                ambiguous: kind == DecisionKind::Ambiguous,
                closest_identity_id: decision.runner_up_identity_id,
                closest_cosine: decision.runner_up_similarity,
            }));
        }
        if track.revision == 1 {
            let sighting = pb::Sighting {
                open: true,
                ..sighting.clone()
            };
            events.push(Event::SightingStarted(pb::SightingStarted {
                sighting: Some(sighting),
            }));
        }
        if moved {
            events.push(Event::TrackReassigned(pb::TrackReassigned {
                sighting: Some(sighting.clone()),
                from_identity_id: decision.previous_identity_id,
                to_identity_id: decision.identity_id,
                reason: decision.reason.clone(),
            }));
            if decision.absorbs_previous {
                events.push(Event::IdentityAbsorbed(pb::IdentityAbsorbed {
                    identity_id: decision.previous_identity_id,
                    into_identity_id: decision.identity_id,
                }));
            }
        }
        if track.closed {
            events.push(Event::SightingEnded(pb::SightingEnded {
                sighting: Some(sighting),
            }));
        } else if track.revision > 1 {
            events.push(Event::SightingChanged(pb::SightingChanged {
                sighting: Some(sighting),
            }));
        }
        events
    }

    fn sighting(&self, track: &TrackObserved, identity: u64) -> pb::Sighting {
        pb::Sighting {
            identity_id: identity,
            track_id: track.track_id,
            source_id: track.source_id,
            source_name: self.source_name(track.source_id),
            start: Some(duration(track.start_us)),
            end: Some(duration(track.end_us)),
            start_frame: track.start_frame,
            end_frame: track.end_frame,
            wall_start: Some(timestamp(track.wall_start_us)),
            open: !track.closed,
            best_exemplar_id: track.best_exemplar_id,
            exemplar_count: track.exemplar_count,
            cosine: track.joined_similarity,
            attributes: attributes::shown(&track.attributes),
        }
    }

    fn source_name(&self, id: u64) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(&id) {
            return name.clone();
        }
        match self.catalog.source(id) {
            Ok(Some(source)) => {
                names.insert(id, source.name.clone());
                source.name
            }
            // The name is decoration: an event without it is better than none.
            Ok(None) => String::new(),
            Err(error) => {
                tracing::warn!(source = id, %error, "a source's name could not be read");
                String::new()
            }
        }
    }
}

/// What watchers are told of an erasure: in parts, none too long.
fn erased(erasure: u64, begun: &ErasureBegun) -> Vec<Event> {
    let part = |identities: &[u64], tracks: &[u64]| {
        Event::Erased(pb::Erased {
            erasure_id: erasure,
            identity_ids: identities.to_vec(),
            track_ids: tracks.to_vec(),
        })
    };
    let people = begun.identity_ids.chunks(ERASED_TOLD_AT_ONCE);
    let tracks = begun.track_ids.chunks(ERASED_TOLD_AT_ONCE);
    let people = people.map(|some| part(some, &[]));
    people.chain(tracks.map(|some| part(&[], some))).collect()
}

/// What a record says of a migration. Of exemplars that were embedded again, each whole percent is told.
fn migration(record: &Record) -> Option<pb::MigrationChanged> {
    let told = |migration: u64, state: pb::MigrationState| pb::MigrationChanged {
        migration,
        state: state.into(),
        ..pb::MigrationChanged::default()
    };
    match record.body.as_ref()? {
        Body::MigrationStarted(started) => {
            let state = if started.rolls_back {
                pb::MigrationState::RollingBack
            } else {
                pb::MigrationState::Reembedding
            };
            let number = Some(started.migration).filter(|number| *number != 0);
            Some(pb::MigrationChanged {
                contract: started.to.clone().unwrap_or_default().contract,
                ..told(number.unwrap_or(record.sequence), state)
            })
        }
        Body::ExemplarsReembedded(batch) => {
            let percent = |done: u64| done.saturating_mul(100) / batch.total.max(1);
            let these = u64::try_from(batch.exemplars.len()).unwrap_or(u64::MAX);
            let before = percent(batch.done.saturating_sub(these));
            (percent(batch.done) > before).then(|| pb::MigrationChanged {
                exemplars_total: batch.total,
                exemplars_done: batch.done,
                exemplars_lost: batch.lost,
                ..told(batch.migration, pb::MigrationState::Unspecified)
            })
        }
        Body::MigrationSwitched(switched) => Some(pb::MigrationChanged {
            contract: switched.contract.clone(),
            ..told(switched.migration, pb::MigrationState::Switched)
        }),
        Body::MigrationEnded(ended) => {
            let state = match ended.outcome() {
                MigrationOutcome::Done => pb::MigrationState::Done,
                MigrationOutcome::RolledBack => pb::MigrationState::RolledBack,
                MigrationOutcome::Cancelled | MigrationOutcome::Unspecified => {
                    pb::MigrationState::Cancelled
                }
            };
            Some(pb::MigrationChanged {
                contract: ended.contract.clone(),
                ..told(ended.migration, state)
            })
        }
        Body::CollectionOpened(_)
        | Body::SourceAdded(_)
        | Body::SourceStateChanged(_)
        | Body::SourceProgress(_)
        | Body::TrackObserved(_)
        | Body::TrackRetracted(_)
        | Body::IdentityRenamed(_)
        | Body::SourceRunStarted(_)
        | Body::Edited(_)
        | Body::AlertRuleChanged(_)
        | Body::AlertRaised(_)
        | Body::AlertDelivered(_)
        | Body::ErasureBegun(_)
        | Body::ErasureEnded(_)
        | Body::ReviewProposed(_) => None,
    }
}

/// The log's state in the API's words; the numbers are the same by design.
fn api_state(state: i32) -> pb::SourceState {
    match SourceState::try_from(state).unwrap_or_default() {
        SourceState::Unspecified => pb::SourceState::Unspecified,
        SourceState::Queued => pb::SourceState::Queued,
        SourceState::Connecting => pb::SourceState::Connecting,
        SourceState::Running => pb::SourceState::Running,
        SourceState::Stalled => pb::SourceState::Stalled,
        SourceState::Ended => pb::SourceState::Ended,
        SourceState::Stopped => pb::SourceState::Stopped,
        SourceState::Failed => pb::SourceState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_nonsense_does_not_parse() {
        let cursor = Cursor {
            log_id: "00ff".into(),
            epoch: 2,
            sequence: 17,
            number: 3,
        };
        assert_eq!(Cursor::parse(&cursor.encode()), Some(cursor));
        for text in ["", "abc", "MQ", &URL_SAFE_NO_PAD.encode("1.a.b.c.d"), "💥"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
