//! The kernels in plain Rust: what the others must equal.

use super::{BLOCK, Sums, Table};

pub(super) fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    code.iter()
        .zip(query)
        .map(|(code, query)| i32::from(*code) * i32::from(*query))
        .sum()
}

pub(super) fn heads(
    blocks: &[u8],
    entries: &[u8],
    least: u16,
    wanted: u64,
    sums: &mut [Sums],
) -> u64 {
    let mut reached = 0;
    let blocks = blocks.chunks_exact(entries.len().max(1));
    for (number, (block, sums)) in blocks.zip(sums).enumerate() {
        *sums = [0; BLOCK];
        add(block, entries, sums);
        let any = sums.iter().any(|sum| *sum >= least);
        reached |= (u64::from(any) << number) & wanted;
    }
    reached
}

pub(super) fn add(groups: &[u8], entries: &[u8], sums: &mut Sums) {
    let (groups, _) = groups.as_chunks::<16>();
    let (tables, _) = entries.as_chunks::<16>();
    let (low_sums, high_sums) = sums.split_at_mut(16);
    for (group, table) in groups.iter().zip(tables) {
        for ((byte, low), high) in group.iter().zip(&mut *low_sums).zip(&mut *high_sums) {
            *low += u16::from(table[usize::from(byte & 15)]);
            *high += u16::from(table[usize::from(byte >> 4)]);
        }
    }
}

pub(super) fn estimate(
    sums: &Sums,
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let mut above = 0;
    for lane in 0..BLOCK {
        let product = f32::from(sums[lane]) * table.step + table.base;
        estimates[lane] = product * scales[lane];
        above |= u32::from(estimates[lane] > floor) << lane;
    }
    above
}
