//! A search: who in the index is like the query, and where were they seen.

use super::scope::narrowed;
use crate::access::Caller;
use crate::calibration::Scope;
use crate::core::{Catalog, Marks, SightingQuery, View, states};
use crate::edge::{Collection, Edge, check_contract};
use crate::error::ApiError;
use crate::pb::{self, Verdict};
use crate::photo_pool::Wanted;
use crate::time::{duration, timestamp_us};
use crate::vision::LoadedModels;
use rollcall_index::{Effort, Embedding, Filter, IdentityHit, Similarity, SourceId};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT_DEFAULT: u32 = 10;
const LIMIT_MAX: u32 = 100;
const SIGHTINGS_DEFAULT: u32 = 10;
const SIGHTINGS_MAX: u32 = 1000;
/// Sources of a filter at most.
const SOURCES_MAX: usize = 1000;
/// Two identities closer than this cannot be told apart.
const MARGIN_LEAST: f32 = 0.05;
/// The margin of the last hit, when there is nobody after it.
const MARGIN_ALONE: f32 = 2.0;

/// Search options, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    limit: u32,
    pub(super) min_cosine: f32,
    sources: Vec<u64>,
    seen_after_us: Option<i64>,
    seen_before_us: Option<i64>,
    sightings: u32,
    include_hidden: bool,
    named_only: bool,
    /// Whether the caller may see these sources alone.
    pub(super) scoped: bool,
}

impl Options {
    pub(super) fn check(
        options: Option<pb::SearchOptions>,
        collection: &Collection,
    ) -> Result<Self, ApiError> {
        let options = options.unwrap_or_default();
        let caller = Caller::current();
        let unfit = |field, what: &str| ApiError::InvalidField {
            field,
            what: what.to_owned(),
        };
        let min_cosine = options.min_cosine.unwrap_or(collection.same_cosine);
        if !(-1.0..=1.0).contains(&min_cosine) {
            return Err(unfit("options.min_cosine", "must be a number from -1 to 1"));
        }
        if options.source_ids.len() > SOURCES_MAX {
            return Err(unfit("options.source_ids", "has more than 1000 entries"));
        }
        let seen_after_us = options.seen_after.as_ref().map(timestamp_us);
        let seen_before_us = options.seen_before.as_ref().map(timestamp_us);
        if let (Some(after), Some(before)) = (seen_after_us, seen_before_us)
            && after > before
        {
            return Err(unfit("options.seen_after", "lies after seen_before"));
        }
        Ok(Self {
            limit: or_default(options.limit, LIMIT_DEFAULT, LIMIT_MAX),
            min_cosine,
            sources: caller.sources(options.source_ids)?,
            scoped: caller.scope().is_some(),
            seen_after_us,
            seen_before_us,
            sightings: or_default(options.sightings_per_hit, SIGHTINGS_DEFAULT, SIGHTINGS_MAX),
            include_hidden: options.include_hidden,
            named_only: options.named_only,
        })
    }

    /// Whether faces of that source count.
    pub(super) fn takes_source(&self, source: u64) -> bool {
        self.sources.is_empty() || self.sources.contains(&source)
    }

    /// Whether faces seen then count.
    pub(super) fn takes_time(&self, from_us: i64, to_us: i64) -> bool {
        self.seen_after_us.is_none_or(|after| to_us >= after)
            && self.seen_before_us.is_none_or(|before| from_us <= before)
    }

    fn has_times(&self) -> bool {
        self.seen_after_us.is_some() || self.seen_before_us.is_some()
    }

    /// Whether people with these marks are looked for.
    fn takes_marks(&self, marks: Marks) -> bool {
        (self.include_hidden || !marks.hidden) && (!self.named_only || marks.named)
    }

    /// Whether that person is looked for.
    pub(super) fn takes(&self, identity: &pb::Identity) -> bool {
        self.takes_marks(Marks {
            hidden: identity.state() == pb::IdentityState::Hidden,
            named: !identity.name.is_empty(),
        })
    }

    /// Who is asked about, if nobody else is left out.
    fn scope(&self) -> Option<Scope> {
        let whole = self.sources.is_empty() && !self.has_times() && !self.include_hidden;
        whole.then_some(if self.named_only {
            Scope::Named
        } else {
            Scope::All
        })
    }

