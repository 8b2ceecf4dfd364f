//! What was decided early, looked at again: are two identities one person?
//!
//! An identity opened by a person's second track, which did not look like the first, is clear once
//! both have grown. So identities are gone through one after the other, again and again, each with
//! what the index says is near it, and the judge says of the pair: *merge* (by itself, for the
//! evidence lies beyond a strict bound), *propose* (for people to look at), or nothing. By itself nobody
//! is merged who was confirmed, nobody of two about whom both something was said, nobody whom people have
//! told from the other, and nobody seen beside the other.
//!
//! And is one identity one person? [`split`] looks for a part of its tracks that is somebody else to
//! all appearance. That is for people to look at, always.

pub mod split;

use rollcall_index::{Basis, Filter, IdentityId, SearchError, SourceId, Standing, State};

use super::{
    AssignRules,
    measure::{alike, in_company, measured, near},
};

/// Identities looked at beside the one in question.
const CANDIDATES: usize = 8;

/// The bounds. Nats of evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepairRules {
    /// The rule of tracks, whose likeness and floor these share.
    pub assign: AssignRules,
    /// At least so much evidence for two identities to be merged, among 200 people or fewer; as much
    /// more in a crowd as for tracks.
    pub merge_nats: f32,
    /// Enough instead if one of them is a single track, and the other is known from
    /// [`Self::known_tracks`] on: that is the question that was asked when the track came. It is
    /// asked again and again, so that chance has more turns.
    pub single_nats: f32,
    /// From how many tracks on somebody counts as known.
    pub known_tracks: u32,
    /// Enough to be proposed.
    pub propose_nats: f32,
    /// At most so much between two parts of an identity for a split to be proposed.
    pub split_nats: f32,
}

impl RepairRules {
    /// With the rules for tracks.
    #[must_use]
    pub fn new(assign: AssignRules) -> Self {
        Self {
            assign,
            merge_nats: 7.0,
            single_nats: assign.join_nats + 1.0,
            known_tracks: 2,
            propose_nats: assign.join_nats,
            split_nats: -4.0,
        }
    }
}

/// What people have said of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// A name, an external id, that it be hidden, a fact; or they have put tracks there, or enrolled photos.
    Something,
    /// That it is right.
    Confirmed,
}

/// An identity, as the judge knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The identity.
    pub identity: IdentityId,
    /// What its representative rests on.
    pub basis: Basis,
    /// What people have said of it.
    pub said: Said,
}

/// Two identities that may be one person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The one.
    pub one: Party,
    /// The other.
    pub other: Party,
    /// Cosine of their representatives.
    pub similarity: f32,
    /// In how many of the greater one's tracks they were seen where the lesser one was too, in the
    /// source where those are most.
    pub here: u32,
    /// How many of their tracks were on screen together, and did not look the same.
    pub together: u32,
    /// Somebody has said that they are two.
    pub barred: bool,
    /// How many sources there are.
    pub sources: usize,
    /// The evidence for the next who may be the same person as one of them, and is not the same as the
    /// other.
    pub rival_nats: Option<f32>,
}

impl Pair {
    /// The two, first the one that goes if they are merged: of whom people have said less, else who rests on less,
    /// else the younger.
    #[must_use]
    pub fn lesser_first(&self) -> (Party, Party) {
        let rank = |party: &Party| (party.said, party.basis, std::cmp::Reverse(party.identity));
        if rank(&self.one) < rank(&self.other) {
            (self.one, self.other)
        } else {
            (self.other, self.one)
        }
    }
}

/// What is to be done with a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judgement {
    /// Nothing.
    Leave,
    /// People are to look.
    Propose,
    /// They are one.
    Merge {
        /// Who goes.
        from: IdentityId,
        /// Into whom: of whom something was said, else who rests on more.
        into: IdentityId,
    },
}

/// Judges a pair, among so many people. The same with the sides changed.
#[must_use]
pub fn judge(pair: &Pair, people: usize, rules: &RepairRules) -> Judgement {
    let (one, other) = (pair.one, pair.other);
    if pair.barred || one.identity == other.identity || !pair.similarity.is_finite() {
        return Judgement::Leave;
    }
    let nats = evidence(pair, rules);
    let crowd = AssignRules::crowd_nats(people);
    let rivalled = (pair.rival_nats).is_some_and(|rival| rival > nats - rules.assign.rival_nats);
    if nats < rules.propose_nats + crowd || pair.similarity < rules.assign.floor {
        return Judgement::Leave;
    }
    let (least, most) = (
        one.basis.tracks.min(other.basis.tracks),
        one.basis.tracks.max(other.basis.tracks),
    );
    let enough = if least == 1 && most >= rules.known_tracks {
        rules.single_nats
    } else {
        rules.merge_nats
    };
    let said = (one.said.min(other.said), one.said.max(other.said));
    let free =
        said.0 == Said::Nothing && said.1 < Said::Confirmed && pair.together == 0 && !rivalled;
    if !free || nats < enough + crowd {
        return Judgement::Propose;
    }
    let (from, into) = pair.lesser_first();
    Judgement::Merge {
        from: from.identity,
        into: into.identity,
    }
}

/// How much says that a pair is one person, in nats.
#[must_use]
pub fn evidence(pair: &Pair, rules: &RepairRules) -> f32 {
    let (one, other) = (pair.one.basis, pair.other.basis);
    let context = (rules.assign).context(pair.here, one.max(other).tracks, pair.sources);
    rules.assign.likeness.evidence(pair.similarity, one, other) + context
}

