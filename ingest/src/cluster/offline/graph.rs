//! Whom is everybody most like? The graph of nearest neighbours.
//!
//! Of few vectors all pairs are looked at. Of many, only those that share a cell: centres are found by a few rounds
//! of k-means on a sample, each vector belongs to the [`Search::cells`] cells whose centres are nearest, and within each
//! cell all pairs are looked at. So a neighbour may be missed; who is one person's comes together later, for groups are
//! compared again as what they have become (see [`super::evidence`]).

use std::cmp::Ordering;

use rayon::prelude::*;

use super::matrix::{Rows, normalise, scan};

/// Up to so many vectors all pairs are looked at.
const EXACT_MAX: usize = 12_000;
/// Vectors of a cell, on average, before they belong to several.
const CELL_ROWS: usize = 256;
/// Vectors of the sample, for each cell.
const SAMPLE_ROWS: usize = 24;
/// Rounds of k-means.
const ROUNDS: usize = 3;
/// Of a cell with more, only those within one part of so many are compared.
const PART_ROWS: usize = 4096;
/// Cells whose pairs are held at once.
const CELLS_AT_ONCE: usize = 64;

/// A neighbour and how similar it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Its row.
    pub row: u32,
    /// The cosine.
    pub cosine: f32,
}

impl Near {
    /// Most similar first; ties go to the lower row.
    fn order(&self, other: &Self) -> Ordering {
        let by_row = self.row.cmp(&other.row);
        other.cosine.total_cmp(&self.cosine).then(by_row)
    }
}

/// Which neighbours are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Neighbours of a row, at most.
    pub k: usize,
    /// Who is less similar is none.
    pub floor: f32,
    /// Cells that a row belongs to: the more, the fewer neighbours are missed.
    pub cells: usize,
}

impl Search {
    /// As many cells as do for one person's faces; half as many do for near-duplicates.
    #[must_use]
    pub fn new(k: usize, floor: f32) -> Self {
        Self { k, floor, cells: 4 }
    }
}

/// For each row its neighbours, most similar first.
#[derive(Clone, Debug)]
pub struct Graph {
    lists: Vec<Vec<Near>>,
}

impl Graph {
    /// The nearest of each of `rows`, which have length 1, as far as they are found; without the row itself.
    ///
    /// Cost: all products up to 12,000 rows. Beyond, about 1,000 a row for the cells, and as many again for each cell
    /// that it belongs to; on all threads of the pool. The same for any number of threads.
    #[must_use]
    pub fn of(rows: Rows<'_>, search: Search) -> Self {
        if rows.len() <= EXACT_MAX {
            return Self::exact(rows, search);
        }
        Self::in_cells(rows, search)
    }

