//! What is printed: a line of JSON for each question and setting, and the numbers in it.

use std::cell::RefCell;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use rollcall_benches::stats::Times;
use serde_json::{Value, json};

use crate::corpus::Corpus;

/// The share of strangers that may be taken for somebody.
const FPIR: f64 = 0.01;
/// Of slow settings, at least as many queries are asked, and for as many seconds.
const QUERIES_MIN: usize = 200;
const SECONDS: f64 = 10.0;

/// Where lines go.
pub(crate) struct Report<'a> {
    corpus: &'a str,
    faces: usize,
    out: RefCell<&'a mut dyn Write>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(corpus: &'a Corpus, out: &'a mut dyn Write) -> Self {
        Self {
            corpus: &corpus.name,
            faces: corpus.faces(),
            out: RefCell::new(out),
        }
    }

    /// Prints a line: `values` over null for everything.
    pub(crate) fn line(&self, question: &str, setting: &str, values: &Value) -> Result<()> {
        let mut line = json!({
            "system": "rollcall", "corpus": self.corpus, "n": self.faces, "question": question,
            "setting": setting, "recall_at_1": null, "recall_at_10": null, "recall_at_100": null, "rank1": null,
            "fnir_at_fpir_1pct": null, "qps": null, "p50_us": null, "p99_us": null, "build_s": null,
            "peak_mb": null, "bytes_per_face": null, "hot_bytes_per_face": null,
        });
        if let (Some(line), Some(values)) = (line.as_object_mut(), values.as_object()) {
            line.extend(values.clone());
        }
        let mut out = self.out.borrow_mut();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}

/// The share of known queries missed at the threshold that lets in one in a hundred strangers.
/// `scores` are of the best hit: similarity, whose it is, who was meant.
pub(crate) fn fnir(scores: &[(f32, i64, i64)]) -> Option<f64> {
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

/// Slow settings are judged on fewer queries, as peers are.
pub(crate) fn enough(begin: Instant, queries: usize) -> bool {
    queries >= QUERIES_MIN && begin.elapsed().as_secs_f64() > SECONDS
}

/// A percentile in microseconds.
pub(crate) fn percentile(times: &Times, percent: usize) -> f64 {
    round(times.at(percent) * 1e3, 10.0)
}

/// Answers a second, from all times.
pub(crate) fn qps(times: &Times) -> f64 {
    (1e3 / times.mean()).round()
}

/// `value` to the nearest of `parts` parts of 1.
pub(crate) fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
