//! Who is this?

use std::time::Instant;

use anyhow::{Context, Result};
use rollcall_benches::stats::Times;
use rollcall_index::{Effort, Filter, Similarity, State, Work};
use serde_json::{Value, json};

use crate::corpus::Corpus;
use crate::report::{Report, fnir, percentile, qps, round};

/// The threshold below which nobody is taken for known, as a server would have it.
pub(crate) const FLOOR: f32 = 0.4;
/// Answers asked for.
pub(crate) const WHO: usize = 10;

/// A line for each effort with `only` in its name; of `passes` over the queries, the last counts.
pub(crate) fn measure(
    corpus: &Corpus,
    state: &State,
    report: &Report<'_>,
    only: &str,
    passes: usize,
) -> Result<()> {
    let efforts = [
        ("8 cells", Effort::Cells(8)),
        ("16 cells", Effort::Cells(16)),
        ("32 cells", Effort::Cells(32)),
        ("64 cells", Effort::Cells(64)),
        ("normal (default)", Effort::Normal),
        ("certified", Effort::Certified),
    ];
    for (name, effort) in efforts.into_iter().filter(|(name, _)| name.contains(only)) {
        for _ in 1..passes {
            ask(corpus, state, effort)?;
        }
        report.line("who", name, &ask(corpus, state, effort)?)?;
    }
    Ok(())
}

/// The threshold, as the index takes it.
pub(crate) fn floor() -> Similarity {
    Similarity::new(FLOOR).expect("a cosine")
}

/// Asks every query once. Returns accuracy, times and work.
pub(crate) fn ask(corpus: &Corpus, state: &State, effort: Effort) -> Result<Value> {
    let (mut times, mut known, mut unknown) = <(Times, Times, Times)>::default();
    let (mut right, mut scores, mut work) = (0u64, Vec::new(), Work::default());
    for (query, meant) in corpus.queries.iter().zip(&corpus.meant) {
        let begun = Instant::now();
        let (hits, done) = state.who(query, WHO, floor(), &Filter::default(), effort)?;
        let took = begun.elapsed().as_secs_f64();
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
    }
    let count = times.len();
    Ok(json!({
        "rank1": round(right as f64 / known.len() as f64, 1e5), "fnir_at_fpir_1pct": fnir(&scores),
        "qps": qps(&times), "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
        "details": {
            "known_p50_us": percentile(&known, 50), "known_p99_us": percentile(&known, 99),
            "unknown_p50_us": percentile(&unknown, 50), "unknown_p99_us": percentile(&unknown, 99),
            "sketches": work.sketches / count, "codes": work.codes / count,
            "kb_touched": work.bytes / count / 1024,
        },
    }))
}
