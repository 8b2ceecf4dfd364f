//! What a power cut leaves of a file in memory.
use std::collections::BTreeSet;
use std::ops::Range;

/// Disks write this much or nothing.
const SECTOR_BYTES: usize = 512;
/// Systems keep track of what is still to be written in pages of this size.
const PAGE_BYTES: usize = 4096;

/// What of the unsynced changes a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Dropped,
    /// Everything up to one point; the write there is torn.
    Torn,
    /// Any subset of the sectors; those that are missing beyond the old end are zero.
    Reordered,
    /// Everything, as when only the process was killed: what was not synced is still not durable.
    Kept,
}

/// The bytes of a file: as they are, and as they were when last synced.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Pages that the system takes for written, wrongly.
    lost: BTreeSet<usize>,
}

impl Content {
    /// A file that is durable as it is.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let (durable, lost) = (bytes.clone(), BTreeSet::new());
        Self {
            now: bytes,
            durable,
            lost,
        }
    }

    /// Notes that these bytes have just been written.
    pub(super) fn written(&mut self, range: Range<usize>) {
        for page in range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES) {
            self.lost.remove(&page);
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        self.now.resize(length, 0);
        // What is cut off is gone; what comes there later is written.
        self.lost.split_off(&length.div_ceil(PAGE_BYTES));
    }

    /// Makes durable what the system knows to be unwritten.
    pub(super) fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.now.clone());
        restore(&mut self.durable, &before, &self.lost);
    }

    /// A sync that failed: what was not durable is taken for written from here on.
    pub(super) fn lose(&mut self) {
        let pages = self.now.len().div_ceil(PAGE_BYTES);
        for page in 0..pages {
            let range = page * PAGE_BYTES..self.now.len().min((page + 1) * PAGE_BYTES);
            if self.durable.get(range.clone()) != self.now.get(range) {
                self.lost.insert(page);
            }
        }
    }

    /// Leaves what survives.
    pub(super) fn cut_power(&mut self, survival: Survival, random: &mut Random) {
        // What the system takes for written never reaches the disk.
        let lost = std::mem::take(&mut self.lost);
        restore(&mut self.now, &self.durable, &lost);
        match survival {
            Survival::Dropped => self.now.clone_from(&self.durable),
            Survival::Torn => self.now = self.torn(random),
            Survival::Reordered => self.now = self.reordered(random),
            Survival::Kept => {}
        }
        self.durable.clone_from(&self.now);
    }

    /// The durable bytes with those written since, up to some point.
    fn torn(&self, random: &mut Random) -> Vec<u8> {
        let same = self
            .now
            .iter()
            .zip(&self.durable)
            .take_while(|(a, b)| a == b)
            .count();
        let until = same + random.below(self.now.len().max(self.durable.len()) - same + 1);
        let mut bytes = self
            .now
            .get(..until.min(self.now.len()))
            .unwrap_or_default()
            .to_vec();
        bytes.extend_from_slice(self.durable.get(bytes.len()..).unwrap_or_default());
        bytes
    }

    /// Each sector as it was or as it should be.
    fn reordered(&self, random: &mut Random) -> Vec<u8> {
        let longest = self.now.len().max(self.durable.len());
        let mut bytes = Vec::with_capacity(longest);
        for start in (0..longest).step_by(SECTOR_BYTES) {
            let range = start..longest.min(start + SECTOR_BYTES);
            let from = if random.below(2) == 0 {
                &self.now
            } else {
                &self.durable
            };
            let part = from.get(range.start.min(from.len())..range.end.min(from.len()));
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                bytes.resize(range.start, 0);
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }
}

/// Puts the pages of `bytes` back as they were `before`, zero where there was nothing.
fn restore(bytes: &mut [u8], before: &[u8], pages: &BTreeSet<usize>) {
    for page in pages {
        let start = (page * PAGE_BYTES).min(bytes.len());
        let end = bytes.len().min(start + PAGE_BYTES);
        for (at, byte) in (start..end).zip(&mut bytes[start..end]) {
            *byte = before.get(at).copied().unwrap_or(0);
        }
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Returns a number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % (limit as u64)).unwrap_or(0)
    }
}
