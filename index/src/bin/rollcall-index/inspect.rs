//! `rollcall-index verify` and `rollcall-index stats`.

use std::{io::Write, path::PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use rollcall_index::{Index, StoreError};

#[derive(Args)]
pub(crate) struct VerifyOptions {
    /// The folder.
    folder: PathBuf,
    /// The model that it has to be of.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

#[derive(Args)]
pub(crate) struct StatsOptions {
    /// The folder.
    folder: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// True if all is sound.
pub(crate) fn verify(options: &VerifyOptions, out: &mut impl Write) -> Result<bool> {
    let found = match Index::open_existing(&options.folder) {
        Ok(index) => {
            let (found, wanted) = (index.contract(), options.model.as_deref());
            ensure!(
                wanted.is_none_or(|wanted| wanted == found),
                "{}: made for {found}",
                options.folder.display()
            );
            sound(index)
        }
        Err(error @ StoreError::Damaged { .. }) => Err(error.into()),
        Err(error) => return Err(error.into()),
    };
    let (word, done) = match found {
        Ok(sound) => (sound, true),
        Err(damage) => (format!("{damage:#}"), false),
    };
    writeln!(out, "{word}")?;
    Ok(done)
}

fn sound(mut index: Index) -> Result<String> {
    index.check()?;
    let stats = index.newest().verify()?;
    Ok(format!(
        "sound: {} faces in {} tracks of {} identities",
        stats.faces, stats.tracks, stats.identities
    ))
}

/// What is in a folder; true.
pub(crate) fn stats(options: &StatsOptions, out: &mut impl Write) -> Result<bool> {
    let facts = Index::open_existing(&options.folder)?.facts()?;
    if options.json {
        writeln!(out, "{}", serde_json::to_value(facts)?)?;
    } else {
        write!(out, "{facts}")?;
    }
    Ok(true)
}
