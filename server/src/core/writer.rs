//! The writer's thread: takes commands, commits them in groups, publishes, answers.

use super::alert;
use super::apply::{Failure, Truth};
use super::catalog::{Earlier, RequestKind};
use super::command::{Action, Command, Done, NewSource, SourceChange, WriteError, WriteState};
use super::contracts::Contracts;
use super::edit;
use super::erase;
use super::index_folder;
use super::migrate;
use super::observe::Runs;
use super::replay::{LogPlace, OpenError, Opening};
use super::{BATCH_COMMANDS_MAX, Committed, CoreMetrics, CoreOptions, SYSTEM, Shared};
use crate::time::now_us;
use rollcall_log::AppendError;
use rollcall_log::record::{
    Body, Record, ReviewProposed, SourceAdded, SourceKind, SourceSettings, SourceState,
    SourceStateChanged,
};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// First pause before the log is opened again after a failure; doubles up to the second.
const REOPEN_FIRST: Duration = Duration::from_millis(500);
const REOPEN_LONGEST: Duration = Duration::from_secs(30);
/// Records between two checkpoints of the index: what a start after a crash has to apply again.
const CHECKPOINT_RECORDS: u64 = 10_000;

/// Why a command was not carried out.
pub(super) enum Refusal {
    /// The command is at fault; the writer goes on.
    Command(WriteError),
    /// Log or views are: the writer goes back to the last commit.
    Writer(Failure),
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        Self::Command(error)
    }
}

impl<E: Into<Failure>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Writer(error.into())
    }
}

type Answer = (
    oneshot::Sender<Result<Done, WriteError>>,
    Result<Done, WriteError>,
);

/// The one who writes.
pub(super) struct Writer {
    /// `None` while the log is being opened again.
    pub(super) truth: Option<Truth>,
    runs: Runs,
    options: CoreOptions,
    metrics: CoreMetrics,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Command>,
    closing: bool,
    /// The sequence of the index's last checkpoint.
    checkpointed: u64,
    /// Deletes what is not needed any more.
    cleaner: Option<JoinHandle<()>>,
    /// Where the log is opened again.
    place: LogPlace,
    /// Records that were given to the disk, whether it took them or not.
    #[cfg(test)]
    pub(super) issued: Vec<Record>,
}

impl Writer {
    /// A writer that does nothing yet.
    pub(super) fn new(
        (truth, place): (Truth, LogPlace),
        options: CoreOptions,
        metrics: CoreMetrics,
        shared: &Arc<Shared>,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let runs = Runs::new(
            options.same_cosine,
            options.dimension,
            metrics.clone(),
            Arc::clone(&shared.scenes),
        );
        let checkpointed = truth.log.durable_sequence();
        let writer = Self {
            truth: Some(truth),
            runs,
            options,
            metrics,
            shared: Arc::clone(shared),
            inbox,
            closing: false,
            checkpointed,
            cleaner: None,
            place,
            #[cfg(test)]
            issued: Vec::new(),
        };
        writer.show_sizes();
        writer
    }

