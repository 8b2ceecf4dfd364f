//! Which faces look like this?

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rollcall_benches::stats::Times;
use rollcall_index::{FaceEffort, Filter, State, Work};
use serde_json::{Value, json};

use crate::corpus::Corpus;
use crate::report::{Report, enough, fnir, percentile, qps, round};

/// Efforts measured: reach, deviations.
const OPEN: [(f32, f32); 8] = [
    (1.0, 1.5),
    (1.5, 1.5),
    (1.75, 1.5),
    (2.0, 1.75),
    (2.25, 2.0),
    (2.75, 2.5),
    (3.0, 3.0),
    (3.5, 3.0),
];

/// Those measured with the embeddings as truth, beside the normal one.
const OPEN_EXACTLY: [(f32, f32); 4] = [(2.5, 2.5), (2.75, 2.5), (3.0, 3.0), (3.5, 3.0)];

/// A line for each effort with `only` in its name.
pub(crate) fn measure(
    corpus: &Corpus,
    state: &State,
    report: &Report<'_>,
    only: &str,
) -> Result<()> {
    let open = |(reach, deviations)| {
        let name = format!("reach {reach}, {deviations} deviations");
        (name, FaceEffort::Open { reach, deviations }, false)
    };
    let exactly = |(name, effort, _)| (format!("{name}+float16"), effort, true);
    let mut efforts: Vec<(String, FaceEffort, bool)> = OPEN.into_iter().map(open).collect();
    efforts.push(("normal (default)".to_owned(), FaceEffort::NORMAL, false));
    efforts.push(("normal+float16".to_owned(), FaceEffort::NORMAL, true));
    efforts.extend(OPEN_EXACTLY.into_iter().map(open).map(exactly));
    efforts.retain(|(name, ..)| name.contains(only));
    for (name, effort, exactly) in efforts {
        let (asked, values) = ask(corpus, state, effort, exactly)?;
        let setting = if asked == corpus.queries.len() {
            name
        } else {
            format!("{name} queries={asked}")
        };
        report.line("faces", &setting, &values)?;
    }
    Ok(())
}

/// Asks queries for 10 faces, then for 100; `exactly`: by the corpus' vectors. Returns how many
/// queries, and accuracy, times and work.
pub(crate) fn ask(
    corpus: &Corpus,
    state: &State,
    effort: FaceEffort,
    exactly: bool,
) -> Result<(usize, Value)> {
    let timed = pass(corpus, state, effort, exactly, 10)?;
    let more = pass(corpus, state, effort, exactly, 100)?;
    let (times, count) = (&timed.times, timed.times.len());
    let values = json!({
        "recall_at_1": timed.recall_at_1, "recall_at_10": timed.recall, "recall_at_100": more.recall,
        "rank1": timed.rank1, "fnir_at_fpir_1pct": timed.fnir,
        "qps": qps(times), "p50_us": percentile(times, 50), "p99_us": percentile(times, 99),
        "details": {
            "sketches": timed.work.sketches / count, "codes": timed.work.codes / count,
            "embeddings": timed.work.embeddings / count,
            "kb_touched": timed.work.bytes / count / 1024,
        },
    });
    Ok((count, values))
}

/// What a pass over the queries gave.
struct Pass {
    times: Times,
    recall_at_1: f64,
    recall: f64,
    rank1: f64,
    fnir: Option<f64>,
    work: Work,
}

fn pass(
    corpus: &Corpus,
    state: &State,
    effort: FaceEffort,
    exactly: bool,
    k: usize,
) -> Result<Pass> {
    let (mut times, mut work) = (Times::default(), Work::default());
    let (mut recall, mut first, mut right, mut known) = (0usize, 0usize, 0usize, 0usize);
    let mut scores = Vec::new();
    let begin = Instant::now();
    for number in corpus.order() {
        let (truth, meant) = (&corpus.truth[number], corpus.meant[number]);
        let (query, all) = (&corpus.queries[number], Filter::default());
        let begun = Instant::now();
        let (hits, done) = if exactly {
            state.faces_exactly(query, k, &all, effort, corpus)?
        } else {
            state.faces_like(query, k, &all, effort)?
        };
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
        work.embeddings += done.embeddings;
        work.bytes += done.bytes;
        if enough(begin, times.len()) {
            break;
        }
    }
    let count = times.len();
    Ok(Pass {
        recall_at_1: round(first as f64 / count as f64, 1e4),
        recall: round(recall as f64 / (count * k) as f64, 1e4),
        rank1: round(right as f64 / known as f64, 1e5),
        fnir: fnir(&scores),
        times,
        work,
    })
}
