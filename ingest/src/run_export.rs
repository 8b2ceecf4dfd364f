//! The command `export`.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use npyz::WriterBuilder;
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::faceset::FaceSet;

/// Options of `export`.
#[derive(Args)]
pub(crate) struct Export {
    /// Embeddings: .npy, .jsonl or .parquet.
    from: PathBuf,
    /// What is written, by its name: .npy (the embeddings alone).
    to: PathBuf,
    /// Among the embeddings of a .jsonl file that has several: those of this model.
    #[arg(long, value_name = "NAME", default_value = "")]
    model: String,
}

pub(crate) fn export(options: &Export) -> anyhow::Result<()> {
    let to = &options.to;
    let extension = to.extension().and_then(|extension| extension.to_str());
    if extension != Some("npy") {
        bail!("{}: not .npy", to.display());
    }
    let faces = FaceSet::read(&options.from, &options.model, &SideFiles::default())?;
    write_npy(&faces, to).with_context(|| to.display().to_string())?;
    eprintln!("{} faces written to {}", faces.len(), to.display());
    Ok(())
}

fn write_npy(faces: &FaceSet, to: &Path) -> anyhow::Result<()> {
    let shape = [
        u64::try_from(faces.len())?,
        u64::try_from(faces.dimension())?,
    ];
    let beside = to.with_extension("npy.tmp");
    let file = BufWriter::new(File::create(&beside)?);
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
    let mut writer = options.writer(file).begin_nd()?;
    writer.extend(faces.embeddings())?;
    writer.finish()?;
    std::fs::rename(beside, to)?;
    Ok(())
}
