//! Checked operations taking effect.

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::*;

use crate::{
    apply::Operation,
    blocks::{NONE, WHOLE, at, slots},
    cells::decode,
    code::Code,
    faces::{Face, Faces},
    id::{FaceId, IdentityId},
    modes::{self, CLOSE, Mode, SAMPLE},
    people::{Identity, SUM_FROM, modal_owner, mode_owner},
    rotate::Rotation,
    state::{State, concentration, direction, term, weight},
};

/// Operations whose embeddings are encoded at once, by all threads there are, while those before
/// take effect. Fewer are not worth waking anybody for.
const ENCODED_AT_ONCE: usize = 1024;

/// Operations that were checked, taking effect. From here on a surprise is our own bug.
pub(crate) struct Change<'a> {
    state: &'a mut State,
    /// Rows of identities whose faces have changed, with how many they had before; some may be
    /// free by now.
    touched: BTreeMap<u32, u32>,
}

/// The code of an embedding to be inserted.
fn encode(rotation: &Rotation, operation: &Operation) -> Option<Code> {
    let Operation::Insert { embedding, .. } = operation else {
        return None;
    };
    Some(Code::of(&rotation.forward(embedding.as_slice())))
}

impl<'a> Change<'a> {
    pub(crate) fn new(state: &'a mut State) -> Self {
        Self {
            state,
            touched: BTreeMap::new(),
        }
    }

