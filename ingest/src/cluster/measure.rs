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

/// How much more alike strangers are in one source: people who share camera, light and picture quality resemble
/// each other more than others do. It is seen from those who are on screen at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strangers {
    many: f32,
    /// Of their cosines, each in spreads of what is to be expected of the two.
    squares: f32,
}

/// What is believed of a source before anybody was measured weighs as much as so many strangers: their cosines are
/// so many times as spread as elsewhere. That is less than in the one crowd that was looked at (0.166 around 0, of a
/// model with the threshold 0.40; people of different films 0.098): most sources are kinder, and it is soon measured.
const BELIEVED: f32 = 4.0;
const BELIEVED_RATIO: f32 = 1.25;
/// Two who resemble each other by more spreads than this are kin, or one person's picture, and count as no more.
const SPREADS_MAX: f32 = 3.0;
/// With so many measured, older ones begin to count for less.
const MEASURED_MAX: f32 = 512.0;

impl Default for Strangers {
    fn default() -> Self {
        Self {
            many: BELIEVED,
            squares: BELIEVED * BELIEVED_RATIO.powi(2),
        }
    }
}

impl Strangers {
    /// Two who are on screen together have a cosine of so many spreads.
    pub fn seen(&mut self, spreads: f32) {
        if self.many >= MEASURED_MAX {
            self.many /= 2.0;
            self.squares /= 2.0;
        }
        self.many += 1.0;
        self.squares += spreads.powi(2).min(SPREADS_MAX * SPREADS_MAX);
    }

    /// How many times as spread strangers' cosines are as elsewhere; at least 1.
    #[must_use]
    pub fn ratio(&self) -> f32 {
        (self.squares / self.many).sqrt().max(1.0)
    }
}

/// The cosines of a track to those on screen beside it who do not look the same, each in spreads of what is to be
/// expected of two strangers like these.
///
/// Cost: for each a look at its faces in the track, and at 128 codes.
pub fn beside<'a>(
    state: &'a State,
    track: &'a Track,
    on_screen: impl Iterator<Item = IdentityId> + 'a,
    rules: &'a AssignRules,
) -> impl Iterator<Item = f32> + 'a {
    let cohort = LazyCell::new(|| state.cohort());
    let mut own = None;
    let strangers = on_screen.filter(|identity| Some(*identity) != track.identity);
    strangers.filter_map(move |identity| {
        let found = state.identity_similarity(track.mean, identity, Some(track.id));
        let cosine = found.ok().flatten()?.get();
        let own = *own.get_or_insert_with(|| cohort.spread(track.mean));
        let of = [own, cohort.spread_of(identity)].map(|strangers| Basis {
            strangers,
            ..Basis::new(1, 1)
        });
        let spread = rules.likeness.different(of[0], of[1]);
        (cosine < rules.same_frame).then_some(cosine / spread)
    })
}

/// What somebody rests on in the eyes of whoever was seen in a source of theirs, in which strangers are so many times
/// as alike: of their tracks, `share` are there.
pub(super) fn in_company(basis: Basis, share: f32, ratio: f32, rules: &AssignRules) -> Basis {
    let times = 1.0 + share * (ratio - 1.0);
    let spread = match basis.strangers {
        0 => rules.likeness.different_sd,
        measured => measured as f32 / 1000.0,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number that is not negative"
    )]
    // The spread of chance is the geometric mean of the two sides'.
    let strangers = ((spread * times.powi(2)).clamp(0.0, 2.0) * 1000.0) as u32;
    if times > 1.0 {
        Basis { strangers, ..basis }
    } else {
        basis
    }
}

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
    /// How many times as alike strangers are in the track's source ([`Strangers::ratio`]).
    fn strangers(&self) -> f32;
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
    // Compared with nobody, it makes no difference.
    let alone = hits.is_empty() && track.identity.is_none();
    let basis = Basis {
        strangers: if alone { 0 } else { cohort.spread(track.mean) },
        ..Basis::new(1, track.faces.max(1))
    };
    let rests_on = |standing: &Standing| {
        let here = standing.tracks_in(track.source);
        let share = here as f32 / standing.basis.tracks as f32;
        let ratio = known.strangers();
        (in_company(standing.basis, share, ratio, rules), here)
    };
    let candidate = |hit: &IdentityHit| {
        let standing = measured(state, hit.identity, Some(track.id), &cohort)?;
        let (basis, here) = rests_on(&standing);
        Some(Candidate {
            identity: hit.identity,
            similarity: hit.similarity.get(),
            basis,
            here,
            on_screen: known.on_screen(hit.identity),
            barred: known.barred(hit.identity),
        })
    };
    let candidates: Vec<Candidate> = hits.iter().filter_map(candidate).collect();
    let current = |identity| -> Result<Current, SearchError> {
        let similarity = state.identity_similarity(track.mean, identity, Some(track.id))?;
        let standing = measured(state, identity, Some(track.id), &cohort);
        let rest = similarity.zip(standing).map(|(similarity, standing)| {
            let (basis, here) = rests_on(&standing);
            Rest {
                similarity: similarity.get(),
                basis,
                here,
            }
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
        track: basis,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_believed_to_make_people_alike_until_it_was_measured() {
        let mut strangers = Strangers::default();
        assert!((strangers.ratio() - BELIEVED_RATIO).abs() < 1e-6);
        for _ in 0..2_000 {
            strangers.seen(0.9);
        }
        assert_eq!(strangers.ratio(), 1.0, "no less than elsewhere");
        for _ in 0..2_000 {
            strangers.seen(-2.0);
        }
        assert!((strangers.ratio() - 2.0).abs() < 0.01, "older ones fade");
    }

    #[test]
    fn in_company_more_is_asked() {
        let rules = AssignRules::for_contract(0.40);
        let known = Basis {
            strangers: 100,
            ..Basis::new(3, 9)
        };
        let evidence = |share, ratio| {
            let basis = in_company(known, share, ratio, &rules);
            rules.likeness.evidence(0.40, Basis::new(1, 3), basis)
        };
        assert_eq!(evidence(0.0, 1.6), evidence(1.0, 1.0));
        assert!(evidence(0.5, 1.6) < evidence(0.0, 1.6));
        assert!(evidence(1.0, 1.6) < evidence(0.5, 1.6));
        // Nothing was measured of the other one: by that share more than what the model has.
        let unknown = in_company(Basis::new(3, 9), 1.0, 1.6, &rules);
        let spread = rules.likeness.different(unknown, Basis::new(1, 3));
        assert!((spread / rules.likeness.different_sd - 1.6).abs() < 0.01);
    }
}
