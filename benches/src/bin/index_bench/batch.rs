//! Many queries in one call, beside as many calls.

use std::time::Instant;

use anyhow::Result;
use rayon::ThreadPool;
use rollcall_benches::cores::Cores;
use rollcall_index::{Effort, Embedding, FaceEffort, Filter, SearchError, State};
use serde_json::json;

use crate::corpus::Corpus;
use crate::report::{Report, enough, round};
use crate::who::{WHO, floor};

/// Queries in a call at most.
const QUERIES_MAX: usize = 1000;

/// Asks the same queries one a call, and all in one call on one thread and on every core: each again
/// and again for `seconds`.
pub(crate) fn measure(
    corpus: &Corpus,
    state: &State,
    report: &Report<'_>,
    cores: &Cores,
    seconds: f64,
) -> Result<()> {
    let filter = Filter::default();
    let who = |queries: &[Embedding]| {
        state.who_batch(queries, WHO, floor(), &filter, Effort::Normal)?;
        Ok(())
    };
    let faces = |queries: &[Embedding]| {
        state.faces_batch(queries, WHO, &filter, FaceEffort::NORMAL)?;
        Ok(())
    };
    let one_who = |query: &Embedding| {
        state.who(query, WHO, floor(), &filter, Effort::Normal)?;
        Ok(())
    };
    let one_face = |query: &Embedding| {
        state.faces_like(query, WHO, &filter, FaceEffort::NORMAL)?;
        Ok(())
    };
    let mut counts = vec![1, cores.count()];
    counts.dedup();
    let pools = counts
        .into_iter()
        .map(|count| cores.pool(count))
        .collect::<Result<Vec<_>>>()?;
    compare("who normal", corpus, report, &pools, seconds, one_who, who)?;
    compare(
        "faces normal",
        corpus,
        report,
        &pools,
        seconds,
        one_face,
        faces,
    )
}

fn compare(
    name: &str,
    corpus: &Corpus,
    report: &Report<'_>,
    pools: &[ThreadPool],
    seconds: f64,
    one: impl Fn(&Embedding) -> Result<(), SearchError>,
    all: impl Fn(&[Embedding]) -> Result<(), SearchError> + Sync,
) -> Result<()> {
    let order: Vec<usize> = corpus.order().take(QUERIES_MAX).collect();
    let (mut queries, begun) = (Vec::new(), Instant::now());
    for number in order {
        one(&corpus.queries[number])?;
        queries.push(corpus.queries[number].clone());
        if enough(begun, queries.len()) {
            break;
        }
    }
    let single = rate(seconds, queries.len(), || queries.iter().try_for_each(&one))?;
    let setting = format!("{name}, {} queries", queries.len());
    report.line(
        "batch",
        &format!("{setting}, one a call"),
        &json!({"qps": single.round()}),
    )?;
    for pool in pools {
        let many = rate(seconds, queries.len(), || pool.install(|| all(&queries)))?;
        report.line(
            "batch",
            &format!(
                "{setting} in one call, threads={}",
                pool.current_num_threads()
            ),
            &json!({"qps": many.round(), "details": {"ratio": round(many / single, 1e2)}}),
        )?;
    }
    Ok(())
}

/// Queries a second, of the fastest pass: two at least, and more where they are short.
fn rate(seconds: f64, queries: usize, pass: impl Fn() -> Result<(), SearchError>) -> Result<f64> {
    let (mut best, mut passes, begin) = (f64::INFINITY, 0, Instant::now());
    while passes < 2 || begin.elapsed().as_secs_f64() < seconds {
        let begun = Instant::now();
        pass()?;
        best = best.min(begun.elapsed().as_secs_f64());
        passes += 1;
    }
    Ok(queries as f64 / best)
}
