//! Starts everything in order, and takes it down in order.

use crate::access::{self, Gate, GateError};
use crate::audit::{Audit, AuditError};
use crate::calibration::{self, Calibration};
use crate::config::Config;
use crate::core::{CatalogError, Contract, Core, CoreMetrics, CoreOptions, OpenError, Opening};
use crate::disk;
use crate::edge::Edge;
use crate::eraser::{self, Eraser};
use crate::grpc_layer::GrpcLayer;
use crate::http::{HttpState, Readiness, router};
use crate::metrics::EdgeMetrics;
use crate::migration::{self, Migrations};
use crate::pb;
use crate::photo_pool::PhotoPool;
use crate::pool::{PoolError, SearchPool};
use crate::repair::{self, RepairMetrics};
use crate::service::{
    Admin, Alerts, Identities, Ingest, Privacy, Search, Sightings, SourceDoor, Watch,
};
use crate::shutdown::{Shutdown, ShutdownSwitch, shutdown};
use crate::source_uri::SourceRules;
use crate::sources::Sources;
use crate::supervisor::{Supervisor, WorkerSetup};
use crate::time::now_us;
use crate::tls::{self, Door, Peer, PlainListener, SecuredListener, Tls, TlsError};
use crate::vision::{InService, LoadedModels, Vision};
use crate::web::{self, Site};
use crate::webhook::{self, RuleNews, WebhookRules};
use axum::Router;
use rollcall_ingest::ModelError;
use rollcall_ingest::photo::PhotoLimits;
use std::future::{Future, IntoFuture as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Idle connections are asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Room in a message for what stands beside the picture.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Where workers of a server with TLS report: within this machine, with the keys that they were given.
const WORKER_DOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Services whose health is reported, and the overall state.
const HEALTH_NAMES: &[&str] = &[
    "",
    pb::search_service_server::SERVICE_NAME,
    pb::identity_service_server::SERVICE_NAME,
    pb::source_service_server::SERVICE_NAME,
    pb::sighting_service_server::SERVICE_NAME,
    pb::watch_service_server::SERVICE_NAME,
    pb::alert_service_server::SERVICE_NAME,
    pb::ingest_service_server::SERVICE_NAME,
    pb::admin_service_server::SERVICE_NAME,
    pb::privacy_service_server::SERVICE_NAME,
];

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The collection cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; stop what uses it, or set {key} to another address (port 0: any free one)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Nobody could be let in.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Nothing could be recorded of who does what.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Others than this machine would reach it.
    #[error(
        "{key} = {address}: others than this machine can reach it, and nobody is asked who they are: everybody there \
         could see, search and change everything. Make a key (rollcalld key create --role admin), listen on 127.0.0.1 \
         (behind a proxy that asks, if need be), or say so in so many words: --set access=anyone"
    )]
    OpenToStrangers {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Models cannot be loaded.
    #[error("{0}")]
    Models(String),
    /// The embedder that the log names cannot be loaded.
    #[error(
        "this collection is served by the embedder {embedder}, which cannot be loaded: {source}"
    )]
    Embedder {
        /// Its id.
        embedder: String,
        /// Why not.
        source: ModelError,
    },
    /// The threads for searches cannot be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Our own mistake.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Our own mistake.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A thread or a signal cannot be had.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A running server.
pub struct Server {
    edge: Arc<Edge>,
    grpc: SocketAddr,
    http: SocketAddr,
    switch: ShutdownSwitch,
    ready: watch::Sender<Readiness>,
    health: HealthReporter,
    grpc_task: JoinHandle<()>,
    http_task: JoinHandle<()>,
    calibration_task: JoinHandle<()>,
    alert_task: JoinHandle<()>,
    migration_task: JoinHandle<()>,
    repair_task: JoinHandle<()>,
    eraser_task: JoinHandle<()>,
    key_task: JoinHandle<()>,
    tls_task: JoinHandle<()>,
}

