//! `rollcall erase`.
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use rollcall_client::pb::erase_request::What;
use rollcall_client::{Client, pb};
use serde_json::json;

use super::{connect, found, limit};
use crate::cli::Outcome;
use crate::cli::args::{Args, Erase, Format, How};
use crate::cli::failure::Failure;
use crate::cli::format::{bytes, enum_name, printable, wall_time};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

/// How often an erasure that is waited for is asked after.
const POLL: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: &Args, command: &Erase, out: &mut Out) -> Result<Outcome, Failure> {
    let (what, etag, how, named) = match command {
        Erase::Person { id, etag, how } => (
            What::IdentityId(*id),
            etag.clone(),
            how,
            format!("person {id}, with all sightings, photos and names"),
        ),
        Erase::Sightings { tracks, faces, how } => {
            let named = pb::EraseTracks {
                track_ids: tracks.clone(),
                exemplar_ids: faces.clone(),
            };
            let count = tracks.len() + faces.len();
            (
                What::Tracks(named),
                String::new(),
                how,
                format!("{count} sightings"),
            )
        }
        Erase::Source { id, window, how } => {
            let named = pb::EraseSource {
                source_id: *id,
                from: window.since.map(|moment| moment.0),
                to: window.until.map(|moment| moment.0),
            };
            (
                What::Source(named),
                String::new(),
                how,
                format!("what source {id} saw"),
            )
        }
        Erase::List { limit: at_most } => {
            return list(
                &connect(args).await?.all_erasures(limit(*at_most)).await?,
                out,
            );
        }
        Erase::Show { id } => return show(&connect(args).await?.erasure(*id).await?, out),
    };
    confirm(how, &named)?;
    let request = pb::EraseRequest {
        what: Some(what),
        etag,
        author: args.global.author.clone(),
        reason: how.why.reason.clone(),
        request_id: String::new(),
    };
    let client = connect(args).await?;
    let mut erasure = client.erase(request).await?;
    if !how.no_wait {
        erasure = until_done(&client, erasure, out).await?;
    }
    show(&erasure, out)
}

/// Asks on a terminal; elsewhere `--yes` must have been said.
fn confirm(how: &How, named: &str) -> Result<(), Failure> {
    if how.yes {
        return Ok(());
    }
    let refused = |message: String| Failure::Local {
        reason: "NOT_CONFIRMED",
        message,
    };
    if !std::io::stdin().is_terminal() {
        let message = format!("erasing {named} cannot be undone: add --yes if that is meant");
        return Err(refused(message));
    }
    let mut terminal = std::io::stderr();
    let asked = write!(terminal, "Erase {named}, for ever? Type \"yes\" to go on: ");
    asked.and_then(|()| terminal.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(refused("nothing was erased".to_owned()))
}

/// Asks after an erasure until it is through.
async fn until_done(
    client: &Client,
    mut erasure: pb::Erasure,
    out: &Out,
) -> Result<pb::Erasure, Failure> {
    let mut told = false;
    while erasure.state() == pb::ErasureState::Running {
        if !std::mem::replace(&mut told, true) {
            let id = erasure.id;
            out.note(&format!(
                "erasure {id} counts from now on; it is being removed from the disk"
            ));
        }
        tokio::time::sleep(POLL).await;
        erasure = client.erasure(erasure.id).await?;
    }
    Ok(erasure)
}

fn state(erasure: &pb::Erasure) -> String {
    enum_name(erasure.state().as_str_name(), "ERASURE_STATE_")
}

fn scope(erasure: &pb::Erasure) -> String {
    enum_name(erasure.scope().as_str_name(), "ERASURE_SCOPE_")
}

fn show(erasure: &pb::Erasure, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Erasure::from(erasure))?,
        Format::Table => {
            for (key, value) in rows(erasure) {
                let key = out.style.bold(&format!("{key:<8}"));
                out.line(&format!("{key} {}", printable(&value)))?;
            }
        }
    }
    Ok(Outcome::Found)
}

fn rows(erasure: &pb::Erasure) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("erasure", erasure.id.to_string()),
        ("of", scope(erasure)),
        ("state", state(erasure)),
        (
            "begun",
            format!(
                "{} by {}",
                wall_time(erasure.begin_time.as_ref()),
                erasure.author
            ),
        ),
    ];
    if !erasure.reason.is_empty() {
        rows.push(("reason", erasure.reason.clone()));
    }
    let people = erasure.identity_ids.iter().take(10).map(u64::to_string);
    let people: Vec<String> = people.collect();
    let ids = if people.is_empty() {
        String::new()
    } else {
        format!(": {}", people.join(", "))
    };
    rows.push(("people", format!("{}{ids}", erasure.identity_count)));
    rows.push(("tracks", erasure.track_count.to_string()));
    if erasure.state() == pb::ErasureState::Done {
        rows.push(("done", wall_time(erasure.end_time.as_ref())));
        rows.push((
            "gone",
            format!(
                "{} faces, {} embeddings and pictures ({}), {} keys",
                erasure.face_count,
                erasure.blob_count,
                bytes(erasure.blob_bytes),
                erasure.key_count
            ),
        ));
        rows.push(("receipt", erasure.receipt.clone()));
    }
    rows
}

fn list(erasures: &[pb::Erasure], out: &mut Out) -> Result<Outcome, Failure> {
    let views = || erasures.iter().map(view::Erasure::from);
    match out.format {
        Format::Json => out.json(&json!({ "erasures": views().collect::<Vec<_>>() }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if erasures.is_empty() => out.note("nothing was ever erased"),
        Format::Table => {
            let mut table = Table::new(&[
                ("ERASURE", Side::Right),
                ("BEGUN", Side::Left),
                ("OF", Side::Left),
                ("STATE", Side::Left),
                ("PEOPLE", Side::Right),
                ("TRACKS", Side::Right),
                ("BY", Side::Left),
                ("REASON", Side::Left),
            ]);
            for erasure in erasures {
                table.row([
                    erasure.id.to_string(),
                    wall_time(erasure.begin_time.as_ref()),
                    scope(erasure),
                    state(erasure),
                    erasure.identity_count.to_string(),
                    erasure.track_count.to_string(),
                    printable(&erasure.author),
                    printable(&erasure.reason),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    Ok(found(!erasures.is_empty()))
}
