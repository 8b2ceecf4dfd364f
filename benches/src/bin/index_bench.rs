//! The index alone: who, which faces, inserting, on a corpus of `benches/index`.
//!
//! `index_bench --corpus FOLDER [--questions insert,open,who,faces] [--queries N]`: FOLDER has the arrays that
//! `make bench-index` makes (`benches/README.md` names them). Prints a JSON line for each question and setting.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use npyz::{Deserialize, NpyFile};
use rollcall_benches::stats::Times;
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, Index, Operation, Similarity,
    Snapshot, SourceId, TrackId, Work,
};
use serde_json::{Value, json};

/// The threshold below which nobody is taken for known, as a server would have it.
const FLOOR: f32 = 0.4;
/// Face searches measured: reach, deviations.
const OPEN: [(f32, f32); 9] = [
    (1.0, 1.5),
    (1.5, 1.5),
    (2.0, 1.5),
    (2.0, 2.0),
    (2.25, 2.0),
    (2.5, 2.5),
    (3.0, 2.0),
    (3.0, 2.5),
    (3.5, 3.0),
];
/// The name of the model.
const CONTRACT: &str = "bench";
/// Answers asked for: as many as recall is measured over.
const WHO: usize = 10;
/// Of slow settings, at least as many queries are asked, and for as many seconds.
const QUERIES_MIN: usize = 200;
const SECONDS: f64 = 10.0;
/// The share of strangers that may be taken for somebody.
const FPIR: f64 = 0.01;

/// Measures the index on a corpus.
#[derive(Parser)]
struct Arguments {
    /// The folder with the corpus.
    #[arg(long)]
    corpus: PathBuf,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "insert,open,who,faces")]
    questions: Vec<String>,
    /// Only settings with this in their name.
    #[arg(long, default_value = "")]
    only: String,
    /// Passes over the queries; the last one counts.
    #[arg(long, default_value_t = 2)]
    passes: usize,
    /// Queries at most.
    #[arg(long)]
    queries: Option<usize>,
}

/// The corpus but for the vectors, which are read as they are needed.
struct Corpus {
    folder: PathBuf,
    name: String,
    identities: Vec<u64>,
    tracks: Vec<u64>,
    sources: Vec<u32>,
    times: Vec<i64>,
    queries: Vec<Embedding>,
    meant: Vec<i64>,
    truth: Vec<Vec<i64>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let corpus = Corpus::read(&arguments)?;
    let asked = |question: &str| arguments.questions.iter().any(|q| q == question);
    let folder = tempfile::tempdir_in(&corpus.folder)?;
    let snapshot = {
        let mut index = insert(&corpus, folder.path(), asked("insert"))?;
        if asked("open") {
            index.checkpoint()?;
        }
        index.publish()
    };
    if asked("open") {
        open(&corpus, folder.path(), snapshot.dimension())?;
    }
    if asked("who") {
        who(&corpus, &snapshot, &arguments)?;
    }
    if asked("faces") {
        faces(&corpus, &snapshot, &arguments)?;
    }
    Ok(())
}

/// Opens the index in a folder, and asks one question.
fn open(corpus: &Corpus, folder: &Path, dimension: usize) -> Result<()> {
    let mut times = Times::default();
    for _ in 0..5 {
        let begun = Instant::now();
        let index = Index::open(folder, CONTRACT, dimension)?;
        let opened = begun.elapsed().as_secs_f64();
        let hits = index
            .newest()
            .search_identities(&corpus.queries[0], 1, &Filter::default())?;
        ensure!(hits.len() == 1, "nobody found after opening");
        times.add(opened);
    }
    let files = std::fs::read_dir(folder)?;
    let bytes: u64 = files
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum();
    corpus.line(
        "open",
        "files in the page cache",
        &json!({
            "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
            "bytes_per_face": round(bytes as f64 / corpus.identities.len() as f64, 10.0),
        }),
    );
    Ok(())
}

fn array<T: Deserialize>(folder: &Path, name: &str) -> Result<Vec<T>> {
    let path = folder.join(name);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let array = NpyFile::new(BufReader::new(file)).with_context(|| path.display().to_string())?;
    array.into_vec().with_context(|| path.display().to_string())
}

