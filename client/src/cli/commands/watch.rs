//! `rollcall watch`.
use std::time::Duration;

use rollcall_client::pb::{self, watch_event::Event};
use rollcall_client::{WatchFrom, WatchItem, WatchOptions};
use serde_json::{Value, json};

use super::connect;
use super::facts::in_words as fact_in_words;
use super::sightings::place;
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Watch};
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, elapsed, enum_name, name, printable};
use crate::cli::out::Out;
use crate::cli::view;

pub(crate) async fn run(args: &Args, command: &Watch, out: &mut Out) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let from = match (&command.cursor, command.from_start) {
        (Some(cursor), _) => WatchFrom::Cursor(cursor.clone()),
        (None, true) => WatchFrom::Start,
        (None, false) => WatchFrom::Now,
    };
    let options = WatchOptions {
        from,
        source_ids: command.sources.clone(),
        identity_ids: command.identities.clone(),
        kinds: command.kinds.clone(),
        give_up_after: None,
    };
    let mut watch = client.watch(options).await?;
    let idle = command.until_idle.and_then(|limit| limit.0);
    // Heartbeats do not put off the end of an idle watch.
    let mut quiet_since = tokio::time::Instant::now();
    let mut count = 0;
    while command.limit.is_none_or(|limit| count < limit) {
        let deadline = idle.map(|idle| quiet_since + idle);
        let item = match deadline {
            None => watch.next().await?,
            Some(deadline) => match tokio::time::timeout_at(deadline, watch.next()).await {
                Ok(item) => item?,
                Err(_) => break,
            },
        };
        match item {
            WatchItem::Reconnecting {
                error,
                attempt,
                pause,
            } => reconnecting(&error, attempt, pause, out),
            WatchItem::Event(event) => {
                let what = what(&event);
                if what != "heartbeat" {
                    quiet_since = tokio::time::Instant::now();
                }
                if print(&event, what, command.heartbeats, out)? && what != "started" {
                    count += 1;
                }
            }
        }
    }
    Ok(super::found(count > 0))
}

fn reconnecting(error: &rollcall_client::Error, attempt: u32, pause: Duration, out: &Out) {
    if attempt == 0 {
        out.warn(&format!(
            "{error}; reconnecting from the last event [{}]",
            error.reason()
        ));
    } else {
        out.detail(&format!(
            "attempt {attempt}: {error}; next in {}",
            elapsed(pause.as_secs_f64())
        ));
    }
}

/// The event's name in the output.
fn what(event: &pb::WatchEvent) -> &'static str {
    match &event.event {
        Some(Event::Started(_)) => "started",
        Some(Event::Heartbeat(_)) => "heartbeat",
        Some(Event::Gap(_)) => "gap",
        Some(Event::SourceChanged(_)) => "source_changed",
        Some(Event::IdentityCreated(_)) => "identity_created",
        Some(Event::IdentityChanged(_)) => "identity_changed",
        Some(Event::IdentityAbsorbed(_)) => "identity_absorbed",
        Some(Event::SightingStarted(_)) => "sighting_started",
        Some(Event::SightingChanged(_)) => "sighting_changed",
        Some(Event::SightingEnded(_)) => "sighting_ended",
        Some(Event::TrackReassigned(_)) => "track_reassigned",
        Some(Event::SightingRetracted(_)) => "sighting_retracted",
        Some(Event::IdentityRestored(_)) => "identity_restored",
        Some(Event::TracksMoved(_)) => "tracks_moved",
        Some(Event::AlertRaised(_)) => "alert",
        Some(Event::MigrationChanged(_)) => "migration_changed",
        Some(Event::Erased(_)) => "erased",
        Some(Event::SightingErased(_)) => "sighting_erased",
        Some(Event::FactChanged(_)) => "fact_changed",
        Some(Event::PhotosChanged(_)) => "photos_changed",
        // A newer server's kind.
        None => "unknown",
    }
}

/// Whether a line was printed.
fn print(
    event: &pb::WatchEvent,
    what: &'static str,
    heartbeats: bool,
    out: &mut Out,
) -> Result<bool, Failure> {
    if what == "heartbeat" && !heartbeats {
        return Ok(false);
    }
    if what == "gap" {
        out.warn("events are missing here: list what you need afresh [GAP]");
    }
    match out.format {
        Format::Json | Format::Jsonl => out.json_line(&as_json(event, what))?,
        Format::Table => {
            let time = event
                .time
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let clock = time.get(11..19).unwrap_or("--:--:--").to_owned();
            out.line(&format!("{clock}  {:<18} {}", what, sentence(event)))?;
            out.flush()?;
        }
    }
    Ok(true)
}