    pub(crate) fn all(&mut self, operations: &[Operation]) {
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
                attributes,
                ..
            } => {
                let code = code.expect("insertions were encoded");
                let person = self.person(identity);
                let slot = self.open_slot(person);
                let mut face = Face::new(face, track, source, seen_us, quality, attributes);
                face.identity = person;
                self.state.faces.insert(slot, face, &code);
                self.joined(person, slot);
            }
            Operation::Remove { face } => {
                let slot = self.state.faces.slot(face).expect("checked: it is here");
                let person = self.state.faces.get(slot).identity;
                self.leave(slot);
                self.state.faces.remove(slot);
                self.close_slot_of(person, slot);
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
            Operation::Move { face, identity } => {
                let slot = self.state.faces.slot(face);
                self.reassign(slot.expect("checked: it is here"), identity);
            }
            Operation::Merge { from, into } => self.merge(from, into),
            Operation::Mark { identity, state } => {
                let person = self.state.people.row(identity);
                let person = person.expect("checked: it is here");
                self.state.people.edit(person).state = state.get();
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

    fn merge(&mut self, from: IdentityId, into: IdentityId) {
        if from == into {
            return;
        }
        let person = self.state.people.row(from);
        let from = person.expect("checked: it is here");
        let into = self.person(into);
        self.forget_modes(from);
        self.forget_modes(into);
        let people = &mut self.state.people;
        let (source, target) = (*people.get(from), *people.get(into));
        if target.faces == 0 {
            people.edit(into).state = source.state;
        }
        // As if they had no faces before: they are looked at anew.
        self.touched.insert(from, 0);
        self.touched.insert(into, 0);
        if target.faces < source.faces {
            // Whoever has more faces keeps them; it is cheaper to give it the other's name.
            self.state.people.swap_names(from, into);
            self.hand_over(into, from);
        } else {
            self.hand_over(from, into);
        }
    }

    /// Makes all faces of `from` those of `into`, which has some.
    fn hand_over(&mut self, from: u32, into: u32) {
        let given = *self.state.people.get(from);
        if given.faces == 0 {
            return;
        }
        if self.state.people.sum(into).is_some() {
            let kept = self.state.people.sum(from).map(<[i32]>::to_vec);
            let more = kept.unwrap_or_else(|| self.state.sum_of(from));
            let sum = self.state.people.sum_mut(into).expect("it is kept");
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum = sum.wrapping_add(more);
            }
        }
        self.state.people.empty(from);
        let row = self.state.people.edit(into);
        row.weight += given.weight;
        row.note_all(&given);
        self.splice(given.chain, into);
        for slot in given.tail..given.tail + given.tail_faces() {
            let to = self.open_slot(into);
            self.state.faces.relocate(slot, to);
            self.state.faces.set_identity(to, into);
            self.state.people.edit(into).faces += 1;
        }
        let blocks = &mut self.state.faces.blocks;
        blocks.give_back(given.tail, given.tail_length);
    }

    /// Makes the whole blocks from `first` on those of `person`, where they are.
    fn splice(&mut self, first: u32, person: u32) {
        let State { people, faces, .. } = &mut *self.state;
        let row = people.edit(person);
        let mut block = first;
        while block != NONE {
            for slot in block * 32..(block + 1) * 32 {
                faces.set_identity(slot, person);
            }
            row.faces += 32;
            let next = faces.blocks.get(block).next;
            if next == NONE {
                faces.blocks.set_next(block, row.chain);
            }
            block = next;
        }
        if first != NONE {
            row.chain = first;
        }
    }

    /// The identity's row; it is made if it is not there, and as new if it has lost its last face.
    fn person(&mut self, identity: IdentityId) -> u32 {
        match self.state.people.row(identity) {
            Some(person) => {
                if self.state.people.get(person).faces == 0 {
                    self.forget_modes(person);
                    self.state.people.empty(person);
                }
                person
            }
            None => self.state.people.add(identity),
        }
    }

    /// A slot at the end of the identity's tail, which is made longer if it is full.
    fn open_slot(&mut self, person: u32) -> u32 {
        let State { people, faces, .. } = &mut *self.state;
        let mut row = *people.get(person);
        let used = row.tail_faces();
        if row.faces == 0 {
            row.tail = faces.blocks.take(0);
            row.tail_length = 0;
        } else if used == slots(row.tail_length) {
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
        row.note(&face);
        if let Some(sum) = people.sum_mut(person) {
            term(&faces.plane, slot, face.quality, 1.0, sum);
        }
        if people.first_mode(person) != NONE {
            let mode = self.state.nearest_mode(person, slot);
            self.joined_mode(mode, slot);
        }
    }

    fn joined_mode(&mut self, mode: u32, slot: u32) {
        let State { people, faces, .. } = &mut *self.state;
        let row = people.modes.edit(mode);
        row.faces += 1;
        row.weight += u64::from(weight(faces.get(slot).quality));
        let number = u8::try_from(row.number).unwrap_or(0);
        faces.set_mode(slot, number);
        let quality = faces.get(slot).quality;
        term(&faces.plane, slot, quality, 1.0, people.modes.sum_mut(mode));
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
        let number = u32::from(face.mode);
        let mode = people.modes_of(face.identity);
        let mode = mode
            .into_iter()
            .find(|mode| people.modes.get(*mode).number == number);
        if let Some(mode) = mode {
            let row = people.modes.edit(mode);
            row.faces -= 1;
            row.weight -= u64::from(weight(face.quality));
            term(
                &faces.plane,
                slot,
                face.quality,
                -1.0,
                people.modes.sum_mut(mode),
            );
        }
    }

    /// Fills the hole that a face which left has made with the last face of the tail.
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
        } else if row.tail_length > 1 && used - 1 == slots(row.tail_length - 2) {
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
    pub(crate) fn finish(mut self) {
        for (person, before) in std::mem::take(&mut self.touched) {
            self.represent(person, before);
        }
    }

    fn represent(&mut self, person: u32, before: u32) {
        let row = *self.state.people.get(person);
        if row.faces == 0 {
            self.forget_modes(person);
            // Read only now: it may have moved.
            let representative = self.state.people.get(person).representative;
            if representative != NONE {
                self.take_out(representative);
            }
            self.state.people.remove(person);
            return;
        }
        let state = &mut *self.state;
        let direction = state.representative_of(person);
        if row.sum == NONE && row.faces > SUM_FROM {
            let sum = state.sum_of(person);
            state.people.keep_sum(person, &sum);
        } else if row.faces <= SUM_FROM / 2 {
            self.forget_modes(person);
            self.state.people.drop_sum(person);
        }
        // As it grows it may come to lie nearer to another cell, and to have other modes.
        let doubled = before.checked_ilog2() != row.faces.checked_ilog2();
        if doubled {
            self.forget_modes(person);
        }
        let representative = self.state.people.get(person).representative;
        self.put_in(person, representative, &direction, doubled);
        if doubled {
            self.find_modes(person);
        } else {
            self.represent_modes(person, &direction);
        }
    }

    /// Brings the representatives of an identity's modes up to date; those without faces go.
    fn represent_modes(&mut self, person: u32, whole: &[f32]) {
        let modes: Vec<u32> = self.state.people.modes_of(person).collect();
        let of = |mode: &u32| self.state.people.modes.get(*mode).faces > 0;
        if modes.iter().filter(|mode| of(mode)).count() < 2 {
            self.forget_modes(person);
            return;
        }
        let mut next = NONE;
        for mode in modes.into_iter().rev() {
            let Mode {
                faces,
                weight,
                representative,
                ..
            } = *self.state.people.modes.get(mode);
            if faces == 0 {
                self.take_out(representative);
                self.state.people.modes.remove(mode);
                continue;
            }
            self.state.people.modes.edit(mode).next = next;
            next = mode;
            let direction = direction(self.state.people.modes.sum(mode), weight);
            let direction = direction.unwrap_or_else(|| whole.to_vec());
            self.put_in(mode_owner(mode), representative, &direction, false);
        }
        self.state.people.set_first_mode(person, next);
    }

    /// Looks for modes among the faces of an identity that has none.
    fn find_modes(&mut self, person: u32) {
        let state = &mut *self.state;
        let row = *state.people.get(person);
        if state
            .people
            .sum(person)
            .is_none_or(|sum| concentration(sum, row.weight) > CLOSE)
        {
            return;
        }
        let slots: Vec<u32> = state.slots_of(person).collect();
        let sample = slots.iter().step_by(slots.len().div_ceil(SAMPLE));
        let vector = |slot: &u32| decode(&state.faces.plane.code(at(*slot)));
        let means = modes::find(sample.map(vector).collect());
        if means.is_empty() {
            return;
        }
        let mut first = NONE;
        for (number, mean) in (1..).zip(&means) {
            first = self.state.people.modes.add(person, number, first);
            self.put_in(mode_owner(first), NONE, mean, true);
        }
        self.state.people.set_first_mode(person, first);
        for slot in slots {
            let mode = self.state.nearest_mode(person, slot);
            self.joined_mode(mode, slot);
        }
        let kept = modal_owner(person);
        self.state
            .cells
            .set_owner(self.state.people.get(person).representative, kept);
        let whole = self.state.representative_of(person);
        self.represent_modes(person, &whole);
    }

    /// Leaves an identity with one representative.
    fn forget_modes(&mut self, person: u32) {
        let mut mode = self.state.people.first_mode(person);
        if mode == NONE {
            return;
        }
        while mode != NONE {
            self.take_out(self.state.people.modes.get(mode).representative);
            mode = self.state.people.modes.remove(mode);
        }
        self.state.people.set_first_mode(person, NONE);
        let representative = self.state.people.get(person).representative;
        if representative != NONE {
            self.state.cells.set_owner(representative, person);
        }
    }

    /// Puts a representative where it was, or, if it is new or to be placed anew, into the nearest
    /// cell.
    fn put_in(&mut self, owner: u32, slot: u32, direction: &[f32], anew: bool) {
        if slot != NONE && !anew {
            self.state.cells.update(slot, &Code::of(direction));
            return;
        }
        if slot != NONE {
            self.take_out(slot);
        }
        let State { people, cells, .. } = &mut *self.state;
        cells.insert(owner, direction, &mut |owner, slot| {
            people.placed(owner, slot)
        });
    }

    /// Takes a representative out of its cell.
    fn take_out(&mut self, slot: u32) {
        let State { people, cells, .. } = &mut *self.state;
        cells.remove(slot, &mut |owner, slot| people.placed(owner, slot));
    }
}

/// Moves a tail to a run of another length.
fn move_tail(faces: &mut Faces, row: &mut Identity, used: u32, length: u8) {
    let to = faces.blocks.take(length);
    for offset in 0..used {
        faces.relocate(row.tail + offset, to + offset);
    }
    faces.blocks.give_back(row.tail, row.tail_length);
    (row.tail, row.tail_length) = (to, length);
}
