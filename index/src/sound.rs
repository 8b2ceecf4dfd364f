//! Whether rows, lists and maps fit together: what changes rely on. Checksums say that a file is what
//! was written, not that this program wrote it.

use crate::{
    blocks::{NONE, WHOLE, at, slots},
    modes::MODES_MAX,
    people::Identity,
    state::{State, weight},
};

/// `Err` with what is wrong, unless it is sound.
pub(crate) fn sound(is: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(what()) }
}

/// A set of rows below a limit.
#[derive(Debug)]
pub(crate) struct Marks {
    words: Vec<u64>,
    limit: usize,
    count: usize,
}

impl Marks {
    /// None of the rows below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            words: vec![0; limit.div_ceil(64)],
            limit,
            count: 0,
        }
    }

    /// Adds a row; false if it was there, or is not below the limit.
    pub(crate) fn add(&mut self, row: u32) -> bool {
        let new = at(row) < self.limit && !self.contains(row);
        if new {
            self.words[at(row) / 64] |= 1 << (row % 64);
            self.count += 1;
        }
        new
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        let word = self.words.get(at(row) / 64);
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

impl State {
    /// Checks all that changes rely on: every list ends, and each row, slot and run is in use once or
    /// free. What is derived from vectors is not made anew; that is for [`State::verify`].
    ///
    /// Cost: a few passes over the rows of faces and identities.
    pub(crate) fn check_tables(&self) -> Result<(), String> {
        self.faces.blocks.check()?;
        self.people.check()?;
        self.faces.check(&self.slots_taken()?)?;
        let representatives = self.people.len() + self.people.modes.len();
        self.cells
            .check(|owner| self.people.place(owner), representatives)
    }

    /// The slots with faces, by what is known of identities.
    fn slots_taken(&self) -> Result<Marks, String> {
        let slots = self.faces.blocks.count() * 32;
        let (mut runs, mut taken) = (Marks::new(slots), Marks::new(slots));
        for person in self.people.living() {
            let row = *self.people.get(person);
            let fits = self.claim(&row, &mut runs) && self.own(person, &row, &mut taken);
            sound(fits, || {
                format!("the faces of identity row {person} are not its own")
            })?;
        }
        sound(runs.len() == self.faces.blocks.taken(), || {
            "runs of slots are nobody's".to_owned()
        })?;
        Ok(taken)
    }

    /// Takes the runs of an identity; false if they are not runs, or somebody else's.
    fn claim(&self, row: &Identity, runs: &mut Marks) -> bool {
        let mut run = |first: u32, length: u8| {
            let block = self.faces.blocks.get(first / 32);
            length <= WHOLE
                && at(first) < self.faces.blocks.count() * 32
                && (first % 32).is_multiple_of(slots(length))
                && block.length == u32::from(length)
                && block.used >> (first % 32) & 1 == 1
                && (first..first + slots(length)).all(|slot| runs.add(slot))
        };
        let mut block = row.chain;
        for _ in 0..(row.faces - 1) / 32 {
            if !run(block.saturating_mul(32), WHOLE) {
                return false;
            }
            block = self.faces.blocks.get(block).next;
        }
        let tail = run(row.tail, row.tail_length);
        tail && row.tail_faces() <= slots(row.tail_length) && block == NONE
    }

    /// Whether the faces in the runs of an identity are its own, and weigh as much as it does.
    fn own(&self, person: u32, row: &Identity, taken: &mut Marks) -> bool {
        let mut weights = 0;
        for slot in self.slots_of(person) {
            let face = self.faces.get(slot);
            weights += u64::from(weight(face.quality));
            if face.identity != person || !taken.add(slot) {
                return false;
            }
        }
        weights == row.weight && self.own_modes(person, row)
    }

    /// Whether the faces of an identity's modes are as many, and weigh as much, as the modes say.
    fn own_modes(&self, person: u32, row: &Identity) -> bool {
        let modes: Vec<u32> = self.people.modes_of(person).collect();
        if modes.is_empty() {
            return true;
        }
        let mut tally = [(0u32, 0u64); MODES_MAX + 1];
        for slot in self.slots_of(person) {
            let face = self.faces.get(slot);
            let Some(mode) = tally.get_mut(usize::from(face.mode)) else {
                return false;
            };
            mode.0 += 1;
            mode.1 += u64::from(weight(face.quality));
        }
        let mut faces = 0;
        for mode in modes.iter().map(|mode| self.people.modes.get(*mode)) {
            let found = tally.get_mut(at(mode.number)).map(std::mem::take);
            if mode.faces == 0 || found != Some((mode.faces, mode.weight)) {
                return false;
            }
            faces += mode.faces;
        }
        modes.len() > 1 && faces == row.faces
    }
}
