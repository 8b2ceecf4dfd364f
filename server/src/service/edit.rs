//! What people say and do about identities: the editing half of `IdentityService`.

use super::identity::Identities;
use crate::access::Notes;
use crate::core::{
    Change, Core, Edit, EditPlace, METADATA_KEYS_MAX, ProfileUpdate, WriteError, as_shown,
};
use crate::edge::{checked_author, checked_request_id, unfit};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Characters of a reason at most.
const REASON_CHARS_MAX: usize = 500;
/// Characters of a metadata value at most.
const VALUE_CHARS_MAX: usize = 2000;

/// Who does something, why, and under which request id: as it came in.
pub(super) struct Said {
    author: String,
    reason: String,
    request_id: String,
}

impl Said {
    pub(super) fn new(author: String, reason: String, request_id: String) -> Self {
        Self {
            author,
            reason,
            request_id,
        }
    }

    pub(super) fn edit(self, change: Change) -> Result<Edit, ApiError> {
        let (author, reason, request_id) = self.checked()?;
        Ok(Edit {
            change,
            author,
            reason,
            request_id,
        })
    }

    /// Author, reason and request id, if they may be such.
    pub(super) fn checked(self) -> Result<(String, String, String), ApiError> {
        Ok((
            checked_author(&self.author)?,
            checked_reason(&self.reason)?,
            checked_request_id(&self.request_id)?,
        ))
    }
}

/// Why something is done, in the author's words; may be empty.
pub(super) fn checked_reason(reason: &str) -> Result<String, ApiError> {
    let reason = reason.trim();
    if reason.chars().count() > REASON_CHARS_MAX {
        let what = format!("is longer than {REASON_CHARS_MAX} characters");
        return Err(unfit_field("reason", &what));
    }
    if reason.chars().any(char::is_control) {
        return Err(unfit_field("reason", "has control characters"));
    }
    Ok(reason.to_owned())
}

