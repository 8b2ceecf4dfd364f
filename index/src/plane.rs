//! Encoded vectors in blocks of 32: sketches of a block lie interleaved, so that one pass of the
//! kernel estimates all of them.

use std::cmp::Ordering;

use crate::{
    blocks::{BLOCKS_MAX, at, row},
    code::{Bars, Code, Probe},
    column::Column,
    kernel::{self, BLOCK, Bar, Sums},
    sound::sound,
    store::{Parts, PartsReader},
};

/// Bytes of a group of nibbles in a block.
const GROUP: usize = BLOCK / 2;
const FLOAT: usize = size_of::<f32>();
/// Codes asked for ahead of their use.
const CODES_AHEAD: usize = 8;
/// Blocks that the caches may hold; 1024 of 512 values are 2 MiB.
const BLOCKS_CACHED: usize = 1024;
/// Bytes of such a block that are asked for ahead.
const BLOCK_AHEAD_BYTES: usize = 512;

/// Sketches and codes by slot. A slot without a vector estimates as NaN and is never found.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    padded: usize,
    /// Groups of a block's head.
    head: usize,
    /// By block: 16 bytes for each group of four values, of the head; then, if the head is everything, 32
    /// scales.
    heads: Column,
    /// By block: the other groups, then 32 scales. Where many blocks are looked at, heads lie together:
    /// they are often all that is read.
    tails: Option<Column>,
    /// By block: 32 codes, then 32 steps.
    codes: Column,
    /// The largest scale there ever was: the widest error of a sketch here.
    widest: f32,
}

/// An estimated cosine and its slot, in the order of estimates; ties go to the lower slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate(pub(crate) f32, pub(crate) u32);

impl Eq for Estimate {}

impl PartialOrd for Estimate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Estimate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .total_cmp(&other.0)
            .then_with(|| other.1.cmp(&self.1))
    }
}

impl Plane {
    /// No vectors, of `padded` values each. Sketches are hot.
    pub(crate) fn new(padded: usize) -> Self {
        let floats = BLOCK * FLOAT;
        let groups = padded / 4;
        Self {
            padded,
            head: groups,
            heads: Column::new(groups * GROUP + floats).hot(),
            tails: None,
            codes: Column::new(padded * BLOCK + floats),
            widest: 0.0,
        }
    }

    /// The same, but codes are hot too.
    pub(crate) fn with_hot_codes(self) -> Self {
        Self {
            codes: self.codes.hot(),
            ..self
        }
    }

    /// The same, but the heads of blocks lie together.
    pub(crate) fn with_heads(self) -> Self {
        let groups = self.padded / 4;
        let head = kernel::head(groups);
        let rest = (groups - head) * GROUP + BLOCK * FLOAT;
        Self {
            head,
            heads: Column::new(head * GROUP).hot(),
            tails: Some(Column::new(rest).hot()),
            ..self
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.heads);
        self.tails.iter().for_each(|tails| parts.save(tails));
        parts.save(&self.codes);
        parts.number(self.widest.to_bits());
    }

    /// The saved vectors of a plane like this one.
    pub(crate) fn load(self, parts: &mut PartsReader) -> Option<Self> {
        let plane = Self {
            heads: parts.column(self.heads)?,
            tails: match self.tails {
                Some(tails) => Some(parts.column(tails)?),
                None => None,
            },
            codes: parts.column(self.codes)?,
            widest: f32::from_bits(parts.number()?),
            ..self
        };
        let fits = plane.blocks() <= BLOCKS_MAX && plane.widest.is_finite();
        fits.then_some(plane)
    }

    /// Checks that there are vectors in the slots that `holds` names and in no others, and that
    /// nothing computed from one can be without bounds.
    pub(crate) fn check(&self, holds: impl Fn(u32) -> bool) -> Result<(), String> {
        for slot in 0..self.blocks() * BLOCK {
            let scale = self.scale(slot);
            // Written so that NaN fails.
            let fits = if holds(row(slot)) {
                let (_, step) = self.values(slot);
                scale > 0.0 && scale <= self.widest && step > 0.0 && step <= 1.0
            } else {
                scale.is_nan()
            };
            sound(fits, || format!("slot {slot} has scale {scale}"))?;
        }
        Ok(())
    }

    pub(crate) fn padded(&self) -> usize {
        self.padded
    }

    pub(crate) fn blocks(&self) -> usize {
        let rows = self.codes.rows().min(self.heads.rows());
        self.tails
            .as_ref()
            .map_or(rows, |tails| rows.min(tails.rows()))
    }

    pub(crate) fn bytes(&self) -> (usize, usize) {
        let tails = self.tails.as_ref().map_or(0, Column::bytes);
        (self.heads.bytes() + tails, self.codes.bytes())
    }

