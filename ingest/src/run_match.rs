//! The commands `match` and `merge-clusters`: which clusters may be one person, and making them one.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use rollcall_ingest::{
    cluster::offline::{
        matching::{ClusterEvals, MatchMode, MatchRules, matches},
        matrix::Rows,
        merging::{Decision, NOISE, merge},
        streamface::merge_matches,
    },
    files::write_beside,
    streamface::Annotations,
};
use serde_json::Value;

use crate::run_cluster::{
    input::{Faces, pairs, table},
    is_named,
    labels::LabelFile,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The means of two clusters.
    Average,
    /// The nearest two faces.
    Single,
    /// The nearest two of the mean and the two faces furthest apart, of each.
    Triplet,
}

/// Options of `match`.
#[derive(Args)]
pub(crate) struct Match {
    #[command(flatten)]
    faces: Faces,
    /// The label of each face, as `cluster --out` writes them.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Where matches go.
    #[arg(long, value_name = "FILE", default_value = "cluster_evals.json")]
    out: PathBuf,
    /// How far two clusters are apart.
    #[arg(long, value_enum, default_value = "average")]
    mode: Mode,
    /// Labels up to this are looked at.
    #[arg(long, value_name = "LABEL", default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(0..))]
    topk: i64,
    /// A cluster is listed if its nearest match is nearer.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.35)]
    min_threshold: f64,
    /// All its matches up to this are listed.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.5)]
    max_threshold: f64,
    /// Pairs that are not listed: .json with `"ignore": ["3,7", …]`, as annotations have it.
    #[arg(long, value_name = "FILE")]
    ignore: Option<PathBuf>,
}

pub(crate) fn find(options: &Match) -> anyhow::Result<()> {
    for (name, threshold) in [
        ("--min-threshold", options.min_threshold),
        ("--max-threshold", options.max_threshold),
    ] {
        ensure!(
            (0.0..=2.0).contains(&threshold),
            "{name} {threshold}: 0 to 2 is possible"
        );
    }
    let faces = options.faces.read()?;
    let labels = LabelFile::read(&options.labels)?.in_order(&options.labels, &faces)?;
    let rules = MatchRules {
        mode: match options.mode {
            Mode::Average => MatchMode::Average,
            Mode::Single => MatchMode::Single,
            Mode::Triplet => MatchMode::Triplet,
        },
        topk: options.topk,
        min_threshold: options.min_threshold,
        max_threshold: options.max_threshold,
        ignore: match &options.ignore {
            Some(path) => ignored(path)?,
            None => HashSet::new(),
        },
    };
    let found = matches(
        Rows::new(faces.embeddings(), faces.dimension()),
        &labels,
        &rules,
    );
    let count = found.len();
    let text = serde_json::to_string_pretty(&ClusterEvals(found))? + "\n";
    let written = write_beside(&options.out, |beside| fs::write(beside, text));
    written.with_context(|| options.out.display().to_string())?;
    eprintln!("{count} matches written to {}", options.out.display());
    Ok(())
}

/// The pairs in a file's `ignore`.
fn ignored(path: &Path) -> anyhow::Result<HashSet<(i64, i64)>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let Some(pairs) = value.get("ignore") else {
        return Ok(HashSet::new());
    };
    let pair = |pair: &Value| {
        let (one, other) = pair.as_str()?.split_once(',')?;
        Some((one.trim().parse().ok()?, other.trim().parse().ok()?))
    };
    let found = pairs
        .as_array()
        .and_then(|pairs| pairs.iter().map(pair).collect());
    found.with_context(|| {
        format!(
            "{}: ignore is not a list of pairs such as \"3,7\"",
            path.display()
        )
    })
}

/// Options of `merge-clusters`.
#[derive(Args)]
pub(crate) struct MergeClusters {
    /// The label of each face, as `cluster --out` writes them.
    labels: PathBuf,
    /// Where the new labels go: .npy, .csv or .json.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What was decided: .csv, `Old Label,New Label`; -1 for the new one says that the old one is nobody.
    #[arg(long, value_name = "FILE", required_unless_present = "matches")]
    decisions: Option<PathBuf>,
    /// Number labels by size and without gaps.
    #[arg(long = "final")]
    last: bool,
    /// Make clusters one of which a face of the one follows a face of the other: .csv, `Face 1,Face 2`, names or rows.
    #[arg(long, value_name = "FILE", requires = "from")]
    matches: Option<PathBuf>,
    /// The embeddings, for --matches: .npy, .jsonl or .parquet.
    #[arg(long = "vectors", value_name = "FILE")]
    from: Option<PathBuf>,
    /// Among the embeddings of a .jsonl file that has several: those of this model.
    #[arg(long, value_name = "NAME", default_value = "")]
    model: String,
    /// The mean cosine distance below which clusters that follow each other are one.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.5)]
    merge_threshold: f64,
}

