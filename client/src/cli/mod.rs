//! The command line: arguments in, calls of the library, tables or JSON out.

mod args;
mod commands;
mod csv;
mod failure;
mod file;
mod format;
mod gallery;
mod input;
mod out;
mod table;
mod timeline;
mod view;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use failure::Failure;
use out::Out;

/// How a run ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 0: found, done.
    Found,
    /// 1: the question was answered with nothing.
    Nothing,
}

const INTERRUPTED: u8 = 130;

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rollcall: cannot start: {error} [INTERNAL]");
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
            code = run(args) => code,
        }
    });
    // A read of standard input may still hang on a thread of its own.
    runtime.shutdown_background();
    code
}

async fn run(args: Args) -> ExitCode {
    let mut out = Out::new(&args.global);
    let outcome = commands::run(&args, &mut out).await;
    let outcome = outcome.and_then(|outcome| {
        out.flush()?;
        Ok(outcome)
    });
    match outcome {
        Ok(Outcome::Found) => ExitCode::SUCCESS,
        Ok(Outcome::Nothing) => ExitCode::from(1),
        // Who closes the pipe has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(2)
        }
    }
}
