//! Which faces are of one track.

use super::matrix::{Rows, normalise};

/// The track of each row, numbered from 0 without gaps in the order of the numbers that they had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    of_row: Vec<u32>,
    faces: Vec<u32>,
}

impl Tracks {
    /// Of these numbers, one a row.
    ///
    /// # Panics
    /// If there are 2^32 rows or more.
    #[must_use]
    pub fn new(numbers: &[u64]) -> Self {
        let mut named = numbers.to_vec();
        named.sort_unstable();
        named.dedup();
        let number = |track: &u64| {
            let at = named.binary_search(track).expect("it is among them");
            u32::try_from(at).expect("fewer than 2^32 rows")
        };
        let of_row: Vec<u32> = numbers.iter().map(number).collect();
        let mut faces = vec![0; named.len()];
        of_row.iter().for_each(|track| faces[*track as usize] += 1);
        Self { of_row, faces }
    }

    /// The track of each row.
    #[must_use]
    pub fn of_row(&self) -> &[u32] {
        &self.of_row
    }

    /// How many tracks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.faces.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faces.is_empty()
    }

    /// How many faces each has.
    pub fn faces(&self) -> impl ExactSizeIterator<Item = u32> {
        self.faces.iter().copied()
    }

    /// The sum of the vectors of each.
    #[must_use]
    pub fn sums(&self, rows: Rows<'_>) -> Vec<f32> {
        sums(rows, &self.of_row, self.len())
    }

    /// The label of each row's track.
    ///
    /// # Panics
    /// If there are fewer labels than tracks.
    #[must_use]
    pub fn labels(&self, of_track: &[u32]) -> Vec<u32> {
        let label = |track: &u32| of_track[*track as usize];
        self.of_row.iter().map(label).collect()
    }
}

/// The sum of each label's rows.
pub(super) fn sums(rows: Rows<'_>, labels: &[u32], count: usize) -> Vec<f32> {
    let dimension = rows.dimension();
    let mut sums = vec![0.0; count * dimension];
    for (row, label) in labels.iter().enumerate() {
        let sum = &mut sums[*label as usize * dimension..][..dimension];
        sum.iter_mut()
            .zip(rows.row(row))
            .for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// A label a row, as `cluster` gives them to rows of length 1: to the mean of each track, or to each face if tracks are not
/// known.
pub fn of_tracks(
    rows: Rows<'_>,
    tracks: Option<&Tracks>,
    cluster: impl FnOnce(Rows<'_>) -> Vec<u32>,
) -> Vec<u32> {
    let Some(tracks) = tracks else {
        return cluster(rows);
    };
    let mut means = tracks.sums(rows);
    normalise(&mut means, rows.dimension());
    tracks.labels(&cluster(Rows::new(&means, rows.dimension())))
}