    /// Gives it a thread of its own.
    pub(super) fn start(mut self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || self.run())
    }

    fn run(&mut self) {
        while !self.closing {
            let Some(first) = self.inbox.blocking_recv() else {
                break;
            };
            let mut batch = vec![first];
            while batch.len() < BATCH_COMMANDS_MAX {
                let Ok(next) = self.inbox.try_recv() else {
                    break;
                };
                batch.push(next);
            }
            self.metrics.queue_length.set(gauge(self.inbox.len()));
            if let Err(failure) = self.group(batch) {
                self.recover(&failure);
            }
        }
        // Whoever still waits learns from the dropped channel that the writer has gone.
        self.inbox.close();
        self.end();
    }

    /// Leaves the views so that the next start has nothing to catch up with.
    pub(super) fn end(&mut self) {
        if let Some(truth) = self.truth.as_mut().filter(|t| t.uncommitted.is_empty()) {
            truth.end(&self.options.data);
        }
        self.join_cleaner();
    }

    /// Carries out a batch and answers it, after its one commit.
    pub(super) fn group(&mut self, batch: Vec<Command>) -> Result<(), Failure> {
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        let mut failure = None;
        let mut waiting = batch.into_iter();
        for command in waiting.by_ref() {
            match self.carry_out(command.action) {
                Ok(done) => answers.push((command.reply, Ok(done))),
                Err(Refusal::Command(error)) => answers.push((command.reply, Err(error))),
                Err(Refusal::Writer(error)) => {
                    answers.push((command.reply, Ok(Done::Sequence(0))));
                    failure = Some(error);
                    break;
                }
            }
        }
        let failure = failure.or_else(|| self.commit().err());
        let refused = failure.as_ref().map(read_only);
        for (reply, answer) in answers {
            let answer = match (&refused, answer) {
                (Some(refused), Ok(_)) => Err(refused.clone()),
                (_, answer) => answer,
            };
            // A caller that has gone needs no answer.
            let _ = reply.send(answer);
        }
        if let Some(refused) = refused {
            for command in waiting {
                let _ = command.reply.send(Err(refused.clone()));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn carry_out(&mut self, action: Action) -> Result<Done, Refusal> {
        let Some(truth) = self.truth.as_mut() else {
            return Err(WriteError::Closed.into());
        };
        if !matches!(action, Action::Close) {
            alert::judge_end(truth)?;
        }
        match action {
            Action::AddSource(new) => add_source(truth, new),
            Action::SetSourceState(change) => {
                set_source_state(truth, &mut self.runs, change).map(Done::Sequence)
            }
            Action::Edit(edit) => edit::carry_out(truth, edit).map(Done::Sequence),
            Action::Alert(command) => alert::carry_out(truth, command),
            Action::Propose(proposed) => propose(truth, proposed).map(Done::Sequence),
            Action::BeginRun {
                source_id,
                pipeline,
            } => self.runs.begin(truth, source_id, pipeline).map(Done::Run),
            Action::Observe {
                source_id,
                run,
                items,
            } => self
                .runs
                .observe(truth, source_id, run, items)
                .map(Done::Sequence),
            Action::EndRun { source_id, run } => {
                self.runs.end(source_id, run);
                Ok(Done::Sequence(0))
            }
            Action::Migrate(step) => {
                migrate::carry_out(truth, &mut self.runs, &mut self.options, step)
                    .map(Done::Sequence)
            }
            Action::Erase(command) => {
                erase::carry_out(truth, &self.options, command).map(Done::Sequence)
            }
            Action::Close => {
                self.closing = true;
                Ok(Done::Sequence(0))
            }
        }
    }

    /// Syncs, makes the catalog visible, publishes the view, tells the subscribers.
    fn commit(&mut self) -> Result<(), Failure> {
        let Some(truth) = self.truth.as_mut() else {
            return Ok(());
        };
        if truth.uncommitted.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        self.issued.extend(truth.uncommitted.iter().cloned());
        let begin = Instant::now();
        let sequence = truth.log.sync()?;
        self.metrics
            .sync_seconds
            .observe(begin.elapsed().as_secs_f64());
        truth.catalog.commit(sequence)?;
        self.shared.view.store(Arc::new(truth.view()));
        let records = std::mem::take(&mut truth.uncommitted);
        self.metrics
            .records
            .inc_by(u64::try_from(records.len()).unwrap_or(u64::MAX));
        self.metrics
            .commit_records
            .observe(f64::from(u32::try_from(records.len()).unwrap_or(u32::MAX)));
        let events = records
            .iter()
            .flat_map(|record| self.shared.events.of(record))
            .collect();
        self.runs.committed(&records, now_us());
        for record in &records {
            if let Some(Body::Edited(edited)) = &record.body {
                let kind = edit::kind_name(edited.kind());
                self.metrics.operations.with_label_values(&[kind]).inc();
            }
        }
        self.metrics.count_alerts(&records);
        // No subscriber is no fault.
        let _ = self
            .shared
            .commits
            .send(Arc::new(Committed { sequence, events }));
        if sequence >= self.checkpointed.saturating_add(CHECKPOINT_RECORDS) {
            truth.checkpoint();
            self.checkpointed = sequence;
        }
        if records
            .iter()
            .any(|record| Contracts::concerns(record.body.as_ref()))
        {
            // Durable now: an index that was dropped is not needed any more.
            self.clear_away();
        }
        self.show_sizes();
        Ok(())
    }

    /// Deletes what belongs to a contract that was dropped. That takes time, and nobody waits for it.
    fn clear_away(&mut self) {
        let Some(truth) = self.truth.as_mut() else {
            return;
        };
        let contracts = truth.catalog.contracts();
        let dropped = truth.other.take_if(|_| contracts.other().is_none());
        let folders = index_folder::unneeded(&self.options.data, contracts);
        let earlier = self.cleaner.take();
        let clean = move || {
            // One that panicked has left a folder: it is deleted at the next start.
            let _ = earlier.map(std::thread::JoinHandle::join);
            drop(dropped);
            folders
                .iter()
                .for_each(|folder| index_folder::delete(folder));
        };
        let cleaner = std::thread::Builder::new().name("cleaner".to_owned());
        match cleaner.spawn(clean) {
            Ok(cleaner) => self.cleaner = Some(cleaner),
            Err(error) => tracing::warn!(%error, "old indexes are deleted at the next start"),
        }
    }

    fn join_cleaner(&mut self) {
        if let Some(cleaner) = self.cleaner.take() {
            // One that panicked has left a folder: it is deleted at the next start.
            let _ = cleaner.join();
        }
    }

    fn show_sizes(&self) {
        let Some(truth) = self.truth.as_ref() else {
            return;
        };
        let stats = truth.index.newest().stats();
        self.metrics.identities.set(gauge(stats.identities));
        self.metrics.faces.set(gauge(stats.faces));
        let other = truth.other.as_ref();
        let other = other.map_or(0, |index| index.newest().stats().bytes);
        self.metrics.index_bytes.set(gauge(stats.bytes + other));
        let durable = truth.log.durable_sequence();
        self.metrics
            .durable_sequence
            .set(i64::try_from(durable).unwrap_or(i64::MAX));
        self.metrics
            .visible_sequence
            .set(i64::try_from(durable).unwrap_or(i64::MAX));
        let size = truth.log.reader().size();
        for (kind, bytes) in [("records", size.record_bytes), ("blobs", size.blob_bytes)] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.metrics.log_bytes.with_label_values(&[kind]).set(bytes);
        }
    }

    /// After a failure: refuse writes, let go of the log, open it again (with pauses that grow) and go on
    /// from its last durable record. Searches go on from the published view.
    fn recover(&mut self, failure: &Failure) {
        self.let_go(failure);
        let mut pause = REOPEN_FIRST;
        while !self.closing {
            self.answer_with_refusal(pause);
            if self.closing {
                return;
            }
            match self.reopen() {
                Ok(truth) => {
                    self.resume(truth);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the log still cannot be opened");
                    pause = (pause * 2).min(REOPEN_LONGEST);
                }
            }
        }
    }

    /// Refuses writes and lets go of the log, which gives its lock back.
    pub(super) fn let_go(&mut self, failure: &Failure) {
        tracing::error!(error = %failure, "a commit failed; writes are refused until the log can be opened again");
        self.refuse_writes(read_only(failure));
        self.truth = None;
        self.runs.clear();
    }

    /// As at the start, but for a switch of contracts: whether the log has it or not, that is so.
    pub(super) fn reopen(&mut self) -> Result<Truth, OpenError> {
        let opening = Opening::on(self.place.clone(), &self.options.data)?;
        migrate::go_over(opening.contracts(), &mut self.runs, &mut self.options);
        opening.finish(&self.options)
    }

    pub(super) fn resume(&mut self, truth: Truth) {
        let view = truth.view();
        let from = self.shared.view.load().sequence;
        self.shared.log.store(Arc::new(truth.log.reader()));
        self.shared.view.store(Arc::new(view));
        // What became durable although its commit failed is told to the subscribers now.
        let reader = truth.log.reader();
        let events: Vec<_> = self
            .shared
            .events
            .after(&reader, from)
            .filter_map(Result::ok)
            .collect();
        let sequence = reader.durable_sequence();
        self.truth = Some(truth);
        let _ = self
            .shared
            .commits
            .send(Arc::new(Committed { sequence, events }));
        self.shared.state.store(Arc::new(WriteState::Ok));
        self.metrics.read_only.set(0);
        self.show_sizes();
        tracing::info!(sequence, "the log is open again; writes are taken");
    }

    fn refuse_writes(&self, refusal: WriteError) {
        if let WriteError::ReadOnly { reason, message } = refusal {
            self.shared
                .state
                .store(Arc::new(WriteState::ReadOnly { reason, message }));
        }
        self.metrics.read_only.set(1);
    }

    /// Answers all commands with the refusal for the length of the pause.
    fn answer_with_refusal(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.closing {
            match self.inbox.try_recv() {
                Ok(command) => {
                    if matches!(command.action, Action::Close) {
                        self.closing = true;
                    }
                    let _ = command.reply.send(Err(self.refusal()));
                }
                Err(mpsc::error::TryRecvError::Disconnected) => self.closing = true,
                Err(mpsc::error::TryRecvError::Empty) => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
        }
    }

    fn refusal(&self) -> WriteError {
        match WriteState::clone(&self.shared.state.load()) {
            WriteState::ReadOnly { reason, message } => WriteError::ReadOnly { reason, message },
            WriteState::Ok => WriteError::Closed,
        }
    }
}

fn read_only(failure: &Failure) -> WriteError {
    let reason = match failure {
        Failure::Log(AppendError::Full { .. }) => "LOG_FULL",
        // The catalog lies on the same disk.
        Failure::Catalog(error) if error.is_full() => "LOG_FULL",
        Failure::Log(_) | Failure::Read(_) | Failure::Catalog(_) | Failure::Index(_) => {
            "LOG_FAILED"
        }
    };
    WriteError::ReadOnly {
        reason,
        message: failure.to_string(),
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A record with its time and author set.
pub(super) fn record(author: &str, request_id: &str, body: Body) -> Record {
    Record {
        sequence: 0,
        time_us: now_us(),
        author: if author.is_empty() {
            "anonymous"
        } else {
            author
        }
        .to_owned(),
        request_id: request_id.to_owned(),
        body: Some(body),
    }
}

fn add_source(truth: &mut Truth, new: NewSource) -> Result<Done, Refusal> {
    if let Some(earlier) = repeated(truth, &new.request_id, RequestKind::AddSource)? {
        return Ok(Done::Id(earlier.result));
    }
    if let Some(id) = truth.catalog.source_in_the_way(&new.uri)? {
        return Err(WriteError::SourceExists { id, uri: new.uri }.into());
    }
    let id = truth.catalog.ids().source + 1;
    let kind = match new.kind {
        crate::pb::SourceKind::Live => SourceKind::Live,
        crate::pb::SourceKind::Remote => SourceKind::Remote,
        crate::pb::SourceKind::File | crate::pb::SourceKind::Unspecified => SourceKind::File,
    };
    let added = SourceAdded {
        source_id: id,
        uri: new.uri,
        name: new.name,
        kind: kind.into(),
        settings: Some(SourceSettings {
            realtime: new.realtime,
        }),
    };
    truth.write(
        record(&new.author, &new.request_id, Body::SourceAdded(added)),
        Vec::new(),
    )?;
    Ok(Done::Id(id))
}

fn set_source_state(
    truth: &mut Truth,
    runs: &mut Runs,
    change: SourceChange,
) -> Result<u64, Refusal> {
    let id = change.source_id;
    let Some(source) = truth.catalog.source(id)? else {
        return Err(WriteError::SourceNotFound { id }.into());
    };
    let state = SourceState::try_from(i32::from(change.state)).unwrap_or_default();
    let same = source.state == state && change.reason.is_empty();
    if same || is_final(source.state) {
        // Nothing new, or over already: what is recorded stays.
        return Ok(truth.log.appended_sequence());
    }
    if is_final(state) {
        runs.close_open_tracks(truth, id)?;
        runs.forget(id);
    }
    let body = Body::SourceStateChanged(SourceStateChanged {
        source_id: id,
        state: state.into(),
        reason: change.reason,
        message: change.message,
        position_us: change.position_us,
    });
    Ok(truth.write(record(&change.author, "", body), Vec::new())?)
}

/// A proposal that waits already is not made again: 0.
fn propose(truth: &mut Truth, proposed: ReviewProposed) -> Result<u64, Refusal> {
    let (one, other) = (proposed.identity_id, proposed.other_identity_id);
    if truth.catalog.is_proposed(one, other)? {
        return Ok(0);
    }
    let body = Body::ReviewProposed(proposed);
    Ok(truth.write(record(SYSTEM, "", body), Vec::new())?)
}

pub(super) fn is_final(state: SourceState) -> bool {
    match state {
        SourceState::Ended | SourceState::Stopped | SourceState::Failed => true,
        SourceState::Unspecified
        | SourceState::Queued
        | SourceState::Connecting
        | SourceState::Running
        | SourceState::Stalled => false,
    }
}

/// What became of the request before. An id that stands for a request of another kind is refused.
pub(super) fn repeated(
    truth: &Truth,
    request_id: &str,
    kind: RequestKind,
) -> Result<Option<Earlier>, Refusal> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let earlier = truth.catalog.request(request_id, kind)?;
    match earlier.filter(|earlier| !earlier.same_kind) {
        Some(earlier) => Err(WriteError::RequestIdReused {
            request_id: request_id.to_owned(),
            sequence: earlier.sequence,
        }
        .into()),
        None => Ok(earlier),
    }
}
