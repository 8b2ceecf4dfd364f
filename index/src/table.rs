//! Records with a vector each, copied on write by the chunk, so that a snapshot costs a handful of
//! reference counts and a change after it copies 64 rows, not all of them.

use std::sync::Arc;

/// Rows that are copied together. 64 rows of 512 values are 128 KiB.
const CHUNK_ROWS: usize = 64;

#[derive(Clone, Debug)]
struct Chunk<T> {
    /// Exactly `CHUNK_ROWS`; `None` is a free row.
    records: Arc<Vec<Option<T>>>,
    /// Row after row; those of free rows are left as they were.
    vectors: Arc<Vec<f32>>,
}

/// A table whose rows never move: a slot stays its record's until the record is removed.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    dimension: usize,
    chunks: Vec<Chunk<T>>,
    /// Free slots, the next one to fill last. Cloned on write.
    free: Arc<Vec<usize>>,
}

impl<T: Clone> Table<T> {
    pub(crate) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            chunks: Vec::new(),
            free: Arc::default(),
        }
    }

    /// Rows in use.
    pub(crate) fn len(&self) -> usize {
        self.slots() - self.free.len()
    }

    /// One above the highest slot.
    pub(crate) fn slots(&self) -> usize {
        self.chunks.len() * CHUNK_ROWS
    }

    /// Memory of records and vectors, in bytes; what records point to is not counted.
    pub(crate) fn bytes(&self) -> usize {
        let row = size_of::<Option<T>>() + self.dimension * size_of::<f32>();
        self.slots() * row
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.chunks.get(slot / CHUNK_ROWS)?.records[slot % CHUNK_ROWS].as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(slot / CHUNK_ROWS)?;
        Arc::make_mut(&mut chunk.records)[slot % CHUNK_ROWS].as_mut()
    }

    /// The row's vector.
    ///
    /// # Panics
    /// If the slot was never in use.
    pub(crate) fn vector(&self, slot: usize) -> &[f32] {
        let start = slot % CHUNK_ROWS * self.dimension;
        &self.chunks[slot / CHUNK_ROWS].vectors[start..start + self.dimension]
    }

    /// Replaces the row's vector.
    ///
    /// # Panics
    /// If the slot was never in use, or the vector has another dimension.
    pub(crate) fn set_vector(&mut self, slot: usize, vector: &[f32]) {
        let start = slot % CHUNK_ROWS * self.dimension;
        let vectors = Arc::make_mut(&mut self.chunks[slot / CHUNK_ROWS].vectors);
        vectors[start..start + self.dimension].copy_from_slice(vector);
    }

    /// Puts a record into a free row, whose slot it returns. The vector is whatever was there.
    pub(crate) fn insert(&mut self, record: T) -> usize {
        let free = Arc::make_mut(&mut self.free);
        let slot = free.pop().unwrap_or_else(|| {
            let first = self.chunks.len() * CHUNK_ROWS;
            self.chunks.push(Chunk {
                records: Arc::new(vec![None; CHUNK_ROWS]),
                vectors: Arc::new(vec![0.0; CHUNK_ROWS * self.dimension]),
            });
            free.extend((first + 1..first + CHUNK_ROWS).rev());
            first
        });
        Arc::make_mut(&mut self.chunks[slot / CHUNK_ROWS].records)[slot % CHUNK_ROWS] =
            Some(record);
        slot
    }

    /// Takes a record out; its row is free from here on.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<T> {
        let chunk = self.chunks.get_mut(slot / CHUNK_ROWS)?;
        let record = Arc::make_mut(&mut chunk.records)[slot % CHUNK_ROWS].take()?;
        Arc::make_mut(&mut self.free).push(slot);
        Some(record)
    }

    /// All rows in use, lowest slot first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T, &[f32])> {
        self.chunks.iter().enumerate().flat_map(move |(at, chunk)| {
            chunk
                .records
                .iter()
                .enumerate()
                .filter_map(move |(row, record)| {
                    let start = row * self.dimension;
                    let vector = &chunk.vectors[start..start + self.dimension];
                    record
                        .as_ref()
                        .map(|record| (at * CHUNK_ROWS + row, record, vector))
                })
        })
    }

    /// Slots given as free that hold a record, and slots that are free but not given so.
    pub(crate) fn misplaced(&self) -> usize {
        let mut listed = vec![false; self.slots()];
        let mut wrong = 0;
        for slot in self.free.iter() {
            match listed.get_mut(*slot) {
                Some(seen) if !*seen => *seen = true,
                Some(_) | None => wrong += 1,
            }
        }
        let differs = |(slot, listed): (usize, &bool)| self.get(slot).is_none() != *listed;
        wrong
            + listed
                .iter()
                .enumerate()
                .filter(|entry| differs(*entry))
                .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &Table<u32>, expected: &[(usize, u32)]) {
        let rows: Vec<(usize, u32)> = table
            .iter()
            .map(|(slot, record, _)| (slot, *record))
            .collect();
        assert_eq!(rows, expected);
        assert_eq!(table.len(), expected.len());
        assert_eq!(table.misplaced(), 0);
    }

    #[test]
    fn rows_stay_where_they_are_and_free_ones_are_filled_again() {
        let mut table = Table::new(1);
        let slots: Vec<usize> = (0..3).map(|record| table.insert(record)).collect();
        assert_eq!(slots, [0, 1, 2]);
        assert_eq!(table.remove(1), Some(1));
        assert_eq!(table.remove(1), None);
        check(&table, &[(0, 0), (2, 2)]);
        assert_eq!(table.insert(9), 1);
        check(&table, &[(0, 0), (1, 9), (2, 2)]);
        assert_eq!(table.get(CHUNK_ROWS * 5), None);
        assert_eq!(table.remove(CHUNK_ROWS * 5), None);
    }

    #[test]
    fn a_copy_shares_every_chunk_that_neither_side_touched() {
        let mut table = Table::new(2);
        for record in 0..200u32 {
            let slot = table.insert(record);
            table.set_vector(slot, &[1.0, 0.0]);
        }
        let copy = table.clone();
        table.set_vector(70, &[0.0, 1.0]);
        assert_eq!(copy.vector(70), [1.0, 0.0]);
        assert_eq!(table.vector(70), [0.0, 1.0]);
        let shared = |at: usize| Arc::ptr_eq(&table.chunks[at].vectors, &copy.chunks[at].vectors);
        assert_eq!(
            [shared(0), shared(1), shared(2), shared(3)],
            [true, false, true, true]
        );
        assert!(Arc::ptr_eq(
            &table.chunks[1].records,
            &copy.chunks[1].records
        ));
    }
}
