//! `rollcall-ingest`: reads video, finds faces, reports tracks; to a folder, or to a server.

use std::{
    io::{self, IsTerminal},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use rollcall_ingest::{observe::mask_credentials, pipeline::ShotRule, track::TrackerRule, worker};

mod run_extract;

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
    /// Write the tracks of a video to a folder, without a server.
    Extract(Extract),
    /// Work for a server: started by rollcalld, with an order on standard input.
    Run,
}

/// Options of `extract`.
#[derive(Args)]
struct Extract {
    /// A video file, or a URL with an end.
    file: String,
    /// Where to: gets `log/`, `tracks.jsonl` and `crops/`.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// Look for faces in every n-th frame of a shot (default: about five times a second).
    #[arg(long, value_name = "N")]
    every: Option<NonZeroU32>,
    /// Longest side of the picture the detector sees, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=2048))]
    detect_size: u32,
    /// By which rule shots are told apart.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    shots: ShotRule,
    /// By which rule faces are followed; `facerec` looks for faces in every frame, unless `--every`
    /// says otherwise.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    tracker: TrackerRule,
    /// Replace an earlier extraction in the folder.
    #[arg(long)]
    force: bool,
    /// Print what each stage cost.
    #[arg(long)]
    profile: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Extract(options) => {
            start_logging(arguments.log.as_deref().unwrap_or("error"));
            run_extract::extract(&options)
        }
        Command::Run => {
            start_logging(arguments.log.as_deref().unwrap_or("info"));
            run_worker()
        }
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

fn run_worker() -> anyhow::Result<()> {
    leave_with_parent().context("this worker cannot be tied to its server")?;
    let order = worker::WorkerOrder::read(io::stdin().lock())?;
    worker::run(&order)?;
    Ok(())
}

/// Asks the kernel to end this process with the one that started it, so that a killed server
/// leaves no worker behind.
#[cfg(target_os = "linux")]
fn leave_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let before = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the kernel was asked.
    anyhow::ensure!(getppid() == before, "the server is gone already");
    Ok(())
}

/// Elsewhere the broken stream ends the worker.
#[cfg(not(target_os = "linux"))]
fn leave_with_parent() -> anyhow::Result<()> {
    Ok(())
}
