//! `SightingService`.

use super::scope::{key, sighting_on, sightings_on};
use super::track_faces;
use crate::access::Caller;
use crate::core::{ExemplarRow, SightingKey, SightingQuery};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb::{self, get_thumbnail_request::Of};
use crate::time::timestamp_us;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Where and when people were seen.
#[derive(Clone, Debug)]
pub(crate) struct Sightings(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::sighting_service_server::SightingService for Sightings {
    async fn list_sightings(
        &self,
        request: Request<pb::ListSightingsRequest>,
    ) -> Result<Response<pb::ListSightingsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn get_thumbnail(
        &self,
        request: Request<pb::GetThumbnailRequest>,
    ) -> Result<Response<pb::Thumbnail>, Status> {
        Ok(Response::new(self.thumbnail(&request.into_inner()).await?))
    }

    type ListTrackFacesStream = ReceiverStream<track_faces::Reply>;

    async fn list_track_faces(
        &self,
        request: Request<pb::ListTrackFacesRequest>,
    ) -> Result<Response<Self::ListTrackFacesStream>, Status> {
        let faces = track_faces::start(&self.0, &request.into_inner()).await?;
        Ok(Response::new(faces))
    }
}

impl Sightings {
    async fn list(
        &self,
        request: pb::ListSightingsRequest,
    ) -> Result<pb::ListSightingsResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let (identity, source) = (request.identity_id, request.source_id);
        let after_us = request.seen_after.as_ref().map(timestamp_us);
        let before_us = request.seen_before.as_ref().map(timestamp_us);
        let seal = [after_us, before_us].iter().fold(
            self.0
                .seal("ListSightings")
                .with(&identity.to_le_bytes())
                .with(&source.to_le_bytes()),
            |seal, time| seal.with(format!("{time:?}").as_bytes()),
        );
        let after = seal
            .open(&request.page_token)?
            .map(|[wall_start_us, start_us, track]| SightingKey {
                wall_start_us,
                start_us,
                track: track.cast_unsigned(),
            });
        let caller = Caller::current();
        let read = self.0.read(move |catalog| {
            let resolved = if identity == 0 {
                Some(0)
            } else {
                catalog.resolve(identity)?
            };
            let Some(resolved) = resolved else {
                return Ok(Err(ApiError::IdentityNotFound { id: identity }));
            };
            if source != 0 && !caller.sees(source) {
                return Ok(Err(ApiError::SourceOutOfScope { id: source }));
            }
            if source != 0 && catalog.source(source)?.is_none() {
                return Ok(Err(ApiError::SourceNotFound { id: source }));
            }
            let query = SightingQuery {
                identity: (resolved != 0).then_some(resolved),
                source: (source != 0).then_some(source),
                seen_after_us: after_us,
                seen_before_us: before_us,
                after,
                limit: size + 1,
                newest_first: false,
            };
            let found = match caller.scope() {
                Some(scope) if source == 0 => sightings_on(catalog, &query, scope)?,
                Some(_) | None => catalog.sightings(&query)?,
            };
            Ok(Ok(found))
        });
        let (mut sightings, sequence) = read.await??;
        let more = cut(&mut sightings, size);
        let next_page_token = match sightings.last() {
            Some(last) if more => {
                let at = key(last);
                seal.token([at.wall_start_us, at.start_us, at.track.cast_signed()])
            }
            Some(_) | None => String::new(),
        };
        Ok(pb::ListSightingsResponse {
            sightings,
            next_page_token,
            sequence,
        })
    }

    pub(crate) async fn thumbnail(
        &self,
        request: &pb::GetThumbnailRequest,
    ) -> Result<pb::Thumbnail, ApiError> {
        let what = "is missing: give exemplar_id, track_id or identity_id".to_owned();
        let of = request
            .of
            .ok_or(ApiError::InvalidField { field: "of", what })?;
        let (what, id) = match of {
            Of::ExemplarId(id) => ("exemplar", id),
            Of::TrackId(id) => ("track", id),
            Of::IdentityId(id) => ("identity", id),
        };
        let caller = Caller::current();
        let read = self.0.read(move |catalog| {
            let exemplar = match (of, caller.scope()) {
                (Of::ExemplarId(id), _) => Some(id),
                (Of::TrackId(id), _) => catalog.track(id)?.map(|track| track.best_exemplar_id),
                (Of::IdentityId(id), None) => catalog.identity(id)?.map(|i| i.cover_exemplar_id),
                (Of::IdentityId(id), Some(scope)) => {
                    let owner = catalog.resolve(id)?.unwrap_or_default();
                    sighting_on(catalog, owner, scope)?.map(|shown| shown.best_exemplar_id)
                }
            };
            let row = exemplar.map_or(Ok(None), |exemplar| catalog.exemplar(exemplar))?;
            if let (Some(row), Some(scope)) = (&row, caller.scope()) {
                let track = catalog.track(row.track)?;
                if track.is_none_or(|track| !scope.contains(&track.source_id)) {
                    return Ok(None);
                }
            }
            Ok(row)
        });
        let missing = || ApiError::ThumbnailNotFound { what, id };
        let row = read.await?.ok_or_else(missing)?;
        let reference = picture(&row, request.aligned)
            .cloned()
            .ok_or_else(missing)?;
        let log = self.0.core.log();
        let read = tokio::task::spawn_blocking(move || log.blob(&reference)).await;
        let jpeg = read.map_err(|_| ApiError::Internal("a read was lost"))??;
        Ok(pb::Thumbnail {
            jpeg,
            exemplar_id: row.id,
        })
    }
}

/// The picture asked for, or, for want of a looser one, the aligned one.
fn picture(row: &ExemplarRow, aligned: bool) -> Option<&rollcall_log::record::BlobRef> {
    let loose = row.loose_crop.as_ref().filter(|_| !aligned);
    loose.or(row.crop.as_ref())
}
