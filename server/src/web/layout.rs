//! What all pages have around them, and people as they show them.

use super::form::Query;
use super::guard::Visit;
use super::trouble::Trouble;
use super::words::{self, Moment};
use crate::core::WriteError;
use crate::error::ApiError;
use crate::pb;
use crate::service::Identities;
use std::sync::Arc;
use url::form_urlencoded::byte_serialize;

/// Which page it is, for the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    Live,
    People,
    Search,
    Review,
    Sources,
    Elsewhere,
}

/// What stands around a page.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) visit: Visit,
    /// Where forms of this page lead back to.
    pub(super) back: String,
    /// What was just done, if something was.
    pub(super) done: Option<Done>,
    links: [(Here, &'static str, &'static str); 5],
    here: Here,
}

/// An edit, as a page tells of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) sequence: u64,
    pub(super) text: String,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) time: Moment,
    /// The edit that took it back; 0: none, it is in effect.
    pub(super) undone_by: u64,
}

impl Done {
    /// An edit in a page's words.
    pub(super) fn of(edit: &pb::Edit) -> Self {
        Self {
            sequence: edit.sequence,
            text: words::edit(edit),
            author: edit.author.clone(),
            reason: edit.reason.clone(),
            time: Moment::of(edit.time.as_ref()).unwrap_or_default(),
            undone_by: edit.undone_by,
        }
    }
}

impl Layout {
    /// The layout of a page, with what was just done if its address says so.
    ///
    /// # Errors
    /// If that cannot be read.
    pub(super) async fn new(visit: Visit, here: Here, query: &Query) -> Result<Self, Trouble> {
        let identities = Identities(Arc::clone(&visit.edge));
        let done = match query.fields.text("done").parse() {
            Err(_) => None,
            Ok(sequence) => match identities.made(sequence).await {
                Ok(edit) => Some(Done::of(&edit)),
                // An address that somebody has typed.
                Err(ApiError::Write(WriteError::EditNotFound { .. })) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            visit,
            back: query.here.clone(),
            done,
            links: [
                (Here::Live, "/", "Live"),
                (Here::People, "/people", "People"),
                (Here::Search, "/search", "Search"),
                (Here::Review, "/review", "Review"),
                (Here::Sources, "/sources", "Sources"),
            ],
            here,
        })
    }

    /// Where forms of this page lead back to, as a part of an address.
    pub(super) fn back_encoded(&self) -> String {
        byte_serialize(self.back.as_bytes()).collect()
    }

    /// The pages: address, name, whether it is this one.
    pub(super) fn links(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        self.links
            .iter()
            .map(|(here, to, name)| (*to, *name, *here == self.here))
    }
}

/// Somebody, as lists and answers show them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Person {
    pub(super) id: u64,
    /// The name, or something to call them by.
    pub(super) called: String,
    /// Empty: none.
    pub(super) name: String,
    /// The exemplar to show; 0: none.
    pub(super) cover: u64,
    /// As in `3 tracks`.
    pub(super) tracks: String,
    pub(super) first_seen: Option<Moment>,
    pub(super) last_seen: Option<Moment>,
    pub(super) hidden: bool,
    pub(super) confirmed: bool,
    pub(super) etag: String,
}

impl Person {
    /// An identity as a page shows it.
    pub(super) fn of(identity: &pb::Identity) -> Self {
        Self {
            id: identity.id,
            called: words::called(identity.id, &identity.name),
            name: identity.name.clone(),
            cover: identity.cover_exemplar_id,
            tracks: words::count(identity.track_count, "track"),
            first_seen: Moment::of(identity.first_seen.as_ref()),
            last_seen: Moment::of(identity.last_seen.as_ref()),
            hidden: identity.state() == pb::IdentityState::Hidden,
            confirmed: identity.confirmed,
            etag: identity.etag.clone(),
        }
    }
}
