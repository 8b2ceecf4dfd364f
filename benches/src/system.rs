//! A whole server, started from the programs beside the benchmark and stopped when it is done.

use anyhow::{Context as _, Result, ensure};
use rollcall_client::pb::{self, SourceState};
use rollcall_client::{Client, ClientOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a start or a stop may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How often a state is asked after.
const POLL: Duration = Duration::from_millis(20);

/// A program of the same build.
///
/// # Errors
/// If it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let path = this.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is missing: cargo build --release --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// A command without settings from the environment that would change what it does.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A running `rollcalld` on free local ports; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    /// Starts one on a data folder and waits until it answers.
    ///
    /// # Errors
    /// If it does not start; it says why on standard error.
    pub async fn start(data: &Path, assets: &Path) -> Result<Self> {
        Self::start_with(data, assets, &[]).await
    }

    /// The same with `settings`, each `KEY=VALUE`.
    ///
    /// # Errors
    /// If it does not start; it says why on standard error.
    pub async fn start_with(data: &Path, assets: &Path, settings: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port_file = folder.path().join("ports");
        let mut command = bare(&program("rollcalld")?);
        command.args([
            "serve",
            "--grpc-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
        ]);
        command
            .args(["--log-filter", "warn", "--data"])
            .arg(data)
            .arg("--assets")
            .arg(assets);
        command.arg("--port-file").arg(&port_file);
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let mut server = Self {
            child: command.spawn()?,
            endpoint: String::new(),
        };
        let begin = Instant::now();
        while !port_file.exists() {
            ensure!(
                server.child.try_wait()?.is_none(),
                "rollcalld did not start"
            );
            ensure!(
                begin.elapsed() < LONGEST,
                "rollcalld is not there after {LONGEST:?}"
            );
            tokio::time::sleep(POLL).await;
        }
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(&port_file)?)?;
        server.endpoint = format!("http://{}", ports["grpc"].as_str().context("no gRPC port")?);
        Ok(server)
    }

    /// A client of it.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.endpoint, ClientOptions::default()).await?)
    }

    /// Asks it to leave, so that its data may be looked at, and waits.
    ///
    /// # Errors
    /// If it does not leave, or with an error.
    pub async fn stop(mut self) -> Result<()> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "rollcalld left with {status}");
                return Ok(());
            }
            ensure!(
                begin.elapsed() < LONGEST,
                "rollcalld is still there after {LONGEST:?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds a file; its source's id.
///
/// # Errors
/// If the server does not take it.
pub async fn add(client: &Client, clip: &Path) -> Result<u64> {
    let uri = clip
        .canonicalize()
        .with_context(|| clip.display().to_string())?;
    let uri = uri
        .into_os_string()
        .into_string()
        .ok()
        .context("the path is not UTF-8")?;
    let request = pb::AddSourceRequest {
        uri,
        ..Default::default()
    };
    Ok(client.add_source(request).await?.id)
}

/// Adds a file and waits until it has been read to its end.
///
/// # Errors
/// If it cannot be read.
pub async fn read_to_end(client: &Client, clip: &Path) -> Result<()> {
    let id = add(client, clip).await?;
    while state(client, id).await? != SourceState::Ended {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// What a source is doing.
///
/// # Errors
/// If it has failed, or somebody has stopped it.
pub async fn state(client: &Client, id: u64) -> Result<SourceState> {
    let source = client.source(id).await?;
    let state = source.state();
    let lost = matches!(state, SourceState::Failed | SourceState::Stopped);
    ensure!(!lost, "{}: {:?}", source.uri, source.last_error);
    Ok(state)
}

/// Extracts a clip without a server: `FOLDER/log` holds what was seen.
///
/// # Errors
/// If the clip cannot be read.
pub fn extract(clip: &Path, folder: &Path, assets: &Path) -> Result<()> {
    let mut command = bare(&program("rollcall-ingest")?);
    command
        .arg("extract")
        .arg(clip)
        .arg("--out")
        .arg(folder)
        .arg("--assets")
        .arg(assets);
    let done = command.stderr(Stdio::piped()).output()?;
    ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}
