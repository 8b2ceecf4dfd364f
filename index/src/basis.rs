//! What a representative rests on, how alike two of them are, and how like strangers one is.

use crate::{
    blocks::at,
    cells::decode,
    code::Code,
    embedding::{Embedding, Similarity},
    id::{IdentityId, SourceId, TrackId},
    kernel,
    state::State,
};

/// Faces of an identity whose tracks are told apart: with many tracks, how many makes no difference.
const LOOKED_AT: usize = 64;
/// Identities among which a cohort is chosen.
const COHORT_OF: u32 = 256;
/// A cohort of fewer says nothing.
const COHORT_MIN: usize = 16;
/// The spread of values around 0 by their mean magnitude, if they are normally distributed: the root
/// of half of pi.
const SPREAD: f32 = 1.253_314;

/// How much a mean of faces rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    /// Tracks, at least one. Of an identity with many faces: those of 64 of them.
    pub tracks: u32,
    /// Faces, at least one.
    pub faces: u32,
    /// The chance that two faces are of one track, in thousandths; 0 if it is not known, and tracks
    /// count as equally long.
    pub one_track: u32,
    /// How long the mean of the faces is, in thousandths of one; 0 if it is not known.
    pub length: u32,
    /// How like strangers it is: the spread of its cosines to other people around 0, in thousandths;
    /// 0 if it is not known. [`Cohort`] measures it.
    pub strangers: u32,
}

impl Basis {
    /// Of so many tracks and faces, of which nothing else is known.
    #[must_use]
    pub const fn new(tracks: u32, faces: u32) -> Self {
        Self {
            tracks,
            faces,
            one_track: 0,
            length: 0,
            strangers: 0,
        }
    }
}

/// Identities against which it is seen how like strangers somebody is.
///
/// Some faces are like many people's: plain ones, blurred ones, a child's. Between two such a high
/// cosine says less. The cohort is the half with more faces of 256 identities, taken evenly from all:
/// identities of a few faces are often further parts of one person, who is not to count many times.
#[derive(Clone, Debug)]
pub struct Cohort<'a> {
    state: &'a State,
    people: Vec<u32>,
}

impl Cohort<'_> {
    /// The spread of a face's cosines to them, in thousandths; 0 if they are too few to tell.
    #[must_use]
    pub fn spread(&self, query: &Embedding) -> u32 {
        let code = Code::of(&self.state.rotation.forward(query.as_slice()));
        self.spread_without(&code.values, code.step, None)
    }

    /// The same of an identity's representative, compared with the others.
    #[must_use]
    pub fn spread_of(&self, identity: IdentityId) -> u32 {
        let Some(person) = self.state.people.row(identity) else {
            return 0;
        };
        let slot = self.state.people.get(person).representative;
        let (values, step) = self.state.cells.plane.values(at(slot));
        self.spread_without(values, step, Some(person))
    }

    fn spread_without(&self, values: &[i8], step: f32, person: Option<u32>) -> u32 {
        let values: Vec<i16> = values.iter().map(|value| i16::from(*value)).collect();
        let others = self.people.iter().filter(|other| Some(**other) != person);
        let (mut many, mut sum) = (0_usize, 0.0);
        for other in others {
            let slot = self.state.people.get(*other).representative;
            let (other, other_step) = self.state.cells.plane.values(at(slot));
            #[expect(clippy::cast_precision_loss, reason = "rounded to a thousandth")]
            let product = kernel::dot_codes(other, &values) as f32;
            sum += (product * (step * other_step)).abs();
            many += 1;
        }
        if many < COHORT_MIN {
            return 0;
        }
        #[expect(clippy::cast_precision_loss, reason = "256 at most")]
        let mean = sum / many as f32;
        thousandths(mean * SPREAD)
    }
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
    /// How like strangers it is stays open ([`State::cohort`]).
    ///
    /// Cost: a look at 64 faces' rows at most, and at those of the track; the sum of the faces, if it is
    /// not kept.
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
        let looked_at = tracks.len();
        let of_one = tracks.chunk_by(|a, b| a == b).map(|of| of.len() * of.len());
        let one_track = (1000 * of_one.sum::<usize>()).checked_div(looked_at * looked_at);
        tracks.dedup();
        let places = tracks.chunk_by(|a, b| a.0 == b.0);
        let places = places.map(|of| (SourceId::new(of[0].0), count(of.len())));
        let basis = Basis {
            tracks: count(tracks.len()),
            faces: count(faces),
            one_track: count(one_track.unwrap_or(0)),
            length: thousandths(self.length_of(person, exclude_track)),
            strangers: 0,
        };
        (basis.tracks > 0 && basis.faces > 0).then(|| Standing {
            basis,
            places: places.collect(),
        })
    }

    /// Who stands for strangers.
    ///
    /// Cost: a look at 256 identities' rows; for each use of it, at 128 codes.
    #[must_use]
    pub fn cohort(&self) -> Cohort<'_> {
        let sample = self.people.sample(COHORT_OF);
        let mut people: Vec<(u32, u32)> = sample
            .map(|person| (self.people.get(person).faces, person))
            .collect();
        let half = (people.len() / 2).max(2 * COHORT_MIN);
        if half < people.len() {
            people.select_nth_unstable_by(half, |a, b| b.cmp(a));
            people.truncate(half);
        }
        Cohort {
            state: self,
            people: people.into_iter().map(|(_, person)| person).collect(),
        }
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

