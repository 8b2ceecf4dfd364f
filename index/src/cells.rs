//! Representatives of identities, in cells of those that lie near each other: the upper levels of
//! the tree. A query looks at the centres of all cells, then at the representatives in the nearest.
//!
//! Cells split and merge one at a time, as in Xu et al., "SPFresh: Incremental In-Place Update for
//! Billion-Scale Vector Search", SOSP 2023, without its search for vectors that lie better in a
//! neighbouring cell: representatives are placed anew whenever their identity has doubled.

mod settle;
mod sound;

use std::collections::BinaryHeap;

use bytemuck::{Pod, Zeroable};

use crate::{
    blocks::{Blocks, NONE, Rows, WHOLE, at, row},
    code::{Code, Probe},
    column::Column,
    kernel::{self, BLOCK},
    plane::{Estimate, Plane},
    store::{Parts, PartsReader},
    two_means::two_means,
};

/// A cell with more representatives is split.
const FULL: u32 = 256;
/// A cell with fewer is merged, if there are others.
const SPARSE: u32 = 32;
/// Either half of a split has at least this many.
const HALF_MIN: usize = 64;
/// Centres that are compared by their codes when a representative is placed.
const NEAR: usize = 8;

/// A cell.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Cell {
    /// Its newest block, the only one with room; the others follow. Of a free cell: the next free
    /// one.
    head: u32,
    /// Representatives; 0 means free.
    count: u32,
}

/// Representatives by slot, and the cells.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub(crate) plane: Plane,
    blocks: Blocks,
    /// By slot, whose representative it is, as `People::owner` understands it.
    owners: Column,
    /// By block, the cell it belongs to.
    homes: Column,
    cells: Column,
    centres: Plane,
    rows: Rows,
    representatives: usize,
}

/// Told where each representative that moves is from then on: its owner and its slot.
pub(crate) trait Moved: FnMut(u32, u32) {}
impl<F: FnMut(u32, u32)> Moved for F {}

impl Cells {
    pub(crate) fn new(padded: usize) -> Self {
        Self {
            plane: Plane::new(padded).with_hot_codes().with_heads(),
            blocks: Blocks::new(),
            owners: Column::new(BLOCK * size_of::<u32>()).hot(),
            homes: Column::new(size_of::<u64>()),
            cells: Column::new(size_of::<Cell>()).hot(),
            centres: Plane::new(padded).with_hot_codes(),
            rows: Rows::new(),
            representatives: 0,
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        self.plane.save(parts);
        self.blocks.save(parts);
        parts.save(&self.owners);
        parts.save(&self.homes);
        parts.save(&self.cells);
        self.centres.save(parts);
        self.rows.save(parts);
        parts.number(u64::try_from(self.representatives).unwrap_or(u64::MAX));
    }

    pub(crate) fn load(padded: usize, parts: &mut PartsReader) -> Option<Self> {
        let new = Self::new(padded);
        let plane = new.plane.load(parts)?;
        let blocks = Blocks::load(parts)?;
        let owners = parts.column(new.owners)?;
        let homes = parts.column(new.homes)?;
        let cells = parts.column(new.cells)?;
        let cells = Self {
            plane,
            blocks,
            owners,
            homes,
            centres: new.centres.load(parts)?,
            rows: Rows::load(&cells, parts)?,
            cells,
            representatives: parts.number()?,
        };
        cells.fits().then_some(cells)
    }

    /// Representatives.
    pub(crate) fn len(&self) -> usize {
        self.representatives
    }

    /// Bytes that every search of identities may read, and the others.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let ((hot, cold), (centres, more)) = (self.plane.bytes(), self.centres.bytes());
        let rest = self.owners.bytes() + self.homes.bytes() + self.cells.bytes();
        (hot + centres + rest + more, cold + self.blocks.bytes())
    }