fn as_json(event: &pb::WatchEvent, what: &str) -> Value {
    let mut line = json!({
        "event": what,
        "cursor": view::text(&event.cursor),
        "sequence": event.sequence,
        "time": view::moment(event.time.as_ref()),
    });
    let body = event.event.as_ref().map_or(Value::Null, body);
    if let (Value::Object(line), Value::Object(body)) = (&mut line, body) {
        line.extend(body);
    }
    line
}

fn body(event: &Event) -> Value {
    let sighting = |sighting: &Option<pb::Sighting>| sighting.as_ref().map(view::Sighting::from);
    match event {
        Event::Started(e) => {
            json!({ "after_sequence": e.after_sequence, "log_id": e.log_id, "epoch": e.epoch })
        }
        Event::Heartbeat(e) => json!({ "visible_sequence": e.sequence }),
        Event::Gap(e) => json!({
            "from_sequence": e.from_sequence, "to_sequence": e.to_sequence, "reason": e.reason,
        }),
        Event::SourceChanged(e) => json!({
            "source_id": e.source_id,
            "name": view::text(&e.name),
            "state": view::source_state(e.state()),
            "error": e.error.as_ref().map(view::SourceError::from),
        }),
        Event::IdentityCreated(e) => json!({
            "identity_id": e.identity_id,
            "track_id": view::id(e.track_id),
            "ambiguous": e.ambiguous,
            "closest_identity_id": view::id(e.closest_identity_id),
            "closest_cosine": view::id(e.closest_identity_id).map(|_| e.closest_cosine),
        }),
        Event::IdentityChanged(e) => json!({
            "identity_id": e.identity_id,
            "name": view::text(&e.name),
            "external_id": view::text(&e.external_id),
            "state": enum_name(e.state().as_str_name(), "IDENTITY_STATE_"),
            "confirmed": e.confirmed,
            "metadata": e.metadata,
        }),
        Event::IdentityAbsorbed(e) => {
            json!({ "identity_id": e.identity_id, "into_identity_id": e.into_identity_id })
        }
        Event::SightingStarted(e) => json!({ "sighting": sighting(&e.sighting) }),
        Event::SightingChanged(e) => json!({ "sighting": sighting(&e.sighting) }),
        Event::SightingEnded(e) => json!({ "sighting": sighting(&e.sighting) }),
        Event::TrackReassigned(e) => json!({
            "sighting": sighting(&e.sighting),
            "from_identity_id": e.from_identity_id,
            "to_identity_id": e.to_identity_id,
            "reason": e.reason,
        }),
        Event::SightingRetracted(e) => json!({
            "track_id": e.track_id, "identity_id": e.identity_id, "source_id": e.source_id,
        }),
        Event::Erased(e) => json!({
            "erasure_id": e.erasure_id,
            "identity_ids": e.identity_ids,
            "track_ids": e.track_ids,
        }),
        Event::SightingErased(e) => json!({
            "track_id": e.track_id, "identity_id": e.identity_id, "source_id": e.source_id,
        }),
        Event::IdentityRestored(e) => {
            json!({ "identity_id": e.identity_id, "from_identity_id": e.from_identity_id })
        }
        Event::TracksMoved(e) => json!({
            "from_identity_id": e.from_identity_id,
            "to_identity_id": e.to_identity_id,
            "track_ids": e.track_ids,
            "tracks": e.track_count,
        }),
        Event::AlertRaised(e) => json!({ "alert": e.alert.as_ref().map(view::Alert::from) }),
        Event::MigrationChanged(e) => json!({
            "migration": e.migration,
            "state": view::migration_state(e.state()),
            "contract": view::text(&e.contract),
            "exemplars": view::id(e.exemplars_total),
            "exemplars_done": view::id(e.exemplars_total).map(|_| e.exemplars_done),
            "exemplars_lost": view::id(e.exemplars_total).map(|_| e.exemplars_lost),
        }),
        Event::PhotosChanged(e) => json!({
            "identity_id": e.identity_id,
            "enrolled_track_ids": e.enrolled_track_ids,
            "withdrawn_track_ids": e.withdrawn_track_ids,
        }),
        Event::FactChanged(e) => json!({
            "fact": e.fact.as_ref().map(view::Fact::from), "holds": e.holds,
        }),
    }
}

