//! One worker process: how it is started and what it says on standard error.

use crate::url_mask::masked;
use rollcall_ingest::Provider;
use rollcall_ingest::pipeline::{GateRule, ShotRule};
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Lines of standard error kept.
const LINES_KEPT: usize = 20;
/// Bytes of a line kept.
const LINE_BYTES_MAX: usize = 2000;

/// What a worker is told, as one line of JSON on its standard input: credentials never stand on a
/// command line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkerOrder {
    /// Where the server listens.
    pub endpoint: String,
    /// Proof that the worker is the one the server started.
    pub token: String,
    /// Lets it in where keys are asked for, to report on this source alone.
    pub key: String,
    /// What to read.
    pub source_id: u64,
    /// Path or URL, credentials included.
    pub uri: String,
    /// `file` or `live`.
    pub kind: &'static str,
    /// Play a file at the pace of its own clock.
    pub realtime: bool,
    /// By which rule shots are told apart.
    pub shots: ShotRule,
    /// By which gates frames and faces are refused.
    pub gates: GateRule,
    /// What runs the models, if it can be had.
    pub provider: Provider,
    /// Folders that files may be read from.
    pub file_roots: Vec<PathBuf>,
    /// FFmpeg protocols allowed.
    pub protocols: Vec<String>,
    /// The program that finds the stream on a page.
    pub resolver_command: Vec<String>,
    /// Models and ONNX Runtime.
    pub assets: PathBuf,
    /// What to read off the faces that are kept.
    pub attributes: Vec<String>,
    /// The detector's id.
    pub detector: String,
    /// The embedder's id.
    pub embedder: String,
    /// Longest sides at which it sees each frame, in pixels.
    pub detect_sizes: Vec<u32>,
    /// Time to open the source.
    pub open_timeout_s: u64,
    /// Time without data after which a read is given up.
    pub read_timeout_s: u64,
}

/// A thread that starts processes.
///
/// Workers ask the kernel to end them with their parent, and the kernel takes the *thread* that
/// started them for the parent: a thread of a pool, which may be taken down when idle, would take
/// its workers with it.
#[derive(Clone, Debug)]
pub(crate) struct Spawner(mpsc::Sender<(Command, oneshot::Sender<io::Result<Child>>)>);

impl Spawner {
    /// Starts the thread; it ends with the last handle.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(runtime: Handle) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<(Command, oneshot::Sender<io::Result<Child>>)>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                while let Ok((mut command, reply)) = inbox.recv() {
                    let _ = reply.send(command.spawn());
                }
            })?;
        Ok(Self(orders))
    }

    async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts workers is gone");
        let (reply, answer) = oneshot::channel();
        self.0.send((command, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    lines: JoinHandle<VecDeque<String>>,
}

impl Worker {
    /// Starts `program` and gives it its order.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) async fn start(
        spawner: &Spawner,
        program: &Path,
        order: &WorkerOrder,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = spawner.spawn(command).await?;
        let source = order.source_id;
        let missing = || io::Error::other("the worker has no standard streams");
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let lines = tokio::spawn(read_lines(stderr, source));
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let mut line = serde_json::to_vec(order).map_err(io::Error::other)?;
        line.push(b'\n');
        // A worker that dies at once leaves a broken pipe; how it ended says more.
        if let Err(error) = stdin.write_all(&line).await {
            tracing::debug!(source, %error, "a worker did not take its order");
        }
        Ok(Self { child, lines })
    }

    /// Waits for the worker to leave. Cancel-safe.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the worker if it has not left within `grace`.
    pub(crate) async fn end(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.child.wait())
            .await
            .is_err()
        {
            let _ = self.child.kill().await;
        }
    }

    /// The last line that the worker wrote to standard error, credentials masked.
    pub(crate) async fn last_line(self) -> Option<String> {
        let Self { child, lines } = self;
        drop(child);
        // A grandchild may hold the pipe open for ever: half a second is enough for what is in it.
        let lines = tokio::time::timeout(Duration::from_millis(500), lines)
            .await
            .ok()?
            .ok()?;
        lines.into_iter().rev().find(|line| !line.trim().is_empty())
    }
}

async fn read_lines(stderr: ChildStderr, source: u64) -> VecDeque<String> {
    let mut kept = VecDeque::with_capacity(LINES_KEPT);
    let mut reader = BufReader::new(stderr);
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    loop {
        let mut bytes = Vec::new();
        // A line without end is cut into pieces.
        match (&mut reader)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .await
        {
            Ok(0) | Err(_) => return kept,
            Ok(_) => {}
        }
        let line = masked(String::from_utf8_lossy(&bytes).trim_end());
        if line.is_empty() {
            continue;
        }
        tracing::debug!(source, "worker: {line}");
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn order() -> WorkerOrder {
        WorkerOrder {
            endpoint: "http://127.0.0.1:1".into(),
            token: "t".into(),
            key: "rk_worker-1_x".into(),
            source_id: 1,
            uri: "rtsp://u:p@h/x".into(),
            kind: "live",
            realtime: false,
            shots: ShotRule::Facerec,
            gates: GateRule::Streamface,
            provider: Provider::Cuda,
            file_roots: vec!["/".into()],
            protocols: vec!["rtsp".into()],
            resolver_command: Vec::new(),
            assets: "/assets".into(),
            attributes: vec!["age".into()],
            detector: "centerface".into(),
            embedder: "mobilefacenet".into(),
            detect_sizes: vec![640],
            open_timeout_s: 1,
            read_timeout_s: 1,
        }
    }

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("worker.sh");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn the_order_comes_over_standard_input_and_the_last_line_is_kept_masked() {
        let folder = tempfile::tempdir().unwrap();
        let text = "#!/bin/sh\nread order\necho \"$@ $order\" > \"$(dirname \"$0\")/seen\"\n\
                    echo first >&2\necho 'cannot open rtsp://u:p@h/x' >&2\nexit 3\n";
        let program = program(folder.path(), text);
        let spawner = Spawner::start(Handle::current()).unwrap();
        let mut worker = Worker::start(&spawner, &program, &order()).await.unwrap();
        assert_eq!(worker.wait().await.unwrap().code(), Some(3));
        assert_eq!(
            worker.last_line().await.as_deref(),
            Some("cannot open rtsp://***@h/x")
        );
        let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        let (arguments, json) = seen.split_once(' ').unwrap();
        assert_eq!(arguments, "run");
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["uri"], "rtsp://u:p@h/x");
        assert_eq!(json["kind"], "live");
        assert_eq!(json["provider"], "cuda");
        assert_eq!(json["file_roots"][0], "/");
        assert_eq!(json["attributes"][0], "age");
        assert_eq!(json["embedder"], "mobilefacenet");
    }

    #[tokio::test]
    async fn a_worker_that_does_not_leave_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), "#!/bin/sh\nexec sleep 1000\n");
        let spawner = Spawner::start(Handle::current()).unwrap();
        let mut worker = Worker::start(&spawner, &program, &order()).await.unwrap();
        worker.end(Duration::ZERO).await;
        assert!(!worker.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let spawner = Spawner::start(Handle::current()).unwrap();
        let error = Worker::start(&spawner, Path::new("/no/such/program"), &order()).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
