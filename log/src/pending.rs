//! Records that wait for the next commit.
use prost::Message as _;

use crate::record::Record;

/// Records encoded, but not written: one after the other, and where each ends.
#[derive(Default)]
pub(crate) struct Pending {
    payloads: Vec<u8>,
    ends: Vec<usize>,
}

impl Pending {
    pub(crate) fn clear(&mut self) {
        self.payloads.clear();
        self.ends.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(&start, &end)| &self.payloads[start..end])
    }

    /// Bytes of the records.
    pub(crate) fn bytes(&self) -> usize {
        self.payloads.len()
    }

    /// Adds a record that [`Pending::iter`] yields after those before it.
    pub(crate) fn push(&mut self, record: &Record) {
        record
            .encode(&mut self.payloads)
            .expect("a vector grows as needed");
        self.ends.push(self.payloads.len());
    }
}
