//! A server in this process, and a client that knows nothing but the API.

use prost::Message;
use rollcall_index::Embedding;
use rollcall_ingest::fake::{FakeDetector, FakeEmbedder, OtherEmbedder, embedding_of, paint_face};
use rollcall_ingest::{Embedder, FaceGates, ModelError, PhotoReader, Picture, Rect};
use rollcall_log::record::Model;
use rollcall_server::config::{Config, RepairMode};
use rollcall_server::pb::{self, observe_request, observe_response, watch_event};
use rollcall_server::{Collection, LoadedModels, Server, Vision};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

pub const CONTRACT: &str = "fake-1";
pub const SAME_COSINE: f32 = 0.5;

/// Settings for a server on free ports with its data in `folder`.
pub fn config(folder: &Path) -> Config {
    let mut config = Config {
        data: folder.join("data"),
        ..Config::default()
    };
    config.grpc.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.search.threads = 2;
    config.watch.heartbeat_ms = 60_000;
    config.ingest.worker_command = "/no/such/worker".into();
    config.repair.mode = RepairMode::Off;
    config
}

/// The embedder that collections begin with, and the one that they may go over to.
pub const EMBEDDER: &str = "fake";
pub const OTHER_EMBEDDER: &str = "other";
pub const OTHER_CONTRACT: &str = "fake-2";

/// Fake models: people are hues.
pub fn vision() -> Vision {
    Vision {
        assets: "/no/assets".into(),
        load: Arc::new(|embedder| match embedder.unwrap_or(EMBEDDER) {
            EMBEDDER => Ok(models(EMBEDDER, CONTRACT, FakeEmbedder)),
            OTHER_EMBEDDER => Ok(models(OTHER_EMBEDDER, OTHER_CONTRACT, OtherEmbedder)),
            "damaged" => Err(ModelError::Load {
                model: "damaged".to_owned(),
                why: "it is not one".to_owned(),
            }),
            missing => Err(ModelError::Missing {
                path: format!("/no/assets/models/{missing}.toml").into(),
            }),
        }),
    }
}

fn models<E: Embedder + Clone + Sync + 'static>(
    id: &str,
    contract: &str,
    embedder: E,
) -> LoadedModels {
    let (reader, alone) = (embedder.clone(), embedder.clone());
    LoadedModels {
        collection: Collection {
            contract: contract.to_owned(),
            detector: "fake".to_owned(),
            embedder: id.to_owned(),
            dimension: embedder.dimension(),
            same_cosine: SAME_COSINE,
        },
        embedder: Model {
            contract: contract.to_owned(),
            embedder: id.to_owned(),
            version: "1".to_owned(),
            dimension: u32::try_from(embedder.dimension()).unwrap(),
            same_cosine: SAME_COSINE,
            ..Model::default()
        },
        make_reader: Arc::new(move || {
            let (detector, embedder) = (Box::new(FakeDetector), Box::new(reader.clone()));
            Ok(PhotoReader::new(detector, embedder, FaceGates::default()))
        }),
        make_embedder: Arc::new(move || Ok(Box::new(alone.clone()))),
    }
}

/// Starts a server in a folder that another one has just left.
///
/// Tests share a process, and a worker that one test starts holds the locks of all others for the
/// moment between fork and exec: a folder may seem to be in use that is not.
pub async fn start(config: &Config, vision: Vision) -> Result<Server, String> {
    once_free(async || {
        let started = Server::start(config.clone(), vision.clone()).await;
        started.map_err(|error| error.to_string())
    })
    .await
}

/// Tries again while the folder seems to be in use.
pub async fn once_free<T>(attempt: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    for _ in 0..1000 {
        match attempt().await {
            Err(error) if error.contains("in use by another process") => {
                tokio::task::yield_now().await;
            }
            result => return result,
        }
    }
    attempt().await
}

/// A server and a client of it.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub server: Server,
    pub api: Api,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(edit: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        edit(&mut config);
        Self::on(folder, config).await
    }

    pub async fn on(folder: tempfile::TempDir, config: Config) -> Self {
        let server = start(&config, vision()).await.unwrap();
        let api = Api::connect(&server).await;
        Self {
            folder,
            server,
            api,
        }
    }
}