    /// What the neighbours of so many rows take, about: one way, and both ways.
    #[must_use]
    pub fn bytes(rows: usize, k: usize) -> usize {
        rows.saturating_mul(4 * k * size_of::<Near>() + 128)
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The neighbours of a row, most similar first.
    #[must_use]
    pub fn of_row(&self, row: usize) -> &[Near] {
        &self.lists[row]
    }

    /// Each pair that one side holds for a neighbour, on both sides; most similar first.
    #[must_use]
    pub fn both_ways(&self) -> Vec<Vec<Near>> {
        let mut lists = self.lists.clone();
        for (row, list) in self.lists.iter().enumerate() {
            for near in list {
                lists[near.row as usize].push(Near {
                    row: u32_of(row),
                    cosine: near.cosine,
                });
            }
        }
        lists.par_iter_mut().for_each(|list| {
            list.sort_unstable_by(|a, b| a.row.cmp(&b.row).then(b.cosine.total_cmp(&a.cosine)));
            list.dedup_by_key(|near| near.row);
            list.sort_unstable_by(Near::order);
            list.shrink_to_fit();
        });
        lists
    }

    fn exact(rows: Rows<'_>, search: Search) -> Self {
        let found = scan(
            rows,
            rows,
            |_| Nearest::new(search),
            |nearest: &mut Nearest, row, from, cosines| {
                for (at, cosine) in cosines.iter().enumerate() {
                    if *cosine >= nearest.bar && from + at != row {
                        nearest.offer(u32_of(from + at), *cosine);
                    }
                }
            },
        );
        Self {
            lists: found.into_iter().map(Nearest::finish).collect(),
        }
    }

    fn in_cells(rows: Rows<'_>, search: Search) -> Self {
        let cells = cells(rows, search.cells);
        let mut nearest: Vec<Nearest> = Vec::new();
        nearest.resize_with(rows.len(), || Nearest::new(search));
        for some in cells.chunks(CELLS_AT_ONCE) {
            let found: Vec<Vec<(u32, Vec<Near>)>> = some
                .par_iter()
                .flat_map(|cell| cell.par_chunks(PART_ROWS))
                .map(|part| within(rows, part, search))
                .collect();
            for (row, list) in found.into_iter().flatten() {
                let own = &mut nearest[row as usize];
                for near in list {
                    own.offer_once(near);
                }
            }
        }
        let finished = nearest.into_par_iter().map(Nearest::finish);
        Self {
            lists: finished.collect(),
        }
    }
}

/// The nearest of each of these among them.
fn within(rows: Rows<'_>, part: &[u32], search: Search) -> Vec<(u32, Vec<Near>)> {
    let values = rows.gather(part);
    let own = Rows::new(&values, rows.dimension());
    let graph = Graph::exact(own, search);
    let named = part.iter().zip(graph.lists).map(|(row, mut list)| {
        list.iter_mut()
            .for_each(|near| near.row = part[near.row as usize]);
        (*row, list)
    });
    named.collect()
}

/// The members of each cell, ascending.
fn cells(rows: Rows<'_>, each: usize) -> Vec<Vec<u32>> {
    let count = rows.len().div_ceil(CELL_ROWS);
    let centres = centres(rows, count);
    let centres = Rows::new(&centres, rows.dimension());
    let found = scan(
        rows,
        centres,
        |_| Nearest::new(Search::new(each, f32::NEG_INFINITY)),
        |nearest: &mut Nearest, _, from, cosines| {
            for (at, cosine) in cosines.iter().enumerate() {
                if *cosine >= nearest.bar {
                    nearest.offer(u32_of(from + at), *cosine);
                }
            }
        },
    );
    let mut cells = vec![Vec::new(); count];
    for (row, nearest) in found.into_iter().enumerate() {
        for near in nearest.finish() {
            cells[near.row as usize].push(u32_of(row));
        }
    }
    cells
}

/// So many centres, of length 1: k-means by cosine on a sample that is taken evenly.
fn centres(rows: Rows<'_>, count: usize) -> Vec<f32> {
    let dimension = rows.dimension();
    let size = (count * SAMPLE_ROWS).min(rows.len());
    let chosen: Vec<u32> = (0..size).map(|at| u32_of(at * rows.len() / size)).collect();
    let sample = rows.gather(&chosen);
    let sample = Rows::new(&sample, dimension);
    let first: Vec<u32> = (0..count).map(|at| u32_of(at * size / count)).collect();
    let mut centres = sample.gather(&first);
    for _ in 0..ROUNDS {
        let nearest = scan(
            sample,
            Rows::new(&centres, dimension),
            |_| (f32::NEG_INFINITY, 0),
            |best, _, from, cosines| {
                for (at, cosine) in cosines.iter().enumerate() {
                    if *cosine > best.0 {
                        *best = (*cosine, from + at);
                    }
                }
            },
        );
        let mut sums = vec![0.0; centres.len()];
        for (row, (_, cell)) in nearest.iter().enumerate() {
            let sum = &mut sums[cell * dimension..][..dimension];
            sum.iter_mut()
                .zip(sample.row(row))
                .for_each(|(sum, value)| *sum += value);
        }
        // A centre that nobody is nearest to stays where it was.
        let by_row = sums.chunks_exact(dimension).enumerate();
        for (cell, sum) in by_row {
            if sum.iter().any(|value| *value != 0.0) {
                centres[cell * dimension..][..dimension].copy_from_slice(sum);
            }
        }
        normalise(&mut centres, dimension);
    }
    centres
}

/// The best so far.
struct Nearest {
    k: usize,
    floor: f32,
    /// What is below this makes no difference.
    bar: f32,
    found: Vec<Near>,
}

impl Nearest {
    fn new(search: Search) -> Self {
        Self {
            k: search.k,
            floor: search.floor,
            bar: search.floor,
            found: Vec::new(),
        }
    }

    /// Rows are offered once each, or [`Self::offer_once`] is called.
    fn offer(&mut self, row: u32, cosine: f32) {
        self.found.push(Near { row, cosine });
        if self.found.len() >= 2 * self.k {
            self.shrink();
        }
    }

    fn offer_once(&mut self, near: Near) {
        if near.cosine >= self.bar && !self.found.iter().any(|other| other.row == near.row) {
            self.offer(near.row, near.cosine);
        }
    }

    fn shrink(&mut self) {
        if self.found.len() <= self.k {
            return;
        }
        self.found.select_nth_unstable_by(self.k - 1, Near::order);
        self.found.truncate(self.k);
        self.bar = self.found[self.k - 1].cosine.max(self.floor);
    }

    fn finish(mut self) -> Vec<Near> {
        self.shrink();
        self.found.sort_unstable_by(Near::order);
        self.found.shrink_to_fit();
        self.found
    }
}

/// Rows are numbered in 32 bits.
fn u32_of(row: usize) -> u32 {
    u32::try_from(row).expect("no more than 2^32 rows")
}
