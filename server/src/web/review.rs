//! What waits for people to decide.

use super::form::{Query, address};
use super::guard::Visit;
use super::layout::{Here, Layout, Person};
use super::trouble::{Trouble, shown};
use super::words;
use crate::core::{Core, SightingQuery};
use crate::error::ApiError;
use askama::Template;
use axum::response::Response;

/// Items of a page.
const ITEMS: usize = 20;
/// Sightings whose crops are shown of each of the two, and crops.
const SIGHTINGS: u32 = 3;
const CROPS: usize = 6;

/// Somebody who may be somebody else.
struct Item {
    person: Person,
    crops: Vec<u64>,
    candidate: Person,
    candidate_crops: Vec<u64>,
    cosine: String,
}

#[derive(Template)]
#[template(path = "review.html")]
struct ReviewPage {
    layout: Layout,
    items: Vec<Item>,
    total: u64,
    /// The address of the next page; empty: this is the last one.
    next: String,
}

/// The newest of what waits.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    let seal = visit.edge.seal("page of the review queue");
    let before = seal
        .open(query.fields.text("before"))
        .map_err(ApiError::from)?;
    let before = before.map_or(u64::MAX, |[before]| before.cast_unsigned());
    let read = visit.edge.blocking(move |core| items(core, before));
    let (items, total, more) = read.await?;
    let last = items.last().filter(|_| more);
    let next = last.map(|last| {
        let token = seal.token([last.person.id.cast_signed()]);
        address("/review", [("before", token.as_str())].into_iter())
    });
    let layout = Layout::new(visit, Here::Review, &query).await?;
    Ok(shown(&ReviewPage {
        layout,
        items,
        total,
        next: next.unwrap_or_default(),
    }))
}

/// The items before an identity, how many wait in all, and whether more follow.
fn items(core: &Core, before: u64) -> Result<(Vec<Item>, u64, bool), ApiError> {
    let (mut found, total) = core.catalog().review_items(before, ITEMS + 1)?;
    let more = found.len() > ITEMS;
    found.truncate(ITEMS);
    let mut items = Vec::new();
    for item in found {
        items.push(Item {
            person: Person::of(&item.identity),
            crops: crops(core, item.identity.id)?,
            candidate: Person::of(&item.candidate),
            candidate_crops: crops(core, item.candidate.id)?,
            cosine: words::cosine(item.cosine),
        });
    }
    Ok((items, total, more))
}

/// Crops of an identity's newest sightings.
fn crops(core: &Core, identity: u64) -> Result<Vec<u64>, ApiError> {
    let query = SightingQuery {
        identity: Some(identity),
        limit: SIGHTINGS,
        newest_first: true,
        ..SightingQuery::default()
    };
    let (seen, _) = core.catalog().sightings(&query)?;
    let tracks: Vec<u64> = seen.iter().map(|sighting| sighting.track_id).collect();
    let all = core.catalog().exemplars_of(&tracks)?.into_iter();
    Ok(all.map(|(_, exemplar)| exemplar).take(CROPS).collect())
}
