//! Which slots of which blocks are taken. Runs of a few lengths, never across a block: a block holds
//! runs of one length, as in Bonwick, "The Slab Allocator", USENIX Summer 1994.

use bytemuck::{Pod, Zeroable};

use crate::{
    column::Column,
    kernel::BLOCK,
    sound::{Marks, sound},
    store::{Parts, PartsReader},
};

/// No block, no slot, no row.
pub(crate) const NONE: u32 = u32::MAX;
/// Slots of a run, by its length, which everywhere else is the position here. More lengths would
/// leave fewer slots empty, but a tail that grows would move more often; those left out above 10
/// fit no more often into a block than the next one.
const LENGTHS: [u32; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 16, 32];
/// The length that is a whole block.
pub(crate) const WHOLE: u8 = 9;
/// No more blocks than this: their slots are numbered in 32 bits.
pub(crate) const BLOCKS_MAX: usize = at(NONE / 32);

/// What is known of a block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    /// The slots that are taken.
    pub(crate) used: u32,
    /// The length of the runs here.
    pub(crate) length: u32,
    /// The next block of the list that this one is in: that of free blocks, of blocks with room
    /// for runs of one length, or, for a whole block, its owner's.
    pub(crate) next: u32,
    /// The one before it in a list of blocks with room.
    previous: u32,
}

/// Which rows of a column are given out: all up to a count but those in a list that leads through
/// them, from one that is free to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// Rows ever given out.
    pub(crate) count: u32,
    free: u32,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            count: 0,
            free: NONE,
        }
    }

    pub(crate) fn save(self, parts: &mut Parts) {
        parts.number(self.count);
        parts.number(self.free);
    }

    /// The rows of `column`.
    pub(crate) fn load(column: &Column, parts: &mut PartsReader) -> Option<Self> {
        let rows = Self {
            count: parts.number()?,
            free: parts.number()?,
        };
        (at(rows.count) <= column.rows() && rows.may_be(rows.free)).then_some(rows)
    }

    /// Whether it is a row ever given out, or none.
    fn may_be(self, row: u32) -> bool {
        row == NONE || row < self.count
    }

    /// Checks that the list of free rows leads through all that are free, and ends; `next` as for
    /// [`Self::take`].
    pub(crate) fn check(
        self,
        next: impl Fn(u32) -> u32,
        is_free: impl Fn(u32) -> bool,
    ) -> Result<(), String> {
        let mut listed = Marks::new(at(self.count));
        let mut row = self.free;
        while row != NONE {
            sound(listed.add(row) && is_free(row), || {
                format!("the list of free rows leads to row {row}")
            })?;
            row = next(row);
        }
        let free = (0..self.count).filter(|row| is_free(*row)).count();
        sound(free == listed.len(), || {
            format!("{} of {free} free rows are listed", listed.len())
        })
    }

    /// A row, a free one if there is any; `next` says which one a free row leads to.
    pub(crate) fn take(
        &mut self,
        column: &mut Column,
        next: impl FnOnce(&Column, usize) -> u32,
    ) -> u32 {
        let row = self.free;
        if row == NONE {
            column.reach(at(self.count));
            self.count += 1;
            return self.count - 1;
        }
        self.free = next(column, at(row));
        row
    }

    /// Takes a row back; the one it must lead to from here on.
    pub(crate) fn give_back(&mut self, row: u32) -> u32 {
        std::mem::replace(&mut self.free, row)
    }
}

