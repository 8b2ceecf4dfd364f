//! `rollcall-ingest`: reads video, finds faces, reports tracks; to a folder, or to a server. And what is done with faces
//! without a server. Commands that open videos need the feature `worker`, and with it FFmpeg; the others do not.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use rollcall_ingest::observe::mask_credentials;

mod run_analyse;
mod run_calibrate;
#[cfg(feature = "worker")]
mod run_capture;
mod run_classify;
mod run_cluster;
mod run_dataset;
mod run_evaluate;
mod run_export;
#[cfg(feature = "worker")]
mod run_extract;
#[cfg(feature = "worker")]
mod run_facerec;
#[cfg(feature = "worker")]
mod run_many;
mod run_match;
mod run_merge;
#[cfg(feature = "worker")]
mod run_shard;
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
    /// Find the cuts at which a video can be divided into shards.
    #[cfg(feature = "worker")]
    Plan(run_shard::Plan),
    /// Put the shards of a video together.
    Merge(run_merge::Merge),
    /// Say who the clusters of a film show, by faces of its actors.
    Classify(run_classify::Classify),
    /// Keep the key frames of a source that pass streamface's gates, and the faces in them.
    #[cfg(feature = "worker")]
    Capture(run_capture::Capture),
    /// Find the faces in frames that were captured.
    #[cfg(feature = "worker")]
    Faces(run_capture::Faces),
    /// Embed the faces in a channel's folder and read their attributes, as streamface's fourth stage.
    Analyse(run_analyse::Analyse),
    /// Cluster faces that are all there, and say what that would change.
    Cluster(Box<run_cluster::Cluster>),
    /// List clusters that may be one person.
    Match(run_match::Match),
    /// Make clusters one, as was decided.
    MergeClusters(run_match::MergeClusters),
    /// Say what embeddings, clusterings, labels or identification are worth, with pictures.
    Evaluate(run_evaluate::Evaluate),
    /// Find the cosine from which on two faces are one person's, from labelled faces or pairs.
    Calibrate(run_calibrate::Calibrate),
    /// Put datasets of channels together, and leave out what is not to be learned from.
    Dataset(run_dataset::Dataset),
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
        Command::Plan(options) => run_shard::plan(&options),
        Command::Merge(options) => run_merge::merge(&options),
        Command::Classify(options) => run_classify::classify(&options),
        #[cfg(feature = "worker")]
        Command::Capture(options) => run_capture::capture(&options),
        #[cfg(feature = "worker")]
        Command::Faces(options) => run_capture::faces(&options),
        Command::Analyse(options) => run_analyse::analyse(&options),
        Command::Cluster(options) => run_cluster::cluster(&options),
        Command::Match(options) => run_match::find(&options),
        Command::MergeClusters(options) => run_match::merge_clusters(&options),
        Command::Evaluate(options) => run_evaluate::evaluate(&options),
        Command::Calibrate(options) => run_calibrate::calibrate(&options),
        Command::Dataset(options) => run_dataset::dataset(&options),
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
