//! TLS as operators have it: certificates that are renewed while the server runs, callers who have to show one.

use crate::support::cli::{arguments, rollcall_at};
use crate::support::server::{Server, Setup};
use crate::support::truth::Truth;
use crate::support::{scratch, turn, until};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rollcall_client::{Client, ClientOptions, Error, Tls};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority.
struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            key,
        }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }

    /// A certificate for this name, and its key.
    fn sign(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.certificate, &self.key);
        let certificate = signed.unwrap().pem().into_bytes();
        (certificate, key.serialize_pem().into_bytes())
    }

    /// What trusts it, and shows a certificate.
    fn trusted(&self, identity: Option<(Vec<u8>, Vec<u8>)>) -> Tls {
        Tls {
            ca: Some(self.pem()),
            identity,
        }
    }
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
}

impl Files {
    fn write(folder: &Path, (certificate, key): (Vec<u8>, Vec<u8>)) -> Self {
        let files = Self {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_ca: folder.join("callers.pem"),
        };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    fn setup(&self, data: &Path) -> Setup {
        Setup::new(data)
            .set("tls.certificate", self.certificate.to_str().unwrap())
            .set("tls.key", self.key.to_str().unwrap())
    }
}

async fn connect(server: &Server, tls: Tls) -> Result<Client, Error> {
    let options = ClientOptions {
        tls,
        read_retries: 0,
        timeout: Some(Duration::from_secs(60)),
        ..ClientOptions::default()
    };
    let port = server.grpc().rsplit(':').next().unwrap();
    Client::connect(&format!("https://localhost:{port}"), options).await
}

/// What the page's address answers over TLS to who trusts that authority.
async fn page(server: &Server, authority: &Authority, path: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.http()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn answers(server: &Server, tls: Tls) -> bool {
    match connect(server, tls).await {
        Ok(client) => client.status().await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_taken_up_while_the_server_runs_and_workers_report() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::write(folder.path(), old.sign("localhost"));
    let setup = files.setup(&folder.path().join("data"));
    let server = setup.start_unready().await;
    let ready = async || answers(&server, old.trusted(None)).await.then_some(());
    until("the server to answer", ready).await;
    assert!(
        !answers(&server, new.trusted(None)).await,
        "another authority"
    );
    let wrong_name = Files::write(folder.path(), old.sign("elsewhere.example"));
    drop(wrong_name);
    let gone = async || (!answers(&server, old.trusted(None)).await).then_some(());
    until("the wrong name to be refused", gone).await;
    // In the clear nothing is answered.
    let endpoint = format!("http://{}", server.grpc());
    let plain = Client::connect(&endpoint, ClientOptions::default());
    let plain = match plain.await {
        Ok(client) => client.status().await.is_ok(),
        Err(_) => false,
    };
    assert!(!plain);
    Files::write(folder.path(), new.sign("localhost"));
    let renewed = async || answers(&server, new.trusted(None)).await.then_some(());
    until("the new certificate", renewed).await;
    // One that cannot be used leaves the one of before.
    std::fs::write(&files.certificate, "nonsense").unwrap();
    until("the server to say so", async || {
        server
            .logged()
            .contains("were not read again")
            .then_some(())
    })
    .await;
    assert!(answers(&server, new.trusted(None)).await);

    // The page's address too.
    let health = page(&server, &new, "/healthz").await.unwrap();
    assert!(
        health.starts_with("HTTP/1.1 200 ") && health.ends_with("ok\n"),
        "{health}"
    );
    assert!(page(&server, &old, "/healthz").await.is_err());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, new.pem()).unwrap();
    let port = server.grpc().rsplit(':').next().unwrap();
    let endpoint = format!("https://localhost:{port}");
    let add = arguments!["--ca-file", &ca, "source", "add", &truth.clip, "--wait"];
    let added = rollcall_at(&endpoint, add).await.expect(0).json();
    assert_eq!(added["state"].as_str(), Some("ended"), "{added}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_show_certificates_where_they_are_asked_for() {
    let _turn = turn().await;
    let folder = scratch();
    let (servers, callers) = (Authority::new(), Authority::new());
    let files = Files::write(folder.path(), servers.sign("localhost"));
    std::fs::write(&files.client_ca, callers.pem()).unwrap();
    let setup = files.setup(&folder.path().join("data"));
    let setup = setup.set("tls.client_ca", files.client_ca.to_str().unwrap());
    let server = setup.start_unready().await;
    let own = callers.sign("somebody");
    let ready = async || {
        let tls = servers.trusted(Some(own.clone()));
        answers(&server, tls).await.then_some(())
    };
    until("the server to answer", ready).await;
    assert!(!answers(&server, servers.trusted(None)).await, "none shown");
    let foreign = Some(servers.sign("somebody"));
    assert!(!answers(&server, servers.trusted(foreign)).await, "foreign");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_do_not_go_together_stop_the_start() {
    let _turn = turn().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let authority = Authority::new();
    let (certificate, _) = authority.sign("localhost");
    let (_, other_key) = authority.sign("localhost");
    let files = Files::write(folder.path(), (certificate, other_key));
    let (code, said) = files.setup(&data).start_refused().await;
    assert!(code == 2 && said.contains("tls.key"), "{said}");
    let half = Setup::new(&data).set("tls.certificate", files.certificate.to_str().unwrap());
    let (code, said) = half.start_refused().await;
    assert!(code == 2 && said.contains("tls.key is not set"), "{said}");
}
