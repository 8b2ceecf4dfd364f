//! `SourceService`.

use crate::access::Caller;
use crate::core::{Catalog, CatalogError, NewSource, SourceRow};
use crate::edge::{Edge, checked_author, checked_request_id, unfit};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb::{self, SourceKind};
use crate::source_uri::{CheckedUri, UriError};
use crate::supervisor::is_final;
use crate::url_mask::masked;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Bytes of a remote source's label at most.
const LABEL_BYTES_MAX: usize = 4096;

/// Files and streams that are being watched.
#[derive(Clone, Debug)]
pub(crate) struct SourceDoor(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::source_service_server::SourceService for SourceDoor {
    async fn add_source(
        &self,
        request: Request<pb::AddSourceRequest>,
    ) -> Result<Response<pb::Source>, Status> {
        Ok(Response::new(self.add(request.into_inner()).await?))
    }

    async fn find_files(
        &self,
        request: Request<pb::FindFilesRequest>,
    ) -> Result<Response<pb::FindFilesResponse>, Status> {
        let (edge, pattern) = (Arc::clone(&self.0), request.into_inner().pattern);
        // Looking at the file system may block.
        let find = tokio::task::spawn_blocking(move || edge.rules.find(&pattern));
        let found = find
            .await
            .map_err(|_| ApiError::Internal("a search for files was lost"))?;
        Ok(Response::new(found.map_err(ApiError::from)?))
    }

    async fn get_source(
        &self,
        request: Request<pb::GetSourceRequest>,
    ) -> Result<Response<pb::Source>, Status> {
        let id = request.into_inner().source_id;
        Caller::current().check_source(id)?;
        let row = self.0.source(id).await?;
        Ok(Response::new(self.0.sources.show(row)))
    }

    async fn list_sources(
        &self,
        request: Request<pb::ListSourcesRequest>,
    ) -> Result<Response<pb::ListSourcesResponse>, Status> {
        Ok(Response::new(self.list(&request.into_inner()).await?))
    }

    async fn stop_source(
        &self,
        request: Request<pb::StopSourceRequest>,
    ) -> Result<Response<pb::Source>, Status> {
        Ok(Response::new(self.stop(&request.into_inner()).await?))
    }
}

impl SourceDoor {
    async fn add(&self, request: pb::AddSourceRequest) -> Result<pb::Source, ApiError> {
        let author = checked_author(&request.author)?;
        let request_id = checked_request_id(&request.request_id)?;
        if let Some(what) = unfit(request.name.trim()) {
            return Err(ApiError::InvalidField {
                field: "name",
                what: what.to_owned(),
            });
        }
        let asked = SourceKind::try_from(request.kind).map_err(|_| ApiError::InvalidField {
            field: "kind",
            what: format!("{} is no kind of source", request.kind),
        })?;
        let checked = match asked {
            SourceKind::Remote => checked_label(&request.uri)?,
            SourceKind::Unspecified | SourceKind::File | SourceKind::Live => {
                let (edge, uri) = (Arc::clone(&self.0), request.uri);
                // Looking at the file system may block.
                let check = tokio::task::spawn_blocking(move || edge.rules.check(&uri));
                check
                    .await
                    .map_err(|_| ApiError::Internal("a check was lost"))??
            }
        };
        let kind = if asked == SourceKind::Unspecified {
            checked.kind
        } else {
            asked
        };
        let name = match request.name.trim() {
            "" => checked
                .name
                .chars()
                .take(crate::edge::NAME_CHARS_MAX)
                .collect(),
            name => name.to_owned(),
        };
        let realtime = request.realtime && kind == SourceKind::File;
        let new = NewSource {
            uri: checked.uri,
            name,
            kind,
            realtime,
            author,
            request_id,
        };
        let id = self.0.core.add_source(new).await?;
        let row = self.0.source(id).await?;
        self.0.sources.state_changed(id, row.state);
        if !is_final(row.state) {
            self.0.supervisor.take_up(row.clone());
        }
        Ok(self.0.sources.show(row))
    }

    pub(crate) async fn list(
        &self,
        request: &pb::ListSourcesRequest,
    ) -> Result<pb::ListSourcesResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let seal = self.0.seal("ListSources");
        let after = seal
            .open(&request.page_token)?
            .map_or(0, |[after]| after.cast_unsigned());
        let scope = Caller::current().scope().map(<[u64]>::to_vec);
        let read = self.0.read(move |catalog| match scope {
            None => Ok((catalog.sources(after, size + 1)?, catalog.source_count()?)),
            Some(ids) => sources_of(catalog, ids, after, size + 1),
        });
        let (mut rows, total_count) = read.await?;
        let more = cut(&mut rows, size);
        let last = rows.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.id.cast_signed()]))
            .unwrap_or_default();
        let sources = rows
            .into_iter()
            .map(|row| self.0.sources.show(row))
            .collect();
        Ok(pb::ListSourcesResponse {
            sources,
            next_page_token,
            total_count,
        })
    }

    async fn stop(&self, request: &pb::StopSourceRequest) -> Result<pb::Source, ApiError> {
        Caller::current().check_source(request.source_id)?;
        let author = checked_author(&request.author)?;
        let row = self.0.source(request.source_id).await?;
        if !is_final(row.state) {
            // In a task of its own: a caller who hangs up does not leave the source half stopped.
            let edge = Arc::clone(&self.0);
            let stop = tokio::spawn(async move { edge.supervisor.stop(&row, &author).await });
            stop.await
                .map_err(|_| ApiError::Internal("a stop was lost"))??;
        }
        Ok(self.0.sources.show(self.0.source(request.source_id).await?))
    }
}

/// At most `limit` of these sources behind `after`, lowest id first, and how many there are in all.
fn sources_of(
    catalog: &Catalog,
    mut ids: Vec<u64>,
    after: u64,
    limit: u32,
) -> Result<(Vec<SourceRow>, u64), CatalogError> {
    ids.sort_unstable();
    ids.dedup();
    let rows = ids.into_iter().map(|id| catalog.source(id));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<SourceRow> = rows.into_iter().flatten().collect();
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let behind = rows.into_iter().filter(|row| row.id > after);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok((behind.take(limit).collect(), count))
}

/// A remote source's address is a label: nothing opens it.
fn checked_label(uri: &str) -> Result<CheckedUri, UriError> {
    let invalid = |what: &str| {
        Err(UriError::Invalid {
            what: what.to_owned(),
        })
    };
    if uri.trim().is_empty() {
        return invalid("is empty; give a label for what is sent from outside");
    }
    if uri.len() > LABEL_BYTES_MAX {
        return invalid("is longer than 4096 bytes");
    }
    if uri.chars().any(char::is_control) {
        return invalid("has control characters");
    }
    Ok(CheckedUri {
        uri: uri.to_owned(),
        name: masked(uri),
        kind: SourceKind::Remote,
    })
}
