//! `AdminService`.

use crate::core::WriteState;
use crate::edge::Edge;
use crate::error::ApiError;
use crate::pb::{self, SourceState};
use crate::time::timestamp;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// How the server is doing.
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
        let (log, collection) = (edge.core.log(), &edge.collection);
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
            calibration: edge.calibration.now().map(|fitted| pb::Calibration {
                identities: fitted.identities,
                trials: fitted.trials,
                cosine_at_1_percent: fitted.confidence.threshold(0.01),
                cosine_at_1_permille: fitted.confidence.threshold(0.001),
            }),
        })
    }
}
