//! Adding faces: all of them, and the last ones in the ways a writer may go about it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use rollcall_benches::memory::{forget_peak, memory_mb};
use rollcall_benches::stats::Times;
use rollcall_index::{Effort, Embedding, FaceId, Filter, Index, Operation, State};
use serde_json::json;

use crate::CONTRACT;
use crate::corpus::Corpus;
use crate::report::{Report, percentile, round};
use crate::who::floor;

/// The share of the corpus' faces that are inserted again, and how many at most.
const LATE_SHARE: usize = 10;
const LATE_MAX: usize = 100_000;
/// A run over them ends after as many seconds.
const SECONDS: f64 = 60.0;

/// Inserts every face into an empty index, a track at a time.
pub(crate) fn all(corpus: &Corpus, index: &mut Index, report: Option<&Report<'_>>) -> Result<()> {
    let rows = corpus.in_tracks((0..corpus.faces()).collect());
    let tracks = rows.chunk_by(|a, b| corpus.same_track(*a, *b));
    forget_peak();
    let run = run(index, corpus, tracks, None, |_| ())?;
    let Some(report) = report else { return Ok(()) };
    let stats = index.newest().stats();
    let fill = || index.newest().cell_fill();
    let faces = run.faces as f64;
    report.line(
        "insert",
        "a track at a time, identity given",
        &json!({
            "qps": run.faces_a_second(), "p50_us": percentile(&run.times, 50), "p99_us": percentile(&run.times, 99),
            "build_s": round(run.seconds, 100.0), "peak_mb": memory_mb("VmHWM"),
            "bytes_per_face": round(stats.bytes as f64 / faces, 10.0),
            "hot_bytes_per_face": round(stats.hot_bytes as f64 / faces, 10.0),
            "details": {"faces": run.faces, "cells": fill().count(), "cell_fill": [fill().min(), fill().max()]},
        }),
    )
}

/// Takes the last faces out of the index in `folder`, in memory alone, and inserts them again.
pub(crate) fn measure(corpus: &Corpus, folder: &Path, report: &Report<'_>) -> Result<()> {
    for (name, tracks, sought) in [
        ("a face at a time, identity given", false, false),
        ("a face at a time, sought by who", false, true),
        ("a track at a time, sought by its mean", true, true),
    ] {
        let (mut index, late) = without_late(corpus, folder)?;
        let mut seeker = Seeker::new(corpus);
        let before = index.newest().stats().faces;
        let begin = Instant::now();
        let batches = late
            .chunk_by(|a, b| tracks && corpus.same_track(*a, *b))
            .take_while(|_| begin.elapsed().as_secs_f64() < SECONDS);
        let given = sought.then_some(&mut seeker);
        let run = run(&mut index, corpus, batches, given, |_| ())?;
        let mut details = json!({"faces": run.faces});
        if sought {
            details = seeker.found(corpus, &late[..run.faces]);
        }
        let setting = format!("{name}: the last {} after {before}", late.len());
        report.line(
            "insert",
            &setting,
            &json!({
                "qps": run.faces_a_second(), "p50_us": percentile(&run.times, 50),
                "p99_us": percentile(&run.times, 99), "details": details,
            }),
        )?;
    }
    Ok(())
}

/// The index in `folder` but for the last faces, and their rows, a track after the other.
pub(crate) fn without_late(corpus: &Corpus, folder: &Path) -> Result<(Index, Vec<usize>)> {
    let mut index = Index::open(folder, CONTRACT, corpus.dimension)?;
    let late = first_late(corpus)..corpus.faces();
    let removals: Result<Vec<_>> = late
        .clone()
        .map(|row| {
            let face = FaceId::new(u64::try_from(row)?);
            Ok(Operation::Remove { face })
        })
        .collect();
    index.apply(index.newest().sequence(), &removals?)?;
    Ok((index, corpus.in_tracks(late.collect())))
}

fn first_late(corpus: &Corpus) -> usize {
    corpus.faces() - (corpus.faces() / LATE_SHARE).min(LATE_MAX)
}

