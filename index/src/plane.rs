//! Encoded vectors in blocks of 32: sketches of a block lie interleaved, so that one pass of the
//! kernel estimates all of them.

use std::cmp::Ordering;

use crate::{
    blocks::{BLOCKS_MAX, at, row},
    code::{Code, Probe},
    column::Column,
    kernel::{self, BLOCK},
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
    /// By block: a group of 16 bytes for every four values, then 32 scales.
    sketches: Column,
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
    /// No vectors, of `padded` values each. Sketches are hot, and codes if so said.
    pub(crate) fn new(padded: usize, hot_codes: bool) -> Self {
        let floats = BLOCK * FLOAT;
        let codes = Column::new(padded * BLOCK + floats);
        Self {
            padded,
            sketches: Column::new(padded / 4 * GROUP + floats).hot(),
            codes: if hot_codes { codes.hot() } else { codes },
            widest: 0.0,
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.sketches);
        parts.save(&self.codes);
        parts.number(self.widest.to_bits());
    }

    /// The saved vectors of a plane like this one.
    pub(crate) fn load(self, parts: &mut PartsReader) -> Option<Self> {
        let plane = Self {
            padded: self.padded,
            sketches: parts.column(self.sketches)?,
            codes: parts.column(self.codes)?,
            widest: f32::from_bits(parts.number()?),
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
        self.codes.rows().min(self.sketches.rows())
    }

    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.sketches.bytes(), self.codes.bytes())
    }

    /// The largest scale of a sketch here.
    pub(crate) fn widest(&self) -> f32 {
        self.widest
    }

    /// Makes room for `block`; new slots have no vector.
    pub(crate) fn reach(&mut self, block: usize) {
        let before = self.blocks();
        self.sketches.reach(block);
        self.codes.reach(block);
        for block in before..self.blocks() {
            self.scales_mut(block).fill(f32::NAN);
        }
    }

    fn groups(&self) -> usize {
        self.padded / 4 * GROUP
    }

    fn scales(&self, block: usize) -> &[f32; BLOCK] {
        let floats: &[f32] = bytemuck::cast_slice(&self.sketches.row(block)[self.groups()..]);
        floats.first_chunk().expect("a row ends with its scales")
    }

    fn scales_mut(&mut self, block: usize) -> &mut [f32] {
        let start = self.groups();
        bytemuck::cast_slice_mut(&mut self.sketches.row_mut(block)[start..])
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
        let groups = self.groups();
        let (bytes, scales) = self.sketches.row_mut(block).split_at_mut(groups);
        let (at, shift) = (lane % GROUP, lane / GROUP * 4);
        for (byte, nibble) in bytes.iter_mut().skip(at).step_by(GROUP).zip(nibbles) {
            *byte = *byte & !(15 << shift) | nibble << shift;
        }
        bytemuck::cast_slice_mut::<u8, f32>(scales)[lane] = scale;
    }

    /// Takes the vector out of a slot.
    pub(crate) fn clear(&mut self, slot: usize) {
        self.scales_mut(slot / BLOCK)[slot % BLOCK] = f32::NAN;
    }

    /// Is there a vector?
    pub(crate) fn holds(&self, slot: usize) -> bool {
        !self.scale(slot).is_nan()
    }

    pub(crate) fn scale(&self, slot: usize) -> f32 {
        self.scales(slot / BLOCK)[slot % BLOCK]
    }

    /// The vector of a slot, as it is stored.
    pub(crate) fn code(&self, slot: usize) -> Code {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let bytes = self.sketches.row(block)[..self.groups()].iter();
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

    /// Asks for a block's sketches before they are needed. Of a plane that the caches hold, the
    /// beginning is enough: the processor itself sees to the rest.
    #[inline]
    pub(crate) fn prefetch_block(&self, block: usize) {
        let bytes = if self.blocks() <= BLOCKS_CACHED {
            BLOCK_AHEAD_BYTES.min(self.groups())
        } else {
            self.groups()
        };
        kernel::prefetch(&self.sketches.row(block)[..bytes]);
    }

    /// Estimates the cosines of a query to those of a block's vectors that are in `slots`, a bit
    /// mask, and gives those above `floor`, the lowest slot first.
    #[inline]
    pub(crate) fn above(
        &self,
        probe: &Probe,
        block: usize,
        slots: u32,
        floor: f32,
    ) -> impl Iterator<Item = Estimate> + use<> {
        let (groups, scales) = self.sketches.row(block).split_at(self.groups());
        let scales: &[f32] = bytemuck::cast_slice(scales);
        let scales = scales.first_chunk().expect("a row ends with its scales");
        let mut estimates = [0.0; BLOCK];
        let above = kernel::scan(groups, scales, probe.table(), floor, &mut estimates);
        let first = block * BLOCK;
        lanes(above & slots).map(move |lane| Estimate(estimates[lane], row(first + lane)))
    }

    /// Estimates of all there are.
    pub(crate) fn all(&self, probe: &Probe) -> impl Iterator<Item = Estimate> {
        let everything = |block| self.above(probe, block, u32::MAX, f32::NEG_INFINITY);
        (0..self.blocks()).flat_map(everything)
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
