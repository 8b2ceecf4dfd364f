//! What every request to the page passes: other web sites are kept out, what runs at a time is bounded, headers that tell the
//! browser to be strict are set, and the time it took is counted.

use super::form::{self, named_cookie};
use super::session::{self, Sessions};
use super::trouble::{Refusal, Trouble};
use crate::access::{Caller, Needs, Role, has_key};
use crate::audit::{Outcome, Pending};
use crate::config::Config;
use crate::edge::Edge;
use crate::error::ApiError;
use crate::hex::to_hex;
use crate::tls::Peer;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pages made at a time; more are refused.
const PAGES_MAX: usize = 64;
/// Photos taken at a time, each of which lies in memory whole; more are refused.
const UPLOADS_MAX: usize = 4;

/// Sent with everything. No script, style or picture from elsewhere, none written into the page; no other site may put the
/// page into a frame, show its pictures, or learn its addresses.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not no-referrer, with which browsers hide the origin of forms from us as well.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The page of one server.
#[derive(Debug)]
pub(crate) struct Site {
    /// Set once the server has started.
    edge: OnceLock<Arc<Edge>>,
    /// Who is signed in, and what stands in every form. Only pages of this server hold that, and no other site may read
    /// those, so a form that has it is one of ours. It is another for each session, and after each start.
    sessions: Sessions,
    /// Whether the page comes over TLS alone.
    secure: bool,
    hosts: Vec<String>,
    pages: Semaphore,
    uploads: Arc<Semaphore>,
}

impl Site {
    /// The page, which answers that the server is starting until [`Site::open`].
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            edge: OnceLock::new(),
            sessions: Sessions::new(),
            secure: config.uses_tls(),
            hosts: config.http.allowed_hosts.clone(),
            pages: Semaphore::new(PAGES_MAX),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        }
    }

    /// From now on pages are served.
    pub(crate) fn open(&self, edge: Arc<Edge>) {
        // Called once; a second edge would be ignored.
        let _ = self.edge.set(edge);
    }

    fn admit(
        self: &Arc<Self>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        named: &mut Caller,
    ) -> Result<Visit, Trouble> {
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        let host = host.unwrap_or_default();
        if !answers_to(host, &self.hosts) {
            let host = host.to_owned();
            return Err(Refusal::Host { host }.into());
        }
        if !matches!(*method, Method::GET | Method::HEAD) && !is_same_site(host, headers) {
            return Err(Refusal::CrossSite.into());
        }
        let edge = self.edge.get().ok_or(Refusal::Starting)?;
        let needs = needs(method, path);
        let cookie = named_cookie(headers, session::COOKIE);
        let by_header = edge.gate.asks() && has_key(headers);
        let (caller, session) = match cookie.filter(|_| edge.gate.asks() && !by_header) {
            // Whose session is over is somebody new to the pages that need none.
            Some(value) => match self.sessions.caller(&edge.gate, value) {
                Ok(caller) => {
                    named.clone_from(&caller);
                    caller.check(path, needs)?;
                    (caller, value)
                }
                Err(_) if needs == Needs::Nothing => (Caller::ANYBODY, ""),
                Err(error) => return Err(error.into()),
            },
            None => (edge.gate.admit(headers, path, needs)?, ""),
        };
        let said = form::cookie(headers);
        let nobody = if edge.gate.asks() { "" } else { "page" };
        Ok(Visit {
            edge: Arc::clone(edge),
            token: self.sessions.form_token(session),
            site: Arc::clone(self),
            author: said.unwrap_or_else(|| nobody.to_owned()),
            caller,
            by_header,
        })
    }
}

impl Site {
    /// The request as it is to be recorded, once the server has started.
    fn pending(&self, caller: &Caller, request: &Request) -> Option<Pending> {
        let edge = self.edge.get()?;
        let (method, path) = (request.method(), request.uri().path());
        let peer = request.extensions().get::<ConnectInfo<Peer>>();
        let peer = peer.map(|ConnectInfo(Peer(peer))| *peer);
        let needs = match needs(method, path) {
            // Whoever signs in, or tries to.
            Needs::Nothing if *method == Method::POST => Needs::Key {
                least: Role::Editor,
                by_source: false,
            },
            needs @ (Needs::Nothing | Needs::Key { .. }) => needs,
        };
        // Longer ones lead nowhere.
        let path: String = path.chars().take(AUDITED_PATH_CHARS).collect();
        let call = format!("{method} {path}");
        let stranger = *caller == Caller::ANYBODY && edge.gate.asks();
        Some(edge.audit.pending(caller, peer, call, needs, stranger))
    }
}

