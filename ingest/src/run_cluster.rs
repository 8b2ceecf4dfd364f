//! The command `cluster`.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use rollcall_ingest::{
    cluster::offline::{
        by_size,
        density::{DensityRules, density_peaks},
        evidence::{EvidenceRules, Step, by_evidence},
        facerec::{FacerecRules, facerec},
        graph::{Graph, Search},
        linkage::Linkage,
        matrix::Rows,
        streamface::{StreamfaceRules, streamface},
        tracks::{Tracks, of_tracks},
        whispers::{WhisperRules, chinese_whispers},
    },
    faceset::FaceSet,
    files::write_beside,
};

use input::{Faces, pairs};
use labels::LabelFile;
use report::Report;

mod folders;
pub(crate) mod input;
pub(crate) mod labels;
mod report;

/// Neighbours of a face for the methods that look at nothing else.
const NEIGHBOURS: usize = 80;

/// How faces are clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Groups along the graph of neighbours that the evidence makes one; the best, see docs/clustering.md.
    Evidence,
    /// Labels that pass along the graph of neighbours.
    ChineseWhispers,
    /// Each follows its nearest neighbour that lies denser.
    Density,
    /// Batches by complete linkage, then their means, then what follows each other, as streamface does.
    Streamface,
    /// Trajectories by complete linkage into clusters of a size that a person can look through, as facerec does.
    Facerec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LinkageName {
    Single,
    Average,
    Complete,
}

/// Options of `cluster`.
#[derive(Args)]
pub(crate) struct Cluster {
    #[command(flatten)]
    faces: Faces,
    /// How faces are clustered.
    #[arg(long, value_enum, default_value = "evidence")]
    method: Method,
    /// Where the label of each row goes: .npy, .csv or .json; annotations.json is as streamface has it, clusters.json as
    /// facerec.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With --identities: where goes what the clustering would change of them (.json). Nothing is changed.
    #[arg(long, value_name = "FILE", requires = "identities")]
    diff: Option<PathBuf>,
    /// With --identities: those that have a name, with commas between; a name never goes to other faces.
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        requires = "identities"
    )]
    named: Vec<u64>,
    /// Report in JSON.
    #[arg(long)]
    json: bool,
    /// evidence: from this cosine on faces are the same person's, as the model's manifest has it.
    #[arg(long, value_name = "COSINE", default_value_t = 0.40)]
    same_cosine: f32,
    /// evidence: so much more evidence is needed, in nats; less is bolder.
    #[arg(
        long,
        value_name = "NATS",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    join_nats: f32,
    /// Neighbours of a face (default: evidence 24, others 80).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    neighbours: Option<u32>,
    /// streamface: the cosine distance up to which clusters come together (default 0.3). chinese-whispers, density: the
    /// cosine from which on faces are neighbours (default 0.7, 0.5).
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<f64>,
    /// chinese-whispers: rounds at most.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    rounds: u32,
    /// chinese-whispers: of the order in which faces are asked.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// streamface: how far two clusters are apart.
    #[arg(long, value_enum, default_value = "complete")]
    linkage: LinkageName,
    /// streamface: faces that are clustered at once.
    #[arg(long, value_name = "FACES", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// streamface: pairs of faces that follow each other (.csv, `Face 1,Face 2`: names, or rows from 0) [default: those of the
    /// channel's folder].
    #[arg(long, value_name = "FILE")]
    matches: Option<PathBuf>,
    /// streamface: the mean cosine distance below which clusters that follow each other are one.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.5)]
    merge_threshold: f64,
    /// facerec: trajectories of a cluster.
    #[arg(long, value_name = "COUNT", default_value_t = 18)]
    size: usize,
    /// facerec: parts with fewer trajectories are put together.
    #[arg(long, value_name = "COUNT", default_value_t = 12)]
    min_size: usize,
    /// facerec: clusters with more trajectories are split.
    #[arg(long, value_name = "COUNT", default_value_t = 24)]
    max_size: usize,
    /// Threads (default: as many as there are cores).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Memory that may be used, in GiB; what needs more is refused.
    #[arg(long, value_name = "GIB", default_value_t = 8.0)]
    memory: f64,
}

pub(crate) fn cluster(options: &Cluster) -> anyhow::Result<()> {
    check(options)?;
    if let Some(out) = &options.out {
        LabelFile::check_name(out)?;
    }
    if let Some(threads) = options.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::try_from(threads)?);
        pool.build_global().context("threads")?;
    }
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(100));
    progress.set_message("reading");
    let began = Instant::now();
    let faces = options.faces.read()?;
    if let Some(out) = &options.out {
        folders::check(options.faces.path(), &faces, out)?;
    }
    if let Some(path) = &options.diff {
        folders::check_place(path)?;
    }
    let read = began.elapsed();
    let began = Instant::now();
    let labels = by_size(&labels(options, &faces, &progress)?);
    let spent = began.elapsed();
    progress.finish_and_clear();
    let named: HashSet<u64> = options.named.iter().copied().collect();
    let report = Report::new(&faces, &labels, &named, [read, spent]);
    if let Some(out) = &options.out {
        let labels = labels.into_iter().map(i64::from).collect();
        folders::write(options.faces.path(), &faces, labels, out)?;
    }
    if let (Some(path), Some(diff)) = (&options.diff, &report.diff) {
        let text = serde_json::to_string_pretty(diff)? + "\n";
        let written = write_beside(path, |file| fs::write(file, text));
        written.with_context(|| path.display().to_string())?;
    }
    report.print(options.json)
}