pub(crate) fn merge_clusters(options: &MergeClusters) -> anyhow::Result<()> {
    LabelFile::check_name(&options.out)?;
    let threshold = options.merge_threshold;
    ensure!(
        (0.0..=2.0).contains(&threshold),
        "--merge-threshold {threshold}: 0 to 2 is possible"
    );
    let mut file = LabelFile::read(&options.labels)?;
    let before = clusters(&file.labels);
    let mut decisions = match &options.decisions {
        Some(path) => decided(path, &file.labels)?,
        None => Vec::new(),
    };
    if let (Some(path), Some(from)) = (&options.matches, &options.from) {
        let faces = Faces::of(from.clone(), options.model.clone()).read()?;
        let labels = file.in_order(&options.labels, &faces)?;
        decisions.extend(followed(path, &faces, &labels, threshold)?);
        file = LabelFile::of(&faces, labels);
    }
    file.labels = merge(&file.labels, &decisions, options.last);
    let after = clusters(&file.labels);
    // What the annotations say beside labels goes along; pairs to ignore are about the numbers of before.
    let annotations =
        is_named(&options.labels, "json").then(|| Annotations::read(&options.labels).ok());
    match annotations
        .flatten()
        .filter(|_| is_named(&options.out, "json") && !file.names.is_empty())
    {
        Some(mut annotations) => {
            for (name, label) in file.names.iter().zip(&file.labels) {
                annotations.labels.entry(name.clone()).or_default().label = *label;
            }
            if options.last {
                annotations.ignore.clear();
            }
            annotations.write(&options.out)?;
        }
        None => file.write(&options.out)?,
    }
    eprintln!(
        "{before} clusters, {after} written to {}",
        options.out.display()
    );
    Ok(())
}

fn clusters(labels: &[i64]) -> usize {
    let real = labels.iter().filter(|label| **label != NOISE);
    real.collect::<HashSet<_>>().len()
}

/// Decisions of a table, each about labels that there are.
fn decided(path: &Path, labels: &[i64]) -> anyhow::Result<Vec<Decision>> {
    let known: HashSet<i64> = labels.iter().copied().collect();
    let decision = |(line, [old, new]): (usize, [String; 2])| {
        let place = || format!("{}: line {line}", path.display());
        let label = |text: &str| -> anyhow::Result<i64> {
            // pandas writes a column of integers as floats if any is missing.
            let label = text.strip_suffix(".0").unwrap_or(text);
            let label = label
                .parse()
                .with_context(|| format!("{}: {text:?} is no label", place()))?;
            ensure!(
                label == NOISE || known.contains(&label),
                "{}: there is no label {label}",
                place()
            );
            Ok(label)
        };
        let (old, new) = (label(&old)?, label(&new)?);
        ensure!(old != NOISE, "{}: -1 becomes no part of a cluster", place());
        Ok(Decision { old, new })
    };
    table(path)?.into_iter().map(decision).collect()
}

/// What the faces that follow each other decide.
fn followed(
    path: &Path,
    faces: &rollcall_ingest::faceset::FaceSet,
    labels: &[i64],
    threshold: f64,
) -> anyhow::Result<Vec<Decision>> {
    let mut named = labels.to_vec();
    named.sort_unstable();
    named.dedup();
    let number = |label: &i64| u32::try_from(named.binary_search(label).unwrap_or_default());
    let numbers = labels.iter().map(number).collect::<Result<Vec<u32>, _>>()?;
    let pairs: Vec<(u32, u32)> = pairs(path, faces)?
        .into_iter()
        .filter(|(one, other)| {
            [one, other]
                .iter()
                .all(|row| labels[**row as usize] != NOISE)
        })
        .collect();
    let rows = Rows::new(faces.embeddings(), faces.dimension());
    let merged = merge_matches(rows, &numbers, &pairs, threshold);
    let mut first: std::collections::HashMap<u32, i64> = std::collections::HashMap::new();
    let together = merged.iter().zip(labels).filter_map(|(group, label)| {
        let new = *first.entry(*group).or_insert(*label);
        (new != *label).then_some(Decision { old: *label, new })
    });
    Ok(together.collect())
}
