//! One HTTP request and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What an endpoint said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When it wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or one that broke.
    #[error("no answer: {0}")]
    Connection(String),
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
}

/// What is sent.
pub(super) struct Letter {
    pub(super) url: String,
    pub(super) body: Vec<u8>,
    /// Value of the signature header, if it is signed.
    pub(super) signature: Option<String>,
    pub(super) id: String,
}

/// Sends requests. Redirects are not followed: they would lead past the list of hosts.
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl Poster {
    pub(super) fn new(timeout: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .build();
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(30))
                .build(connector),
            timeout,
        }
    }

    pub(super) async fn post(&self, letter: Letter) -> Result<Answer, PostError> {
        let uri: Uri = letter.url.parse().map_err(hyper::http::Error::from)?;
        let credentials = credentials(&letter.url);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .header("rollcall-alert-id", letter.id);
        if let Some(signature) = letter.signature {
            request = request.header("rollcall-signature", signature);
        }
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let request = request.body(Full::new(Bytes::from(letter.body)))?;
        let sent = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = sent
            .map_err(|_| PostError::Timeout(self.timeout))?
            .map_err(|error| PostError::Connection(causes(&error)))?;
        // What else it says is not read: dropping it closes the connection.
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: answer.headers().get(RETRY_AFTER).and_then(pause),
        })
    }
}

/// The system's certificates; without any, https fails and says so.
fn tls() -> ClientConfig {
    let builder = || {
        // Named, so that it does not depend on what else is linked.
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
    };
    match builder().with_native_roots() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificates are installed: webhooks over https will fail");
            let none = RootCertStore::empty();
            builder().with_root_certificates(none).with_no_client_auth()
        }
    }
}

/// What `https://user:password@host/` asks to be sent along: basic authentication (RFC 7617).
fn credentials(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair = decoded(user);
    pair.push(b':');
    pair.extend(decoded(password.unwrap_or_default()));
    Some(format!("Basic {}", BASE64.encode(pair)))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn https_to_somebody_who_does_not_speak_it_is_no_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let letter = Letter {
            url: format!("https://{}/", listener.local_addr().unwrap()),
            body: Vec::new(),
            signature: None,
            id: String::new(),
        };
        let answering = async {
            use tokio::io::AsyncWriteExt as _;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream
        };
        let poster = Poster::new(Duration::from_secs(60));
        let (answer, _stream) = tokio::join!(poster.post(letter), answering);
        assert!(
            matches!(answer, Err(PostError::Connection(_))),
            "{answer:?}"
        );
    }

    #[test]
    fn credentials_of_an_address_are_sent_along() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(credentials(url).as_deref(), expected, "{url}");
        };
        check("https://example.org/hook", None);
        // The example of RFC 7617.
        let expected = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        check("https://Aladdin:open%20sesame@example.org/hook", expected);
        check("https://a@example.org/", Some("Basic YTo="));
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        let check = |text: &str| pause(&HeaderValue::from_str(text).unwrap());
        assert_eq!(check("120"), Some(Duration::from_secs(120)));
        assert_eq!(check("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = SystemTime::now() + Duration::from_secs(500);
        let pause = check(&httpdate::fmt_http_date(later)).unwrap();
        assert!((Duration::from_secs(400)..=Duration::from_secs(500)).contains(&pause));
        assert_eq!(check("soon"), None);
    }
}
