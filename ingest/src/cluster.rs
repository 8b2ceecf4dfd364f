//! Who is this track? The assignment rule: pure, the same for live decisions and offline builds.
//!
//! The caller measures (how similar the track is to which identities, who is on screen at the same
//! time, what people have said; [`measure`]) and the rule decides. The outcome is recorded in the log
//! with its numbers and its reason, so that replay never decides again. What was decided early is
//! looked at again as identities grow: [`repair`].
//!
//! The rule:
//! - What a cosine says depends on what is compared ([`likeness`]): one of 0.45 is plenty between two
//!   people of whom little was seen, and little between a track and somebody known well.
//! - An identity *qualifies* if the evidence for it reaches [`AssignRules::join_nats`] (more in a
//!   crowd, where chance finds somebody similar for everybody) and the cosine
//!   [`AssignRules::floor`]; if another track that belongs to it is on screen at the same time, the
//!   cosine [`AssignRules::same_frame`]. Two faces in one frame are strong evidence for two people,
//!   not a law: a presenter stands beside their own picture.
//! - Whoever was seen often is more to be expected again: a single track counts [`AssignRules::seen_nats`] less
//!   than many do, and as many as T ln(T) more than one (as in the Chinese restaurant process).
//! - Whoever was seen in this source before is more to be expected here than anybody else: as many
//!   times as their share of tracks in it is that of chance, e^[`AssignRules::context_nats`] at most.
//! - The one with the most evidence is joined if the evidence for each other lies at least
//!   [`AssignRules::rival_nats`] behind. If not, the track gets an identity of its own, marked
//!   ambiguous. But whoever may well be the same person as the one with the most evidence is no rival
//!   of theirs: two parts of one person must not make every further track a third.
//! - An identity barred only by the frame is set aside. If more speaks for it than for those that
//!   qualify, the track joins none of them: it looks like someone it can hardly be.
//! - An identity barred by what people have said is not there at all.
//! - A track that has an identity stays there unless another beats it by [`AssignRules::revise`], or the
//!   evidence against it comes to [`AssignRules::leave_nats`]: then it is decided as a new one would be. It
//!   always stays if somebody has put it there. If the identity holds nothing but this track, any identity
//!   that a new track would join will do, and absorbs it.
//! - A track whose faces are all poor ([`AssignRules::may_open`]) needs more evidence to join an
//!   identity, and opens none: until it has a better face, it is withheld.

pub mod confidence;
pub mod hri;
pub mod likeness;
pub mod measure;
pub mod offline;
pub mod repair;
pub mod score;
mod verdict;

use rollcall_index::{Basis, IdentityId};

use likeness::Likeness;
pub use verdict::{Choice, Near, Reason, Verdict};

/// With no more people than this, chance does not count.
const CROWD_FROM: f32 = 200.0;

/// The thresholds: cosines, or nats of evidence where the name says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AssignRules {
    /// What a cosine says.
    pub likeness: Likeness,
    /// At least so much evidence to join, among 200 people or fewer; a quarter of ln(n / 200) more among n.
    pub join_nats: f32,
    /// Nobody is joined below this, whatever the evidence.
    pub floor: f32,
    /// The evidence for the next identity must lie at least this far behind.
    pub rival_nats: f32,
    /// At most so much evidence for having been seen in the same source.
    pub context_nats: f32,
    /// So much more evidence for somebody seen in a single track than for whoever was seen often: with each
    /// track of theirs the next is more to be expected, up to this.
    pub seen_nats: f32,
    /// At least this similar to join an identity that is on screen at the same time.
    pub same_frame: f32,
    /// By how much another identity must be more similar than the present one.
    pub revise: f32,
    /// So much evidence against the present one, and it is left. Negative.
    pub leave_nats: f32,
    /// A track without a face of at least this quality (0..=1, no cosine) is poor.
    pub open_quality: f32,
    /// So much more evidence for a track that is poor.
    pub poor_nats: f32,
}

impl AssignRules {
    /// The rules for a model whose manifest says that faces are the same person's from
    /// `same_cosine` on.
    #[must_use]
    pub fn for_contract(same_cosine: f32) -> Self {
        Self {
            likeness: Likeness::for_contract(same_cosine),
            join_nats: 3.0,
            floor: 0.75 * same_cosine,
            rival_nats: 4.0,
            context_nats: 4.0,
            seen_nats: 1.5,
            same_frame: same_cosine.max(0.70),
            revise: 0.10,
            leave_nats: -2.0,
            open_quality: 0.15,
            poor_nats: 2.0,
        }
    }

    /// Whether a track with faces of these qualities may open an identity: one is good enough, or
    /// does not say (0).
    #[must_use]
    pub fn may_open(&self, qualities: impl IntoIterator<Item = f32>) -> bool {
        let mut qualities = qualities.into_iter();
        qualities.any(|quality| quality == 0.0 || quality >= self.open_quality)
    }

