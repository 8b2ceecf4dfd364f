//! `rollcall-ingest`: reads video, finds faces, reports tracks; to a folder, or to a server.

use std::{
    io::{self, IsTerminal},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use rollcall_ingest::{
    DetectSizes, ModelOptions, Provider,
    observe::mask_credentials,
    pipeline::{GateRule, ShotRule},
    track::TrackerRule,
    worker,
};

mod run_capture;
mod run_extract;
mod run_many;

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
    Extract(Extract),
    /// Keep the key frames of a source that pass streamface's gates, and the faces in them.
    Capture(run_capture::Capture),
    /// Find the faces in frames that were captured.
    Faces(run_capture::Faces),
    /// Work for a server: started by rollcalld, with an order on standard input.
    Run,
}

/// Options of `extract`.
#[derive(Args)]
struct Extract {
    /// A video file, a URL with an end, or `-` for standard input; or several, folders and patterns
    /// such as 'videos/**/*.mp4', each video of which gets a folder of its own under FOLDER. Run
    /// again, what is done is passed over.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Where to: gets `log/`, `tracks.jsonl` and `crops/`.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// Look for faces in every n-th frame of a shot, or in key frames alone ("key": those that
    /// decode without others; the rest is not decoded) (default: five times a second where
    /// something goes on, less often where all stays as it is; frames that no other refers to
    /// are not decoded then).
    #[arg(long, value_name = "N|key")]
    every: Option<Every>,
    /// Longest side of the picture the detector sees at most, in pixels, 32 to 2048; several,
    /// separated by commas, look for small faces as well as large ones (640,1280).
    #[arg(
        long,
        value_name = "PIXELS",
        default_value = "640",
        alias = "detect-sizes"
    )]
    detect_size: DetectSizes,
    /// The id of the detector: a manifest in the folder of models, such as yunet-2023mar.
    #[arg(long, value_name = "ID", default_value_t = ModelOptions::default().detector)]
    detector: String,
    /// By which rule shots are told apart.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    shots: ShotRule,
    /// By which gates frames and faces are refused.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    gates: GateRule,
    /// By which rule faces are followed; `facerec` looks for faces in every frame, unless `--every`
    /// says otherwise.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    tracker: TrackerRule,
    /// What to read off the faces that are kept, such as `age,gender`, or `all` (default: nothing;
    /// docs/attributes.md has the names and the costs).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<String>,
    /// Threads that share the work of a model, beside the one that decodes (default: two, where
    /// there are as many cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
    /// What runs the models: others than `cpu` need a build with that feature, and fall back.
    #[arg(long, value_enum, value_name = "PROVIDER", default_value_t)]
    provider: Provider,
    /// Replace earlier extractions in the folder.
    #[arg(long)]
    force: bool,
    /// Print what each stage cost.
    #[arg(long)]
    profile: bool,
}

/// Which frames are looked at.
#[derive(Clone, Copy, Debug)]
enum Every {
    Nth(NonZeroU32),
    Key,
}

impl FromStr for Every {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "key" => Ok(Self::Key),
            number => number
                .parse()
                .map(Self::Nth)
                .map_err(|_| "must be a whole number from 1 on, or `key`"),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Extract(options) => {
            start_logging(arguments.log.as_deref().unwrap_or("error"));
            run_extract::extract(&options)
        }
        Command::Capture(options) => {
            start_logging(arguments.log.as_deref().unwrap_or("error"));
            run_capture::capture(&options)
        }
        Command::Faces(options) => {
            start_logging(arguments.log.as_deref().unwrap_or("error"));
            run_capture::faces(&options)
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
    step_back(&order);
    worker::run(&order)?;
    Ok(())
}

/// Searches go before reading, and what cannot wait before what can: a live stream has several
/// times the share of a file where both want the same core. Threads made later inherit it.
fn step_back(order: &worker::WorkerOrder) {
    let niceness = if order.kind == worker::SourceMode::Live || order.realtime {
        5
    } else {
        15
    };
    if let Err(why) = rustix::process::nice(niceness) {
        tracing::warn!(%why, "this worker runs at its server's priority");
    }
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
