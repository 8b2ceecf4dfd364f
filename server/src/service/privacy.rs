//! `PrivacyService`.

use super::edit::{Said, given, unfit_field};
use crate::access::Notes;
use crate::core::{Core, Erasure, ErasurePlace, What};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb::{self, erase_request};
use crate::receipt::receipt;
use crate::time::{timestamp, timestamp_us};
use rollcall_log::record::{Body, ErasureBegun, ErasureScope, Record};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Tracks, or faces, that are named at a time.
const NAMED_MAX: usize = 10_000;
/// Identities shown of an erasure.
const PEOPLE_SHOWN: usize = 1000;
/// An answer comes so late at most, with the erasure through or not.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Forgetting.
#[derive(Clone, Debug)]
pub(crate) struct Privacy(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::privacy_service_server::PrivacyService for Privacy {
    async fn erase(
        &self,
        request: Request<pb::EraseRequest>,
    ) -> Result<Response<pb::Erasure>, Status> {
        Ok(Response::new(self.begin(request.into_inner()).await?))
    }

    async fn get_erasure(
        &self,
        request: Request<pb::GetErasureRequest>,
    ) -> Result<Response<pb::Erasure>, Status> {
        let id = request.into_inner().id;
        Ok(Response::new(self.get(id).await?))
    }

    async fn list_erasures(
        &self,
        request: Request<pb::ListErasuresRequest>,
    ) -> Result<Response<pb::ListErasuresResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }
}