    /// The largest scale of a sketch here.
    pub(crate) fn widest(&self) -> f32 {
        self.widest
    }

    /// Makes bars for a query here, as [`Probe::bars`].
    pub(crate) fn bars(&self, probe: &Probe, deviations: f32) -> Bars {
        probe.bars(self.widest, self.head, deviations)
    }

    /// Makes room for `block`; new slots have no vector.
    pub(crate) fn reach(&mut self, block: usize) {
        let before = self.blocks();
        self.heads.reach(block);
        self.tails.iter_mut().for_each(|tails| tails.reach(block));
        self.codes.reach(block);
        for block in before..self.blocks() {
            self.scales_mut(block).fill(f32::NAN);
        }
    }

    /// Bytes of a block's head.
    fn head_bytes(&self) -> usize {
        self.head * GROUP
    }

    /// The other groups of a block, and its scales.
    #[inline]
    fn tail(&self, block: usize) -> (&[u8], &[f32; BLOCK]) {
        let tail = match &self.tails {
            Some(tails) => tails.row(block),
            None => &self.heads.row(block)[self.head_bytes()..],
        };
        let (rest, scales) = tail.split_at((self.padded / 4 - self.head) * GROUP);
        let scales = bytemuck::cast_slice::<u8, f32>(scales).first_chunk();
        (rest, scales.expect("a row ends with its scales"))
    }

    fn scales_mut(&mut self, block: usize) -> &mut [f32] {
        let row = self
            .tails
            .as_mut()
            .unwrap_or(&mut self.heads)
            .row_mut(block);
        let start = row.len() - BLOCK * FLOAT;
        bytemuck::cast_slice_mut(&mut row[start..])
    }

    /// Puts a vector into a slot.
    pub(crate) fn set(&mut self, slot: usize, code: &Code) {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        self.write_sketch(block, lane, code.nibbles.iter().copied(), code.scale);
        let padded = self.padded;
        let row = self.codes.row_mut(block);
        let (codes, steps) = row.split_at_mut(padded * BLOCK);
        let values: &mut [i8] = bytemuck::cast_slice_mut(&mut codes[lane * padded..][..padded]);
        values.copy_from_slice(&code.values);
        bytemuck::cast_slice_mut::<u8, f32>(steps)[lane] = code.step;
        self.widest = self.widest.max(code.scale);
    }

    fn write_sketch(
        &mut self,
        block: usize,
        lane: usize,
        nibbles: impl Iterator<Item = u8>,
        scale: f32,
    ) {
        let (at, shift) = (lane % GROUP, lane / GROUP * 4);
        let head = self.head_bytes();
        let head = self.heads.row_mut(block)[..head].iter_mut();
        let tails = self.tails.as_mut().map(|tails| tails.row_mut(block));
        let bytes = head.chain(tails.into_iter().flatten());
        // Scales come after the last group, and there is no nibble for them.
        for (byte, nibble) in bytes.skip(at).step_by(GROUP).zip(nibbles) {
            *byte = *byte & !(15 << shift) | nibble << shift;
        }
        self.scales_mut(block)[lane] = scale;
    }

    /// Takes the vector out of a slot: nothing is left of it.
    pub(crate) fn clear(&mut self, slot: usize) {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let nothing = std::iter::repeat_n(0, self.padded / 4);
        self.write_sketch(block, lane, nothing, f32::NAN);
        let padded = self.padded;
        let row = self.codes.row_mut(block);
        let (codes, steps) = row.split_at_mut(padded * BLOCK);
        codes[lane * padded..][..padded].fill(0);
        bytemuck::cast_slice_mut::<u8, f32>(steps)[lane] = 0.0;
    }

    /// Is there a vector?
    pub(crate) fn holds(&self, slot: usize) -> bool {
        !self.scale(slot).is_nan()
    }

    pub(crate) fn scale(&self, slot: usize) -> f32 {
        self.tail(slot / BLOCK).1[slot % BLOCK]
    }

    /// The vector of a slot, as it is stored.
    pub(crate) fn code(&self, slot: usize) -> Code {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let head = &self.heads.row(block)[..self.head_bytes()];
        let bytes = head.iter().chain(self.tail(block).0);
        let shift = lane / GROUP * 4;
        let nibbles = bytes.skip(lane % GROUP).step_by(GROUP);
        let (values, step) = self.values(slot);
        Code {
            nibbles: nibbles.map(|byte| byte >> shift & 15).collect(),
            scale: self.scale(slot),
            values: values.to_vec(),
            step,
        }
    }

    /// The 8-bit values of a slot and their step.
    #[inline]
    pub(crate) fn values(&self, slot: usize) -> (&[i8], f32) {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let (codes, steps) = self.codes.row(block).split_at(self.padded * BLOCK);
        let values = bytemuck::cast_slice(&codes[lane * self.padded..][..self.padded]);
        (values, bytemuck::cast_slice::<u8, f32>(steps)[lane])
    }