/// A client, perhaps with a key.
#[derive(Clone)]
pub struct Api {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Api {
    pub async fn connect(server: &Server) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc())).unwrap();
        Self {
            channel: endpoint.tcp_nodelay(true).connect().await.unwrap(),
            authorization: None,
        }
    }

    /// The same client with a key.
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            authorization: Some(format!("Bearer {key}").parse().unwrap()),
            ..self.clone()
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    /// A call of any kind with an empty message, up to the first answer.
    pub async fn knock(&self, method: &str) -> Result<(), Status> {
        let path: PathAndQuery = method.parse().unwrap();
        let messages = tokio_stream::iter([()]);
        let codec = ProstCodec::<(), ()>::default();
        let mut grpc = self.grpc().await;
        let answer = grpc.streaming(self.request(messages), path, codec);
        answer.await?.into_inner().message().await.map(drop)
    }

    /// A connection that takes little from the server before somebody reads it.
    pub async fn connect_narrowly(server: &Server) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc())).unwrap();
        let endpoint = endpoint.initial_stream_window_size(1024);
        Self {
            channel: endpoint.tcp_nodelay(true).connect().await.unwrap(),
            authorization: None,
        }
    }

    async fn grpc(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        grpc
    }

    /// A unary call.
    pub async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        let answer = self
            .grpc()
            .await
            .unary(self.request(request), path, codec)
            .await;
        answer.map(tonic::Response::into_inner)
    }

    /// A call that is answered with a stream.
    pub async fn stream<Q, A>(
        &self,
        method: &'static str,
        request: Q,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        let answer = self
            .grpc()
            .await
            .server_streaming(self.request(request), path, codec)
            .await;
        answer.map(tonic::Response::into_inner)
    }

    pub async fn add_remote(&self, label: &str) -> pb::Source {
        let request = pb::AddSourceRequest {
            uri: label.to_owned(),
            kind: pb::SourceKind::Remote.into(),
            ..Default::default()
        };
        self.call("/rollcall.v1.SourceService/AddSource", request)
            .await
            .unwrap()
    }

    pub async fn watch(
        &self,
        request: pb::WatchRequest,
    ) -> Result<Streaming<pb::WatchEvent>, Status> {
        self.stream("/rollcall.v1.WatchService/Watch", request)
            .await
    }

    pub async fn search(&self, hue: f32) -> pb::SearchResponse {
        let request = pb::SearchEmbeddingRequest {
            embedding: embedding(hue).as_slice().to_vec(),
            ..Default::default()
        };
        self.call("/rollcall.v1.SearchService/SearchEmbedding", request)
            .await
            .unwrap()
    }

    /// Opens a run and sends Hello; the answer to it comes first on the stream.
    pub async fn observe(&self, hello: pb::Hello) -> Run {
        let (messages, outgoing) = mpsc::channel(64);
        let first = pb::ObserveRequest {
            number: 0,
            message: Some(observe_request::Message::Hello(hello)),
        };
        messages.send(first).await.unwrap();
        let path = PathAndQuery::from_static("/rollcall.v1.IngestService/Observe");
        let codec = ProstCodec::<pb::ObserveRequest, pb::ObserveResponse>::default();
        let request = self.request(ReceiverStream::new(outgoing));
        let replies = self
            .grpc()
            .await
            .streaming(request, path, codec)
            .await
            .unwrap();
        Run {
            messages,
            replies: replies.into_inner(),
            number: 0,
        }
    }

    /// A run over a source, welcomed.
    pub async fn run(&self, source_id: u64) -> Run {
        let mut run = self.observe(hello(source_id)).await;
        let welcome = run.reply().await.unwrap();
        assert!(
            matches!(welcome, observe_response::Message::Welcome(_)),
            "{welcome:?}"
        );
        run
    }
}

pub fn hello(source_id: u64) -> pb::Hello {
    pb::Hello {
        source_id,
        contract: CONTRACT.to_owned(),
        pipeline: "p1".to_owned(),
    }
}