impl Corpus {
    fn read(arguments: &Arguments) -> Result<Self> {
        let folder = &arguments.corpus;
        let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("corpus.json"))?)?;
        let identities: Vec<u64> = array(folder, "identities.npy")?;
        let queries: Vec<f32> = array(folder, "queries.npy")?;
        let meant: Vec<i64> = array(folder, "query_identities.npy")?;
        let dimension = queries.len() / meant.len();
        let queries: Result<Vec<Embedding>, _> = queries
            .chunks(dimension)
            .map(|values| Embedding::normalise(values.to_vec()))
            .collect();
        let truth: Vec<i64> = array(folder, "truth_faces.npy")?;
        let truth_each = truth.len() / meant.len();
        let mut corpus = Self {
            folder: folder.clone(),
            name: facts["name"]
                .as_str()
                .context("corpus.json: name")?
                .to_owned(),
            tracks: array(folder, "tracks.npy")?,
            sources: array(folder, "sources.npy")?,
            times: array(folder, "times.npy")?,
            identities,
            queries: queries?,
            meant,
            truth: truth.chunks(truth_each).map(<[i64]>::to_vec).collect(),
        };
        if let Some(most) = arguments.queries {
            // Known and unknown queries may be sorted: take them evenly.
            let step = (corpus.queries.len() / most.max(1)).max(1);
            corpus.queries = corpus.queries.into_iter().step_by(step).collect();
            corpus.meant = corpus.meant.into_iter().step_by(step).collect();
            corpus.truth = corpus.truth.into_iter().step_by(step).collect();
        }
        Ok(corpus)
    }

    /// The queries in an order that mixes known and unknown ones from its beginning.
    fn order(&self) -> impl Iterator<Item = usize> {
        let count = self.queries.len();
        // A step that shares no divisor with the count visits every query once.
        let mut step = count * 618 / 1000 + 1;
        while gcd(step, count) != 1 {
            step += 1;
        }
        (0..count).map(move |number| number * step % count)
    }

    fn line(&self, question: &str, setting: &str, values: &Value) {
        let mut line = json!({
            "system": "rollcall", "corpus": self.name, "n": self.identities.len(), "question": question,
            "setting": setting, "recall_at_1": null, "recall_at_10": null, "recall_at_100": null, "rank1": null,
            "fnir_at_fpir_1pct": null, "qps": null, "p50_us": null, "p99_us": null, "build_s": null,
            "peak_mb": null, "bytes_per_face": null, "hot_bytes_per_face": null,
        });
        if let (Some(line), Some(values)) = (line.as_object_mut(), values.as_object()) {
            line.extend(values.clone());
        }
        println!("{line}");
    }
}

/// Inserts every face, a track at a time.
fn insert(corpus: &Corpus, folder: &Path, print: bool) -> Result<Index> {
    let path = corpus.folder.join("vectors.npy");
    let array = NpyFile::new(BufReader::with_capacity(1 << 20, File::open(&path)?))?;
    let dimension = usize::try_from(array.shape()[1])?;
    let mut values = array.data::<half::f16>()?;
    let mut index = Index::open(folder, CONTRACT, dimension)?;
    let (mut operations, mut spent) = (Vec::new(), 0.0);
    let mut times = Times::default();
    let count = corpus.identities.len();
    for row in 0..count {
        let mut vector = Vec::with_capacity(dimension);
        for _ in 0..dimension {
            vector.push(values.next().context("vectors.npy ends early")??.to_f32());
        }
        let number = u64::try_from(row)?;
        operations.push(Operation::Insert {
            face: FaceId::new(number),
            identity: IdentityId::new(corpus.identities[row]),
            track: TrackId::new(corpus.tracks[row]),
            source: SourceId::new(u64::from(corpus.sources[row])),
            seen_us: corpus.times[row],
            quality: 1.0,
            attributes: 0,
            embedding: Embedding::normalise(vector)?,
        });
        if row + 1 == count || corpus.tracks[row + 1] != corpus.tracks[row] {
            let begun = Instant::now();
            index.apply(number, &operations)?;
            let took = begun.elapsed().as_secs_f64();
            spent += took;
            times.add(took);
            operations.clear();
        }
    }
    if print {
        let stats = index.newest().stats();
        let fill = || index.newest().cell_fill();
        let faces = count as f64;
        corpus.line(
            "insert",
            "a track at a time, identity given",
            &json!({
                "qps": (faces / spent).round(), "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
                "build_s": round(spent, 100.0), "peak_mb": peak_mb(),
                "bytes_per_face": round(stats.bytes as f64 / faces, 10.0),
                "hot_bytes_per_face": round(stats.hot_bytes as f64 / faces, 10.0),
                "details": {"cells": fill().count(), "cell_fill": [fill().min(), fill().max()]},
            }),
        );
    }
    Ok(index)
}

