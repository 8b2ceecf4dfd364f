//! Open-set identification: a gallery of people enrolled with some photos each, asked about faces of
//! people who are in it and of people who are not.
//!
//! `gallery --corpus FOLDER --people 10000 --photos 10`: prints a JSON line for each system;
//! `benches/README.md` says what is in it. Everything runs on one core.
#![allow(clippy::print_stdout, reason = "the result of this program")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "shares of counts that memory holds"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use npyz::NpyFile;
use rollcall_benches::arrays::{Vectors, array};
use rollcall_benches::cores::Cores;
use rollcall_index::{
    Effort, Embedding, FaceId, Filter, IdentityId, Index, Operation, Similarity, SourceId, State,
    TrackId,
};
use rollcall_ingest::cluster::confidence::{Confidence, Trial, Truth, trials_of};
use serde_json::{Value, json};

/// Identities that the calibration asks about.
const TRIALS: u64 = 2_000;
/// What a search reports of identities that are less similar does not matter.
const FLOOR: f32 = 0.1;
/// The rate of unknown people accepted, at which misses are counted.
const RATE: f32 = 0.01;

/// Measures who is found in a gallery, and who is taken for somebody in it.
#[derive(Parser)]
struct Arguments {
    /// The folder with the corpus.
    #[arg(long)]
    corpus: PathBuf,
    /// The first so many people of the corpus are enrolled; the others are unknown.
    #[arg(long, default_value_t = 10_000)]
    people: u64,
    /// Photos of each, of as many tracks as there are.
    #[arg(long, default_value_t = 10)]
    photos: usize,
}

/// A face to ask about, and its person, if enrolled.
struct Query {
    face: Embedding,
    person: Option<u64>,
}

/// What a system says of a query.
struct Answer {
    person: u64,
    cosine: f32,
    margin: f32,
}

fn main() -> Result<()> {
    Cores::given()?.pin(0)?;
    let arguments = Arguments::parse();
    let gallery = enrol(&arguments)?;
    let queries = queries(&arguments)?;
    let index = build(&gallery)?;
    let state = index.newest();

    let (answers, took_us) = timed(&queries, |query| rollcall(state, query))?;
    let mut line = line(
        "rollcall", &arguments, &gallery, &queries, &answers, took_us,
    );
    line["calibration"] = calibration(state, &arguments, &queries, &answers)?;
    println!("{line}");
    let flat: Vec<f32> = gallery
        .iter()
        .flat_map(|(_, face)| face.as_slice().to_vec())
        .collect();
    let people: Vec<u64> = gallery.iter().map(|(person, _)| *person).collect();
    let (answers, took_us) = timed(&queries, |query| Ok(exact(&flat, &people, query)))?;
    println!(
        "{}",
        self::line(
            "exact/faces",
            &arguments,
            &gallery,
            &queries,
            &answers,
            took_us
        )
    );
    let (people, flat) = means(&gallery)?;
    let (answers, took_us) = timed(&queries, |query| Ok(exact(&flat, &people, query)))?;
    println!(
        "{}",
        self::line(
            "exact/means",
            &arguments,
            &gallery,
            &queries,
            &answers,
            took_us
        )
    );
    Ok(())
}

/// Faces to enrol: person after person, of each the first faces of its tracks, then others.
fn enrol(arguments: &Arguments) -> Result<Vec<(u64, Embedding)>> {
    let people: Vec<u64> = array(&arguments.corpus, "identities.npy")?;
    let tracks: Vec<u64> = array(&arguments.corpus, "tracks.npy")?;
    let vectors = Vectors::open(&arguments.corpus)?;
    let mut rows: HashMap<u64, (Vec<usize>, Vec<usize>)> = HashMap::new();
    let mut seen: HashMap<u64, ()> = HashMap::new();
    for (row, person) in people.iter().enumerate() {
        if *person <= arguments.people {
            let (first, other) = rows.entry(*person).or_default();
            let new = seen.insert(tracks[row], ()).is_none();
            if new { first } else { other }.push(row);
        }
    }
    ensure!(
        rows.len() as u64 == arguments.people,
        "the corpus has {} people, --people asks for {}",
        rows.len(),
        arguments.people
    );
    let mut gallery = Vec::new();
    for person in 1..=arguments.people {
        let (first, other) = &rows[&person];
        for row in first.iter().chain(other).take(arguments.photos) {
            gallery.push((person, vectors.embedding(*row)?));
        }
    }
    Ok(gallery)
}

