//! `IngestService`: the door for observations.

use super::observe_check::{Checked, Checker, Unfit};
use crate::access::Caller;
use crate::core::{Observed, Run, SYSTEM, SourceChange, SourceRow, WriteError};
use crate::edge::{Edge, check_contract};
use crate::error::ApiError;
use crate::pb::{
    self, SourceKind, SourceState, observe_request::Message, observe_response as response,
};
use crate::supervisor::is_final;
use crate::time::{duration, duration_us};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The header with which a worker of this server proves itself.
pub(super) const TOKEN_HEADER: &str = "x-rollcall-worker-token";
/// Bytes of messages that wait for the writer at most; reading stops beyond it.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Acknowledgements that wait for a slow caller.
const REPLIES_MAX: usize = 16;

/// The door for observations.
#[derive(Clone, Debug)]
pub(crate) struct Ingest(pub Arc<Edge>);

type Reply = Result<pb::ObserveResponse, Status>;

#[tonic::async_trait]
impl pb::ingest_service_server::IngestService for Ingest {
    type ObserveStream = ReceiverStream<Reply>;

    async fn observe(
        &self,
        request: Request<Streaming<pb::ObserveRequest>>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let token = request
            .metadata()
            .get(TOKEN_HEADER)
            .and_then(|t| t.to_str().ok());
        let token = token.map(str::to_owned);
        let caller = Caller::current();
        let (replies, stream) = mpsc::channel(REPLIES_MAX);
        let edge = Arc::clone(&self.0);
        let messages = request.into_inner();
        // The stream opens at once: the caller sends Hello and waits for Welcome on it.
        tokio::spawn(async move {
            if let Err(error) = observe(&edge, &caller, token, messages, &replies).await {
                let _ = replies.send(Err(error)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn reply(message: response::Message) -> Reply {
    Ok(pb::ObserveResponse {
        message: Some(message),
    })
}

/// Notes a run that broke off because nothing can be written: its worker is not to blame.
fn refused(edge: &Edge, source: u64, error: WriteError) -> ApiError {
    if let WriteError::ReadOnly { .. } | WriteError::Switching = error {
        edge.sources.writes_refused(source);
    }
    error.into()
}

fn violation(what: &str) -> ApiError {
    WriteError::Protocol {
        what: what.to_owned(),
    }
    .into()
}

async fn observe(
    edge: &Arc<Edge>,
    caller: &Caller,
    token: Option<String>,
    mut messages: Streaming<pb::ObserveRequest>,
    replies: &mpsc::Sender<Reply>,
) -> Result<(), Status> {
    if edge.shutdown.is_set() {
        return Err(ApiError::ShuttingDown.into());
    }
    let first = tokio::select! {
        first = messages.message() => first?,
        () = edge.shutdown.wait() => return Err(ApiError::ShuttingDown.into()),
    };
    let Some(pb::ObserveRequest {
        message: Some(Message::Hello(hello)),
        ..
    }) = first
    else {
        return Err(violation("the first message is not Hello").into());
    };
    caller.check_source(hello.source_id)?;
    let row = edge.source(hello.source_id).await?;
    if !edge.sources.admits(row.id, row.kind, token.as_deref()) {
        return Err(ApiError::WrongWorker { id: row.id }.into());
    }
    // Before the look at the contract: a switch from here on ends the run.
    let cut = edge.migrations.cut();
    let models = edge.in_service();
    check_contract(&hello.contract, &models.collection.contract)?;
    let run = edge.core.begin_run(row.id, hello.pipeline).await;
    let run = run.map_err(|error| refused(edge, row.id, error))?;
    let stop = edge.sources.stream_opened(row.id);
    let stream = Stream {
        checker: Checker::new(models.collection.dimension),
        edge: Arc::clone(edge),
        state: row.state,
        row,
        run,
        waiting: Vec::new(),
        waiting_bytes: 0,
        received: 0,
        acknowledged: 0,
        finished: false,
        cut,
    };
    stream.run(messages, replies, stop).await
}

/// One run.
struct Stream {
    edge: Arc<Edge>,
    row: SourceRow,
    run: Run,
    checker: Checker,
    /// As recorded last.
    state: SourceState,
    /// Checked messages that the writer has not got yet.
    waiting: Vec<Observed>,
    waiting_bytes: usize,
    /// Number of the last message received.
    received: u64,
    acknowledged: u64,
    finished: bool,
    /// Changes when the collection goes over to another model.
    cut: watch::Receiver<()>,
}

impl Stream {
    async fn run(
        mut self,
        messages: Streaming<pb::ObserveRequest>,
        replies: &mpsc::Sender<Reply>,
        stop: watch::Receiver<Option<String>>,
    ) -> Result<(), Status> {
        let welcome = pb::Welcome {
            resume_from: self.run.resume_from_us.map(duration),
            resume_from_frame: self.run.resume_from_frame,
            window: self.edge.config.ingest.window,
            sequence: self.run.sequence,
        };
        let result = match self.greet(replies, welcome).await {
            Ok(true) => self.exchange(messages, replies, stop).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        let id = self.row.id;
        self.edge.core.end_run(id, self.run.id).await;
        if !self.finished {
            self.cut_off().await;
        }
        self.edge.sources.stream_closed(id);
        result
    }

    /// Sends Welcome; `false` if the caller has gone.
    async fn greet(
        &mut self,
        replies: &mpsc::Sender<Reply>,
        welcome: pb::Welcome,
    ) -> Result<bool, ApiError> {
        if self.row.kind == SourceKind::Remote {
            // A sender that reports its own states will correct it.
            self.record(SourceState::Running, pb::SourceError::default(), 0)
                .await?;
        }
        Ok(replies
            .send(reply(response::Message::Welcome(welcome)))
            .await
            .is_ok())
    }

    /// Takes messages and gives acknowledgements until the run is over. One batch is with the
    /// writer at a time; what arrives meanwhile makes the next, so the order is kept and a busy
    /// stream is committed in groups.
    async fn exchange(
        &mut self,
        mut messages: Streaming<pb::ObserveRequest>,
        replies: &mpsc::Sender<Reply>,
        mut stop: watch::Receiver<Option<String>>,
    ) -> Result<(), Status> {
        let edge = Arc::clone(&self.edge);
        let (id, run) = (self.row.id, self.run.id);
        let window = u64::from(edge.config.ingest.window);
        let mut cut = self.cut.clone();
        let (mut open, mut told_to_stop) = (true, false);
        let mut writing = None;
        loop {
            if writing.is_none() && !self.waiting.is_empty() {
                let batch = std::mem::take(&mut self.waiting);
                self.waiting_bytes = 0;
                let (core, up_to) = (edge.core.clone(), self.received);
                let ends = batch
                    .iter()
                    .any(|item| matches!(item, Observed::Finished(_)));
                writing = Some(Box::pin(async move {
                    (core.observe(id, run, batch).await, up_to, ends)
                }));
            }
            if writing.is_none() && (!open || self.finished) {
                return Ok(());
            }
            let room = self.waiting_bytes < WAITING_BYTES_MAX;
            tokio::select! {
                // Acknowledgements first: they make room in the caller's window.
                biased;
                (result, up_to, ends) = async { writing.as_mut().expect("guarded").await }, if writing.is_some() => {
                    writing = None;
                    let sequence = result.map_err(|error| refused(&edge, id, error))?;
                    self.acknowledged = up_to;
                    if ends {
                        self.finished = true;
                        self.read_state().await;
                    }
                    let ack = pb::Ack { number: up_to, sequence };
                    if replies.send(reply(response::Message::Ack(ack))).await.is_err() {
                        open = false;
                    }
                }
                () = edge.shutdown.wait() => return Err(ApiError::ShuttingDown.into()),
                Ok(()) = cut.changed() => {
                    return Err(refused(&edge, id, WriteError::Switching).into());
                }
                () = stopped(&mut stop), if !told_to_stop => {
                    told_to_stop = true;
                    let reason = stop.borrow().clone().unwrap_or_default();
                    if replies.send(reply(response::Message::Stop(pb::Stop { reason }))).await.is_err() {
                        open = false;
                    }
                }
                message = messages.message(), if open && room => match message? {
                    None => open = false,
                    Some(message) => {
                        self.take(message).await?;
                        if self.received - self.acknowledged > window {
                            let what = format!("more than {window} messages without acknowledgement");
                            return Err(violation(&what).into());
                        }
                    }
                },
            }
        }
    }

    /// Takes one message.
    async fn take(&mut self, request: pb::ObserveRequest) -> Result<(), ApiError> {
        let number = request.number;
        match self.checker.check(request) {
            Ok(Checked::Report(report)) => self.report(&report).await,
            Ok(Checked::Observed(observed)) => {
                self.received = number;
                self.waiting_bytes += weight(&observed);
                self.waiting.push(*observed);
                Ok(())
            }
            Err(Unfit::Protocol(what)) => Err(WriteError::Protocol { what }.into()),
            Err(Unfit::Embedding(what)) => Err(WriteError::Embedding { what }.into()),
        }
    }

    /// Keeps a report, and records the state it gives if that is another one.
    async fn report(&mut self, report: &pb::Report) -> Result<(), ApiError> {
        self.edge.sources.report(self.row.id, report);
        match report.state() {
            state @ (SourceState::Connecting | SourceState::Running | SourceState::Stalled) => {
                let error = report.error.clone().unwrap_or_default();
                let position = report.position.as_ref().map_or(0, duration_us);
                self.record(state, error, position).await
            }
            // The end of a run is told by Finished alone.
            SourceState::Unspecified
            | SourceState::Queued
            | SourceState::Ended
            | SourceState::Stopped
            | SourceState::Failed => Ok(()),
        }
    }

    async fn record(
        &mut self,
        state: SourceState,
        error: pb::SourceError,
        position_us: i64,
    ) -> Result<(), ApiError> {
        if state == self.state {
            return Ok(());
        }
        let change = SourceChange {
            source_id: self.row.id,
            state,
            reason: error.reason,
            message: error.message,
            position_us,
            author: SYSTEM.to_owned(),
        };
        let (edge, id) = (&self.edge, self.row.id);
        let recorded = edge.core.set_source_state(change).await;
        recorded.map_err(|error| refused(edge, id, error))?;
        self.state = state;
        edge.sources.state_changed(id, state);
        Ok(())
    }

    /// Shows the state that Finished has brought.
    async fn read_state(&self) {
        if let Ok(row) = self.edge.source(self.row.id).await {
            self.edge.sources.state_changed(row.id, row.state);
        }
    }

    /// The stream broke: what its own workers do about it the supervisor records; a remote source
    /// waits.
    async fn cut_off(&mut self) {
        if self.row.kind != SourceKind::Remote || self.edge.shutdown.is_set() {
            return;
        }
        let finished = self
            .edge
            .source(self.row.id)
            .await
            .is_ok_and(|row| is_final(row.state));
        if finished {
            return;
        }
        let error = pb::SourceError {
            reason: "DISCONNECTED".to_owned(),
            message: "the run broke off; it goes on when its sender comes back".to_owned(),
            position: None,
        };
        if let Err(error) = self.record(SourceState::Stalled, error, 0).await {
            tracing::warn!(source = self.row.id, %error, "a broken run could not be recorded");
        }
    }
}

/// Waits until the run is asked to stop; for ever if nobody can ask any more.
async fn stopped(stop: &mut watch::Receiver<Option<String>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Roughly the bytes that an item takes.
fn weight(observed: &Observed) -> usize {
    match observed {
        Observed::Track(track) => {
            let exemplars = track.exemplars.iter();
            let bytes = exemplars.map(|e| e.embedding.len() + e.crop.len() + e.loose_crop.len());
            bytes.sum::<usize>() + track.faces.len() * 64
        }
        Observed::Checkpoint(_) | Observed::Finished(_) => 64,
    }
}
