use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status, transport::Server};

use super::*;
use crate::{
    fake::{FakeDetector, FakeEmbedder, paint_face},
    geometry::Rect,
    observe::MediaTime,
    picture::Picture,
    pipeline::{Pipeline, PipelineSettings, RunError, Vision},
    source::{Overflow, fake::ScriptedSource},
    worker::order::SourceMode,
};
use pb::ingest_service_server::{IngestService, IngestServiceServer};

/// What the fake server does with its caller.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Acknowledges in batches, as late as the window allows.
    Lazy,
    /// Says stop after the first message.
    Stops,
    /// Hangs up after the first message.
    HangsUp,
    /// Refuses the hello.
    Refuses,
}

#[derive(Clone)]
struct FakeServer {
    manner: Manner,
    window: u32,
    heard: Arc<Mutex<Vec<pb::ObserveRequest>>>,
    /// Most messages that were ever unacknowledged.
    unacknowledged: Arc<AtomicU64>,
}

type Answers = ReceiverStream<Result<pb::ObserveResponse, Status>>;

#[tonic::async_trait]
impl IngestService for FakeServer {
    type ObserveStream = Answers;

    async fn observe(
        &self,
        request: Request<Streaming<pb::ObserveRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let token = request.metadata().get("x-rollcall-worker-token");
        assert_eq!(token.and_then(|t| t.to_str().ok()), Some("t0ken"));
        if self.manner == Manner::Refuses {
            return Err(Status::failed_precondition("MODEL_MISMATCH"));
        }
        let (answer, answers) = mpsc::channel(64);
        let (server, mut messages) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let _ = server.converse(&mut messages, &answer).await;
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl FakeServer {
    async fn converse(
        &self,
        messages: &mut Streaming<pb::ObserveRequest>,
        answer: &mpsc::Sender<Result<pb::ObserveResponse, Status>>,
    ) -> Option<()> {
        let say = |message| {
            answer.send(Ok(pb::ObserveResponse {
                message: Some(message),
            }))
        };
        let hello = messages.message().await.ok()??;
        self.heard.lock().unwrap().push(hello);
        say(observe_response::Message::Welcome(pb::Welcome {
            resume_from: Some(wire::time(MediaTime::from_micros(400_000))),
            resume_from_frame: 10,
            window: self.window,
            sequence: 1,
        }))
        .await
        .ok()?;
        let mut acknowledged = 0;
        while let Some(request) = messages.message().await.ok()? {
            let number = request.number;
            let last = matches!(request.message, Some(observe_request::Message::Finished(_)));
            self.heard.lock().unwrap().push(request);
            if number == 0 {
                continue;
            }
            self.unacknowledged
                .fetch_max(number - acknowledged, Ordering::SeqCst);
            match self.manner {
                Manner::HangsUp => return None,
                Manner::Stops if number == 1 => {
                    let stop = pb::Stop {
                        reason: "enough".to_owned(),
                    };
                    say(observe_response::Message::Stop(stop)).await.ok()?;
                }
                Manner::Lazy | Manner::Stops | Manner::Refuses => {}
            }
            if last || number - acknowledged >= u64::from(self.window) {
                acknowledged = number;
                let ack = pb::Ack {
                    number,
                    sequence: number,
                };
                say(observe_response::Message::Ack(ack)).await.ok()?;
            }
        }
        None
    }
}

/// Runs a film of 50 frames with one face through a worker's link to a fake server.
fn check(manner: Manner, window: u32) -> (Result<(), String>, FakeServer) {
    let server = FakeServer {
        manner,
        window,
        heard: Arc::default(),
        unacknowledged: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = IngestServiceServer::new(server.clone());
    runtime.spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let outcome = run(endpoint);
    (outcome, server)
}

fn run(endpoint: String) -> Result<(), String> {
    let order = WorkerOrder {
        endpoint,
        token: "t0ken".to_owned(),
        key: Some("rk_worker-7_x".to_owned()),
        source_id: 7,
        uri: String::new(),
        kind: SourceMode::File,
        realtime: false,
        shots: crate::pipeline::ShotRule::default(),
        provider: crate::Provider::default(),
        gates: crate::pipeline::GateRule::default(),
        file_roots: Vec::new(),
        protocols: Vec::new(),
        resolver_command: Vec::new(),
        assets: std::path::PathBuf::new(),
        attributes: Vec::new(),
        detector: None,
        embedder: None,
        detect_sizes: Vec::new(),
        open_timeout_s: 1,
        read_timeout_s: 1,
    };
    let greeting = Greeting {
        source_id: 7,
        contract: "c".to_owned(),
        pipeline: "p".to_owned(),
    };
    let stop = StopToken::default();
    let link = Arc::new(Link::new(stop.clone()));
    let (resume, mut sink) = connect(&order, greeting, &link)?;
    assert_eq!(
        resume.map(|r| (r.time.micros(), r.frame.get())),
        Some((400_000, 10))
    );
    let mut picture = Picture::filled(320, 180, [90; 3]).unwrap();
    paint_face(&mut picture, Rect::new(100.0, 50.0, 60.0, 60.0), 0.0);
    let film = std::iter::repeat_n(Arc::new(picture), 100);
    let vision = Vision {
        detector: Box::new(FakeDetector),
        embedder: Box::new(FakeEmbedder),
        classifiers: Vec::new(),
    };
    let settings = PipelineSettings::default();
    let pipeline = Pipeline {
        settings,
        vision,
        overflow: Overflow::Wait,
        stop,
    };
    let source = ScriptedSource::new(film).resumed(resume.unwrap());
    match pipeline.run(Box::new(source), resume, &mut sink) {
        Ok(_) => sink.wait_for_last_ack(),
        Err(RunError::Sink(why)) => Err(why.to_string()),
        Err(RunError::Infer(why)) => panic!("{why}"),
    }
}

fn numbers(server: &FakeServer) -> Vec<u64> {
    server
        .heard
        .lock()
        .unwrap()
        .iter()
        .map(|r| r.number)
        .filter(|n| *n > 0)
        .collect()
}

#[test]
fn a_run_is_hello_then_numbered_messages_within_the_window() {
    for window in [1, 2, 100] {
        let (outcome, server) = check(Manner::Lazy, window);
        assert_eq!(outcome, Ok(()));
        let count = u64::try_from(numbers(&server).len()).unwrap();
        assert!(count >= 5, "opened, grown, closed, checkpoint, finished");
        assert_eq!(numbers(&server), (1..=count).collect::<Vec<_>>());
        assert!(server.unacknowledged.load(Ordering::SeqCst) <= u64::from(window));
        let heard = server.heard.lock().unwrap();
        let Some(observe_request::Message::Hello(hello)) = &heard[0].message else {
            panic!("{:?} is no hello", heard[0]);
        };
        assert_eq!(
            (
                hello.source_id,
                hello.contract.as_str(),
                hello.pipeline.as_str()
            ),
            (7, "c", "p")
        );
        let revision = |request: &pb::ObserveRequest| {
            let Some(observe_request::Message::Track(track)) = &request.message else {
                return None;
            };
            Some(track.revision)
        };
        let revisions: Vec<u32> = heard.iter().filter_map(revision).collect();
        assert_eq!(
            revisions,
            (1..=u32::try_from(revisions.len()).unwrap()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn told_to_stop_it_closes_and_says_so() {
    let (outcome, server) = check(Manner::Stops, 100);
    assert_eq!(outcome, Ok(()));
    let heard = server.heard.lock().unwrap();
    let last = heard.last().and_then(|request| {
        let Some(observe_request::Message::Finished(finished)) = &request.message else {
            return None;
        };
        Some(finished.state())
    });
    // The film is short: it may have been over before the word arrived.
    assert!(
        matches!(
            last,
            Some(pb::SourceState::Stopped | pb::SourceState::Ended)
        ),
        "{last:?}"
    );
}

#[test]
fn a_broken_stream_ends_the_run_with_an_error() {
    let (outcome, _) = check(Manner::HangsUp, 1);
    assert!(outcome.unwrap_err().contains("gone"));
    let (outcome, _) = check(Manner::Refuses, 1);
    assert!(outcome.unwrap_err().contains("MODEL_MISMATCH"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(
        run(format!("http://{nobody}"))
            .unwrap_err()
            .contains("cannot be reached")
    );
    assert!(run("no address".to_owned()).is_err());
}
