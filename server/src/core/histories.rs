//! Histories of whole collections on a disk that fails, drawn from seeds: log, catalog, index, writer and watchers
//! together, through everything that is done with them, opened again after each failure and held against what was
//! promised. See `docs/durability.md`.
//!
//! `make test` goes through some, `make test-faults` through as many as it is told. A history that fails says how
//! to have it again.

mod audit;
mod life;
mod requests;
mod steps;
mod views;
mod watcher;

use life::History;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Of these there are some in every run of the tests.
const SLICE: u64 = 600;
/// The first seed of a run that is not told another.
const SEED: u64 = 20_261_130;
/// After so many, the rest would only say the same.
const FAILURES_MAX: u64 = 20;

/// What has happened, over all histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    histories: u64,
    steps: u64,
    refused: u64,
    commits: u64,
    records: u64,
    reopenings: u64,
    failed_openings: u64,
    recoveries: u64,
    clean_ends: u64,
    power_cuts: u64,
    kills: u64,
    write_errors: u64,
    full_disks: u64,
    dead_disks: u64,
    failed_syncs: u64,
    views_older: u64,
    views_gone: u64,
    views_damaged: u64,
    migrations_switched: u64,
    edits: u64,
    undone: u64,
    alerts: u64,
    retracted: u64,
    events: u64,
    failures: u64,
}

impl Counts {
    /// Every count under its name.
    fn named(&self) -> [(&'static str, u64); 25] {
        [
            ("histories", self.histories),
            ("steps", self.steps),
            ("steps_refused", self.refused),
            ("commits", self.commits),
            ("records", self.records),
            ("reopenings", self.reopenings),
            ("failed_openings", self.failed_openings),
            ("recoveries", self.recoveries),
            ("clean_ends", self.clean_ends),
            ("power_cuts", self.power_cuts),
            ("kills", self.kills),
            ("write_errors", self.write_errors),
            ("full_disks", self.full_disks),
            ("dead_disks", self.dead_disks),
            ("failed_syncs", self.failed_syncs),
            ("views_older", self.views_older),
            ("views_gone", self.views_gone),
            ("views_damaged", self.views_damaged),
            ("migrations_switched", self.migrations_switched),
            ("edits", self.edits),
            ("undone", self.undone),
            ("alerts", self.alerts),
            ("retracted", self.retracted),
            ("events", self.events),
            ("failures", self.failures),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.refused += other.refused;
        self.commits += other.commits;
        self.records += other.records;
        self.reopenings += other.reopenings;
        self.failed_openings += other.failed_openings;
        self.recoveries += other.recoveries;
        self.clean_ends += other.clean_ends;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.write_errors += other.write_errors;
        self.full_disks += other.full_disks;
        self.dead_disks += other.dead_disks;
        self.failed_syncs += other.failed_syncs;
        self.views_older += other.views_older;
        self.views_gone += other.views_gone;
        self.views_damaged += other.views_damaged;
        self.migrations_switched += other.migrations_switched;
        self.edits += other.edits;
        self.undone += other.undone;
        self.alerts += other.alerts;
        self.retracted += other.retracted;
        self.events += other.events;
        self.failures += other.failures;
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }
}

fn told(variable: &str, otherwise: u64) -> u64 {
    let value = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty());
    value.map_or(otherwise, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

/// One history; where it fails, says how to have it again.
fn one(seed: u64) -> Counts {
    let history = AssertUnwindSafe(|| History::new(seed).run());
    catch_unwind(history).unwrap_or_else(|_| {
        eprintln!(
            "history {seed} failed; again: make test-faults PARTS=histories HISTORIES=1 SEED={seed}"
        );
        Counts {
            histories: 1,
            failures: 1,
            ..Counts::default()
        }
    })
}

/// Goes through histories, a seed each, until too many have failed.
fn go_through(first_seed: u64, histories: u64) -> Counts {
    let mut counts = Counts::default();
    for number in 0..histories {
        counts.add(&one(first_seed.wrapping_add(number)));
        if counts.failures >= FAILURES_MAX {
            break;
        }
    }
    counts
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_nothing_is_made_up() {
    let (seed, histories) = (
        told("ROLLCALL_SEED", SEED),
        told("ROLLCALL_HISTORIES", SLICE),
    );
    let begin = Instant::now();
    let counts = go_through(seed, histories);
    let seconds = begin.elapsed().as_secs_f64();
    let mut line = serde_json::Map::new();
    line.insert("part".to_owned(), "histories".into());
    line.insert("seed".to_owned(), seed.into());
    for (name, count) in counts.named() {
        line.insert(name.to_owned(), count.into());
    }
    line.insert("seconds".to_owned(), seconds.round().into());
    eprintln!("{}", serde_json::Value::Object(line));
    assert_eq!((counts.histories, counts.failures), (histories, 0));
    // A run that draws enough draws everything.
    if histories >= SLICE {
        for (name, count) in counts.named() {
            assert!(
                count > 0 || name == "failures",
                "no {name} in {histories} histories"
            );
        }
    }
}
