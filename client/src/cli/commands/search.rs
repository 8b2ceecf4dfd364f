//! `rollcall search`.
use std::path::Path;
use std::time::Instant;

use rollcall_client::pb::{self, follow_request, follow_response};
use rollcall_client::{Client, time};
use serde_json::json;

use super::sightings::place;
use super::{connect, found};
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Search};
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, elapsed, name, printable};
use crate::cli::input;
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

enum Query {
    Image(pb::SearchImageRequest),
    Embedding(pb::SearchEmbeddingRequest),
}

pub(crate) async fn run(args: &Args, command: &Search, out: &mut Out) -> Result<Outcome, Failure> {
    let query = read_query(command).await?;
    let client = connect(args).await?;
    let about = |error| match &command.photo {
        Some(photo) => Failure::Search {
            photo: shown(photo),
            error,
        },
        None => Failure::Client(error),
    };
    if command.follow {
        return follow(&client, query, out, about).await;
    }
    let start = Instant::now();
    let answer = match query {
        Query::Image(request) => client.search_image(request).await,
        Query::Embedding(request) => client.search_embedding(request).await,
    };
    let answer = answer.map_err(about)?;
    let round_trip_s = start.elapsed().as_secs_f64();
    match out.format {
        Format::Json | Format::Jsonl => {
            out.json(&view::Answer::new(&answer, Some(round_trip_s)))?;
        }
        Format::Table => table(&answer, out)?,
    }
    notes(&answer, round_trip_s, out);
    Ok(found(is_found(&answer)))
}

async fn read_query(command: &Search) -> Result<Query, Failure> {
    let options = Some(pb::SearchOptions {
        limit: command.limit,
        min_cosine: command.min_cosine,
        source_ids: command.sources.clone(),
        seen_after: command.window.since.map(|moment| moment.0),
        seen_before: command.window.until.map(|moment| moment.0),
        sightings_per_hit: command.sightings,
        include_hidden: command.hidden,
        named_only: command.named,
    });
    if let Some(path) = &command.embedding {
        let input::EmbeddingFile {
            embedding,
            contract,
        } = input::read_embedding(path).await?;
        return Ok(Query::Embedding(pb::SearchEmbeddingRequest {
            embedding,
            contract,
            options,
        }));
    }
    let photo = command.photo.as_deref().unwrap_or(Path::new("-"));
    let image = input::read_photo(photo).await?;
    Ok(Query::Image(pb::SearchImageRequest {
        image,
        face_index: command.face,
        options,
    }))
}

fn shown(photo: &Path) -> String {
    if photo == Path::new("-") {
        "standard input".into()
    } else {
        photo.display().to_string()
    }
}

/// Whether somebody above the threshold was found: what `--min-cosine` lets through below it is
/// shown, but it is not a find.
fn is_found(answer: &pb::SearchResponse) -> bool {
    match answer.verdict() {
        pb::Verdict::Found | pb::Verdict::Ambiguous => true,
        pb::Verdict::Unknown => false,
        pb::Verdict::Unspecified => !answer.hits.is_empty(),
    }
}

fn table(answer: &pb::SearchResponse, out: &mut Out) -> Result<(), Failure> {
    for hit in &answer.hits {
        let identity = hit.identity.clone().unwrap_or_default();
        let who = out.style.bold(&name(&identity.name));
        let margin = if hit.margin >= 2.0 {
            String::new()
        } else {
            format!("   margin {}", cosine(hit.margin))
        };
        let sure = hit.confidence.map_or_else(String::new, |confidence| {
            format!("   confidence {:.0} %", confidence * 100.0)
        });
        out.line(&format!(
            "{who}   identity {}   cosine {}{margin}{sure}",
            identity.id,
            cosine(hit.cosine)
        ))?;
        if hit.sightings.is_empty() {
            continue;
        }
        let mut table = Table::new(&[
            ("SOURCE", Side::Left),
            ("FROM", Side::Right),
            ("TO", Side::Right),
            ("WALL CLOCK", Side::Left),
        ])
        .indented(2);
        for sighting in &hit.sightings {
            table.row(place(sighting));
        }
        out.line(&table.render(out.style))?;
    }
    Ok(())
}

