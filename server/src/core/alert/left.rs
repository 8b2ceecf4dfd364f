//! Who has left: somebody whose coming was told, and who was not seen for the rule's absence time.

use super::super::apply::Failure;
use super::super::catalog::{CatalogWriter, OpenAlert, Seen};
use super::super::writer::is_final;
use super::watchlist::{Rule, Watchlist};
use rollcall_log::record::{AlertKind, AlertRaised, SourceKind};

/// Open alerts looked at in one go.
const LOOKED_AT_MAX: u32 = 64;
/// Sightings of a person looked at, newest first.
const SEEN_MAX: usize = 64;

/// Those who have left as of `now_us`, among the next few whose coming was told. Live sources go by the
/// clock; of others the time passes as they are read.
pub(super) fn left(
    list: &mut Watchlist,
    catalog: &CatalogWriter,
    now_us: i64,
) -> Result<Vec<AlertRaised>, Failure> {
    let open = catalog.open_alerts(list.looked_at, LOOKED_AT_MAX)?;
    let full = open.len() == usize::try_from(LOOKED_AT_MAX).unwrap_or(usize::MAX);
    list.looked_at = open.last().filter(|_| full).map_or(0, |last| last.sequence);
    let mut raised = Vec::new();
    for alert in open {
        if let Some(rule) = list.get(alert.raised.rule_id) {
            raised.extend(has_left(rule, catalog, &alert, now_us)?);
        }
    }
    Ok(raised)
}

fn has_left(
    rule: &Rule,
    catalog: &CatalogWriter,
    alert: &OpenAlert,
    now_us: i64,
) -> Result<Option<AlertRaised>, Failure> {
    let takes = |seen: &Seen| rule.takes_source(seen.source, seen.kind);
    let seen = catalog.last_seen(alert.person, SEEN_MAX, takes)?;
    if seen.iter().any(|seen| !seen.closed) {
        return Ok(None);
    }
    let last = seen
        .iter()
        .max_by_key(|seen| (seen.wall_end_us, seen.track));
    if last.is_some_and(|last| !has_passed(last, rule.says.absence_us, now_us)) {
        return Ok(None);
    }
    let told = &alert.raised;
    Ok(Some(AlertRaised {
        rule_id: rule.id,
        rule_name: rule.says.name.clone(),
        kind: AlertKind::Left.into(),
        identity_id: alert.person,
        track_id: last.map_or(0, |last| last.track),
        source_id: last.map_or(told.source_id, |last| last.source),
        appearance: told.appearance,
        at_us: last.map_or(told.at_us, |last| last.wall_end_us),
        position_us: last.map_or(told.position_us, |last| last.end_us),
        similarity: 0.0,
        best_exemplar_id: last.map_or(0, |last| last.best_exemplar),
        appeared_sequence: alert.sequence,
        expects_left: false,
        ..AlertRaised::default()
    }))
}

/// Whether so much time of its source has passed since the sighting.
fn has_passed(seen: &Seen, absence_us: i64, now_us: i64) -> bool {
    if is_final(seen.state) {
        return true;
    }
    match seen.kind {
        SourceKind::Live => now_us >= seen.wall_end_us.saturating_add(absence_us),
        SourceKind::File | SourceKind::Remote | SourceKind::Unspecified => {
            let read = seen.complete_up_to_us;
            read.is_some_and(|read| read >= seen.end_us.saturating_add(absence_us))
        }
    }
}