fn queries(arguments: &Arguments) -> Result<Vec<Query>> {
    let truth: Vec<i64> = array(&arguments.corpus, "query_identities.npy")?;
    let path = arguments.corpus.join("queries.npy");
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let values: Vec<f32> = NpyFile::new(file)?.into_vec()?;
    let dimension = values.len() / truth.len();
    let faces = values.chunks_exact(dimension).zip(truth);
    faces
        .map(|(values, truth)| {
            let person = u64::try_from(truth).ok();
            Ok(Query {
                face: Embedding::normalise(values.to_vec())?,
                person: person.filter(|person| *person <= arguments.people),
            })
        })
        .collect()
}

/// Each photo is a track of its own.
fn build(gallery: &[(u64, Embedding)]) -> Result<Index> {
    let dimension = gallery.first().context("nobody is enrolled")?.1.dimension();
    let mut index = Index::new(dimension);
    for ((number, (person, face)), sequence) in (1..).zip(gallery).zip(1..) {
        let operation = Operation::Insert {
            face: FaceId::new(number),
            identity: IdentityId::new(*person),
            track: TrackId::new(number),
            source: SourceId::new(1),
            seen_us: 0,
            quality: 1.0,
            attributes: 0,
            embedding: face.clone(),
        };
        index.apply(sequence, &[operation])?;
    }
    Ok(index)
}

fn rollcall(state: &State, query: &Embedding) -> Result<Answer> {
    let floor = Similarity::new(FLOOR).unwrap_or(Similarity::LEAST);
    let (hits, _) = state.who(query, 2, floor, &Filter::default(), Effort::Normal)?;
    let cosine = |at: usize| hits.get(at).map(|hit| hit.similarity.get());
    let first = cosine(0).unwrap_or(-1.0);
    Ok(Answer {
        person: hits.first().map_or(0, |hit| hit.identity.get()),
        cosine: first,
        margin: cosine(1).map_or(2.0, |second| first - second),
    })
}

