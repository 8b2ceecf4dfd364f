//! Forms that change something. Each goes through the function that the API's call goes through, with the author of the
//! cookie, the etags that the page was made with, and a request id that makes a form sent twice have one effect.

use super::form::{Posted, back};
use super::guard::Visit;
use super::refused::{Instead, refused};
use super::trouble::Trouble;
use crate::error::ApiError;
use crate::pb;
use crate::service::Identities;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// Says something about somebody: what the form has fields for.
pub(super) async fn update(Path(id): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let fields = &posted.fields;
    let flag = |name| fields.find(name).map(|value| value == "yes");
    let text = |name| fields.find(name).map(str::to_owned);
    let mut request = pb::UpdateIdentityRequest {
        name: text("name"),
        external_id: text("external_id"),
        confirmed: flag("confirmed"),
        hidden: flag("hidden"),
        ..about(id, &posted)
    };
    let key = fields.text("key").trim().to_owned();
    match fields.text("metadata") {
        "set" => {
            // Browsers end lines with two characters.
            let value = fields.text("value").replace("\r\n", "\n");
            request.set_metadata.insert(key, value);
        }
        "remove" => request.remove_metadata.push(key),
        _ => {}
    }
    let made = identities(&posted.visit).update(request).await;
    finish(&posted, Instead::Merge(id), made).await
}

/// Makes somebody a part of somebody else, named by id or by name.
pub(super) async fn merge(Path(id): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let fields = &posted.fields;
    let request = pb::MergeIdentitiesRequest {
        from_identity_id: id,
        into_identity_id: whom(&posted.visit, fields.text("into")).await?,
        from_etag: fields.text("etag").to_owned(),
        into_etag: fields.text("into_etag").to_owned(),
        author: posted.visit.author.clone(),
        reason: fields.text("reason").to_owned(),
        request_id: fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).merge(request).await;
    finish(&posted, Instead::Merge(id), made).await
}

/// Says that somebody and somebody else are two people.
pub(super) async fn separate(Path(id): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let fields = &posted.fields;
    let request = pb::SeparateRequest {
        identity_id: id,
        other_identity_id: whom(&posted.visit, fields.text("other")).await?,
        etag: fields.text("etag").to_owned(),
        other_etag: fields.text("other_etag").to_owned(),
        author: posted.visit.author.clone(),
        reason: fields.text("reason").to_owned(),
        request_id: fields.text("request_id").to_owned(),
        ..pb::SeparateRequest::default()
    };
    let made = identities(&posted.visit).separate(request).await;
    finish(&posted, Instead::Nothing, made).await
}

/// Says that a fact no longer holds.
pub(super) async fn forget(Path(fact): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let request = pb::ForgetFactRequest {
        fact_id: fact,
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).forget(request).await;
    finish(&posted, Instead::Nothing, made).await
}

/// Takes an edit back, or what can be of it.
pub(super) async fn undo(Path(sequence): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let partial = posted.fields.is_set("partial");
    let request = pb::UndoEditRequest {
        sequence,
        allow_duplicate_name: posted.fields.is_set("allow_duplicate_name"),
        partial,
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).undo(request).await;
    let instead = if partial {
        Instead::Nothing
    } else {
        Instead::Part(sequence)
    };
    finish(&posted, instead, made).await
}

pub(super) fn identities(visit: &Visit) -> Identities {
    Identities(Arc::clone(&visit.edge))
}

fn about(id: u64, posted: &Posted) -> pb::UpdateIdentityRequest {
    pb::UpdateIdentityRequest {
        identity_id: id,
        etag: posted.fields.text("etag").to_owned(),
        allow_duplicate_name: posted.fields.is_set("allow_duplicate_name"),
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
        ..pb::UpdateIdentityRequest::default()
    }
}

/// The id that a text stands for: an id, or the whole name of one person.
pub(super) async fn whom(visit: &Visit, text: &str) -> Result<u64, ApiError> {
    let text = text.trim();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let request = pb::ListIdentitiesRequest {
        name_contains: text.to_owned(),
        page_size: i32::MAX,
        named_only: true,
        include_hidden: true,
        ..pb::ListIdentitiesRequest::default()
    };
    let found = identities(visit).list(request).await?.identities;
    let wanted = text.to_lowercase();
    let same = |identity: &&pb::Identity| identity.name.trim().to_lowercase() == wanted;
    let ids: Vec<u64> = found
        .iter()
        .filter(same)
        .map(|identity| identity.id)
        .collect();
    let what = match ids.as_slice() {
        [id] => return Ok(*id),
        [] => format!("nobody is named {text:?}: give an id or a whole name"),
        ids => format!("{} people are named {text:?}: give an id", ids.len()),
    };
    Err(ApiError::InvalidField {
        field: "into",
        what,
    })
}

/// After an edit, the page it was asked for on, which tells of it; else what can be done about why it was refused.
pub(super) async fn finish(
    posted: &Posted,
    instead: Instead,
    made: Result<pb::EditResponse, ApiError>,
) -> Result<Response, Trouble> {
    match made {
        Ok(made) => {
            let done = made.edit.map(|edit| edit.sequence);
            let to = back(posted.fields.text("back"), done);
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
        }
        Err(error) => refused(posted, instead, error).await,
    }
}
