//! `IdentityService`.

use crate::core::Rename;
use crate::edge::{Edge, checked_author, checked_request_id, unfit};
use crate::error::ApiError;
use crate::page::page_size;
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
        Ok(Response::new(
            self.get(request.into_inner().identity_id).await?,
        ))
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
}

impl Identities {
    async fn get(&self, id: u64) -> Result<pb::Identity, ApiError> {
        let found = self.0.read(move |catalog| catalog.identity(id)).await?;
        found.ok_or(ApiError::IdentityNotFound { id })
    }

    async fn list(
        &self,
        request: pb::ListIdentitiesRequest,
    ) -> Result<pb::ListIdentitiesResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let (name, named) = (request.name_contains, request.named_only);
        if let Some(what) = unfit(&name) {
            return Err(ApiError::InvalidField {
                field: "name_contains",
                what: what.to_owned(),
            });
        }
        let seal = self
            .0
            .seal("ListIdentities")
            .with(name.as_bytes())
            .with(&[u8::from(named)]);
        let after = seal
            .open(&request.page_token)?
            .map_or(0, |[after]| after.cast_unsigned());
        // One more than the page shows whether there is another.
        let read = self
            .0
            .read(move |catalog| catalog.identities(after, size + 1, &name, named));
        let (mut identities, total_count, sequence) = read.await?;
        let shown = usize::try_from(size).unwrap_or(usize::MAX);
        let more = identities.len() > shown;
        identities.truncate(shown);
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

    async fn rename(&self, request: pb::RenameIdentityRequest) -> Result<pb::Identity, ApiError> {
        let name = request.name.trim();
        if let Some(what) = unfit(name) {
            return Err(ApiError::InvalidName { what });
        }
        let rename = Rename {
            identity_id: request.identity_id,
            name: name.to_owned(),
            etag: (!request.etag.is_empty()).then_some(request.etag),
            author: checked_author(&request.author)?,
            request_id: checked_request_id(&request.request_id)?,
        };
        self.0.core.rename_identity(rename).await?;
        self.get(request.identity_id).await
    }
}
