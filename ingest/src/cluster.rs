//! Who is this track? The assignment rule: pure, the same for live decisions and offline builds.
//!
//! The caller measures (how similar the track is to which identities, who is on screen at the same
//! time) and the rule decides. The outcome is recorded in the log with its numbers and its reason,
//! so that replay never decides again.
//!
//! The rule, for similarities in cosine:
//! - An identity *qualifies* at [`AssignRules::join`]; at [`AssignRules::same_frame`] if another
//!   track that belongs to it is on screen at the same time. Two faces in one frame are strong
//!   evidence for two people, not a law: a presenter stands beside their own picture.
//! - The best one that qualifies is joined if the next that qualifies or nearly does lies at least
//!   [`AssignRules::margin`] behind. If not, the track gets an identity of its own, marked ambiguous.
//! - An identity barred only by the frame is set aside. If it resembles the track more than those
//!   that qualify, the track joins none of them: it looks like someone it can hardly be.
//! - A track that has an identity stays there unless another beats it by [`AssignRules::revise`]. If
//!   the identity holds nothing but this track, any identity that a new track would join will do,
//!   and absorbs it.
//! - What people said comes first: a *pinned* track stays where it is, and an identity from which it is
//!   *barred* counts for nothing.
//! - A track whose faces are all poor ([`AssignRules::may_open`]) may join an identity but opens none:
//!   until it has a better face, it is withheld.

pub mod confidence;
pub mod evidence;
pub mod hri;
pub mod score;

use std::{cmp::Ordering, fmt};

use rollcall_index::IdentityId;

/// The thresholds, in cosine where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AssignRules {
    /// At least this similar to join.
    pub join: f32,
    /// The next identity must lie at least this far behind.
    pub margin: f32,
    /// At least this similar to join an identity that is on screen at the same time; never less
    /// than `join`.
    pub same_frame: f32,
    /// By how much another identity must beat the present one.
    pub revise: f32,
    /// A track without a face of at least this quality (0..=1, no cosine) opens no identity.
    pub open_quality: f32,
}

impl AssignRules {
    /// The rules for a model whose manifest says that faces are the same person's from
    /// `same_cosine` on.
    #[must_use]
    pub fn for_contract(same_cosine: f32) -> Self {
        Self {
            join: same_cosine,
            margin: 0.05,
            same_frame: same_cosine.max(0.70),
            revise: 0.10,
            open_quality: 0.15,
        }
    }

    /// Whether a track with faces of these qualities may open an identity: one is good enough, or
    /// does not say (0).
    #[must_use]
    pub fn may_open(&self, qualities: impl IntoIterator<Item = f32>) -> bool {
        let mut qualities = qualities.into_iter();
        qualities.any(|quality| quality == 0.0 || quality >= self.open_quality)
    }

    fn needed(&self, candidate: &Candidate) -> f32 {
        if candidate.on_screen {
            self.same_frame.max(self.join)
        } else {
            self.join
        }
    }
}

/// An identity the track might belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The identity.
    pub identity: IdentityId,
    /// Cosine of the track to it, computed without the track's own faces.
    pub similarity: f32,
    /// Another track of the same source that overlaps this one in time belongs to it.
    pub on_screen: bool,
    /// People said that the track is not this identity's: it is no choice and no rival.
    pub barred: bool,
}

/// What the track belongs to already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Current {
    /// Its identity.
    pub identity: IdentityId,
    /// Cosine of the track to it, computed without the track's own faces; `None` if the identity
    /// holds nothing else.
    pub similarity: Option<f32>,
    /// People said whose the track is: it stays there.
    pub pinned: bool,
}

/// An identity and how similar the track is to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The identity.
    pub identity: IdentityId,
    /// Cosine.
    pub similarity: f32,
}

/// What is to be done with the track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// It stays where it is. Only for tracks that have an identity.
    Keep,
    /// It joins an identity.
    Join {
        /// The identity.
        identity: IdentityId,
        /// Cosine to it.
        similarity: f32,
    },
    /// It gets an identity of its own. Only for tracks that have none.
    New,
    /// It gets an identity of its own, for it resembles two and nothing tells which. Only for
    /// tracks that have none.
    Ambiguous {
        /// The one it resembles most.
        best: Near,
        /// The one that is too close behind.
        runner_up: Near,
    },
}

impl Choice {
    /// Whether the track gets an identity of its own.
    #[must_use]
    pub const fn opens(&self) -> bool {
        matches!(self, Self::New | Self::Ambiguous { .. })
    }
}

/// Why it was decided so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Joined: similar enough, and clearly more so than to anybody else.
    AboveThreshold,
    /// New: nobody is similar enough.
    NobodyClose,
    /// Ambiguous: two are similar, and too close to each other.
    TooCloseToCall,
    /// New or ambiguous: the most similar one is on screen at the same time.
    SameFrame,
    /// Joined: another identity is clearly better than the present one.
    BetterMatch,
    /// Kept: nothing is better by enough.
    Unchanged,
    /// Joined: the track's identity held nothing else, and is absorbed.
    OnlyTrackJoined,
}