impl Privacy {
    async fn begin(&self, request: pb::EraseRequest) -> Result<pb::Erasure, ApiError> {
        let what = checked(&request)?;
        note(&what);
        let said = Said::new(request.author, request.reason, request.request_id);
        let (author, reason, request_id) = said.checked()?;
        let mut commits = self.0.core.subscribe();
        let erasure = Erasure {
            what,
            author,
            reason,
            request_id,
        };
        let id = self.0.core.erase(erasure).await?;
        self.0.eraser.nudge();
        let wait = WAIT_MAX.min(self.0.config.request_timeout() / 2);
        let through = async {
            loop {
                let erasure = self.get(id).await?;
                if erasure.state() == pb::ErasureState::Done {
                    return Ok(erasure);
                }
                // One that lags has missed some, and looks again; a closed one ends in the timeout.
                if let Err(tokio::sync::broadcast::error::RecvError::Closed) = commits.recv().await
                {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(wait, through).await {
            Ok(erasure) => erasure,
            Err(_) => self.get(id).await,
        }
    }

    async fn get(&self, id: u64) -> Result<pb::Erasure, ApiError> {
        let found = self.0.blocking(move |core| {
            let place = core.catalog().erasure(id)?;
            let place = place.ok_or(crate::core::WriteError::ErasureNotFound { id })?;
            shown(core, place)
        });
        found.await
    }

    async fn list(
        &self,
        request: pb::ListErasuresRequest,
    ) -> Result<pb::ListErasuresResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let seal = self.0.seal("ListErasures");
        let before = seal.open::<1>(&request.page_token)?;
        let before = before.map_or(u64::MAX, |[before]| before.cast_unsigned());
        self.0
            .blocking(move |core| {
                let mut rows = core.catalog().erasures(before, size.saturating_add(1))?;
                let more = cut(&mut rows, size);
                let last = rows.last().map(|place| place.sequence);
                let erasures = rows.into_iter().map(|place| shown(core, place));
                let token = last
                    .filter(|_| more)
                    .map(|last| seal.token([last.cast_signed()]));
                Ok(pb::ListErasuresResponse {
                    erasures: erasures.collect::<Result<_, _>>()?,
                    next_page_token: token.unwrap_or_default(),
                })
            })
            .await
    }
}

/// Whom the audit log names: numbers alone.
fn note(what: &What) {
    match what {
        What::Identity { id, .. } => Notes::identity(*id),
        What::Source { id, .. } => Notes::source(*id),
        What::Tracks(_) | What::Faces(_) | What::Outlived(_) | What::KeysGone => {}
    }
}

fn checked(request: &pb::EraseRequest) -> Result<What, ApiError> {
    let unfit = |field, what: &str| Err(unfit_field(field, what));
    let etag = given(request.etag.clone());
    let what = match &request.what {
        Some(erase_request::What::IdentityId(id)) => {
            return Ok(What::Identity { id: *id, etag });
        }
        Some(erase_request::What::Tracks(tracks)) => {
            match (&tracks.track_ids, &tracks.exemplar_ids) {
                (ids, _) | (_, ids) if ids.len() > NAMED_MAX => {
                    return unfit("tracks", "names more than 10000 at a time");
                }
                (ids, faces) if faces.is_empty() && !ids.is_empty() => What::Tracks(ids.clone()),
                (ids, faces) if ids.is_empty() && !faces.is_empty() => What::Faces(faces.clone()),
                (_, _) => {
                    return unfit("tracks", "must have track_ids or exemplar_ids, one of both");
                }
            }
        }
        Some(erase_request::What::Source(source)) => {
            let from_us = source.from.as_ref().map_or(i64::MIN, timestamp_us);
            let to_us = source.to.as_ref().map_or(i64::MAX, timestamp_us);
            if from_us >= to_us {
                return unfit("source.to", "must lie behind source.from");
            }
            What::Source {
                id: source.source_id,
                from_us,
                to_us,
            }
        }
        None => return unfit("what", "is missing: say whom or what to erase"),
    };
    if etag.is_some() {
        return unfit("etag", "goes with identity_id alone");
    }
    Ok(what)
}

fn shown(core: &Core, place: ErasurePlace) -> Result<pb::Erasure, ApiError> {
    let log = core.log();
    let gone = || ApiError::Internal("an erasure's record is missing");
    let begun = log.record(place.sequence)?.ok_or_else(gone)?;
    let ended = match place.ended {
        Some(sequence) => Some(log.record(sequence)?.ok_or_else(gone)?),
        None => None,
    };
    let Some(Body::ErasureBegun(what)) = &begun.body else {
        return Err(gone());
    };
    let running = told(&begun, what);
    let Some(ended) = ended else {
        return Ok(running);
    };
    let Some(Body::ErasureEnded(result)) = &ended.body else {
        return Err(gone());
    };
    Ok(pb::Erasure {
        state: pb::ErasureState::Done.into(),
        end_time: Some(timestamp(ended.time_us)),
        end_sequence: ended.sequence,
        face_count: result.faces,
        blob_count: result.blobs,
        blob_bytes: result.blob_bytes,
        key_count: result.keys,
        receipt: receipt(&log.id(), &begun, &ended),
        ..running
    })
}

fn told(begun: &Record, what: &ErasureBegun) -> pb::Erasure {
    let count = |all: usize| u64::try_from(all).unwrap_or(u64::MAX);
    let of_source = what.scope() == ErasureScope::Source;
    let time = |us: i64| (of_source && us != i64::MIN && us != i64::MAX).then(|| timestamp(us));
    pb::Erasure {
        id: begun.sequence,
        scope: match what.scope() {
            ErasureScope::Unspecified => pb::ErasureScope::Unspecified,
            ErasureScope::Identity => pb::ErasureScope::Identity,
            ErasureScope::Tracks => pb::ErasureScope::Tracks,
            ErasureScope::Source => pb::ErasureScope::Source,
            ErasureScope::Retention => pb::ErasureScope::Retention,
            ErasureScope::Rule => pb::ErasureScope::Rule,
        }
        .into(),
        state: pb::ErasureState::Running.into(),
        begin_time: Some(timestamp(begun.time_us)),
        author: begun.author.clone(),
        reason: what.reason.clone(),
        identity_ids: what
            .identity_ids
            .iter()
            .copied()
            .take(PEOPLE_SHOWN)
            .collect(),
        identity_count: count(what.identity_ids.len()),
        track_count: count(what.track_ids.len()),
        source_id: what.source_ids.first().copied().unwrap_or(0),
        from: time(what.from_us),
        to: time(what.to_us),
        ..pb::Erasure::default()
    }
}
