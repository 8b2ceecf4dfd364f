//! TLS on both addresses: certificates that are read again when their files change, and callers' certificates.

use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::time::now_us;
use arc_swap::ArcSwap;
use axum::extract::connect_info::Connected as PageConnected;
use axum::serve::{IncomingStream, Listener};
use prometheus::{IntGauge, Registry};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Time for a caller to come to terms.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Callers who are coming to terms at a time; others wait at the door.
const HANDSHAKES_MAX: usize = 256;
/// Connections that wait to be served.
const WAITING_MAX: usize = 64;
/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One file without the other.
    #[error("tls.certificate and tls.key go together: {missing} is not set")]
    Half {
        /// The setting.
        missing: &'static str,
    },
    /// A file cannot be read, or holds nothing of use.
    #[error("{setting} = {path}: {what}", path = path.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The files do not go together.
    #[error("tls.certificate, tls.key and tls.client_ca cannot be used: {0}")]
    Unfit(String),
    /// Our own mistake.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What the settings name.
#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What is offered to callers.
struct Offer {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// When the certificate ends, Unix time in seconds; 0: not known.
    ends: i64,
}

/// Which of the two addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    Grpc,
    Http,
}

type Stamps = Vec<Option<(SystemTime, u64)>>;

/// Certificates as they are now.
pub(crate) struct Tls {
    files: Files,
    offer: ArcSwap<Offer>,
    seen: Mutex<Stamps>,
    ends: IntGauge,
}

impl Tls {
    /// With the files that the settings name; `None` if they name none.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn open(
        config: &Config,
        registry: &Registry,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let help = "When the server's certificate ends, Unix time in seconds; 0: there is none, or it does not say";
        let ends = IntGauge::new("rollcall_tls_certificate_expiry_timestamp_seconds", help)?;
        registry.register(Box::new(ends.clone()))?;
        let Some(files) = files(config)? else {
            return Ok(None);
        };
        let seen = stamps(&files);
        let offer = offer(&files)?;
        ends.set(offer.ends);
        Ok(Some(Arc::new(Self {
            files,
            offer: ArcSwap::from_pointee(offer),
            seen: Mutex::new(seen),
            ends,
        })))
    }

    /// Takes up changed files. Those that cannot be used leave things as they are.
    pub(crate) fn look(&self) {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        match offer(&self.files) {
            Ok(offer) => {
                tracing::info!("certificates were read again");
                self.ends.set(offer.ends);
                self.offer.store(Arc::new(offer));
            }
            // A certificate and its key are two files: one comes before the other.
            Err(error) => {
                tracing::error!(%error, "certificates were not read again: those of before hold")
            }
        }
        *seen = now;
    }

    fn config(&self, door: Door) -> Arc<ServerConfig> {
        let offer = self.offer.load();
        match door {
            Door::Grpc => Arc::clone(&offer.grpc),
            Door::Http => Arc::clone(&offer.http),
        }
    }
}

/// Takes up changes of the certificates until the server goes down.
pub(crate) async fn keep(tls: Option<Arc<Tls>>, shutdown: Shutdown) {
    let Some(tls) = tls else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.wait() => return,
        }
        let tls = Arc::clone(&tls);
        // A file system may block.
        let _ = tokio::task::spawn_blocking(move || tls.look()).await;
    }
}

/// When the certificate that these settings name ends, Unix time in seconds; `None` if they name none.
///
/// # Errors
/// [`TlsError`] if the files cannot be used.
pub(crate) fn ends(config: &Config) -> Result<Option<i64>, TlsError> {
    let files = files(config)?;
    let offer = files.map(|files| offer(&files)).transpose()?;
    Ok(offer.map(|offer| offer.ends))
}

fn files(config: &Config) -> Result<Option<Files>, TlsError> {
    let set = |path: &Path| !path.as_os_str().is_empty();
    let (tls, half) = (&config.tls, |missing| Err(TlsError::Half { missing }));
    match (set(&tls.certificate), set(&tls.key), set(&tls.client_ca)) {
        (false, false, false) => Ok(None),
        (false, _, _) => half("tls.certificate"),
        (true, false, _) => half("tls.key"),
        (true, true, asks) => Ok(Some(Files {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_ca: asks.then(|| tls.client_ca.clone()),
        })),
    }
}

fn stamps(files: &Files) -> Stamps {
    let all = [
        Some(&files.certificate),
        Some(&files.key),
        files.client_ca.as_ref(),
    ];
    let of = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    all.into_iter().flatten().map(of).collect()
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |what: String| TlsError::File {
        setting,
        path: path.to_owned(),
        what,
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| wrong(error.to_string()))?;
    if read.is_empty() {
        return Err(wrong("there is no certificate in it (PEM)".to_owned()));
    }
    Ok(read)
}

fn offer(files: &Files) -> Result<Offer, TlsError> {
    let chain = certificates("tls.certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        setting: "tls.key",
        path: files.key.clone(),
        what: error.to_string(),
    })?;
    let ends = chain
        .first()
        .and_then(|first| not_after(first))
        .unwrap_or_default();
    let provider = Arc::new(ring::default_provider());
    let unfit = |error: &dyn std::fmt::Display| TlsError::Unfit(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("tls.client_ca", path)? {
                roots.add(root).map_err(|error| unfit(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unfit(&error))?)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut grpc = config.map_err(|error| unfit(&error))?;
    let mut http = grpc.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Offer {
        grpc: Arc::new(grpc),
        http: Arc::new(http),
        ends,
    })
}

