//! Changing the index: operations, checked as a whole before the first takes effect.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rayon::prelude::*;

use crate::{
    blocks::{NONE, WHOLE},
    code::Code,
    embedding::Embedding,
    faces::{Face, Faces},
    id::{FaceId, IdentityId, SourceId, TrackId},
    people::{Identity, SUM_FROM},
    rotate::Rotation,
    state::{Index, State, term, weight},
    store::Damage,
};

/// Operations whose embeddings are encoded at once, by all threads there are, while those before
/// take effect. Fewer are not worth waking anybody for.
const ENCODED_AT_ONCE: usize = 1024;

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
    /// A file of the index is not what was written to it. The index has to be made anew.
    #[error("the index is damaged: {0}; it has to be made anew from the log")]
    Damaged(Damage),
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
    /// Cost: some microseconds for each face and each identity touched, plus a copied page of 16
    /// KiB for each of a handful that was published since it last changed; now and then a
    /// millisecond, when a cell of representatives splits. Embeddings of more than a thousand
    /// operations are encoded by rayon's threads; what comes of it does not depend on how many.
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
        self.check().map_err(ApplyError::Damaged)?;
        Check::new(&self.state).all(operations)?;
        let mut change = Change {
            state: &mut self.state,
            touched: BTreeMap::new(),
        };
        change.all(operations);
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
        let stored = || self.state.faces.track(track).count();
        self.counts.entry(track).or_insert_with(stored)
    }
}

/// Checked operations taking effect. From here on a surprise is our own bug.
struct Change<'a> {
    state: &'a mut State,
    /// Rows of identities whose faces have changed, with how many they had before; some may be
    /// free by now.
    touched: BTreeMap<u32, u32>,
}

/// The code of an embedding to be inserted.
fn encode(rotation: &Rotation, operation: &Operation) -> Option<Code> {
    match operation {
        Operation::Insert { embedding, .. } => {
            Some(Code::of(&rotation.forward(embedding.as_slice())))
        }
        Operation::Remove { .. } | Operation::Assign { .. } => None,
    }
}

