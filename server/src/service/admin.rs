//! `AdminService`.

use super::edit::checked_reason;
use crate::calibration::Scope;
use crate::core::{Asked, WriteState};
use crate::edge::{Edge, checked_author, checked_request_id};
use crate::error::ApiError;
use crate::migration;
use crate::pb::{self, SourceState};
use crate::time::timestamp;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// How the server is doing, and what is done to the collection as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Admin(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::admin_service_server::AdminService for Admin {
    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        Ok(Response::new(self.status().await?))
    }

    async fn start_migration(
        &self,
        request: Request<pb::StartMigrationRequest>,
    ) -> Result<Response<pb::Migration>, Status> {
        let request = request.into_inner();
        checked_embedder(&request.embedder)?;
        let asked = asked(&request.author, &request.reason, &request.request_id)?;
        Ok(Response::new(
            migration::start(&self.0, request, asked).await?,
        ))
    }

    async fn get_migration(
        &self,
        _: Request<pb::GetMigrationRequest>,
    ) -> Result<Response<pb::Migration>, Status> {
        Ok(Response::new(migration::get(&self.0)?))
    }

    async fn cancel_migration(
        &self,
        request: Request<pb::EndMigrationRequest>,
    ) -> Result<Response<pb::Migration>, Status> {
        let request = request.into_inner();
        let asked = asked(&request.author, &request.reason, &request.request_id)?;
        Ok(Response::new(migration::cancel(&self.0, asked).await?))
    }

    async fn roll_back_migration(
        &self,
        request: Request<pb::EndMigrationRequest>,
    ) -> Result<Response<pb::Migration>, Status> {
        let request = request.into_inner();
        let asked = asked(&request.author, &request.reason, &request.request_id)?;
        let rolled_back = migration::roll_back(&self.0, request.allow_loss, asked);
        Ok(Response::new(rolled_back.await?))
    }

    async fn finish_migration(
        &self,
        request: Request<pb::EndMigrationRequest>,
    ) -> Result<Response<pb::Migration>, Status> {
        let request = request.into_inner();
        let asked = asked(&request.author, &request.reason, &request.request_id)?;
        Ok(Response::new(migration::finish(&self.0, asked).await?))
    }
}

fn asked(author: &str, reason: &str, request_id: &str) -> Result<Asked, ApiError> {
    Ok(Asked {
        author: checked_author(author)?,
        reason: checked_reason(reason)?,
        request_id: checked_request_id(request_id)?,
    })
}

/// An embedder's id is also the name of a file.
fn checked_embedder(id: &str) -> Result<(), ApiError> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&id.len()) && !id.starts_with('.') && id.chars().all(known) {
        return Ok(());
    }
    Err(ApiError::InvalidField {
        field: "embedder",
        what: "is the id of a manifest in the models folder: letters, digits, `-`, `_`, `.`"
            .to_owned(),
    })
}

impl Admin {
    async fn status(&self) -> Result<pb::Status, ApiError> {
        let edge = &self.0;
        let read = edge.read(|catalog| {
            let (mut running, mut after) = (0u64, 0);
            loop {
                let rows = catalog.sources(after, 500)?;
                let Some(last) = rows.last() else {
                    return Ok((catalog.counts()?, running));
                };
                after = last.id;
                let up = |state| matches!(state, SourceState::Running | SourceState::Stalled);
                running += rows.iter().map(|row| u64::from(up(row.state))).sum::<u64>();
            }
        });
        let (counts, sources_running) = read.await?;
        let (log, models) = (edge.core.log(), edge.in_service());
        let collection = &models.collection;
        let size = log.size();
        let write_state = match edge.core.write_state() {
            WriteState::Ok => "ok",
            WriteState::ReadOnly { reason, .. } => reason,
        };
        Ok(pb::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log_id: log.id().to_string(),
            epoch: log.epoch(),
            visible_sequence: edge.core.view().sequence,
            durable_sequence: log.durable_sequence(),
            write_state: write_state.to_owned(),
            identities: counts.identities,
            exemplars: counts.exemplars,
            tracks: counts.tracks,
            sources: counts.sources,
            sources_running,
            contract: collection.contract.clone(),
            detector: collection.detector.clone(),
            embedder: collection.embedder.clone(),
            dimension: u32::try_from(collection.dimension).unwrap_or(u32::MAX),
            same_cosine: collection.same_cosine,
            start_time: Some(timestamp(edge.started_us)),
            log_bytes: size.record_bytes,
            blob_bytes: size.blob_bytes,
            watchers: edge
                .metrics
                .watch_subscribers
                .get()
                .try_into()
                .unwrap_or_default(),
            calibration: edge
                .calibration
                .of(Scope::All, &collection.contract)
                .map(|fitted| pb::Calibration {
                    identities: fitted.identities,
                    trials: fitted.trials,
                    cosine_at_1_percent: fitted.confidence.threshold(0.01),
                    cosine_at_1_permille: fitted.confidence.threshold(0.001),
                }),
        })
    }
}
