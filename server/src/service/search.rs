//! `SearchService`.

use super::follow;
use super::query::Query;
use crate::edge::Edge;
use crate::pb;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Who is this, and where was this person seen?
#[derive(Clone, Debug)]
pub(crate) struct Search(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::search_service_server::SearchService for Search {
    async fn search_image(
        &self,
        request: Request<pb::SearchImageRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let _place = self.0.pool.admit()?;
        let query = Query::of_image(&self.0, request.into_inner()).await?;
        Ok(Response::new(query.look_up(&self.0).await?))
    }

    async fn search_embedding(
        &self,
        request: Request<pb::SearchEmbeddingRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let _place = self.0.pool.admit()?;
        let query = Query::of_embedding(&self.0, request.into_inner())?;
        Ok(Response::new(query.look_up(&self.0).await?))
    }

    type FollowStream = ReceiverStream<Result<pb::FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<pb::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Ok(Response::new(
            follow::start(&self.0, request.into_inner()).await?,
        ))
    }
}
