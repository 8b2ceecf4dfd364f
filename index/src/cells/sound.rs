//! Whether cells and representatives fit together.

use super::{Cell, Cells};
use crate::{
    blocks::{BLOCKS_MAX, NONE, at, row},
    kernel::BLOCK,
    sound::{Marks, sound},
};

impl Cells {
    /// Whether the columns have the rows that the numbers speak of.
    pub(super) fn fits(&self) -> bool {
        let blocks = self.blocks.count();
        let rows = [self.plane.blocks(), self.owners.rows(), self.homes.rows()];
        rows.iter().all(|rows| blocks <= *rows)
            && at(self.rows.count) <= self.centres.blocks() * BLOCK
            && self.representatives <= blocks * BLOCK
    }

    /// Checks that each representative is in the one cell that its block belongs to, that there are
    /// `people` of them, and that each of those knows its own: `of` says which one an owner's is.
    pub(crate) fn check(
        &self,
        of: impl Fn(u32) -> Option<u32>,
        people: usize,
    ) -> Result<(), String> {
        self.blocks.check()?;
        let lives = |cell: u32| self.cell(cell).count > 0;
        self.rows
            .check(|cell| self.cell(cell).head, |cell| !lives(cell))?;
        let mut blocks = Marks::new(self.blocks.count());
        let mut filled = Marks::new(self.blocks.count() * BLOCK);
        for cell in (0..self.rows.count).filter(|cell| lives(*cell)) {
            let fits = self.check_cell(cell, &of, &mut blocks, &mut filled);
            sound(fits, || format!("cell {cell} does not hold what it should"))?;
        }
        let taken = self.blocks.taken();
        let all = taken == blocks.len() * BLOCK && filled.len() == self.representatives;
        sound(all && self.representatives == people, || {
            let found = filled.len();
            format!("{found} representatives of {people} identities are in cells")
        })?;
        self.plane.check(|slot| filled.contains(slot))?;
        self.centres
            .check(|cell| cell < self.rows.count && lives(cell))
    }

    fn check_cell(
        &self,
        cell: u32,
        of: impl Fn(u32) -> Option<u32>,
        blocks: &mut Marks,
        filled: &mut Marks,
    ) -> bool {
        let Cell { head, count } = *self.cell(cell);
        let (mut block, mut left) = (head, count);
        while left > 0 {
            // Whole blocks follow the newest, which need not be full.
            let here = (left - 1) % row(BLOCK) + 1;
            if !blocks.add(block) || self.blocks.get(block).used != u32::MAX {
                return false;
            }
            let first = block * row(BLOCK);
            let known = |slot| of(self.owner(slot)) == Some(slot) && self.home(slot) == cell;
            if !(first..first + here).all(|slot| known(slot) && filled.add(slot)) {
                return false;
            }
            left -= here;
            block = self.blocks.get(block).next;
        }
        block == NONE
    }
}

const _: () = assert!(BLOCKS_MAX * BLOCK <= u32::MAX as usize, "slots are 32 bits");
