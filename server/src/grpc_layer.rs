//! Wraps every gRPC call: asks who makes it, counts and times it, limits how many run, ends it at its
//! deadline, and gives a reason to refusals that come from below.

use crate::access::{Caller, Gate, Needs, Notes, needs};
use crate::audit::{Audit, Outcome};
use crate::error::ApiError;
use crate::metrics::EdgeMetrics;
use prost::Message as _;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

/// A call that looks at up to a hundred photos, and may take so many times as long as others.
const PHOTOS_METHOD: &str = "/rollcall.v1.IdentityService/EnrolPerson";
const PHOTOS_TIMES: u32 = 12;
/// Takes as long as it takes: the caller's own deadline bounds how long it is waited for.
const CLUSTER_METHOD: &str = "/rollcall.v1.IdentityService/ClusterIdentities";

/// Ends a call this much before the deadline that the transport enforces without giving a reason.
const DEADLINE_LEAD_MAX: Duration = Duration::from_millis(5);

/// What the layer knows about a method.
#[derive(Clone, Copy, Debug)]
struct Method {
    service: &'static str,
    name: &'static str,
    streams: bool,
    takes_picture: bool,
    needs: Needs,
}

const UNKNOWN: Method = Method {
    service: "unknown",
    name: "unknown",
    streams: true,
    takes_picture: false,
    needs: Needs::UNKNOWN,
};

/// Makes [`GrpcService`]s.
#[derive(Clone, Debug)]
pub(crate) struct GrpcLayer {
    shared: Arc<Shared>,
    /// Whether nobody but this server's own workers is let in.
    workers_only: bool,
}

#[derive(Debug)]
struct Shared {
    gate: Arc<Gate>,
    audit: Option<Arc<Audit>>,
    metrics: EdgeMetrics,
    methods: HashMap<String, Method>,
    permits: Arc<Semaphore>,
    timeout: Duration,
    message_bytes_max: usize,
}

impl GrpcLayer {
    /// A layer that knows the methods of `descriptors` (an encoded `FileDescriptorSet`); others
    /// count as unknown. Whoever `gate` does not let in is refused before anything is read. At most
    /// `requests_max` unary calls run at a time, each for at most `timeout`.
    pub(crate) fn new(
        gate: Arc<Gate>,
        audit: Option<Arc<Audit>>,
        metrics: EdgeMetrics,
        descriptors: &[&[u8]],
        requests_max: usize,
        timeout: Duration,
        message_bytes_max: usize,
    ) -> Self {
        let methods = descriptors
            .iter()
            .flat_map(|bytes| methods_of(bytes))
            .collect();
        let permits = Arc::new(Semaphore::new(requests_max.min(Semaphore::MAX_PERMITS)));
        Self {
            shared: Arc::new(Shared {
                gate,
                audit,
                metrics,
                methods,
                permits,
                timeout,
                message_bytes_max,
            }),
            workers_only: false,
        }
    }

    /// The same, for this server's own workers alone.
    pub(crate) fn for_workers(&self) -> Self {
        Self {
            workers_only: true,
            ..self.clone()
        }
    }
}

/// The methods that a descriptor set describes, by path.
fn methods_of(descriptors: &[u8]) -> Vec<(String, Method)> {
    let set = prost_types::FileDescriptorSet::decode(descriptors).unwrap_or_default();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            // Leaked once at start: a handful of names that live as long as the process.
            let name: &'static str = format!("{}.{}", file.package(), service.name()).leak();
            for method in &service.method {
                let known = Method {
                    service: name,
                    name: method.name().to_owned().leak(),
                    streams: method.client_streaming() || method.server_streaming(),
                    takes_picture: matches!(method.name(), "SearchImage" | "Follow"),
                    needs: needs(name, method.name()),
                };
                methods.push((format!("/{name}/{}", method.name()), known));
            }
        }
    }
    methods
}

impl<S> Layer<S> for GrpcLayer {
    type Service = GrpcService<S>;

    fn layer(&self, inner: S) -> GrpcService<S> {
        GrpcService {
            inner,
            shared: Arc::clone(&self.shared),
            workers_only: self.workers_only,
        }
    }
}