    /// The filter for a view in which `any_hidden` says whether anybody is: one by state costs something.
    fn filter(&self, any_hidden: bool) -> Filter {
        let sources = self.sources.iter().copied().map(SourceId::new).collect();
        Filter {
            sources: (!self.sources.is_empty()).then_some(sources),
            seen_after_us: self.seen_after_us,
            seen_before_us: self.seen_before_us,
            states: (self.named_only || any_hidden && !self.include_hidden)
                .then(|| states(|marks| self.takes_marks(marks))),
            ..Filter::default()
        }
    }
}

fn or_default(asked: u32, default: u32, most: u32) -> u32 {
    if asked == 0 { default } else { asked.min(most) }
}

/// A query ready to be looked up, and what is known of its picture.
#[derive(Debug)]
pub(crate) struct Query {
    pub(super) embedding: Arc<Embedding>,
    /// The models that the embedding is of.
    pub(super) models: Arc<LoadedModels>,
    /// From before that: an embedding of the contract of then can be looked up here whatever has happened since.
    view: Arc<View>,
    pub(super) options: Options,
    kind: &'static str,
    faces: Vec<pb::QueryFace>,
    used_face: u32,
    timings: pb::SearchTimings,
    begun: Instant,
}

impl Query {
    /// Finds and embeds the face of a picture that is asked for.
    pub(super) async fn of_image(
        edge: &Edge,
        request: pb::SearchImageRequest,
    ) -> Result<Self, ApiError> {
        let wanted = request
            .face_index
            .map_or(Wanted::Largest(1), Wanted::Number);
        let queries = Self::of_faces(edge, request.image, wanted, request.options).await?;
        let mut queries = queries.into_iter();
        queries
            .next()
            .ok_or(ApiError::Internal("a face was asked for and none given"))
    }

    /// Finds and embeds the faces of a picture that are wanted: one query for each.
    pub(crate) async fn of_faces(
        edge: &Edge,
        image: Vec<u8>,
        wanted: Wanted,
        options: Option<pb::SearchOptions>,
    ) -> Result<Vec<Self>, ApiError> {
        let (begun, view) = (Instant::now(), edge.core.view());
        let asked = options;
        Options::check(asked.clone(), &edge.in_service().collection)?;
        let answer = edge.pool.photo(image, wanted).await?;
        for (stage, time) in [
            ("decode", answer.decode),
            ("detect", answer.detect),
            ("embed", answer.embed),
        ] {
            edge.metrics.stage(stage).observe(time.as_secs_f64());
        }
        let timings = pb::SearchTimings {
            decode: Some(length(answer.decode)),
            detect: Some(length(answer.detect)),
            embed: Some(length(answer.embed)),
            ..pb::SearchTimings::default()
        };
        let options = Options::check(asked, &answer.models.collection)?;
        let embedded = answer.embedded.into_iter();
        let queries = embedded.map(|(used_face, embedding)| Self {
            embedding: Arc::new(embedding),
            options: options.clone(),
            models: Arc::clone(&answer.models),
            view: Arc::clone(&view),
            kind: "image",
            faces: answer.faces.clone(),
            used_face,
            timings,
            begun,
        });
        Ok(queries.collect())
    }

    /// Checks an embedding.
    pub(super) fn of_embedding(
        edge: &Edge,
        request: pb::SearchEmbeddingRequest,
    ) -> Result<Self, ApiError> {
        let (begun, view) = (Instant::now(), edge.core.view());
        let models = edge.models.of(&view.contract().id);
        let models = models.unwrap_or_else(|| edge.in_service());
        let collection = &models.collection;
        let options = Options::check(request.options, collection)?;
        if !request.contract.is_empty() {
            check_contract(&request.contract, &collection.contract)?;
        }
        Ok(Self {
            embedding: Arc::new(Embedding::normalise(request.embedding)?),
            options,
            models,
            view,
            kind: "embedding",
            faces: Vec::new(),
            used_face: 0,
            timings: pb::SearchTimings::default(),
            begun,
        })
    }

    /// Cosine from which two faces are taken for the same person, of the models that it is asked by.
    pub(crate) fn same_cosine(&self) -> f32 {
        self.models.collection.same_cosine
    }

