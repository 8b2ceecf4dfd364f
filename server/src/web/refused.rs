//! Edits that were refused for a reason about which something can be done at once.

use super::facts::{FactLine, fact};
use super::form::{Posted, Query};
use super::guard::Visit;
use super::layout::{Done, Here, Layout};
use super::trouble::{Trouble, shown};
use crate::core::{Core, WriteError};
use crate::error::ApiError;
use crate::service::Identities;
use askama::Template;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// What may have been meant instead of an edit that was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instead {
    Nothing,
    /// This person, who was to have the name, is a part of who has it.
    Merge(u64),
    /// The tracks of this person, which were to be somebody of that name, are those of who has it.
    Move(u64),
    /// What can be taken back of this edit.
    Part(u64),
}

/// The answer to a form whose edit was refused.
pub(super) async fn refused(
    posted: &Posted,
    instead: Instead,
    error: ApiError,
) -> Result<Response, Trouble> {
    let (edits, facts) = if let ApiError::Write(WriteError::NameTaken { id, .. }) = &error {
        let other = *id;
        return Ok(name_taken(posted, instead, other, error.into()));
    } else if let ApiError::Write(WriteError::BuiltUpon { edits, .. }) = &error {
        (edits.clone(), Vec::new())
    } else if let ApiError::Write(WriteError::FactsContradict { facts, edits, .. }) = &error {
        // A fact says by which edit it holds: edits are listed where there is no fact.
        match facts.as_slice() {
            [] => (edits.clone(), Vec::new()),
            facts => (Vec::new(), facts.to_vec()),
        }
    } else {
        return Err(error.into());
    };
    in_the_way(posted, instead, (edits, facts), error.into()).await
}

#[derive(Template)]
#[template(path = "name_taken.html")]
struct NameTakenPage<'a> {
    message: String,
    reason: &'static str,
    /// Where the form was sent to, and what it had.
    path: &'a str,
    fields: Vec<(&'a str, &'a str)>,
    visit: &'a Visit,
    /// Where to send it if they are one person, and what that does.
    same: Option<(String, &'static str)>,
    /// Who bears the name.
    other: u64,
}

/// Whether the two are one person.
fn name_taken(posted: &Posted, instead: Instead, other: u64, trouble: Trouble) -> Response {
    let again = |(name, _): &(&str, &str)| !["csrf", "request_id", "into"].contains(name);
    let same = match instead {
        Instead::Merge(id) => Some((format!("/people/{id}/merge"), "merge them")),
        Instead::Move(id) => Some((format!("/people/{id}/move"), "move the tracks there")),
        Instead::Nothing | Instead::Part(_) => None,
    };
    let page = NameTakenPage {
        message: trouble.sentence(),
        reason: trouble.reason(),
        path: &posted.path,
        fields: posted.fields.iter().filter(again).collect(),
        visit: &posted.visit,
        same,
        other,
    };
    (trouble.status(), shown(&page)).into_response()
}

#[derive(Template)]
#[template(path = "in_the_way.html")]
struct InTheWayPage {
    layout: Layout,
    message: String,
    reason: &'static str,
    facts: Vec<FactLine>,
    edits: Vec<Done>,
    /// The edit that can be taken back in part; 0: none was to be.
    part: u64,
    allow_duplicate_name: bool,
}

/// What stands in the way, each with a way to take it back.
async fn in_the_way(
    posted: &Posted,
    instead: Instead,
    (edits, facts): (Vec<u64>, Vec<u64>),
    trouble: Trouble,
) -> Result<Response, Trouble> {
    let identities = Identities(Arc::clone(&posted.visit.edge));
    let mut done = Vec::new();
    for sequence in edits {
        done.push(Done::of(&identities.made(sequence).await?));
    }
    let read = move |core: &Core| {
        let found = facts.into_iter().map(|id| fact(core, id));
        let found: Result<Vec<_>, _> = found.collect();
        // One may have been taken back since.
        Ok::<_, ApiError>(found?.into_iter().flatten().collect())
    };
    let facts = posted.visit.edge.blocking(read).await?;
    let query = Query {
        here: posted.fields.text("back").to_owned(),
        ..Query::default()
    };
    let page = InTheWayPage {
        layout: Layout::new(posted.visit.clone(), Here::Elsewhere, &query).await?,
        message: trouble.sentence(),
        reason: trouble.reason(),
        facts,
        edits: done,
        part: match instead {
            Instead::Part(sequence) => sequence,
            Instead::Nothing | Instead::Merge(_) | Instead::Move(_) => 0,
        },
        allow_duplicate_name: posted.fields.is_set("allow_duplicate_name"),
    };
    Ok((trouble.status(), shown(&page)).into_response())
}