/// What a request to the page needs. Forms change something, but for a few; our own files and signing in are for all.
fn needs(method: &Method, path: &str) -> Needs {
    if path == "/sign-in" || path.starts_with("/static/") {
        return Needs::Nothing;
    }
    let looks = ["/search", "/author", "/sign-out"].contains(&path);
    let looks = looks || matches!(*method, Method::GET | Method::HEAD);
    Needs::Key {
        least: if looks { Role::Reader } else { Role::Editor },
        // The pages show everybody.
        by_source: false,
    }
}

/// One request, let in.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) edge: Arc<Edge>,
    site: Arc<Site>,
    /// Who edits, by their own word.
    pub(super) author: String,
    caller: Caller,
    /// What a form must send back to be taken for one of ours.
    token: String,
    /// The key came with the request itself, which no browser does for another site.
    by_header: bool,
}

impl Visit {
    /// What a form must send back to be taken for one of ours.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Under which name edits are recorded.
    pub(super) fn signs(&self) -> String {
        self.caller.author(&self.author)
    }

    /// The key's name and role, where keys are asked for.
    pub(super) fn signed_in(&self) -> Option<(&str, &'static str)> {
        Some((self.caller.name()?, self.caller.role()?.name()))
    }

    /// Whether the caller may edit.
    pub(super) fn edits(&self) -> bool {
        self.caller.may(Role::Editor)
    }

    /// A new session for the owner of a key.
    pub(super) fn begin(&self, caller: &Caller) -> Option<String> {
        self.site.sessions.begin(&self.edge.gate, caller)
    }

    /// Whether whoever was let in still would be.
    pub(super) fn holds(&self) -> bool {
        self.edge.gate.still(&self.caller).is_ok()
    }

    /// Whether cookies are for TLS alone.
    pub(super) fn secure(&self) -> bool {
        self.site.secure
    }

    /// Whether a form is one of ours.
    pub(super) fn knows(&self, token: &str) -> bool {
        let expected = self.token.as_bytes();
        // All of it, so that the time says nothing of where it differs.
        let differences = expected.iter().zip(token.bytes()).map(|(a, b)| a ^ b);
        let same = expected.len() == token.len() && differences.fold(0, |all, one| all | one) == 0;
        same || self.by_header
    }

    /// A new request id: a form that is sent twice has one effect.
    pub(super) fn request_id(&self) -> String {
        let mut bytes = rand::random::<[u8; 16]>();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = to_hex(&bytes);
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        parts.join("-")
    }

    /// A place for one photo.
    pub(super) fn upload(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.site.uploads).try_acquire_owned();
        place.map_err(|_| ApiError::Overloaded {
            what: "too many photos are being sent",
            limit: "uploads",
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Trouble> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| ApiError::Internal("a page was asked for past the guard").into())
    }
}

/// Characters of a path that the audit log has.
const AUDITED_PATH_CHARS: usize = 200;