impl Server {
    /// Opens the collection, binds both addresses, serves, and takes up the sources that are not
    /// finished.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, vision: Vision) -> Result<Self, StartError> {
        let gate = Arc::new(Gate::open(&config)?);
        if let Some((key, address)) = config.open_to_strangers(gate.asks()) {
            return Err(StartError::OpenToStrangers { key, address });
        }
        let registry = prometheus::Registry::new();
        disk::register(&registry, &config.data)?;
        let tls = Tls::open(&config, &registry)?;
        let metrics = EdgeMetrics::register(&registry)?;
        let core_metrics = CoreMetrics::register(&registry)?;
        let migrations = Migrations::new(vision.clone(), &registry)?;
        let repair_metrics = RepairMetrics::register(&registry)?;
        let eraser = Eraser::new(&registry)?;
        let (settings, load) = (config.clone(), vision.clone());
        let open = move || open(&settings, &load, core_metrics);
        let (core, models) = blocking(open).await??;
        // Behind the log's lock: two servers do not write to one folder.
        let audit = Arc::new(Audit::start(&config, &registry)?);
        let models = Arc::new(InService::new(core.clone(), models));
        let grpc_listener = listen(config.grpc.listen, "grpc.listen").await?;
        let http_listener = listen(config.http.listen, "http.listen").await?;
        let (grpc, http) = (grpc_listener.local_addr()?, http_listener.local_addr()?);
        let worker_door = match &tls {
            Some(_) => Some(listen(WORKER_DOOR, "grpc.listen").await?),
            None => None,
        };
        let for_workers = worker_door.as_ref().map(TcpListener::local_addr);
        let for_workers = for_workers.transpose()?.unwrap_or(grpc);
        let (ready, readiness) = watch::channel(Err("STARTING"));
        let state = HttpState {
            metrics: metrics.clone(),
            core: core.clone(),
            ready: readiness,
            gate: Arc::clone(&gate),
        };
        let site = config.serves_page().then(|| Arc::new(Site::new(&config)));
        let pages = pages(&config, state, site.as_ref());
        let http_task = match &tls {
            None => tokio::spawn(serve_http(http_listener, pages)),
            Some(tls) => {
                let tls = Arc::clone(tls);
                let listener = SecuredListener::new(http_listener, tls, Door::Http)?;
                let pages = pages.into_make_service_with_connect_info::<Peer>();
                tokio::spawn(serve_pages(axum::serve(listener, pages).into_future()))
            }
        };

        let threads = config.search_threads();
        let limits = PhotoLimits {
            bytes_max: config.grpc.message_bytes_max,
            ..PhotoLimits::default()
        };
        let of = Arc::clone(&models);
        let photos = blocking(move || PhotoPool::start(threads, limits, &of)).await?;
        let photos = photos.map_err(StartError::Models)?;
        let pool = SearchPool::new(threads, config.search.queue_max, photos, metrics.clone())?;

        let (switch, signal) = shutdown();
        let sources = Arc::new(Sources::new(metrics.clone()));
        let rules = SourceRules::new(&config);
        let setup = worker_setup(&config, &gate, for_workers, &vision, rules.clone());
        let supervisor = Supervisor::new(
            core.clone(),
            Arc::clone(&models),
            Arc::clone(&sources),
            setup,
            signal.clone(),
        )?;
        let subscribers = config.watch.subscribers_max.min(Semaphore::MAX_PERMITS);
        let edge = Arc::new(Edge {
            core,
            metrics,
            gate: Arc::clone(&gate),
            audit,
            pool,
            calibration: Calibration::default(),
            clustering: Arc::default(),
            sources,
            supervisor,
            rules,
            webhook_rules: WebhookRules::new(&config),
            rule_news: RuleNews::new(),
            models,
            migrations,
            eraser,
            shutdown: signal.clone(),
            subscribers: Arc::new(Semaphore::new(subscribers)),
            started_us: now_us(),
            config,
        });
        let alert_task = webhook::start(
            &edge.core,
            edge.config.alerts.clone(),
            edge.webhook_rules.clone(),
            edge.metrics.clone(),
            &edge.rule_news,
            signal.clone(),
        );
        let key_task = tokio::spawn(access::keep(gate, signal.clone()));
        let tls_task = tokio::spawn(tls::keep(tls.clone(), signal.clone()));
        let doors = Doors {
            grpc: grpc_listener,
            workers: worker_door,
            tls,
        };
        let (health, grpc_task) = serve_grpc(&edge, doors, signal).await?;
        edge.supervisor.resume().await?;
        let calibration_task = tokio::spawn(calibration::keep(Arc::clone(&edge)));
        let migration_task = tokio::spawn(migration::run(Arc::clone(&edge)));
        let repair_task = tokio::spawn(repair::keep(Arc::clone(&edge), repair_metrics));
        let eraser_task = tokio::spawn(eraser::run(Arc::clone(&edge)));
        set_health(&health, ServingStatus::Serving).await;
        if let Some(site) = site {
            site.open(Arc::clone(&edge));
        }
        let _ = ready.send_replace(Ok(()));
        Ok(Self {
            edge,
            grpc,
            http,
            switch,
            ready,
            health,
            grpc_task,
            http_task,
            calibration_task,
            alert_task,
            migration_task,
            repair_task,
            eraser_task,
            key_task,
            tls_task,
        })
    }

    /// Where the API listens.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where metrics, health and, if it is served, the page are.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What the services share.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Not serving first; then no new connections, streams end, workers leave, and what runs may
    /// finish until the deadline; at last the log is closed. Sources that were being read go on at
    /// the next start.
    pub async fn stop(self) {
        let _ = self.ready.send_replace(Err("SHUTTING_DOWN"));
        set_health(&self.health, ServingStatus::NotServing).await;
        self.switch.set();
        let deadline = Duration::from_secs(self.edge.config.shutdown.deadline_s);
        let mut grpc_task = self.grpc_task;
        let drained = tokio::time::timeout(deadline, async {
            self.edge.supervisor.close().await;
            let _ = (&mut grpc_task).await;
        });
        if drained.await.is_err() {
            tracing::warn!("calls were cut off at the shutdown deadline");
            grpc_task.abort();
            let _ = grpc_task.await;
        }
        // It ends by itself within one search.
        let _ = self.calibration_task.await;
        // It hears the switch as well, and waits for nobody outside.
        let _ = self.alert_task.await;
        let _ = self.migration_task.await;
        let _ = self.repair_task.await;
        let _ = self.eraser_task.await;
        let _ = self.key_task.await;
        let _ = self.tls_task.await;
        self.edge.core.close().await;
        self.http_task.abort();
        let _ = self.http_task.await;
        let audit = Arc::clone(&self.edge.audit);
        let _ = blocking(move || audit.close()).await;
    }
}

