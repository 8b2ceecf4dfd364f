//! Keeps a worker process running for each source that is not finished: starts, restarts, stops
//! them.

use crate::access::Gate;
use crate::core::{CatalogError, Core, SYSTEM, SourceChange, SourceRow, WriteError};
use crate::pb::{SourceKind, SourceState};
use crate::shutdown::Shutdown;
use crate::source_uri::SourceRules;
use crate::sources::Sources;
use crate::vision::InService;
use crate::worker::{Spawner, Worker, WorkerOrder};
use rand::Rng as _;
use rollcall_ingest::Provider;
use rollcall_ingest::pipeline::{GateRule, ShotRule};
use rollcall_ingest::{DetectSize, DetectSizes};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// First wait before a worker is started again; doubles with each failure in a row.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Failures in a row without getting any farther, after which a source is given up.
const FAILURES_MAX: u32 = 5;
/// Time for the stream of a dead worker to be noticed.
const STREAM_END_MAX: Duration = Duration::from_secs(5);

/// What workers are started with.
#[derive(Clone, Debug)]
pub struct WorkerSetup {
    /// The program.
    pub program: PathBuf,
    /// Where they find the server.
    pub endpoint: String,
    /// What gives them their keys.
    pub gate: Arc<Gate>,
    /// Models and ONNX Runtime.
    pub assets: PathBuf,
    /// What they read off the faces that are kept.
    pub attributes: Vec<String>,
    /// The detector's id.
    pub detector: String,
    /// How large it sees each frame.
    pub detect_sizes: DetectSizes,
    /// What they may read.
    pub rules: SourceRules,
    /// By which rule shots are told apart.
    pub shots: ShotRule,
    /// By which gates frames and faces are refused.
    pub gates: GateRule,
    /// What runs the models, if it can be had.
    pub provider: Provider,
    /// Time to open a source.
    pub open_timeout_s: u64,
    /// Time without data after which a read is given up.
    pub read_timeout_s: u64,
    /// Time to leave after a stop.
    pub stop_timeout: Duration,
    /// Files read at a time.
    pub workers_max: usize,
    /// Live sources read at a time.
    pub live_max: usize,
}

/// Starts workers and keeps them running.
#[derive(Debug)]
pub struct Supervisor {
    tasks: Mutex<HashMap<u64, Task>>,
    care: Arc<Care>,
}

#[derive(Debug)]
struct Task {
    stop: watch::Sender<bool>,
    done: JoinHandle<()>,
}

/// What each source's task needs.
#[derive(Debug)]
struct Care {
    core: Core,
    models: Arc<InService>,
    sources: Arc<Sources>,
    setup: WorkerSetup,
    /// Files, which end, never wait for live sources, which do not.
    files: Semaphore,
    live: Semaphore,
    spawner: Spawner,
    shutdown: Shutdown,
}

/// How a worker's life ended.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    /// The source is finished, or the server goes down: no more workers.
    Over,
    /// Someone asked for it.
    Stopped,
    /// It died, with its last words.
    Died(String),
}