/// Of a length or cosine that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small, not negative"
)]
fn thousandths(value: f32) -> u32 {
    (value.clamp(0.0, 2.0) * 1000.0) as u32
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaceId, Index, Operation};

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
    fn tracks_show_how_they_differ() {
        let mut index = Index::new(3);
        let faces = [
            insert(1, 7, 1, [1.0, 0.0, 0.0]),
            insert(2, 7, 1, [1.0, 0.0, 0.0]),
            insert(3, 7, 2, [0.0, 1.0, 0.0]),
            insert(4, 7, 3, [0.0, 1.0, 0.0]),
        ];
        index.apply(1, &faces).unwrap();
        let basis = |track: Option<u64>| {
            let standing = (index.newest()).standing(IdentityId::new(7), track.map(TrackId::new));
            let basis = standing.unwrap().basis;
            (basis.one_track, basis.length)
        };
        // Of sixteen pairs, six are of one track; half and half, the mean is the root of a half long.
        assert_eq!(basis(None).0, 375);
        assert!(basis(None).1.abs_diff(707) <= 3, "{:?}", basis(None));
        assert_eq!(basis(Some(1)).0, 500);
        assert!(basis(Some(1)).1.abs_diff(1000) <= 3);
    }

    #[test]
    fn whoever_is_in_the_midst_is_like_strangers() {
        let mut index = Index::new(3);
        // 60 people around an axis.
        let around = (0..60_u8).map(|n| {
            let (sin, cos) = f32::from(n).sin_cos();
            [0.8, 0.6 * sin, 0.6 * cos]
        });
        let faces = around
            .zip(0_u64..)
            .map(|(values, n)| insert(n, n, n, values));
        let faces: Vec<Operation> = faces.collect();
        index.apply(1, &faces).unwrap();
        let spread = |values: [f32; 3]| {
            let query = Embedding::normalise(values.to_vec()).unwrap();
            index.newest().cohort().spread(&query)
        };
        assert!(spread([1.0, 0.0, 0.0]).abs_diff(1003) <= 5);
        assert!(spread([0.0, 1.0, 0.0]) < 600);
        let cohort = index.newest().cohort();
        assert_eq!(cohort.spread_of(IdentityId::new(1_000)), 0, "nobody");
        assert!(cohort.spread_of(IdentityId::new(5)) > 700);
    }

    #[test]
    fn few_people_are_no_cohort() {
        let mut index = Index::new(3);
        let faces: Vec<Operation> = (0..16).map(|n| insert(n, n, n, [1.0, 0.0, 0.0])).collect();
        index.apply(1, &faces).unwrap();
        let cohort = index.newest().cohort();
        let spread = |id| cohort.spread_of(IdentityId::new(id));
        assert_eq!(spread(3), 0, "fifteen others");
        let query = Embedding::normalise(vec![1.0, 0.0, 0.0]).unwrap();
        assert_ne!(cohort.spread(&query), 0);
        assert_eq!(Index::new(3).newest().cohort().spread(&query), 0);
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