    /// Looks the query up in the newest view whose index is of its contract.
    pub(crate) async fn look_up(mut self, edge: &Edge) -> Result<pb::SearchResponse, ApiError> {
        let (core, newest) = (edge.core.clone(), edge.core.view());
        let collection = self.models.collection.clone();
        let contract = collection.contract.clone();
        let view = if newest.contract().id == collection.contract {
            newest
        } else {
            check_contract(&collection.contract, &self.view.contract().id)?;
            Arc::clone(&self.view)
        };
        let (embedding, options) = (Arc::clone(&self.embedding), self.options.clone());
        let searching = Instant::now();
        let sequence = view.sequence;
        let scope = options.scope();
        let found = edge
            .pool
            .run(move || find(core.catalog(), &view, &collection, &embedding, &options));
        let (verdict, mut hits) = found.await?;
        if let Some(hit) = hits.first_mut()
            && let Some(scope) = scope
            && let Some(fitted) = edge.calibration.of(scope, &contract)
        {
            let confidence = &fitted.confidence;
            hit.confidence = Some(confidence.probability(hit.cosine, hit.margin));
            hit.false_positive_rate = Some(confidence.false_positive_rate(hit.cosine));
        }
        let search = searching.elapsed();
        let total = self.begun.elapsed();
        edge.metrics.stage("search").observe(search.as_secs_f64());
        let whole = edge.metrics.search_seconds.with_label_values(&[self.kind]);
        whole.observe(total.as_secs_f64());
        self.timings.search = Some(length(search));
        self.timings.total = Some(length(total));
        Ok(pb::SearchResponse {
            verdict: verdict.into(),
            hits,
            faces: self.faces,
            used_face_index: self.used_face,
            sequence,
            timings: Some(self.timings),
        })
    }
}

/// The hits for a query, and what they amount to.
fn find(
    catalog: &Catalog,
    view: &View,
    collection: &Collection,
    embedding: &Embedding,
    options: &Options,
) -> Result<(Verdict, Vec<pb::SearchHit>), ApiError> {
    // One more than asked for: the last hit's margin is its distance to the next.
    let most = usize::try_from(options.limit)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let floor = Similarity::new(options.min_cosine).unwrap_or(Similarity::LEAST);
    let filter = options.filter(view.any_hidden);
    let (found, _) = view
        .index
        .who(embedding, most, floor, &filter, Effort::Normal)?;
    let verdict = verdict(&found, collection, options.min_cosine);
    let mut hits: Vec<pb::SearchHit> = Vec::new();
    let wanted = found.iter().take(most - 1);
    for (number, hit) in wanted.enumerate() {
        let cosine = hit.similarity.get();
        if cosine < options.min_cosine {
            break;
        }
        // The catalog may be a commit ahead of the view: an identity absorbed since is shown as
        // what it became.
        let Some(identity) = catalog.identity(hit.identity.get())? else {
            continue;
        };
        if !options.takes(&identity) {
            continue;
        }
        let shown = |hit: &pb::SearchHit| hit.identity.as_ref().map(|identity| identity.id);
        if hits.iter().any(|hit| shown(hit) == Some(identity.id)) {
            continue;
        }
        let sightings = sightings(catalog, identity.id, options)?;
        // An enrolled photo has no time and no source: it does not say that somebody was seen then, or there.
        if sightings.is_empty() && (options.has_times() || options.scoped) {
            continue;
        }
        let identity = if options.scoped {
            narrowed(identity, sightings.first())
        } else {
            identity
        };
        let best = view.index.best_face(embedding, hit.identity, &filter)?;
        let next = found.get(number + 1);
        hits.push(pb::SearchHit {
            identity: Some(identity),
            cosine,
            margin: next.map_or(MARGIN_ALONE, |next| cosine - next.similarity.get()),
            best_exemplar_id: best.map_or(0, |(face, _)| face.get()),
            best_exemplar_cosine: best.map_or(cosine, |(_, cosine)| cosine.get()),
            sightings,
            ..pb::SearchHit::default()
        });
    }
    Ok((verdict, hits))
}

/// What hits, best first, amount to. Candidates below the contract's threshold that were asked for
/// are shown, but are not found.
fn verdict(found: &[IdentityHit], collection: &Collection, min_cosine: f32) -> Verdict {
    let threshold = collection.same_cosine.max(min_cosine);
    let mut above = found
        .iter()
        .map(|hit| hit.similarity.get())
        .take_while(|c| *c >= threshold);
    match (above.next(), above.next()) {
        (None, _) => Verdict::Unknown,
        (Some(first), Some(second)) if first - second < MARGIN_LEAST => Verdict::Ambiguous,
        (Some(_), _) => Verdict::Found,
    }
}