impl Change<'_> {
    fn all(&mut self, operations: &[Operation]) {
        let rotation = Arc::clone(&self.state.rotation);
        let encode = |operation: &Operation| encode(&rotation, operation);
        if operations.len() <= ENCODED_AT_ONCE {
            operations.iter().for_each(|op| self.apply(op, encode(op)));
            return;
        }
        let encode_all = |chunk: &[Operation]| -> Vec<_> { chunk.par_iter().map(encode).collect() };
        let mut codes = Vec::new();
        let mut before: &[Operation] = &[];
        for chunk in operations.chunks(ENCODED_AT_ONCE) {
            let apply = || self.each(before, codes);
            ((), codes) = rayon::join(apply, || encode_all(chunk));
            before = chunk;
        }
        self.each(before, codes);
    }

    fn each(&mut self, operations: &[Operation], codes: Vec<Option<Code>>) {
        for (operation, code) in operations.iter().zip(codes) {
            self.apply(operation, code);
        }
    }

    fn apply(&mut self, operation: &Operation, code: Option<Code>) {
        match *operation {
            Operation::Insert {
                face,
                identity,
                track,
                source,
                seen_us,
                quality,
                ..
            } => {
                let code = code.expect("insertions were encoded");
                let person = self.person(identity);
                let slot = self.open_slot(person);
                let mut face = Face::new(face, track, source, seen_us, quality);
                face.identity = person;
                self.state.faces.insert(slot, face, &code);
                self.joined(person, slot);
            }
            Operation::Remove { face } => {
                let slot = self.state.faces.slot(face).expect("checked: it is here");
                self.leave(slot);
                self.state.faces.remove(slot);
                self.close_slot(slot);
            }
            Operation::Assign { track, identity } => {
                let faces = self.state.faces.track(track);
                let faces: Vec<u64> = faces.map(|slot| self.state.faces.get(slot).face).collect();
                for face in faces {
                    // By id: slots move while faces do.
                    let slot = self.state.faces.slot(FaceId::new(face));
                    self.reassign(slot.expect("it is in the track"), identity);
                }
            }
        }
    }

    fn reassign(&mut self, from: u32, identity: IdentityId) {
        let old = self.state.faces.get(from).identity;
        if self.state.people.get(old).id == identity.get() {
            return;
        }
        self.leave(from);
        let person = self.person(identity);
        // Opening may move the identity's tail, but not the face: it is another's.
        let to = self.open_slot(person);
        self.state.faces.relocate(from, to);
        self.state.faces.set_identity(to, person);
        self.joined(person, to);
        self.close_slot_of(old, from);
    }

    /// The identity's row; it is made if it is not there.
    fn person(&mut self, identity: IdentityId) -> u32 {
        let people = &mut self.state.people;
        people.row(identity).unwrap_or_else(|| people.add(identity))
    }

    /// A slot at the end of the identity's tail, which is made longer if it is full.
    fn open_slot(&mut self, person: u32) -> u32 {
        let State { people, faces, .. } = &mut *self.state;
        let mut row = *people.get(person);
        let used = row.tail_faces();
        if row.faces == 0 {
            row.tail = faces.blocks.take(0);
            row.tail_length = 0;
        } else if used == 1 << row.tail_length {
            if row.tail_length == WHOLE {
                faces.blocks.set_next(row.tail / 32, row.chain);
                row.chain = row.tail / 32;
                row.tail_length = 0;
                row.tail = faces.blocks.take(0);
            } else {
                let longer = row.tail_length + 1;
                move_tail(faces, &mut row, used, longer);
            }
        }
        *people.edit(person) = row;
        let first = if used == 32 { 0 } else { used };
        row.tail + first
    }

    /// Accounts for the face that is new in `slot`.
    fn joined(&mut self, person: u32, slot: u32) {
        self.touch(person);
        let State { people, faces, .. } = &mut *self.state;
        let face = *faces.get(slot);
        let row = people.edit(person);
        row.faces += 1;
        row.weight += u64::from(weight(face.quality));
        row.note(SourceId::new(face.source), face.seen_us);
        if let Some(sum) = people.sum_mut(person) {
            term(&faces.plane, slot, face.quality, 1.0, sum);
        }
    }

    /// Accounts for the face that goes from `slot`; its identity is none the smaller yet.
    fn leave(&mut self, slot: u32) {
        let face = *self.state.faces.get(slot);
        self.touch(face.identity);
        let State { people, faces, .. } = &mut *self.state;
        people.edit(face.identity).weight -= u64::from(weight(face.quality));
        if let Some(sum) = people.sum_mut(face.identity) {
            term(&faces.plane, slot, face.quality, -1.0, sum);
        }
    }

    /// Fills the hole that a face which left has made with the last face of the tail.
    fn close_slot(&mut self, slot: u32) {
        let person = self.state.faces.get(slot).identity;
        self.close_slot_of(person, slot);
    }

    fn close_slot_of(&mut self, person: u32, hole: u32) {
        let State { people, faces, .. } = &mut *self.state;
        let mut row = *people.get(person);
        let used = row.tail_faces();
        let last = row.tail + used - 1;
        if last != hole {
            faces.relocate(last, hole);
        }
        row.faces -= 1;
        if used == 1 {
            faces.blocks.give_back(row.tail, row.tail_length);
            row.tail = NONE;
            if row.chain != NONE {
                row.tail = row.chain * 32;
                row.tail_length = WHOLE;
                row.chain = faces.blocks.get(row.chain).next;
            }
        } else if row.tail_length > 1 && used - 1 == 1 << (row.tail_length - 2) {
            let shorter = row.tail_length - 1;
            move_tail(faces, &mut row, used - 1, shorter);
        }
        *people.edit(person) = row;
    }

    fn touch(&mut self, person: u32) {
        let faces = self.state.people.get(person).faces;
        self.touched.entry(person).or_insert(faces);
    }

    /// Brings the representatives of all identities touched up to date.
    fn finish(mut self) {
        for (person, before) in std::mem::take(&mut self.touched) {
            self.represent(person, before);
        }
    }

    fn represent(&mut self, person: u32, before: u32) {
        let state = &mut *self.state;
        let row = *state.people.get(person);
        let people = &mut state.people;
        let mut moved = |owner: u32, slot: u32| people.edit(owner).representative = slot;
        if row.faces == 0 {
            if row.representative != NONE {
                state.cells.remove(row.representative, &mut moved);
            }
            state.people.remove(person);
            return;
        }
        let direction = state.representative_of(person);
        if state.people.get(person).sum == NONE && row.faces > SUM_FROM {
            let sum = state.sum_of(person);
            state.people.keep_sum(person, &sum);
        } else if row.faces <= SUM_FROM / 2 {
            state.people.drop_sum(person);
        }
        let people = &mut state.people;
        let mut moved = |owner: u32, slot: u32| people.edit(owner).representative = slot;
        // As it grows it may come to lie nearer to another cell.
        let doubled = before.checked_ilog2() != row.faces.checked_ilog2();
        if row.representative != NONE && !doubled {
            state
                .cells
                .update(row.representative, &Code::of(&direction));
            return;
        }
        if row.representative != NONE {
            state.cells.remove(row.representative, &mut moved);
        }
        state.cells.insert(person, &direction, &mut moved);
    }
}

/// Moves a tail to a run of another length.
fn move_tail(faces: &mut Faces, row: &mut Identity, used: u32, length: u32) {
    let to = faces.blocks.take(length);
    for offset in 0..used {
        faces.relocate(row.tail + offset, to + offset);
    }
    faces.blocks.give_back(row.tail, row.tail_length);
    (row.tail, row.tail_length) = (to, length);
}
