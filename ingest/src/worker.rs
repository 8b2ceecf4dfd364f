//! The worker: one run over one source, reported to a server through `IngestService`.
//!
//! Its order comes as one line of JSON on standard input, so that URLs with credentials never stand
//! on a command line. The pipeline runs on the caller's thread; a thread beside it talks to the
//! server. At most a window of messages is unacknowledged: a slow server slows the run.

mod link;
mod order;
mod wire;

pub use order::{OrderError, SourceMode, WorkerOrder};

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    capture::{AccessRules, FileSource, LiveSource, Location, Patience, system_clock},
    model::{Assets, Classifiers, ModelError, ModelOptions, Models, Subnormals},
    observe::{Fault, ResumePoint},
    pipeline::{Pipeline, PipelineSettings, RunError, Vision},
    source::{CaptureStatus, DecodeMode, FrameSource, Next, Overflow, StopToken},
};

use link::{Greeting, Link, LinkSink};

/// The generated half of the protocol.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "generated; not every message is spoken here"
)]
#[allow(clippy::all, clippy::pedantic)]
mod proto {
    tonic::include_proto!("rollcall.v1");
}

/// Why a worker leaves before its source is finished.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The order makes no sense.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A model is missing or does not do what it should.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The connection to the server was not made, or broke.
    #[error("the connection to the server: {0}")]
    Link(String),
    /// The run broke off.
    #[error("the run broke off: {0}")]
    Run(#[from] RunError),
}

/// Carries out `order`: until the source is finished and the server has acknowledged it.
///
/// # Errors
/// [`WorkerError`], after which the server may start another worker for the same source.
pub fn run(order: &WorkerOrder) -> Result<(), WorkerError> {
    let assets = Assets::locate(Some(Path::new(&order.assets)))?;
    let mut options = ModelOptions::default();
    if let Some(detector) = &order.detector {
        options.detector.clone_from(detector);
    }
    if let Some(embedder) = &order.embedder {
        options.embedder.clone_from(embedder);
    }
    options.provider = order.provider;
    let models = Models::open(&assets, &options)?;
    if let Some(why) = models.fallback() {
        tracing::warn!(source = order.source_id, "{why}");
    }
    let classifiers = Classifiers::open(&assets, &order.attributes, Subnormals::default())?;
    let vision = Vision {
        detector: models.detector()?,
        embedder: models.embedder()?,
        classifiers: classifiers.readers()?,
    };
    let settings = PipelineSettings::default()
        .with_detect_sizes(order.detect_sizes()?)
        .with_shots(order.shots)
        .with_gates(order.gates);
    let greeting = Greeting {
        source_id: order.source_id,
        contract: models.contract().id().to_owned(),
        pipeline: settings.fingerprint(&model_names(&models, &classifiers)),
    };
    let stop = StopToken::default();
    let link = Arc::new(Link::new(stop.clone()));
    let (resume, mut sink) = link::connect(order, greeting, &link).map_err(WorkerError::Link)?;
    tracing::info!(source = order.source_id, resume = ?resume, "the run begins");
    let overflow = match order.kind {
        SourceMode::File => Overflow::Wait,
        SourceMode::Live => Overflow::KeepNewest,
    };
    let source = open_source(order, settings.decode, resume, stop.clone());
    let pipeline = Pipeline {
        settings,
        vision,
        overflow,
        stop,
    };
    let outcome = pipeline.run(source, resume, &mut sink);
    finish(outcome.map(drop), sink, &link)
}

/// What the hash of a pipeline is to know about the models: their files, by hash, how they are
/// used, and what runs them.
#[must_use]
pub fn model_names(models: &Models, classifiers: &Classifiers) -> String {
    format!(
        "{} {}{} on {}",
        models.detector_key(),
        models.contract().id(),
        classifiers.names(),
        models.provider()
    )
}

fn finish(outcome: Result<(), RunError>, sink: LinkSink, link: &Link) -> Result<(), WorkerError> {
    // What the server said explains more than that it no longer takes anything.
    if let Some(broken) = link.broken().filter(|_| outcome.is_err()) {
        return Err(WorkerError::Link(broken));
    }
    outcome?;
    sink.wait_for_last_ack().map_err(WorkerError::Link)
}

fn open_source(
    order: &WorkerOrder,
    decode: DecodeMode,
    resume: Option<ResumePoint>,
    stop: StopToken,
) -> Box<dyn FrameSource> {
    let rules = AccessRules {
        file_roots: Some(order.file_roots.clone()),
        protocols: order.protocols.clone(),
        resolver_command: order.resolver_command.clone(),
    };
    let location = match Location::check(&order.uri, &rules) {
        Ok(location) => location,
        Err(fault) => return Box::new(Unreadable(fault)),
    };
    let patience = Patience {
        open: Duration::from_secs(order.open_timeout_s.max(1)),
        read: Duration::from_secs(order.read_timeout_s.max(1)),
    };
    let clock = system_clock();
    match order.kind {
        SourceMode::File => {
            let wall = clock();
            let source = FileSource::new(location, patience, order.realtime, resume, wall, stop);
            Box::new(source.with_mode(decode))
        }
        SourceMode::Live => Box::new(LiveSource::new(location, patience, clock, stop)),
    }
}

/// A source that was refused before it was opened: the run reports it and fails.
struct Unreadable(Fault);

impl FrameSource for Unreadable {
    fn next(&mut self, _status: &CaptureStatus) -> Result<Next, Fault> {
        Err(self.0.clone())
    }
}
