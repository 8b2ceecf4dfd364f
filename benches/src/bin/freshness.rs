//! A file played at the pace of its own clock, as if it were live: how long from a person's first good face to the event
//! at a watcher, and to the face being found?
//!
//! `cargo build --release --workspace --bins && target/release/freshness [--assets DIR] [--clip FILE]` first extracts the
//! clip, to have each track's embeddings; then plays it (`realtime`) into a fresh server. For each track it takes the
//! wall clock at which the frame of its first exemplar was shown, the moment its `SightingStarted` arrived, and the moment a
//! `SearchEmbedding` with that exemplar named the track among the sightings. Prints a JSON line each.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use rollcall_benches::stats::Times;
use rollcall_benches::system::{Server, extract};
use rollcall_client::pb::{self, SourceState, watch_event::Event};
use rollcall_client::{Client, Watch, WatchFrom, WatchItem, WatchOptions};
use rollcall_index::Embedding;
use rollcall_ingest::Assets;
use rollcall_log::record::{Body, TrackObserved};
use rollcall_log::{FileStorage, Log, LogOptions};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Searches for one face before it counts as not found.
const SEARCHES_MAX: usize = 1000;

/// Measures how fresh answers are.
#[derive(Parser)]
struct Arguments {
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
    /// The clip [default: the demo clip].
    #[arg(long)]
    clip: Option<PathBuf>,
}

/// When a track was told of and found, Unix time in microseconds.
#[derive(Clone, Copy)]
struct Arrival {
    event_us: i64,
    found_us: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let assets = Assets::locate(arguments.assets.as_deref())?;
    let clip = arguments
        .clip
        .unwrap_or_else(|| assets.folder().join("demo/clip.mp4"));
    let clip = clip
        .canonicalize()
        .with_context(|| clip.display().to_string())?;
    let folder = tempfile::tempdir()?;
    let extracted = folder.path().join("extracted");
    extract(&clip, &extracted, assets.folder())?;
    let faces = first_faces(&extracted.join("log"))?;
    ensure!(!faces.is_empty(), "{}: nobody is in it", clip.display());

    let data = folder.path().join("data");
    let server = Server::start(&data, assets.folder()).await?;
    let client = server.client().await?;
    let arrivals = play(&client, &clip, &faces).await?;
    server.stop().await?;
    report(&read(&data.join("log"))?, &arrivals)
}

/// The embeddings of the first exemplar of each track, by the track's start: tracks that start together are told apart by
/// the search itself.
type FirstFaces = BTreeMap<i64, Vec<Embedding>>;

fn first_faces(log: &Path) -> Result<FirstFaces> {
    let storage = Arc::new(FileStorage::open(log)?);
    let (log, _) = Log::open(storage, LogOptions::default())?;
    let reader = log.reader();
    let mut faces = FirstFaces::new();
    for track in openings(read_all(&reader)?) {
        let exemplar = track.exemplars.first().context("a track without a face")?;
        let reference = exemplar
            .embedding
            .as_ref()
            .context("an exemplar without an embedding")?;
        let embedding = Embedding::from_f16_bytes(&reader.blob(reference)?)?;
        faces.entry(track.start_us).or_default().push(embedding);
    }
    Ok(faces)
}

fn read(log: &Path) -> Result<Vec<TrackObserved>> {
    let storage = Arc::new(FileStorage::open(log)?);
    let (log, _) = Log::open(storage, LogOptions::default())?;
    read_all(&log.reader())
}

fn read_all(reader: &rollcall_log::LogReader) -> Result<Vec<TrackObserved>> {
    let mut tracks = Vec::new();
    for record in reader.read_after(0) {
        if let Some(Body::TrackObserved(track)) = record?.body {
            tracks.push(track);
        }
    }
    Ok(tracks)
}

fn openings(tracks: Vec<TrackObserved>) -> impl Iterator<Item = TrackObserved> {
    tracks.into_iter().filter(|track| track.revision == 1)
}

