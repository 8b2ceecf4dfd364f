//! How long it takes until the first answer is possible.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rollcall_benches::memory::memory_mb;
use rollcall_benches::stats::Times;
use rollcall_index::{Filter, Index};
use serde_json::json;

use crate::CONTRACT;
use crate::corpus::Corpus;
use crate::report::{Report, percentile, round};

/// Opens the index in a folder some times, and asks one question each time.
pub(crate) fn measure(corpus: &Corpus, folder: &Path, report: &Report<'_>) -> Result<()> {
    let (mut times, before, mut after) = (Times::default(), memory_mb("VmRSS"), None);
    for _ in 0..5 {
        let begun = Instant::now();
        let index = Index::open(folder, CONTRACT, corpus.dimension)?;
        times.add(begun.elapsed().as_secs_f64());
        after = after.or_else(|| memory_mb("VmRSS"));
        let hits = index
            .newest()
            .search_identities(&corpus.queries[0], 1, &Filter::default())?;
        ensure!(hits.len() == 1, "nobody found after opening");
    }
    let files = std::fs::read_dir(folder)?.flatten();
    let bytes: u64 = files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum();
    report.line(
        "open",
        "files in the page cache",
        &json!({
            "p50_us": percentile(&times, 50), "p99_us": percentile(&times, 99),
            "bytes_per_face": round(bytes as f64 / corpus.faces() as f64, 10.0),
            "details": {"rss_mb_before": before, "rss_mb_after": after},
        }),
    )
}
