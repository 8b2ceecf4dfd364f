//! `rollcall-index`: builds an index folder from files of embeddings, and looks into folders.
//!
//! Results go to standard output, the rest to standard error. Exit codes: 0 done or found, 1 nothing
//! found or not sound, 2 an error.

mod ask;
mod build;
mod folder;
mod inspect;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Builds index folders from files of embeddings, and looks into them.
#[derive(Parser)]
#[command(name = "rollcall-index", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build a folder from a file of embeddings. A server's log is built by `rollcalld index build`.
    Build(build::Options),
    /// Check every page of a folder, and everything in them against everything else.
    Verify(inspect::VerifyOptions),
    /// What a folder holds, level by level.
    Stats(inspect::StatsOptions),
    /// Who is most like each query? A JSON line for each.
    Who(ask::Options),
    /// Which faces are most like each query? A JSON line for each.
    Faces(ask::FaceOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let done = run(arguments.command, &mut out).and_then(|done| {
        out.flush()?;
        Ok(done)
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rollcall-index: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True: done, found, sound.
fn run(command: Command, out: &mut impl Write) -> anyhow::Result<bool> {
    match command {
        Command::Build(options) => build::run(&options, out),
        Command::Verify(options) => inspect::verify(&options, out),
        Command::Stats(options) => inspect::stats(&options, out),
        Command::Who(options) => ask::who(&options, out),
        Command::Faces(options) => ask::faces(&options, out),
    }
}

/// Whoever reads the output has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