/// Runs of slots.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    blocks: Column,
    rows: Rows,
    room: [u32; LENGTHS.len()],
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Column::new(size_of::<Block>()),
            rows: Rows::new(),
            room: [NONE; LENGTHS.len()],
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.blocks);
        self.rows.save(parts);
        self.room.into_iter().for_each(|room| parts.number(room));
    }

    pub(crate) fn load(parts: &mut PartsReader) -> Option<Self> {
        let blocks = parts.column(Self::new().blocks)?;
        let rows = Rows::load(&blocks, parts)?;
        let mut room = [NONE; LENGTHS.len()];
        for room in &mut room {
            *room = parts.number()?;
        }
        let fits = at(rows.count) <= BLOCKS_MAX && room.iter().all(|block| rows.may_be(*block));
        fits.then_some(Self { blocks, rows, room })
    }

    /// Checks that runs are whole, and that each block which is free or has room is in the list of
    /// those, once.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut with_room = 0;
        for block in 0..self.rows.count {
            let Block { used, length, .. } = *self.get(block);
            let length = u8::try_from(length).unwrap_or(u8::MAX);
            let whole = length <= WHOLE
                && used == masks(length).filter(|run| used & run == *run).sum::<u32>();
            sound(whole, || format!("block {block} holds no whole runs"))?;
            with_room += usize::from(used != 0 && used != full(length));
        }
        let is_free = |block| self.get(block).used == 0;
        self.rows.check(|block| self.get(block).next, is_free)?;
        let mut listed = Marks::new(self.count());
        for (length, first) in (0u8..).zip(self.room) {
            let (mut block, mut before) = (first, NONE);
            while block != NONE {
                let row = self.get(block);
                let fits =
                    row.length == u32::from(length) && ![0, full(length)].contains(&row.used);
                sound(listed.add(block) && fits && row.previous == before, || {
                    format!("a list of blocks with room leads to block {block}")
                })?;
                (block, before) = (row.next, block);
            }
        }
        sound(listed.len() == with_room, || {
            format!(
                "{} of {with_room} blocks with room are listed",
                listed.len()
            )
        })
    }

    /// The blocks of the list that begins with `first`, at most `most`: the lists of a damaged file
    /// lead anywhere.
    pub(crate) fn list(&self, first: u32, most: usize) -> impl Iterator<Item = u32> {
        let mut next = first;
        let blocks = std::iter::from_fn(move || {
            let block = next;
            (block < self.rows.count).then(|| {
                next = self.get(block).next;
                block
            })
        });
        blocks.take(most.min(self.count()))
    }

    /// Whether there are free blocks.
    pub(crate) fn has_free(&self) -> bool {
        self.rows.free != NONE
    }

    /// Blocks there are, free ones included.
    pub(crate) fn count(&self) -> usize {
        at(self.rows.count)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.blocks.bytes()
    }

    pub(crate) fn get(&self, block: u32) -> &Block {
        self.blocks.get(at(block))
    }

    pub(crate) fn set_next(&mut self, block: u32, next: u32) {
        self.edit(block).next = next;
    }

    fn edit(&mut self, block: u32) -> &mut Block {
        self.blocks.get_mut(at(block))
    }

    /// A run of free slots; its first one.
    pub(crate) fn take(&mut self, length: u8) -> u32 {
        let (block, fresh) = match self.room[usize::from(length)] {
            NONE => (self.new_block(length), true),
            block => (block, false),
        };
        let row = self.edit(block);
        let run = masks(length)
            .find(|run| row.used & run == 0)
            .expect("a block with room has a free run");
        row.used |= run;
        let full = row.used == full(length);
        if fresh && !full {
            self.link(block);
        } else if !fresh && full {
            self.unlink(block);
        }
        block * 32 + run.trailing_zeros()
    }

    /// Gives a run back.
    pub(crate) fn give_back(&mut self, first: u32, length: u8) {
        let (block, run) = (first / 32, mask(length) << (first % 32));
        let row = self.edit(block);
        debug_assert!(row.length == u32::from(length) && row.used & run == run);
        let was_full = row.used == full(length);
        row.used &= !run;
        if row.used == 0 {
            if !was_full {
                self.unlink(block);
            }
            let next = self.rows.give_back(block);
            self.edit(block).next = next;
        } else if was_full {
            self.link(block);
        }
    }

    fn new_block(&mut self, length: u8) -> u32 {
        let next = |blocks: &Column, block| blocks.get::<Block>(block).next;
        let block = self.rows.take(&mut self.blocks, next);
        *self.edit(block) = Block {
            used: 0,
            length: u32::from(length),
            next: NONE,
            previous: NONE,
        };
        block
    }

    fn link(&mut self, block: u32) {
        let length = at(self.get(block).length);
        let next = std::mem::replace(&mut self.room[length], block);
        let row = self.edit(block);
        (row.next, row.previous) = (next, NONE);
        if next != NONE {
            self.edit(next).previous = block;
        }
    }

    fn unlink(&mut self, block: u32) {
        let Block {
            length,
            next,
            previous,
            ..
        } = *self.get(block);
        if next != NONE {
            self.edit(next).previous = previous;
        }
        if previous == NONE {
            self.room[at(length)] = next;
        } else {
            self.edit(previous).next = next;
        }
    }

    /// Slots that are taken.
    pub(crate) fn taken(&self) -> usize {
        let used = |block| self.get(block).used.count_ones();
        (0..self.rows.count).map(|block| at(used(block))).sum()
    }
}

