//! The identities: what is known of each as a whole, and where its faces are.

use bytemuck::{Pod, Zeroable};

use crate::{
    blocks::{NONE, Rows, at},
    column::Column,
    faces::Face,
    id::{IdentityId, SourceId},
    identity_state::IdentityState,
    kernel,
    modes::{MODES_MAX, Modes},
    slots::Slots,
    sound::{Marks, sound},
    store::{Parts, PartsReader},
};

/// An identity with more faces keeps their sum, and may have modes; others add them up when needed.
pub(crate) const SUM_FROM: u32 = 32;
/// Of an owner of a representative: the identity has modes, and so several representatives.
const MODAL: u32 = 1 << 31;
/// Of such an owner: the rest is the row of a mode, not of the identity.
const MODE: u32 = 1 << 30;
/// After a sum: its identity's first mode, and nothing.
const AFTER_SUM: usize = 2 * size_of::<u32>();

/// An identity. Its faces are in whole blocks, which hold 32 each, and in one run of slots, the
/// tail, which has at least one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    /// The sum of its faces' weights.
    pub(crate) weight: u64,
    /// No face was seen before or after these.
    pub(crate) seen_first_us: i64,
    pub(crate) seen_last_us: i64,
    /// A bit for each source that a face may be of.
    pub(crate) sources: u64,
    /// How many faces; 0 means a free row.
    pub(crate) faces: u32,
    /// The first slot of the tail. Of a free row: the next free one.
    pub(crate) tail: u32,
    /// The length of the tail's run.
    pub(crate) tail_length: u8,
    /// The writer's word for what it is; see [`IdentityState`].
    pub(crate) state: u8,
    /// The attributes that any face of it may have.
    pub(crate) attributes: u16,
    /// The first of its whole blocks, which lead on from one to the next.
    pub(crate) chain: u32,
    /// The row of the sum of its faces, if it is kept.
    pub(crate) sum: u32,
    /// The slot of its representative.
    pub(crate) representative: u32,
}

impl Identity {
    /// One without faces.
    fn new(identity: IdentityId) -> Self {
        Self {
            id: identity.get(),
            weight: 0,
            seen_first_us: i64::MAX,
            seen_last_us: i64::MIN,
            sources: 0,
            faces: 0,
            tail: NONE,
            tail_length: 0,
            state: IdentityState::default().get(),
            attributes: 0,
            chain: NONE,
            sum: NONE,
            representative: NONE,
        }
    }

    /// Faces in the tail, 1 to 32.
    pub(crate) fn tail_faces(&self) -> u32 {
        if self.faces == 0 {
            0
        } else {
            (self.faces - 1) % 32 + 1
        }
    }

    /// Notes that there is such a face.
    pub(crate) fn note(&mut self, face: &Face) {
        self.sources |= source_bit(SourceId::new(face.source));
        self.attributes |= face.attributes;
        self.seen_first_us = self.seen_first_us.min(face.seen_us);
        self.seen_last_us = self.seen_last_us.max(face.seen_us);
    }

    /// Notes all that is noted of another's faces.
    pub(crate) fn note_all(&mut self, other: &Self) {
        self.sources |= other.sources;
        self.attributes |= other.attributes;
        self.seen_first_us = self.seen_first_us.min(other.seen_first_us);
        self.seen_last_us = self.seen_last_us.max(other.seen_last_us);
    }

    /// The writer's word for what it is.
    pub(crate) fn state(&self) -> IdentityState {
        // Of a damaged row any state is as good: the answer is an error.
        IdentityState::new(self.state).unwrap_or_default()
    }
}

const _: () = assert!(size_of::<Identity>() == 64);

/// One of 64 bits for a source.
pub(crate) fn source_bit(source: SourceId) -> u64 {
    1 << (source.get() % 64)
}

/// Every identity, by row.
#[derive(Clone, Debug)]
pub(crate) struct People {
    people: Column,
    by_id: Slots,
    rows: Rows,
    sums: Column,
    /// Free ones lead on by their first value.
    sum_rows: Rows,
    pub(crate) modes: Modes,
}

/// Whose a representative is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The row of the identity.
    pub(crate) person: u32,
    /// It has other representatives too.
    pub(crate) modal: bool,
}

/// How the owner of a mode's representative is kept.
pub(crate) fn mode_owner(mode: u32) -> u32 {
    MODAL | MODE | mode
}

/// How the owner of the representative of all faces is kept, if the identity has modes.
pub(crate) fn modal_owner(person: u32) -> u32 {
    MODAL | person
}