impl Reason {
    /// The code the log and the API carry, as in `ABOVE_THRESHOLD`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AboveThreshold => "ABOVE_THRESHOLD",
            Self::NobodyClose => "NOBODY_CLOSE",
            Self::TooCloseToCall => "TOO_CLOSE_TO_CALL",
            Self::SameFrame => "SAME_FRAME",
            Self::BetterMatch => "BETTER_MATCH",
            Self::Unchanged => "UNCHANGED",
            Self::OnlyTrackJoined => "ONLY_TRACK_JOINED",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The decision with the numbers it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What is to be done.
    pub choice: Choice,
    /// Why.
    pub reason: Reason,
    /// Cosine to the identity joined or kept; for an identity of its own, to the closest other.
    /// `None` if there is nothing to compare with.
    pub similarity: Option<f32>,
    /// The closest identity that was not chosen, on screen or not.
    pub runner_up: Option<Near>,
    /// The track's present identity holds nothing else and is gone with this decision: it resolves
    /// to the one joined from here on.
    pub absorbs_previous: bool,
}

/// Decides who a track is.
///
/// The order of `candidates` makes no difference. The identity in `current` may be among them and
/// is not its own rival; of an identity given twice the higher similarity counts, and that it is on
/// screen if either says so; barred ones, and similarities that are not finite, are ignored. Ties go to the lower id.
///
/// Cost: sorts the candidates.
#[must_use]
pub fn decide(current: Option<Current>, candidates: &[Candidate], rules: &AssignRules) -> Verdict {
    let others = ranked(candidates, current.map(|current| current.identity));
    let fresh = decide_fresh(&others, rules);
    let Some(current) = current else { return fresh };
    let kept = Verdict {
        choice: Choice::Keep,
        reason: Reason::Unchanged,
        similarity: current.similarity,
        runner_up: others.first().map(near),
        absorbs_previous: false,
    };
    if current.pinned {
        return kept;
    }
    match (fresh.choice, current.similarity) {
        (Choice::Join { .. }, None) => Verdict {
            reason: Reason::OnlyTrackJoined,
            absorbs_previous: true,
            ..fresh
        },
        (Choice::Join { similarity, .. }, Some(present))
            if similarity >= present + rules.revise =>
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

/// Best first, one entry an identity, without the track's own.
fn ranked(candidates: &[Candidate], own: Option<IdentityId>) -> Vec<Candidate> {
    let rival = |candidate: &&Candidate| {
        candidate.similarity.is_finite() && !candidate.barred && Some(candidate.identity) != own
    };
    let mut others: Vec<Candidate> = candidates.iter().filter(rival).copied().collect();
    others.sort_by_key(|candidate| candidate.identity);
    others.dedup_by(|again, first| {
        let same = again.identity == first.identity;
        if same {
            first.similarity = first.similarity.max(again.similarity);
            first.on_screen |= again.on_screen;
        }
        same
    });
    // Stable: equal similarities stay in order of id.
    others.sort_by(|a, b| {
        b.similarity
            .partial_cmp(&a.similarity)
            .unwrap_or(Ordering::Equal)
    });
    others
}

/// The rule for a track without an identity.
fn decide_fresh(others: &[Candidate], rules: &AssignRules) -> Verdict {
    // Who is on screen and not similar enough for that is no choice and no rival, unless on top.
    let barred = |candidate: &Candidate| {
        candidate.on_screen && candidate.similarity < rules.needed(candidate)
    };
    let mut open = others.iter().filter(|candidate| !barred(candidate));
    let best = open
        .next()
        .filter(|best| best.similarity >= rules.needed(best));
    let next = open.next();
    let top = others.first();
    let own = |choice: Choice, reason: Reason| Verdict {
        choice,
        reason,
        similarity: top.map(|top| top.similarity),
        runner_up: top.map(near),
        absorbs_previous: false,
    };
    let ambiguous = |best: &Candidate, runner_up: &Candidate, reason: Reason| {
        own(
            Choice::Ambiguous {
                best: near(best),
                runner_up: near(runner_up),
            },
            reason,
        )
    };
    match (best, top) {
        (None, Some(top)) if barred(top) && top.similarity >= rules.join => {
            own(Choice::New, Reason::SameFrame)
        }
        (None, _) => own(Choice::New, Reason::NobodyClose),
        (Some(best), Some(top)) if barred(top) && top.similarity > best.similarity => {
            ambiguous(top, best, Reason::SameFrame)
        }
        (Some(best), _) => match next {
            Some(next) if best.similarity - next.similarity < rules.margin => {
                ambiguous(best, next, Reason::TooCloseToCall)
            }
            Some(_) | None => Verdict {
                choice: Choice::Join {
                    identity: best.identity,
                    similarity: best.similarity,
                },
                reason: Reason::AboveThreshold,
                similarity: Some(best.similarity),
                runner_up: others
                    .iter()
                    .find(|other| other.identity != best.identity)
                    .map(near),
                absorbs_previous: false,
            },
        },
    }
}

fn near(candidate: &Candidate) -> Near {
    Near {
        identity: candidate.identity,
        similarity: candidate.similarity,
    }
}

#[cfg(test)]
mod tests;
