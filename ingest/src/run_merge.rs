//! The command `merge`.

use std::path::{Path, PathBuf};

use clap::Args;

use rollcall_ingest::extract::{find_shards, merge as merge_shards, prepare_folder};

/// Options of `merge`.
#[derive(Args)]
pub(crate) struct Merge {
    /// Folders of shards, or the folder in which they lie.
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Where to: gets `log/`, `tracks.jsonl` and `crops/`, as `extract` of the whole would write them.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace an earlier extraction in the folder.
    #[arg(long)]
    force: bool,
}

pub(crate) fn merge(options: &Merge) -> anyhow::Result<()> {
    let shards = find_shards(&options.folders)?;
    let out = &options.out;
    prepare_folder(out, options.force)?;
    let unfinished = beside(out);
    prepare_folder(&unfinished, true)?;
    let merged = merge_shards(&shards, &unfinished)?;
    std::fs::rename(&unfinished, out)?;
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
