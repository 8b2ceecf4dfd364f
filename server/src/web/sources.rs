//! The sources and how they are doing.

use super::form::{Query, address};
use super::guard::Visit;
use super::layout::{Here, Layout};
use super::trouble::{Trouble, shown};
use super::words;
use crate::pb;
use crate::service::SourceDoor;
use askama::Template;
use axum::response::Response;
use std::sync::Arc;

/// Sources of a page.
const SOURCES: i32 = 100;

struct Line {
    id: u64,
    name: String,
    kind: &'static str,
    state: &'static str,
    position: String,
    /// How long ago the newest frame came; empty: not live, or not read.
    lag: String,
    error: String,
}

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    layout: Layout,
    lines: Vec<Line>,
    total: u64,
    next: String,
}

/// A page of sources, oldest first.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    let request = pb::ListSourcesRequest {
        page_size: SOURCES,
        page_token: query.fields.text("page").to_owned(),
    };
    let found = SourceDoor(Arc::clone(&visit.edge)).list(&request).await?;
    let lines = found.sources.iter().map(|source| {
        let error = source.last_error.as_ref();
        let error = error.map(|error| format!("{}: {}", error.reason, error.message));
        Line {
            id: source.id,
            name: source.name.clone(),
            kind: words::kind(source.kind()),
            state: words::state(source.state()),
            position: words::stream_time(source.position.as_ref()),
            lag: source
                .lag
                .as_ref()
                .map(|lag| words::stream_time(Some(lag)))
                .unwrap_or_default(),
            error: error.unwrap_or_default(),
        }
    });
    let token = found.next_page_token;
    let next = address("/sources", [("page", token.as_str())].into_iter());
    let layout = Layout::new(visit, Here::Sources, &query).await?;
    Ok(shown(&SourcesPage {
        layout,
        lines: lines.collect(),
        total: found.total_count,
        next: if token.is_empty() { token } else { next },
    }))
}