/// Lets a request through, or not.
pub(super) async fn guard(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let route = request.uri().path().split('/').nth(1).unwrap_or_default();
    let route = if route.is_empty() { "live" } else { route }.to_owned();
    let path = request.uri().path();
    let mut named = Caller::ANYBODY;
    let admitted = site.admit(request.method(), path, request.headers(), &mut named);
    if let Ok(visit) = &admitted {
        named.clone_from(&visit.caller);
    }
    let pending = site.pending(&named, &request);
    let mut reason = String::new();
    let mut response = match admitted {
        Err(trouble) if asks_to_sign_in(&request, &trouble) => to_sign_in(request.uri()),
        Err(trouble) => {
            trouble.reason().clone_into(&mut reason);
            trouble.into_response()
        }
        Ok(visit) => {
            let limit = visit.edge.config.request_timeout();
            let caller = visit.caller.clone();
            let notes = pending.as_ref().map(Pending::notes).unwrap_or_default();
            request.extensions_mut().insert(visit);
            match site.pages.try_acquire() {
                Err(_) => Trouble::from(ApiError::Overloaded {
                    what: "too many pages are being made",
                    limit: "pages",
                })
                .into_response(),
                Ok(_place) => {
                    match tokio::time::timeout(limit, caller.during(notes, next.run(request))).await
                    {
                        Ok(response) => response,
                        Err(_) => Trouble::from(ApiError::DeadlineExceeded {
                            milliseconds: limit.as_millis(),
                        })
                        .into_response(),
                    }
                }
            }
        }
    };
    if let Some(pending) = pending {
        let code = response.status();
        let outcome = match code {
            StatusCode::UNAUTHORIZED => Outcome::Stranger,
            // Refused before anybody was asked who they are.
            StatusCode::FORBIDDEN
                if matches!(reason.as_str(), "HOST_NOT_ALLOWED" | "CROSS_SITE") =>
            {
                Outcome::Stranger
            }
            StatusCode::FORBIDDEN => Outcome::Refused,
            _ => Outcome::Answered,
        };
        pending.answered(outcome, code.as_str(), reason).await;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Faces and names stay out of the browser's cache, unless a handler says otherwise.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(edge) = site.edge.get() {
        let code = response.status();
        let seconds = &edge.metrics.page_seconds;
        seconds
            .with_label_values(&[route.as_str(), code.as_str()])
            .observe(begun.elapsed().as_secs_f64());
    }
    response
}

/// Whether it is a page that somebody has opened who is not signed in.
fn asks_to_sign_in(request: &Request, trouble: &Trouble) -> bool {
    let accepts = request.headers().get(header::ACCEPT);
    let page = accepts.is_some_and(|kinds| kinds.to_str().is_ok_and(|k| k.contains("text/html")));
    page && *request.method() == Method::GET && trouble.reason() == "KEY_MISSING"
}

/// Leads to where one signs in, and from there back.
fn to_sign_in(from: &Uri) -> Response {
    let here = from.path_and_query().map_or("/", |here| here.as_str());
    let to = form::address("/sign-in", [("to", here)].into_iter());
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// Whether the page answers under this `Host`: `localhost`, a configured name, or any address in numbers. Another site can make
/// its own name lead to this machine (DNS rebinding) and so have its scripts taken for ours; it cannot do that with numbers.
fn answers_to(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        // Only a port: an address of version 6 stands in brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let six = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || six.is_some_and(|six| six.parse::<Ipv6Addr>().is_ok())
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a form was sent from a page of this server, as far as the browser tells. The token in the form is asked for too.
fn is_same_site(host: &str, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetched = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN).map(|origin| {
        let schemes = ["http://", "https://"].iter();
        let mut hosts = schemes.filter_map(|scheme| origin.strip_prefix(scheme));
        hosts.any(|from| from.eq_ignore_ascii_case(host))
    });
    fetched.is_none_or(|site| site == "same-origin") && origin.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_no_hosts() {
        let names = ["faces.example".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "127.0.0.1:9464",
            "[::1]:80",
            "[::1]",
            "10.1.2.3",
            "faces.example:443",
        ] {
            assert!(answers_to(host, &names), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "::1",
            "[evil]:80",
            "x@localhost",
        ] {
            assert!(!answers_to(host, &names), "{host}");
        }
    }

    #[test]
    fn forms_of_others_are_told_by_what_the_browser_says() {
        let check = |headers: &[(HeaderName, &str)], expected| {
            let headers = headers.iter().cloned();
            let headers = headers.map(|(n, v)| (n, HeaderValue::from_str(v).unwrap()));
            let headers: HeaderMap = headers.collect();
            assert_eq!(
                is_same_site("localhost:1", &headers),
                expected,
                "{headers:?}"
            );
        };
        let site = || HeaderName::from_static("sec-fetch-site");
        check(&[], true);
        check(&[(site(), "same-origin")], true);
        check(&[(header::ORIGIN, "http://localhost:1")], true);
        check(&[(header::ORIGIN, "https://localhost:1")], true);
        for other in ["cross-site", "same-site", "none"] {
            check(&[(site(), other)], false);
        }
        for other in ["http://localhost:2", "http://evil", "null", ""] {
            check(&[(header::ORIGIN, other)], false);
            check(&[(site(), "same-origin"), (header::ORIGIN, other)], false);
        }
    }
}