impl Identities {
    pub(crate) async fn rename(
        &self,
        request: pb::RenameIdentityRequest,
    ) -> Result<pb::Identity, ApiError> {
        Notes::identity(request.identity_id);
        let change = Change::Update {
            identity_id: request.identity_id,
            etag: given(request.etag),
            update: ProfileUpdate {
                name: Some(checked_name(&request.name)?),
                ..ProfileUpdate::default()
            },
            allow_duplicate_name: request.allow_duplicate_name,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.0.core.edit(said.edit(change)?).await?;
        self.get(request.identity_id).await
    }

    pub(crate) async fn create(
        &self,
        request: pb::CreateIdentityRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let update = ProfileUpdate {
            name: Some(checked_name(&request.name)?),
            external_id: Some(checked_external_id(&request.external_id)?),
            confirmed: Some(request.confirmed),
            set_metadata: checked_metadata("metadata", request.metadata)?,
            ..ProfileUpdate::default()
        };
        let empty = [&update.name, &update.external_id]
            .iter()
            .all(|text| text.as_deref().unwrap_or("").is_empty());
        if empty && !request.confirmed {
            let what = "is missing: give a name or an external id";
            return Err(unfit_field("name", what));
        }
        let change = Change::Create {
            update,
            allow_duplicate_name: request.allow_duplicate_name,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn update(
        &self,
        request: pb::UpdateIdentityRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let name = request.name.as_deref().map(checked_name).transpose()?;
        let external_id = request.external_id.as_deref();
        let update = ProfileUpdate {
            name,
            external_id: external_id.map(checked_external_id).transpose()?,
            hidden: request.hidden,
            confirmed: request.confirmed,
            set_metadata: checked_metadata("set_metadata", request.set_metadata)?,
            remove_metadata: request.remove_metadata,
        };
        if update == ProfileUpdate::default() {
            let what = "is missing, and so is everything else that could be changed";
            return Err(unfit_field("name", what));
        }
        Notes::identity(request.identity_id);
        let change = Change::Update {
            identity_id: request.identity_id,
            etag: given(request.etag),
            update,
            allow_duplicate_name: request.allow_duplicate_name,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn merge(
        &self,
        request: pb::MergeIdentitiesRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        Notes::identity(request.from_identity_id);
        Notes::identity(request.into_identity_id);
        let change = Change::Merge {
            from: request.from_identity_id,
            into: request.into_identity_id,
            from_etag: given(request.from_etag),
            into_etag: given(request.into_etag),
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn undo(
        &self,
        request: pb::UndoEditRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let change = Change::Undo {
            sequence: request.sequence,
            allow_duplicate_name: request.allow_duplicate_name,
            partial: request.partial,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    /// The edit at that record.
    pub(crate) async fn made(&self, sequence: u64) -> Result<pb::Edit, ApiError> {
        let read = move |core: &Core| {
            let place = core.catalog().edit(sequence)?;
            told(core, place.ok_or(WriteError::EditNotFound { sequence })?)
        };
        self.0.blocking(read).await
    }

    pub(super) async fn edit(&self, edit: Edit) -> Result<pb::EditResponse, ApiError> {
        let sequence = self.0.core.edit(edit).await?;
        let answer = move |core: &Core| answer(core, sequence);
        let made = self.0.blocking(answer).await?;
        for identity in &made.identities {
            Notes::identity(identity.id);
        }
        Ok(made)
    }

    pub(crate) async fn edits(
        &self,
        request: pb::ListEditsRequest,
    ) -> Result<pb::ListEditsResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let id = request.identity_id;
        let seal = self.0.seal("ListEdits").with(&id.to_le_bytes());
        let before = seal
            .open(&request.page_token)?
            .map_or(u64::MAX, |[before]| before.cast_unsigned());
        let identity = Some(id).filter(|id| *id != 0);
        let read = move |core: &Core| {
            let catalog = core.catalog();
            if identity.is_some() && catalog.resolve(id)?.is_none() {
                return Err(ApiError::IdentityNotFound { id });
            }
            let mut places = catalog.edits(identity, before, size + 1)?;
            let more = cut(&mut places, size);
            let edits = places.iter().map(|place| told(core, *place));
            Ok((edits.collect::<Result<Vec<_>, _>>()?, more))
        };
        let (edits, more) = self.0.blocking(read).await?;
        let last = edits.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.sequence.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListEditsResponse {
            edits,
            next_page_token,
        })
    }
}

/// The edit at that record with everybody whom it named.
pub(super) fn answer(core: &Core, sequence: u64) -> Result<pb::EditResponse, ApiError> {
    let place = core.catalog().edit(sequence)?;
    let place = place.ok_or(ApiError::Internal("an edit is not in the catalog"))?;
    let edit = told(core, place)?;
    let profiles = edit.profiles.iter().map(|change| change.identity_id);
    let redirects = edit.redirects.iter();
    let redirects = redirects.flat_map(|change| [change.identity_id, change.before, change.after]);
    let moves = edit.moves.iter();
    let moves = moves.flat_map(|moved| [moved.from_identity_id, moved.into_identity_id]);
    let facts = edit.facts.iter().filter_map(|change| change.fact);
    let facts = facts.flat_map(|fact| [fact.identity_id, fact.other_identity_id]);
    let photos = edit.photos.iter().map(|changed| changed.identity_id);
    let ids: BTreeSet<u64> = profiles
        .chain(photos)
        .chain(redirects)
        .chain(moves)
        .chain(facts)
        .collect();
    let mut identities: BTreeMap<u64, pb::Identity> = BTreeMap::new();
    for id in ids {
        if let Some(identity) = core.catalog().identity(id)? {
            identities.insert(identity.id, identity);
        }
    }
    Ok(pb::EditResponse {
        edit: Some(edit),
        identities: identities.into_values().collect(),
    })
}

/// The edit at that place of the log.
pub(super) fn told(core: &Core, place: EditPlace) -> Result<pb::Edit, ApiError> {
    let record = core.log().record(place.sequence)?;
    record
        .and_then(|record| as_shown(&record, place.undone_by))
        .ok_or(ApiError::Internal("an edit is not in the log"))
}

/// Empty text is none.
pub(super) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn unfit_field(field: &'static str, what: &str) -> ApiError {
    ApiError::InvalidField {
        field,
        what: what.to_owned(),
    }
}

pub(super) fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    match unfit(name) {
        Some(what) => Err(ApiError::InvalidName { what }),
        None => Ok(name.to_owned()),
    }
}

pub(super) fn checked_external_id(id: &str) -> Result<String, ApiError> {
    match unfit(id) {
        Some(what) => Err(unfit_field("external_id", what)),
        None => Ok(id.to_owned()),
    }
}

fn checked_metadata(
    field: &'static str,
    metadata: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    if metadata.len() > METADATA_KEYS_MAX {
        let what = format!("has more than {METADATA_KEYS_MAX} keys");
        return Err(unfit_field(field, &what));
    }
    for (key, value) in &metadata {
        if key.is_empty() {
            return Err(unfit_field(field, "has an empty key"));
        }
        if let Some(what) = unfit(key) {
            return Err(unfit_field(field, &format!("a key {what}")));
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            let what = format!("the value of {key} is longer than {VALUE_CHARS_MAX} characters");
            return Err(unfit_field(field, &what));
        }
    }
    Ok(metadata.into_iter().collect())
}
