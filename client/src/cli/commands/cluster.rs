//! What clustering everybody anew would change, or has changed.
use rollcall_client::pb::{self, ClusterChangeKind};
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::Format;
use crate::cli::failure::Failure;
use crate::cli::format::printable;
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};

pub(super) fn show(
    answer: &pb::ClusterIdentitiesResponse,
    applied: bool,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json => out.json(&json!({
            "sequence": answer.sequence,
            "tracks": answer.tracks,
            "identities_before": answer.identities_before,
            "identities_after": answer.identities_after,
            "changes": answer.changes.iter().map(view).collect::<Vec<_>>(),
            "left_out": answer.left_out,
        }))?,
        Format::Jsonl => {
            for change in &answer.changes {
                out.json(&view(change))?;
            }
        }
        Format::Table if answer.changes.is_empty() => out.note("nothing would change"),
        Format::Table => {
            let mut table = Table::new(&[
                ("CHANGE", Side::Left),
                ("TRACKS", Side::Right),
                ("", Side::Left),
            ]);
            for change in &answer.changes {
                table.row([
                    sentence(change),
                    change.track_count.to_string(),
                    outcome(change),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    if answer.left_out > 0 {
        out.note(&format!(
            "{} smaller changes more; apply these first",
            answer.left_out
        ));
    }
    if applied {
        let made = answer
            .changes
            .iter()
            .filter(|change| change.edit_sequence != 0)
            .count();
        out.note(&format!(
            "{made} changes made; `rollcall identity undo EDIT` takes one back"
        ));
    } else if !answer.changes.is_empty() {
        out.note(&format!(
            "of {} tracks: {} identities would become {}; nothing was changed; to change it: rollcall identity cluster --apply {}",
            answer.tracks, answer.identities_before, answer.identities_after, answer.sequence
        ));
    }
    let made = answer
        .changes
        .iter()
        .any(|change| change.edit_sequence != 0);
    Ok(super::found(if applied {
        made
    } else {
        !answer.changes.is_empty()
    }))
}

fn word(kind: ClusterChangeKind) -> &'static str {
    match kind {
        ClusterChangeKind::Merge => "merge",
        ClusterChangeKind::Split => "split",
        ClusterChangeKind::Move => "move",
        ClusterChangeKind::Conflict => "conflict",
        ClusterChangeKind::Unspecified => "unknown",
    }
}

fn view(change: &pb::ClusterChange) -> Value {
    let mut view = json!({
        "kind": word(change.kind()),
        "identity": change.identity_id,
        "tracks": change.track_count,
        "track_examples": change.track_ids,
    });
    if change.other_identity_id != 0 {
        view["other_identity"] = change.other_identity_id.into();
    }
    if change.edit_sequence != 0 {
        view["edit"] = change.edit_sequence.into();
    }
    if !change.refused.is_empty() {
        view["refused"] = change.refused.as_str().into();
    }
    view
}

fn sentence(change: &pb::ClusterChange) -> String {
    let (one, other) = (change.identity_id, change.other_identity_id);
    match change.kind() {
        ClusterChangeKind::Merge => format!("identity {one} becomes part of {other}"),
        ClusterChangeKind::Split => format!("tracks of identity {one} become somebody new"),
        ClusterChangeKind::Move => format!("tracks of identity {one} become those of {other}"),
        ClusterChangeKind::Conflict if other == 0 => {
            format!(
                "identity {one} looks like several people: left alone, since people have decided about it"
            )
        }
        ClusterChangeKind::Conflict => {
            format!(
                "identities {one} and {other} look like one person: left alone, since people have decided about them"
            )
        }
        ClusterChangeKind::Unspecified => "a change that this client does not know".to_owned(),
    }
}

fn outcome(change: &pb::ClusterChange) -> String {
    if change.edit_sequence != 0 {
        format!("edit {}", change.edit_sequence)
    } else {
        printable(&change.refused)
    }
}
