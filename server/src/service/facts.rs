//! Who is whose: tracks that people move, and facts that they state.

use super::edit::{Said, checked_name, given, unfit_field};
use super::identity::Identities;
use crate::core::{Change, Core, FactQuery, Target};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb;

impl Identities {
    pub(crate) async fn move_tracks(
        &self,
        request: pb::MoveTracksRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let into = match request.into_identity_id {
            0 if !request.into_etag.is_empty() => {
                return Err(unfit_field("into_etag", "is given without an identity"));
            }
            0 => Target::New {
                name: checked_name(&request.name)?,
                allow_duplicate_name: request.allow_duplicate_name,
            },
            _ if !request.name.is_empty() => {
                let what = "is for a new identity; rename the one that is there by itself";
                return Err(unfit_field("name", what));
            }
            id => Target::Identity {
                id,
                etag: given(request.into_etag),
            },
        };
        let change = Change::Move {
            track_ids: request.track_ids,
            into,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn split(
        &self,
        request: pb::SplitIdentityRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let change = Change::Split {
            identity_id: request.identity_id,
            etag: given(request.etag),
            track_ids: request.track_ids,
            name: checked_name(&request.name)?,
            allow_duplicate_name: request.allow_duplicate_name,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn link(
        &self,
        request: pb::LinkTracksRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let change = Change::Link {
            track_ids: request.track_ids,
            etag: given(request.etag),
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn separate(
        &self,
        request: pb::SeparateRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let tracks = (request.track_id, request.other_track_id);
        let identities = (request.identity_id, request.other_identity_id);
        let etags = !request.etag.is_empty() || !request.other_etag.is_empty();
        let change = match (identities, tracks) {
            ((1.., 1..), (0, 0)) => Change::SeparateIdentities {
                identity_id: identities.0,
                other_identity_id: identities.1,
                etag: given(request.etag),
                other_etag: given(request.other_etag),
            },
            ((0, 0), (1.., 1..)) if !etags => Change::SeparateTracks {
                track_id: tracks.0,
                other_track_id: tracks.1,
            },
            ((0, 0), (1.., 1..)) => {
                return Err(unfit_field("etag", "is an identity's; tracks have none"));
            }
            _ => {
                let what =
                    "and other_identity_id, or else track_id and other_track_id, must be given";
                return Err(unfit_field("identity_id", what));
            }
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn reject(
        &self,
        request: pb::RejectTracksRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let change = Change::Reject {
            identity_id: request.identity_id,
            etag: given(request.etag),
            track_ids: request.track_ids,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn forget(
        &self,
        request: pb::ForgetFactRequest,
    ) -> Result<pb::EditResponse, ApiError> {
        let change = Change::Forget {
            fact_id: request.fact_id,
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        self.edit(said.edit(change)?).await
    }

    pub(crate) async fn facts(
        &self,
        request: pb::ListFactsRequest,
    ) -> Result<pb::ListFactsResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let (identity, track) = (request.identity_id, request.track_id);
        if identity != 0 && track != 0 {
            return Err(unfit_field(
                "track_id",
                "is given together with an identity",
            ));
        }
        let mut kinds = Vec::new();
        let mut seal = self.0.seal("ListFacts").with(&identity.to_le_bytes());
        seal = seal.with(&track.to_le_bytes());
        for kind in &request.kinds {
            match pb::FactKind::try_from(*kind) {
                Ok(kind) if kind != pb::FactKind::Unspecified => kinds.push(kind),
                Ok(_) | Err(_) => {
                    return Err(unfit_field("kinds", &format!("{kind} is no kind of fact")));
                }
            }
            seal = seal.with(&kind.to_le_bytes());
        }
        let after = seal
            .open(&request.page_token)?
            .map_or(0, |[after]| after.cast_unsigned());
        let read = move |core: &Core| {
            let catalog = core.catalog();
            let identity = match identity {
                0 => None,
                id => Some(
                    catalog
                        .resolve(id)?
                        .ok_or(ApiError::IdentityNotFound { id })?,
                ),
            };
            if track != 0 && catalog.track(track)?.is_none() {
                return Err(ApiError::TrackNotFound { id: track });
            }
            let query = FactQuery {
                identity,
                track: Some(track).filter(|track| *track != 0),
                kinds,
                after,
                limit: size + 1,
            };
            Ok(catalog.facts(&query)?)
        };
        let mut facts = self.0.blocking(read).await?;
        let more = cut(&mut facts, size);
        let last = facts.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.id.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListFactsResponse {
            facts,
            next_page_token,
        })
    }
}
