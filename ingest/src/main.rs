//! `rollcall-ingest`: reads video, finds faces, reports tracks; to a folder, or to a server. And what is done with faces
//! without a server. Commands that open videos need the feature `worker`, and with it FFmpeg; the others do not.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use rollcall_ingest::observe::mask_credentials;

mod run_calibrate;
#[cfg(feature = "worker")]
mod run_capture;
mod run_evaluate;
mod run_export;
#[cfg(feature = "worker")]
mod run_extract;
#[cfg(feature = "worker")]
mod run_many;
#[cfg(feature = "worker")]
mod run_worker;

/// Exit code for anything that went wrong.
const FAILED: u8 = 2;

/// Reads video, finds faces, follows them through each shot.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What to log to standard error, such as `info` or `rollcall_ingest=debug`.
    #[arg(long, env = "ROLLCALL_LOG", global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Write the tracks of videos to a folder, without a server.
    #[cfg(feature = "worker")]
    Extract(run_extract::Extract),
    /// Keep the key frames of a source that pass streamface's gates, and the faces in them.
    #[cfg(feature = "worker")]
    Capture(run_capture::Capture),
    /// Find the faces in frames that were captured.
    #[cfg(feature = "worker")]
    Faces(run_capture::Faces),
    /// Find the cosine from which on two faces are one person's, from labelled faces or pairs.
    Calibrate(run_calibrate::Calibrate),
    /// Say what embeddings, clusterings, labels or identification are worth, with pictures.
    Evaluate(run_evaluate::Evaluate),
    /// Write faces and what is known of them to a file of another format.
    Export(run_export::Export),
    /// Work for a server: started by rollcalld, with an order on standard input.
    #[cfg(feature = "worker")]
    Run,
}

impl Command {
    /// What is logged unless `--log` says otherwise: whoever works for a server says more.
    fn default_log(&self) -> &'static str {
        #[cfg(feature = "worker")]
        if matches!(self, Self::Run) {
            return "info";
        }
        "error"
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = arguments.log.as_deref();
    start_logging(filter.unwrap_or(arguments.command.default_log()));
    let outcome = match arguments.command {
        #[cfg(feature = "worker")]
        Command::Extract(options) => run_extract::extract(&options),
        #[cfg(feature = "worker")]
        Command::Capture(options) => run_capture::capture(&options),
        #[cfg(feature = "worker")]
        Command::Faces(options) => run_capture::faces(&options),
        Command::Calibrate(options) => run_calibrate::calibrate(&options),
        Command::Evaluate(options) => run_evaluate::evaluate(&options),
        Command::Export(options) => run_export::export(&options),
        #[cfg(feature = "worker")]
        Command::Run => run_worker::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rollcall-ingest: {}", mask_credentials(&format!("{why:#}")));
            ExitCode::from(FAILED)
        }
    }
}

fn start_logging(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