/// Opens the collection and the models of its contract.
fn open(
    config: &Config,
    vision: &Vision,
    metrics: CoreMetrics,
) -> Result<(Core, LoadedModels), StartError> {
    let opening = Opening::of(&config.data)?;
    let models = models_of(opening.contract(), vision)?;
    let options = CoreOptions {
        data: config.data.clone(),
        contract: models.collection.contract.clone(),
        dimension: models.collection.dimension,
        same_cosine: models.collection.same_cosine,
        assigner: config.assigner,
        writer_queue: config.writer.queue_max,
    };
    Ok((Core::start(opening, options, metrics)?, models))
}

/// The models of a collection: those that it went over to, or the default ones.
fn models_of(contract: Option<&Contract>, vision: &Vision) -> Result<LoadedModels, StartError> {
    let embedder = contract.and_then(|contract| contract.embedder.as_deref());
    (vision.load)(embedder).map_err(|source| match embedder {
        Some(embedder) => StartError::Embedder {
            embedder: embedder.to_owned(),
            source,
        },
        None => StartError::Models(source.to_string()),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, io::Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address,
            key,
            source,
        })
}

/// Everything that is served over HTTP.
fn pages(config: &Config, state: HttpState, site: Option<&Arc<Site>>) -> Router {
    let pages = router(state);
    match site {
        Some(site) => {
            let photo_bytes_max = config.grpc.message_bytes_max;
            pages.merge(web::router(Arc::clone(site), photo_bytes_max))
        }
        None => pages,
    }
}

async fn serve_http(listener: TcpListener, pages: Router) {
    let pages = pages.into_make_service_with_connect_info::<Peer>();
    serve_pages(axum::serve(PlainListener(listener), pages).into_future()).await;
}

async fn serve_pages(served: impl Future<Output = io::Result<()>>) {
    if let Err(error) = served.await {
        tracing::error!(%error, "HTTP has ended");
    }
}

/// Where the API is to be had.
struct Doors {
    grpc: TcpListener,
    /// Behind TLS: where this server's own workers report, whom it gives no certificate.
    workers: Option<TcpListener>,
    tls: Option<Arc<Tls>>,
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(*name, status).await;
    }
}