/// What inserting took.
pub(crate) struct Run {
    pub(crate) faces: usize,
    /// Of each batch.
    pub(crate) times: Times,
    seconds: f64,
}

impl Run {
    pub(crate) fn faces_a_second(&self) -> f64 {
        (self.faces as f64 / self.seconds).round()
    }
}

/// Inserts batches of rows: under the corpus' identities, or each batch under the one that a
/// `seeker` finds. `done` is called, and timed, after each.
pub(crate) fn run<'a>(
    index: &mut Index,
    corpus: &Corpus,
    batches: impl Iterator<Item = &'a [usize]>,
    mut seeker: Option<&mut Seeker>,
    mut done: impl FnMut(&Index),
) -> Result<Run> {
    let mut run = Run {
        faces: 0,
        times: Times::default(),
        seconds: 0.0,
    };
    for rows in batches {
        let embeddings: Vec<Embedding> = rows
            .iter()
            .map(|row| corpus.embedding(*row))
            .collect::<Result<_>>()?;
        let mut identity = corpus.identities[rows[0]];
        let begun = Instant::now();
        if let Some(seeker) = &mut seeker {
            identity = seeker.identity(index.newest(), &embeddings, identity)?;
        }
        let operations: Vec<Operation> = rows
            .iter()
            .zip(embeddings)
            .map(|(row, embedding)| corpus.insert(*row, identity, embedding))
            .collect::<Result<_>>()?;
        index.apply(index.newest().sequence() + 1, &operations)?;
        done(index);
        let took = begun.elapsed().as_secs_f64();
        run.times.add(took);
        run.seconds += took;
        run.faces += rows.len();
    }
    Ok(run)
}

/// Says whose faces are as a server would: the most similar identity's, or a new one's.
pub(crate) struct Seeker {
    /// The identity made next, were there none made yet.
    first: u64,
    /// Who the first face of each identity made shows.
    founders: Vec<u64>,
    faces: usize,
    /// Faces put to the person they show.
    right: usize,
}

impl Seeker {
    pub(crate) fn new(corpus: &Corpus) -> Self {
        Self {
            first: corpus.identities.iter().max().map_or(1, |most| most + 1),
            founders: Vec::new(),
            faces: 0,
            right: 0,
        }
    }

    /// The identity for faces, which show `person`.
    fn identity(&mut self, state: &State, faces: &[Embedding], person: u64) -> Result<u64> {
        let mean;
        let query = if let [face] = faces {
            face
        } else {
            let weighted = faces.iter().map(|face| (face, 1.0));
            mean = Embedding::mean(weighted).context("faces that cancel out")?;
            &mean
        };
        let (hits, _) = state.who(query, 1, floor(), &Filter::default(), Effort::Normal)?;
        let known = hits.first().filter(|hit| hit.similarity >= floor());
        let identity = known.map_or_else(
            || {
                self.founders.push(person);
                self.first + self.founders.len() as u64 - 1
            },
            |hit| hit.identity.get(),
        );
        self.faces += faces.len();
        if self.shows(identity) == person {
            self.right += faces.len();
        }
        Ok(identity)
    }

    /// Who an identity is.
    fn shows(&self, identity: u64) -> u64 {
        let made = identity
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        made.map_or(identity, |at| self.founders[at])
    }

    /// How well faces were put to people, after those of `rows`.
    pub(crate) fn found(&self, corpus: &Corpus, rows: &[usize]) -> serde_json::Value {
        let before: HashSet<u64> = corpus.identities[..first_late(corpus)]
            .iter()
            .copied()
            .collect();
        let new: HashSet<u64> = rows
            .iter()
            .map(|row| corpus.identities[*row])
            .filter(|person| !before.contains(person))
            .collect();
        json!({
            "faces": self.faces, "identities_made": self.founders.len(), "people_new": new.len(),
            "purity": round(self.right as f64 / self.faces as f64, 1e5),
        })
    }
}
