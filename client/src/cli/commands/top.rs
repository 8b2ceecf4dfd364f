//! `rollcall top`.
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use rollcall_client::{Client, pb};
use serde::Serialize;

use super::connect;
use crate::cli::Outcome;
use crate::cli::args::{Args, Format, Top};
use crate::cli::failure::Failure;
use crate::cli::format::{bytes, name, printable, wall_time};
use crate::cli::out::{Out, Style};
use crate::cli::table::{Side, Table};
use crate::cli::view;

/// Between two looks, at least.
const SHORTEST: Duration = Duration::from_millis(100);
/// Identities shown.
const NEWEST: i32 = 10;
/// To the upper left corner, and everything there away.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// What the server says at one moment.
struct Snapshot {
    at: Instant,
    /// How long the server took to answer.
    answered: Duration,
    status: pb::Status,
    sources: Vec<pb::Source>,
    newest: Vec<pb::Identity>,
}

/// What a source does, by the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Rates {
    decoded: f64,
    searched: f64,
    dropped: f64,
    faces: f64,
}

/// A moment, for programs.
#[derive(Serialize)]
struct Shown {
    status: view::Status,
    answered_ms: f64,
    records_per_second: Option<f64>,
    sources: Vec<ShownSource>,
    newest: Vec<view::Identity>,
}

#[derive(Serialize)]
struct ShownSource {
    #[serde(flatten)]
    source: view::Source,
    /// Null at first.
    per_second: Option<Rates>,
}

pub(crate) async fn run(args: &Args, top: &Top, out: &mut Out) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let clears = std::io::stdout().is_terminal() && top.times != 1;
    let mut before = None;
    let mut shown = 0;
    loop {
        let now = look(&client).await?;
        show(&client, before.as_ref(), &now, clears, out)?;
        shown += 1;
        if shown == top.times {
            return Ok(Outcome::Found);
        }
        before = Some(now);
        tokio::time::sleep(top.every.max(SHORTEST)).await;
    }
}

async fn look(client: &Client) -> Result<Snapshot, Failure> {
    let begun = Instant::now();
    let status = client.status().await?;
    let answered = begun.elapsed();
    let request = pb::ListIdentitiesRequest {
        page_size: NEWEST,
        newest_first: true,
        ..pb::ListIdentitiesRequest::default()
    };
    Ok(Snapshot {
        at: begun,
        answered,
        status,
        sources: client.all_sources(usize::MAX).await?.items,
        newest: client.list_identities(request).await?.identities,
    })
}

/// What was done since an earlier moment, by the second.
struct Since {
    records: f64,
    /// Each source's.
    sources: HashMap<u64, Rates>,
}

impl Since {
    fn of(before: &Snapshot, now: &Snapshot) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        // A worker that began again counts from where it was.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let none = pb::SourceCounters::default();
        let earlier = before.sources.iter();
        let earlier: HashMap<u64, &pb::SourceCounters> = earlier
            .filter_map(|source| Some((source.id, source.counters.as_ref()?)))
            .collect();
        let of = |source: &pb::Source| {
            let now = source.counters.as_ref().unwrap_or(&none);
            let before = earlier.get(&source.id).copied().unwrap_or(&none);
            let rates = Rates {
                decoded: rate(now.frames_decoded, before.frames_decoded),
                searched: rate(now.frames_detected, before.frames_detected),
                dropped: rate(now.frames_dropped, before.frames_dropped),
                faces: rate(now.faces_embedded, before.faces_embedded),
            };
            (source.id, rates)
        };
        Self {
            records: rate(now.status.durable_sequence, before.status.durable_sequence),
            sources: now.sources.iter().map(of).collect(),
        }
    }
}

fn show(
    client: &Client,
    before: Option<&Snapshot>,
    now: &Snapshot,
    clears: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let since = before.map(|before| Since::of(before, now));
    match out.format {
        Format::Json | Format::Jsonl => {
            let source = |source: &pb::Source| ShownSource {
                source: source.into(),
                per_second: since
                    .as_ref()
                    .and_then(|since| since.sources.get(&source.id).copied()),
            };
            out.json_line(&Shown {
                status: (&now.status).into(),
                answered_ms: now.answered.as_secs_f64() * 1e3,
                records_per_second: since.as_ref().map(|since| since.records),
                sources: now.sources.iter().map(source).collect(),
                newest: now.newest.iter().map(view::Identity::from).collect(),
            })
        }
        Format::Table => {
            let text = render(client.endpoint(), now, since.as_ref(), out.style);
            let clear = if clears { CLEAR } else { "" };
            out.line(&format!("{clear}{text}"))?;
            Ok(out.flush()?)
        }
    }
}

fn render(endpoint: &str, now: &Snapshot, since: Option<&Since>, style: Style) -> String {
    let status = &now.status;
    let writes = if status.write_state == "ok" {
        style.good("writes ok")
    } else {
        style.bad(&format!(
            "writes refused ({})",
            printable(&status.write_state)
        ))
    };
    let head = format!(
        "{endpoint}  version {}  since {}  answered in {:.1} ms  {writes}\n\
         {} identities  {} faces  {} tracks  {} records ({} a second)  {} log  {} pictures  {} watchers",
        status.version,
        wall_time(status.start_time.as_ref()),
        now.answered.as_secs_f64() * 1e3,
        status.identities,
        status.exemplars,
        status.tracks,
        status.durable_sequence,
        rate(since.map(|since| since.records)),
        bytes(status.log_bytes),
        bytes(status.blob_bytes),
        status.watchers,
    );
    let sources = sources(&now.sources, since, style);
    let people = newest(&now.newest, style);
    format!("{head}\n\n{sources}\n\n{people}")
}

