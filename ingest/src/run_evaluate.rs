//! The command `evaluate`: what faces, clusters and decisions are worth.

mod annotations;
mod clusters;
mod curves;
mod features;
mod identification;
mod input;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::ensure;
use clap::{Args, Subcommand};
use rollcall_ingest::evaluate::{interval::Interval, report::Report};

pub(crate) use curves::accept_sections;
pub(crate) use input::Input;

/// Options of `evaluate`.
#[derive(Args)]
pub(crate) struct Evaluate {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// How well embeddings tell people apart: distributions, ROC, DET, thresholds; of all pairs, or of
    /// a list of pairs in ten folds.
    Features(features::Features),
    /// How compact clusters are: silhouette, Davies-Bouldin, Calinski-Harabasz, sizes. No truth is
    /// needed.
    Clusters(clusters::Clusters),
    /// How labels agree with the truth: pairwise, BCubed, NMI, ARI, purity.
    Annotations(annotations::Annotations),
    /// How people are found in a gallery that may not have them: FNIR at FPIR, ranks.
    Identification(identification::Identification),
}

/// Where results go.
#[derive(Args)]
pub(crate) struct Output {
    /// A folder for report.html, report.json and tables as .csv; without it, standard output alone.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// All numbers as JSON on standard output, instead of tables.
    #[arg(long)]
    json: bool,
}

pub(crate) fn evaluate(options: &Evaluate) -> anyhow::Result<()> {
    match &options.what {
        What::Features(options) => options.run(),
        What::Clusters(options) => options.run(),
        What::Annotations(options) => options.run(),
        What::Identification(options) => options.run(),
    }
}

impl Output {
    pub(crate) fn give(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(folder) = &self.out {
            report.write(folder)?;
        }
        let text = if self.json {
            format!("{:#}\n", report.numbers)
        } else {
            report.text()
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        if let Some(folder) = &self.out {
            eprintln!("report written to {}", folder.join("report.html").display());
        }
        Ok(())
    }
}

/// Refuses what is no rate.
fn check_rates(option: &str, rates: &[f64]) -> anyhow::Result<()> {
    for rate in rates {
        ensure!(
            *rate > 0.0 && *rate < 1.0,
            "{option} {rate}: rates between 0 and 1 are wanted"
        );
    }
    Ok(())
}

/// A rate: four decimals, or two digits of a small one.
pub(crate) fn rate(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
}

pub(crate) fn interval(of: Interval) -> String {
    format!("{} to {}", rate(of.low), rate(of.high))
}

pub(crate) fn maybe(of: Option<Interval>) -> String {
    of.map_or_else(|| "not to be told".into(), interval)
}

/// A count that may be of weighted things.
pub(crate) fn count(value: f64) -> String {
    format!("{value:.0}")
}

pub(crate) fn name_of(path: &Path) -> String {
    path.display().to_string()
}
