//! Under which name edits are recorded: kept in a cookie, believed.

use super::form::{Posted, Query, back, set_cookie};
use super::guard::Visit;
use super::layout::{Here, Layout};
use super::trouble::{Trouble, shown};
use crate::edge::said_author;
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

#[derive(Template)]
#[template(path = "author.html")]
struct AuthorPage {
    layout: Layout,
    /// Where to go on.
    to: String,
}

/// Asks for the name.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    let to = query.fields.text("to").to_owned();
    let layout = Layout::new(visit, Here::Elsewhere, &query).await?;
    Ok(shown(&AuthorPage { layout, to }))
}

/// Has the browser keep it.
pub(super) async fn save(posted: Posted) -> Result<Response, Trouble> {
    let author = said_author(posted.fields.text("author"))?;
    let to = back(posted.fields.text("back"), None);
    let headers = [
        (header::LOCATION, to),
        (header::SET_COOKIE, set_cookie(&author)),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
