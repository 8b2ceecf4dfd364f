//! What can be decided of a track, and why.

use std::fmt;

use rollcall_index::IdentityId;

/// An identity and how similar the track is to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The identity.
    pub identity: IdentityId,
    /// Cosine.
    pub similarity: f32,
}

/// What is to be done with the track.
#[derive(Clone, Debug, PartialEq)]
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
    /// It gets an identity of its own.
    New,
    /// It gets an identity of its own, for it may be one of several and nothing tells which.
    Ambiguous {
        /// Those it may be, the one that most speaks for first; at least two.
        between: Vec<Near>,
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
    /// Ambiguous: several are similar, and too close to each other.
    TooCloseToCall,
    /// New or ambiguous: the most similar one is on screen at the same time.
    SameFrame,
    /// Joined: another identity is clearly better than the present one.
    BetterMatch,
    /// Kept: nothing is better by enough, or somebody has said that it belongs there.
    Unchanged,
    /// New: the track has come to look unlike the identity it was in, and nobody else is similar enough.
    NoLongerAlike,
    /// Joined: the track's identity held nothing else, and is absorbed.
    OnlyTrackJoined,
    /// Joined, by the rule of [`super::hri`]: the endnode that it comes to is near enough.
    HriWithinThreshold,
    /// New, by that rule: it is too far away, or there is none.
    HriBeyondThreshold,
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
            Self::NoLongerAlike => "NO_LONGER_ALIKE",
            Self::OnlyTrackJoined => "ONLY_TRACK_JOINED",
            Self::HriWithinThreshold => "HRI_WITHIN_THRESHOLD",
            Self::HriBeyondThreshold => "HRI_BEYOND_THRESHOLD",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The decision with the numbers it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is to be done.
    pub choice: Choice,
    /// Why.
    pub reason: Reason,
    /// Cosine to the identity joined or kept; for an identity of its own, to the one that most speaks
    /// for. `None` if there is nothing to compare with.
    pub similarity: Option<f32>,
    /// The identity that most speaks for of those not chosen, on screen or not.
    pub runner_up: Option<Near>,
    /// The track's present identity holds nothing else and is gone with this decision: it resolves
    /// to the one joined from here on.
    pub absorbs_previous: bool,
}
