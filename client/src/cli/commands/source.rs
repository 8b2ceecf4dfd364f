//! `rollcall source`.
use std::path::Path;

use rollcall_client::{Client, Sources, pb};
use serde_json::json;

use super::{connect, found, limit, wait};
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Kind, Source, SourceAdd};
use crate::cli::failure::Failure;
use crate::cli::format::{enum_name, printable, stream_time, wall_time};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

pub(crate) async fn run(args: &Args, command: &Source, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        Source::Add(command) => add(args, command, out).await,
        Source::List { limit: at_most } => {
            let client = connect(args).await?;
            list(&client.all_sources(limit(*at_most)).await?, out)
        }
        Source::Show { id } => {
            let client = connect(args).await?;
            show(&client.source(*id).await?, out)
        }
        Source::Stop { id } => {
            let client = connect(args).await?;
            let author = args.global.author.clone();
            let request = pb::StopSourceRequest {
                source_id: *id,
                author,
            };
            show(&client.stop_source(request).await?, out)
        }
    }
}

async fn add(args: &Args, command: &SourceAdd, out: &mut Out) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let (uris, skipped) = expand(&client, &command.uris, out).await?;
    let single = command.uris.len() == 1 && uris.len() == 1 && skipped == 0;
    if !command.name.is_empty() && uris.len() > 1 {
        return Err(Failure::Local {
            reason: "INVALID_ARGUMENT",
            message: format!("--name is for one source, not for {}", uris.len()),
        });
    }
    if !single {
        return add_all(args, command, &client, uris, skipped, out).await;
    }
    let uri = uris.into_iter().next().unwrap_or_default();
    let source = client.add_source(request(args, command, uri)).await?;
    if !command.wait {
        return show(&source, out);
    }
    let ended = wait::until_ended(&client, source, out).await?;
    show(&ended, out)?;
    wait::judge(&ended, out)
}

/// What the addresses stand for on the server, and how many files were skipped.
async fn expand(
    client: &Client,
    given: &[String],
    out: &Out,
) -> Result<(Vec<String>, usize), Failure> {
    let (mut uris, mut skipped) = (Vec::new(), 0);
    for uri in given {
        if has_scheme(uri) || uri.is_empty() {
            uris.push(uri.clone());
            continue;
        }
        let found = client.find_files(absolute(uri)?).await?;
        for file in &found.skipped {
            out.detail(&format!(
                "skipped {}: {}",
                printable(&file.path),
                printable(&file.why)
            ));
        }
        skipped += found.skipped.len();
        uris.extend(found.uris);
    }
    if uris.is_empty() {
        return Err(Failure::Local {
            reason: "FILE_NOT_FOUND",
            message: format!(
                "{}: no video there; {skipped} files are not named like one (-v says which)",
                printable(&given.join(", "))
            ),
        });
    }
    Ok((uris, skipped))
}

/// Adds each; one that cannot be added does not keep the others out.
async fn add_all(
    args: &Args,
    command: &SourceAdd,
    client: &Client,
    uris: Vec<String>,
    skipped: usize,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let (mut added, mut known, mut last_failure) = (Vec::new(), 0, None);
    for uri in uris {
        match client.add_source(request(args, command, uri)).await {
            Ok(source) => added.push(source),
            Err(error) if error.reason() == "SOURCE_EXISTS" => known += 1,
            Err(error) => {
                let failure = Failure::from(error);
                out.warn(&format!("{failure} [{}]", failure.reason()));
                last_failure = Some(failure);
            }
        }
    }
    let count = added.len();
    out.note(&format!(
        "{count} sources added; {known} were sources already; {skipped} files skipped (-v says which)"
    ));
    if command.wait {
        for source in &mut added {
            *source = wait::until_ended(client, source.clone(), out).await?;
            if let Err(failure) = wait::judge(source, out) {
                out.warn(&format!("{failure} [{}]", failure.reason()));
                last_failure = Some(failure);
            }
        }
    }
    let total = u64::try_from(count).unwrap_or(u64::MAX);
    let items = added;
    let outcome = list(&Sources { items, total }, out)?;
    last_failure.map_or(Ok(outcome), Err)
}

fn request(args: &Args, command: &SourceAdd, uri: String) -> pb::AddSourceRequest {
    let kind = match command.kind {
        None => pb::SourceKind::Unspecified,
        Some(Kind::File) => pb::SourceKind::File,
        Some(Kind::Live) => pb::SourceKind::Live,
    };
    pb::AddSourceRequest {
        uri,
        name: command.name.clone(),
        kind: kind.into(),
        realtime: command.realtime,
        author: args.global.author.clone(),
        request_id: String::new(),
    }
}

/// A path without a scheme is made absolute here: the server works in another folder.
fn absolute(uri: &str) -> Result<String, Failure> {
    if has_scheme(uri) || uri.is_empty() {
        return Ok(uri.to_owned());
    }
    let path = std::path::absolute(Path::new(uri))
        .map_err(|error| Failure::file(Path::new(uri), "resolve", &error))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::Local {
            reason: "INVALID_URI",
            message: format!("{}: the path is not UTF-8", path.display()),
        })
}

