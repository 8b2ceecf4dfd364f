//! One identity: what is said of it, when and where it was seen, who it is like, what was done to it.

use super::form::{Query, address};
use super::guard::Visit;
use super::layout::{Done, Here, Layout, Person};
use super::timeline::{Lane, lanes};
use super::trouble::{Trouble, shown};
use super::words::{self, Moment};
use crate::core::{Core, SightingKey, SightingQuery};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::pb::{self, SourceKind};
use crate::service::Identities;
use crate::time::{duration_us, timestamp_us};
use askama::Template;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rollcall_index::{Effort, Filter, IdentityHit, IdentityId, Similarity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sightings on the time line at most.
const SIGHTINGS: u32 = 2000;
/// Sightings of a page that are shown with their crops.
const CARDS: usize = 60;
/// Crops of a sighting at most.
const CROPS: usize = 6;
/// Others who are offered for a merge.
const ALIKE: usize = 5;
/// Edits of the history that are shown.
const EDITS: i32 = 30;

/// A sighting with its crops.
struct Card {
    track: u64,
    source: String,
    from: String,
    to: String,
    open: bool,
    time: Moment,
    /// By which it joined; empty for the track that opened the identity.
    cosine: String,
    attributes: Vec<String>,
    crops: Vec<u64>,
}

/// Somebody else, and how alike the two are.
struct Alike {
    person: Person,
    cosine: String,
}

/// What is read of an identity's sightings.
struct Seen {
    lanes: Vec<Lane>,
    cards: Vec<Card>,
    /// The address of older ones; empty: these are the oldest.
    older: String,
    /// Sightings on the time line.
    count: usize,
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    layout: Layout,
    person: Person,
    external_id: String,
    metadata: BTreeMap<String, String>,
    faces: String,
    screen_time: String,
    seen: Seen,
    alike: Vec<Alike>,
    history: Vec<Done>,
}

/// The identity with this id; one that was absorbed leads to its absorber.
pub(super) async fn page(
    visit: Visit,
    Path(id): Path<u64>,
    query: Query,
) -> Result<Response, Trouble> {
    let identities = Identities(Arc::clone(&visit.edge));
    let identity = identities.get(id).await?;
    if identity.id != id {
        let to = address(&format!("/people/{}", identity.id), query.fields.iter());
        return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response());
    }
    let seal = visit.edge.seal("page of a person").with(&id.to_le_bytes());
    let before = seal
        .open(query.fields.text("before"))
        .map_err(ApiError::from)?;
    let key = before.map(|[wall_start_us, start_us, track]| SightingKey {
        wall_start_us,
        start_us,
        track: track.cast_unsigned(),
    });
    let read = visit.edge.blocking(move |core| sightings(core, id, key));
    let (mut seen, last) = read.await?;
    if let Some(last) = last {
        let token = seal.token([last.wall_start_us, last.start_us, last.track.cast_signed()]);
        let path = format!("/people/{id}");
        seen.older = address(&path, [("before", token.as_str())].into_iter());
    }
    let history = pb::ListEditsRequest {
        identity_id: id,
        page_size: EDITS,
        page_token: String::new(),
    };
    let history = identities.edits(history).await?;
    let page = PersonPage {
        alike: alike(&visit.edge, id).await?,
        layout: Layout::new(visit, Here::People, &query).await?,
        person: Person::of(&identity),
        external_id: identity.external_id,
        metadata: identity.metadata.into_iter().collect(),
        faces: words::count(identity.exemplar_count, "face"),
        screen_time: words::stream_time(identity.screen_time.as_ref()),
        seen,
        history: history.edits.iter().map(Done::of).collect(),
    };
    Ok(shown(&page))
}

/// The newest sightings before a place, and where those with crops end if there are more.
fn sightings(
    core: &Core,
    identity: u64,
    before: Option<SightingKey>,
) -> Result<(Seen, Option<SightingKey>), ApiError> {
    let catalog = core.catalog();
    let query = SightingQuery {
        identity: Some(identity),
        after: before,
        limit: SIGHTINGS,
        newest_first: true,
        ..SightingQuery::default()
    };
    let (found, _) = catalog.sightings(&query)?;
    let with_crops = &found[..found.len().min(CARDS)];
    let tracks: Vec<u64> = with_crops
        .iter()
        .map(|sighting| sighting.track_id)
        .collect();
    let mut crops: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (track, exemplar) in catalog.exemplars_of(&tracks)? {
        crops.entry(track).or_default().push(exemplar);
    }
    let mut kinds: BTreeMap<u64, SourceKind> = BTreeMap::new();
    for source in found.iter().map(|s| s.source_id).collect::<BTreeSet<_>>() {
        if let Some(source) = catalog.source(source)? {
            kinds.insert(source.id, source.kind);
        }
    }
    let cards = with_crops.iter().map(|sighting| {
        let crops = crops.remove(&sighting.track_id).unwrap_or_default();
        card(sighting, crops)
    });
    let cards: Vec<Card> = cards.collect();
    let more = found.len() > with_crops.len();
    let last = with_crops.last().filter(|_| more).map(|last| SightingKey {
        wall_start_us: last.wall_start.as_ref().map_or(0, timestamp_us),
        start_us: last.start.as_ref().map_or(0, duration_us),
        track: last.track_id,
    });
    let seen = Seen {
        lanes: lanes(&found, &kinds, &tracks.into_iter().collect()),
        cards,
        older: String::new(),
        count: found.len(),
    };
    Ok((seen, last))
}

fn card(sighting: &pb::Sighting, mut crops: Vec<u64>) -> Card {
    crops.truncate(CROPS);
    let attribute = |attribute: &pb::Attribute| {
        let what = if attribute.label.is_empty() {
            format!("{:.0} {}", attribute.value, attribute.unit)
        } else {
            attribute.label.clone()
        };
        format!("{}: {}", attribute.name, what.trim())
    };
    Card {
        track: sighting.track_id,
        source: sighting.source_name.clone(),
        from: words::stream_time(sighting.start.as_ref()),
        to: words::stream_time(sighting.end.as_ref()),
        open: sighting.open,
        time: Moment::of(sighting.wall_start.as_ref()).unwrap_or_default(),
        cosine: Some(sighting.cosine)
            .filter(|cosine| *cosine != 0.0)
            .map(words::cosine)
            .unwrap_or_default(),
        attributes: sighting.attributes.iter().map(attribute).collect(),
        crops,
    }
}

/// Who is most like this identity, most alike first: half of what joining takes is the least.
async fn alike(edge: &Arc<Edge>, id: u64) -> Result<Vec<Alike>, ApiError> {
    let (core, view) = (edge.core.clone(), edge.core.view());
    let least = Similarity::new(edge.in_service().collection.same_cosine / 2.0)
        .unwrap_or(Similarity::LEAST);
    let job = move || {
        let own = IdentityId::new(id);
        let Some(mean) = view.index.representative(own) else {
            return Ok(Vec::new());
        };
        let filter = Filter::default();
        let most = ALIKE + 1;
        let (found, _) = view
            .index
            .who(&mean, most, least, &filter, Effort::Normal)?;
        let fits = |hit: &&IdentityHit| hit.identity != own && hit.similarity.get() >= least.get();
        let mut all = Vec::new();
        for hit in found.iter().filter(fits).take(ALIKE) {
            if let Some(identity) = core.catalog().identity(hit.identity.get())? {
                all.push(Alike {
                    person: Person::of(&identity),
                    cosine: words::cosine(hit.similarity.get()),
                });
            }
        }
        Ok(all)
    };
    edge.pool.run(job).await
}