/// Numbers that no method makes sense of.
fn check(options: &Cluster) -> anyhow::Result<()> {
    let within = |name: &str, number: f64, least: f64, most: f64| {
        ensure!(
            (least..=most).contains(&number),
            "{name} {number}: {least} to {most} is possible"
        );
        Ok(())
    };
    within("--same-cosine", options.same_cosine.into(), 0.05, 0.95)?;
    within("--join-nats", options.join_nats.into(), -100.0, 100.0)?;
    within("--merge-threshold", options.merge_threshold, 0.0, 2.0)?;
    within("--memory", options.memory, 1e-6, 1e6)?;
    let Some(threshold) = options.threshold else {
        return Ok(());
    };
    match options.method {
        Method::Streamface => within("--threshold", threshold, 0.0, 2.0),
        Method::ChineseWhispers | Method::Density => within("--threshold", threshold, -1.0, 1.0),
        Method::Evidence => {
            bail!("--threshold: evidence has none; see --same-cosine and --join-nats")
        }
        Method::Facerec => bail!("--threshold: facerec has none; see --size"),
    }
}

/// Bytes of the memory allowed.
fn allowed(options: &Cluster) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was checked"
    )]
    let bytes = (options.memory * f64::from(1u32 << 30)) as usize;
    bytes
}

fn labels(options: &Cluster, faces: &FaceSet, progress: &ProgressBar) -> anyhow::Result<Vec<u32>> {
    let rows = Rows::new(faces.embeddings(), faces.dimension());
    let memory_bytes = allowed(options).saturating_sub(size_of_val(faces.embeddings()));
    let tracks = known_tracks(faces);
    let tracks = tracks.as_ref();
    let units = tracks.map_or(faces.len(), Tracks::len);
    #[expect(clippy::cast_possible_truncation, reason = "a cosine")]
    let threshold = |default: f32| options.threshold.map_or(default, |number| number as f32);
    let neighbours = options.neighbours.map(usize::try_from).transpose()?;
    let graph = |rows: Rows<'_>, floor: f32| {
        progress.set_message(format!("neighbours of {}", rows.len()));
        let graph = Graph::of(rows, Search::new(neighbours.unwrap_or(NEIGHBOURS), floor));
        progress.set_message("labels");
        graph
    };
    let fits = |needed_bytes: usize| {
        ensure!(
            needed_bytes <= memory_bytes,
            "{units} faces or tracks need about {} MiB beside the embeddings, {} MiB are allowed: allow more with --memory",
            needed_bytes >> 20,
            memory_bytes >> 20,
        );
        Ok(())
    };
    progress.set_message(format!("{units} faces or tracks"));
    Ok(match options.method {
        Method::Evidence => {
            let mut rules = EvidenceRules::for_contract(options.same_cosine);
            rules.join_nats = options.join_nats;
            rules.neighbours = neighbours.unwrap_or(rules.neighbours);
            fits(rules.bytes(units, faces.dimension()))?;
            by_evidence(rows, tracks, &rules, &mut |step| {
                progress.set_message(said(step))
            })
        }
        Method::ChineseWhispers => {
            fits(Graph::bytes(units, neighbours.unwrap_or(NEIGHBOURS)))?;
            let rules = WhisperRules {
                similarity: threshold(0.7),
                rounds: usize::try_from(options.rounds)?,
                seed: options.seed,
            };
            of_tracks(rows, tracks, |rows| {
                chinese_whispers(&graph(rows, rules.similarity), &rules)
            })
        }
        Method::Density => {
            fits(Graph::bytes(units, neighbours.unwrap_or(NEIGHBOURS)))?;
            let rules = DensityRules {
                similarity: threshold(0.5),
            };
            of_tracks(rows, tracks, |rows| {
                density_peaks(&graph(rows, rules.similarity), &rules)
            })
        }
        Method::Streamface => streamface_labels(options, faces, memory_bytes)?,
        Method::Facerec => facerec_labels(options, faces, memory_bytes)?,
    })
}

fn streamface_labels(
    options: &Cluster,
    faces: &FaceSet,
    memory_bytes: usize,
) -> anyhow::Result<Vec<u32>> {
    let matches = match &options.matches {
        Some(path) => pairs(path, faces)?,
        None => folders::matches(options.faces.path(), faces)?,
    };
    let rules = StreamfaceRules {
        linkage: match options.linkage {
            LinkageName::Single => Linkage::Single,
            LinkageName::Average => Linkage::Average,
            LinkageName::Complete => Linkage::Complete,
        },
        threshold: options.threshold.unwrap_or(0.3),
        batch: usize::try_from(options.batch)?,
        merge_threshold: options.merge_threshold,
        memory_bytes,
    };
    let rows = Rows::new(faces.embeddings(), faces.dimension());
    Ok(streamface(rows, &matches, &rules)?)
}

fn facerec_labels(
    options: &Cluster,
    faces: &FaceSet,
    memory_bytes: usize,
) -> anyhow::Result<Vec<u32>> {
    let rules = FacerecRules {
        size: options.size,
        size_min: options.min_size,
        size_max: options.max_size,
        memory_bytes,
    };
    let rows = Rows::new(faces.embeddings(), faces.dimension());
    Ok(facerec(rows, &Tracks::new(&faces.tracks()), &rules)?)
}

fn said(step: Step) -> String {
    match step {
        Step::Neighbours(groups) => format!("neighbours of {groups}"),
        Step::Groups(groups) => format!("groups out of {groups}"),
    }
}

/// The track of each face, if any is known.
fn known_tracks(faces: &FaceSet) -> Option<Tracks> {
    let any = faces.known().iter().any(|known| known.track.is_some());
    any.then(|| Tracks::new(&faces.tracks()))
}

/// Whether a path has this extension.
pub(crate) fn is_named(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
