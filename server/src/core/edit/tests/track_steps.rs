//! Random things that are said of tracks, to a core and the model beside it.

use super::world::{NAMES, World};
use super::{forget, link, move_into_new, move_tracks, reject, separate, separate_tracks, split};
use proptest::prelude::*;

/// Numbers choose among what there is, and a little beyond.
#[derive(Clone, Debug)]
pub(super) enum TrackStep {
    /// Into an identity, or a new one.
    Move {
        tracks: Vec<u64>,
        into: Option<u64>,
    },
    /// Of the first track's identity, or of `id`.
    Split {
        tracks: Vec<u64>,
        id: Option<u64>,
        name: usize,
    },
    Link {
        tracks: Vec<u64>,
    },
    Separate {
        one: u64,
        other: u64,
    },
    SeparateTracks {
        one: u64,
        other: u64,
    },
    /// From the first track's identity, or from `id`.
    Reject {
        tracks: Vec<u64>,
        id: Option<u64>,
    },
    Forget {
        fact: u64,
    },
}

pub(super) fn track_steps() -> impl Strategy<Value = TrackStep> {
    use TrackStep::{Forget, Link, Move, Reject, Separate, SeparateTracks, Split};
    let id = || 0..60_u64;
    let tracks = || prop::collection::vec(0..60_u64, 1..4);
    let maybe = |weight| prop::option::weighted(weight, 0..60_u64);
    prop_oneof![
        3 => (tracks(), maybe(0.7)).prop_map(|(tracks, into)| Move { tracks, into }),
        2 => (tracks(), maybe(0.3), 0..3_usize)
            .prop_map(|(tracks, id, name)| Split { tracks, id, name }),
        2 => tracks().prop_map(|tracks| Link { tracks }),
        1 => (id(), id()).prop_map(|(one, other)| Separate { one, other }),
        1 => (id(), id()).prop_map(|(one, other)| SeparateTracks { one, other }),
        3 => (tracks(), maybe(0.3)).prop_map(|(tracks, id)| Reject { tracks, id }),
        1 => id().prop_map(|fact| Forget { fact }),
    ]
}

impl World {
    pub(super) async fn step_of_tracks(&mut self, step: &TrackStep) {
        let model = &self.model;
        // One id beyond what there is, and 0, are unknown.
        let newest = model.tracks.keys().next_back().copied().unwrap_or(0);
        let all = |tracks: &[u64]| -> Vec<u64> {
            let some = tracks.iter().map(|track| track % (newest + 2));
            some.collect()
        };
        let id = |id: u64| id % (model.last + 2);
        let owner = |tracks: &[u64], other: Option<u64>| match other {
            Some(other) => id(other),
            None => model.tracks.get(&tracks[0]).copied().unwrap_or(1),
        };
        match step {
            TrackStep::Move { tracks, into } => {
                let tracks = all(tracks);
                let (asked, into) = match into.map(id) {
                    None => (move_into_new(&tracks, ""), Err("")),
                    Some(into) => (move_tracks(&tracks, into), Ok(into)),
                };
                self.edit(asked, |model, sequence| {
                    model.move_tracks(sequence, &tracks, into)
                })
                .await;
            }
            TrackStep::Split {
                tracks,
                id: other,
                name,
            } => {
                let (tracks, name) = (all(tracks), NAMES[*name]);
                let id = owner(&tracks, *other);
                self.edit(split(id, &tracks, name), |model, sequence| {
                    model.split(sequence, id, &tracks, name)
                })
                .await;
            }
            TrackStep::Link { tracks } => {
                let tracks = all(tracks);
                self.edit(link(&tracks), |model, sequence| {
                    model.link(sequence, &tracks)
                })
                .await;
            }
            TrackStep::Separate { one, other } => {
                let (one, other) = (id(*one), id(*other));
                self.edit(separate(one, other), |model, sequence| {
                    model.separate(sequence, one, other)
                })
                .await;
            }
            TrackStep::SeparateTracks { one, other } => {
                let both = all(&[*one, *other]);
                let (one, other) = (both[0], both[1]);
                self.edit(separate_tracks(one, other), |model, sequence| {
                    model.separate_tracks(sequence, one, other)
                })
                .await;
            }
            TrackStep::Reject { tracks, id: other } => {
                let tracks = all(tracks);
                let id = owner(&tracks, *other);
                self.edit(reject(id, &tracks), |model, sequence| {
                    model.reject(sequence, id, &tracks)
                })
                .await;
            }
            TrackStep::Forget { fact } => {
                let fact = fact % (model.last_fact + 2);
                self.edit(forget(fact), |model, sequence| model.forget(sequence, fact))
                    .await;
            }
        }
    }
}
