//! Erasures.
use super::{Client, fill_request_id};
use crate::error::Error;
use crate::pb;

impl Client {
    /// Erases a person, sightings, or what a source saw, for ever. Done once `state` is DONE: ask again with
    /// [`Client::erasure`] where it is RUNNING still.
    pub async fn erase(&self, mut request: pb::EraseRequest) -> Result<pb::Erasure, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            privacy_service_client::PrivacyServiceClient.erase(request)
        )
    }

    /// An erasure, and its receipt once it is through.
    pub async fn erasure(&self, id: u64) -> Result<pb::Erasure, Error> {
        call!(
            self,
            read,
            privacy_service_client::PrivacyServiceClient.get_erasure(pb::GetErasureRequest { id })
        )
    }

    /// Erasures, newest first, at most `limit`.
    ///
    /// Cost: a call per 1000.
    pub async fn all_erasures(&self, limit: usize) -> Result<Vec<pb::Erasure>, Error> {
        let mut found = Vec::new();
        let mut request = pb::ListErasuresRequest::default();
        loop {
            request.page_size = crate::pages::page_size(limit - found.len());
            let page = call!(
                self,
                read,
                privacy_service_client::PrivacyServiceClient.list_erasures(request.clone())
            )?;
            found.extend(page.erasures);
            found.truncate(limit);
            if page.next_page_token.is_empty() || found.len() >= limit {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }
}
