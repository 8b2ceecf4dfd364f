//! Clustering everybody anew.

use super::edit::Said;
use super::identity::Identities;
use crate::clustering::{self, Plan};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::pb;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// What is recorded as the reason when none is given.
const REASON: &str = "clustered anew";

impl Identities {
    /// A task of its own does it: whoever asked may have gone, and what was begun comes to its end all the same.
    pub(crate) async fn cluster(
        &self,
        request: pb::ClusterIdentitiesRequest,
    ) -> Result<pb::ClusterIdentitiesResponse, ApiError> {
        let said = Said::new(request.author, request.reason, String::new());
        let (author, mut reason, _) = said.checked()?;
        if reason.is_empty() {
            REASON.clone_into(&mut reason);
        }
        let edge = Arc::clone(&self.0);
        let kept = Arc::clone(&edge.clustering).try_lock_owned();
        let kept = kept.map_err(|_| ApiError::Overloaded {
            what: "everybody is being clustered for somebody else",
            limit: "clusterings",
        })?;
        let done = if request.apply == 0 {
            tokio::spawn(find(edge, kept))
        } else {
            tokio::spawn(apply(edge, kept, request.apply, (author, reason)))
        };
        done.await
            .map_err(|_| ApiError::Internal("a clustering was lost"))?
    }
}

async fn find(
    edge: Arc<Edge>,
    mut kept: OwnedMutexGuard<Option<Plan>>,
) -> Result<pb::ClusterIdentitiesResponse, ApiError> {
    *kept = None;
    let found = tokio::task::spawn_blocking(move || {
        let view = edge.core.view();
        let models = edge.in_service();
        clustering::find(&edge.core, &view, models.collection.same_cosine)
    });
    let plan = found
        .await
        .map_err(|_| ApiError::Internal("a clustering was lost"))??;
    let answer = plan.answer();
    *kept = Some(plan);
    Ok(answer)
}

async fn apply(
    edge: Arc<Edge>,
    mut kept: OwnedMutexGuard<Option<Plan>>,
    asked: u64,
    (author, reason): (String, String),
) -> Result<pb::ClusterIdentitiesResponse, ApiError> {
    match kept.take_if(|plan| plan.sequence() == asked) {
        Some(plan) => Ok(plan.apply(&edge.core, &author, &reason).await),
        None => Err(ApiError::ClusteringOutdated {
            asked,
            kept: kept.as_ref().map(Plan::sequence),
        }),
    }
}