fn notes(answer: &pb::SearchResponse, round_trip_s: f64, out: &Out) {
    let verdict = match answer.verdict() {
        pb::Verdict::Found => "found",
        pb::Verdict::Unknown => "nobody above the threshold",
        pb::Verdict::Ambiguous => "ambiguous: two identities are too close to tell apart",
        pb::Verdict::Unspecified => "answered",
    };
    out.note(&format!("{verdict}, {}", elapsed(round_trip_s)));
    let timings = answer.timings.unwrap_or_default();
    let stages = [
        ("decode", timings.decode),
        ("detect", timings.detect),
        ("embed", timings.embed),
        ("search", timings.search),
        ("server total", timings.total),
    ];
    for (stage, duration) in stages {
        if let Some(duration) = duration {
            out.detail(&format!("  {stage}: {}", elapsed(time::seconds(&duration))));
        }
    }
    if answer.faces.len() > 1 {
        out.note(&format!(
            "the picture shows {} faces; number {} was used, --face chooses another",
            answer.faces.len(),
            answer.used_face_index
        ));
        for (i, face) in answer.faces.iter().enumerate() {
            out.note(&format!("  {}", face_line(i, face)));
        }
    }
}

fn face_line(index: usize, face: &pb::QueryFace) -> String {
    let b = face.r#box.unwrap_or_default();
    let usable = match face.rejection.as_str() {
        "" => String::new(),
        rejection => format!(", not usable: {}", printable(rejection)),
    };
    format!(
        "face {index}: at {:.0} % from the left, {:.0} % from the top, {:.0} % wide{usable}",
        b.x * 100.0,
        b.y * 100.0,
        b.width * 100.0
    )
}

async fn follow(
    client: &Client,
    query: Query,
    out: &mut Out,
    about: impl Fn(rollcall_client::Error) -> Failure,
) -> Result<Outcome, Failure> {
    let query = match query {
        Query::Image(request) => follow_request::Query::Image(request),
        Query::Embedding(request) => follow_request::Query::Embedding(request),
    };
    let request = pb::FollowRequest { query: Some(query) };
    let mut stream = client.follow(request).await.map_err(&about)?;
    loop {
        match stream.next().await.map_err(&about)?.event {
            Some(follow_response::Event::Past(answer)) => past(&answer, out)?,
            Some(follow_response::Event::Live(hit)) => live(&hit, out)?,
            Some(follow_response::Event::Heartbeat(beat)) => {
                out.detail(&format!("alive at sequence {}", beat.sequence));
            }
            None => {}
        }
        out.flush()?;
    }
}

fn past(answer: &pb::SearchResponse, out: &mut Out) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Jsonl => {
            let answer = view::Answer::new(answer, None);
            out.json_line(&json!({ "event": "past", "answer": answer }))?;
        }
        Format::Table => table(answer, out)?,
    }
    let known = if is_found(answer) {
        "that is what is known"
    } else {
        "nothing is known yet"
    };
    out.note(&format!("{known}; following, Ctrl-C ends"));
    Ok(())
}

fn live(hit: &pb::FollowHit, out: &mut Out) -> Result<(), Failure> {
    let sighting = hit.sighting.clone().unwrap_or_default();
    let identity = hit.identity.clone().unwrap_or_default();
    match out.format {
        Format::Json | Format::Jsonl => out.json_line(&json!({
            "event": "live",
            "sighting": view::Sighting::from(&sighting),
            "identity": view::Identity::from(&identity),
            "cosine": hit.cosine,
            "sequence": hit.sequence,
        })),
        Format::Table => {
            let [source, from, to, wall] = place(&sighting);
            let who = out.style.good(&name(&identity.name));
            let cosine = cosine(hit.cosine);
            out.line(&format!(
                "{who}   identity {}   cosine {cosine}   {source} {from} to {to}   {wall}",
                identity.id
            ))
        }
    }
}