/// A service whose calls are counted, timed, limited and ended at their deadline.
#[derive(Clone, Debug)]
pub(crate) struct GrpcService<S> {
    inner: S,
    shared: Arc<Shared>,
    workers_only: bool,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for GrpcService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let path = request.uri().path();
        let method = shared.methods.get(path).copied().unwrap_or(UNKNOWN);
        let who = if self.workers_only {
            shared.gate.admit_worker(request.headers())
        } else {
            shared.gate.who(request.headers(), method.needs)
        };
        let named = who.as_ref().map_or(Caller::ANYBODY, Clone::clone);
        let admitted = who.and_then(|caller| {
            caller.check(path, method.needs)?;
            Ok(caller)
        });
        let Some(audit) = &shared.audit else {
            return self.carry_out(request, method, admitted, Arc::default());
        };
        let peer = request.extensions().get::<TcpConnectInfo>();
        let peer = peer.and_then(TcpConnectInfo::remote_addr);
        let name = format!("{}/{}", method.service, method.name);
        let stranger = named == Caller::ANYBODY && shared.gate.asks();
        let pending = audit.pending(&named, peer, name, method.needs, stranger);
        let answer = self.carry_out(request, method, admitted, pending.notes());
        Box::pin(async move {
            let response = answer.await?;
            let (outcome, result, reason) = outcome(response.headers());
            pending.answered(outcome, result, reason).await;
            Ok(response)
        })
    }
}

/// What became of a call, as far as the head of its answer tells: code, and the reason of a refusal.
fn outcome(headers: &HeaderMap) -> (Outcome, &'static str, String) {
    let Some(status) = Status::from_header_map(headers) else {
        return (Outcome::Answered, "OK", String::new());
    };
    let info = status.get_details_error_info();
    let reason = info.map(|info| info.reason).unwrap_or_default();
    let outcome = if status.code() == Code::Unauthenticated {
        Outcome::Stranger
    } else if status.code() == Code::PermissionDenied {
        Outcome::Refused
    } else {
        Outcome::Answered
    };
    (outcome, code_name(status.code()), reason)
}

impl<S> GrpcService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    /// Carries a call out, if its caller was let in, within the limits.
    fn carry_out(
        &mut self,
        request: Request<Body>,
        method: Method,
        admitted: Result<Caller, ApiError>,
        notes: Arc<Mutex<Notes>>,
    ) -> Answer<S::Error> {
        let shared = Arc::clone(&self.shared);
        let mut call = Call {
            shared: Arc::clone(&shared),
            method,
            begun: Instant::now(),
            code: None,
        };
        let caller = match admitted {
            Ok(caller) => caller,
            Err(error) => return Box::pin(async move { Ok(call.refuse(error)) }),
        };
        let permit = if method.streams {
            None
        } else {
            match Arc::clone(&shared.permits).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    let error = ApiError::Overloaded {
                        what: "too many requests",
                        limit: "requests",
                    };
                    return Box::pin(async move { Ok(call.refuse(error)) });
                }
            }
        };
        let asked = request
            .headers()
            .get("grpc-timeout")
            .and_then(|v| parse_timeout(v.to_str().ok()?));
        let most = if request.uri().path() == PHOTOS_METHOD {
            shared.timeout.saturating_mul(PHOTOS_TIMES)
        } else {
            shared.timeout
        };
        let unbounded = method.streams || request.uri().path() == CLUSTER_METHOD && asked.is_none();
        let limit = asked.map_or(most, |asked| asked.min(most));
        let answer = caller.clone().during(notes, self.inner.call(request));
        Box::pin(async move {
            let response = if unbounded {
                answer.await?
            } else {
                let early = (limit / 10).min(DEADLINE_LEAD_MAX);
                match tokio::time::timeout(limit.saturating_sub(early), answer).await {
                    Ok(response) => response?,
                    Err(_) => {
                        let milliseconds = limit.as_millis();
                        return Ok(call.refuse(ApiError::DeadlineExceeded { milliseconds }));
                    }
                }
            };
            if let Some(status) = Status::from_header_map(response.headers()) {
                let too_large = status.code() == Code::OutOfRange
                    && status.message().contains("message length too large");
                if too_large {
                    let max = shared.message_bytes_max;
                    return Ok(call.refuse(ApiError::MessageTooLarge {
                        max,
                        picture: method.takes_picture,
                    }));
                }
                call.code = Some(status.code());
            }
            let (parts, body) = response.into_parts();
            Ok(Response::from_parts(
                parts,
                Body::new(Watched {
                    body,
                    call,
                    caller,
                    _permit: permit,
                }),
            ))
        })
    }
}

