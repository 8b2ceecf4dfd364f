//! A running `rollcalld`, stopped and its log shown when the test ends badly.

use super::programs::{assets, bare, program};
use super::{LONGEST, http, in_time, until};
use rollcall_client::{Client, ClientOptions};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Lines of the server's log that a failed test shows.
const LINES_SHOWN: usize = 60;

/// How to start a server.
#[derive(Clone)]
pub(crate) struct Setup {
    data: PathBuf,
    assets: PathBuf,
    arguments: Vec<String>,
    file_bytes_max: Option<u64>,
}

impl Setup {
    /// A server on this data folder, on free ports, with short heartbeats.
    pub(crate) fn new(data: &Path) -> Self {
        let setup = Self {
            data: data.to_owned(),
            assets: assets(),
            arguments: Vec::new(),
            file_bytes_max: None,
        };
        setup
            .set("grpc.listen", "127.0.0.1:0")
            .set("http.listen", "127.0.0.1:0")
            .set("watch.heartbeat_ms", "100")
            .set("log.filter", "info")
    }

    /// With another setting.
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        self.argument("--set").argument(&format!("{key}={value}"))
    }

    /// With another argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With other assets.
    pub(crate) fn assets(self, assets: &Path) -> Self {
        Self {
            assets: assets.to_owned(),
            ..self
        }
    }

    /// With no file of the server's larger than this, as if the disk were full: writes past it fail, until
    /// [`Server::make_room`].
    pub(crate) fn file_bytes_max(self, bytes: u64) -> Self {
        Self {
            file_bytes_max: Some(bytes),
            ..self
        }
    }

    fn command(&self, port_file: &Path) -> Command {
        let mut command = match self.file_bytes_max {
            None => bare(program("rollcalld")),
            Some(bytes) => {
                // The soft limit only, so that it can be lifted. Without the trap the kernel would end the server.
                let mut shell = bare("bash");
                let kibibytes = bytes.div_ceil(1024);
                let script = format!("trap '' XFSZ; ulimit -S -f {kibibytes}; exec \"$@\"");
                shell
                    .arg("-c")
                    .arg(script)
                    .arg("bash")
                    .arg(program("rollcalld"));
                shell
            }
        };
        command
            .args(["serve", "--data"])
            .arg(&self.data)
            .arg("--assets")
            .arg(&self.assets)
            .arg("--port-file")
            .arg(port_file)
            .args(&self.arguments);
        command
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let number = STARTS.fetch_add(1, Ordering::Relaxed);
        let beside = |ending: &str| {
            let name = self.data.file_name().unwrap().to_string_lossy();
            self.data
                .with_file_name(format!("{name}-{number}.{ending}"))
        };
        (beside("ports"), beside("log"))
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        let mut server = self.start_unready().await;
        until("the server to be ready", async || {
            server.assert_alive();
            let answer = http::get(&server.http, "/readyz").await.ok()?;
            (answer.code == 200).then_some(())
        })
        .await;
        server
    }

    /// Starts it and waits until it listens: for one that cannot be asked in the clear whether it is ready.
    pub(crate) async fn start_unready(&self) -> Server {
        let (port_file, log) = self.files();
        let mut command = self.command(&port_file);
        let out = File::create(&log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let mut server = Server {
            child: command.spawn().unwrap(),
            grpc: String::new(),
            http: String::new(),
            data: self.data.clone(),
            log,
        };
        let ports = until("the server's ports", async || {
            server.assert_alive();
            serde_json::from_slice::<Value>(&std::fs::read(&port_file).ok()?).ok()
        });
        let ports = ports.await;
        server.grpc = ports["grpc"].as_str().unwrap().to_owned();
        server.http = ports["http"].as_str().unwrap().to_owned();
        server
    }

    /// Starts a server that must refuse to run; returns its exit code and what it said.
    pub(crate) async fn start_refused(&self) -> (i32, String) {
        let (port_file, _) = self.files();
        let mut command = tokio::process::Command::from(self.command(&port_file));
        command.kill_on_drop(true);
        let output = in_time("a server that refuses to start", command.output())
            .await
            .unwrap();
        assert!(
            !port_file.exists(),
            "a server that does not run has no ports"
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    grpc: String,
    http: String,
    data: PathBuf,
    log: PathBuf,
}

impl Server {
    /// `127.0.0.1:PORT` of the API.
    pub(crate) fn grpc(&self) -> &str {
        &self.grpc
    }

    /// `127.0.0.1:PORT` of metrics and health.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged so far.
    pub(crate) fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A client of it.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(ClientOptions::default()).await
    }

    /// A client of it with options.
    pub(crate) async fn client_with(&self, options: ClientOptions) -> Client {
        let options = ClientOptions {
            timeout: Some(LONGEST),
            ..options
        };
        Client::connect(&format!("http://{}", self.grpc), options)
            .await
            .unwrap()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to leave and waits; returns its exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        signal("TERM", self.child.id());
        self.left().await
    }

    /// Waits until it has left; returns its exit code.
    pub(crate) async fn left(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let left = until("the server to leave", async || child.try_wait().unwrap()).await;
        left.code()
    }

    /// Ends it without warning, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // A worker that was just being started holds the log's lock until it has begun to run its own program.
        let Ok(lock) = File::open(self.data.join("log/LOCK")) else {
            return;
        };
        let begun = Instant::now();
        while lock.try_lock().is_err() && begun.elapsed() < LONGEST {
            std::thread::yield_now();
        }
    }

    /// The processes that it started.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.child.id())
    }

    /// Lifts the limit of [`Setup::file_bytes_max`].
    pub(crate) fn make_room(&self) {
        let mut command = bare("prlimit");
        command
            .arg("--pid")
            .arg(self.child.id().to_string())
            .arg("--fsize=unlimited:");
        assert!(command.status().unwrap().success(), "prlimit");
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the server left by itself, {status}:\n{}", self.logged());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let logged = self.logged();
            let lines: Vec<&str> = logged.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("-- the end of the server's log:\n{}\n--", shown.join("\n"));
        }
    }
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(name: &str, process: u32) {
    let mut command = bare("kill");
    // A process that has just left is no fault.
    let _ = command
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .output()
        .unwrap();
}

/// The living children of a process.
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // PID (NAME) STATE PARENT ...; the name may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = fields.split_whitespace();
        let state = fields.next().unwrap_or_default();
        if state != "Z" && fields.next() == Some(&parent.to_string()) {
            found.push(process);
        }
    }
    found
}

/// A short pause of a client that asks again after a refusal.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(50);