/// As RFC 3986 has it, followed by a colon; a single letter would be a drive.
fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else {
        return false;
    };
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !Path::new(uri).exists()
}

fn list(sources: &Sources, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json => out.json(&json!({
            "sources": sources.items.iter().map(view::Source::from).collect::<Vec<_>>(),
            "total": sources.total,
        }))?,
        Format::Jsonl => {
            for source in &sources.items {
                out.json(&view::Source::from(source))?;
            }
        }
        Format::Table if sources.items.is_empty() => out.note("no sources"),
        Format::Table => {
            let mut table = Table::new(&[
                ("ID", Side::Right),
                ("NAME", Side::Left),
                ("KIND", Side::Left),
                ("STATE", Side::Left),
                ("READ", Side::Right),
                ("OF", Side::Right),
                ("TRACKS", Side::Right),
                ("ERROR", Side::Left),
            ]);
            for source in &sources.items {
                let duration = source.media.as_ref().and_then(|media| media.duration);
                let error = source
                    .last_error
                    .as_ref()
                    .map(|error| printable(&error.reason));
                table.row([
                    source.id.to_string(),
                    printable(&source.name),
                    enum_name(source.kind().as_str_name(), "SOURCE_KIND_"),
                    view::source_state(source.state()),
                    stream_time(source.position.as_ref()),
                    stream_time(duration.as_ref()),
                    source.counters.as_ref().map_or(0, |c| c.tracks).to_string(),
                    error.unwrap_or_default(),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    let shown = sources.items.len() as u64;
    if shown < sources.total {
        out.note(&format!(
            "{shown} of {}; --limit 0 shows all",
            sources.total
        ));
    }
    Ok(found(!sources.items.is_empty()))
}

fn show(source: &pb::Source, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Source::from(source))?,
        Format::Table => {
            for (key, value) in rows(source) {
                let key = out.style.bold(&format!("{key:<10}"));
                out.line(&format!("{key} {}", printable(&value)))?;
            }
        }
    }
    Ok(Outcome::Found)
}

fn rows(source: &pb::Source) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("source", source.id.to_string()),
        ("name", source.name.clone()),
        ("uri", source.uri.clone()),
        (
            "kind",
            enum_name(source.kind().as_str_name(), "SOURCE_KIND_"),
        ),
        ("state", view::source_state(source.state())),
        ("added", wall_time(source.create_time.as_ref())),
        ("read", stream_time(source.position.as_ref())),
        ("complete", stream_time(source.complete_up_to.as_ref())),
    ];
    if let Some(media) = &source.media {
        let length = media
            .duration
            .map_or("live".to_owned(), |d| stream_time(Some(&d)));
        rows.push((
            "media",
            format!(
                "{} {}x{} at {:.2} frames/s, {}, {length}",
                media.codec, media.width, media.height, media.frames_per_second, media.container
            ),
        ));
    }
    if let Some(error) = &source.last_error {
        rows.push(("error", format!("{} [{}]", error.message, error.reason)));
    }
    if source.worker_restarts > 0 {
        rows.push(("restarts", source.worker_restarts.to_string()));
    }
    if let Some(lag) = &source.lag {
        rows.push(("lag", stream_time(Some(lag))));
    }
    if let Some(counters) = &source.counters {
        if counters.reconnects > 0 {
            rows.push(("reconnects", counters.reconnects.to_string()));
        }
        rows.extend(counter_rows(counters));
    }
    rows
}

fn counter_rows(counters: &pb::SourceCounters) -> Vec<(&'static str, String)> {
    let reasons = |map: &std::collections::HashMap<String, u64>| {
        let mut parts: Vec<String> = map.iter().map(|(k, v)| format!("{v} {k}")).collect();
        parts.sort();
        if parts.is_empty() {
            String::new()
        } else {
            format!("; rejected {}", parts.join(", "))
        }
    };
    vec![
        (
            "frames",
            format!(
                "{} decoded, {} searched for faces, {} dropped{}",
                counters.frames_decoded,
                counters.frames_detected,
                counters.frames_dropped,
                reasons(&counters.frames_rejected)
            ),
        ),
        (
            "faces",
            format!(
                "{} detected, {} embedded{}",
                counters.faces_detected,
                counters.faces_embedded,
                reasons(&counters.faces_rejected)
            ),
        ),
        ("shots", counters.shots.to_string()),
        ("tracks", counters.tracks.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_urls_stay() {
        assert_eq!(absolute("rtsp://camera/1").unwrap(), "rtsp://camera/1");
        assert_eq!(absolute("/a/b.mp4").unwrap(), "/a/b.mp4");
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            absolute("x y.mp4").unwrap(),
            here.join("x y.mp4").to_str().unwrap()
        );
        assert_eq!(absolute("").unwrap(), "");
    }

    #[test]
    fn schemes() {
        assert!(has_scheme("http://a") && has_scheme("file:///a"));
        assert!(!has_scheme("a.mp4") && !has_scheme("12:30.mp4") && !has_scheme("a b:c"));
    }
}
