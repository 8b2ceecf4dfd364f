//! NEON, 16 bytes at a time. Every 64-bit ARM processor that runs an operating system has it.

use std::arch::{
    aarch64::{
        float32x4_t, int8x16_t, int16x8_t, uint8x16_t, uint16x4_t, uint16x8_t, vaddq_f32,
        vaddq_s32, vaddq_u8, vaddvq_s32, vaddvq_u32, vaddw_high_u8, vaddw_u8, vandq_u8, vandq_u32,
        vcgtq_f32, vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, vdupq_n_u16, vget_low_s8,
        vget_low_s16, vget_low_u8, vld1_u16, vld1q_f32, vld1q_s8, vld1q_s16, vld1q_u8, vld1q_u16,
        vld1q_u32, vmaxq_u16, vmaxvq_u16, vmlal_high_s16, vmlal_s16, vmovl_high_s8, vmovl_s8,
        vmovl_u16, vmulq_f32, vqtbl1q_u8, vshrq_n_u8, vst1q_f32, vst1q_u16,
    },
    asm, is_aarch64_feature_detected,
};

use super::{
    BLOCK, Sums, Table,
    set::{kernels, proven},
};

/// Proof that this CPU has NEON: only [`Neon::detect`] can make one.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The proof, where it holds.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

kernels!(Neon, proven);

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

/// Adds the entries that a block's nibbles select to the sums of its vectors, eight in each register.
#[inline]
#[target_feature(enable = "neon")]
fn added(groups: &[u8], entries: &[u8], mut totals: [uint16x8_t; 4]) -> [uint16x8_t; 4] {
    let nibble = vdupq_n_u8(15);
    // Eight groups at a time: eight entries of at most 31 are added to a byte.
    let (blocks, _) = groups.as_chunks::<128>();
    let (tables, _) = entries.as_chunks::<128>();
    for (block, table) in blocks.iter().zip(tables) {
        let mut bytes = [vdupq_n_u8(0); 2];
        let (groups, _) = block.as_chunks::<16>();
        let (entries, _) = table.as_chunks::<16>();
        for (codes, entries) in groups.iter().zip(entries) {
            let (codes, entries) = (load_u8(codes), load_u8(entries));
            let (low, high) = (vandq_u8(codes, nibble), vshrq_n_u8::<4>(codes));
            bytes[0] = vaddq_u8(bytes[0], vqtbl1q_u8(entries, low));
            bytes[1] = vaddq_u8(bytes[1], vqtbl1q_u8(entries, high));
        }
        for (half, bytes) in bytes.into_iter().enumerate() {
            let [low, high] = [half * 2, half * 2 + 1];
            totals[low] = vaddw_u8(totals[low], vget_low_u8(bytes));
            totals[high] = vaddw_high_u8(totals[high], bytes);
        }
    }
    totals
}

#[inline]
#[target_feature(enable = "neon")]
fn store(sums: &mut Sums, totals: [uint16x8_t; 4]) {
    let (eights, _) = sums.as_chunks_mut::<8>();
    for (eight, total) in eights.iter_mut().zip(totals) {
        store_u16(eight, total);
    }
}

#[target_feature(enable = "neon")]
fn heads(blocks: &[u8], entries: &[u8], least: u16, wanted: u64, sums: &mut [Sums]) -> u64 {
    let mut reached = 0;
    let blocks = blocks.chunks_exact(entries.len().max(1));
    for (number, (block, sums)) in blocks.zip(sums).enumerate() {
        if wanted >> number & 1 == 0 {
            continue;
        }
        let totals = added(block, entries, [vdupq_n_u16(0); 4]);
        let (low, high) = (
            vmaxq_u16(totals[0], totals[1]),
            vmaxq_u16(totals[2], totals[3]),
        );
        if vmaxvq_u16(vmaxq_u16(low, high)) >= least {
            store(sums, totals);
            reached |= 1 << number;
        }
    }
    reached
}

#[target_feature(enable = "neon")]
fn add(groups: &[u8], entries: &[u8], sums: &mut Sums) {
    let mut totals = [vdupq_n_u16(0); 4];
    let (eights, _) = sums.as_chunks::<8>();
    for (total, eight) in totals.iter_mut().zip(eights) {
        *total = load_u16(eight);
    }
    store(sums, added(groups, entries, totals));
}

#[target_feature(enable = "neon")]
fn estimate(
    sums: &Sums,
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let (step, base) = (vdupq_n_f32(table.step), vdupq_n_f32(table.base));
    let floor = vdupq_n_f32(floor);
    // SAFETY: the reference, to a constant, says that 16 bytes can be read.
    let bits = unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) };
    let (scales, _) = scales.as_chunks::<4>();
    let (fours, _) = sums.as_chunks::<4>();
    let mut all = [vdupq_n_f32(0.0); 8];
    let mut above = 0;
    for (number, four) in fours.iter().enumerate() {
        let sums = vcvtq_f32_u32(vmovl_u16(load_4_u16(four)));
        // No fused multiplication and addition: it rounds once, the twins twice.
        let products = vaddq_f32(vmulq_f32(sums, step), base);
        all[number] = vmulq_f32(products, load_f32(&scales[number]));
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
fn load_u16(values: &[u16; 8]) -> uint16x8_t {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { vld1q_u16(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_4_u16(values: &[u16; 4]) -> uint16x4_t {
    // SAFETY: the reference says that 8 bytes can be read.
    unsafe { vld1_u16(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_u16(values: &mut [u16; 8], from: uint16x8_t) {
    // SAFETY: the reference says that 16 bytes can be written.
    unsafe { vst1q_u16(values.as_mut_ptr(), from) }
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