fn who(corpus: &Corpus, snapshot: &Arc<Snapshot>, arguments: &Arguments) -> Result<()> {
    let floor = Similarity::new(FLOOR).context("a cosine")?;
    let efforts = [
        ("8 cells", Effort::Cells(8)),
        ("16 cells", Effort::Cells(16)),
        ("32 cells", Effort::Cells(32)),
        ("64 cells", Effort::Cells(64)),
        ("normal (default)", Effort::Normal),
        ("certified", Effort::Certified),
    ];
    for (name, effort) in efforts
        .into_iter()
        .filter(|(name, _)| name.contains(&arguments.only))
    {
        let (mut times, mut known, mut unknown) = <(Times, Times, Times)>::default();
        let (mut right, mut scores, mut work) = (0u64, Vec::new(), Work::default());
        for pass in 1..=arguments.passes {
            for (query, meant) in corpus.queries.iter().zip(&corpus.meant) {
                let begun = Instant::now();
                let (hits, done) = snapshot.who(query, WHO, floor, &Filter::default(), effort)?;
                let took = begun.elapsed().as_secs_f64();
                if pass < arguments.passes {
                    continue;
                }
                times.add(took);
                if *meant >= 0 {
                    known.add(took);
                } else {
                    unknown.add(took);
                }
                let best = hits.first().context("no hit at all")?;
                let named = i64::try_from(best.identity.get())?;
                right += u64::from(named == *meant);
                scores.push((best.similarity.get(), named, *meant));
                work.sketches += done.sketches;
                work.codes += done.codes;
                work.bytes += done.bytes;
                work.exhaustive |= done.exhaustive;
            }
        }
        let count = times.len();
        corpus.line(
            "who",
            name,
            &json!({
                "rank1": round(right as f64 / known.len() as f64, 1e5), "fnir_at_fpir_1pct": fnir(&scores),
                "qps": qps(&times), "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
                "details": {"known_p50_us": percentile(&known, 50), "known_p99_us": percentile(&known, 99),
                "unknown_p50_us": percentile(&unknown, 50), "unknown_p99_us": percentile(&unknown, 99),
                "sketches": work.sketches / count, "codes": work.codes / count, "kb_touched": work.bytes / count / 1024},
            }),
        );
    }
    Ok(())
}

/// The share of known queries missed at the threshold that lets in one in a hundred strangers.
fn fnir(scores: &[(f32, i64, i64)]) -> Option<f64> {
    let mut strangers: Vec<f32> = scores.iter().filter(|s| s.2 < 0).map(|s| s.0).collect();
    strangers.sort_by(|a, b| b.total_cmp(a));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    let let_in = (strangers.len() as f64 * FPIR + 1e-9) as usize;
    let threshold = *strangers.get(let_in).filter(|_| let_in > 0)?;
    let known: Vec<_> = scores.iter().filter(|s| s.2 >= 0).collect();
    let right = known
        .iter()
        .filter(|s| s.0 > threshold && s.1 == s.2)
        .count();
    Some(round(1.0 - right as f64 / known.len() as f64, 1e5))
}

