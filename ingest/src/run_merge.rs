//! The command `merge`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;

use rollcall_ingest::{
    extract::{find_shards, merge as merge_shards, prepare_folder},
    facerec::{self, FacerecFolder, MergeOptions},
    files::rename_folder,
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
    #[arg(long, conflicts_with = "profile")]
    force: bool,
    /// Put the shards together that lie in films' folders as facerec writes them, in these folders.
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "out")]
    profile: Option<MergeProfile>,
    /// A film's folder, or a pattern for several, such as 'data/*-data'; as FOLDER.
    #[arg(long, value_name = "PATTERN")]
    path: Vec<String>,
    /// Least overlap (IoU) of boxes that belong together [default: 0.5].
    #[arg(long, value_name = "SHARE", help_heading = "With --profile facerec")]
    iou_threshold: Option<f64>,
    /// Frames at the beginning of a shard in which trajectories of the one before may go on [default: 5].
    #[arg(long, value_name = "N", help_heading = "With --profile facerec")]
    overlap: Option<u64>,
    /// Leave out trajectories whose boxes all have a shorter side below this [default: 50].
    #[arg(long, value_name = "PIXELS", help_heading = "With --profile facerec")]
    min_face_size: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MergeProfile {
    /// `MOVIE-data/`.
    Facerec,
}

pub(crate) fn merge(options: &Merge) -> anyhow::Result<()> {
    match (&options.profile, &options.out) {
        (Some(MergeProfile::Facerec), _) => merge_films(options),
        (None, Some(out)) => {
            options.refuse_of_profile()?;
            merge_parts(&options.folders, out, options.force)
        }
        (None, None) => bail!("say where to with --out FOLDER"),
    }
}

impl Merge {
    /// clap's `requires` says nothing here: `--profile` conflicts with `--out`, which is there.
    fn refuse_of_profile(&self) -> anyhow::Result<()> {
        let given = [
            ("--path", !self.path.is_empty()),
            ("--iou-threshold", self.iou_threshold.is_some()),
            ("--overlap", self.overlap.is_some()),
            ("--min-face-size", self.min_face_size.is_some()),
        ];
        for (option, is_given) in given {
            ensure!(
                !is_given,
                "{option} is of --profile facerec; what goes to --out has no use for it"
            );
        }
        Ok(())
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
    rename_folder(&unfinished, out).with_context(|| out.display().to_string())?;
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
    let usual = MergeOptions::default();
    let rules = MergeOptions {
        iou_threshold: options.iou_threshold.unwrap_or(usual.iou_threshold),
        overlap: options.overlap.unwrap_or(usual.overlap),
        min_face_size: options.min_face_size.map_or(usual.min_face_size, i64::from),
    };
    ensure!(
        (0.0..1.0).contains(&rules.iou_threshold),
        "--iou-threshold {} is no share from 0 to below 1",
        rules.iou_threshold
    );
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