    /// Cosine of a query to the vector of a slot, by its 8-bit code.
    #[inline]
    pub(crate) fn cosine(&self, probe: &Probe, slot: usize) -> f32 {
        let (values, step) = self.values(slot);
        probe.cosine(values, step)
    }

    /// The same slots, each with its code, and what `more` asks for, asked for some time before its
    /// turn.
    pub(crate) fn in_turn(
        &self,
        slots: &[Estimate],
        more: impl Fn(u32),
    ) -> impl Iterator<Item = Estimate> {
        let prefetch = move |slot: u32| {
            let (row, lane) = (self.codes.row(at(slot) / BLOCK), at(slot) % BLOCK);
            kernel::prefetch(&row[lane * self.padded..][..self.padded]);
            kernel::prefetch(&row[self.padded * BLOCK + lane * FLOAT..][..FLOAT]);
            more(slot);
        };
        for Estimate(_, slot) in slots.iter().take(CODES_AHEAD) {
            prefetch(*slot);
        }
        slots.iter().enumerate().map(move |(number, estimate)| {
            if let Some(Estimate(_, ahead)) = slots.get(number + CODES_AHEAD) {
                prefetch(*ahead);
            }
            *estimate
        })
    }

    /// Asks for a block's head before it is needed. Of a plane that the caches hold, the beginning is
    /// enough: the processor itself sees to the rest.
    #[inline]
    pub(crate) fn prefetch_block(&self, block: usize) {
        let cached = self.blocks() <= BLOCKS_CACHED;
        let most = if cached {
            BLOCK_AHEAD_BYTES
        } else {
            usize::MAX
        };
        kernel::prefetch(&self.heads.row(block)[..self.head_bytes().min(most)]);
    }

    /// Bytes of a block's sketches and scales, or of its head alone.
    pub(crate) fn block_bytes(&self, whole: bool) -> usize {
        if whole {
            self.padded / 4 * GROUP + BLOCK * FLOAT
        } else {
            self.head_bytes()
        }
    }

    /// Estimates the cosines of a query to those of a block's vectors that are in `slots`, a bit
    /// mask, and gives those above `bar`, the lowest slot first. False if no head reaches the bar: the
    /// rest was not read.
    #[inline]
    pub(crate) fn above(
        &self,
        probe: &Probe,
        block: usize,
        slots: u32,
        bar: Bar,
        take: impl FnMut(Estimate),
    ) -> bool {
        let mut sums = [[0; BLOCK]];
        let head = &self.heads.row(block)[..self.head_bytes()];
        let reached = self.heads_reach(head, probe, 1, bar, &mut sums);
        if reached != 0 {
            self.rest_above(probe, block, slots, bar, &mut sums[0], take);
        }
        reached != 0
    }

    /// The heads of some blocks at once, as many as [`Self::heads_together`], from the first on.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &[u8]> {
        self.heads.rows_by_page()
    }

    /// How many heads lie together: a power of two, 64 at most.
    pub(crate) fn heads_together(&self) -> usize {
        self.heads.page_rows()
    }

    /// Which of the `wanted` ones, a bit mask, of those heads reach the bar, and their sums; those of
    /// others hold anything.
    #[inline]
    pub(crate) fn heads_reach(
        &self,
        heads: &[u8],
        probe: &Probe,
        wanted: u64,
        bar: Bar,
        sums: &mut [Sums],
    ) -> u64 {
        let entries = &probe.table().entries[..self.head_bytes()];
        kernel::heads(heads, entries, bar.head, wanted, sums)
    }

    /// As [`Self::above`], of a block whose head has these sums; the others are added.
    #[inline]
    pub(crate) fn rest_above(
        &self,
        probe: &Probe,
        block: usize,
        slots: u32,
        bar: Bar,
        sums: &mut Sums,
        mut take: impl FnMut(Estimate),
    ) {
        let table = probe.table();
        let (rest, scales) = self.tail(block);
        if !rest.is_empty() {
            kernel::add(rest, &table.entries[self.head_bytes()..], sums);
        }
        let mut estimates = [0.0; BLOCK];
        let above = kernel::estimate(sums, scales, table, bar.floor, &mut estimates);
        let first = block * BLOCK;
        lanes(above & slots).for_each(|lane| take(Estimate(estimates[lane], row(first + lane))));
    }

    /// Estimates of all there are.
    pub(crate) fn all(&self, probe: &Probe) -> Vec<Estimate> {
        let mut all = Vec::with_capacity(self.blocks() * BLOCK);
        for block in 0..self.blocks() {
            self.above(probe, block, u32::MAX, Bar::NONE, |one| all.push(one));
        }
        all
    }
}

/// The positions of the set bits, lowest first.
fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(lane)
    })
}
