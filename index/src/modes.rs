//! Modes: an identity whose faces look like several people (with and without a beard, then and
//! thirty years later) has a representative for each kind of face, beside that of all its faces.

use bytemuck::{Pod, Zeroable};

use crate::{
    blocks::{NONE, Rows, at},
    column::Column,
    kernel,
    sound::{Marks, sound},
    store::{Parts, PartsReader},
    two_means::two_means,
};

/// An identity has at most this many.
pub(crate) const MODES_MAX: usize = 4;
/// Faces that are looked at for modes, spread evenly over all of an identity.
pub(crate) const SAMPLE: usize = 64;
/// Two kinds of faces are modes if the cosine of their means is below this; faces of one person
/// that differ by chance alone have means more similar than that.
const APART: f32 = 0.35;
/// A mode has at least one in this many of the faces.
const SHARE_MIN: usize = 8;
/// An identity whose faces lie this close together (the length of the mean of its unit vectors) has
/// one mode.
pub(crate) const CLOSE: f32 = 0.8;

/// A mode of an identity. The sum of its faces follows in its row.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Mode {
    /// The sum of its faces' weights.
    pub(crate) weight: u64,
    /// The row of its identity.
    pub(crate) person: u32,
    /// The identity's next mode. Of a free row: the next free one.
    pub(crate) next: u32,
    /// How many faces; 0 means a free row, or a mode that has lost its last face.
    pub(crate) faces: u32,
    /// The slot of its representative.
    pub(crate) representative: u32,
    /// From 1, the number that its faces have.
    pub(crate) number: u32,
    unused: u32,
}

/// Every mode, by row.
#[derive(Clone, Debug)]
pub(crate) struct Modes {
    modes: Column,
    rows: Rows,
    count: u32,
}

impl Modes {
    pub(crate) fn new(padded: usize) -> Self {
        Self {
            modes: Column::new(size_of::<Mode>() + padded * size_of::<i32>()),
            rows: Rows::new(),
            count: 0,
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.modes);
        self.rows.save(parts);
        parts.number(self.count);
    }

    pub(crate) fn load(padded: usize, parts: &mut PartsReader) -> Option<Self> {
        let modes = parts.column(Self::new(padded).modes)?;
        Some(Self {
            rows: Rows::load(&modes, parts)?,
            modes,
            count: parts.number()?,
        })
    }

    /// Checks that all but these rows are free.
    pub(crate) fn check(&self, taken: &Marks) -> Result<(), String> {
        sound(taken.len() == self.len(), || {
            format!("{} of {} modes are somebody's", taken.len(), self.len())
        })?;
        self.rows
            .check(|mode| self.get(mode).next, |mode| !taken.contains(mode))
    }

    /// No modes yet, of as many as there may be.
    pub(crate) fn marks(&self) -> Marks {
        Marks::new(at(self.rows.count))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        at(self.count)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.modes.bytes()
    }

    pub(crate) fn get(&self, mode: u32) -> &Mode {
        self.modes.get(at(mode))
    }

    pub(crate) fn edit(&mut self, mode: u32) -> &mut Mode {
        self.modes.get_mut(at(mode))
    }

    /// The sum of its faces.
    pub(crate) fn sum(&self, mode: u32) -> &[i32] {
        bytemuck::cast_slice(&self.modes.row(at(mode))[size_of::<Mode>()..])
    }

    /// The sum of its faces, to be changed.
    pub(crate) fn sum_mut(&mut self, mode: u32) -> &mut [i32] {
        bytemuck::cast_slice_mut(&mut self.modes.row_mut(at(mode))[size_of::<Mode>()..])
    }

    /// A new mode, without faces, before `next`.
    pub(crate) fn add(&mut self, person: u32, number: u32, next: u32) -> u32 {
        let free = |modes: &Column, mode| modes.get::<Mode>(mode).next;
        let mode = self.rows.take(&mut self.modes, free);
        self.modes.row_mut(at(mode)).fill(0);
        *self.edit(mode) = Mode {
            person,
            number,
            next,
            representative: NONE,
            ..Mode::zeroed()
        };
        self.count += 1;
        mode
    }

    /// Frees a row; the mode after it.
    pub(crate) fn remove(&mut self, mode: u32) -> u32 {
        let next = self.get(mode).next;
        let free = self.rows.give_back(mode);
        self.modes.row_mut(at(mode)).fill(0);
        *self.edit(mode) = Mode {
            next: free,
            ..Mode::zeroed()
        };
        self.count -= 1;
        next
    }
}

/// The means of the kinds of faces among these unit vectors; none if they are of one kind.
///
/// The group that falls apart furthest is split in two, again and again, as in Pelleg and Moore,
/// "X-means", ICML 2000, with the cosine of the two means instead of their criterion.
pub(crate) fn find(vectors: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let least = (vectors.len() / SHARE_MIN).max(1);
    let mut groups = vec![(Vec::new(), vectors)];
    while groups.len() < MODES_MAX {
        let apart = |(at, (_, group)): (usize, &(_, Vec<Vec<f32>>))| {
            if group.len() < 2 * least {
                return None;
            }
            let (sides, means) = two_means(group, least);
            let cosine = kernel::dot(&means[0], &means[1]);
            let second = sides.iter().filter(|side| **side).count();
            let enough = second.min(group.len() - second) >= least;
            (enough && cosine < APART).then_some((cosine, at, sides, means))
        };
        let split = groups.iter().enumerate().filter_map(apart);
        let Some((_, at, sides, means)) = split.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            break;
        };
        let (_, group) = groups.swap_remove(at);
        let (mut halves, [first, second]) = ([Vec::new(), Vec::new()], means);
        for (vector, side) in group.into_iter().zip(sides) {
            halves[usize::from(side)].push(vector);
        }
        let [one, other] = halves;
        groups.extend([(first, one), (second, other)]);
    }
    if groups.len() == 1 {
        return Vec::new();
    }
    groups.into_iter().map(|(mean, _)| mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors around an axis each.
    fn around(axes: &[usize]) -> Vec<Vec<f32>> {
        let vector = |(number, axis): (usize, &usize)| {
            let mut vector = vec![0.0f32; 64];
            vector[*axis] = 1.0;
            vector[20 + number % 40] += 0.5;
            let norm = kernel::dot(&vector, &vector).sqrt();
            vector.iter().map(|value| value / norm).collect()
        };
        axes.iter().enumerate().map(vector).collect()
    }

    #[test]
    fn kinds_are_found_and_chance_is_not() {
        assert_eq!(find(around(&[3; 40])).len(), 0);
        let two: Vec<usize> = (0..40).map(|n| if n % 3 == 0 { 3 } else { 9 }).collect();
        let mut means = find(around(&two));
        means.sort_by(|a, b| b[3].total_cmp(&a[3]));
        assert_eq!(means.len(), 2);
        assert!(means[0][3] > 0.85 && means[1][9] > 0.85);
        let three: Vec<usize> = (0..60).map(|n| n % 3).collect();
        assert_eq!(find(around(&three)).len(), 3);
        let one_off: Vec<usize> = (0..40).map(|n| usize::from(n == 7)).collect();
        assert_eq!(find(around(&one_off)).len(), 0, "one face is no kind");
        assert_eq!(find(around(&[1])).len(), 0);
    }
}
