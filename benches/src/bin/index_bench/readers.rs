//! Searches on one core while a writer inserts and publishes on another.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rollcall_benches::cores::Cores;
use rollcall_benches::stats::Times;
use rollcall_index::{Effort, Filter, Snapshot};
use serde_json::json;

use crate::corpus::Corpus;
use crate::insert::{Seeker, run, without_late};
use crate::report::{Report, percentile, qps, round};
use crate::who::{WHO, floor};

/// Asks who without a writer, then while one seeks, inserts and publishes track after track; each for
/// as many seconds.
pub(crate) fn measure(
    corpus: &Corpus,
    folder: &Path,
    report: &Report<'_>,
    cores: &Cores,
    seconds: f64,
) -> Result<()> {
    let (mut index, late) = without_late(corpus, folder)?;
    let shared = ArcSwap::new(index.publish());
    let idle = reader(corpus, &shared, cores, |begin| elapsed(begin) < seconds)?;
    cores.pin(0)?;
    let mut seeker = Seeker::new(corpus);
    let writing = AtomicBool::new(true);
    let (beside, run) = std::thread::scope(|scope| {
        let thread =
            scope.spawn(|| reader(corpus, &shared, cores, |_| writing.load(Ordering::Relaxed)));
        let begin = Instant::now();
        let tracks = late
            .chunk_by(|a, b| corpus.same_track(*a, *b))
            .take_while(|_| elapsed(begin) < seconds);
        let run = run(&mut index, corpus, tracks, Some(&mut seeker), |index| {
            shared.store(index.publish());
        });
        // Relaxed: nothing is handed over by it, the reader merely ends.
        writing.store(false, Ordering::Relaxed);
        (thread.join(), run)
    });
    let (beside, run) = (beside.ok().context("the reader failed")??, run?);
    for (setting, times, details) in [
        ("idle", &idle, json!({"cores": cores.count()})),
        (
            "while writing",
            &beside,
            json!({
                "cores": cores.count(), "p50_ratio": ratio(&beside, &idle, 50), "p99_ratio": ratio(&beside, &idle, 99),
                "written": run.faces, "written_a_second": run.faces_a_second(),
                "write_p50_us": percentile(&run.times, 50), "write_p99_us": percentile(&run.times, 99),
            }),
        ),
    ] {
        report.line("readers", setting, &json!({
            "qps": qps(times), "p50_us": percentile(times, 50), "p99_us": percentile(times, 99), "details": details,
        }))?;
    }
    Ok(())
}

fn elapsed(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}

fn ratio(a: &Times, b: &Times, percent: usize) -> f64 {
    round(a.at(percent) / b.at(percent), 1e2)
}

/// Asks the queries around, of the newest snapshot each, while `more` says so.
fn reader(
    corpus: &Corpus,
    shared: &ArcSwap<Snapshot>,
    cores: &Cores,
    more: impl Fn(Instant) -> bool,
) -> Result<Times> {
    cores.pin(1)?;
    let (mut times, begin) = (Times::default(), Instant::now());
    for number in std::iter::repeat_with(|| corpus.order()).flatten() {
        if !more(begin) {
            break;
        }
        let begun = Instant::now();
        let snapshot: Arc<Snapshot> = shared.load_full();
        let query = &corpus.queries[number];
        snapshot.who(query, WHO, floor(), &Filter::default(), Effort::Normal)?;
        times.add(elapsed(begun));
    }
    Ok(times)
}
