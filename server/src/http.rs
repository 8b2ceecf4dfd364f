//! Metrics and health over HTTP. The page (`web`) has the same address.

use crate::access::{Gate, Needs, Role};
use crate::core::{Core, WriteState};
use crate::error::ApiError;
use crate::metrics::EdgeMetrics;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::watch;

/// Whether requests are served, or why not.
pub(crate) type Readiness = Result<(), &'static str>;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct HttpState {
    /// Counters.
    pub metrics: EdgeMetrics,
    /// The collection.
    pub core: Core,
    /// Whether requests are served.
    pub ready: watch::Receiver<Readiness>,
    /// Who may see the metrics.
    pub gate: Arc<Gate>,
}

/// `/metrics`, for readers once there are keys; `/livez`, `/healthz` and `/readyz`, for everybody.
pub(crate) fn router(state: HttpState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(state)
}

async fn metrics(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let needs = Needs::Key {
        least: Role::Reader,
        // They count everything.
        by_source: false,
    };
    if let Err(error) = state.gate.admit(&headers, "/metrics", needs) {
        return refused(&error);
    }
    match state.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn refused(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::FORBIDDEN);
    let text = format!("{}: {error}\n", error.reason());
    (status, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
}

/// A server whose disk is full still answers searches, so it stays ready and says that it takes no
/// writes.
async fn ready(State(state): State<HttpState>) -> Response {
    let ready = *state.ready.borrow();
    let (writes, message) = match state.core.write_state() {
        WriteState::Ok => ("ok", String::new()),
        WriteState::ReadOnly { reason, message } => (reason, message),
    };
    let body = serde_json::json!({
        "ready": ready.is_ok(),
        "reason": ready.err().unwrap_or("ok"),
        "writes": writes,
        "message": message,
        "sequence": state.core.view().sequence,
    });
    let code = if ready.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        format!("{body}\n"),
    )
        .into_response()
}
