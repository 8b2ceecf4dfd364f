//! Clustering everybody anew.

use super::edit::Said;
use super::identity::Identities;
use crate::clustering::{self, Plan};
use crate::error::ApiError;
use crate::pb;
use std::sync::Arc;

/// What is recorded as the reason when none is given.
const REASON: &str = "clustered anew";

impl Identities {
    pub(crate) async fn cluster(
        &self,
        request: pb::ClusterIdentitiesRequest,
    ) -> Result<pb::ClusterIdentitiesResponse, ApiError> {
        let said = Said::new(request.author, request.reason, String::new());
        let (author, reason, _) = said.checked()?;
        let reason = if reason.is_empty() {
            REASON.to_owned()
        } else {
            reason
        };
        let edge = &self.0;
        // One at a time: others wait for it.
        let mut kept = edge.clustering.lock().await;
        if request.apply == 0 {
            let plan = self.find().await?;
            let answer = plan.answer();
            *kept = Some(plan);
            return Ok(answer);
        }
        match kept.take_if(|plan| plan.sequence() == request.apply) {
            Some(plan) => Ok(plan.apply(&edge.core, &author, &reason).await),
            None => Err(ApiError::ClusteringOutdated {
                asked: request.apply,
                kept: kept.as_ref().map(Plan::sequence),
            }),
        }
    }

    async fn find(&self) -> Result<Plan, ApiError> {
        let edge = Arc::clone(&self.0);
        let found = tokio::task::spawn_blocking(move || {
            let view = edge.core.view();
            let models = edge.in_service();
            clustering::find(&edge.core, &view, models.collection.same_cosine)
        });
        found
            .await
            .map_err(|_| ApiError::Internal("a clustering was lost"))?
    }
}