    /// What it says for one person that `here` of somebody's `tracks` were seen in the same one of so
    /// many `sources`: by Laplace's rule of succession, how much likelier they are there than anywhere.
    pub(crate) fn context(&self, here: u32, tracks: u32, sources: usize) -> f32 {
        let likelier = (here as f32 * sources as f32 + 1.0) / (tracks as f32 + 1.0);
        likelier.ln().clamp(0.0, self.context_nats)
    }

    /// How much more evidence is needed among so many people. A quarter of what so many chances would ask for: whoever is
    /// like strangers has more asked of them already ([`rollcall_index::Cohort`]).
    pub(crate) fn crowd_nats(people: usize) -> f32 {
        0.25 * (people as f32 / CROWD_FROM).max(1.0).ln()
    }
}

/// What is known of a track when it is to be decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What the mean of its faces rests on.
    pub track: Basis,
    /// Its faces are all poor.
    pub poor: bool,
    /// What it belongs to already.
    pub current: Option<Current>,
    /// Whom it may belong to. Their order makes no difference. The identity in `current` may be among
    /// them and is not its own rival.
    pub candidates: Vec<Candidate>,
    /// How similar candidates are to each other, as far as it matters; of whom nothing is said, that
    /// nobody would mistake them.
    pub alike: Vec<Alike>,
    /// How many identities there are.
    pub people: usize,
    /// How many sources there are.
    pub sources: usize,
}

/// An identity the track might belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The identity.
    pub identity: IdentityId,
    /// Cosine of the track to it, computed without the track's own faces.
    pub similarity: f32,
    /// What its representative rests on, likewise.
    pub basis: Basis,
    /// How many of these tracks were seen in the track's source.
    pub here: u32,
    /// Another track of the same source that overlaps this one in time belongs to it.
    pub on_screen: bool,
    /// Somebody has said that this is not the track's person.
    pub barred: bool,
}

/// What the track belongs to already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Current {
    /// Its identity.
    pub identity: IdentityId,
    /// The rest of it, without the track's own faces; `None` if the identity holds nothing else.
    pub rest: Option<Rest>,
    /// Somebody has put the track there.
    pub pinned: bool,
}

/// What an identity is without one of its tracks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest {
    /// Cosine of the track to it.
    pub similarity: f32,
    /// What its representative rests on.
    pub basis: Basis,
    /// How many of these tracks were seen in the track's source.
    pub here: u32,
}

/// Two identities and how similar they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// The one.
    pub one: IdentityId,
    /// The other.
    pub other: IdentityId,
    /// Cosine of their representatives.
    pub similarity: f32,
}

impl Alike {
    /// Whether it is these two that it is about, in either order.
    fn is_of(&self, one: IdentityId, other: IdentityId) -> bool {
        (self.one, self.other) == (one, other) || (self.one, self.other) == (other, one)
    }
}

/// Decides who a track is.
///
/// Of an identity given twice the higher similarity counts, and that it is on screen or barred if
/// either says so; similarities that are not finite are ignored. Ties go to the lower id.
///
/// Cost: sorts the candidates.
#[must_use]
pub fn decide(question: &Question, rules: &AssignRules) -> Verdict {
    let others = weighed(question, rules);
    let Some(current) = question.current else {
        return decide_fresh(question, &others, rules);
    };
    let kept = Verdict {
        choice: Choice::Keep,
        reason: Reason::Unchanged,
        similarity: current.rest.map(|rest| rest.similarity),
        runner_up: others.first().map(Weighed::near),
        absorbs_previous: false,
    };
    if current.pinned {
        return kept;
    }
    let fresh = decide_fresh(question, &others, rules);
    let against = |rest: Rest| evidence(question, rest.similarity, rest.basis, rest.here, rules);
    let alien = |rest: Rest| !question.poor && against(rest) <= rules.leave_nats;
    if current.rest.is_some_and(alien) {
        let reason = match fresh.choice {
            Choice::New => Reason::NoLongerAlike,
            Choice::Keep | Choice::Join { .. } | Choice::Ambiguous { .. } => fresh.reason,
        };
        return Verdict { reason, ..fresh };
    }
    match (&fresh.choice, current.rest.map(|rest| rest.similarity)) {
        (Choice::Join { .. }, None) => Verdict {
            reason: Reason::OnlyTrackJoined,
            absorbs_previous: true,
            ..fresh
        },
        (Choice::Join { similarity, .. }, Some(present))
            if *similarity >= present + rules.revise =>
        {
            let left = Near {
                identity: current.identity,
                similarity: present,
            };
            let ahead = |other: &Near| other.similarity > present;
            let runner_up = fresh.runner_up.filter(ahead).or(Some(left));
            Verdict {
                reason: Reason::BetterMatch,
                runner_up,
                ..fresh
            }
        }
        (Choice::Join { .. } | Choice::Keep | Choice::New | Choice::Ambiguous { .. }, _) => kept,
    }
}

/// A candidate and what speaks for it.
#[derive(Clone, Copy)]
struct Weighed {
    candidate: Candidate,
    nats: f32,
}

