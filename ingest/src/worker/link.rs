//! The connection to the server.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, metadata::MetadataValue, transport::Endpoint};

use super::{WorkerOrder, proto as pb, wire};
use crate::{
    observe::{
        Flow, FrameNo, Observation, ObservationSink, ResumePoint, SinkError, mask_credentials,
    },
    source::StopToken,
};
use pb::{ingest_service_client::IngestServiceClient, observe_request, observe_response};

/// Largest message: a revision with its crops is far smaller.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Messages on their way to the socket; reports that find no room are dropped.
const OUTBOX: usize = 64;
/// The server must answer the first message in this time.
const WELCOME_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The server writes with a group commit; it may be busy with others.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The first message of a run.
pub(super) struct Greeting {
    pub(super) source_id: u64,
    pub(super) contract: String,
    pub(super) pipeline: String,
}

/// What the server has said so far, shared by the pipeline's thread and the connection's.
pub(super) struct Link {
    state: Mutex<LinkState>,
    changed: Condvar,
    stop: StopToken,
}

#[derive(Default)]
struct LinkState {
    acknowledged: u64,
    stopped: bool,
    broken: Option<String>,
}

impl Link {
    pub(super) fn new(stop: StopToken) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            stop,
        }
    }

    /// Why the connection is over, if it is.
    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    fn update(&self, change: impl FnOnce(&mut LinkState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn break_off(&self, why: String) {
        self.update(|state| {
            state.broken.get_or_insert(why);
        });
        self.stop.request();
    }

    /// Waits until everything up to `number` is acknowledged.
    fn wait_for(&self, number: u64) -> Result<(), String> {
        let mut state = self.lock();
        loop {
            if state.acknowledged >= number {
                return Ok(());
            }
            if let Some(why) = &state.broken {
                return Err(why.clone());
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends observations to the server.
pub(super) struct LinkSink {
    outbox: mpsc::Sender<pb::ObserveRequest>,
    link: Arc<Link>,
    window: u64,
    sent: u64,
}

impl LinkSink {
    /// Waits until the server has acknowledged the last message.
    pub(super) fn wait_for_last_ack(self) -> Result<(), String> {
        self.link.wait_for(self.sent)
    }

    fn send(&mut self, message: observe_request::Message) -> Result<Flow, SinkError> {
        let number = self.sent + 1;
        self.link
            .wait_for(number.saturating_sub(self.window))
            .map_err(SinkError::Gone)?;
        let request = pb::ObserveRequest {
            number,
            message: Some(message),
        };
        if self.outbox.blocking_send(request).is_err() {
            let why = self
                .link
                .broken()
                .unwrap_or_else(|| "the stream is closed".to_owned());
            return Err(SinkError::Gone(why));
        }
        self.sent = number;
        Ok(self.flow())
    }

    fn flow(&self) -> Flow {
        if self.link.lock().stopped {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

impl ObservationSink for LinkSink {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        match observation {
            Observation::Track(track) => {
                self.send(observe_request::Message::Track(wire::track(track)))
            }
            Observation::Checkpoint {
                complete_up_to,
                frame,
            } => {
                let checkpoint = pb::Checkpoint {
                    complete_up_to: Some(wire::time(complete_up_to)),
                    complete_up_to_frame: frame.signed(),
                };
                self.send(observe_request::Message::Checkpoint(checkpoint))
            }
            Observation::Report(report) => {
                let message = Some(observe_request::Message::Report(wire::report(report)));
                // The next report says it all again.
                let _ = self
                    .outbox
                    .try_send(pb::ObserveRequest { number: 0, message });
                match self.link.broken() {
                    Some(why) => Err(SinkError::Gone(why)),
                    None => Ok(self.flow()),
                }
            }
            Observation::Finished(finished) => {
                self.send(observe_request::Message::Finished(wire::finished(finished)))
            }
        }
    }
}

/// Connects, says hello, and waits for the welcome. Returns where to begin, and where to report.
pub(super) fn connect(
    order: &WorkerOrder,
    greeting: Greeting,
    link: &Arc<Link>,
) -> Result<(Option<ResumePoint>, LinkSink), String> {
    let endpoint = Endpoint::from_shared(order.endpoint.clone())
        .map_err(|why| {
            format!(
                "'{}' is no address: {why}",
                mask_credentials(&order.endpoint)
            )
        })?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let token = MetadataValue::try_from(order.token.as_str())
        .map_err(|_| "the worker's token has characters that cannot be sent".to_owned())?;
    let (outbox, inbox) = mpsc::channel(OUTBOX);
    let hello = pb::Hello {
        source_id: greeting.source_id,
        contract: greeting.contract,
        pipeline: greeting.pipeline,
    };
    let first = pb::ObserveRequest {
        number: 0,
        message: Some(observe_request::Message::Hello(hello)),
    };
    outbox
        .try_send(first)
        .map_err(|why| format!("the first message cannot be sent: {why}"))?;
    let mut request = Request::new(ReceiverStream::new(inbox));
    request
        .metadata_mut()
        .insert("x-rollcall-worker-token", token);
    if let Some(key) = &order.key {
        let mut bearer = MetadataValue::try_from(format!("Bearer {key}"))
            .map_err(|_| "the worker's key has characters that cannot be sent".to_owned())?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
    }

    let (welcomed, welcome) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("no runtime for the connection: {why}"))?;
    let shared = Arc::clone(link);
    std::thread::Builder::new()
        .name("link".to_owned())
        .spawn(move || runtime.block_on(talk(endpoint, request, welcomed, &shared)))
        .map_err(|why| format!("no thread for the connection: {why}"))?;

    let welcome = welcome.blocking_recv().map_err(|_| {
        link.broken()
            .unwrap_or_else(|| "closed without a welcome".to_owned())
    })?;
    let resume = resume_point(&welcome)?;
    let window = u64::from(welcome.window.max(1));
    Ok((
        resume,
        LinkSink {
            outbox,
            link: Arc::clone(link),
            window,
            sent: 0,
        },
    ))
}

fn resume_point(welcome: &pb::Welcome) -> Result<Option<ResumePoint>, String> {
    let Some(from) = &welcome.resume_from else {
        return Ok(None);
    };
    let time = wire::media_time(from);
    let frame = u64::try_from(welcome.resume_from_frame).ok();
    match (time, frame) {
        (Some(time), Some(frame)) => Ok(Some(ResumePoint {
            time,
            frame: FrameNo::new(frame),
        })),
        _ => Err("the server's resume point is no place in a source".to_owned()),
    }
}

/// Reads what the server says until the stream is over.
async fn talk(
    endpoint: Endpoint,
    request: Request<ReceiverStream<pb::ObserveRequest>>,
    welcomed: oneshot::Sender<pb::Welcome>,
    link: &Link,
) {
    let greeted = tokio::time::timeout(WELCOME_WITHIN, greet(endpoint, request)).await;
    let mut answers = match greeted {
        Ok(Ok((answers, welcome))) => {
            // Nobody waits any more when the worker is leaving.
            let _ = welcomed.send(welcome);
            answers
        }
        Ok(Err(why)) => return link.break_off(why),
        Err(_) => {
            let seconds = WELCOME_WITHIN.as_secs();
            return link.break_off(format!("the server did not answer within {seconds} s"));
        }
    };
    loop {
        match answers.message().await {
            Ok(Some(pb::ObserveResponse {
                message: Some(message),
            })) => hear(message, link),
            Ok(Some(pb::ObserveResponse { message: None })) => {}
            Ok(None) => return link.break_off("the server closed the stream".to_owned()),
            Err(status) => return link.break_off(words(&status)),
        }
    }
}

async fn greet(
    endpoint: Endpoint,
    request: Request<ReceiverStream<pb::ObserveRequest>>,
) -> Result<(Streaming<pb::ObserveResponse>, pb::Welcome), String> {
    let channel = endpoint.connect().await.map_err(|why| {
        let cause = std::error::Error::source(&why).map(|cause| format!(": {cause}"));
        format!("it cannot be reached: {why}{}", cause.unwrap_or_default())
    })?;
    let mut client = IngestServiceClient::new(channel)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answers = client
        .observe(request)
        .await
        .map_err(|status| words(&status))?;
    let mut answers = answers.into_inner();
    match answers
        .message()
        .await
        .map_err(|status| words(&status))?
        .and_then(|a| a.message)
    {
        Some(observe_response::Message::Welcome(welcome)) => Ok((answers, welcome)),
        Some(observe_response::Message::Stop(stop)) => {
            Err(format!("the server refused: {}", stop.reason))
        }
        Some(observe_response::Message::Ack(_)) | None => {
            Err("the server did not begin with a welcome".to_owned())
        }
    }
}

fn hear(message: observe_response::Message, link: &Link) {
    match message {
        observe_response::Message::Ack(ack) => {
            link.update(|state| state.acknowledged = state.acknowledged.max(ack.number));
        }
        observe_response::Message::Stop(stop) => {
            tracing::info!(reason = stop.reason, "the server says stop");
            link.update(|state| state.stopped = true);
            link.stop.request();
        }
        observe_response::Message::Welcome(_) => {
            link.break_off("the server said welcome twice".to_owned());
        }
    }
}

fn words(status: &tonic::Status) -> String {
    mask_credentials(&format!("{:?}: {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests;