/// The newest sightings of an identity that the options let through.
fn sightings(
    catalog: &Catalog,
    identity: u64,
    options: &Options,
) -> Result<Vec<pb::Sighting>, ApiError> {
    let query = SightingQuery {
        identity: Some(identity),
        source: None,
        seen_after_us: options.seen_after_us,
        seen_before_us: options.seen_before_us,
        after: None,
        limit: options.sightings,
        newest_first: true,
    };
    if options.sources.is_empty() {
        return Ok(catalog.sightings(&query)?.0);
    }
    let mut all = Vec::new();
    for source in &options.sources {
        all.extend(
            catalog
                .sightings(&SightingQuery {
                    source: Some(*source),
                    ..query.clone()
                })?
                .0,
        );
    }
    let key = |s: &pb::Sighting| (s.wall_start.as_ref().map(timestamp_us), s.track_id);
    all.sort_by_key(|sighting| std::cmp::Reverse(key(sighting)));
    all.dedup_by_key(|sighting| sighting.track_id);
    all.truncate(usize::try_from(options.sightings).unwrap_or(usize::MAX));
    Ok(all)
}

fn length(time: Duration) -> prost_types::Duration {
    duration(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_index::{FaceId, IdentityId, Index, Operation, TrackId};

    fn collection() -> Collection {
        Collection {
            contract: "c".into(),
            detector: String::new(),
            embedder: String::new(),
            dimension: 2,
            same_cosine: 0.5,
        }
    }

    /// Identities whose faces have these cosines to the query (1, 0).
    fn found(cosines: &[f32]) -> Vec<IdentityHit> {
        let mut index = Index::new(2);
        let operations: Vec<_> = (1..)
            .zip(cosines)
            .map(|(id, cosine)| Operation::Insert {
                face: FaceId::new(id),
                identity: IdentityId::new(id),
                track: TrackId::new(id),
                source: SourceId::new(1),
                seen_us: 0,
                quality: 1.0,
                attributes: 0,
                embedding: Embedding::normalise(vec![*cosine, (1.0 - cosine * cosine).sqrt()])
                    .unwrap(),
            })
            .collect();
        index.apply(1, &operations).unwrap();
        let query = Embedding::normalise(vec![1.0, 0.0]).unwrap();
        index
            .publish()
            .search_identities(&query, 10, &Filter::default())
            .unwrap()
    }

    #[test]
    fn verdicts() {
        let check = |cosines: &[f32], min, expected| {
            assert_eq!(
                verdict(&found(cosines), &collection(), min),
                expected,
                "{cosines:?} {min}"
            );
        };
        check(&[], 0.5, Verdict::Unknown);
        check(&[0.49], 0.5, Verdict::Unknown);
        check(&[0.49], 0.1, Verdict::Unknown);
        check(&[0.9], 0.5, Verdict::Found);
        check(&[0.9], 0.95, Verdict::Unknown);
        check(&[0.9, 0.8], 0.5, Verdict::Found);
        check(&[0.88, 0.9], 0.5, Verdict::Ambiguous);
        // The second is close but below the threshold.
        check(&[0.52, 0.48], 0.1, Verdict::Found);
    }

    #[test]
    fn options_are_checked() {
        let check = |options| Options::check(Some(options), &collection());
        let defaults = check(pb::SearchOptions::default()).unwrap();
        assert_eq!(
            (defaults.limit, defaults.sightings, defaults.min_cosine),
            (10, 10, 0.5)
        );
        let most = check(pb::SearchOptions {
            limit: 1 << 20,
            ..Default::default()
        })
        .unwrap();
        assert_eq!(most.limit, LIMIT_MAX);
        for min in [f32::NAN, 1.5, -2.0] {
            let options = pb::SearchOptions {
                min_cosine: Some(min),
                ..Default::default()
            };
            assert_eq!(check(options).unwrap_err().reason(), "INVALID_ARGUMENT");
        }
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let backwards = pb::SearchOptions {
            seen_after: at(2),
            seen_before: at(1),
            ..Default::default()
        };
        assert!(check(backwards).is_err());
    }
}
