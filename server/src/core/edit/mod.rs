//! Edits by people: one mechanism for all of them. A plan is made from the catalog and, for undo, the log;
//! it is one record with all its effects, so that an edit is there whole or not at all.

mod draft;
mod enrol;
mod facts;
mod operations;
mod place;
mod plan;
mod shown;
mod undo;

use super::apply::Truth;
use super::catalog::{CatalogWriter, RequestKind};
use super::command::WriteError;
use super::writer::{Refusal, record, repeated};
use rollcall_log::record::{Body, EditKind, Edited};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use enrol::{PHOTOS_MAX, Person, Photo, PhotoDigest};
pub(crate) use operations::operations;
pub(crate) use shown::{edit as as_shown, events, fact as fact_shown};

/// Tracks of one edit at most: they must fit a record.
pub(crate) const TRACKS_MAX: usize = 1_000_000;
/// Tracks that are moved by name at a time at most: each leaves a fact.
pub(crate) const MOVED_MAX: usize = 10_000;
/// Tracks that are linked or rejected at a time at most: each may become an identity.
const LINKED_MAX: usize = 1000;
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

/// What an edit does. Identities are named by any id that resolves to them. Any change is refused with
/// [`WriteError::FactsContradict`] if a fact that people stated would no longer be kept, and with
/// [`WriteError::EditTooLarge`].
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
    /// Tracks become another identity's, or a new one's, and stay there. Refused with
    /// [`WriteError::InvalidTracks`], [`WriteError::TrackNotFound`], [`WriteError::MoveIntoItself`],
    /// [`WriteError::IdentityNotFound`], [`WriteError::IdentityErased`], [`WriteError::EtagMismatch`],
    /// [`WriteError::NameTaken`].
    Move {
        /// Which tracks, each once.
        track_ids: Vec<u64>,
        /// Whose they are from here on.
        into: Target,
    },
    /// Tracks of one identity become a new one's. Refused as `Move`, and with [`WriteError::TrackElsewhere`].
    Split {
        /// Whose they must be.
        identity_id: u64,
        /// When given, the identity must still have it.
        etag: Option<String>,
        /// Which tracks, each once.
        track_ids: Vec<u64>,
        /// The new identity's; may be empty.
        name: String,
        /// Another one may bear the same name.
        allow_duplicate_name: bool,
    },
    /// Tracks are one person's: they become those of the first one's identity. Refused with
    /// [`WriteError::InvalidTracks`], [`WriteError::TrackNotFound`], [`WriteError::EtagMismatch`],
    /// [`WriteError::FactExists`].
    Link {
        /// Which tracks, each once; two at least.
        track_ids: Vec<u64>,
        /// When given, the first track's identity must still have it.
        etag: Option<String>,
    },
    /// Two identities are two people. Refused with [`WriteError::IdentityNotFound`],
    /// [`WriteError::IdentityErased`], [`WriteError::EtagMismatch`], [`WriteError::FactExists`].
    SeparateIdentities {
        /// The one.
        identity_id: u64,
        /// The other.
        other_identity_id: u64,
        /// When given, the one must still have it.
        etag: Option<String>,
        /// When given, the other must still have it.
        other_etag: Option<String>,
    },
    /// Two tracks are two people's; of one identity, the first gets one of its own. Refused with
    /// [`WriteError::InvalidTracks`], [`WriteError::TrackNotFound`], [`WriteError::FactExists`].
    SeparateTracks {
        /// The one.
        track_id: u64,
        /// The other.
        other_track_id: u64,
    },
    /// Tracks are not this person: they leave the identity, each for one of its own, and never join it again.
    /// Refused as `Link`, and with [`WriteError::IdentityNotFound`], [`WriteError::IdentityErased`].
    Reject {
        /// Who they are not.
        identity_id: u64,
        /// When given, the identity must still have it.
        etag: Option<String>,
        /// Which tracks, each once.
        track_ids: Vec<u64>,
    },
    /// Photos become a person's. Those that are already are passed over. Refused as `Create` or `Update`, and
    /// with [`WriteError::PhotosKnown`] if all are, [`WriteError::PhotoElsewhere`],
    /// [`WriteError::ContractGone`], [`WriteError::Embedding`].
    Enrol {
        /// Whose they are.
        person: Person,
        /// The contract that they were embedded under.
        contract: String,
        /// The photos.
        photos: Arc<[Photo]>,
    },
    /// A fact no longer holds. Refused with [`WriteError::FactNotFound`].
    Forget {
        /// Which fact.
        fact_id: u64,
    },
    /// Takes an edit back: what it made must still be as it left it, or what is not is left. An undo is an
    /// edit too, and can be undone. Refused with [`WriteError::EditNotFound`], [`WriteError::AlreadyUndone`],
    /// [`WriteError::BuiltUpon`], [`WriteError::IdentityErased`], [`WriteError::NameTaken`],
    /// [`WriteError::ExternalIdTaken`].
    Undo {
        /// The record of the edit.
        sequence: u64,
        /// Another one may bear a name that comes back.
        allow_duplicate_name: bool,
        /// Take back what can be, if not all can.
        partial: bool,
    },
}

