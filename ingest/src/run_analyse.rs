//! The command `analyse`: streamface's fourth stage.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use rollcall_ingest::{
    Assets, Classifiers, ModelOptions, Models, Subnormals,
    streamface::{ChannelFolder, FaceAnalyser},
};

/// Options of `analyse`.
#[derive(Args)]
pub(crate) struct Analyse {
    /// The channel's folder, with `faces/` and `metadata/detections.csv`.
    folder: PathBuf,
    /// Folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// What to read off the faces beside whose they are, such as `age,gender,expression,pose`, or `all`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<String>,
    /// Faces of one file of features.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Begin anew: remove the features and read every face again.
    #[arg(long)]
    restart: bool,
}

pub(crate) fn analyse(options: &Analyse) -> anyhow::Result<()> {
    let table = options.folder.join("metadata/detections.csv");
    if !table.is_file() {
        bail!(
            "{} is not there; `rollcall-ingest faces` writes it",
            table.display()
        );
    }
    let assets = Assets::locate(options.assets.as_deref())?;
    let models = Models::open(&assets, &ModelOptions::default())?;
    let classifiers = Classifiers::open(&assets, &options.attributes, Subnormals::default())?;
    let folder = ChannelFolder::open(&options.folder)?;
    let (embedder, readers) = (models.embedder()?, classifiers.readers()?);
    let mut analyser = FaceAnalyser::open(folder, embedder, readers, options.restart)?;
    let style = ProgressStyle::with_template("{bar:30} {human_pos} faces, {per_sec}, {eta} left")?;
    // Shown on a terminal only.
    let bar = ProgressBar::new(u64::try_from(analyser.waiting())?).with_style(style);
    let (mut faces, mut unreadable) = (0, 0);
    while let Some(done) = analyser.next(options.batch.into())? {
        for why in &done.unreadable {
            bar.suspend(|| eprintln!("rollcall-ingest: {why}"));
        }
        faces += done.faces;
        unreadable += done.unreadable.len();
        bar.inc(u64::try_from(done.faces + done.unreadable.len())?);
    }
    bar.finish_and_clear();
    eprintln!(
        "{faces} faces analysed, {unreadable} unreadable; written to {}",
        options.folder.join("features").display()
    );
    Ok(())
}
