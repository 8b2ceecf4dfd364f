//! What a representative rests on, and how alike two of them are.

use crate::{
    blocks::at,
    cells::decode,
    embedding::Similarity,
    id::{IdentityId, SourceId, TrackId},
    kernel,
    state::State,
};

/// Faces of an identity whose tracks are told apart: with many tracks, how many makes no difference.
const LOOKED_AT: usize = 64;

/// How much a mean of faces rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    /// Tracks, at least one. Of an identity with many faces: those of 64 of them.
    pub tracks: u32,
    /// Faces, at least one.
    pub faces: u32,
}

/// What an identity's representative rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How much.
    pub basis: Basis,
    /// In which source how many of these tracks were seen; lowest source first.
    pub places: Vec<(SourceId, u32)>,
}

impl Standing {
    /// How many of these tracks were seen in a source.
    #[must_use]
    pub fn tracks_in(&self, source: SourceId) -> u32 {
        let found = self
            .places
            .binary_search_by_key(&source, |(place, _)| *place);
        found.map_or(0, |at| self.places[at].1)
    }
}

impl State {
    /// What the identity's representative rests on, without `exclude_track` if given; `None` if it has
    /// no face outside that track, or there is no such identity.
    ///
    /// Cost: a look at 64 faces' rows at most, and at those of the track.
    #[must_use]
    pub fn standing(
        &self,
        identity: IdentityId,
        exclude_track: Option<TrackId>,
    ) -> Option<Standing> {
        let person = self.people.row(identity)?;
        let gone = |track: TrackId| {
            let slots = self.faces.track(track);
            slots
                .filter(|slot| self.faces.get(*slot).identity == person)
                .count()
        };
        let faces = at(self.people.get(person).faces);
        let faces = faces.saturating_sub(exclude_track.map_or(0, gone));
        let excluded = exclude_track.map(TrackId::get);
        let seen = self.slots_of(person).map(|slot| self.faces.get(slot));
        let seen = seen.filter(|face| Some(face.track) != excluded);
        let tracks = seen.take(LOOKED_AT).map(|face| (face.source, face.track));
        let mut tracks: Vec<(u64, u64)> = tracks.collect();
        tracks.sort_unstable();
        tracks.dedup();
        let places = tracks.chunk_by(|a, b| a.0 == b.0);
        let places = places.map(|of| (SourceId::new(of[0].0), count(of.len())));
        let basis = Basis {
            tracks: count(tracks.len()),
            faces: count(faces),
        };
        (basis.tracks > 0 && basis.faces > 0).then(|| Standing {
            basis,
            places: places.collect(),
        })
    }

    /// The cosine of the two most similar representatives of two identities; `None` if either is not
    /// there.
    ///
    /// Cost: a code a representative, and their products.
    #[must_use]
    pub fn alike(&self, one: IdentityId, other: IdentityId) -> Option<Similarity> {
        let (one, other) = (self.representatives(one)?, self.representatives(other)?);
        let pairs = one
            .iter()
            .flat_map(|one| other.iter().map(move |other| (one, other)));
        pairs
            .map(|(one, other)| Similarity::from_dot(kernel::dot(one, other)))
            .max()
    }

    /// The representative of all faces and those of the modes, rotated.
    fn representatives(&self, identity: IdentityId) -> Option<Vec<Vec<f32>>> {
        let person = self.people.row(identity)?;
        let modes = self.people.modes_of(person);
        let modes = modes.map(|mode| self.people.modes.get(mode).representative);
        let all = std::iter::once(self.people.get(person).representative).chain(modes);
        Some(
            all.map(|slot| decode(&self.cells.plane.code(at(slot))))
                .collect(),
        )
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Embedding, FaceId, Index, Operation};

    fn insert(face: u64, identity: u64, track: u64, values: [f32; 3]) -> Operation {
        Operation::Insert {
            face: FaceId::new(face),
            identity: IdentityId::new(identity),
            track: TrackId::new(track),
            source: SourceId::new(track % 2),
            seen_us: 0,
            quality: 1.0,
            attributes: 0,
            embedding: Embedding::normalise(values.to_vec()).unwrap(),
        }
    }

    #[test]
    fn tracks_are_told_apart_and_one_can_be_left_out() {
        let mut index = Index::new(3);
        let faces = [
            insert(1, 7, 1, [1.0, 0.0, 0.0]),
            insert(2, 7, 1, [1.0, 0.0, 0.0]),
            insert(3, 7, 2, [1.0, 0.0, 0.0]),
            insert(4, 8, 3, [0.6, 0.8, 0.0]),
        ];
        index.apply(1, &faces).unwrap();
        let state = index.newest();
        let standing = |identity, track: Option<u64>| {
            let standing = state.standing(IdentityId::new(identity), track.map(TrackId::new));
            standing.map(|standing| {
                let here = standing.tracks_in(SourceId::new(1));
                (standing.basis.tracks, standing.basis.faces, here)
            })
        };
        assert_eq!(standing(7, None), Some((2, 3, 1)));
        assert_eq!(standing(7, Some(1)), Some((1, 1, 0)));
        assert_eq!(standing(7, Some(3)), Some((2, 3, 1)), "another's track");
        assert_eq!(standing(8, Some(3)), None, "nothing else");
        assert_eq!(standing(9, None), None, "nobody");
        let alike = |one, other| {
            let alike = state.alike(IdentityId::new(one), IdentityId::new(other));
            alike.map(|cosine| (cosine.get() * 100.0).round())
        };
        assert_eq!(alike(7, 8), Some(60.0));
        assert_eq!(alike(8, 7), Some(60.0));
        assert_eq!(alike(7, 9), None);
    }

    #[test]
    fn the_most_similar_modes_count() {
        let mut index = Index::new(3);
        // Two kinds of faces, half and half; whoever has one kind only resembles that one.
        let both = (0..40).map(|n| {
            let values = if n % 2 == 0 {
                [1.0, 0.0, 0.0]
            } else {
                [0.0, 1.0, 0.0]
            };
            insert(n, 1, n, values)
        });
        let one = std::iter::once(insert(100, 2, 100, [1.0, 0.0, 0.0]));
        index
            .apply(1, &both.chain(one).collect::<Vec<_>>())
            .unwrap();
        let alike = index.newest().alike(IdentityId::new(1), IdentityId::new(2));
        assert!(alike.unwrap().get() > 0.99, "{alike:?}");
    }
}
