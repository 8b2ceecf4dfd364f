//! Is an identity one person? Its tracks fall into two parts that are as unlike as two people, or they
//! do not.
//!
//! Tracks are put to the nearer of two means, begun with the two that resemble each other least, until
//! nothing changes (2-means). Then the means are compared as those of two identities would be: with
//! evidence of [`RepairRules::split_nats`] or less, and a cosine below the floor for joining, the part
//! that rests on less is somebody else to all appearance. A part is at least two tracks: a single one is
//! as often a bad picture.

use std::collections::HashMap;

use rollcall_index::{Basis, Embedding, IdentityId, State, TrackId};

use super::RepairRules;

/// Tracks looked at, taken evenly from all.
const TRACKS: usize = 64;
/// Faces looked at for that.
const FACES: usize = 512;
/// Rounds of 2-means at most.
const ROUNDS: usize = 8;
/// Tracks of a part at least.
const PART: usize = 2;

/// An identity that is two people to all appearance.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// All tracks of the part that rests on less, by id.
    pub tracks: Vec<TrackId>,
    /// Cosine of the two parts' means.
    pub similarity: f32,
    /// What says that they are one person, in nats: less than nothing.
    pub nats: f32,
}

/// A track and the mean of its faces.
#[derive(Clone, Debug)]
struct Seen {
    track: TrackId,
    mean: Embedding,
    faces: u32,
}

/// A part of an identity's tracks.
struct Part {
    mean: Embedding,
    basis: Basis,
}

/// Looks at one identity; `None` if it is one person as far as can be seen.
///
/// Cost: decodes at most 512 faces and compares at most 64 tracks with each other; of an identity that is
/// to be split, decodes all its faces.
#[must_use]
pub fn look(state: &State, identity: IdentityId, rules: &RepairRules) -> Option<Split> {
    let faces = state.identity_faces(identity).count();
    let mut seen = tracks(state, identity, faces.div_ceil(FACES).max(1));
    let step = seen.len().div_ceil(TRACKS).max(1);
    let looked_at: Vec<Seen> = seen.iter().step_by(step).cloned().collect();
    let [one, other] = parts(&looked_at)?;
    let similarity = one.mean.dot(&other.mean).get();
    let nats = (rules.assign.likeness).evidence(similarity, one.basis, other.basis);
    if nats > rules.split_nats || similarity >= rules.assign.floor {
        return None;
    }
    if faces > FACES || step > 1 {
        seen = tracks(state, identity, 1);
    }
    let (less, more) = if one.basis <= other.basis {
        (one, other)
    } else {
        (other, one)
    };
    let nearer = |seen: &&Seen| seen.mean.dot(&less.mean) > seen.mean.dot(&more.mean);
    let mut tracks: Vec<TrackId> = seen.iter().filter(nearer).map(|seen| seen.track).collect();
    tracks.sort_unstable();
    Some(Split {
        tracks,
        similarity,
        nats,
    })
}

/// The identity's tracks by id, as far as each `step`th face tells.
fn tracks(state: &State, identity: IdentityId, step: usize) -> Vec<Seen> {
    let mut all: HashMap<TrackId, Vec<(Embedding, f32)>> = HashMap::new();
    for face in state.identity_faces(identity).step_by(step) {
        let of = all.entry(face.track).or_default();
        of.push((face.embedding(), face.quality));
    }
    let seen = all.into_iter().filter_map(|(track, faces)| {
        let mean = Embedding::mean(faces.iter().map(|(face, quality)| (face, *quality)))?;
        let faces = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        Some(Seen { track, mean, faces })
    });
    let mut seen: Vec<Seen> = seen.collect();
    seen.sort_by_key(|seen| seen.track);
    seen
}

/// Two parts, each of enough tracks.
fn parts(seen: &[Seen]) -> Option<[Part; 2]> {
    if seen.len() < 2 * PART {
        return None;
    }
    let pairs = seen
        .iter()
        .enumerate()
        .flat_map(|(at, one)| seen[at + 1..].iter().map(move |other| (one, other)));
    let (one, other) = pairs.min_by_key(|(one, other)| one.mean.dot(&other.mean))?;
    let mut means = [one.mean.clone(), other.mean.clone()];
    let mut sides: Vec<bool> = Vec::new();
    for _ in 0..ROUNDS {
        let second = |seen: &Seen| seen.mean.dot(&means[1]) > seen.mean.dot(&means[0]);
        let next: Vec<bool> = seen.iter().map(second).collect();
        if next == sides {
            break;
        }
        sides = next;
        means = [mean(seen, &sides, false)?, mean(seen, &sides, true)?];
    }
    let [first, second] = means;
    let part = |mean, side: bool| {
        let of = seen.iter().zip(&sides).filter(|(_, it)| **it == side);
        let (tracks, faces) = of.fold((0, 0), |(tracks, faces), (seen, _)| {
            (tracks + 1, faces + seen.faces)
        });
        let basis = Basis::new(tracks, faces);
        (tracks as usize >= PART).then_some(Part { mean, basis })
    };
    Some([part(first, false)?, part(second, true)?])
}

fn mean(seen: &[Seen], sides: &[bool], side: bool) -> Option<Embedding> {
    let of = seen.iter().zip(sides).filter(|(_, it)| **it == side);
    Embedding::mean(of.map(|(seen, _)| (&seen.mean, seen.faces as f32)))
}

#[cfg(test)]
mod tests {
    use super::super::super::AssignRules;
    use super::*;
    use rollcall_index::{FaceId, Index, Operation, SourceId};

    /// Tracks of two faces each around axes of their own, all of identity 1.
    fn split(axes: &[usize]) -> Option<Vec<u64>> {
        let mut index = Index::new(64);
        let faces = axes.iter().enumerate().flat_map(|(track, axis)| {
            (0..2_usize).map(move |number| {
                let mut values = vec![0.0; 64];
                values[*axis] = 1.0;
                values[30 + (2 * track + number) % 30] = 0.6;
                Operation::Insert {
                    face: FaceId::new(10 * track as u64 + number as u64),
                    identity: IdentityId::new(1),
                    track: TrackId::new(track as u64),
                    source: SourceId::new(1),
                    seen_us: 0,
                    quality: 1.0,
                    attributes: 0,
                    embedding: Embedding::normalise(values).unwrap(),
                }
            })
        });
        index.apply(1, &faces.collect::<Vec<_>>()).unwrap();
        let rules = RepairRules::new(AssignRules::for_contract(0.40));
        let found = look(index.newest(), IdentityId::new(1), &rules)?;
        assert!(found.similarity < rules.assign.floor && found.nats <= rules.split_nats);
        Some(found.tracks.into_iter().map(TrackId::get).collect())
    }

    #[test]
    fn two_people_are_told_apart_and_one_is_left() {
        assert_eq!(split(&[0; 8]), None);
        assert_eq!(split(&[0, 0, 0, 5, 0, 5, 0, 0]), Some(vec![3, 5]));
        assert_eq!(
            split(&[0, 0, 0, 0, 5]),
            None,
            "a single one may be a bad picture"
        );
        assert_eq!(split(&[]), None);
    }

    #[test]
    fn of_many_tracks_all_of_the_part_are_found() {
        let axes: Vec<usize> = (0..400)
            .map(|track| if track % 4 == 1 { 5 } else { 0 })
            .collect();
        let expected: Vec<u64> = (0..400).filter(|track| track % 4 == 1).collect();
        assert_eq!(split(&axes), Some(expected));
    }
}
