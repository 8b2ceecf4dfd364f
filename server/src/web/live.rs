//! The live feed: the newest rows, and those that follow as server-sent events.

use super::form::Query;
use super::guard::Visit;
use super::layout::{Here, Layout};
use super::rows::{Row, newest, row};
use super::trouble::{Trouble, shown};
use crate::edge::Edge;
use crate::pb::{self, watch_event::Event as Told};
use crate::service::watch;
use askama::Template;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tokio_stream::StreamExt as _;
use tonic::Status;

/// Rows that a page begins with.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    layout: Layout,
    rows: Vec<Row>,
    cursor: String,
}

/// The newest rows.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    let read = visit.edge.blocking(|core| newest(core, ROWS));
    let (rows, cursor) = read.await?;
    let layout = Layout::new(visit, Here::Live, &query).await?;
    Ok(shown(&LivePage {
        layout,
        rows,
        cursor,
    }))
}

#[derive(Template)]
#[template(path = "_row.html")]
struct RowPart<'a> {
    row: &'a Row,
}

/// Rows as they come, after the cursor in `Last-Event-ID`, with which browsers connect again, or else in `after`. Each has its
/// cursor as its id; what has no row moves the cursor on.
pub(super) async fn events(
    visit: Visit,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.filter(|id| !id.is_empty());
    let request = pb::WatchRequest {
        cursor: last.unwrap_or(query.fields.text("after")).to_owned(),
        ..pb::WatchRequest::default()
    };
    let events = watch(&visit.edge, &request)?;
    let edge = Arc::clone(&visit.edge);
    // The stream ends with its error, which is no event: the browser connects again, and is told.
    let events = events.take_while(move |event| event.is_ok() && visit.holds());
    let events = events.then(move |event| sent(Arc::clone(&edge), event));
    Ok(Sse::new(events).into_response())
}

async fn sent(edge: Arc<Edge>, event: Result<pb::WatchEvent, Status>) -> Result<Event, Infallible> {
    let Ok(event) = event else {
        return Ok(Event::default().comment("the end"));
    };
    let id = event.cursor.clone();
    if matches!(event.event, Some(Told::Gap(_))) {
        return Ok(Event::default().id(id).event("gap").data(""));
    }
    let part = edge.blocking(move |core| row(core, &event)).await;
    let (name, data) = match part {
        Ok(None) => ("beat", String::new()),
        Ok(Some(row)) => match (RowPart { row: &row }).render() {
            // Events are lines: a row is one.
            Ok(text) => ("row", text.replace(['\r', '\n'], " ")),
            Err(_) => ("gap", String::new()),
        },
        Err(error) => {
            tracing::warn!(%error, "a row of the feed cannot be shown");
            ("gap", String::new())
        }
    };
    Ok(Event::default().id(id).event(name).data(data))
}
