//! The commands of `rollcall identity` that change something, and the history of such changes.
use rollcall_client::{Client, pb};
use serde_json::json;

use super::facts::in_words as fact_in_words;
use super::{found, limit};
use crate::cli::Outcome;
use crate::cli::args::{Format, IdentityCreate, IdentityMerge, IdentitySet};
use crate::cli::failure::Failure;
use crate::cli::format::{enum_name, name, printable, wall_time};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

/// Facts told of one edit.
const FACTS_SHOWN: usize = 3;

/// Who edits, on which connection.
pub(super) struct Editor<'a> {
    pub(super) client: &'a Client,
    pub(super) author: &'a str,
}

impl Editor<'_> {
    pub(super) async fn create(
        &self,
        command: &IdentityCreate,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::CreateIdentityRequest {
            name: command.name.clone(),
            external_id: command.external_id.clone(),
            metadata: command.metadata.iter().cloned().collect(),
            allow_duplicate_name: command.allow_duplicate_name,
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.create_identity(request).await?, out)
    }

    pub(super) async fn set(
        &self,
        command: &IdentitySet,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::UpdateIdentityRequest {
            identity_id: command.id,
            etag: command.etag.clone(),
            external_id: command.external_id.clone(),
            confirmed: switch(command.confirm, command.unconfirm),
            hidden: switch(command.hide, command.show),
            set_metadata: command.metadata.iter().cloned().collect(),
            remove_metadata: command.remove_metadata.clone(),
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.update_identity(request).await?, out)
    }

    pub(super) async fn merge(
        &self,
        command: &IdentityMerge,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::MergeIdentitiesRequest {
            from_identity_id: command.from,
            into_identity_id: command.into,
            from_etag: command.from_etag.clone(),
            into_etag: command.into_etag.clone(),
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.merge_identities(request).await?, out)
    }
}

/// What two opposite flags ask for; neither: nothing.
fn switch(on: bool, off: bool) -> Option<bool> {
    (on || off).then_some(on)
}

