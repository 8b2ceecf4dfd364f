//! `rollcall-index build`.

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_index::{
    Builder, FaceId, IdentityId, Index, MemoryBudget, Operation, Similarity, SourceId, State,
    TrackId,
    vectors::{Row, SideFiles, VectorFile},
};
use serde_json::json;

use crate::folder::NewFolder;

/// Faces read while those before are inserted.
const BATCH_FACES: usize = 8192;

#[derive(Args)]
pub(crate) struct Options {
    /// The folder to be made.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The model that made the embeddings; whoever opens the folder has to name the same.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The embeddings: .npy, .jsonl or .parquet. The n-th, from 0, becomes face n.
    #[arg(long, value_name = "FILE")]
    vectors: PathBuf,
    #[command(flatten)]
    sides: SideFiles,
    /// Where identities are chosen: the cosine from which two tracks are one person's.
    #[arg(long, value_name = "COSINE", default_value = "0.4", value_parser = similarity)]
    threshold: Similarity,
    /// Where identities are chosen: write them here, one for each face (.npy).
    #[arg(long, value_name = "FILE")]
    assigned: Option<PathBuf>,
    /// Threads; 0: as many as there are processors.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// New pages are kept in this much memory (KiB, MiB, GiB), then written to files.
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    memory: MemoryBudget,
    /// Replace a folder that is there.
    #[arg(long)]
    force: bool,
}

/// A cosine.
pub(crate) fn similarity(text: &str) -> Result<Similarity, String> {
    let value = text.parse().map_err(|_| "not a number")?;
    Similarity::new(value).ok_or_else(|| "a cosine lies between -1 and 1".to_owned())
}

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let begun = Instant::now();
    let folder = NewFolder::beside(&options.out, options.force)?;
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()?;
    let built = threads.install(|| fill(options, &folder.path()))?;
    if let Some(path) = &options.assigned {
        write_identities(path, built.index.newest(), built.faces)
            .with_context(|| path.display().to_string())?;
    }
    let stats = built.index.newest().stats();
    drop(built.index);
    folder.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "printed with few digits")]
    let [faces, bytes, hot] = [stats.faces, stats.bytes, stats.hot_bytes].map(|n| n as f64);
    let summary = json!({
        "faces": stats.faces, "identities": stats.identities, "tracks": stats.tracks,
        "seconds": round(seconds), "faces_per_second": (faces / seconds).round(),
        "peak_mib": peak_mib(), "checkpoints": built.checkpoints,
        "bytes_per_face": round(bytes / faces), "hot_bytes_per_face": round(hot / faces),
    });
    writeln!(out, "{summary}")?;
    Ok(true)
}

struct Built {
    index: Index,
    /// Rows of the file.
    faces: usize,
    checkpoints: usize,
}

fn fill(options: &Options, folder: &std::path::Path) -> Result<Built> {
    let mut input = VectorFile::open(&options.vectors, &options.model, &options.sides)?;
    let mut batch = input.batch(BATCH_FACES)?;
    let first = batch.first().context("there are no vectors")?;
    let dimension = first.embedding.dimension();
    let given = first.known.identity.is_some();
    ensure!(
        options.assigned.is_none() || !given,
        "--assigned: identities are given, none is chosen"
    );
    let index = Index::open(folder, &options.model, dimension)?;
    let mut builder = Builder::new(index, options.memory.bytes())?;
    let bar = progress(input.rows());
    let mut faces = 0;
    while !batch.is_empty() {
        faces += batch.len();
        let operations: Result<Vec<_>> =
            batch.into_iter().map(|face| insert(face, given)).collect();
        let operations = operations?;
        let add = || {
            if given {
                builder.add(&operations)
            } else {
                builder.assign(operations, options.threshold)
            }
        };
        let (added, next) = rayon::join(add, || input.batch(BATCH_FACES));
        added?;
        batch = next?;
        bar.set_position(u64::try_from(faces)?);
    }
    bar.set_message("writing");
    let checkpoints = builder.checkpoints();
    let index = builder.finish(0)?;
    bar.finish_and_clear();
    Ok(Built {
        index,
        faces,
        checkpoints,
    })
}

fn insert(face: Row, given: bool) -> Result<Operation> {
    let Row {
        row,
        embedding,
        known,
    } = face;
    ensure!(
        known.identity.is_some() == given,
        "row {row}: identities are given for some faces and not for others"
    );
    let number = u64::try_from(row)?;
    Ok(Operation::Insert {
        face: FaceId::new(number),
        identity: IdentityId::new(known.identity.unwrap_or(0)),
        track: TrackId::new(known.track.unwrap_or(number)),
        source: SourceId::new(known.source.unwrap_or(0)),
        seen_us: known.time_us.unwrap_or(0),
        quality: 1.0,
        attributes: 0,
        embedding,
    })
}

/// Shown on a terminal only.
fn progress(rows: Option<usize>) -> ProgressBar {
    let bar = match rows.and_then(|rows| u64::try_from(rows).ok()) {
        Some(rows) => ProgressBar::new(rows),
        None => ProgressBar::new_spinner(),
    };
    let style =
        ProgressStyle::with_template("{bar:30} {human_pos} faces, {per_sec}, {eta} left {msg}");
    bar.with_style(style.expect("the template is well-formed"))
}

fn write_identities(path: &std::path::Path, state: &State, faces: usize) -> Result<()> {
    use npyz::WriterBuilder;

    let count = u64::try_from(faces)?;
    let file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[count])
        .writer(file)
        .begin_nd()?;
    for number in 0..count {
        let face = state.face(FaceId::new(number));
        let identity = face.map_or(0, |face| face.identity.get());
        writer.push(&identity)?;
    }
    writer.finish()?;
    Ok(())
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// The most memory this process had, mapped files included, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
