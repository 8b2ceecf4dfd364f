//! Which slots of which blocks are taken. Runs of 1, 2, 4, 8, 16 or 32 slots, never across a block:
//! a block holds runs of one length, as in Bonwick, "The Slab Allocator", USENIX Summer 1994.

use bytemuck::{Pod, Zeroable};

use crate::{
    column::Column,
    kernel::BLOCK,
    store::{Parts, PartsReader},
};

/// No block, no slot, no row.
pub(crate) const NONE: u32 = u32::MAX;
/// Lengths of runs: 1 << 0 to 1 << 5.
const LENGTHS: usize = 6;
/// The length that is a whole block.
pub(crate) const WHOLE: u8 = 5;

/// What is known of a block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    /// The slots that are taken.
    pub(crate) used: u32,
    /// Runs here are 1 << this long.
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

    pub(crate) fn load(parts: &mut PartsReader) -> Option<Self> {
        Some(Self {
            count: parts.number()?,
            free: parts.number()?,
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
    room: [u32; LENGTHS],
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Column::new(size_of::<Block>()),
            rows: Rows::new(),
            room: [NONE; LENGTHS],
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.blocks);
        self.rows.save(parts);
        self.room.into_iter().for_each(|room| parts.number(room));
    }

    pub(crate) fn load(parts: &mut PartsReader) -> Option<Self> {
        let blocks = parts.column(Self::new().blocks)?;
        let rows = Rows::load(parts)?;
        let mut room = [NONE; LENGTHS];
        for room in &mut room {
            *room = parts.number()?;
        }
        (at(rows.count) <= blocks.rows()).then_some(Self { blocks, rows, room })
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

    /// A run of `1 << length` free slots; its first one.
    pub(crate) fn take(&mut self, length: u8) -> u32 {
        let (block, fresh) = match self.room[usize::from(length)] {
            NONE => (self.new_block(length), true),
            block => (block, false),
        };
        let run = mask(length);
        let row = self.edit(block);
        let lane = (0..32)
            .step_by(1 << length)
            .find(|lane| row.used & run << lane == 0)
            .expect("a block with room has a free run");
        row.used |= run << lane;
        let full = row.used == u32::MAX;
        if fresh && !full {
            self.link(block);
        } else if !fresh && full {
            self.unlink(block);
        }
        block * 32 + lane
    }

    /// Gives a run back.
    pub(crate) fn give_back(&mut self, first: u32, length: u8) {
        let (block, lane) = (first / 32, first % 32);
        let row = self.edit(block);
        debug_assert!(
            row.length == u32::from(length)
                && row.used & mask(length) << lane == mask(length) << lane
        );
        let was_full = row.used == u32::MAX;
        row.used &= !(mask(length) << lane);
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
pub(crate) fn at(number: u32) -> usize {
    // Rollcall runs on 32-bit machines and wider ones only.
    number as usize
}

/// The opposite of [`at`], for numbers that were checked when they were given out.
#[inline]
pub(crate) fn row(number: usize) -> u32 {
    u32::try_from(number).expect("at most 2^32 - 1 rows")
}

fn mask(length: u8) -> u32 {
    if length >= WHOLE {
        u32::MAX
    } else {
        (1 << (1 << length)) - 1
    }
}

const _: () = assert!(BLOCK == 32, "a block's slots fit a mask");

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
                let mut slots: Vec<u32> =
                    runs.iter().flat_map(|(first, length)| *first..first + (1 << length)).collect();
                let count = slots.len();
                slots.sort_unstable();
                slots.dedup();
                prop_assert_eq!(slots.len(), count);
                prop_assert_eq!(blocks.taken(), count);
                prop_assert!(runs.iter().all(|(first, length)| first % (1 << length) == 0));
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