/// Whose moved tracks are from here on.
#[derive(Clone, Debug)]
pub enum Target {
    /// An identity's that is there.
    Identity {
        /// Which one.
        id: u64,
        /// When given, it must still have it.
        etag: Option<String>,
    },
    /// A new identity's.
    New {
        /// May be empty.
        name: String,
        /// Another one may bear the same name.
        allow_duplicate_name: bool,
    },
}

impl Change {
    /// The photos that it enrols.
    fn photos(&self) -> Arc<[Photo]> {
        match self {
            Self::Enrol { photos, .. } => Arc::clone(photos),
            Self::Create { .. }
            | Self::Update { .. }
            | Self::Merge { .. }
            | Self::Move { .. }
            | Self::Split { .. }
            | Self::Link { .. }
            | Self::SeparateIdentities { .. }
            | Self::SeparateTracks { .. }
            | Self::Reject { .. }
            | Self::Forget { .. }
            | Self::Undo { .. } => Arc::default(),
        }
    }

    fn kind(&self) -> EditKind {
        match self {
            Self::Create { .. } => EditKind::Create,
            Self::Update { .. } => EditKind::Update,
            Self::Merge { .. } => EditKind::Merge,
            Self::Move { .. } => EditKind::Move,
            Self::Split { .. } => EditKind::Split,
            Self::Link { .. } => EditKind::MustLink,
            Self::SeparateIdentities { .. } | Self::SeparateTracks { .. } => EditKind::CannotLink,
            Self::Reject { .. } => EditKind::NotThisPerson,
            Self::Enrol { .. } => EditKind::Enrol,
            Self::Forget { .. } => EditKind::ForgetFact,
            Self::Undo { .. } => EditKind::Undo,
        }
    }
}

/// An edit's kind as metrics have it.
pub(super) fn kind_name(kind: EditKind) -> &'static str {
    match kind {
        EditKind::Unspecified => "unspecified",
        EditKind::Create => "create",
        EditKind::Update => "update",
        EditKind::Merge => "merge",
        EditKind::Move => "move",
        EditKind::Split => "split",
        EditKind::MustLink => "must_link",
        EditKind::CannotLink => "cannot_link",
        EditKind::NotThisPerson => "not_this_person",
        EditKind::Undo => "undo",
        EditKind::Enrol => "enrol",
        EditKind::ForgetFact => "forget_fact",
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
    let photos = edit.change.photos();
    let mut planned = planned(truth, edit.change)?;
    let tracks = planned.moves.iter().map(|moved| moved.track_ids.len());
    let tracks = tracks.sum::<usize>() + planned.left_track_ids.len();
    if tracks > TRACKS_MAX {
        let what = format!("{tracks} tracks are more than one edit can name: {TRACKS_MAX}");
        return Err(WriteError::EditTooLarge { what }.into());
    }
    facts::heed(&truth.catalog, &planned)?;
    planned.kind = kind.into();
    planned.reason = edit.reason;
    let embeddings = enrol::store(truth, &mut planned, &photos)?;
    let body = Body::Edited(planned);
    Ok(truth.write(record(&edit.author, &edit.request_id, body), embeddings)?)
}

/// Whom an id resolves to, if that is somebody who can be edited and, where one is given, has the etag still.
pub(crate) fn editable_identity(
    catalog: &CatalogWriter,
    id: u64,
    etag: Option<String>,
) -> Result<u64, Refusal> {
    plan::editable(catalog, id, etag).map(|(id, _)| id)
}

fn planned(truth: &Truth, change: Change) -> Result<Edited, Refusal> {
    match change {
        Change::Create {
            update,
            allow_duplicate_name,
        } => plan::create(truth, &update, allow_duplicate_name),
        Change::Update {
            identity_id,
            etag,
            update,
            allow_duplicate_name,
        } => plan::update(truth, (identity_id, etag), &update, allow_duplicate_name),
        Change::Merge {
            from,
            into,
            from_etag,
            into_etag,
        } => plan::merge(truth, (from, from_etag), (into, into_etag)),
        Change::Move { track_ids, into } => place::tracks(&truth.catalog, &track_ids, into),
        Change::Split {
            identity_id,
            etag,
            track_ids,
            name,
            allow_duplicate_name,
        } => {
            let into = Target::New {
                name,
                allow_duplicate_name,
            };
            place::split(&truth.catalog, (identity_id, etag), &track_ids, into)
        }
        Change::Link { track_ids, etag } => facts::link(&truth.catalog, &track_ids, etag),
        Change::SeparateIdentities {
            identity_id,
            other_identity_id,
            etag,
            other_etag,
        } => facts::separate(
            &truth.catalog,
            (identity_id, etag),
            (other_identity_id, other_etag),
        ),
        Change::SeparateTracks {
            track_id,
            other_track_id,
        } => facts::separate_tracks(&truth.catalog, track_id, other_track_id),
        Change::Reject {
            identity_id,
            etag,
            track_ids,
        } => facts::reject(&truth.catalog, (identity_id, etag), &track_ids),
        Change::Enrol {
            person,
            contract,
            photos,
        } => enrol::person(truth, person, &contract, &photos),
        Change::Forget { fact_id } => facts::forget(&truth.catalog, fact_id),
        Change::Undo {
            sequence,
            allow_duplicate_name,
            partial,
        } => undo::plan(truth, sequence, allow_duplicate_name, partial),
    }
}

#[cfg(test)]
pub(super) mod tests;