/// `-` before anything is known.
fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"))
}

/// Those that are being read, or should be, first; then the newest.
fn sources(sources: &[pb::Source], since: Option<&Since>, style: Style) -> String {
    let rank = |source: &pb::Source| match source.state() {
        pb::SourceState::Failed => 0,
        pb::SourceState::Running | pb::SourceState::Stalled | pb::SourceState::Connecting => 1,
        pb::SourceState::Queued => 2,
        pb::SourceState::Unspecified | pb::SourceState::Ended | pb::SourceState::Stopped => 3,
    };
    let mut all: Vec<&pb::Source> = sources.iter().collect();
    all.sort_by_key(|source| (rank(source), std::cmp::Reverse(source.id)));
    let mut table = Table::new(&[
        ("ID", Side::Right),
        ("SOURCE", Side::Left),
        ("STATE", Side::Left),
        ("FRAMES/S", Side::Right),
        ("SEARCHED/S", Side::Right),
        ("DROPPED/S", Side::Right),
        ("FACES/S", Side::Right),
        ("LAG", Side::Right),
        ("TRACKS", Side::Right),
    ]);
    for source in all {
        let rates = since.and_then(|since| since.sources.get(&source.id));
        let lag = view::seconds(source.lag.as_ref()).map(|lag| format!("{lag:.1} s"));
        table.row([
            source.id.to_string(),
            printable(&source.name),
            view::source_state(source.state()),
            rate(rates.map(|rates| rates.decoded)),
            rate(rates.map(|rates| rates.searched)),
            rate(rates.map(|rates| rates.dropped)),
            rate(rates.map(|rates| rates.faces)),
            lag.unwrap_or_else(|| "-".to_owned()),
            source
                .counters
                .as_ref()
                .map_or(0, |it| it.tracks)
                .to_string(),
        ]);
    }
    table.render(style)
}

fn newest(people: &[pb::Identity], style: Style) -> String {
    let mut table = Table::new(&[
        ("NEWEST", Side::Right),
        ("NAME", Side::Left),
        ("SEEN LAST", Side::Left),
        ("TRACKS", Side::Right),
        ("FACES", Side::Right),
    ]);
    for identity in people {
        table.row([
            identity.id.to_string(),
            name(&identity.name),
            wall_time(identity.last_seen.as_ref()),
            identity.track_count.to_string(),
            identity.exemplar_count.to_string(),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: u64, state: pb::SourceState, decoded: u64) -> pb::Source {
        pb::Source {
            id,
            name: format!("camera {id}"),
            state: state.into(),
            counters: Some(pb::SourceCounters {
                frames_decoded: decoded,
                faces_embedded: decoded / 10,
                tracks: 3,
                ..pb::SourceCounters::default()
            }),
            ..pb::Source::default()
        }
    }

    fn snapshot(at: Instant, sources: Vec<pb::Source>) -> Snapshot {
        Snapshot {
            at,
            answered: Duration::from_micros(1500),
            status: pb::Status {
                version: "1.2.3".to_owned(),
                write_state: "LOG_FULL".to_owned(),
                identities: 7,
                ..pb::Status::default()
            },
            sources,
            newest: vec![pb::Identity {
                id: 42,
                name: "Ada\x1b[2J".to_owned(),
                ..pb::Identity::default()
            }],
        }
    }

    #[test]
    fn rates_are_what_was_counted_between() {
        let begun = Instant::now();
        let before = snapshot(begun, vec![source(1, pb::SourceState::Running, 100)]);
        let later = begun + Duration::from_secs(4);
        let sources = vec![
            source(1, pb::SourceState::Running, 200),
            source(2, pb::SourceState::Connecting, 40),
        ];
        let now = snapshot(later, sources);
        let rates = Since::of(&before, &now).sources;
        assert_eq!((rates[&1].decoded, rates[&1].faces), (25.0, 2.5));
        assert_eq!(rates[&2].decoded, 10.0);
        let again = snapshot(later, vec![source(1, pb::SourceState::Running, 5)]);
        assert_eq!(Since::of(&now, &again).sources[&1].decoded, 0.0);
    }

    #[test]
    fn what_needs_somebody_stands_first_and_nothing_moves_the_cursor() {
        let sources = vec![
            source(1, pb::SourceState::Ended, 10),
            source(2, pb::SourceState::Running, 10),
            source(3, pb::SourceState::Failed, 10),
        ];
        let now = snapshot(Instant::now(), sources);
        let rates = Rates {
            decoded: 24.96,
            ..Rates::default()
        };
        let since = Since {
            records: 0.5,
            sources: HashMap::from([(2, rates)]),
        };
        let text = render("http://x", &now, Some(&since), Style::PLAIN);
        assert!(!text.contains('\x1b'), "{text}");
        for part in [
            "version 1.2.3",
            "answered in 1.5 ms",
            "writes refused (LOG_FULL)",
            "(0.5 a second)",
            "25.0",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let place = |name: &str| text.find(name).unwrap();
        assert!(place("camera 3") < place("camera 2") && place("camera 2") < place("camera 1"));
        assert!(place("camera 1") < place("42"));
        // At first nothing is known of rates.
        let text = render("http://x", &now, None, Style::PLAIN);
        assert!(text.contains("(- a second)"), "{text}");
    }
}