impl Weighed {
    fn near(&self) -> Near {
        Near {
            identity: self.candidate.identity,
            similarity: self.candidate.similarity,
        }
    }

    /// On screen, and not similar enough for that.
    fn shut(&self, rules: &AssignRules) -> bool {
        self.candidate.on_screen && self.candidate.similarity < rules.same_frame
    }
}

/// Most evidence first, one entry an identity, without the track's own and those that are barred.
fn weighed(question: &Question, rules: &AssignRules) -> Vec<Weighed> {
    let own = question.current.map(|current| current.identity);
    let mut others: Vec<Candidate> = question.candidates.clone();
    others.retain(|one| one.similarity.is_finite() && Some(one.identity) != own);
    // The more similar one first, and of equals always the same one.
    others.sort_by(|a, b| {
        let by_id = a.identity.cmp(&b.identity);
        by_id
            .then(b.similarity.total_cmp(&a.similarity))
            .then((a.basis, a.here).cmp(&(b.basis, b.here)))
    });
    others.dedup_by(|again, first| {
        let same = again.identity == first.identity;
        if same {
            first.on_screen |= again.on_screen;
            first.barred |= again.barred;
        }
        same
    });
    let weigh = |candidate: Candidate| {
        let Candidate {
            similarity,
            basis,
            here,
            ..
        } = candidate;
        let nats = evidence(question, similarity, basis, here, rules);
        Weighed { candidate, nats }
    };
    let open = others.into_iter().filter(|candidate| !candidate.barred);
    let mut others: Vec<Weighed> = open.map(weigh).collect();
    // Stable: equal evidence stays in order of id.
    others.sort_by(|a, b| b.nats.total_cmp(&a.nats));
    others
}

/// What speaks for an identity, in nats.
fn evidence(
    question: &Question,
    similarity: f32,
    basis: Basis,
    here: u32,
    rules: &AssignRules,
) -> f32 {
    let context = rules.context(here, basis.tracks, question.sources);
    let seen = (basis.tracks as f32).ln().min(rules.seen_nats) - rules.seen_nats;
    (rules.likeness).evidence(similarity, question.track, basis) + context + seen
}

/// The rule for a track without an identity.
fn decide_fresh(question: &Question, others: &[Weighed], rules: &AssignRules) -> Verdict {
    let poor = if question.poor { rules.poor_nats } else { 0.0 };
    let enough = rules.join_nats + AssignRules::crowd_nats(question.people) + poor;
    let qualifies = |one: &Weighed| one.nats >= enough && one.candidate.similarity >= rules.floor;
    // Who is on screen and not similar enough for that is no choice and no rival, unless on top.
    let mut open = others.iter().filter(|one| !one.shut(rules));
    let best = open.next().filter(|best| qualifies(best));
    let top = others.first();
    let own = |choice: Choice, reason: Reason| Verdict {
        choice,
        reason,
        similarity: top.map(|top| top.candidate.similarity),
        runner_up: top.map(Weighed::near),
        absorbs_previous: false,
    };
    let ambiguous = |between: Vec<&Weighed>, reason: Reason| {
        let between = between.into_iter().map(Weighed::near).collect();
        own(Choice::Ambiguous { between }, reason)
    };
    match (best, top) {
        (None, Some(top)) if top.shut(rules) && qualifies(top) => {
            own(Choice::New, Reason::SameFrame)
        }
        (None, _) => own(Choice::New, Reason::NobodyClose),
        (Some(best), Some(top)) if top.shut(rules) && top.nats > best.nats => {
            ambiguous(vec![top, best], Reason::SameFrame)
        }
        (Some(best), _) => {
            let close = open.take_while(|next| best.nats - next.nats < rules.rival_nats);
            let rivals = close.filter(|next| !may_be_one(question, best, next, rules));
            let between: Vec<&Weighed> = std::iter::once(best).chain(rivals).collect();
            if between.len() > 1 {
                return ambiguous(between, Reason::TooCloseToCall);
            }
            let joined = best.near();
            let not_chosen = |other: &&Weighed| other.candidate.identity != joined.identity;
            Verdict {
                choice: Choice::Join {
                    identity: joined.identity,
                    similarity: joined.similarity,
                },
                reason: Reason::AboveThreshold,
                similarity: Some(joined.similarity),
                runner_up: others.iter().find(not_chosen).map(Weighed::near),
                absorbs_previous: false,
            }
        }
    }
}

/// Whether two candidates may well be one person.
fn may_be_one(question: &Question, one: &Weighed, other: &Weighed, rules: &AssignRules) -> bool {
    let (one, other) = (&one.candidate, &other.candidate);
    let pair = |alike: &&Alike| alike.is_of(one.identity, other.identity);
    let nats = |alike: &Alike| {
        let nats = (rules.likeness).evidence(alike.similarity, one.basis, other.basis);
        nats >= rules.join_nats && alike.similarity >= rules.floor
    };
    question.alike.iter().find(pair).is_some_and(nats)
}

#[cfg(test)]
mod tests;
