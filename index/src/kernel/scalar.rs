//! The kernels in plain Rust: what the others must equal.

use super::{BLOCK, Table};

pub(super) fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    code.iter()
        .zip(query)
        .map(|(code, query)| i32::from(*code) * i32::from(*query))
        .sum()
}

pub(super) fn scan(
    block: &[u8],
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    let mut sums = [0u16; BLOCK];
    let (groups, _) = block.as_chunks::<16>();
    let (tables, _) = table.entries.as_chunks::<16>();
    let (low_sums, high_sums) = sums.split_at_mut(16);
    for (group, table) in groups.iter().zip(tables) {
        for ((byte, low), high) in group.iter().zip(&mut *low_sums).zip(&mut *high_sums) {
            *low += u16::from(table[usize::from(byte & 15)]);
            *high += u16::from(table[usize::from(byte >> 4)]);
        }
    }
    let mut above = 0;
    for lane in 0..BLOCK {
        let product = f32::from(sums[lane]) * table.step + table.base;
        estimates[lane] = product * scales[lane];
        above |= u32::from(estimates[lane] > floor) << lane;
    }
    above
}