fn sentence(event: &pb::WatchEvent) -> String {
    let seen = |sighting: &Option<pb::Sighting>| {
        let sighting = sighting.clone().unwrap_or_default();
        let [source, from, to, _] = place(&sighting);
        format!(
            "identity {} on {source}, {from} to {to}",
            sighting.identity_id
        )
    };
    match &event.event {
        Some(Event::Started(e)) => format!("after sequence {}", e.after_sequence),
        Some(Event::Heartbeat(e)) => format!("sequence {}", e.sequence),
        Some(Event::Gap(e)) => format!("{} to {} lost", e.from_sequence, e.to_sequence),
        Some(Event::SourceChanged(e)) => {
            let error = e
                .error
                .as_ref()
                .map(|e| format!(" [{}]", printable(&e.reason)));
            let state = view::source_state(e.state());
            let name = printable(&e.name);
            format!(
                "source {} ({name}) is {state}{}",
                e.source_id,
                error.unwrap_or_default()
            )
        }
        Some(Event::IdentityCreated(e)) if e.ambiguous => format!(
            "identity {}, hard to tell from {} (cosine {})",
            e.identity_id,
            e.closest_identity_id,
            cosine(e.closest_cosine)
        ),
        Some(Event::IdentityCreated(e)) => format!("identity {}", e.identity_id),
        Some(Event::IdentityChanged(e)) => {
            format!("identity {} is {}", e.identity_id, name(&e.name))
        }
        Some(Event::IdentityAbsorbed(e)) => {
            format!(
                "identity {} is part of {}",
                e.identity_id, e.into_identity_id
            )
        }
        Some(Event::SightingStarted(e)) => seen(&e.sighting),
        Some(Event::SightingChanged(e)) => seen(&e.sighting),
        Some(Event::SightingEnded(e)) => seen(&e.sighting),
        Some(Event::TrackReassigned(e)) => {
            format!(
                "{}, formerly identity {}",
                seen(&e.sighting),
                e.from_identity_id
            )
        }
        Some(Event::SightingRetracted(e)) => {
            format!("track {} of identity {}", e.track_id, e.identity_id)
        }
        Some(Event::Erased(e)) => format!(
            "{} identities, {} tracks: forget them (erasure {})",
            e.identity_ids.len(),
            e.track_ids.len(),
            e.erasure_id
        ),
        Some(Event::SightingErased(e)) => {
            format!("track {} was erased since", e.track_id)
        }
        Some(Event::IdentityRestored(e)) => {
            format!(
                "identity {} is no part of {} any more",
                e.identity_id, e.from_identity_id
            )
        }
        Some(Event::TracksMoved(e)) => {
            format!(
                "{} tracks of identity {} are those of {}",
                e.track_count, e.from_identity_id, e.to_identity_id
            )
        }
        Some(Event::AlertRaised(e)) => {
            let alert = e.alert.clone().unwrap_or_default();
            let kind = enum_name(alert.kind().as_str_name(), "ALERT_KIND_");
            format!(
                "{}: identity {} {kind} on {}",
                printable(&alert.rule_name),
                alert.identity_id,
                printable(&alert.source_name)
            )
        }
        Some(Event::MigrationChanged(e)) => match view::migration_state(e.state()) {
            Some(state) => format!("migration {} is {}", e.migration, state.replace('_', " ")),
            None => format!(
                "migration {}: {} of {} faces",
                e.migration, e.exemplars_done, e.exemplars_total
            ),
        },
        Some(Event::PhotosChanged(e)) => format!(
            "identity {}: {} photos enrolled, {} withdrawn",
            e.identity_id,
            e.enrolled_track_ids.len(),
            e.withdrawn_track_ids.len()
        ),
        Some(Event::FactChanged(e)) => {
            let words = fact_in_words(&e.fact.unwrap_or_default());
            if e.holds {
                words
            } else {
                format!("no longer: {words}")
            }
        }
        None => "an event this client does not know".to_owned(),
    }
}
