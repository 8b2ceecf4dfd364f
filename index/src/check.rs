//! Checking operations before the first takes effect.

use std::collections::HashMap;

use crate::{
    apply::{ApplyError, Operation},
    blocks::at,
    id::{FaceId, IdentityId, TrackId},
    state::State,
};

/// What the operations checked so far would make of faces, tracks and identities.
pub(crate) struct Check<'a> {
    state: &'a State,
    /// Faces touched, with where they are, or `None` once removed.
    faces: HashMap<FaceId, Option<Place>>,
    tracks: HashMap<TrackId, Track>,
    identities: Identities<'a>,
}

/// Where a face is.
#[derive(Clone, Copy)]
struct Place {
    track: TrackId,
    group: usize,
}

/// A track touched.
struct Track {
    faces: usize,
    /// Faces inserted into it; some may have been removed since.
    inserted: Vec<FaceId>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self {
            state,
            faces: HashMap::new(),
            tracks: HashMap::new(),
            identities: Identities {
                state,
                touched: HashMap::new(),
                groups: Vec::new(),
            },
        }
    }

    /// The first reason to refuse the operations.
    pub(crate) fn all(&mut self, operations: &[Operation]) -> Result<(), ApplyError> {
        operations
            .iter()
            .enumerate()
            .try_for_each(|(at, operation)| self.one(at, operation))
    }

    fn one(&mut self, at: usize, operation: &Operation) -> Result<(), ApplyError> {
        match *operation {
            Operation::Insert {
                face,
                identity,
                track,
                ..
            } => {
                self.insertable(at, operation)?;
                let group = self.identities.group(identity);
                self.faces.insert(face, Some(Place { track, group }));
                *self.identities.faces(group) += 1;
                let track = self.track(track);
                track.faces += 1;
                track.inserted.push(face);
            }
            Operation::Remove { face } => {
                let place = self.known(at, face)?;
                self.faces.insert(face, None);
                *self.identities.faces(place.group) -= 1;
                self.track(place.track).faces -= 1;
            }
            Operation::Assign { track, identity } => {
                if self.track(track).faces == 0 {
                    return Err(ApplyError::UnknownTrack { at, track });
                }
                self.assign(track, identity);
            }
            Operation::Move { face, identity } => {
                let place = self.known(at, face)?;
                self.put(face, place, identity);
            }
            Operation::Merge { from, into } => {
                let group = self.named(at, from)?;
                if from != into {
                    self.identities.merge(group, from, into);
                }
            }
            Operation::Mark { identity, .. } => {
                self.named(at, identity)?;
            }
        }
        Ok(())
    }

    fn insertable(&mut self, at: usize, operation: &Operation) -> Result<(), ApplyError> {
        let &Operation::Insert {
            face,
            quality,
            ref embedding,
            ..
        } = operation
        else {
            return Ok(());
        };
        let (found, expected) = (embedding.dimension(), self.state.dimension);
        if found != expected {
            return Err(ApplyError::WrongDimension {
                at,
                face,
                found,
                expected,
            });
        }
        if !(0.0..=1.0).contains(&quality) {
            return Err(ApplyError::BadQuality { at, face, quality });
        }
        match self.place(face) {
            Some(_) => Err(ApplyError::DuplicateFace { at, face }),
            None => Ok(()),
        }
    }

    /// Where a face that must be here is.
    fn known(&mut self, at: usize, face: FaceId) -> Result<Place, ApplyError> {
        self.place(face).ok_or(ApplyError::UnknownFace { at, face })
    }

    /// The group of an identity that must have a face here.
    fn named(&mut self, at: usize, identity: IdentityId) -> Result<usize, ApplyError> {
        let group = self.identities.group(identity);
        match *self.identities.faces(group) {
            0 => Err(ApplyError::UnknownIdentity { at, identity }),
            _ => Ok(group),
        }
    }

    fn place(&mut self, face: FaceId) -> Option<Place> {
        if let Some(place) = self.faces.get(&face) {
            return *place;
        }
        let entry = self.state.face(face)?;
        Some(Place {
            track: entry.track,
            group: self.identities.stored(entry.identity),
        })
    }

    fn track(&mut self, track: TrackId) -> &mut Track {
        let stored = || self.state.faces.track(track).count();
        self.tracks.entry(track).or_insert_with(|| Track {
            faces: stored(),
            inserted: Vec::new(),
        })
    }

    fn assign(&mut self, track: TrackId, identity: IdentityId) {
        let stored = self.state.faces.track(track);
        let stored = stored.map(|slot| FaceId::new(self.state.faces.get(slot).face));
        let mut faces = self.track(track).inserted.clone();
        faces.extend(stored);
        for face in faces {
            // It may have been removed, and inserted into another track.
            if let Some(place) = self.place(face).filter(|place| place.track == track) {
                self.put(face, place, identity);
            }
        }
    }

    fn put(&mut self, face: FaceId, from: Place, identity: IdentityId) {
        let group = self.identities.group(identity);
        *self.identities.faces(from.group) -= 1;
        *self.identities.faces(group) += 1;
        let place = Place { group, ..from };
        self.faces.insert(face, Some(place));
    }
}

/// How many faces identities have. Faces are in groups; merging makes two groups one, so that faces
/// need not be touched, and an identity may come back with another group.
struct Identities<'a> {
    state: &'a State,
    /// Of the identities touched, the group of the faces that they have in the index, and of
    /// those they have by now.
    touched: HashMap<IdentityId, (usize, usize)>,
    groups: Vec<Group>,
}

struct Group {
    faces: usize,
    /// The group that it was merged into; itself, if it was not.
    into: usize,
}

impl Identities<'_> {
    /// The group of the identity's faces.
    fn group(&mut self, identity: IdentityId) -> usize {
        self.touch(identity).1
    }

    /// The group of the faces that are the identity's in the index.
    fn stored(&mut self, identity: IdentityId) -> usize {
        self.touch(identity).0
    }

    /// How many faces a group has.
    fn faces(&mut self, group: usize) -> &mut usize {
        let root = self.root(group);
        &mut self.groups[root].faces
    }

    /// Merges `group`, which is that of `from`, into that of `into`.
    fn merge(&mut self, group: usize, from: IdentityId, into: IdentityId) {
        let (group, to) = (self.root(group), self.group(into));
        let to = self.root(to);
        self.groups[to].faces += self.groups[group].faces;
        self.groups[group].into = to;
        let (stored, _) = self.touch(from);
        let empty = self.add(0);
        self.touched.insert(from, (stored, empty));
    }

    fn touch(&mut self, identity: IdentityId) -> (usize, usize) {
        if let Some(groups) = self.touched.get(&identity) {
            return *groups;
        }
        let people = &self.state.people;
        let faces = people
            .row(identity)
            .map_or(0, |person| people.get(person).faces);
        let group = self.add(at(faces));
        self.touched.insert(identity, (group, group));
        (group, group)
    }

    fn add(&mut self, faces: usize) -> usize {
        let into = self.groups.len();
        self.groups.push(Group { faces, into });
        into
    }

    /// What a group is part of by now. Ways are halved as they are gone, so that they stay short.
    fn root(&mut self, mut group: usize) -> usize {
        while self.groups[group].into != group {
            let next = self.groups[group].into;
            self.groups[group].into = self.groups[next].into;
            group = next;
        }
        group
    }
}
