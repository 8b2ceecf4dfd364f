//! Signing in with a key, and out.

use super::form::{Posted, Query, back};
use super::guard::Visit;
use super::session;
use super::trouble::{Trouble, shown};
use super::words;
use crate::access::{Needs, Role};
use crate::error::ApiError;
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    token: String,
    /// Where to go on.
    to: String,
    /// What was wrong with the key, and the reason.
    trouble: Option<(String, &'static str)>,
}

/// Asks for a key.
pub(super) async fn page(visit: Visit, query: Query) -> Response {
    shown(&SignInPage {
        token: visit.token().to_owned(),
        to: query.fields.text("to").to_owned(),
        trouble: None,
    })
}

/// Begins a session, if the key is one for the page.
pub(super) async fn begin(posted: Posted) -> Response {
    let (visit, fields) = (&posted.visit, &posted.fields);
    let gate = &visit.edge.gate;
    let reads = Needs::Key {
        least: Role::Reader,
        by_source: false,
    };
    let caller = gate.caller(fields.text("key").trim()).and_then(|caller| {
        caller.check("/sign-in", reads)?;
        Ok(caller)
    });
    let begun = caller.and_then(|caller| {
        let session = visit.begin(&caller);
        session.ok_or(ApiError::KeyInvalid)
    });
    match begun {
        Ok(session) => {
            let to = back(fields.text("back"), None);
            let headers = [
                (header::LOCATION, to),
                (header::SET_COOKIE, session::set(&session, visit.secure())),
            ];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(error) => {
            let status = StatusCode::from_u16(error.http_status());
            let page = shown(&SignInPage {
                token: visit.token().to_owned(),
                to: fields.text("back").to_owned(),
                trouble: Some((words::sentence(&error.to_string()), error.reason())),
            });
            (status.unwrap_or(StatusCode::UNAUTHORIZED), page).into_response()
        }
    }
}

/// Ends the session.
pub(super) async fn end(posted: Posted) -> Result<Response, Trouble> {
    let headers = [
        (header::LOCATION, "/sign-in".to_owned()),
        (header::SET_COOKIE, session::clear(posted.visit.secure())),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
