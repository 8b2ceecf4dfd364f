//! HTTP enough for tests: GET, and a server of a few fixed answers.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

/// Asks `HOST:PORT` for a path.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<Answer> {
    ask(address, path, "").await
}

/// Asks with a key.
pub(crate) async fn get_with(address: &str, path: &str, key: &str) -> std::io::Result<Answer> {
    ask(address, path, &format!("Authorization: Bearer {key}\r\n")).await
}

async fn ask(address: &str, path: &str, headers: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {head}")))?;
    Ok(Answer {
        code,
        body: body.to_owned(),
    })
}

/// Serves fixed files on a free port of 127.0.0.1 until dropped.
pub(crate) struct Files {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Files {
    /// Serves `files`, by path.
    pub(crate) async fn serve(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let files: BTreeMap<&str, Vec<u8>> = files.into_iter().collect();
        let files = Arc::new(files);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (files, seen) = (Arc::clone(&files), Arc::clone(&seen));
                // A client that leaves early is its own business.
                tokio::spawn(
                    async move { answer(stream, &files, &seen).await.unwrap_or_default() },
                );
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    stream: TcpStream,
    files: &BTreeMap<&str, Vec<u8>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default();
    asked.lock().unwrap().push(path.to_owned());
    let (status, body) = match files.get(path) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b"no such file\n"[..]),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// Takes what is posted to it, on a free port of 127.0.0.1, until dropped; refuses every third request.
pub(crate) struct Hook {
    address: String,
    taken: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                // A server that was killed leaves half a request.
                take(stream, number % 3 != 0, &shared)
                    .await
                    .unwrap_or_default();
            }
        });
        Self {
            address,
            taken,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The bodies of the requests that were not refused.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(stream: TcpStream, accept: bool, taken: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).await? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    if accept {
        let body = serde_json::from_slice(&body).unwrap();
        taken.lock().unwrap().push(body);
    }
    let status = if accept { "200 OK" } else { "500 Not Now" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let stream = stream.get_mut();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
