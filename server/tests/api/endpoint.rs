//! An HTTP endpoint that answers as it is told to.

use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// A status and `Retry-After`, seconds.
    After(u16, u64),
    /// A status and `Location`.
    Redirect(String),
    Hang,
    Close,
}

/// A request that has come.
#[derive(Debug)]
pub struct Posted {
    pub headers: BTreeMap<String, String>,
    pub bytes: Vec<u8>,
    pub body: Value,
}

/// Answers from a list, then with 200 for ever.
pub struct Endpoint {
    pub url: String,
    posted: mpsc::UnboundedReceiver<Posted>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Endpoint {
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, posted) = mpsc::unbounded_channel();
        let replies = Arc::new(Mutex::new(VecDeque::from_iter(replies)));
        let shared = Arc::clone(&replies);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, sender.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            url,
            posted,
            replies,
        }
    }

    pub fn then(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    /// The next request.
    pub async fn next(&mut self) -> Posted {
        self.posted.recv().await.unwrap()
    }

    /// Whether a request is there that was not taken.
    pub fn is_quiet(&mut self) -> bool {
        self.posted.try_recv().is_err()
    }
}

async fn serve(
    mut stream: TcpStream,
    sender: mpsc::UnboundedSender<Posted>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) {
    while let Some(posted) = read(&mut stream).await {
        let reply = replies.lock().unwrap().pop_front();
        let _ = sender.send(posted);
        let (status, header) = match reply.unwrap_or(Reply::Status(200)) {
            Reply::Status(status) => (status, String::new()),
            Reply::After(status, seconds) => (status, format!("retry-after: {seconds}\r\n")),
            Reply::Redirect(to) => (302, format!("location: {to}\r\n")),
            Reply::Hang => return std::future::pending().await,
            Reply::Close => return,
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{header}content-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Posted> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    assert!(text.starts_with("POST /hook HTTP/1.1\r\n"), "{text}");
    let headers: BTreeMap<String, String> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Posted {
        headers,
        body: serde_json::from_slice(&body).unwrap(),
        bytes: body,
    })
}
