//! `rollcall identity`.
use rollcall_client::{Identities, pb};
use serde_json::json;

use super::edit::{self, Editor};
use super::{cluster, connect, explain, facts, found, limit, review};
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Identity};
use crate::cli::failure::Failure;
use crate::cli::format::{name, printable, stream_time, wall_time};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

pub(crate) async fn run(
    args: &Args,
    command: &Identity,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let editor = Editor {
        client: &client,
        author: &args.global.author,
    };
    match command {
        Identity::List {
            name,
            named,
            unnamed,
            hidden,
            limit: at_most,
        } => {
            let request = pb::ListIdentitiesRequest {
                name_contains: name.clone(),
                named_only: *named,
                unnamed_only: *unnamed,
                include_hidden: *hidden,
                ..Default::default()
            };
            list(&client.all_identities(request, limit(*at_most)).await?, out)
        }
        Identity::Show { id } => show(*id, &client.identity(*id).await?, out),
        Identity::Rename {
            id,
            name,
            etag,
            allow_duplicate_name,
            why,
        } => {
            let request = pb::RenameIdentityRequest {
                identity_id: *id,
                name: name.clone(),
                etag: etag.clone(),
                author: args.global.author.clone(),
                request_id: String::new(),
                reason: why.reason.clone(),
                allow_duplicate_name: *allow_duplicate_name,
            };
            show(*id, &client.rename_identity(request).await?, out)
        }
        Identity::Create(command) => editor.create(command, out).await,
        Identity::Set(command) => editor.set(command, out).await,
        Identity::Merge(command) => editor.merge(command, out).await,
        Identity::Move(command) => editor.move_tracks(command, out).await,
        Identity::Split(command) => editor.split(command, out).await,
        Identity::Link(command) => editor.link(command, out).await,
        Identity::Separate(command) => editor.separate(command, out).await,
        Identity::Reject(command) => editor.reject(command, out).await,
        Identity::Enrol(command) => editor.enrol(command, out).await,
        Identity::Forget { fact, why } => editor.forget(*fact, why, out).await,
        Identity::Facts(command) => facts::list(&client, command, out).await,
        Identity::Review { limit: at_most } => {
            review::list(&client.all_review(limit(*at_most)).await?, out)
        }
        Identity::Cluster { apply, why } => {
            let request = pb::ClusterIdentitiesRequest {
                apply: *apply,
                author: args.global.author.clone(),
                reason: why.reason.clone(),
            };
            let applied = *apply != 0;
            cluster::show(&client.cluster_identities(request).await?, applied, out)
        }
        Identity::Explain { track } => explain::show(&client.explain_track(*track).await?, out),
        Identity::Undo {
            edit,
            partial,
            allow_duplicate_name,
            why,
        } => {
            let request = pb::UndoEditRequest {
                sequence: *edit,
                allow_duplicate_name: *allow_duplicate_name,
                partial: *partial,
                author: args.global.author.clone(),
                reason: why.reason.clone(),
                ..Default::default()
            };
            edit::show(&client.undo_edit(request).await?, out)
        }
        Identity::History { id, limit } => edit::history(&client, *id, *limit, out).await,
    }
}

fn list(found_ones: &Identities, out: &mut Out) -> Result<Outcome, Failure> {
    let views = || found_ones.items.iter().map(view::Identity::from);
    match out.format {
        Format::Json => out.json(&json!({
            "identities": views().collect::<Vec<_>>(),
            "total": found_ones.total,
            "sequence": found_ones.sequence,
        }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if found_ones.items.is_empty() => out.note("nobody is known"),
        Format::Table => {
            let mut table = Table::new(&[
                ("ID", Side::Right),
                ("NAME", Side::Left),
                ("TRACKS", Side::Right),
                ("ON SCREEN", Side::Right),
                ("FIRST SEEN", Side::Left),
                ("LAST SEEN", Side::Left),
            ]);
            for identity in &found_ones.items {
                table.row([
                    identity.id.to_string(),
                    name(&identity.name),
                    identity.track_count.to_string(),
                    stream_time(identity.screen_time.as_ref()),
                    wall_time(identity.first_seen.as_ref()),
                    wall_time(identity.last_seen.as_ref()),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    let shown = found_ones.items.len() as u64;
    if shown < found_ones.total {
        out.note(&format!(
            "{shown} of {}; --limit 0 shows all",
            found_ones.total
        ));
    }
    Ok(found(!found_ones.items.is_empty()))
}

fn show(asked: u64, identity: &pb::Identity, out: &mut Out) -> Result<Outcome, Failure> {
    if identity.id != asked {
        out.note(&format!("identity {asked} was absorbed by {}", identity.id));
    }
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Identity::from(identity))?,
        Format::Table => {
            let state = identity.state().as_str_name();
            let rows = [
                ("identity", identity.id.to_string()),
                ("name", name(&identity.name)),
                (
                    "state",
                    crate::cli::format::enum_name(state, "IDENTITY_STATE_"),
                ),
                ("first seen", wall_time(identity.first_seen.as_ref())),
                ("last seen", wall_time(identity.last_seen.as_ref())),
                ("on screen", stream_time(identity.screen_time.as_ref())),
                ("tracks", identity.track_count.to_string()),
                ("photos", identity.photo_count.to_string()),
                ("exemplars", identity.exemplar_count.to_string()),
                ("external id", printable(&identity.external_id)),
                ("confirmed", yes(identity.confirmed)),
                ("etag", printable(&identity.etag)),
            ];
            let mut metadata: Vec<_> = identity.metadata.iter().collect();
            metadata.sort();
            let metadata = metadata.iter();
            let metadata = metadata.map(|(key, value)| (printable(key), printable(value)));
            let rows = rows.into_iter().map(|(key, value)| (key.to_owned(), value));
            for (key, value) in rows.chain(metadata) {
                let key = out.style.bold(&format!("{key:<11}"));
                out.line(&format!("{key} {value}"))?;
            }
        }
    }
    Ok(Outcome::Found)
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
