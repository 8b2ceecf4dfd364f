//! Forms about tracks that are ticked on a person's page.

use super::edits::{finish, identities, whom};
use super::form::Posted;
use super::refused::Instead;
use super::trouble::Trouble;
use crate::error::ApiError;
use crate::pb;
use axum::extract::Path;
use axum::response::Response;

/// They are another person's, who is new.
pub(super) async fn split(Path(id): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let request = pb::SplitIdentityRequest {
        identity_id: id,
        etag: posted.fields.text("etag").to_owned(),
        track_ids: ticked(&posted)?,
        name: posted.fields.text("name").to_owned(),
        allow_duplicate_name: posted.fields.is_set("allow_duplicate_name"),
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).split(request).await;
    finish(&posted, Instead::Move(id), made).await
}

/// They are another person's, who is named by id or by name.
pub(super) async fn move_there(posted: Posted) -> Result<Response, Trouble> {
    let request = pb::MoveTracksRequest {
        track_ids: ticked(&posted)?,
        into_identity_id: whom(&posted.visit, posted.fields.text("into")).await?,
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
        ..pb::MoveTracksRequest::default()
    };
    let made = identities(&posted.visit).move_tracks(request).await;
    finish(&posted, Instead::Nothing, made).await
}

/// They are not this person.
pub(super) async fn reject(Path(id): Path<u64>, posted: Posted) -> Result<Response, Trouble> {
    let request = pb::RejectTracksRequest {
        identity_id: id,
        etag: posted.fields.text("etag").to_owned(),
        track_ids: ticked(&posted)?,
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).reject(request).await;
    finish(&posted, Instead::Nothing, made).await
}

/// They are one person's, whoever that is.
pub(super) async fn link(posted: Posted) -> Result<Response, Trouble> {
    let request = pb::LinkTracksRequest {
        track_ids: ticked(&posted)?,
        etag: posted.fields.text("etag").to_owned(),
        author: posted.visit.author.clone(),
        reason: posted.fields.text("reason").to_owned(),
        request_id: posted.fields.text("request_id").to_owned(),
    };
    let made = identities(&posted.visit).link(request).await;
    finish(&posted, Instead::Nothing, made).await
}

fn ticked(posted: &Posted) -> Result<Vec<u64>, ApiError> {
    let tracks = posted.fields.iter().filter(|(name, _)| *name == "track");
    let tracks = tracks.map(|(_, id)| id.parse());
    let tracks: Result<Vec<u64>, _> = tracks.collect();
    let unfit = |what: &str| ApiError::InvalidField {
        field: "track",
        what: what.to_owned(),
    };
    match tracks {
        Err(_) => Err(unfit("is no number")),
        Ok(tracks) if tracks.is_empty() => Err(unfit("is missing: tick those that you mean")),
        Ok(tracks) => Ok(tracks),
    }
}
