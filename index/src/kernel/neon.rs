//! NEON, 16 bytes at a time. Every 64-bit ARM processor that runs an operating system has it.

use std::arch::{
    aarch64::{
        float32x4_t, int8x16_t, int16x8_t, uint8x16_t, uint16x8_t, vaddq_f32, vaddq_s32, vaddq_u8,
        vaddvq_s32, vaddvq_u32, vaddw_high_u8, vaddw_u8, vandq_u8, vandq_u32, vcgtq_f32,
        vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, vdupq_n_u16, vget_low_s8,
        vget_low_s16, vget_low_u8, vget_low_u16, vld1q_f32, vld1q_s8, vld1q_s16, vld1q_u8,
        vld1q_u32, vmlal_high_s16, vmlal_s16, vmovl_high_s8, vmovl_high_u16, vmovl_s8, vmovl_u16,
        vmulq_f32, vqtbl1q_u8, vshrq_n_u8, vst1q_f32,
    },
    asm, is_aarch64_feature_detected,
};

use super::{BLOCK, Table};

/// Proof that this CPU has NEON: only [`Neon::detect`] can make one.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The proof, where it holds.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[inline]
    pub(super) fn dot_codes(self, code: &[i8], query: &[i16]) -> i32 {
        // SAFETY: `self` exists, so `detect` has seen NEON on this CPU.
        unsafe { dot_codes(code, query) }
    }

    #[inline]
    pub(super) fn scan(
        self,
        block: &[u8],
        scales: &[f32; BLOCK],
        table: Table<'_>,
        floor: f32,
        estimates: &mut [f32; BLOCK],
    ) -> u32 {
        // SAFETY: `self` exists, so `detect` has seen NEON on this CPU.
        unsafe { scan(block, scales, table, floor, estimates) }
    }
}

/// Asks for the lines of `bytes`.
#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: a prefetch reads nothing that the program sees, writes nothing and never faults.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) line.as_ptr(), options(nostack, preserves_flags));
        }
    }
}

#[target_feature(enable = "neon")]
fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    let (codes, _) = code.as_chunks::<16>();
    let (queries, _) = query.as_chunks::<8>();
    let (queries, _) = queries.as_chunks::<2>();
    for (code, [low_query, high_query]) in codes.iter().zip(queries) {
        let code = load_i8(code);
        let (low, high) = (vmovl_s8(vget_low_s8(code)), vmovl_high_s8(code));
        let (low_query, high_query) = (load_i16(low_query), load_i16(high_query));
        sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(low_query));
        sums[1] = vmlal_high_s16(sums[1], low, low_query);
        sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(high_query));
        sums[3] = vmlal_high_s16(sums[3], high, high_query);
    }
    let (low, high) = (vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3]));
    vaddvq_s32(vaddq_s32(low, high))
}

#[target_feature(enable = "neon")]
fn scan(
    block: &[u8],
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let mut totals = [vdupq_n_u16(0); 4];
    add_groups(&mut totals, block, table.entries);
    let (step, base) = (vdupq_n_f32(table.step), vdupq_n_f32(table.base));
    let floor = vdupq_n_f32(floor);
    // SAFETY: the reference, to a constant, says that 16 bytes can be read.
    let bits = unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) };
    let (scales, _) = scales.as_chunks::<4>();
    let mut all = [vdupq_n_f32(0.0); 8];
    let mut above = 0;
    for (number, scales) in scales.iter().enumerate() {
        let total = totals[number / 2];
        let sums = if number % 2 == 0 {
            vmovl_u16(vget_low_u16(total))
        } else {
            vmovl_high_u16(total)
        };
        // No fused multiplication and addition: it rounds once, the twins twice.
        let products = vaddq_f32(vmulq_f32(vcvtq_f32_u32(sums), step), base);
        all[number] = vmulq_f32(products, load_f32(scales));
        let mask = vaddvq_u32(vandq_u32(vcgtq_f32(all[number], floor), bits));
        above |= mask << (number * 4);
    }
    if above != 0 {
        let (estimates, _) = estimates.as_chunks_mut::<4>();
        for (estimates, four) in estimates.iter_mut().zip(all) {
            store_f32(estimates, four);
        }
    }
    above
}

/// Adds what the groups of `block` select of `entries` to `totals`, eight vectors in each.
#[inline]
#[target_feature(enable = "neon")]
fn add_groups(totals: &mut [uint16x8_t; 4], block: &[u8], entries: &[u8]) {
    let nibble = vdupq_n_u8(15);
    // Eight groups at a time: eight entries of at most 31 are added to a byte.
    let (blocks, _) = block.as_chunks::<128>();
    let (tables, _) = entries.as_chunks::<128>();
    for (block, entries) in blocks.iter().zip(tables) {
        let mut bytes = [vdupq_n_u8(0); 2];
        let (groups, _) = block.as_chunks::<16>();
        let (entries, _) = entries.as_chunks::<16>();
        for (codes, entries) in groups.iter().zip(entries) {
            let (codes, entries) = (load_u8(codes), load_u8(entries));
            let (low, high) = (vandq_u8(codes, nibble), vshrq_n_u8::<4>(codes));
            bytes[0] = vaddq_u8(bytes[0], vqtbl1q_u8(entries, low));
            bytes[1] = vaddq_u8(bytes[1], vqtbl1q_u8(entries, high));
        }
        for (totals, bytes) in totals.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            totals[0] = vaddw_u8(totals[0], vget_low_u8(bytes));
            totals[1] = vaddw_high_u8(totals[1], bytes);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_i8(values: &[i8; 16]) -> int8x16_t {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { vld1q_s8(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_u8(values: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { vld1q_u8(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_i16(values: &[i16; 8]) -> int16x8_t {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { vld1q_s16(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_f32(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { vld1q_f32(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_f32(values: &mut [f32; 4], from: float32x4_t) {
    // SAFETY: the reference says that 16 bytes can be written.
    unsafe { vst1q_f32(values.as_mut_ptr(), from) }
}