/// Numbers of rows are 32 bits wide in files and in rows.
#[inline]
pub(crate) const fn at(number: u32) -> usize {
    // Rollcall runs on 32-bit machines and wider ones only.
    number as usize
}

/// The opposite of [`at`], for numbers that were checked when they were given out.
#[inline]
pub(crate) fn row(number: usize) -> u32 {
    u32::try_from(number).expect("at most 2^32 - 1 rows")
}

/// How many slots a run has.
#[inline]
pub(crate) const fn slots(length: u8) -> u32 {
    LENGTHS[length as usize]
}

/// As many of the lowest bits as a run has slots.
fn mask(length: u8) -> u32 {
    u32::MAX >> (32 - slots(length))
}

/// The runs of a block, a mask each.
fn masks(length: u8) -> impl Iterator<Item = u32> {
    (0..32 / slots(length)).map(move |run| mask(length) << (run * slots(length)))
}

/// The slots of a block that are in runs: all but the last ones where runs do not divide 32.
fn full(length: u8) -> u32 {
    u32::MAX >> (32 % slots(length))
}

const _: () = assert!(BLOCK == 32, "a block's slots fit a mask");
const _: () = assert!(slots(WHOLE) == 32 && LENGTHS.len() == WHOLE as usize + 1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(5),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn runs_never_overlap_and_come_back(
            steps in prop::collection::vec((any::<bool>(), 0u8..=WHOLE, any::<usize>()), 0..300),
        ) {
            let mut blocks = Blocks::new();
            let mut runs: Vec<(u32, u8)> = Vec::new();
            for (take, length, which) in steps {
                if take || runs.is_empty() {
                    runs.push((blocks.take(length), length));
                } else {
                    let (first, length) = runs.swap_remove(which % runs.len());
                    blocks.give_back(first, length);
                }
                let mut taken: Vec<u32> =
                    runs.iter().flat_map(|(first, length)| *first..first + slots(*length)).collect();
                let count = taken.len();
                taken.sort_unstable();
                taken.dedup();
                prop_assert_eq!(taken.len(), count);
                prop_assert_eq!(blocks.taken(), count);
                let within = |(first, length): &(u32, u8)| first % 32 + slots(*length) <= 32;
                prop_assert!(runs.iter().all(within));
                prop_assert_eq!(blocks.check(), Ok(()));
            }
            let most = blocks.count();
            for (first, length) in runs.drain(..) {
                blocks.give_back(first, length);
            }
            prop_assert_eq!(blocks.taken(), 0);
            // What is free is used again.
            for _ in 0..most {
                blocks.take(WHOLE);
            }
            prop_assert_eq!(blocks.count(), most);
        }
    }
}