/// What is known beside faces.
pub trait Known {
    /// Why it cannot be said.
    type Error: From<SearchError>;
    /// How many sources there are.
    fn sources(&self) -> usize;
    /// How many times as alike strangers are in a source ([`super::measure::Strangers::ratio`]).
    fn strangers(&self, source: SourceId) -> f32;
    /// What people have said of the identity.
    ///
    /// # Errors
    /// [`Self::Error`].
    fn said(&self, identity: IdentityId) -> Result<Said, Self::Error>;
    /// How many of their tracks were on screen together, and did not look the same.
    ///
    /// # Errors
    /// [`Self::Error`].
    fn together(&self, one: IdentityId, other: IdentityId) -> Result<u32, Self::Error>;
    /// Whether somebody has said that they are two.
    ///
    /// # Errors
    /// [`Self::Error`].
    fn barred(&self, one: IdentityId, other: IdentityId) -> Result<bool, Self::Error>;
}

/// Looks at one identity: the pair of it and whoever may be the same person, and what is to be done.
/// `None` if nobody may be.
///
/// Cost: a search for people, and what [`super::measure::question`] costs beside.
///
/// # Errors
/// [`Known::Error`], that of the search among them.
pub fn look<K: Known>(
    state: &State,
    identity: IdentityId,
    known: &K,
    rules: &RepairRules,
) -> Result<Option<(Pair, Judgement)>, K::Error> {
    let Some(representative) = state.representative(identity) else {
        return Ok(None);
    };
    let said_nothing = |identity, basis| Party {
        identity,
        basis,
        said: Said::Nothing,
    };
    let mut hits = near(
        state,
        &representative,
        CANDIDATES + 1,
        &Filter::default(),
        &rules.assign,
    )?;
    hits.retain(|hit| hit.identity != identity);
    if hits.is_empty() {
        return Ok(None);
    }
    let cohort = state.cohort();
    let Some(standing) = measured(state, identity, None, &cohort) else {
        return Ok(None);
    };
    let one = said_nothing(identity, standing.basis);
    let mut pairs = Vec::new();
    for hit in &hits {
        let Some(other) = measured(state, hit.identity, None, &cohort) else {
            continue;
        };
        let (here, shared) = here(&standing, &other);
        let greater = one.basis.max(other.basis);
        let share = here as f32 / greater.tracks as f32;
        let ratio = shared.map_or(1.0, |source| known.strangers(source));
        let basis = in_company(other.basis, share, ratio, &rules.assign);
        let pair = Pair {
            one,
            other: said_nothing(hit.identity, basis),
            similarity: hit.similarity.get(),
            here,
            sources: known.sources(),
            together: 0,
            barred: false,
            rival_nats: None,
        };
        // Whoever is far from being the same needs no asking after.
        let close = evidence(&pair, rules) >= rules.propose_nats - rules.assign.rival_nats;
        if close && !known.barred(identity, hit.identity)? {
            pairs.push(pair);
        }
    }
    let weigh = |pair: &Pair| evidence(pair, rules);
    let best = pairs.iter().max_by(|a, b| {
        weigh(a)
            .total_cmp(&weigh(b))
            .then(b.other.identity.cmp(&a.other.identity))
    });
    let Some(mut best) = best.copied() else {
        return Ok(None);
    };
    best.rival_nats = rival(state, &best, &pairs, rules);
    best.one.said = known.said(best.one.identity)?;
    best.other.said = known.said(best.other.identity)?;
    best.together = known.together(best.one.identity, best.other.identity)?;
    let judgement = judge(&best, state.stats().identities, rules);
    Ok(Some((best, judgement)))
}

/// Where photos are that were enrolled: nobody is seen there.
const PHOTOS: SourceId = SourceId::new(0);

/// Of the greater one's tracks, those in the source where both were seen and those are most; and that source.
fn here(one: &Standing, other: &Standing) -> (u32, Option<SourceId>) {
    let (lesser, greater) = if one.basis <= other.basis {
        (one, other)
    } else {
        (other, one)
    };
    let places = lesser.places.iter();
    let shared = places
        .filter(|(source, _)| *source != PHOTOS)
        .map(|(source, _)| (greater.tracks_in(*source), *source));
    let most = shared.filter(|(tracks, _)| *tracks > 0).max();
    most.map_or((0, None), |(tracks, source)| (tracks, Some(source)))
}

/// The evidence for the next of these pairs whose other side is not the same person as the best's.
fn rival(state: &State, best: &Pair, pairs: &[Pair], rules: &RepairRules) -> Option<f32> {
    let sides: Vec<(IdentityId, f32)> = pairs
        .iter()
        .map(|pair| (pair.other.identity, pair.similarity))
        .collect();
    let alike = alike(state, &sides);
    let chosen = best.other;
    let same = |party: &Party| {
        alike.iter().any(|pair| {
            let mine = pair.is_of(chosen.identity, party.identity);
            let likeness = &rules.assign.likeness;
            mine && likeness.evidence(pair.similarity, chosen.basis, party.basis)
                >= rules.assign.join_nats
        })
    };
    pairs
        .iter()
        .filter(|pair| pair.other.identity != chosen.identity && !same(&pair.other))
        .map(|pair| evidence(pair, rules))
        .max_by(f32::total_cmp)
}

#[cfg(test)]
mod tests;