impl Supervisor {
    /// A supervisor that has started no worker yet.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(
        core: Core,
        models: Arc<InService>,
        sources: Arc<Sources>,
        setup: WorkerSetup,
        shutdown: Shutdown,
    ) -> io::Result<Self> {
        let spawner = Spawner::start(tokio::runtime::Handle::current())?;
        let places = |count: usize| Semaphore::new(count.min(Semaphore::MAX_PERMITS));
        let (files, live) = (places(setup.workers_max), places(setup.live_max));
        let care = Care {
            core,
            models,
            sources,
            setup,
            files,
            live,
            spawner,
            shutdown,
        };
        Ok(Self {
            tasks: Mutex::default(),
            care: Arc::new(care),
        })
    }

    /// Takes up every source that is not finished.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn resume(&self) -> Result<(), CatalogError> {
        let mut after = 0;
        loop {
            let core = self.care.core.clone();
            let page = tokio::task::spawn_blocking(move || core.catalog().sources(after, 500));
            let rows = page
                .await
                .map_err(|_| CatalogError::Impossible { what: "page" })??;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.id;
            for row in rows {
                self.care.sources.state_changed(row.id, row.state);
                if !is_final(row.state) {
                    self.take_up(row);
                }
            }
        }
    }

    /// Starts a worker for a source as soon as there is a place. Remote sources need none.
    pub fn take_up(&self, row: SourceRow) {
        if row.kind == SourceKind::Remote {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, task| !task.done.is_finished());
        if tasks.contains_key(&row.id) || self.care.shutdown.is_set() {
            return;
        }
        let (stop, stopped) = watch::channel(false);
        let care = Arc::clone(&self.care);
        let id = row.id;
        let done = tokio::spawn(async move { care.keep(row, stopped).await });
        tasks.insert(id, Task { stop, done });
    }

    /// Stops the source's worker and waits until the source is recorded as stopped.
    ///
    /// # Errors
    /// If the change cannot be recorded.
    pub async fn stop(&self, row: &SourceRow, author: &str) -> Result<(), WriteError> {
        let task = self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&row.id);
        let reason = format!("stopped by {author}");
        match task {
            Some(task) => {
                task.stop.send_replace(true);
                self.care.sources.stop(row.id, &reason);
                // A task that panicked has no worker any more: it was killed when dropped.
                let _ = task.done.await;
            }
            None => {
                self.care.sources.stop(row.id, &reason);
                self.care
                    .stream_over(row.id, self.care.setup.stop_timeout)
                    .await;
            }
        }
        self.care.stopped(row.id, author).await
    }

    /// Waits until all workers have left. Give the shutdown signal first.
    pub async fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, task) in tasks {
            let _ = task.done.await;
        }
    }
}

