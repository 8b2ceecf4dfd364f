//! What much change leaves behind: an index that came to the corpus on a detour, beside one that was
//! made of it.
//!
//! It begins with as many faces: instead of 30 % of the corpus' tracks it has those of people who are
//! not in the corpus, one person in twenty is two identities, and one in twenty goes under another's.
//! All that is then put right, in an order drawn by lot.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rollcall_benches::stats::Times;
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, IdentityId, Index, Operation, State, TrackId,
};
use serde_json::{Value, json};

use crate::CONTRACT;
use crate::corpus::Corpus;
use crate::report::{Report, percentile, round};
use crate::{faces, who};

/// Of a hundred tracks, those that come late.
const LATE: u64 = 30;
/// One person in as many is two identities at first; one in as many goes under another's.
const WRONG: u64 = 20;
/// Added to the numbers of faces, tracks and people that go, and to the second identity of a person.
const GUEST: u64 = 1 << 40;
const SECOND: u64 = 1 << 41;

/// Makes an index on a detour in `folder`, and compares it with `fresh`.
pub(crate) fn measure(
    corpus: &Corpus,
    folder: &Path,
    fresh: &State,
    report: &Report<'_>,
) -> Result<()> {
    let plan = Plan::new(corpus);
    let mut index = Index::open(folder, CONTRACT, corpus.dimension)?;
    for track in &plan.tracks {
        index.apply(index.newest().sequence() + 1, &plan.first(corpus, track)?)?;
    }
    put_right(corpus, &plan, &mut index, report)?;
    let stats = index.newest().verify()?;
    ensure!(
        (stats.faces, stats.identities) == (fresh.stats().faces, fresh.stats().identities),
        "the detour ends elsewhere: {stats:?}"
    );
    index.checkpoint()?;
    drop(index);
    // Opened as the other one was: what a checkpoint keeps in memory may be faster.
    let mut churned = Index::open(folder, CONTRACT, corpus.dimension)?;
    churned.check()?;
    for (name, state) in [("fresh", fresh), ("churned", churned.newest())] {
        who::ask(corpus, state, Effort::Normal)?;
        let who = who::ask(corpus, state, Effort::Normal)?;
        report.line("churn", &format!("who normal, {name}"), &sized(state, who))?;
        let (_, faces) = faces::ask(corpus, state, FaceEffort::NORMAL, false)?;
        report.line(
            "churn",
            &format!("faces normal, {name}"),
            &sized(state, faces),
        )?;
    }
    Ok(())
}

/// Puts right what is wrong, and says how long that took.
fn put_right(corpus: &Corpus, plan: &Plan, index: &mut Index, report: &Report<'_>) -> Result<()> {
    let (mut times, mut seconds) = (Times::default(), 0.0);
    let (mut added, mut removed, mut moved, mut merged) = (0, 0, 0, 0);
    for step in plan.steps() {
        let operations = plan.operations(corpus, &step)?;
        let begun = Instant::now();
        index.apply(index.newest().sequence() + 1, &operations)?;
        let took = begun.elapsed().as_secs_f64();
        times.add(took);
        seconds += took;
        match step {
            Step::Add(_) => added += operations.len(),
            Step::Remove(_) => removed += operations.len(),
            Step::Move(_) => moved += operations.len(),
            Step::Merge(_) => merged += operations.len(),
        }
    }
    report.line(
        "churn",
        "changes",
        &json!({
            "qps": ((added + removed + moved + merged) as f64 / seconds).round(),
            "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
            "details": {"added": added, "removed": removed, "moved": moved, "merged": merged},
        }),
    )
}

fn sized(state: &State, mut values: Value) -> Value {
    let stats = state.stats();
    let each = |bytes: usize| round(bytes as f64 / stats.faces as f64, 10.0);
    values["bytes_per_face"] = json!(each(stats.bytes));
    values["hot_bytes_per_face"] = json!(each(stats.hot_bytes));
    values
}

/// A track of the corpus.
struct Track {
    /// Its places in the plan's rows.
    rows: Range<usize>,
    person: u64,
    /// Whose it is at first; `None` if it comes late.
    first: Option<u64>,
}

/// A change that brings the index nearer to the corpus: of a track, or of a person.
enum Step {
    /// The track comes.
    Add(usize),
    /// The guests who had its place go.
    Remove(usize),
    /// Its faces go to the person whose they are.
    Move(usize),
    /// The second identity of a person and the first become one.
    Merge(u64),
}

