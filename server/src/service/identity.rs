//! `IdentityService`.

use super::scope::{narrowed, sighting_on};
use crate::access::{Caller, Notes};
use crate::core::IdentityQuery;
use crate::edge::{Edge, unfit};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// People: durable, named or not.
#[derive(Clone, Debug)]
pub(crate) struct Identities(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::identity_service_server::IdentityService for Identities {
    async fn get_identity(
        &self,
        request: Request<pb::GetIdentityRequest>,
    ) -> Result<Response<pb::Identity>, Status> {
        let id = request.into_inner().identity_id;
        let identity = self.get(id).await?;
        let caller = Caller::current();
        let Some(scope) = caller.scope().map(<[u64]>::to_vec) else {
            return Ok(Response::new(identity));
        };
        let owner = identity.id;
        let seen = self
            .0
            .read(move |catalog| sighting_on(catalog, owner, &scope));
        // Whoever was not seen there is not there.
        let seen = seen.await?.ok_or(ApiError::IdentityNotFound { id })?;
        Ok(Response::new(narrowed(identity, Some(&seen))))
    }

    async fn list_identities(
        &self,
        request: Request<pb::ListIdentitiesRequest>,
    ) -> Result<Response<pb::ListIdentitiesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn rename_identity(
        &self,
        request: Request<pb::RenameIdentityRequest>,
    ) -> Result<Response<pb::Identity>, Status> {
        Ok(Response::new(self.rename(request.into_inner()).await?))
    }

    async fn create_identity(
        &self,
        request: Request<pb::CreateIdentityRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn update_identity(
        &self,
        request: Request<pb::UpdateIdentityRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn merge_identities(
        &self,
        request: Request<pb::MergeIdentitiesRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.merge(request.into_inner()).await?))
    }

    async fn move_tracks(
        &self,
        request: Request<pb::MoveTracksRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.move_tracks(request.into_inner()).await?))
    }

    async fn split_identity(
        &self,
        request: Request<pb::SplitIdentityRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.split(request.into_inner()).await?))
    }

    async fn link_tracks(
        &self,
        request: Request<pb::LinkTracksRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.link(request.into_inner()).await?))
    }

    async fn separate(
        &self,
        request: Request<pb::SeparateRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.separate(request.into_inner()).await?))
    }

    async fn reject_tracks(
        &self,
        request: Request<pb::RejectTracksRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.reject(request.into_inner()).await?))
    }

    async fn enrol_person(
        &self,
        request: Request<pb::EnrolPersonRequest>,
    ) -> Result<Response<pb::EnrolPersonResponse>, Status> {
        Ok(Response::new(self.enrol(request.into_inner()).await?))
    }

    async fn forget_fact(
        &self,
        request: Request<pb::ForgetFactRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.forget(request.into_inner()).await?))
    }

    async fn list_facts(
        &self,
        request: Request<pb::ListFactsRequest>,
    ) -> Result<Response<pb::ListFactsResponse>, Status> {
        Ok(Response::new(self.facts(request.into_inner()).await?))
    }

    async fn list_review(
        &self,
        request: Request<pb::ListReviewRequest>,
    ) -> Result<Response<pb::ListReviewResponse>, Status> {
        Ok(Response::new(self.review(request.into_inner()).await?))
    }

    async fn cluster_identities(
        &self,
        request: Request<pb::ClusterIdentitiesRequest>,
    ) -> Result<Response<pb::ClusterIdentitiesResponse>, Status> {
        Ok(Response::new(self.cluster(request.into_inner()).await?))
    }

    async fn explain_track(
        &self,
        request: Request<pb::ExplainTrackRequest>,
    ) -> Result<Response<pb::TrackExplanation>, Status> {
        Ok(Response::new(
            self.explain(request.into_inner().track_id).await?,
        ))
    }

    async fn undo_edit(
        &self,
        request: Request<pb::UndoEditRequest>,
    ) -> Result<Response<pb::EditResponse>, Status> {
        Ok(Response::new(self.undo(request.into_inner()).await?))
    }

    async fn list_edits(
        &self,
        request: Request<pb::ListEditsRequest>,
    ) -> Result<Response<pb::ListEditsResponse>, Status> {
        Ok(Response::new(self.edits(request.into_inner()).await?))
    }
}

impl Identities {
    pub(crate) async fn get(&self, id: u64) -> Result<pb::Identity, ApiError> {
        Notes::identity(id);
        let found = self.0.read(move |catalog| catalog.identity(id)).await?;
        found.ok_or(ApiError::IdentityNotFound { id })
    }

    pub(crate) async fn list(
        &self,
        request: pb::ListIdentitiesRequest,
    ) -> Result<pb::ListIdentitiesResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let query = IdentityQuery {
            name_contains: request.name_contains,
            named_only: request.named_only,
            unnamed_only: request.unnamed_only,
            include_hidden: request.include_hidden,
            newest_first: request.newest_first,
        };
        if let Some(what) = unfit(&query.name_contains) {
            return Err(ApiError::InvalidField {
                field: "name_contains",
                what: what.to_owned(),
            });
        }
        let flags = [
            query.named_only,
            query.include_hidden,
            query.unnamed_only,
            query.newest_first,
        ];
        let seal = self
            .0
            .seal("ListIdentities")
            .with(query.name_contains.as_bytes())
            .with(&flags.map(u8::from));
        let after = seal
            .open(&request.page_token)?
            .map(|[after]| after.cast_unsigned());
        let read = self
            .0
            .read(move |catalog| catalog.identities(after, size + 1, &query));
        let (mut identities, total_count, sequence) = read.await?;
        let more = cut(&mut identities, size);
        let last = identities.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.id.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListIdentitiesResponse {
            identities,
            next_page_token,
            total_count,
            sequence,
        })
    }
}
