//! The script, the style and the icon, which are part of the program; and pictures of faces.

use super::guard::Visit;
use super::trouble::Trouble;
use crate::error::ApiError;
use crate::pb::{GetThumbnailRequest, get_thumbnail_request::Of};
use crate::service::Sightings;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const FILES: [(&str, &str, &str); 3] = [
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_str!("../../static/page.js"),
    ),
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("../../static/page.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../static/icon.svg"),
    ),
];

/// Browsers ask each time whether it is still the same: after an upgrade it may not be.
const ASK: &str = "no-cache";
/// An exemplar's picture never changes; an hour after it was erased no browser has it.
const HOUR: &str = "private, max-age=3600";

/// One of our own files.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = FILES.iter().find(|(file, _, _)| *file == name);
    match found {
        Some((_, kind, text)) => tagged(&headers, kind, ASK, text.as_bytes().to_vec()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The picture of an exemplar.
pub(super) async fn thumbnail(
    visit: Visit,
    Path(exemplar): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let what = "is no number".to_owned();
    let field = "exemplar";
    let id = exemplar.parse();
    let id = id.map_err(|_| ApiError::InvalidField { field, what })?;
    let request = GetThumbnailRequest {
        of: Some(Of::ExemplarId(id)),
        aligned: false,
    };
    let found = Sightings(Arc::clone(&visit.edge))
        .thumbnail(&request)
        .await?;
    Ok(tagged(&headers, "image/jpeg", HOUR, found.jpeg))
}

/// Bytes, or that they are what the browser has.
fn tagged(
    asked: &HeaderMap,
    kind: &'static str,
    caching: &'static str,
    bytes: Vec<u8>,
) -> Response {
    let tag = format!(
        "\"{}\"",
        URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..12])
    );
    let known = asked.get(header::IF_NONE_MATCH);
    let known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, caching.to_owned()),
        (header::ETAG, tag),
    ];
    if known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, bytes).into_response()
    }
}
