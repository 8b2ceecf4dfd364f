//! The index alone, on a corpus of `benches/index`.
//!
//! `index_bench --corpus FOLDER [--questions insert,who] [--index FOLDER] [--queries N]`: the corpus has the arrays
//! that `make bench-index` makes. Prints a JSON line for each question and setting; `benches/README.md` says what
//! all of that is.

mod batch;
mod build;
mod churn;
mod corpus;
mod faces;
mod insert;
mod open;
mod readers;
mod report;
#[cfg(test)]
mod tests;
mod who;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use rollcall_benches::cores::Cores;
use rollcall_index::Index;

use crate::corpus::Corpus;
use crate::report::Report;

/// The name of the model.
const CONTRACT: &str = "bench";

/// Measures the index on a corpus.
#[derive(Parser)]
struct Arguments {
    /// The folder with the corpus.
    #[arg(long)]
    corpus: PathBuf,
    /// What to measure; everything unless given.
    #[arg(long, value_delimiter = ',')]
    questions: Vec<Question>,
    /// Where the index is, or is to be kept; else it is made anew and deleted at the end.
    #[arg(long)]
    index: Option<PathBuf>,
    /// Of who and faces, only settings with this in their name.
    #[arg(long, default_value = "")]
    only: String,
    /// Passes over the queries of who; the last one counts.
    #[arg(long, default_value_t = 2)]
    passes: usize,
    /// How long readers read, without a writer and beside one, and batches are asked again.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Queries at most.
    #[arg(long)]
    queries: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    Build,
    Insert,
    Open,
    Who,
    Faces,
    Batch,
    Readers,
    Churn,
}

fn main() -> Result<()> {
    let cores = Cores::given()?;
    cores.pin(0)?;
    run(&Arguments::parse(), &cores, &mut std::io::stdout())
}

fn run(arguments: &Arguments, cores: &Cores, out: &mut dyn Write) -> Result<()> {
    let corpus = Corpus::read(&arguments.corpus, arguments.queries)?;
    let report = Report::new(&corpus, out);
    let asked =
        |question| arguments.questions.is_empty() || arguments.questions.contains(&question);
    let scratch = tempfile::tempdir_in(&corpus.folder)?;
    if asked(Question::Build) {
        let built = scratch.path().join("built");
        build::measure(&corpus, &built, &report, cores)?;
        std::fs::remove_dir_all(built)?;
    }
    if arguments.questions == [Question::Build] {
        return Ok(());
    }
    let made = scratch.path().join("index");
    let folder = arguments.index.as_deref().unwrap_or(&made);
    make(&corpus, folder, asked(Question::Insert).then_some(&report))?;
    if asked(Question::Open) {
        open::measure(&corpus, folder, &report)?;
    }
    // The folder is locked as long as the index is there, but not by its snapshot.
    let fresh = {
        let mut index = Index::open(folder, CONTRACT, corpus.dimension)?;
        // Reads everything once: the disk is not what is measured.
        index.check()?;
        index.publish()
    };
    if asked(Question::Who) {
        who::measure(&corpus, &fresh, &report, &arguments.only, arguments.passes)?;
    }
    if asked(Question::Faces) {
        faces::measure(&corpus, &fresh, &report, &arguments.only)?;
    }
    if asked(Question::Batch) {
        batch::measure(&corpus, &fresh, &report, cores, arguments.seconds)?;
    }
    if asked(Question::Insert) {
        insert::measure(&corpus, folder, &report)?;
    }
    if asked(Question::Readers) {
        readers::measure(&corpus, folder, &report, cores, arguments.seconds)?;
    }
    if asked(Question::Churn) {
        churn::measure(&corpus, &scratch.path().join("churned"), &fresh, &report)?;
    }
    Ok(())
}

/// Makes the index in a folder, if it is not there.
fn make(corpus: &Corpus, folder: &Path, report: Option<&Report<'_>>) -> Result<()> {
    let mut index = Index::open(folder, CONTRACT, corpus.dimension)?;
    let there = index.newest().stats().faces;
    if there == 0 {
        insert::all(corpus, &mut index, report)?;
        index.checkpoint()?;
        return Ok(());
    }
    ensure!(
        there == corpus.faces(),
        "{}: has {there} faces, the corpus {}: give another folder",
        folder.display(),
        corpus.faces()
    );
    Ok(())
}
