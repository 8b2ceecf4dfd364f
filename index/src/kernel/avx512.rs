//! AVX-512, 64 bytes at a time. For x86-64 processors since 2017 (Intel's servers) and 2022 (AMD).
//!
//! The foundation and its bytes and words (F, BW) are all that is used. Adding products up in one
//! instruction (VNNI) would save every third one of [`Avx512::dot_codes`], which waits for memory.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GT_OQ, _mm256_loadu_si256, _mm512_add_epi8, _mm512_add_epi16,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cmpge_epu16_mask, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi16,
    _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_madd_epi16, _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_set1_epi16,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_i64x2, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{
    BLOCK, Sums, Table,
    set::{kernels, proven},
};

/// Proof that this CPU has AVX-512 F and BW: only [`Avx512::detect`] can make one.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The proof, where it holds.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"))
            .then_some(Self(()))
    }
}

kernels!(Avx512, proven);

#[target_feature(enable = "avx512f,avx512bw")]
fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); 2];
    let (codes, _) = code.as_chunks::<32>();
    let (queries, _) = query.as_chunks::<32>();
    let (codes, _) = codes.as_chunks::<2>();
    let (queries, _) = queries.as_chunks::<2>();
    for (codes, queries) in codes.iter().zip(queries) {
        for half in 0..2 {
            let code = _mm512_cvtepi8_epi16(load_32(&codes[half]));
            let products = _mm512_madd_epi16(code, load_64(&queries[half]));
            sums[half] = _mm512_add_epi32(sums[half], products);
        }
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
}

/// The sums of the entries that a block's nibbles select, of its vectors in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn added(groups: &[u8], entries: &[u8]) -> __m512i {
    let nibble = _mm512_set1_epi8(15);
    // Of vectors 0 to 15 and of 16 to 31, two sums for each, 16 apart.
    let mut totals = [_mm512_setzero_si512(); 2];
    // 16 groups at a time, four in each register: four entries of at most 31 are added to a byte.
    let (blocks, _) = groups.as_chunks::<256>();
    let (tables, _) = entries.as_chunks::<256>();
    for (block, table) in blocks.iter().zip(tables) {
        let mut bytes = [_mm512_setzero_si512(); 2];
        let (fours, _) = block.as_chunks::<64>();
        let (entries, _) = table.as_chunks::<64>();
        for (codes, entries) in fours.iter().zip(entries) {
            let (codes, entries) = (load_64(codes), load_64(entries));
            let low = _mm512_and_si512(codes, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            bytes[0] = _mm512_add_epi8(bytes[0], _mm512_shuffle_epi8(entries, low));
            bytes[1] = _mm512_add_epi8(bytes[1], _mm512_shuffle_epi8(entries, high));
        }
        totals[0] = _mm512_add_epi16(totals[0], widen(bytes[0]));
        totals[1] = _mm512_add_epi16(totals[1], widen(bytes[1]));
    }
    _mm512_add_epi16(
        _mm512_shuffle_i64x2::<0b01_00_01_00>(totals[0], totals[1]),
        _mm512_shuffle_i64x2::<0b11_10_11_10>(totals[0], totals[1]),
    )
}

#[target_feature(enable = "avx512f,avx512bw")]
fn heads(blocks: &[u8], entries: &[u8], least: u16, wanted: u64, sums: &mut [Sums]) -> u64 {
    let mut reached = 0;
    let least = _mm512_set1_epi16(least.cast_signed());
    let blocks = blocks.chunks_exact(entries.len().max(1));
    for (number, (block, sums)) in blocks.zip(sums).enumerate() {
        if wanted >> number & 1 == 0 {
            continue;
        }
        let totals = added(block, entries);
        if _mm512_cmpge_epu16_mask(totals, least) != 0 {
            store_sums(sums, totals);
            reached |= 1 << number;
        }
    }
    reached
}

#[target_feature(enable = "avx512f,avx512bw")]
fn add(groups: &[u8], entries: &[u8], sums: &mut Sums) {
    let totals = _mm512_add_epi16(load_64(sums), added(groups, entries));
    store_sums(sums, totals);
}

#[target_feature(enable = "avx512f,avx512bw")]
fn estimate(
    sums: &Sums,
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let (step, base) = (_mm512_set1_ps(table.step), _mm512_set1_ps(table.base));
    let floor = _mm512_set1_ps(floor);
    let (scales, _) = scales.as_chunks::<16>();
    let (halves, _) = sums.as_chunks::<16>();
    let mut all = [_mm512_setzero_ps(); 2];
    let mut above = 0;
    for (number, half) in halves.iter().enumerate() {
        let sums = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(load_32(half)));
        let products = _mm512_add_ps(_mm512_mul_ps(sums, step), base);
        all[number] = _mm512_mul_ps(products, load_16(&scales[number]));
        let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(all[number], floor);
        above |= u32::from(mask) << (number * 16);
    }
    if above != 0 {
        let (estimates, _) = estimates.as_chunks_mut::<16>();
        for (estimates, half) in estimates.iter_mut().zip(all) {
            store_16(estimates, half);
        }
    }
    above
}

/// The sums of the byte counters of both halves, as 32 wider ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(counters: __m512i) -> __m512i {
    _mm512_add_epi16(
        _mm512_cvtepu8_epi16(_mm512_castsi512_si256(counters)),
        _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(counters)),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_32<T, const N: usize>(values: &[T; N]) -> __m256i {
    const { assert!(size_of::<[T; N]>() == 32, "a load of 32 bytes") };
    // SAFETY: the reference says that 32 bytes can be read, which is its size, asserted above.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_64<T, const N: usize>(values: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == 64, "a load of 64 bytes") };
    // SAFETY: the reference says that 64 bytes can be read, which is its size, asserted above.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_16(values: &[f32; 16]) -> __m512 {
    // SAFETY: the reference says that 64 bytes can be read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_16(values: &mut [f32; 16], from: __m512) {
    // SAFETY: the reference says that 64 bytes can be written.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), from) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums(sums: &mut Sums, from: __m512i) {
    // SAFETY: the reference says that 64 bytes can be written.
    unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), from) }
}
