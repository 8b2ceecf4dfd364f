//! Building the index of many faces at once, offline, on every core.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use rollcall_benches::cores::Cores;
use rollcall_benches::memory::{forget_peak, memory_mb};
use rollcall_index::{Builder, Effort, Index, Operation};
use serde_json::json;

use crate::CONTRACT;
use crate::corpus::Corpus;
use crate::report::{Report, round};
use crate::who;

/// Faces that are given to the builder together.
const BATCH: usize = 16_384;
/// Memory of what is not in files yet, in bytes.
const BUDGET_BYTES: usize = 1 << 30;

/// Builds the index in an empty folder, from reading the first vector until everything is durable,
/// and asks it who everybody is.
pub(crate) fn measure(
    corpus: &Corpus,
    folder: &Path,
    report: &Report<'_>,
    cores: &Cores,
) -> Result<()> {
    let mut rows: Vec<usize> = (0..corpus.faces()).collect();
    rows.sort_by_key(|row| corpus.identities[*row]);
    let pool = cores.pool(cores.count())?;
    forget_peak();
    let begun = Instant::now();
    let (index, checkpoints) = pool.install(|| build(corpus, folder, &rows))?;
    let seconds = begun.elapsed().as_secs_f64();
    let peak_mb = memory_mb("VmHWM");
    let stats = index.newest().stats();
    ensure!(stats.faces == corpus.faces(), "{stats:?} were built");
    let mut values = who::ask(corpus, index.newest(), Effort::Normal)?;
    let faces = stats.faces as f64;
    let each = |bytes: usize| round(bytes as f64 / faces, 10.0);
    for (key, value) in [
        ("build_s", json!(round(seconds, 100.0))),
        ("peak_mb", json!(peak_mb)),
        ("bytes_per_face", json!(each(stats.bytes))),
        ("hot_bytes_per_face", json!(each(stats.hot_bytes))),
    ] {
        values[key] = value;
    }
    values["details"] =
        json!({"faces_a_second": (faces / seconds).round(), "checkpoints": checkpoints});
    let setting = format!("identity given, who normal, threads={}", cores.count());
    report.line("build", &setting, &values)
}

fn build(corpus: &Corpus, folder: &Path, rows: &[usize]) -> Result<(Index, usize)> {
    let index = Index::open(folder, CONTRACT, corpus.dimension)?;
    let mut builder = Builder::new(index, BUDGET_BYTES)?;
    for rows in rows.chunks(BATCH) {
        let insert =
            |row: &usize| corpus.insert(*row, corpus.identities[*row], corpus.embedding(*row)?);
        let operations: Vec<Operation> = rows.par_iter().map(insert).collect::<Result<_>>()?;
        builder.add(&operations)?;
    }
    let checkpoints = builder.checkpoints();
    Ok((builder.finish(1)?, checkpoints))
}