impl People {
    pub(crate) fn new(padded: usize) -> Self {
        Self {
            people: Column::new(size_of::<Identity>()).hot(),
            by_id: Slots::new(),
            rows: Rows::new(),
            sums: Column::new(padded * size_of::<i32>() + AFTER_SUM),
            sum_rows: Rows::new(),
            modes: Modes::new(padded),
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.people);
        self.by_id.save(parts);
        parts.save(&self.sums);
        self.rows.save(parts);
        self.sum_rows.save(parts);
        self.modes.save(parts);
    }

    pub(crate) fn load(padded: usize, parts: &mut PartsReader) -> Option<Self> {
        let new = Self::new(padded);
        let people = parts.column(new.people)?;
        let by_id = Slots::load(parts)?;
        let sums = parts.column(new.sums)?;
        Some(Self {
            rows: Rows::load(&people, parts)?,
            sum_rows: Rows::load(&sums, parts)?,
            modes: Modes::load(padded, parts)?,
            people,
            by_id,
            sums,
        })
    }

    /// Checks that rows and sums are either free or somebody's, and that the map has everybody.
    pub(crate) fn check(&self) -> Result<(), String> {
        let lives = |person: u32| self.get(person).faces > 0;
        self.rows
            .check(|person| self.get(person).tail, |person| !lives(person))?;
        self.by_id.check(at(self.rows.count), |person| {
            lives(person).then(|| self.get(person).id)
        })?;
        let living = self.living().count();
        sound(living == self.len(), || {
            format!("{} of {living} identities are listed", self.len())
        })?;
        let mut sums = Marks::new(at(self.sum_rows.count));
        for person in self.living() {
            let sum = self.get(person).sum;
            sound(sum == NONE || sums.add(sum), || {
                format!("identity row {person} has sum {sum}")
            })?;
        }
        let next = |sum| *self.sums.get(at(sum));
        self.sum_rows.check(next, |sum| !sums.contains(sum))?;
        let mut modes = self.modes.marks();
        for person in self.living() {
            let mut last = NONE;
            for mode in self.modes_of(person) {
                let row = self.modes.get(mode);
                sound(row.person == person && modes.add(mode), || {
                    format!("identity row {person} has mode {mode}")
                })?;
                last = row.next;
            }
            sound(last == NONE, || {
                format!("the modes of identity row {person} do not end")
            })?;
        }
        self.modes.check(&modes)
    }

    /// Rows in use, in order.
    pub(crate) fn living(&self) -> impl Iterator<Item = u32> {
        (0..self.rows.count).filter(|person| self.get(*person).faces > 0)
    }

    /// So many rows spread evenly over all, in order, of which those in use.
    pub(crate) fn sample(&self, rows: u32) -> impl Iterator<Item = u32> {
        let all = u64::from(self.rows.count);
        let some = u64::from(rows).min(all);
        let row = move |at: u64| u32::try_from(at * all / some).unwrap_or(u32::MAX);
        let rows = (0..some).map(row);
        rows.filter(|person| self.get(*person).faces > 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Bytes that searches may read, and the others.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let cold = self.by_id.bytes() + self.sums.bytes() + self.modes.bytes();
        (self.people.bytes(), cold)
    }

    #[inline]
    pub(crate) fn get(&self, person: u32) -> &Identity {
        self.people.get(at(person))
    }

    /// Asks for a row before it is needed.
    pub(crate) fn prefetch(&self, person: u32) {
        kernel::prefetch(self.people.row(at(person)));
    }

    pub(crate) fn edit(&mut self, person: u32) -> &mut Identity {
        self.people.get_mut(at(person))
    }

    pub(crate) fn row(&self, identity: IdentityId) -> Option<u32> {
        self.by_id.get(identity.get(), |person| self.get(person).id)
    }

    /// Rows in use, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        self.by_id.iter()
    }

    /// A new row, without faces.
    pub(crate) fn add(&mut self, identity: IdentityId) -> u32 {
        let next = |people: &Column, person| people.get::<Identity>(person).tail;
        let person = self.rows.take(&mut self.people, next);
        *self.edit(person) = Identity::new(identity);
        let people = &self.people;
        self.by_id.insert(identity.get(), person, |person| {
            people.get::<Identity>(at(person)).id
        });
        person
    }

    /// Leaves an identity without faces, and as new.
    pub(crate) fn empty(&mut self, person: u32) {
        self.drop_sum(person);
        let row = self.edit(person);
        *row = Identity {
            representative: row.representative,
            ..Identity::new(IdentityId::new(row.id))
        };
    }

    /// Lets two rows be each other's identity: their ids and states change places.
    pub(crate) fn swap_names(&mut self, a: u32, b: u32) {
        let (first, second) = (*self.get(a), *self.get(b));
        self.by_id.moved(first.id, a, b);
        self.by_id.moved(second.id, b, a);
        let row = self.edit(a);
        (row.id, row.state) = (second.id, second.state);
        let row = self.edit(b);
        (row.id, row.state) = (first.id, first.state);
    }