fn faces(corpus: &Corpus, snapshot: &Arc<Snapshot>, arguments: &Arguments) -> Result<()> {
    let open = |(reach, deviations)| {
        let name = format!("reach {reach}, {deviations} deviations");
        (name, FaceEffort::Open { reach, deviations })
    };
    let mut efforts: Vec<(String, FaceEffort)> = OPEN.into_iter().map(open).collect();
    efforts.push(("normal (default)".to_owned(), FaceEffort::NORMAL));
    let chosen = efforts
        .into_iter()
        .filter(|(name, _)| name.contains(&arguments.only));
    for (name, effort) in chosen {
        let timed = ask_faces(corpus, snapshot, effort, 10)?;
        let more = ask_faces(corpus, snapshot, effort, 100)?;
        let times = timed.times;
        let count = times.len();
        corpus.line(
            "faces",
            &setting(corpus, &name, count),
            &json!({
                "recall_at_1": timed.recall_at_1, "recall_at_10": timed.recall, "recall_at_100": more.recall,
                "rank1": timed.rank1, "fnir_at_fpir_1pct": timed.fnir,
                "qps": qps(&times), "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
                "details": {
                    "sketches": timed.work.sketches / count, "codes": timed.work.codes / count,
                    "kb_touched": timed.work.bytes / count / 1024,
                },
            }),
        );
    }
    Ok(())
}

/// The name of a setting that was judged on `count` queries.
fn setting(corpus: &Corpus, name: &str, count: usize) -> String {
    if count == corpus.queries.len() {
        name.to_owned()
    } else {
        format!("{name} queries={count}")
    }
}

/// The greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What a pass over the queries gave.
struct FacesPass {
    times: Times,
    recall_at_1: f64,
    recall: f64,
    rank1: f64,
    fnir: Option<f64>,
    work: Work,
}

fn ask_faces(
    corpus: &Corpus,
    snapshot: &Snapshot,
    effort: FaceEffort,
    k: usize,
) -> Result<FacesPass> {
    let (mut times, mut work) = (Times::default(), Work::default());
    let (mut recall, mut first, mut right, mut known) = (0usize, 0usize, 0usize, 0usize);
    let mut scores = Vec::new();
    let begin = Instant::now();
    for number in corpus.order() {
        let (query, truth, meant) = (
            &corpus.queries[number],
            &corpus.truth[number],
            corpus.meant[number],
        );
        let begun = Instant::now();
        let (hits, done) = snapshot.faces_like(query, k, &Filter::default(), effort)?;
        times.add(begun.elapsed().as_secs_f64());
        let found: Vec<i64> = hits
            .iter()
            .map(|hit| i64::try_from(hit.face.get()))
            .collect::<Result<_, _>>()?;
        ensure!(
            truth.len() >= k,
            "truth holds {} faces a query",
            truth.len()
        );
        recall += truth[..k]
            .iter()
            .filter(|face| found.contains(face))
            .count();
        first += usize::from(found.first() == truth.first());
        let best = hits.first().context("no hit at all")?;
        let named = i64::try_from(best.identity.get())?;
        scores.push((best.similarity.get(), named, meant));
        known += usize::from(meant >= 0);
        right += usize::from(named == meant);
        work.sketches += done.sketches;
        work.codes += done.codes;
        work.bytes += done.bytes;
        if enough(begin, times.len()) {
            break;
        }
    }
    let count = times.len();
    Ok(FacesPass {
        recall_at_1: round(first as f64 / count as f64, 1e4),
        recall: round(recall as f64 / (count * k) as f64, 1e4),
        rank1: round(right as f64 / known as f64, 1e5),
        fnir: fnir(&scores),
        times,
        work,
    })
}

/// Slow settings are judged on fewer queries, as peers are.
fn enough(begin: Instant, queries: usize) -> bool {
    queries >= QUERIES_MIN && begin.elapsed().as_secs_f64() > SECONDS
}

/// A percentile in microseconds.
fn percentile(times: &Times, percent: usize) -> f64 {
    round(times.at(percent) * 1e3, 10.0)
}

/// Answers a second, from all times.
fn qps(times: &Times) -> f64 {
    (1e3 / times.mean()).round()
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// The most memory this process has held, in MiB.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