    /// Blocks of representatives, free ones included.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.count()
    }

    /// Which of up to 64 blocks from the first on may have representatives, as a bit mask.
    pub(crate) fn taken(&self, first: usize, many: usize) -> u64 {
        if !self.blocks.has_free() {
            return u64::MAX;
        }
        let taken = |block: &usize| first + block < self.blocks.count();
        let taken = (0..many).filter(taken).filter(|block| {
            let block = self.blocks.get(row(first + block));
            block.used != 0
        });
        taken.fold(0, |mask, block| mask | 1 << block)
    }

    /// How many representatives each cell has.
    pub(crate) fn fill(&self) -> impl Iterator<Item = usize> {
        let cells = (0..self.rows.count).map(|cell| at(self.cell(cell).count));
        cells.filter(|count| *count > 0)
    }

    /// Whose it is, as `People::owner` understands it.
    #[inline]
    pub(crate) fn owner(&self, slot: u32) -> u32 {
        let owners: &[u32] = bytemuck::cast_slice(self.owners.row(at(slot) / BLOCK));
        owners[at(slot) % BLOCK]
    }

    /// Asks for an owner before it is needed.
    pub(crate) fn prefetch_owner(&self, slot: u32) {
        let row = self.owners.row(at(slot) / BLOCK);
        kernel::prefetch(&row[at(slot) % BLOCK * size_of::<u32>()..][..size_of::<u32>()]);
    }

    /// Keeps another owner.
    pub(crate) fn set_owner(&mut self, slot: u32, owner: u32) {
        let owners = self.owners.row_mut(at(slot) / BLOCK);
        bytemuck::cast_slice_mut::<u8, u32>(owners)[at(slot) % BLOCK] = owner;
    }

    fn cell(&self, cell: u32) -> &Cell {
        self.cells.get(at(cell))
    }

    fn edit(&mut self, cell: u32) -> &mut Cell {
        self.cells.get_mut(at(cell))
    }

    pub(crate) fn home(&self, slot: u32) -> u32 {
        *self.homes.get(at(slot) / BLOCK)
    }

    /// The blocks of a cell.
    pub(crate) fn blocks_of(&self, cell: u32) -> impl Iterator<Item = usize> {
        let Cell { head, count } = *self.cell(cell);
        self.blocks.list(head, at(count).div_ceil(BLOCK)).map(at)
    }

    /// The blocks of each of the `many` cells whose centres are most similar to the query.
    pub(crate) fn nearest(&self, probe: &Probe, many: usize) -> impl Iterator<Item = Vec<usize>> {
        let cells = self.nearest_cells(probe, many).into_iter();
        cells.map(|cell| self.blocks_of(cell).collect())
    }

    /// The blocks of each cell, the cell first whose centre is the nearest to the query by its sketch.
    pub(crate) fn nearest_first(&self, probe: &Probe) -> impl Iterator<Item = Vec<usize>> {
        // As a rule a few are asked for: they are not sorted.
        let mut cells = BinaryHeap::from(self.centres.all(probe));
        let next = move || cells.pop().map(|Estimate(_, cell)| cell);
        std::iter::from_fn(next).map(|cell| self.blocks_of(cell).collect())
    }

    /// The `many` cells whose centres are most similar to the query, nearest first. All of them, in
    /// no order, if there are no more.
    fn nearest_cells(&self, probe: &Probe, many: usize) -> Vec<u32> {
        let cells = at(self.rows.count);
        if cells <= many {
            return (0..self.rows.count)
                .filter(|cell| self.cell(*cell).count > 0)
                .collect();
        }
        // By sketch first, twice as many as are wanted; then by code.
        let mut estimated = self.centres.all(probe);
        let keep = many * 2;
        if estimated.len() > keep {
            estimated.select_nth_unstable_by(keep, |a, b| b.cmp(a));
            estimated.truncate(keep);
        }
        for Estimate(cosine, cell) in &mut estimated {
            *cosine = self.centres.cosine(probe, at(*cell));
        }
        estimated.sort_unstable_by(|a, b| b.cmp(a));
        estimated.truncate(many);
        estimated
            .into_iter()
            .map(|Estimate(_, cell)| cell)
            .collect()
    }

    /// Cells, free ones included.
    pub(crate) fn many(&self) -> usize {
        at(self.rows.count)
    }

    /// The cell whose centre is most similar.
    fn nearest_one(&self, rotated: &[f32]) -> Option<u32> {
        let probe = Probe::of(rotated);
        let near = self.nearest_cells(&probe, NEAR).into_iter();
        near.map(|cell| (self.centres.cosine(&probe, at(cell)), cell))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
            .map(|(_, cell)| cell)
    }

    /// Adds a representative; its slot, and where others go if a cell is split.
    pub(crate) fn insert(&mut self, owner: u32, rotated: &[f32], moved: &mut impl Moved) {
        self.insert_code(owner, rotated, &Code::of(rotated), moved);
    }

    fn insert_code(&mut self, owner: u32, rotated: &[f32], code: &Code, moved: &mut impl Moved) {
        let cell = match self.nearest_one(rotated) {
            Some(cell) => cell,
            None => self.new_cell(code),
        };
        let slot = self.put(cell, owner, code);
        moved(owner, slot);
        if self.cell(cell).count > FULL {
            self.split(cell, moved);
        }
    }

    /// Replaces a representative where it is.
    pub(crate) fn update(&mut self, slot: u32, code: &Code) {
        self.plane.set(at(slot), code);
    }

    /// Takes a representative out; says where others go.
    pub(crate) fn remove(&mut self, slot: u32, moved: &mut impl Moved) {
        let cell = self.home(slot);
        self.take(slot, moved);
        let count = self.cell(cell).count;
        if count == 0 {
            self.give_back(cell);
        } else if count < SPARSE && self.representatives > at(FULL) {
            self.dissolve(cell, moved);
        }
    }

    fn new_cell(&mut self, centre: &Code) -> u32 {
        let next = |cells: &Column, cell| cells.get::<Cell>(cell).head;
        let cell = self.rows.take(&mut self.cells, next);
        *self.edit(cell) = Cell {
            head: NONE,
            count: 0,
        };
        self.centres.reach(at(cell) / BLOCK);
        self.centres.set(at(cell), centre);
        cell
    }

    fn give_back(&mut self, cell: u32) {
        debug_assert_eq!(self.cell(cell).count, 0);
        self.edit(cell).head = self.rows.give_back(cell);
        self.centres.clear(at(cell));
    }

    fn put(&mut self, cell: u32, owner: u32, code: &Code) -> u32 {
        let Cell { head, count } = *self.cell(cell);
        let lane = count % row(BLOCK);
        let block = if lane == 0 {
            let block = self.blocks.take(WHOLE) / row(BLOCK);
            self.plane.reach(at(block));
            self.owners.reach(at(block));
            self.homes.reach(at(block));
            *self.homes.get_mut(at(block)) = cell;
            self.blocks.set_next(block, head);
            self.edit(cell).head = block;
            block
        } else {
            head
        };
        let slot = block * row(BLOCK) + lane;
        self.plane.set(at(slot), code);
        self.set_owner(slot, owner);
        self.edit(cell).count += 1;
        self.representatives += 1;
        slot
    }

    /// Takes a slot out of its cell; the cell's last representative fills the hole.
    fn take(&mut self, slot: u32, moved: &mut impl Moved) {
        let cell = self.home(slot);
        let Cell { head, count } = *self.cell(cell);
        let lane = (count - 1) % row(BLOCK);
        let last = head * row(BLOCK) + lane;
        if last != slot {
            let (code, owner) = (self.plane.code(at(last)), self.owner(last));
            self.plane.set(at(slot), &code);
            self.set_owner(slot, owner);
            moved(owner, slot);
        }
        self.plane.clear(at(last));
        if lane == 0 {
            self.edit(cell).head = self.blocks.get(head).next;
            self.blocks.give_back(head * row(BLOCK), WHOLE);
        }
        self.edit(cell).count -= 1;
        self.representatives -= 1;
    }

    /// Slots of a cell's representatives.
    fn slots_of(&self, cell: u32) -> Vec<u32> {
        let slots = self
            .blocks_of(cell)
            .flat_map(|block| block * BLOCK..(block + 1) * BLOCK);
        slots
            .filter(|slot| self.plane.holds(*slot))
            .map(row)
            .collect()
    }

    /// Spreads a cell's representatives over the others.
    fn dissolve(&mut self, cell: u32, moved: &mut impl Moved) {
        let slots = self.slots_of(cell);
        let members: Vec<(u32, Code)> = slots
            .iter()
            .map(|slot| (self.owner(*slot), self.plane.code(at(*slot))))
            .collect();
        self.empty(cell);
        for (owner, code) in members {
            // The code of what a code says may be another one.
            self.insert_code(owner, &decode(&code), &code, moved);
        }
    }

    fn empty(&mut self, cell: u32) {
        let blocks: Vec<usize> = self.blocks_of(cell).collect();
        self.representatives -= at(self.cell(cell).count);
        for block in blocks {
            for slot in block * BLOCK..(block + 1) * BLOCK {
                self.plane.clear(slot);
            }
            self.blocks.give_back(row(block * BLOCK), WHOLE);
        }
        self.edit(cell).count = 0;
        self.give_back(cell);
    }

    /// Makes two cells of one.
    fn split(&mut self, cell: u32, moved: &mut impl Moved) {
        let slots = self.slots_of(cell);
        let members: Vec<(u32, Code)> = slots
            .iter()
            .map(|slot| (self.owner(*slot), self.plane.code(at(*slot))))
            .collect();
        let vectors: Vec<Vec<f32>> = members.iter().map(|(_, code)| decode(code)).collect();
        let (sides, centres) = two_means(&vectors, HALF_MIN);
        self.empty(cell);
        let cells = centres.map(|centre| self.new_cell(&Code::of(&centre)));
        for ((owner, code), side) in members.into_iter().zip(sides) {
            let slot = self.put(cells[usize::from(side)], owner, &code);
            moved(owner, slot);
        }
    }
}

/// A vector as its code says it.
pub(crate) fn decode(code: &Code) -> Vec<f32> {
    code.values
        .iter()
        .map(|value| f32::from(*value) * code.step)
        .collect()
}
