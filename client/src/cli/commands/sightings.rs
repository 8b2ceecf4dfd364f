//! `rollcall sightings`, and the table of sightings that a search prints too.
use rollcall_client::pb;
use serde_json::json;

use super::{connect, found, limit};
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Sightings};
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, printable, stream_time, wall_time};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

pub(crate) async fn run(
    args: &Args,
    command: &Sightings,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let request = pb::ListSightingsRequest {
        identity_id: command.identity,
        source_id: command.source,
        seen_after: command.window.since.map(|moment| moment.0),
        seen_before: command.window.until.map(|moment| moment.0),
        ..Default::default()
    };
    let list = client.all_sightings(request, limit(command.limit)).await?;
    match out.format {
        Format::Json => out.json(&json!({
            "sightings": list.items.iter().map(view::Sighting::from).collect::<Vec<_>>(),
            "more": list.more,
            "sequence": list.sequence,
        }))?,
        Format::Jsonl => {
            for sighting in &list.items {
                out.json(&view::Sighting::from(sighting))?;
            }
        }
        Format::Table if list.items.is_empty() => out.note("no sightings"),
        Format::Table => {
            let columns = [
                ("IDENTITY", Side::Right),
                ("SOURCE", Side::Left),
                ("FROM", Side::Right),
                ("TO", Side::Right),
                ("WALL CLOCK", Side::Left),
                ("COSINE", Side::Right),
                ("TRACK", Side::Right),
            ];
            let mut table = Table::new(&columns);
            for sighting in &list.items {
                let place = place(sighting);
                table.row(
                    [sighting.identity_id.to_string()]
                        .into_iter()
                        .chain(place)
                        .chain([joined_at(sighting), sighting.track_id.to_string()]),
                );
            }
            out.line(&table.render(out.style))?;
        }
    }
    if list.more {
        out.note(&format!(
            "the first {}; --limit 0 shows all",
            list.items.len()
        ));
    }
    Ok(found(!list.items.is_empty()))
}

/// Source, from, to, wall clock.
pub(crate) fn place(sighting: &pb::Sighting) -> [String; 4] {
    let source = match sighting.source_name.as_str() {
        "" => format!("source {}", sighting.source_id),
        name => printable(name),
    };
    let end = stream_time(sighting.end.as_ref());
    [
        source,
        stream_time(sighting.start.as_ref()),
        if sighting.open {
            format!("{end}+")
        } else {
            end
        },
        wall_time(sighting.wall_start.as_ref()),
    ]
}

/// The track that opened an identity joined nothing.
fn joined_at(sighting: &pb::Sighting) -> String {
    if sighting.cosine == 0.0 {
        "new".to_owned()
    } else {
        cosine(sighting.cosine)
    }
}
