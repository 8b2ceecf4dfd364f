//! A browser without a screen: requests, forms, the feed.

use crate::support::Fixture;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// What came back.
pub struct Answer {
    pub code: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// It is a page, and holds this.
    #[track_caller]
    pub fn holds(&self, what: &str) -> &Self {
        let text = self.text();
        assert!(
            text.contains(what),
            "{what} is not in {}\n{text}",
            self.code
        );
        self
    }

    /// It has this status, and holds this reason.
    #[track_caller]
    pub fn refused(&self, code: u16, reason: &str) -> &Self {
        assert_eq!(self.code, code, "{}", self.text());
        self.holds(&format!("<code>{reason}</code>"))
    }

    /// The value of the first hidden field of that name.
    pub fn field(&self, name: &str) -> String {
        let text = self.text();
        let (_, rest) = text
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The edit that a form has led back with.
    #[track_caller]
    pub fn done(&self) -> u64 {
        assert_eq!(self.code, 303, "{}", self.text());
        let (_, sequence) = self.header("location").split_once("done=").unwrap();
        sequence.parse().unwrap()
    }
}

/// A server's page.
#[derive(Clone, Copy)]
pub struct Page(pub SocketAddr);

impl Page {
    pub fn of(fixture: &Fixture) -> Self {
        Self(fixture.server.http())
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    /// With more headers, each ending in a new line.
    pub async fn get_with(&self, path: &str, headers: &str) -> Answer {
        let host = format!("Host: {}\r\n", self.0);
        self.send("GET", path, &format!("{host}{headers}"), b"")
            .await
    }

    /// A form, with the token that the pages have.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token().await;
        let fields = fields.iter().copied().chain([("csrf", token.as_str())]);
        let body = encoded(fields);
        self.send("POST", path, &self.form_head(""), body.as_bytes())
            .await
    }

    /// The headers of a form, and more.
    pub fn form_head(&self, more: &str) -> String {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        format!("Host: {}\r\n{kind}{more}", self.0)
    }

    /// A photo, with the token that the pages have, or another.
    pub async fn search(&self, photo: &[u8], token: Option<&str>) -> Answer {
        let token = match token {
            Some(token) => token.to_owned(),
            None => self.token().await,
        };
        let part = |name: &str| format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"");
        let mut body = format!("{}\r\n\r\n{token}\r\n", part("csrf")).into_bytes();
        body.extend(format!("{}; filename=\"a.jpg\"\r\n\r\n", part("photo")).bytes());
        body.extend(photo);
        body.extend(b"\r\n--xx--\r\n");
        let kind = "Content-Type: multipart/form-data; boundary=xx\r\n";
        let head = format!("Host: {}\r\n{kind}", self.0);
        self.send("POST", "/search", &head, &body).await
    }

    pub async fn token(&self) -> String {
        self.get("/author").await.field("csrf")
    }

    pub async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has seen enough may hang up.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Answer {
            code: head.split_whitespace().nth(1).unwrap().parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// The live feed.
    pub async fn feed(&self, path: &str, headers: &str) -> Feed {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.0);
        stream.write_all(head.as_bytes()).await.unwrap();
        Feed(BufReader::new(stream))
    }
}

/// Server-sent events.
pub struct Feed(BufReader<TcpStream>);

impl Feed {
    /// The next row and its id.
    pub async fn row(&mut self) -> (String, String) {
        let (mut id, mut event) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the end");
            // Lines of chunks and of heads stand in between.
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                match name {
                    "id" => id = value.to_owned(),
                    "event" => event = value.to_owned(),
                    "data" if event == "row" => return (id, value.to_owned()),
                    _ => {}
                }
            }
        }
    }
}

/// Fields as a form sends them.
pub fn encoded<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let hex = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let fields = fields.into_iter();
    let fields = fields.map(|(name, value)| format!("{}={}", hex(name), hex(value)));
    fields.collect::<Vec<_>>().join("&")
}