/// One call, counted when it is dropped.
struct Call {
    shared: Arc<Shared>,
    method: Method,
    begun: Instant,
    code: Option<Code>,
}

impl Call {
    fn refuse(&mut self, error: ApiError) -> Response<Body> {
        let status = Status::from(error);
        self.code = Some(status.code());
        status.into_http()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Method { service, name, .. } = self.method;
        // A call dropped before its end was hung up on by the caller.
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        let metrics = &self.shared.metrics;
        metrics
            .requests
            .with_label_values(&[service, name, code])
            .inc();
        let seconds = self.begun.elapsed().as_secs_f64();
        metrics
            .request_seconds
            .with_label_values(&[service, name])
            .observe(seconds);
    }
}

/// A reply's body that reads the call's code from its trailers. A stream ends with its caller's key.
struct Watched {
    body: Body,
    call: Call,
    caller: Caller,
    _permit: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && frame.is_data()
            && this.call.method.streams
            && this.call.method.needs != Needs::Nothing
            && let Err(error) = this.call.shared.gate.still(&this.caller)
        {
            let status = Status::from(error);
            this.call.code = Some(status.code());
            this.body = Body::empty();
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))));
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.code = Some(code_of(trailers));
        }
        if let Poll::Ready(Some(Err(status))) = &frame {
            this.call.code = Some(status.code());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn code_of(trailers: &HeaderMap) -> Code {
    trailers
        .get("grpc-status")
        .map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()))
}

/// The canonical name of a code, for the metric's label.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The value of a `grpc-timeout` header: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for text in ["", "S", "12", "123456789S", "-1S", "1x", "1é"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn methods_come_from_the_descriptors() {
        let methods: HashMap<_, _> = methods_of(crate::FILE_DESCRIPTORS).into_iter().collect();
        let search = methods["/rollcall.v1.SearchService/SearchImage"];
        assert!(!search.streams && search.takes_picture);
        assert_eq!(
            (search.service, search.name),
            ("rollcall.v1.SearchService", "SearchImage")
        );
        assert!(methods["/rollcall.v1.WatchService/Watch"].streams);
        assert!(methods_of(b"nonsense").is_empty());
    }

    fn layer(requests_max: usize) -> GrpcLayer {
        let metrics = EdgeMetrics::register(&prometheus::Registry::new()).unwrap();
        let timeout = Duration::from_secs(60);
        let nowhere = Config {
            data: "/no/such/folder".into(),
            ..Config::default()
        };
        GrpcLayer::new(
            Arc::new(Gate::open(&nowhere).unwrap()),
            None,
            metrics,
            &[crate::FILE_DESCRIPTORS],
            requests_max,
            timeout,
            1 << 20,
        )
    }

    fn request(timeout: &str) -> Request<Body> {
        let path = "/rollcall.v1.AdminService/GetStatus";
        let request = Request::builder().uri(path).header("grpc-timeout", timeout);
        request.body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_call_past_its_deadline_is_ended_with_a_reason() {
        let never = tower::service_fn(|_| std::future::pending::<Result<Response<Body>, Status>>());
        let layer = layer(1);
        let answer = layer.layer(never).call(request("10m")).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "DEADLINE_EXCEEDED"
        );
        let counted = layer.shared.metrics.requests.with_label_values(&[
            "rollcall.v1.AdminService",
            "GetStatus",
            "DEADLINE_EXCEEDED",
        ]);
        assert_eq!(counted.get(), 1);
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_until_one_ends() {
        let echo = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Status>(Response::new(Body::new(axum::body::Body::from("x"))))
        });
        let mut service = layer(1).layer(echo);
        let first = service.call(request("1M")).await.unwrap();
        // The place is held until the reply is read or dropped.
        let second = service.call(request("1M")).await.unwrap();
        let status = Status::from_header_map(second.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        drop(first);
        let third = service.call(request("1M")).await.unwrap();
        assert!(Status::from_header_map(third.headers()).is_none());
    }
}
