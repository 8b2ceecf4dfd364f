//! How long does a search take, all included, over loopback: on an idle server, and while it reads video?
//!
//! `cargo build --release --workspace --bins && target/release/search_latency [--assets DIR] [--data FOLDER]` starts
//! `rollcalld` (on a fresh collection with the small demo clip, or on FOLDER, which is left as it is but for the log's
//! lock), then asks in turn: a bare `GetStatus`, which is the peer (what a round trip costs that searches nothing), and
//! `SearchEmbedding`; then `GetStatus` and `SearchImage` with a photo of 640 pixels; then `SearchEmbedding` again while four
//! workers read the demo clip as fast as they can, over and over. Every answer is compared with the right one. Prints a
//! JSON line each.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use image::ImageFormat;
use image::imageops::FilterType;
use rollcall_benches::stats::Times;
use rollcall_benches::system::{Server, add, read_to_end, state};
use rollcall_client::pb::SourceState;
use rollcall_client::{Client, pb, time};
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{Assets, ModelOptions, Models, PhotoReader};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest side of the query photos.
const PHOTO_SIDE: u32 = 640;
/// Calls of each kind that do not count.
const WARM_UP: usize = 50;

/// Measures searches over loopback.
#[derive(Parser)]
struct Arguments {
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
    /// A data folder that holds the people of the small demo clip [default: a fresh one, made of the clip].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Searches by embedding.
    #[arg(long, default_value_t = 1000)]
    queries: usize,
    /// Searches by photo.
    #[arg(long, default_value_t = 100)]
    photos: usize,
    /// Sources read at a time in the last part; 0 leaves it out.
    #[arg(long, default_value_t = 4)]
    sources: usize,
    /// A setting of the server, as KEY=VALUE; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A query and its right answer.
struct Query {
    jpeg: Vec<u8>,
    embedding: Vec<f32>,
    identity: u64,
}

/// What the server says it spent where.
#[derive(Default)]
struct Stages(BTreeMap<&'static str, Times>);

impl Stages {
    fn add(&mut self, answer: &pb::SearchResponse) {
        let timings = answer.timings.unwrap_or_default();
        for (stage, spent) in [
            ("decode", timings.decode),
            ("detect", timings.detect),
            ("embed", timings.embed),
            ("search", timings.search),
            ("total", timings.total),
        ] {
            if let Some(spent) = spent {
                self.0.entry(stage).or_default().add(time::seconds(&spent));
            }
        }
    }

    fn p50(&self) -> BTreeMap<&'static str, f64> {
        self.0
            .iter()
            .map(|(stage, times)| (*stage, (times.at(50) * 1e3).round() / 1e3))
            .collect()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let assets = Assets::locate(arguments.assets.as_deref())?;
    let folder = tempfile::tempdir()?;
    let data = arguments
        .data
        .clone()
        .unwrap_or_else(|| folder.path().join("data"));
    let mut settings = vec![format!("ingest.workers_max={}", arguments.sources.max(1))];
    settings.extend(arguments.set.clone());
    let server = Server::start_with(&data, assets.folder(), &settings).await?;
    let client = server.client().await?;
    if arguments.data.is_none() {
        read_to_end(&client, &assets.folder().join("demo/clip-small.mp4")).await?;
    }
    let queries = queries(&client, &assets).await?;
    let status = client.status().await?;
    let print = |what: &str, times: &Times, peer: &Times, stages: &Stages| {
        let (ours, peer) = (times.summary(), peer.summary());
        println!(
            "{}",
            json!({
                "what": what, "round_trip": ours, "peer": "GetStatus", "peer_round_trip": peer,
                "server_p50_ms": stages.p50(), "identities": status.identities, "faces": status.exemplars, "wrong_answers": 0,
            })
        );
    };
    let (times, peer, stages) = by_embedding(&client, &queries, arguments.queries).await?;
    print("search_embedding", &times, &peer, &stages);
    let (times, peer, stages) = by_photo(&client, &queries, arguments.photos).await?;
    print("search_image_640", &times, &peer, &stages);
    if arguments.sources > 0 {
        let clip = assets.folder().join("demo/clip.mp4");
        let copies = folder.path().to_owned();
        let reading = Reading::start(&client, clip, copies, arguments.sources).await?;
        let (times, peer, stages) = by_embedding(&client, &queries, arguments.queries).await?;
        let what = format!("search_embedding_beside_{}_sources", arguments.sources);
        print(&what, &times, &peer, &stages);
        reading.stop().await?;
    }
    server.stop().await
}

/// Sources that are read all the time: where one has ended, another begins. Each is a copy of the clip, since no file is
/// a source twice.
struct Reading(tokio::task::JoinHandle<Result<()>>);

impl Reading {
    /// Returns when pictures come from all of them. Copies lie in `folder`.
    async fn start(client: &Client, clip: PathBuf, folder: PathBuf, count: usize) -> Result<Self> {
        let mut copies = 0..;
        let mut next = move || -> Result<PathBuf> {
            let copy = folder.join(format!("{}.mp4", copies.next().unwrap_or(0)));
            std::fs::copy(&clip, &copy)?;
            Ok(copy)
        };
        let mut sources = Vec::new();
        for _ in 0..count {
            sources.push(add(client, &next()?).await?);
        }
        for source in &sources {
            while state(client, *source).await? != SourceState::Running {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let client = client.clone();
        Ok(Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                for source in &mut sources {
                    if state(&client, *source).await? == SourceState::Ended {
                        *source = add(&client, &next()?).await?;
                    }
                }
            }
        })))
    }