    /// Frees the row of an identity without faces.
    pub(crate) fn remove(&mut self, person: u32) {
        let id = self.get(person).id;
        self.by_id.remove(id, person);
        self.drop_sum(person);
        let next = self.rows.give_back(person);
        let gone = self.edit(person);
        (gone.faces, gone.tail) = (0, next);
        (gone.id, gone.sources, gone.weight) = (0, 0, 0);
        (gone.seen_first_us, gone.seen_last_us) = (0, 0);
    }

    /// The kept sum, if it is.
    pub(crate) fn sum(&self, person: u32) -> Option<&[i32]> {
        match self.get(person).sum {
            NONE => None,
            sum => {
                let row = self.sums.row(at(sum));
                Some(bytemuck::cast_slice(&row[..row.len() - AFTER_SUM]))
            }
        }
    }

    /// The kept sum, to be changed.
    pub(crate) fn sum_mut(&mut self, person: u32) -> Option<&mut [i32]> {
        match self.get(person).sum {
            NONE => None,
            sum => {
                let row = self.sums.row_mut(at(sum));
                let end = row.len() - AFTER_SUM;
                Some(bytemuck::cast_slice_mut(&mut row[..end]))
            }
        }
    }

    /// Keeps a sum from here on.
    pub(crate) fn keep_sum(&mut self, person: u32, sum: &[i32]) {
        let next = |sums: &Column, number| *sums.get(number);
        let number = self.sum_rows.take(&mut self.sums, next);
        self.edit(person).sum = number;
        if let Some(kept) = self.sum_mut(person) {
            kept.copy_from_slice(sum);
        }
        self.set_first_mode(person, NONE);
    }

    /// The identity's first mode; the others follow.
    pub(crate) fn first_mode(&self, person: u32) -> u32 {
        match self.get(person).sum {
            NONE => NONE,
            sum => {
                let row: &[u32] = bytemuck::cast_slice(self.sums.row(at(sum)));
                row[row.len() - 2]
            }
        }
    }

    /// Keeps the identity's first mode, which is nothing without a sum.
    pub(crate) fn set_first_mode(&mut self, person: u32, mode: u32) {
        let sum = self.get(person).sum;
        let row: &mut [u32] = bytemuck::cast_slice_mut(self.sums.row_mut(at(sum)));
        let at = row.len() - 2;
        (row[at], row[at + 1]) = (mode, 0);
    }

    /// Rows of the identity's modes.
    pub(crate) fn modes_of(&self, person: u32) -> impl Iterator<Item = u32> {
        let mut next = self.first_mode(person);
        let chain = std::iter::from_fn(move || {
            let mode = next;
            (mode != NONE).then(|| {
                next = self.modes.get(mode).next;
                mode
            })
        });
        chain.take(MODES_MAX)
    }

    /// Whose a representative is, as its cell keeps it.
    #[inline]
    pub(crate) fn owner(&self, kept: u32) -> Owner {
        let modal = kept & MODAL != 0;
        let rest = kept & !(MODAL | MODE);
        let person = if modal && kept & MODE != 0 {
            self.modes.get(rest).person
        } else {
            rest
        };
        Owner { person, modal }
    }

    /// The slot of this owner's representative, by what is known of the owner; `None` if there is no
    /// such owner.
    pub(crate) fn place(&self, kept: u32) -> Option<u32> {
        let rest = kept & !(MODAL | MODE);
        if kept & MODAL != 0 && kept & MODE != 0 {
            let mode = self.modes.get(rest);
            return (mode.faces > 0).then_some(mode.representative);
        }
        let modal = kept & MODAL != 0;
        let row = self.get(rest);
        let lives = row.faces > 0 && modal == (self.first_mode(rest) != NONE);
        lives.then_some(row.representative)
    }

    /// The representative of this owner is in this slot from here on.
    pub(crate) fn placed(&mut self, kept: u32, slot: u32) {
        let rest = kept & !(MODAL | MODE);
        if kept & MODAL != 0 && kept & MODE != 0 {
            self.modes.edit(rest).representative = slot;
        } else {
            self.edit(rest).representative = slot;
        }
    }

    /// Keeps no sum any more.
    pub(crate) fn drop_sum(&mut self, person: u32) {
        let number = std::mem::replace(&mut self.edit(person).sum, NONE);
        if number != NONE {
            // Nothing is left of it.
            self.sums.row_mut(at(number)).fill(0);
            *self.sums.get_mut(at(number)) = self.sum_rows.give_back(number);
        }
    }
}
