//! Cells made anew all at once, after many insertions: splitting one at a time leaves
//! representatives where they went when there were fewer cells to choose from.

use rayon::prelude::*;

use super::{Cells, FULL, Moved, SPARSE, decode};
use crate::{blocks::at, code::Code, two_means::mean};

impl Cells {
    /// A round of k-means: the centre of each cell becomes the mean of what is in it, and each
    /// representative goes to the nearest. Then cells that are too large are split, and those that
    /// are too small dissolved. Says where each representative is from then on.
    ///
    /// Cost: a search for the nearest cell for each representative, by all of rayon's threads, and
    /// a copy of all representatives.
    pub(crate) fn settle(&mut self, moved: &mut impl Moved) {
        let cells: Vec<u32> = (0..self.rows.count)
            .filter(|cell| self.cell(*cell).count > 0)
            .collect();
        let centres: Vec<Code> = cells.par_iter().map(|cell| self.mean_of(*cell)).collect();
        for (cell, centre) in cells.iter().zip(&centres) {
            self.centres.set(at(*cell), centre);
        }
        let slots: Vec<u32> = cells.iter().flat_map(|cell| self.slots_of(*cell)).collect();
        let mut homes: Vec<(Option<u32>, u32)> = slots
            .into_par_iter()
            .map(|slot| (self.nearest_one(&decode(&self.plane.code(at(slot)))), slot))
            .collect();
        // Stable, so that the order within a cell does not depend on threads.
        homes.par_sort_by_key(|(home, _)| *home);
        let mut settled = Self::new(self.plane.padded());
        for of_one in homes.chunk_by(|a, b| a.0 == b.0) {
            let centre = of_one[0].0.map_or(0, at);
            let cell = settled.new_cell(&self.centres.code(centre));
            for (_, slot) in of_one {
                let owner = self.owner(*slot);
                let slot = settled.put(cell, owner, &self.plane.code(at(*slot)));
                moved(owner, slot);
            }
        }
        *self = settled;
        self.mend(moved);
    }

    fn mean_of(&self, cell: u32) -> Code {
        let slots = self.slots_of(cell).into_iter();
        let vectors: Vec<Vec<f32>> = slots
            .map(|slot| decode(&self.plane.code(at(slot))))
            .collect();
        Code::of(&mean(vectors.iter()))
    }

    /// Splits what is too large, until nothing is; then dissolves what is too small, each once.
    fn mend(&mut self, moved: &mut impl Moved) {
        let with = |cells: &Self, fits: &dyn Fn(u32) -> bool| -> Vec<u32> {
            (0..cells.rows.count)
                .filter(|cell| fits(cells.cell(*cell).count))
                .collect()
        };
        loop {
            let large = with(self, &|count| count > FULL);
            if large.is_empty() {
                break;
            }
            large.into_iter().for_each(|cell| self.split(cell, moved));
        }
        for cell in with(self, &|count| (1..SPARSE).contains(&count)) {
            // Dissolving others may have filled it, or begun another under its number.
            let small = (1..SPARSE).contains(&self.cell(cell).count);
            if small && self.representatives > at(FULL) {
                self.dissolve(cell, moved);
            }
        }
    }
}
