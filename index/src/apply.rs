//! Changing the index: operations, checked as a whole before the first takes effect.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    embedding::Embedding,
    id::{FaceId, IdentityId, SourceId, TrackId},
    state::{Face, Identity, Index, Members, State},
};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Adds a face to an identity, which comes into being with its first face.
    Insert {
        /// The face; must be new.
        face: FaceId,
        /// Whose it is.
        identity: IdentityId,
        /// The track it was seen in.
        track: TrackId,
        /// The source it was seen in.
        source: SourceId,
        /// When it was seen, wall clock, Unix microseconds.
        seen_us: i64,
        /// 0 to 1, higher is better; its weight in the identity's mean (0.01 at least).
        quality: f32,
        /// Its embedding, of the index's dimension.
        embedding: Embedding,
    },
    /// Takes a face out. An identity or track that loses its last face is gone.
    Remove {
        /// The face; must be here.
        face: FaceId,
    },
    /// Moves all faces of a track to an identity, which need not exist yet.
    Assign {
        /// The track; must have a face here.
        track: TrackId,
        /// Whose the faces are from here on.
        identity: IdentityId,
    },
}

/// Why operations were refused. Nothing of them was applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Sequences only grow: the caller replays an older record.
    #[error("sequence {given} is below {newest}, which the index has already applied")]
    SequenceWentBack {
        /// The sequence given.
        given: u64,
        /// The newest one applied.
        newest: u64,
    },
    /// The face is already here.
    #[error("operation {at}: face {face} is already in the index; remove it first")]
    DuplicateFace {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
    },
    /// There is no such face.
    #[error("operation {at}: face {face} is not in the index")]
    UnknownFace {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
    },
    /// No face of that track is here.
    #[error("operation {at}: track {track} has no face in the index")]
    UnknownTrack {
        /// Position of the operation, from 0.
        at: usize,
        /// The track.
        track: TrackId,
    },
    /// The embedding comes from another model than the index's.
    #[error(
        "operation {at}: face {face} has an embedding of {found} values, the index holds {expected}"
    )]
    WrongDimension {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
        /// How many values the embedding has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// The quality is NaN or outside 0 to 1.
    #[error("operation {at}: face {face} has quality {quality}; it must lie between 0 and 1")]
    BadQuality {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
        /// The quality.
        quality: f32,
    },
}

impl Index {
    /// Applies `operations` in order, all or none, and moves to `sequence`, the log record they
    /// come from (equal to the newest is allowed). Readers see them after the next
    /// [`Index::publish`].
    ///
    /// Cost: a few map steps and one pass over a vector for each face touched, one more for each
    /// identity touched, and a copied chunk for each that was published since it last changed.
    ///
    /// # Errors
    /// [`ApplyError`], with the index exactly as it was before.
    pub fn apply(&mut self, sequence: u64, operations: &[Operation]) -> Result<(), ApplyError> {
        if sequence < self.state.sequence {
            let newest = self.state.sequence;
            return Err(ApplyError::SequenceWentBack {
                given: sequence,
                newest,
            });
        }
        Check::new(&self.state).all(operations)?;
        let mut change = Change {
            state: &mut self.state,
            touched: BTreeSet::new(),
        };
        for operation in operations {
            change.apply(operation);
        }
        change.finish();
        self.state.sequence = sequence;
        Ok(())
    }
}

/// What the operations checked so far would make of faces and tracks.
struct Check<'a> {
    state: &'a State,
    /// Faces touched, with the track they are in, or `None` once removed.
    faces: HashMap<FaceId, Option<TrackId>>,
    /// Faces of each track touched.
    counts: HashMap<TrackId, usize>,
}