/// An open run.
pub struct Run {
    pub messages: mpsc::Sender<pb::ObserveRequest>,
    pub replies: Streaming<pb::ObserveResponse>,
    number: u64,
}

impl Run {
    pub async fn reply(&mut self) -> Result<observe_response::Message, Status> {
        let reply = self.replies.message().await?;
        Ok(reply
            .expect("the stream goes on")
            .message
            .expect("a message"))
    }

    /// Sends the next message without waiting.
    pub async fn send(&mut self, message: observe_request::Message) {
        self.number += 1;
        let request = pb::ObserveRequest {
            number: self.number,
            message: Some(message),
        };
        self.messages.send(request).await.unwrap();
    }

    /// Sends the next message and waits until it is acknowledged.
    pub async fn record(&mut self, message: observe_request::Message) -> pb::Ack {
        self.send(message).await;
        loop {
            match self.reply().await.unwrap() {
                observe_response::Message::Ack(ack) if ack.number == self.number => return ack,
                observe_response::Message::Ack(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn track(&mut self, track: pb::TrackObservation) -> pb::Ack {
        self.record(observe_request::Message::Track(track)).await
    }

    pub async fn finish(mut self) -> pb::Ack {
        let finished = pb::Finished {
            state: pb::SourceState::Ended.into(),
            ..Default::default()
        };
        self.record(observe_request::Message::Finished(finished))
            .await
    }
}

/// The embedding of the person of that hue.
pub fn embedding(hue: f32) -> Embedding {
    embedding_of(hue).unwrap()
}

pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// What a face of this person looks like to the server.
fn face(second: i64) -> pb::ObservedFace {
    pb::ObservedFace {
        frame: second * 25,
        time: seconds(second),
        r#box: Some(pb::Box {
            x: 0.1,
            y: 0.1,
            width: 0.2,
            height: 0.3,
        }),
        confidence: 0.9,
    }
}

/// A track of the person of that hue, from one second to another, with one exemplar if it is the first revision.
pub fn track(
    key: u64,
    revision: u32,
    hue: f32,
    from: i64,
    to: i64,
    closed: bool,
) -> pb::TrackObservation {
    let exemplar = pb::ObservedExemplar {
        number: revision,
        face: Some(face(to)),
        landmarks: vec![0.5; 10],
        quality: 0.8,
        embedding: embedding(hue).to_f16_bytes(),
        crop: format!("aligned {key}").into_bytes(),
        loose_crop: format!("loose {key}").into_bytes(),
    };
    pb::TrackObservation {
        track_key: key,
        revision,
        closed,
        start: seconds(from),
        end: seconds(to),
        start_frame: from * 25,
        end_frame: to * 25,
        wall_start: Some(prost_types::Timestamp {
            seconds: 1_700_000_000 + from,
            nanos: 0,
        }),
        faces: vec![face(to)],
        exemplars: if revision == 1 {
            vec![exemplar]
        } else {
            Vec::new()
        },
        dropped_exemplars: Vec::new(),
        ..Default::default()
    }
}

/// A photo as JPEG, with faces of these hues, each larger than the one before.
pub fn photo(hues: &[f32]) -> Vec<u8> {
    let mut picture = Picture::filled(480, 240, [128; 3]).unwrap();
    let mut left = 20.0;
    for (number, hue) in (0u8..).zip(hues) {
        let side = 80.0 + 30.0 * f32::from(number);
        paint_face(&mut picture, Rect::new(left, 40.0, side, side), *hue);
        left += side + 40.0;
    }
    rollcall_ingest::crop::to_jpeg(picture.view(), 95)
}

/// The reason of an error.
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, rollcall_server::DOMAIN);
    info.reason
}

/// The next event of a watch stream that is of the log.
pub async fn next_event(stream: &mut Streaming<pb::WatchEvent>) -> pb::WatchEvent {
    loop {
        let event = stream.message().await.unwrap().expect("the stream goes on");
        match event.event {
            Some(watch_event::Event::Started(_) | watch_event::Event::Heartbeat(_)) => {}
            _ => return event,
        }
    }
}