async fn serve_grpc(
    edge: &Arc<Edge>,
    doors: Doors,
    signal: Shutdown,
) -> Result<(HealthReporter, JoinHandle<()>), StartError> {
    let descriptors = [
        crate::FILE_DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::FILE_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::NotServing).await;
    let config = &edge.config;
    let bytes_max = config.grpc.message_bytes_max.saturating_add(ENVELOPE_BYTES);
    let layer = GrpcLayer::new(
        Arc::clone(&edge.gate),
        Some(Arc::clone(&edge.audit)),
        edge.metrics.clone(),
        &descriptors,
        config.grpc.concurrent_requests_max,
        config.request_timeout(),
        config.grpc.message_bytes_max,
    );
    let edge = || Arc::clone(edge);
    macro_rules! sized {
        ($module:ident, $server:ident, $service:expr) => {
            pb::$module::$server::new($service).max_decoding_message_size(bytes_max)
        };
    }
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(layer.clone())
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(sized!(
            search_service_server,
            SearchServiceServer,
            Search(edge())
        ))
        .add_service(sized!(
            identity_service_server,
            IdentityServiceServer,
            Identities(edge())
        ))
        .add_service(sized!(
            source_service_server,
            SourceServiceServer,
            SourceDoor(edge())
        ))
        .add_service(sized!(
            sighting_service_server,
            SightingServiceServer,
            Sightings(edge())
        ))
        .add_service(sized!(
            watch_service_server,
            WatchServiceServer,
            Watch(edge())
        ))
        .add_service(sized!(
            alert_service_server,
            AlertServiceServer,
            Alerts(edge())
        ))
        .add_service(sized!(
            ingest_service_server,
            IngestServiceServer,
            Ingest(edge())
        ))
        .add_service(sized!(
            admin_service_server,
            AdminServiceServer,
            Admin(edge())
        ))
        .add_service(sized!(
            privacy_service_server,
            PrivacyServiceServer,
            Privacy(edge())
        ));
    // Without it small replies wait for the other side's delayed acknowledgement.
    let incoming = |listener| TcpIncoming::from(listener).with_nodelay(Some(true));
    let workers = doors.workers.map(|listener| {
        let observe = sized!(ingest_service_server, IngestServiceServer, Ingest(edge()));
        let signal = signal.clone();
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .layer(layer.for_workers())
            .add_service(observe)
            .serve_with_incoming_shutdown(incoming(listener), async move { signal.wait().await })
    });
    let wait = async move { signal.wait().await };
    let callers: BoxedServe = match doors.tls {
        None => Box::pin(router.serve_with_incoming_shutdown(incoming(doors.grpc), wait)),
        Some(tls) => {
            let secured = SecuredListener::new(doors.grpc, tls, Door::Grpc)?.into_stream();
            Box::pin(router.serve_with_incoming_shutdown(secured, wait))
        }
    };
    let task = tokio::spawn(async move {
        let workers = async {
            match workers {
                Some(workers) => workers.await,
                None => Ok(()),
            }
        };
        let (callers, workers) = tokio::join!(callers, workers);
        if let Err(error) = callers.and(workers) {
            tracing::error!(%error, "gRPC has ended");
        }
    });
    Ok((health, task))
}

type BoxedServe = Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>>;

fn worker_setup(
    config: &Config,
    gate: &Arc<Gate>,
    grpc: SocketAddr,
    vision: &Vision,
    rules: SourceRules,
) -> WorkerSetup {
    WorkerSetup {
        program: worker_program(&config.ingest.worker_command),
        endpoint: format!("http://{}", reachable(grpc)),
        gate: Arc::clone(gate),
        assets: vision.assets.clone(),
        attributes: config.ingest.attributes.clone(),
        detector: config.ingest.detector.clone(),
        detect_sizes: config.detect_sizes(),
        rules,
        shots: config.ingest.shots,
        gates: config.ingest.gates,
        provider: config.ingest.provider,
        open_timeout_s: config.ingest.open_timeout_s,
        read_timeout_s: config.ingest.read_timeout_s,
        stop_timeout: Duration::from_secs(config.ingest.stop_timeout_s),
        workers_max: config.workers_max(),
        live_max: config.ingest.live_max,
    }
}

/// The worker program: as set, else beside this one, else wherever the path leads.
pub(crate) fn worker_program(set: &Path) -> PathBuf {
    const NAME: &str = "rollcall-ingest";
    if !set.as_os_str().is_empty() {
        return set.to_owned();
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(NAME)));
    beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(NAME))
}

/// The address at which this machine reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => listener.ip(),
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_reach_servers_that_listen_everywhere() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:7"), "127.0.0.1:7");
        assert_eq!(at("[::]:7"), "[::1]:7");
        assert_eq!(at("10.1.2.3:7"), "10.1.2.3:7");
    }
}
