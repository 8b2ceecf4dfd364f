//! The command `calibrate`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use rollcall_ingest::evaluate::{
    calibrate::{self, Calibration},
    curve::Cosines,
    pairs::{self, Side},
    report::{Report, Section, Table},
    sample::Sample,
};
use serde_json::{Value, to_value};

use crate::run_evaluate::{Input, Output, accept_sections, count, interval, name_of, rate};

/// False match rate that the server's rule takes a model's threshold to have: that of a cosine 3.8
/// spreads of different people away from 0.
const RATE_OF_RULE: f64 = 7.2e-5;

/// Options of `calibrate`.
#[derive(Args)]
pub(crate) struct Calibrate {
    #[command(flatten)]
    input: Input,
    /// The false match rate that can be lived with: the share of two people's pairs that are taken for
    /// one person's.
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    false_match_rate: f64,
    /// From these pairs: LFW's pairs.txt, or .csv with a,b,same. Without, from all pairs of labelled
    /// faces.
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Pairs of one track are left out.
    #[arg(long, conflicts_with = "pairs")]
    across_tracks: bool,
    /// All pairs of so many faces are compared; of more, so many are drawn.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30_000,
        conflicts_with = "pairs"
    )]
    max_rows: usize,
    /// Put the threshold into this embedder's manifest (models/ID.toml), from which the server has it.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The contract that the faces are of; nothing is written to another's manifest.
    #[arg(long, value_name = "ID")]
    contract: Option<String>,
    /// What faces and people are drawn by.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "pairs")]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn calibrate(options: &Calibrate) -> anyhow::Result<()> {
    let wanted = options.false_match_rate;
    ensure!(
        wanted > 0.0 && wanted < 1.0,
        "--false-match-rate {wanted}: a rate between 0 and 1 is wanted"
    );
    let (found, cosines, mut report) = measure(options)?;
    complete(options, &found, &cosines, &mut report);
    if let Some(path) = &options.write {
        let written = calibrate::write_manifest(path, &found, options.contract.as_deref())?;
        report.lead.push(format!(
            "Written to {}: same was {}, is {:.4}. Contract {}. It counts from the server's next start.",
            name_of(path),
            written.before,
            found.threshold,
            written.contract
        ));
        report.numbers["written"] = serde_json::json!({
            "path": name_of(path),
            "before": written.before,
            "contract": written.contract,
        });
    }
    options.output.give(&report)
}

/// What was found, and a report that says of what.
fn measure(options: &Calibrate) -> anyhow::Result<(Calibration, Cosines, Report)> {
    let of = |path: &Path, lead: String, numbers: Value| Report {
        title: format!("Calibration: {}", name_of(path)),
        lead: vec![lead],
        sections: Vec::new(),
        numbers,
        files: Vec::new(),
    };
    let input = options.input.read()?;
    let wanted = options.false_match_rate;
    if let Some(path) = &options.pairs {
        let pairs = pairs::read(path, &input.faces, Side::Face, 1)?;
        let (found, cosines) = calibrate::from_pairs(&pairs, wanted)?;
        let lead = format!("{} pairs of {}.", pairs.len(), name_of(path));
        let report = of(path, lead, to_value(&found)?);
        return Ok((found, cosines, report));
    }
    let sample = Sample::of(
        &input.faces,
        input.labels()?,
        options.max_rows,
        options.seed,
    )?;
    drop(input);
    let (found, cosines) =
        calibrate::from_gallery(&sample, wanted, options.across_tracks, options.seed)?;
    let drawn = if sample.has_drawn_people() {
        format!(
            ", drawn from {} faces of {} people",
            sample.of, sample.people_of
        )
    } else if sample.is_sampled() {
        format!(", drawn from {}", sample.of)
    } else {
        String::new()
    };
    let lead = format!(
        "{} faces of {} people{drawn}; {} noise and {} unlabelled faces are left out.",
        sample.len(),
        sample.labels.len(),
        sample.noise,
        sample.unlabelled
    );
    let mut numbers = to_value(&found)?;
    for (name, count) in [
        ("faces", sample.len()),
        ("faces_of", sample.of),
        ("people", sample.labels.len()),
        ("people_of", sample.people_of),
    ] {
        numbers[name] = count.into();
    }
    let report = of(&options.input.faces, lead, numbers);
    Ok((found, cosines, report))
}

fn complete(options: &Calibrate, found: &Calibration, cosines: &Cosines, report: &mut Report) {
    let mut table = Table::new(
        "calibration",
        "The threshold and what it comes to",
        &["what", "value", "95 %"],
    );
    table.push(vec![
        "threshold (cosine)".into(),
        format!("{:.4}", found.threshold),
        "-".into(),
    ]);
    table.push(vec![
        "false match rate".into(),
        rate(found.false_match_rate),
        interval(found.false_match_interval),
    ]);
    table.push(vec![
        "true match rate".into(),
        rate(found.true_match_rate),
        interval(found.true_match_interval),
    ]);
    table.push(vec![
        "pairs of one person".into(),
        count(found.same_pairs),
        "-".into(),
    ]);
    table.push(vec![
        "pairs of two people".into(),
        count(found.different_pairs),
        "-".into(),
    ]);
    report.sections.push(Section {
        heading: format!("A false match rate of {:e}", found.wanted),
        notes: notes(found),
        tables: vec![table],
        plots: Vec::new(),
    });
    let numbers = &mut report.numbers;
    if let Some((of_pairs, values)) = accept_sections(cosines, &[found.wanted]) {
        report.sections.extend(of_pairs);
        numbers["pairs"] = values;
    }
    numbers["manifest"] = calibrate::snippet(found).into();
    if let Some(contract) = &options.contract {
        numbers["contract"] = contract.clone().into();
    }
}

fn notes(found: &Calibration) -> Vec<String> {
    let mut notes = vec![
        format!("Intervals: {}.", found.interval_method),
        format!(
            "For the embedder's manifest (--write does it):\n{}",
            calibrate::snippet(found)
        ),
        format!(
            "The server's rule of evidence takes `same` to have a false match rate of about {RATE_OF_RULE:e}; a threshold of another rate makes it as much bolder or more careful."
        ),
    ];
    if !found.note.is_empty() {
        notes.insert(0, format!("The rate {}.", found.note));
    }
    notes
}