/// The most similar of rows that each belong to somebody.
fn exact(flat: &[f32], people: &[u64], query: &Embedding) -> Answer {
    let query = query.as_slice();
    let (mut best, mut person) = (f32::NEG_INFINITY, 0);
    for (row, owner) in flat.chunks_exact(query.len()).zip(people) {
        let cosine = dot(row, query);
        if cosine > best {
            (best, person) = (cosine, *owner);
        }
    }
    Answer {
        person,
        cosine: best,
        margin: 0.0,
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

fn means(gallery: &[(u64, Embedding)]) -> Result<(Vec<u64>, Vec<f32>)> {
    let (mut people, mut flat) = (Vec::new(), Vec::new());
    for rows in gallery.chunk_by(|a, b| a.0 == b.0) {
        let mean = Embedding::mean(rows.iter().map(|(_, face)| (face, 1.0)));
        flat.extend_from_slice(mean.context("faces cancel out")?.as_slice());
        people.push(rows[0].0);
    }
    Ok((people, flat))
}

fn timed(
    queries: &[Query],
    ask: impl Fn(&Embedding) -> Result<Answer>,
) -> Result<(Vec<Answer>, Vec<f64>)> {
    for query in queries.iter().take(20) {
        ask(&query.face)?;
    }
    let mut took_us = Vec::with_capacity(queries.len());
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        let begun = Instant::now();
        answers.push(ask(&query.face)?);
        took_us.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    took_us.sort_by(f64::total_cmp);
    Ok((answers, took_us))
}

/// The lowest threshold that accepts at most the rate of unknown people.
fn threshold(queries: &[Query], answers: &[Answer]) -> f32 {
    let mut scores: Vec<f32> = queries
        .iter()
        .zip(answers)
        .filter(|(query, _)| query.person.is_none())
        .map(|(_, answer)| answer.cosine)
        .collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let allowed = (scores.len() as f32 * RATE) as usize;
    scores.get(allowed).copied().unwrap_or(-1.0)
}

fn missed(queries: &[Query], answers: &[Answer], threshold: f32) -> f64 {
    let pairs = queries.iter().zip(answers);
    let known: Vec<bool> = pairs
        .filter_map(|(query, answer)| {
            let person = query.person?;
            Some(answer.person != person || answer.cosine <= threshold)
        })
        .collect();
    known.iter().filter(|missed| **missed).count() as f64 / known.len() as f64
}

fn accepted(queries: &[Query], answers: &[Answer], threshold: f32) -> f64 {
    let unknown = queries
        .iter()
        .zip(answers)
        .filter(|(query, _)| query.person.is_none());
    let scores: Vec<f32> = unknown.map(|(_, answer)| answer.cosine).collect();
    scores.iter().filter(|score| **score > threshold).count() as f64 / scores.len() as f64
}

fn line(
    system: &str,
    arguments: &Arguments,
    gallery: &[(u64, Embedding)],
    queries: &[Query],
    answers: &[Answer],
    took_us: Vec<f64>,
) -> Value {
    let threshold = threshold(queries, answers);
    let known = queries
        .iter()
        .filter(|query| query.person.is_some())
        .count();
    let right = queries
        .iter()
        .zip(answers)
        .filter(|(query, answer)| query.person == Some(answer.person));
    json!({
        "system": system, "people": arguments.people, "photos": gallery.len(),
        "queries_known": known, "queries_unknown": queries.len() - known,
        "rank1": round(right.count() as f64 / known as f64),
        "fnir_at_fpir_1pct": round(missed(queries, answers, threshold)),
        "threshold": round(threshold.into()),
        "p50_us": round(took_us[took_us.len() / 2]),
        "p99_us": round(took_us[took_us.len() * 99 / 100]),
    })
}

/// How far what the gallery says of itself is from what queries show.
fn calibration(
    state: &State,
    arguments: &Arguments,
    queries: &[Query],
    answers: &[Answer],
) -> Result<Value> {
    let begun = Instant::now();
    let count = TRIALS.min(arguments.people);
    let mut trials = Vec::new();
    for number in 0..count {
        let identity = IdentityId::new(1 + number * arguments.people / count);
        trials.extend(trials_of(state, identity, &Filter::default())?);
    }
    let confidence = Confidence::fit(&trials)?;
    let took_s = begun.elapsed().as_secs_f64();
    let threshold = confidence.threshold(RATE);
    let asked: Vec<Trial> = queries
        .iter()
        .zip(answers)
        .map(|(query, answer)| Trial {
            cosine: answer.cosine,
            margin: answer.margin,
            truth: match query.person {
                None => Truth::Unknown,
                Some(person) if person == answer.person => Truth::Right,
                Some(_) => Truth::Wrong,
            },
        })
        .collect();
    Ok(json!({
        "trials": trials.len(), "took_s": round(took_s),
        "threshold_for_fpir_1pct": round(threshold.into()),
        "fpir_there": round(accepted(queries, answers, threshold)),
        "fnir_there": round(missed(queries, answers, threshold)),
        "expected_calibration_error": round(calibration_error(&confidence, &asked)),
        "fitted": confidence.to_string(),
    }))
}

/// The mean difference between the confidence and the share that is right, over ten bins, with known
/// and unknown people weighing the same (Naeini et al., "Obtaining Well Calibrated Probabilities Using
/// Bayesian Binning", AAAI 2015).
fn calibration_error(confidence: &Confidence, asked: &[Trial]) -> f64 {
    let unknown = asked
        .iter()
        .filter(|trial| trial.truth == Truth::Unknown)
        .count();
    let known = asked.len() - unknown;
    let mut bins = [(0.0, 0.0); 10];
    for trial in asked {
        let said = f64::from(confidence.probability(trial.cosine, trial.margin));
        let count = if trial.truth == Truth::Unknown {
            unknown
        } else {
            known
        };
        let weight = 0.5 / count as f64;
        let right = f64::from(u8::from(trial.truth == Truth::Right));
        let bin = &mut bins[((said * 10.0) as usize).min(9)];
        bin.0 += weight * said;
        bin.1 += weight * right;
    }
    bins.iter()
        .map(|(said, right)| f64::abs(said - right))
        .sum()
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
