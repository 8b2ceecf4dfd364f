//! What waits for people to decide.

use super::form::{Query, address};
use super::guard::Visit;
use super::layout::{Here, Layout, Person};
use super::trouble::{Trouble, shown};
use super::words;
use crate::core::{Core, Proposed, ReviewItem, SightingQuery};
use crate::error::ApiError;
use askama::Template;
use axum::response::Response;

/// Items of a page.
const ITEMS: usize = 20;
/// Sightings whose crops are shown of each of the two, and crops.
const SIGHTINGS: u32 = 3;
const CROPS: usize = 6;

/// Somebody who may be somebody else, or two people.
struct Item {
    person: Person,
    /// Of whom is asked, and why.
    question: &'static str,
    crops: Vec<u64>,
    candidates: Vec<Candidate>,
    /// Tracks that may be another person's.
    part: Option<Part>,
}

/// Somebody whom it may be.
struct Candidate {
    person: Person,
    crops: Vec<u64>,
    cosine: String,
}

/// Tracks that look like somebody else.
struct Part {
    tracks: Vec<u64>,
    called: String,
    crops: Vec<u64>,
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
    let next = more.map(|last| {
        let token = seal.token([last.cast_signed()]);
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

/// The items proposed before a record, how many wait in all, and the record of the last one if more follow.
fn items(core: &Core, before: u64) -> Result<(Vec<Item>, u64, Option<u64>), ApiError> {
    let (mut found, total, _) = core.catalog().review_items(before, ITEMS + 1)?;
    let more = found.len() > ITEMS;
    found.truncate(ITEMS);
    let last = found.last().filter(|_| more).map(|last| last.sequence);
    let items = found.iter().map(|item| shown_item(core, item));
    Ok((items.collect::<Result<_, _>>()?, total, last))
}

fn shown_item(core: &Core, item: &ReviewItem) -> Result<Item, ApiError> {
    let mut candidates = Vec::with_capacity(item.candidates.len());
    for (candidate, cosine) in &item.candidates {
        candidates.push(Candidate {
            person: Person::of(candidate),
            crops: crops_of(core, candidate.id, &[])?,
            cosine: words::cosine(*cosine),
        });
    }
    let (question, part) = match item.proposed {
        Proposed::WhichOne if candidates.len() > 1 => {
            ("When seen, it could have been any of these.", None)
        }
        Proposed::WhichOne => (
            "When seen, it could have been this one or somebody else.",
            None,
        ),
        Proposed::OnePerson => ("Looked at again, these may be one person.", None),
        Proposed::TwoPeople => {
            let part = Part {
                called: words::count(item.track_ids.len() as u64, "track"),
                crops: crops_of_tracks(core, &item.track_ids)?,
                cosine: words::cosine(item.cosine),
                tracks: item.track_ids.clone(),
            };
            ("Looked at again, this may be two people.", Some(part))
        }
    };
    Ok(Item {
        person: Person::of(&item.identity),
        question,
        crops: crops_of(core, item.identity.id, &item.track_ids)?,
        candidates,
        part,
    })
}

/// Crops of an identity's newest sightings, without some of its tracks.
fn crops_of(core: &Core, identity: u64, without: &[u64]) -> Result<Vec<u64>, ApiError> {
    let query = SightingQuery {
        identity: Some(identity),
        limit: SIGHTINGS + u32::try_from(without.len()).unwrap_or(u32::MAX).min(1000),
        newest_first: true,
        ..SightingQuery::default()
    };
    let (seen, _) = core.catalog().sightings(&query)?;
    let tracks = seen.iter().map(|sighting| sighting.track_id);
    let tracks = tracks.filter(|track| !without.contains(track));
    crops_of_tracks(core, &tracks.collect::<Vec<_>>())
}

fn crops_of_tracks(core: &Core, tracks: &[u64]) -> Result<Vec<u64>, ApiError> {
    let first = &tracks[..tracks.len().min(SIGHTINGS as usize)];
    let all = core.catalog().exemplars_of(first)?.into_iter();
    Ok(all.map(|(_, exemplar)| exemplar).take(CROPS).collect())
}