pub(super) async fn history(
    client: &Client,
    id: u64,
    at_most: usize,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let edits = client.all_edits(id, limit(at_most)).await?;
    let views = || edits.iter().map(view::Edit::from);
    match out.format {
        Format::Json => out.json(&json!({ "edits": views().collect::<Vec<_>>() }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if edits.is_empty() => out.note("nothing was edited"),
        Format::Table => out.line(&table(&edits, out))?,
    }
    Ok(found(!edits.is_empty()))
}

fn table(edits: &[pb::Edit], out: &Out) -> String {
    let mut table = Table::new(&[
        ("EDIT", Side::Right),
        ("TIME", Side::Left),
        ("AUTHOR", Side::Left),
        ("WHAT", Side::Left),
        ("REASON", Side::Left),
    ]);
    for edit in edits {
        let undone = match edit.undone_by {
            0 => String::new(),
            by => format!(" (undone by {by})"),
        };
        table.row([
            edit.sequence.to_string(),
            wall_time(edit.time.as_ref()),
            printable(&edit.author),
            format!("{}{undone}", sentence(edit)),
            printable(&edit.reason),
        ]);
    }
    table.render(out.style)
}

/// An edit and whom it named.
pub(super) fn show(answer: &pb::EditResponse, out: &mut Out) -> Result<Outcome, Failure> {
    let edit = answer.edit.clone().unwrap_or_default();
    match out.format {
        Format::Json | Format::Jsonl => out.json(&json!({
            "edit": view::Edit::from(&edit),
            "identities": answer.identities.iter().map(view::Identity::from).collect::<Vec<_>>(),
        }))?,
        Format::Table => {
            let number = out.style.bold(&format!("edit {}", edit.sequence));
            out.line(&format!("{number}  {}", sentence(&edit)))?;
            for identity in &answer.identities {
                let (id, tracks) = (identity.id, identity.track_count);
                out.line(&format!(
                    "identity {id}  {}, {tracks} tracks",
                    name(&identity.name)
                ))?;
            }
        }
    }
    if edit.left_track_count > 0 {
        out.note(&format!(
            "{} tracks had joined or been moved meanwhile, and stay",
            edit.left_track_count
        ));
    }
    for left in &edit.parts_left {
        let part = left.part.to_ascii_lowercase().replace('_', " ");
        out.note(&format!(
            "identity {}: {} was changed meanwhile, and stays",
            left.identity_id,
            printable(&part)
        ));
    }
    Ok(Outcome::Found)
}

/// What an edit did, in a few words.
pub(super) fn sentence(edit: &pb::Edit) -> String {
    let mut parts: Vec<String> = Vec::new();
    if edit.undoes != 0 {
        parts.push(format!("undo of {}", edit.undoes));
    }
    for change in &edit.redirects {
        parts.push(match change.after {
            0 => format!("{} restored from {}", change.identity_id, change.before),
            into => format!("{} merged into {into}", change.identity_id),
        });
    }
    for moved in &edit.moves {
        let (from, into) = (moved.from_identity_id, moved.into_identity_id);
        let mut redirects = edit.redirects.iter();
        let merged = redirects.any(|it| it.identity_id == from || it.identity_id == into);
        parts.push(match (moved.track_count, &moved.track_ids[..]) {
            (count, _) if merged => format!("{count} tracks"),
            (1, [track]) => format!("track {track} from {from} to {into}"),
            (count, _) => format!("{count} tracks from {from} to {into}"),
        });
    }
    for photos in &edit.photos {
        let (id, more) = (photos.identity_id, photos.enrolled_track_ids.len());
        parts.push(match (more, photos.withdrawn_track_ids.len()) {
            (more, 0) => format!("{more} photos of {id} enrolled"),
            (_, gone) => format!("{gone} photos of {id} withdrawn"),
        });
    }
    parts.extend(said(edit));
    for change in &edit.profiles {
        let before = change.before.clone().unwrap_or_default();
        let after = change.after.clone().unwrap_or_default();
        let id = change.identity_id;
        parts.push(if change.created {
            format!("{id} created: {}", name(&after.name))
        } else {
            format!("{id}: {}", differences(&before, &after))
        });
    }
    parts.join("; ")
}

/// The facts that an edit changed, but for those that go with its moves.
fn said(edit: &pb::Edit) -> Vec<String> {
    let mut moved: Vec<u64> = edit
        .moves
        .iter()
        .flat_map(|it| it.track_ids.clone())
        .collect();
    moved.sort_unstable();
    let told = |change: &&pb::FactChange| {
        let fact = change.fact.unwrap_or_default();
        fact.kind() != pb::FactKind::Placed || moved.binary_search(&fact.track_id).is_err()
    };
    let facts = edit.facts.iter().filter(told).take(FACTS_SHOWN);
    let facts = facts.map(|change| {
        let words = fact_in_words(&change.fact.unwrap_or_default());
        if change.holds {
            words
        } else {
            format!("no longer: {words}")
        }
    });
    facts.collect()
}

fn differences(before: &pb::Profile, after: &pb::Profile) -> String {
    let mut all = Vec::new();
    if before.name != after.name {
        all.push(format!("{} is {}", name(&before.name), name(&after.name)));
    }
    if before.external_id != after.external_id {
        all.push(format!("external id {}", printable(&after.external_id)));
    }
    if before.state != after.state && before.state != 0 {
        all.push(enum_name(after.state().as_str_name(), "IDENTITY_STATE_"));
    }
    if before.confirmed != after.confirmed {
        let confirmed = if after.confirmed {
            "confirmed"
        } else {
            "not confirmed"
        };
        all.push(confirmed.to_owned());
    }
    if before.metadata != after.metadata {
        all.push("metadata".to_owned());
    }
    if all.is_empty() {
        all.push("as it was".to_owned());
    }
    all.join(", ")
}
