//! The command `dataset`: what streamface's `utils/` do with the `dataset.csv` of channels, and with their labels.

mod combine;
mod deduplicate;
mod labels;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, Subcommand};
use rollcall_ingest::table::{Row, Table, TableError};

/// Options of `dataset`.
#[derive(Args)]
pub(crate) struct Dataset {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put the datasets of several channels together; classes are numbered anew, 0 the largest.
    Combine(combine::Combine),
    /// Leave out classes of a dataset that look like another, larger one: a person of several channels.
    Deduplicate(deduplicate::Deduplicate),
    /// Give labels of few faces a number below 0, as if they were noise.
    RemoveInfrequent(labels::RemoveInfrequent),
    /// Take faces whose labels are below 0 out of a channel's annotations and pictures.
    RemoveNoisy(labels::RemoveNoisy),
}

pub(crate) fn dataset(options: &Dataset) -> anyhow::Result<()> {
    match &options.command {
        Command::Combine(options) => combine::combine(options),
        Command::Deduplicate(options) => deduplicate::deduplicate(options),
        Command::RemoveInfrequent(options) => labels::remove_infrequent(options),
        Command::RemoveNoisy(options) => labels::remove_noisy(options),
    }
}

/// A `dataset.csv` being read, a face a row.
struct Faces {
    table: Table,
    class: usize,
    filename: usize,
}

impl Faces {
    fn open(path: &Path) -> Result<Self, TableError> {
        let table = Table::open(path)?;
        Ok(Self {
            class: table.column(&["class"])?,
            filename: table.column(&["filename"])?,
            table,
        })
    }

    /// The next face and its class.
    fn next_face(&mut self) -> Result<Option<(Row, i64)>, TableError> {
        let Some(row) = self.table.next_full()? else {
            return Ok(None);
        };
        let class = row.field(self.class)?;
        let Ok(class) = class.parse() else {
            let why = format!("class {class:?} is no whole number");
            return Err(row.wrong(why));
        };
        Ok(Some((row, class)))
    }
}

/// Refuses to write over files that are there, unless that is wanted.
fn check_free(paths: &[PathBuf], force: bool) -> anyhow::Result<()> {
    for path in paths {
        ensure!(
            force || !path.exists(),
            "{} is there already; --force replaces it",
            path.display()
        );
    }
    Ok(())
}