impl<'a> Check<'a> {
    fn new(state: &'a State) -> Self {
        Self {
            state,
            faces: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    fn all(&mut self, operations: &[Operation]) -> Result<(), ApplyError> {
        operations
            .iter()
            .enumerate()
            .try_for_each(|(at, operation)| self.one(at, operation))
    }

    fn one(&mut self, at: usize, operation: &Operation) -> Result<(), ApplyError> {
        match *operation {
            Operation::Insert {
                face,
                track,
                quality,
                ref embedding,
                ..
            } => {
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
                if self.track_of(face).is_some() {
                    return Err(ApplyError::DuplicateFace { at, face });
                }
                self.faces.insert(face, Some(track));
                *self.count(track) += 1;
            }
            Operation::Remove { face } => {
                let track = self
                    .track_of(face)
                    .ok_or(ApplyError::UnknownFace { at, face })?;
                self.faces.insert(face, None);
                *self.count(track) -= 1;
            }
            Operation::Assign { track, .. } => {
                if *self.count(track) == 0 {
                    return Err(ApplyError::UnknownTrack { at, track });
                }
            }
        }
        Ok(())
    }

    fn track_of(&self, face: FaceId) -> Option<TrackId> {
        let stored = || self.state.face(face).map(|entry| entry.track);
        self.faces.get(&face).copied().unwrap_or_else(stored)
    }

    fn count(&mut self, track: TrackId) -> &mut usize {
        let stored = || self.state.tracks.get(&track).map_or(0, Members::size);
        self.counts.entry(track).or_insert_with(stored)
    }
}

/// Checked operations taking effect. From here on a surprise is our own bug.
struct Change<'a> {
    state: &'a mut State,
    /// Slots of identities whose sum has changed; some may be free by now.
    touched: BTreeSet<usize>,
}

impl Change<'_> {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Insert {
                face,
                identity,
                track,
                source,
                seen_us,
                quality,
                ref embedding,
            } => {
                let identity_slot = self.identity_slot(identity);
                let record = Face {
                    face,
                    identity,
                    identity_slot,
                    track,
                    source,
                    seen_us,
                    quality,
                };
                let state = &mut *self.state;
                let slot = state.faces.insert(record);
                state.faces.set_vector(slot, embedding.as_slice());
                state.face_slots.insert_mut(face, slot);
                if let Some(members) = state.tracks.get_mut(&track) {
                    members.insert_mut(face, slot);
                } else {
                    let members = Members::new_sync().insert(face, slot);
                    state.tracks.insert_mut(track, members);
                }
                self.join(slot, record);
            }
            Operation::Remove { face } => self.remove(face),
            Operation::Assign { track, identity } => {
                let members = self
                    .state
                    .tracks
                    .get(&track)
                    .into_iter()
                    .flat_map(Members::values);
                for slot in members.copied().collect::<Vec<usize>>() {
                    self.reassign(slot, identity);
                }
            }
        }
    }

    fn remove(&mut self, face: FaceId) {
        let slot = *self
            .state
            .face_slots
            .get(&face)
            .expect("checked: the face is here");
        let record = *self
            .state
            .faces
            .get(slot)
            .expect("face_slots points at records");
        self.leave(slot, record);
        let state = &mut *self.state;
        state.faces.remove(slot);
        state.face_slots.remove_mut(&face);
        let members = state
            .tracks
            .get_mut(&record.track)
            .expect("a face's track has members");
        members.remove_mut(&face);
        if members.is_empty() {
            state.tracks.remove_mut(&record.track);
        }
    }

    fn reassign(&mut self, slot: usize, identity: IdentityId) {
        let mut record = *self
            .state
            .faces
            .get(slot)
            .expect("a track's members are records");
        if record.identity == identity {
            return;
        }
        self.leave(slot, record);
        record.identity = identity;
        record.identity_slot = self.identity_slot(identity);
        *self.state.faces.get_mut(slot).expect("found above") = record;
        self.join(slot, record);
    }

    /// The identity's slot; it is made if it is not there.
    fn identity_slot(&mut self, identity: IdentityId) -> usize {
        let state = &mut *self.state;
        if let Some(slot) = state.identity_slots.get(&identity) {
            return *slot;
        }
        let slot = state.identities.insert(Identity {
            identity,
            members: Members::new_sync(),
            sum: Arc::new(vec![0.0; state.dimension]),
            weight: 0.0,
        });
        state.identity_slots.insert_mut(identity, slot);
        slot
    }

    fn join(&mut self, slot: usize, record: Face) {
        let state = &mut *self.state;
        let vector = state.faces.vector(slot);
        let identity = state
            .identities
            .get_mut(record.identity_slot)
            .expect("made by the caller");
        identity.members.insert_mut(record.face, slot);
        identity.add(vector, record.weight());
        self.touched.insert(record.identity_slot);
    }

    fn leave(&mut self, slot: usize, record: Face) {
        let state = &mut *self.state;
        let vector = state.faces.vector(slot);
        let identity = state
            .identities
            .get_mut(record.identity_slot)
            .expect("a face has one");
        identity.members.remove_mut(&record.face);
        identity.add(vector, -record.weight());
        if identity.members.is_empty() {
            state.identities.remove(record.identity_slot);
            state.identity_slots.remove_mut(&record.identity);
        }
        self.touched.insert(record.identity_slot);
    }

    /// Brings the representatives of all identities touched up to date.
    fn finish(self) {
        for slot in self.touched {
            let Some(identity) = self.state.identities.get(slot) else {
                continue;
            };
            let members = identity.members.values().copied();
            let direction = self
                .state
                .direction(&identity.sum, identity.weight, members);
            let direction = direction.expect("an identity has members");
            self.state.identities.set_vector(slot, direction.as_slice());
        }
    }
}

impl Identity {
    fn add(&mut self, vector: &[f32], weight: f64) {
        self.weight += weight;
        for (sum, value) in Arc::make_mut(&mut self.sum).iter_mut().zip(vector) {
            *sum += f64::from(*value) * weight;
        }
    }
}
