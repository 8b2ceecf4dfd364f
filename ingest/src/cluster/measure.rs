//! From an index to what the rule is asked: how similar a track is to whom.

use std::cell::LazyCell;

use rollcall_index::{
    Basis, Cohort, Effort, Embedding, Filter, IdentityHit, IdentityId, SearchError, Similarity,
    SourceId, Standing, State, TrackId,
};

use super::{Alike, AssignRules, Candidate, Current, Question, Rest};

/// Identities looked at for one decision.
const CANDIDATES: usize = 8;
/// Whoever lies further below the floor can neither be joined nor rival whoever is.
const BELOW_FLOOR: f32 = 0.05;
/// Candidates this much less similar than the most similar one are nobody's rivals, whatever they
/// rest on: nothing is measured between them.
const RIVAL_WITHIN: f32 = 0.15;

/// A track as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Track<'a> {
    /// The track. What the index has of it is left out wherever something is measured.
    pub id: TrackId,
    /// Where it is seen.
    pub source: SourceId,
    /// The mean of its faces, weighted by quality.
    pub mean: &'a Embedding,
    /// How many faces that is.
    pub faces: u32,
    /// They are all poor.
    pub poor: bool,
    /// Its identity, if it has one.
    pub identity: Option<IdentityId>,
    /// Somebody has put it there.
    pub pinned: bool,
}

/// What is known beside faces.
pub trait Known {
    /// How many sources there are.
    fn sources(&self) -> usize;
    /// Whether a track of the identity is on screen together with the one in question.
    fn on_screen(&self, identity: IdentityId) -> bool;
    /// Whether somebody has said that the identity is not the person in question.
    fn barred(&self, identity: IdentityId) -> bool;
    /// Of how many that has been said: so many more are looked at.
    fn barred_count(&self) -> usize;
}

/// What there is to decide of a track.
///
/// Cost: a search for people, and for each of at most eight (more if somebody is barred) that are similar enough a look at 64 rows and 128 codes;
/// a code for each that may be a rival.
///
/// # Errors
/// [`SearchError`].
pub fn question(
    state: &State,
    track: &Track,
    known: &impl Known,
    rules: &AssignRules,
) -> Result<Question, SearchError> {
    let filter = Filter {
        exclude_track: Some(track.id),
        ..Filter::default()
    };
    let hits = near(
        state,
        track.mean,
        CANDIDATES + known.barred_count(),
        &filter,
        rules,
    )?;
    let cohort = LazyCell::new(|| state.cohort());
    let candidate = |hit: &IdentityHit| {
        let standing = measured(state, hit.identity, Some(track.id), &cohort)?;
        Some(Candidate {
            identity: hit.identity,
            similarity: hit.similarity.get(),
            basis: standing.basis,
            here: standing.tracks_in(track.source),
            on_screen: known.on_screen(hit.identity),
            barred: known.barred(hit.identity),
        })
    };
    let candidates: Vec<Candidate> = hits.iter().filter_map(candidate).collect();
    let current = |identity| -> Result<Current, SearchError> {
        let similarity = state.identity_similarity(track.mean, identity, Some(track.id))?;
        let standing = measured(state, identity, Some(track.id), &cohort);
        let rest = similarity.zip(standing).map(|(similarity, standing)| Rest {
            similarity: similarity.get(),
            basis: standing.basis,
            here: standing.tracks_in(track.source),
        });
        Ok(Current {
            identity,
            rest,
            pinned: track.pinned,
        })
    };
    let current = track.identity.map(current).transpose()?;
    let rivals = candidates
        .iter()
        .filter(|candidate| !candidate.barred && Some(candidate.identity) != track.identity);
    let rivals: Vec<(IdentityId, f32)> = rivals.map(|one| (one.identity, one.similarity)).collect();
    Ok(Question {
        track: Basis {
            // Compared with nobody, it makes no difference.
            strangers: if candidates.is_empty() && current.is_none() {
                0
            } else {
                cohort.spread(track.mean)
            },
            ..Basis::new(1, track.faces.max(1))
        },
        poor: track.poor,
        current,
        alike: alike(state, &rivals),
        candidates,
        people: state.stats().identities,
        sources: known.sources(),
    })
}

/// What an identity rests on, and how like strangers it is.
pub(super) fn measured(
    state: &State,
    identity: IdentityId,
    exclude_track: Option<TrackId>,
    cohort: &Cohort,
) -> Option<Standing> {
    let mut standing = state.standing(identity, exclude_track)?;
    standing.basis.strangers = cohort.spread_of(identity);
    Some(standing)
}

/// The identities most similar to `query` that may matter to the rule, most similar first.
pub(super) fn near(
    state: &State,
    query: &Embedding,
    count: usize,
    filter: &Filter,
    rules: &AssignRules,
) -> Result<Vec<IdentityHit>, SearchError> {
    let floor = Similarity::new(rules.floor - BELOW_FLOOR).unwrap_or(Similarity::LEAST);
    let (mut hits, _) = state.who(query, count, floor, filter, Effort::Normal)?;
    hits.retain(|hit| hit.similarity >= floor);
    Ok(hits)
}

/// How similar those are to each other who may be rivals; all of them with their similarities.
pub(super) fn alike(state: &State, all: &[(IdentityId, f32)]) -> Vec<Alike> {
    let best = all.iter().map(|(_, similarity)| *similarity);
    let best = best.fold(f32::NEG_INFINITY, f32::max);
    let close = all
        .iter()
        .filter(|(_, similarity)| best - similarity < RIVAL_WITHIN)
        .map(|(identity, _)| *identity);
    let close: Vec<IdentityId> = close.collect();
    let pairs = close
        .iter()
        .enumerate()
        .flat_map(|(at, one)| close[at + 1..].iter().map(move |other| (*one, *other)));
    let pair = |(one, other)| {
        let similarity = state.alike(one, other)?.get();
        Some(Alike {
            one,
            other,
            similarity,
        })
    };
    pairs.filter_map(pair).collect()
}
