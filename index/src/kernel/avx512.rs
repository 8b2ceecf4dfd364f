//! AVX-512, 64 bytes at a time. For x86-64 processors since 2017 (Intel's servers) and 2022 (AMD).
//!
//! The foundation and its bytes and words (F, BW) are all that is used. Adding products up in one
//! instruction (VNNI) would save every third one of [`Avx512::dot_codes`], which waits for memory.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GT_OQ, _mm256_add_epi16, _mm256_loadu_si256, _mm512_add_epi8,
    _mm512_add_epi16, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmp_ps_mask, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi16,
    _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_madd_epi16, _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16,
    _mm512_storeu_ps,
};

use super::{BLOCK, Table};

/// Proof that this CPU has AVX-512 F and BW: only [`Avx512::detect`] can make one.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The proof, where it holds.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"))
            .then_some(Self(()))
    }

    #[inline]
    pub(super) fn dot_codes(self, code: &[i8], query: &[i16]) -> i32 {
        // SAFETY: `self` exists, so `detect` has seen AVX-512 F and BW on this CPU.
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
        // SAFETY: `self` exists, so `detect` has seen AVX-512 F and BW on this CPU.
        unsafe { scan(block, scales, table, floor, estimates) }
    }
}

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

#[target_feature(enable = "avx512f,avx512bw")]
fn scan(
    block: &[u8],
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let mut totals = [_mm512_setzero_si512(); 2];
    add_groups(&mut totals, block, table.entries);
    let (step, base) = (_mm512_set1_ps(table.step), _mm512_set1_ps(table.base));
    let floor = _mm512_set1_ps(floor);
    let (scales, _) = scales.as_chunks::<16>();
    let mut all = [_mm512_setzero_ps(); 2];
    let mut above = 0;
    for (half, total) in totals.into_iter().enumerate() {
        let sums = _mm256_add_epi16(
            _mm512_castsi512_si256(total),
            _mm512_extracti64x4_epi64::<1>(total),
        );
        let sums = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sums));
        let products = _mm512_add_ps(_mm512_mul_ps(sums, step), base);
        all[half] = _mm512_mul_ps(products, load_16(&scales[half]));
        let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(all[half], floor);
        above |= u32::from(mask) << (half * 16);
    }
    if above != 0 {
        let (estimates, _) = estimates.as_chunks_mut::<16>();
        for (estimates, half) in estimates.iter_mut().zip(all) {
            store_16(estimates, half);
        }
    }
    above
}

/// Adds what the groups of `block` select of `entries` to `totals`, of vectors 0 to 15 and of 16 to
/// 31. Each has two sums for every vector, 16 apart, which are to be added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_groups(totals: &mut [__m512i; 2], block: &[u8], entries: &[u8]) {
    let nibble = _mm512_set1_epi8(15);
    // 16 groups at a time, four in each register: four entries of at most 31 are added to a byte.
    let (blocks, _) = block.as_chunks::<256>();
    let (tables, _) = entries.as_chunks::<256>();
    for (block, entries) in blocks.iter().zip(tables) {
        let mut bytes = [_mm512_setzero_si512(); 2];
        let (groups, _) = block.as_chunks::<64>();
        let (entries, _) = entries.as_chunks::<64>();
        for (codes, entries) in groups.iter().zip(entries) {
            let (codes, entries) = (load_64(codes), load_64(entries));
            let low = _mm512_and_si512(codes, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            bytes[0] = _mm512_add_epi8(bytes[0], _mm512_shuffle_epi8(entries, low));
            bytes[1] = _mm512_add_epi8(bytes[1], _mm512_shuffle_epi8(entries, high));
        }
        totals[0] = _mm512_add_epi16(totals[0], widen(bytes[0]));
        totals[1] = _mm512_add_epi16(totals[1], widen(bytes[1]));
    }
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
fn load_32(values: &[i8; 32]) -> __m256i {
    // SAFETY: the reference says that 32 bytes can be read.
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