    async fn stop(self) -> Result<()> {
        ensure!(
            !self.0.is_finished(),
            "the sources are no longer read: {:?}",
            self.0.await
        );
        self.0.abort();
        Ok(())
    }
}

/// The held-out photos of the people in the clip, scaled, with their embeddings and whose they are: two different ways to
/// the same answer, by photo in the server and by embedding made here, must agree.
async fn queries(client: &Client, assets: &Assets) -> Result<Vec<Query>> {
    let models = Models::open(assets, &ModelOptions::default())?;
    let mut reader = PhotoReader::open(&models)?;
    let folder = assets.folder().join("demo");
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("truth-small.json"))?)?;
    let mut queries: Vec<Query> = Vec::new();
    for held_out in truth["held_out"]
        .as_array()
        .context("truth-small.json: held_out")?
    {
        let name = held_out["image"]
            .as_str()
            .context("truth-small.json: image")?;
        let jpeg = scaled(&folder.join(name))?;
        let picture = photo::decode(&jpeg, &PhotoLimits::default())?;
        let faces = reader.read(&picture)?;
        let face = faces
            .iter()
            .find(|face| face.quality.is_ok())
            .with_context(|| format!("{name}: no face"))?;
        let embedding = reader
            .embed(&picture, &[&face.face])?
            .remove(0)
            .as_slice()
            .to_vec();
        let identity =
            found(&client.search_image(image(&jpeg)).await?).with_context(|| name.to_owned())?;
        queries.push(Query {
            jpeg,
            embedding,
            identity,
        });
    }
    let mut identities: Vec<u64> = queries.iter().map(|query| query.identity).collect();
    identities.sort_unstable();
    identities.dedup();
    ensure!(
        identities.len() == queries.len(),
        "two people are one: {identities:?}"
    );
    Ok(queries)
}

fn scaled(path: &Path) -> Result<Vec<u8>> {
    let photo = image::open(path).with_context(|| path.display().to_string())?;
    let photo = photo.resize(PHOTO_SIDE, PHOTO_SIDE, FilterType::CatmullRom);
    let mut jpeg = Cursor::new(Vec::new());
    photo.to_rgb8().write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

fn image(jpeg: &[u8]) -> pb::SearchImageRequest {
    pb::SearchImageRequest {
        image: jpeg.to_vec(),
        ..Default::default()
    }
}

/// The identity found.
fn found(answer: &pb::SearchResponse) -> Result<u64> {
    ensure!(
        answer.verdict() == pb::Verdict::Found,
        "not found: {answer:?}"
    );
    let identity = answer.hits.first().and_then(|hit| hit.identity.as_ref());
    Ok(identity.context("a hit without identity")?.id)
}

async fn by_embedding(
    client: &Client,
    queries: &[Query],
    count: usize,
) -> Result<(Times, Times, Stages)> {
    let (mut times, mut peer, mut stages) = <(Times, Times, Stages)>::default();
    for (number, query) in queries.iter().cycle().take(WARM_UP + count).enumerate() {
        let counts = number >= WARM_UP;
        status(client, counts.then_some(&mut peer)).await?;
        let embedding = query.embedding.clone();
        let request = pb::SearchEmbeddingRequest {
            embedding,
            ..Default::default()
        };
        let begin = Instant::now();
        let answer = client.search_embedding(request).await?;
        if counts {
            times.add(begin.elapsed().as_secs_f64());
            stages.add(&answer);
        }
        ensure!(
            found(&answer)? == query.identity,
            "the wrong person: {answer:?}"
        );
    }
    Ok((times, peer, stages))
}

async fn by_photo(
    client: &Client,
    queries: &[Query],
    count: usize,
) -> Result<(Times, Times, Stages)> {
    let (mut times, mut peer, mut stages) = <(Times, Times, Stages)>::default();
    let warm_up = queries.len();
    for (number, query) in queries.iter().cycle().take(warm_up + count).enumerate() {
        let counts = number >= warm_up;
        status(client, counts.then_some(&mut peer)).await?;
        let request = image(&query.jpeg);
        let begin = Instant::now();
        let answer = client.search_image(request).await?;
        if counts {
            times.add(begin.elapsed().as_secs_f64());
            stages.add(&answer);
        }
        ensure!(
            found(&answer)? == query.identity,
            "the wrong person: {answer:?}"
        );
    }
    Ok((times, peer, stages))
}

async fn status(client: &Client, times: Option<&mut Times>) -> Result<()> {
    let begin = Instant::now();
    client.status().await?;
    if let Some(times) = times {
        times.add(begin.elapsed().as_secs_f64());
    }
    Ok(())
}