impl Care {
    /// Keeps a worker running until the source is finished or stopped.
    async fn keep(&self, row: SourceRow, mut stop: watch::Receiver<bool>) {
        let places = if is_paced(&row) {
            &self.live
        } else {
            &self.files
        };
        if places.available_permits() == 0 && row.state != SourceState::Queued {
            let _ = self
                .change(row.id, SourceState::Queued, "", String::new(), SYSTEM)
                .await;
        }
        let _place = tokio::select! {
            place = places.acquire() => place,
            () = asked(&mut stop) => return,
            () = self.shutdown.wait() => return,
        };
        let id = row.id;
        let (mut failures, mut refusals) = (0, 0);
        loop {
            let before = self.sources.progress(id);
            let last_words = match self.one_life(&row, &mut stop).await {
                Life::Over | Life::Stopped => return,
                Life::Died(last_words) => last_words,
            };
            // Neither a full disk nor a change of models is the worker's fault: such a source is never given up.
            (failures, refusals) = if self.sources.take_refusal(id) {
                (failures, refusals + 1)
            } else if self.sources.progress(id) > before {
                (1, 0)
            } else {
                (failures + 1, 0)
            };
            tracing::warn!(source = id, failures, refusals, "worker died: {last_words}");
            if failures >= FAILURES_MAX {
                self.give_up(id, last_words).await;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(failures.max(refusals))) => {}
                () = asked(&mut stop) => return,
                () = self.shutdown.wait() => return,
            }
            self.sources.restarted(id);
        }
    }

    /// One worker from its start to its end.
    async fn one_life(&self, row: &SourceRow, stop: &mut watch::Receiver<bool>) -> Life {
        let id = row.id;
        // One way or the other this fails only if the writer refuses: the worker will be told the
        // same.
        let _ = self
            .change(id, SourceState::Connecting, "", String::new(), SYSTEM)
            .await;
        let token = format!("{:032x}", rand::rng().random::<u128>());
        self.sources.expect_worker(id, token.clone());
        let order = self.order(row, token);
        let started = Worker::start(&self.spawner, &self.setup.program, &order).await;
        let mut worker = match started {
            Ok(worker) => worker,
            Err(error) => {
                let program = self.setup.program.display();
                return Life::Died(format!("{program} cannot be started: {error}"));
            }
        };
        tracing::info!(source = id, "worker started");
        let (exit, stopped) = tokio::select! {
            exit = worker.wait() => (exit, false),
            () = asked(stop) => {
                worker.end(self.setup.stop_timeout).await;
                (worker.wait().await, true)
            }
            // Its stream is cut at the same moment, and it leaves by itself: to the log this is no
            // different from a crash, and the source goes on from its last checkpoint at the next
            // start.
            () = self.shutdown.wait() => {
                worker.end(self.setup.stop_timeout).await;
                (worker.wait().await, false)
            }
        };
        let last_line = worker.last_line().await;
        self.sources.worker_gone(id);
        self.stream_over(id, STREAM_END_MAX).await;
        if stopped {
            return Life::Stopped;
        }
        if self.shutdown.is_set() || self.is_finished(id).await {
            return Life::Over;
        }
        let how = exit.map_or_else(|error| error.to_string(), |exit| exit.to_string());
        Life::Died(last_line.map_or_else(|| how.clone(), |line| format!("{line} ({how})")))
    }

    fn order(&self, row: &SourceRow, token: String) -> WorkerOrder {
        let setup = &self.setup;
        WorkerOrder {
            endpoint: setup.endpoint.clone(),
            token,
            key: setup.gate.worker_key(row.id),
            source_id: row.id,
            uri: row.uri.clone(),
            kind: if row.kind == SourceKind::Live {
                "live"
            } else {
                "file"
            },
            realtime: row.realtime,
            shots: setup.shots,
            gates: setup.gates,
            provider: setup.provider,
            file_roots: setup.rules.worker_roots(),
            protocols: setup.rules.protocols().to_vec(),
            resolver_command: setup.rules.resolver_command().to_vec(),
            assets: setup.assets.clone(),
            attributes: setup.attributes.clone(),
            detector: setup.detector.clone(),
            embedder: self.models.newest().embedder.embedder.clone(),
            detect_sizes: setup.detect_sizes.iter().map(DetectSize::get).collect(),
            open_timeout_s: setup.open_timeout_s,
            read_timeout_s: setup.read_timeout_s,
        }
    }

    /// Waits until the stream of the source's run is over.
    async fn stream_over(&self, id: u64, longest: Duration) {
        let mut stream = self.sources.stream(id);
        if tokio::time::timeout(longest, stream.wait_for(|open| !open))
            .await
            .is_err()
        {
            tracing::warn!(
                source = id,
                "a run's stream is still open after its worker left"
            );
        }
    }

    async fn is_finished(&self, id: u64) -> bool {
        let core = self.core.clone();
        let row = tokio::task::spawn_blocking(move || core.catalog().source(id)).await;
        matches!(row, Ok(Ok(Some(row))) if is_final(row.state))
    }

    async fn stopped(&self, id: u64, author: &str) -> Result<(), WriteError> {
        if self.is_finished(id).await {
            return Ok(());
        }
        self.change(id, SourceState::Stopped, "", String::new(), author)
            .await
    }

    async fn give_up(&self, id: u64, last_words: String) {
        let message = format!(
            "the worker died {FAILURES_MAX} times without getting any farther; last: {last_words}"
        );
        if let Err(error) = self
            .change(id, SourceState::Failed, "WORKER_DIED", message, SYSTEM)
            .await
        {
            tracing::error!(source = id, %error, "a failed source could not be recorded as such");
        }
    }

    async fn change(
        &self,
        source_id: u64,
        state: SourceState,
        reason: &str,
        message: String,
        author: &str,
    ) -> Result<(), WriteError> {
        let change = SourceChange {
            source_id,
            state,
            reason: reason.to_owned(),
            message,
            position_us: self.sources.progress(source_id),
            author: author.to_owned(),
        };
        self.core.set_source_state(change).await?;
        self.sources.state_changed(source_id, state);
        Ok(())
    }
}

/// Whether the source comes at a pace of its own, however fast it could be read.
fn is_paced(row: &SourceRow) -> bool {
    row.kind == SourceKind::Live || row.realtime
}

/// Waits for the stop; a supervisor that is gone counts as one.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether a source in this state is never read again.
pub(crate) fn is_final(state: SourceState) -> bool {
    match state {
        SourceState::Ended | SourceState::Stopped | SourceState::Failed => true,
        SourceState::Unspecified
        | SourceState::Queued
        | SourceState::Connecting
        | SourceState::Running
        | SourceState::Stalled => false,
    }
}

/// The wait after `failures` failures in a row: doubled each time, a random half of it left out so
/// that workers that died together do not come back together.
fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled
        .min(BACKOFF_MAX)
        .mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        for (failures, most) in [(1, 200), (2, 400), (3, 800), (9, 30_000), (40, 30_000)] {
            let most = Duration::from_millis(most);
            let wait = backoff(failures);
            assert!(wait <= most && wait >= most / 2, "{failures}: {wait:?}");
        }
    }
}
