//! AVX2, 32 bytes at a time. For x86-64 processors since 2013 (Intel) and 2015 (AMD).

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_GT_OQ, _MM_HINT_T0, _mm_add_epi32, _mm_cvtsi128_si32,
    _mm_loadu_si128, _mm_prefetch, _mm_shuffle_epi32, _mm256_add_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cmpeq_epi16, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_min_epu16, _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_subs_epu16,
};

use super::{
    BLOCK, Sums, Table,
    set::{kernels, proven},
};

/// Proof that this CPU has AVX2: only [`Avx2::detect`] can make one.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The proof, where it holds.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

kernels!(Avx2, proven);

/// Asks for the lines of `bytes`.
#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: a prefetch reads nothing that the program sees; every x86-64 CPU has SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_16(bytes: &[i8; 16]) -> __m128i {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_32<T>(values: &[T]) -> __m256i {
    assert!(size_of_val(values) >= 32, "a load of 32 bytes");
    // SAFETY: the slice has at least 32 bytes, asserted above.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let (codes, _) = code.as_chunks::<32>();
    let (queries, _) = query.as_chunks::<32>();
    for (code, query) in codes.iter().zip(queries) {
        let (low, high) = code.split_at(16);
        let low: &[i8; 16] = low.try_into().expect("half of 32");
        let high: &[i8; 16] = high.try_into().expect("half of 32");
        let low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(load_16(low)), load_32(&query[..16]));
        let high = _mm256_madd_epi16(_mm256_cvtepi8_epi16(load_16(high)), load_32(&query[16..]));
        sums[0] = _mm256_add_epi32(sums[0], low);
        sums[1] = _mm256_add_epi32(sums[1], high);
    }
    let both = _mm256_add_epi32(sums[0], sums[1]);
    let half = _mm_add_epi32(
        _mm256_castsi256_si128(both),
        _mm256_extracti128_si256::<1>(both),
    );
    let half = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(
        half,
        _mm_shuffle_epi32::<0b00_00_00_01>(half),
    ))
}

/// The sums of 16 byte counters in each half, as 16 wider ones.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(counters: __m256i) -> __m256i {
    _mm256_add_epi16(
        _mm256_cvtepu8_epi16(_mm256_castsi256_si128(counters)),
        _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(counters)),
    )
}

/// Adds the entries that a block's nibbles select to the sums of its vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn added(groups: &[u8], entries: &[u8], mut totals: [__m256i; 2]) -> [__m256i; 2] {
    let nibble = _mm256_set1_epi8(15);
    // 16 groups at a time, two in each register: eight entries of at most 31 are added to a byte.
    let (blocks, _) = groups.as_chunks::<256>();
    let (tables, _) = entries.as_chunks::<256>();
    for (block, table) in blocks.iter().zip(tables) {
        let mut bytes = [_mm256_setzero_si256(); 2];
        for pair in 0..8 {
            let codes = load_32(&block[pair * 32..][..32]);
            let entries = load_32(&table[pair * 32..][..32]);
            let low = _mm256_and_si256(codes, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
            bytes[0] = _mm256_add_epi8(bytes[0], _mm256_shuffle_epi8(entries, low));
            bytes[1] = _mm256_add_epi8(bytes[1], _mm256_shuffle_epi8(entries, high));
        }
        totals[0] = _mm256_add_epi16(totals[0], widen(bytes[0]));
        totals[1] = _mm256_add_epi16(totals[1], widen(bytes[1]));
    }
    totals
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: &mut Sums, totals: [__m256i; 2]) {
    let (halves, _) = sums.as_chunks_mut::<16>();
    for (half, total) in halves.iter_mut().zip(totals) {
        store_16(half, total);
    }
}

#[target_feature(enable = "avx2")]
fn heads(blocks: &[u8], entries: &[u8], least: u16, wanted: u64, sums: &mut [Sums]) -> u64 {
    let mut reached = 0;
    let zero = _mm256_setzero_si256();
    let least = _mm256_set1_epi16(least.cast_signed());
    let blocks = blocks.chunks_exact(entries.len().max(1));
    for (number, (block, sums)) in blocks.zip(sums).enumerate() {
        if wanted >> number & 1 == 0 {
            continue;
        }
        let totals = added(block, entries, [zero; 2]);
        // What a sum lacks, 0 if nothing.
        let lacks = totals.map(|total| _mm256_subs_epu16(least, total));
        let fewest = _mm256_min_epu16(lacks[0], lacks[1]);
        if _mm256_movemask_epi8(_mm256_cmpeq_epi16(fewest, zero)) != 0 {
            store(sums, totals);
            reached |= 1 << number;
        }
    }
    reached
}

#[target_feature(enable = "avx2")]
fn add(groups: &[u8], entries: &[u8], sums: &mut Sums) {
    let before = [load_32(&sums[..16]), load_32(&sums[16..])];
    store(sums, added(groups, entries, before));
}

#[target_feature(enable = "avx2")]
fn estimate(
    sums: &Sums,
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let (step, base) = (_mm256_set1_ps(table.step), _mm256_set1_ps(table.base));
    let floor = _mm256_set1_ps(floor);
    let (scales, _) = scales.as_chunks::<8>();
    let mut all = [_mm256_setzero_ps(); 4];
    let mut above = 0;
    let (eights, _) = sums.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let sums = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(load_8_sums(eight)));
        let products = _mm256_add_ps(_mm256_mul_ps(sums, step), base);
        let eight = _mm256_mul_ps(products, load_8(&scales[number]));
        let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(eight, floor));
        above |= mask.cast_unsigned() << (number * 8);
        all[number] = eight;
    }
    if above != 0 {
        let (estimates, _) = estimates.as_chunks_mut::<8>();
        for (estimates, eight) in estimates.iter_mut().zip(all) {
            store_8(estimates, eight);
        }
    }
    above
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8(values: &[f32; 8]) -> __m256 {
    // SAFETY: the reference says that 32 bytes can be read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8_sums(sums: &[u16; 8]) -> __m128i {
    // SAFETY: the reference says that 16 bytes can be read.
    unsafe { _mm_loadu_si128(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_16(sums: &mut [u16; 16], from: __m256i) {
    // SAFETY: the reference says that 32 bytes can be written.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), from) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_8(values: &mut [f32; 8], from: __m256) {
    // SAFETY: the reference says that 32 bytes can be written.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), from) }
}
