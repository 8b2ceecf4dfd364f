//! The command `merge`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use rollcall_ingest::{
    extract::{find_shards, merge as merge_shards, prepare_folder},
    facerec::{self, FacerecFolder, MergeOptions},
};

/// Options of `merge`.
#[derive(Args)]
pub(crate) struct Merge {
    /// Folders of shards, or the folder in which they lie.
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Where to: gets `log/`, `tracks.jsonl` and `crops/`, as `extract` of the whole would write them.
    #[arg(long, value_name = "FOLDER", required_unless_present = "profile")]
    out: Option<PathBuf>,
    /// Replace an earlier extraction in the folder.
    #[arg(long)]
    force: bool,
    /// Put the shards together that lie in films' folders as facerec writes them, in these folders.
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "out")]
    profile: Option<MergeProfile>,
    /// A film's folder, or a pattern for several, such as 'data/*-data'; as FOLDER.
    #[arg(long, value_name = "PATTERN", requires = "profile")]
    path: Vec<String>,
    /// Least overlap (IoU) of boxes that belong together.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.5,
        help_heading = "With --profile facerec"
    )]
    iou_threshold: f64,
    /// Frames at the beginning of a shard in which trajectories of the one before may go on.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        help_heading = "With --profile facerec"
    )]
    overlap: u64,
    /// Leave out trajectories whose boxes all have a shorter side below this.
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 50,
        help_heading = "With --profile facerec"
    )]
    min_face_size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MergeProfile {
    /// `MOVIE-data/`.
    Facerec,
}

pub(crate) fn merge(options: &Merge) -> anyhow::Result<()> {
    match (&options.profile, &options.out) {
        (Some(MergeProfile::Facerec), _) => merge_films(options),
        (None, Some(out)) => merge_parts(&options.folders, out, options.force),
        (None, None) => bail!("say where to with --out FOLDER"),
    }
}

fn merge_parts(folders: &[PathBuf], out: &Path, force: bool) -> anyhow::Result<()> {
    if folders.is_empty() {
        bail!("say which folder holds the shards");
    }
    let shards = find_shards(folders)?;
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if shards.iter().any(|(shard, _)| place(shard) == place(out)) {
        bail!(
            "{} is one of the shards; choose another folder",
            out.display()
        );
    }
    // What was there goes when what is to be there is whole.
    if !force {
        prepare_folder(out, false)?;
    }
    let unfinished = beside(out);
    prepare_folder(&unfinished, true)?;
    let merged = merge_shards(&shards, &unfinished)?;
    prepare_folder(out, force)?;
    std::fs::rename(&unfinished, out).with_context(|| out.display().to_string())?;
    eprintln!(
        "{} tracks ({} exemplars) of {} shards; written to {}",
        merged.tracks,
        merged.exemplars,
        merged.shards,
        out.display()
    );
    Ok(())
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    out.with_file_name(name)
}

fn merge_films(options: &Merge) -> anyhow::Result<()> {
    let mut folders = options.folders.clone();
    for pattern in &options.path {
        let found = glob::glob(pattern).with_context(|| pattern.clone())?;
        let before = folders.len();
        for path in found {
            folders.push(path?);
        }
        if folders.len() == before {
            bail!("{pattern} stands for nothing that is there");
        }
    }
    if folders.is_empty() {
        bail!("say which film's folder: --path FOLDER/NUMBER-data");
    }
    if !(0.0..1.0).contains(&options.iou_threshold) {
        bail!(
            "--iou-threshold {} is no share from 0 to below 1",
            options.iou_threshold
        );
    }
    let rules = MergeOptions {
        iou_threshold: options.iou_threshold,
        overlap: options.overlap,
        min_face_size: i64::from(options.min_face_size),
    };
    for folder in folders {
        let folder = FacerecFolder::open(&folder)?;
        let merged = facerec::merge(&folder, &rules)?;
        eprintln!(
            "{}: {} trajectories ({} left out), {} faces, {} cuts of {} shards",
            folder.root().display(),
            merged.trajectories,
            merged.left_out,
            merged.features,
            merged.cuts,
            merged.shards
        );
    }
    Ok(())
}
