//! Edits by people: one mechanism for all of them. A plan is made from the catalog and, for undo, the log;
//! it is one record with all its effects, so that an edit is there whole or not at all.

mod operations;
mod plan;
mod shown;
mod undo;

use super::apply::Truth;
use super::catalog::RequestKind;
use super::command::WriteError;
use super::writer::{Refusal, record, repeated};
use rollcall_log::record::{Body, EditKind};
use std::collections::BTreeMap;

pub(crate) use operations::operations;
pub(crate) use shown::{edit as as_shown, events};

/// Tracks of one edit at most: they must fit a record.
pub(crate) const TRACKS_MAX: usize = 1_000_000;
/// Metadata keys of an identity at most.
pub(crate) const METADATA_KEYS_MAX: usize = 64;

/// An edit to be made.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is done.
    pub change: Change,
    /// Who does it.
    pub author: String,
    /// Why, in the author's words; may be empty.
    pub reason: String,
    /// Empty, or an id under which the request is carried out once only.
    pub request_id: String,
}

/// What an edit does. Identities are named by any id that resolves to them.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new identity, which has no tracks yet. Refused with [`WriteError::NameTaken`],
    /// [`WriteError::ExternalIdTaken`], [`WriteError::EditTooLarge`].
    Create {
        /// What is said about it.
        update: ProfileUpdate,
        /// Another one may bear the same name.
        allow_duplicate_name: bool,
    },
    /// Other words about an identity. Refused as `Create`, and with [`WriteError::IdentityNotFound`],
    /// [`WriteError::IdentityErased`], [`WriteError::EtagMismatch`].
    Update {
        /// Which one.
        identity_id: u64,
        /// When given, the identity must still have it.
        etag: Option<String>,
        /// What is changed.
        update: ProfileUpdate,
        /// Another one may bear the same name.
        allow_duplicate_name: bool,
    },
    /// All tracks of the first become the second's, and its id resolves to the second. What the second
    /// lacks (name, external id, metadata) it takes over. Refused with [`WriteError::MergeWithItself`],
    /// [`WriteError::IdentityNotFound`], [`WriteError::IdentityErased`], [`WriteError::EtagMismatch`],
    /// [`WriteError::EditTooLarge`].
    Merge {
        /// Which one is absorbed.
        from: u64,
        /// Which one stays.
        into: u64,
        /// When given, the first must still have it.
        from_etag: Option<String>,
        /// When given, the second must still have it.
        into_etag: Option<String>,
    },
    /// Takes an edit back, whole: what it made must still be as it left it. An undo is an edit too, and can
    /// be undone. Refused with [`WriteError::EditNotFound`], [`WriteError::AlreadyUndone`],
    /// [`WriteError::BuiltUpon`], [`WriteError::IdentityErased`], [`WriteError::NameTaken`],
    /// [`WriteError::ExternalIdTaken`].
    Undo {
        /// The record of the edit.
        sequence: u64,
        /// Another one may bear a name that comes back.
        allow_duplicate_name: bool,
    },
}

impl Change {
    fn kind(&self) -> EditKind {
        match self {
            Self::Create { .. } => EditKind::Create,
            Self::Update { .. } => EditKind::Update,
            Self::Merge { .. } => EditKind::Merge,
            Self::Undo { .. } => EditKind::Undo,
        }
    }
}

/// What is said about an identity from here on; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileUpdate {
    /// Empty: none.
    pub name: Option<String>,
    /// Empty: none.
    pub external_id: Option<String>,
    /// Left out of lists and searches.
    pub hidden: Option<bool>,
    /// Somebody has looked at it and found it right.
    pub confirmed: Option<bool>,
    /// Keys that are set.
    pub set_metadata: BTreeMap<String, String>,
    /// Keys that go, before others are set.
    pub remove_metadata: Vec<String>,
}

/// Makes an edit: one record. Returns its sequence, that of the first time if the request was sent before.
pub(super) fn carry_out(truth: &mut Truth, edit: Edit) -> Result<u64, Refusal> {
    let kind = edit.change.kind();
    if let Some(earlier) = repeated(truth, &edit.request_id, RequestKind::Edit(kind))? {
        return Ok(earlier.sequence);
    }
    let mut planned = match edit.change {
        Change::Create {
            update,
            allow_duplicate_name,
        } => plan::create(truth, &update, allow_duplicate_name)?,
        Change::Update {
            identity_id,
            etag,
            update,
            allow_duplicate_name,
        } => plan::update(truth, (identity_id, etag), &update, allow_duplicate_name)?,
        Change::Merge {
            from,
            into,
            from_etag,
            into_etag,
        } => plan::merge(truth, (from, from_etag), (into, into_etag))?,
        Change::Undo {
            sequence,
            allow_duplicate_name,
        } => undo::plan(truth, sequence, allow_duplicate_name)?,
    };
    let tracks = planned.moves.iter().map(|moved| moved.track_ids.len());
    let tracks = tracks.sum::<usize>() + planned.left_track_ids.len();
    if tracks > TRACKS_MAX {
        let what = format!("{tracks} tracks are more than one edit can name: {TRACKS_MAX}");
        return Err(WriteError::EditTooLarge { what }.into());
    }
    planned.kind = kind.into();
    planned.reason = edit.reason;
    let body = Body::Edited(planned);
    Ok(truth.write(record(&edit.author, &edit.request_id, body), Vec::new())?)
}

#[cfg(test)]
pub(super) mod tests;