/// Plays the clip and returns when each track was told of and found.
async fn play(client: &Client, clip: &Path, faces: &FirstFaces) -> Result<BTreeMap<u64, Arrival>> {
    let mut watch = client
        .watch(WatchOptions {
            from: WatchFrom::Now,
            ..Default::default()
        })
        .await?;
    let uri = clip.to_str().context("the path is not UTF-8")?.to_owned();
    let request = pb::AddSourceRequest {
        uri,
        realtime: true,
        ..Default::default()
    };
    client.add_source(request).await?;
    let mut arrivals = BTreeMap::new();
    loop {
        match next(&mut watch).await?.event {
            Some(Event::SightingStarted(started)) => {
                let event_us = now_us()?;
                let sighting = started.sighting.context("an event without a sighting")?;
                let start = sighting.start.context("a sighting without a start")?;
                let start_us = start.seconds * 1_000_000 + i64::from(start.nanos) / 1000;
                let faces = faces
                    .get(&start_us)
                    .context("a track that the extraction has not seen")?;
                find(client, faces, sighting.track_id).await?;
                arrivals.insert(
                    sighting.track_id,
                    Arrival {
                        event_us,
                        found_us: now_us()?,
                    },
                );
            }
            Some(Event::SourceChanged(changed)) => match changed.state() {
                SourceState::Ended => return Ok(arrivals),
                SourceState::Failed | SourceState::Stopped => bail!("the clip failed: {changed:?}"),
                SourceState::Unspecified
                | SourceState::Queued
                | SourceState::Connecting
                | SourceState::Running
                | SourceState::Stalled => {}
            },
            _ => {}
        }
    }
}

async fn next(watch: &mut Watch) -> Result<pb::WatchEvent> {
    match watch.next().await? {
        WatchItem::Event(event) => Ok(*event),
        WatchItem::Reconnecting { error, .. } => Err(error.into()),
    }
}

/// Searches until the track is among the sightings of a hit.
async fn find(client: &Client, faces: &[Embedding], track: u64) -> Result<()> {
    for face in faces.iter().cycle().take(SEARCHES_MAX) {
        let embedding = face.as_slice().to_vec();
        let request = pb::SearchEmbeddingRequest {
            embedding,
            ..Default::default()
        };
        let answer = client.search_embedding(request).await?;
        let mut sightings = answer.hits.iter().flat_map(|hit| &hit.sightings);
        if sightings.any(|sighting| sighting.track_id == track) {
            return Ok(());
        }
    }
    bail!("track {track} is not found by its own face")
}

fn now_us() -> Result<i64> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)?
        .as_micros()
        .try_into()?)
}

fn report(tracks: &[TrackObserved], arrivals: &BTreeMap<u64, Arrival>) -> Result<()> {
    let (mut event, mut found, mut still_running) = (Times::default(), Times::default(), 0);
    let seconds = |us: i64| us as f64 / 1e6;
    for (id, arrival) in arrivals {
        let mut of = tracks.iter().filter(|track| track.track_id == *id);
        let opening = of
            .clone()
            .find(|track| track.revision == 1)
            .context("a track that never opened")?;
        let face = opening
            .exemplars
            .first()
            .and_then(|exemplar| exemplar.face)
            .context("no face")?;
        let shown_us = opening.wall_start_us + face.time_us - opening.start_us;
        event.add(seconds(arrival.event_us - shown_us));
        found.add(seconds(arrival.found_us - shown_us));
        let last = of
            .rfind(|track| track.closed)
            .context("a track that never closed")?;
        let end_us = opening.wall_start_us + last.end_us - last.start_us;
        still_running += usize::from(arrival.found_us <= end_us);
    }
    let opened = openings(tracks.to_vec()).count();
    ensure!(
        opened == arrivals.len(),
        "{opened} tracks, {} were told of",
        arrivals.len()
    );
    for (what, times) in [
        ("first_face_to_event", event),
        ("first_face_to_found", found),
    ] {
        println!(
            "{}",
            json!({ "what": what, "times": times.summary(), "tracks": opened, "found_while_on_screen": still_running })
        );
    }
    Ok(())
}
