//! Lists as a whole, page after page.
use crate::client::Client;
use crate::error::Error;
use crate::pb;

const PAGE_SIZE: usize = 1000;

/// What [`Client::all_identities`] found.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// Oldest first.
    pub items: Vec<pb::Identity>,
    /// How many there are in all.
    pub total: u64,
    /// The log sequence of the last page read.
    pub sequence: u64,
}

/// What [`Client::all_sources`] found.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Oldest first.
    pub items: Vec<pb::Source>,
    /// How many there are in all.
    pub total: u64,
}

/// What [`Client::all_sightings`] found.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// By wall clock, then stream time, oldest first.
    pub items: Vec<pb::Sighting>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// The log sequence of the last page read.
    pub sequence: u64,
}

/// What [`Client::all_review`] found.
#[derive(Clone, Debug, Default)]
pub struct Review {
    /// Newest first.
    pub items: Vec<pb::ReviewItem>,
    /// How much waits in all.
    pub total: u64,
    /// The log sequence of the last page read.
    pub sequence: u64,
}

impl Client {
    /// Identities from the first page on, at most `limit`; the request's page fields are ignored.
    ///
    /// Cost: a call per 1000.
    pub async fn all_identities(
        &self,
        mut request: pb::ListIdentitiesRequest,
        limit: usize,
    ) -> Result<Identities, Error> {
        let mut found = Identities::default();
        request.page_token.clear();
        loop {
            request.page_size = page_size(limit - found.items.len());
            let page = self.list_identities(request.clone()).await?;
            found.items.extend(page.identities);
            (found.total, found.sequence) = (page.total_count, page.sequence);
            found.items.truncate(limit);
            if page.next_page_token.is_empty() || found.items.len() >= limit {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Edits of an identity (0: all edits), newest first, at most `limit`.
    ///
    /// Cost: a call per 1000.
    pub async fn all_edits(&self, identity_id: u64, limit: usize) -> Result<Vec<pb::Edit>, Error> {
        let mut edits = Vec::new();
        let mut request = pb::ListEditsRequest {
            identity_id,
            ..Default::default()
        };
        loop {
            request.page_size = page_size(limit - edits.len());
            let page = self.list_edits(request.clone()).await?;
            edits.extend(page.edits);
            edits.truncate(limit);
            if page.next_page_token.is_empty() || edits.len() >= limit {
                return Ok(edits);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Alert rules, oldest first, at most `limit`.
    ///
    /// Cost: a call per 1000.
    pub async fn all_alert_rules(&self, limit: usize) -> Result<Vec<pb::AlertRule>, Error> {
        let mut rules = Vec::new();
        let mut request = pb::ListAlertRulesRequest::default();
        loop {
            request.page_size = page_size(limit - rules.len());
            let page = self.list_alert_rules(request.clone()).await?;
            rules.extend(page.rules);
            rules.truncate(limit);
            if page.next_page_token.is_empty() || rules.len() >= limit {
                return Ok(rules);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Alerts, newest first, at most `limit`; the request's page fields are ignored.
    ///
    /// Cost: a call per 1000.
    pub async fn all_alerts(
        &self,
        mut request: pb::ListAlertsRequest,
        limit: usize,
    ) -> Result<Vec<pb::Alert>, Error> {
        let mut alerts = Vec::new();
        request.page_token.clear();
        loop {
            request.page_size = page_size(limit - alerts.len());
            let page = self.list_alerts(request.clone()).await?;
            alerts.extend(page.alerts);
            alerts.truncate(limit);
            if page.next_page_token.is_empty() || alerts.len() >= limit {
                return Ok(alerts);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Facts from the first page on, at most `limit`; the request's page fields are ignored.
    ///
    /// Cost: a call per 1000.
    pub async fn all_facts(
        &self,
        mut request: pb::ListFactsRequest,
        limit: usize,
    ) -> Result<Vec<pb::Fact>, Error> {
        let mut facts = Vec::new();
        request.page_token.clear();
        loop {
            request.page_size = page_size(limit - facts.len());
            let page = self.list_facts(request.clone()).await?;
            facts.extend(page.facts);
            facts.truncate(limit);
            if page.next_page_token.is_empty() || facts.len() >= limit {
                return Ok(facts);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// What waits for people to decide, newest first, at most `limit`.
    ///
    /// Cost: a call per 1000.
    pub async fn all_review(&self, limit: usize) -> Result<Review, Error> {
        let mut found = Review::default();
        let mut request = pb::ListReviewRequest::default();
        loop {
            request.page_size = page_size(limit - found.items.len());
            let page = self.list_review(request.clone()).await?;
            found.items.extend(page.items);
            (found.total, found.sequence) = (page.total_count, page.sequence);
            found.items.truncate(limit);
            if page.next_page_token.is_empty() || found.items.len() >= limit {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Sources from the first page on, at most `limit`.
    ///
    /// Cost: a call per 1000.
    pub async fn all_sources(&self, limit: usize) -> Result<Sources, Error> {
        let mut found = Sources::default();
        let mut request = pb::ListSourcesRequest::default();
        loop {
            request.page_size = page_size(limit - found.items.len());
            let page = self.list_sources(request.clone()).await?;
            found.items.extend(page.sources);
            found.total = page.total_count;
            found.items.truncate(limit);
            if page.next_page_token.is_empty() || found.items.len() >= limit {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Sightings from the first page on, at most `limit`; the request's page fields are ignored.
    ///
    /// Cost: a call per 1000.
    pub async fn all_sightings(
        &self,
        mut request: pb::ListSightingsRequest,
        limit: usize,
    ) -> Result<Sightings, Error> {
        let mut found = Sightings::default();
        request.page_token.clear();
        loop {
            request.page_size = page_size(limit - found.items.len());
            let page = self.list_sightings(request.clone()).await?;
            found.items.extend(page.sightings);
            found.sequence = page.sequence;
            found.more = !page.next_page_token.is_empty() || found.items.len() > limit;
            found.items.truncate(limit);
            if page.next_page_token.is_empty() || found.items.len() >= limit {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// As many as are still wanted, but 1 at least: 0 would ask for the server's default.
pub(crate) fn page_size(wanted: usize) -> i32 {
    i32::try_from(wanted.clamp(1, PAGE_SIZE)).unwrap_or(i32::MAX)
}