/// A connection with TLS around it.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
}

impl Connected for Secured {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.get_ref().0.connect_info()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Where a request to the page came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl PageConnected<IncomingStream<'_, SecuredListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, SecuredListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl PageConnected<IncomingStream<'_, PlainListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PlainListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Connections in the clear.
#[derive(Debug)]
pub(crate) struct PlainListener(pub(crate) TcpListener);

impl Listener for PlainListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Without it small replies wait for the other side's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is not as fast as it could be");
        }
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Connections that have come to terms, as they come. A caller who is slow about it holds up nobody.
#[derive(Debug)]
pub(crate) struct SecuredListener {
    ready: mpsc::Receiver<Secured>,
    address: SocketAddr,
}

impl SecuredListener {
    /// Takes connections of `listener` until this is dropped.
    ///
    /// # Errors
    /// If the listener has no address.
    pub(crate) fn new(listener: TcpListener, tls: Arc<Tls>, door: Door) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(WAITING_MAX);
        tokio::spawn(take(listener, tls, door, sender));
        Ok(Self { ready, address })
    }

    /// The next connection.
    pub(crate) async fn next(&mut self) -> Option<Secured> {
        self.ready.recv().await
    }

    /// As a stream.
    pub(crate) fn into_stream(self) -> impl tokio_stream::Stream<Item = io::Result<Secured>> {
        use tokio_stream::StreamExt as _;
        tokio_stream::wrappers::ReceiverStream::new(self.ready).map(Ok)
    }
}

impl Listener for SecuredListener {
    type Io = Secured;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secured, SocketAddr) {
        match self.next().await {
            Some(secured) => {
                let peer = secured.peer;
                (secured, peer)
            }
            // Whoever takes connections has ended: there will be none any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn take(listener: TcpListener, tls: Arc<Tls>, door: Door, ready: mpsc::Sender<Secured>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                // Out of files, say: it passes, and not by asking at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is not as fast as it could be");
        }
        let (acceptor, ready) = (TlsAcceptor::from(tls.config(door)), ready.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _ = ready.send(Secured { stream, peer }).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no terms were come to"),
                Err(_) => tracing::debug!(%peer, "no terms were come to in time"),
            }
        });
    }
}

/// When a certificate ends, Unix time in seconds: the second time of its validity (RFC 5280, 4.1). `None` if it is not
/// to be found.
fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // Version (which may be missing), serial number, algorithm and issuer come before.
    let (tag, _, after) = element(rest)?;
    if tag == 0xa0 {
        rest = after;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        // Two digits: 1950 to 2049.
        0x17 => {
            let year = text.get(..2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), text.get(2..)?)
        }
        0x18 => (text.get(..4)?.to_owned(), text.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2);
    let (month, day, hour) = (two(0)?, two(2)?, two(4)?);
    let (minute, second) = (two(6)?, two(8)?);
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let time = text.parse::<prost_types::Timestamp>().ok()?;
    Some(time.seconds)
}

/// Tag and content of the first DER element, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let count = length - 0x80;
        if count == 0 || count > 3 {
            return None;
        }
        length = 0;
        for _ in 0..count {
            let (byte, after) = rest.split_first()?;
            length = length << 8 | usize::from(*byte);
            rest = after;
        }
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

/// Days until then, rounded down.
pub(crate) fn days_until(end: i64) -> i64 {
    (end - now_us() / 1_000_000).div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 4);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn certificates_say_when_they_end() {
        // From 2050 on, years have four digits.
        for year in [2030, 2049, 2050, 2999] {
            let expected = format!("{year}-03-04T00:00:00Z");
            let expected: prost_types::Timestamp = expected.parse().unwrap();
            assert_eq!(not_after(&certificate(year)), Some(expected.seconds));
        }
    }

    #[test]
    fn what_is_no_certificate_ends_never_and_is_no_panic() {
        let good = certificate(2030);
        for length in 0..good.len() {
            not_after(&good[..length]);
            let mut wrong = good.clone();
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                wrong[length] = byte;
                not_after(&wrong);
            }
        }
        assert_eq!(not_after(&good[..40]), None);
        assert_eq!(not_after(b""), None);
    }

    #[test]
    fn settings_come_whole_or_not_at_all() {
        let mut config = Config::default();
        assert!(files(&config).unwrap().is_none());
        config.tls.client_ca = "/ca.pem".into();
        let half = files(&config).unwrap_err().to_string();
        assert!(half.contains("tls.certificate is not set"), "{half}");
        config.tls.certificate = "/server.pem".into();
        let half = files(&config).unwrap_err().to_string();
        assert!(half.contains("tls.key is not set"), "{half}");
        config.tls.key = "/no/such/server.key".into();
        let missing = ends(&config).unwrap_err().to_string();
        assert!(missing.contains("/server.pem"), "{missing}");
    }
}