/// What is wrong at first.
struct Plan {
    rows: Vec<usize>,
    tracks: Vec<Track>,
}

impl Plan {
    fn new(corpus: &Corpus) -> Self {
        let rows = corpus.in_tracks((0..corpus.faces()).collect());
        let mut begin = 0;
        let tracks = rows.chunk_by(|a, b| corpus.same_track(*a, *b)).map(|rows| {
            begin += rows.len();
            let (number, person) = (corpus.tracks[rows[0]], corpus.identities[rows[0]]);
            let first = match lot(person, 1) % WRONG {
                0 if lot(number, 2).is_multiple_of(2) => person + SECOND,
                1 if person > 1 => person - 1,
                _ => person,
            };
            Track {
                rows: begin - rows.len()..begin,
                person,
                first: (lot(number, 3) % 100 >= LATE).then_some(first),
            }
        });
        let tracks = tracks.collect();
        Self { rows, tracks }
    }

    fn rows(&self, track: &Track) -> &[usize] {
        &self.rows[track.rows.clone()]
    }

    /// What inserts a track as it is at first, or the guests who have its place.
    fn first(&self, corpus: &Corpus, track: &Track) -> Result<Vec<Operation>> {
        let rows = self.rows(track).iter();
        rows.map(|row| {
            let embedding = corpus.embedding(*row)?;
            match track.first {
                Some(identity) => corpus.insert(*row, identity, embedding),
                None => guest(corpus.insert(*row, track.person, turned(&embedding)?)?),
            }
        })
        .collect()
    }

    /// What is to do, in an order drawn by lot.
    fn steps(&self) -> Vec<Step> {
        let (mut steps, mut doubled) = (Vec::new(), BTreeSet::new());
        for (number, track) in self.tracks.iter().enumerate() {
            match track.first {
                None => steps.extend([Step::Add(number), Step::Remove(number)]),
                Some(first) if first == track.person => {}
                Some(first) if first == track.person + SECOND => {
                    doubled.insert(track.person);
                }
                Some(_) => steps.push(Step::Move(number)),
            }
        }
        steps.extend(doubled.into_iter().map(Step::Merge));
        let mut drawn: Vec<(u64, Step)> = (0..).map(|number| lot(number, 4)).zip(steps).collect();
        drawn.sort_unstable_by_key(|(lot, _)| *lot);
        drawn.into_iter().map(|(_, step)| step).collect()
    }

    fn operations(&self, corpus: &Corpus, step: &Step) -> Result<Vec<Operation>> {
        match *step {
            Step::Add(track) => {
                let track = &self.tracks[track];
                let rows = self.rows(track).iter();
                rows.map(|row| corpus.insert(*row, track.person, corpus.embedding(*row)?))
                    .collect()
            }
            Step::Remove(track) => {
                let rows = self.rows(&self.tracks[track]).iter();
                rows.map(|row| {
                    let face = FaceId::new(u64::try_from(*row)? + GUEST);
                    Ok(Operation::Remove { face })
                })
                .collect()
            }
            Step::Move(track) => {
                let track = &self.tracks[track];
                let rows = self.rows(track).iter();
                rows.map(|row| {
                    Ok(Operation::Move {
                        face: FaceId::new(u64::try_from(*row)?),
                        identity: IdentityId::new(track.person),
                    })
                })
                .collect()
            }
            Step::Merge(person) => Ok(vec![Operation::Merge {
                from: IdentityId::new(person + SECOND),
                into: IdentityId::new(person),
            }]),
        }
    }
}

/// The same of a face that is not in the corpus.
fn guest(mut operation: Operation) -> Result<Operation> {
    if let Operation::Insert {
        face,
        identity,
        track,
        ..
    } = &mut operation
    {
        *face = FaceId::new(face.get() + GUEST);
        *identity = IdentityId::new(identity.get() + GUEST);
        *track = TrackId::new(track.get() + GUEST);
    }
    Ok(operation)
}

/// A face of somebody else: values change places, so that guests lie among each other as the people of
/// the corpus do, and nowhere near these.
fn turned(embedding: &Embedding) -> Result<Embedding> {
    let mut values = embedding.as_slice().to_vec();
    values.rotate_left(embedding.dimension() / 3);
    Ok(Embedding::normalise(values)?)
}

/// A number drawn for another one: splitmix64's mixing.
pub(crate) fn lot(number: u64, draw: u64) -> u64 {
    let mut x = (number ^ draw << 56).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
