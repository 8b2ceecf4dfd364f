//! The keys: made ahead of their use, so that using one costs no sync; destroyed one by one.
use std::collections::{HashMap, HashSet};
use std::io;

use crate::cipher;
use crate::directory::Shared;
use crate::error::Trouble;
use crate::format::FormatError;
use crate::format::header::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::format::key::{self, KEYS_PER_SEGMENT, KeyBytes, SLOT_BYTES, Slot};
use crate::segment::{self, OpenSegment, SegmentError};
use crate::storage::Access;

/// Keys that are made at a time: one write and one sync.
const BATCH_KEYS: u64 = 1024;
/// Keys in use that the writer remembers.
const REMEMBERED_MAX: usize = 4096;

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key was destroyed")]
    Gone,
    /// Its file is missing, or ends before it.
    #[error("{segment}: no key at byte {offset}: restore this file from the backup of the keys")]
    Missing { segment: String, offset: u64 },
    /// Not what was written.
    #[error(
        "{segment} is damaged at byte {offset}: {what}. Restore this file from the backup of the keys"
    )]
    Damaged {
        segment: String,
        offset: u64,
        what: FormatError,
    },
    #[error("{path}: could not read: {source}")]
    Io { path: String, source: io::Error },
}

/// Reads a key.
pub(crate) fn read(shared: &Shared, number: u64) -> Result<KeyBytes, KeyError> {
    let (segment, offset, slot) = read_slot(shared, number)?;
    let damaged = |what| KeyError::Damaged {
        segment: locate(shared, segment.header.number),
        offset,
        what,
    };
    match key::decode(&slot, segment.salt, number).map_err(damaged)? {
        Slot::Live(bytes) => Ok(bytes),
        Slot::Gone => Err(KeyError::Gone),
    }
}

/// Whether nothing is left of a key on disk.
pub(crate) fn is_clean(shared: &Shared, number: u64) -> Result<bool, KeyError> {
    let (_, _, slot) = read_slot(shared, number)?;
    Ok(key::is_clean(&slot))
}

fn read_slot(
    shared: &Shared,
    number: u64,
) -> Result<(OpenSegment, u64, [u8; SLOT_BYTES]), KeyError> {
    let (segment, offset) = key::place(number, HEADER_BYTES as u64);
    let path = || locate(shared, segment);
    let missing = || KeyError::Missing {
        segment: path(),
        offset,
    };
    let opened = shared
        .open_file(SegmentKind::Keys, segment)
        .map_err(|error| match error {
            SegmentError::Io(error) if error.kind() == io::ErrorKind::NotFound => missing(),
            SegmentError::Io(source) => KeyError::Io {
                path: path(),
                source,
            },
            SegmentError::Damaged(what) => KeyError::Damaged {
                segment: path(),
                offset: 0,
                what,
            },
        })?;
    let mut slot = [0; SLOT_BYTES];
    let read = opened.file.read_at(offset, &mut slot);
    let read = read.map_err(|source| KeyError::Io {
        path: path(),
        source,
    })?;
    if read < SLOT_BYTES {
        return Err(missing());
    }
    Ok((opened, offset, slot))
}

/// Makes keys, gives them out, destroys them.
#[derive(Default)]
pub(crate) struct KeyWriter {
    /// Slots that are taken on disk, whole or not: the next key made comes behind them.
    made: u64,
    /// Made, durable, and not given out, the last one first.
    fresh: Vec<(u64, KeyBytes)>,
    remembered: HashMap<u64, KeyBytes>,
}

impl KeyWriter {
    /// Goes on behind the key segments that there are.
    pub(crate) fn after(shared: &Shared, segments: &[u64]) -> Result<Self, Trouble> {
        let Some(&last) = segments.last() else {
            return Ok(Self::default());
        };
        let name = segment::name(SegmentKind::Keys, last);
        let at = |action| Trouble::at(shared.storage.locate(&name), action);
        let file = shared.storage.open(&name, Access::Read);
        let length = file.map_err(at("open the file"))?.len();
        let length = length.map_err(at("read the length"))?;
        let slots = length
            .saturating_sub(HEADER_BYTES as u64)
            .div_ceil(SLOT_BYTES as u64);
        Ok(Self {
            made: (last - 1) * KEYS_PER_SEGMENT + slots.min(KEYS_PER_SEGMENT),
            ..Self::default()
        })
    }

    /// Keys that were ever made.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// A key that was never used.
    pub(crate) fn next(&mut self, shared: &Shared) -> Result<u64, Trouble> {
        if self.fresh.is_empty() {
            self.make(shared)?;
        }
        let (number, key) = self
            .fresh
            .pop()
            .expect("made just above where there was none");
        self.remember(number, key);
        Ok(number)
    }

    /// The bytes of a key that is in use.
    pub(crate) fn get(&mut self, shared: &Shared, number: u64) -> Result<KeyBytes, KeyError> {
        if let Some(key) = self.remembered.get(&number) {
            return Ok(*key);
        }
        let key = read(shared, number)?;
        self.remember(number, key);
        Ok(key)
    }

    fn remember(&mut self, number: u64, key: KeyBytes) {
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(number, key);
    }

    /// Makes the next batch, durably.
    fn make(&mut self, shared: &Shared) -> Result<(), Trouble> {
        let first = self.made + 1;
        let (number, offset) = key::place(first, HEADER_BYTES as u64);
        let count = BATCH_KEYS.min(KEYS_PER_SEGMENT - (first - 1) % KEYS_PER_SEGMENT);
        let opened = if offset == HEADER_BYTES as u64 {
            let (log, epoch) = (shared.id, shared.epoch);
            let kind = SegmentKind::Keys;
            let version = crate::format::FORMAT_VERSION;
            let header = SegmentHeader {
                kind,
                log,
                epoch,
                number,
                version,
            };
            segment::create(&*shared.storage, header)?
        } else {
            open_to_write(shared, number)?
        };
        let path = || locate(shared, number);
        let mut random = vec![0; usize::try_from(count).unwrap_or(0) * key::KEY_BYTES];
        cipher::random(&mut random).map_err(Trouble::at("the random source".to_owned(), "read"))?;
        let (keys, _) = random.as_chunks::<{ key::KEY_BYTES }>();
        let numbered = (first..).zip(keys.iter().copied());
        let made: Vec<(u64, KeyBytes)> = numbered.collect();
        let slots = made
            .iter()
            .map(|(number, key)| key::encode(opened.salt, *number, key));
        let bytes: Vec<u8> = slots.flatten().collect();
        let file = &opened.file;
        file.write_at(offset, &bytes)
            .map_err(Trouble::at(path(), "write"))?;
        // Whether they are durable is unknown if this fails: they are not given out, and the next ones come behind.
        self.made = first + count - 1;
        file.sync().map_err(Trouble::fatal(path(), "sync"))?;
        self.fresh = made;
        self.fresh.reverse();
        Ok(())
    }

    /// Overwrites keys, durably: one sync for each segment. Destroying one twice does no harm.
    pub(crate) fn destroy(&mut self, shared: &Shared, numbers: &[u64]) -> Result<(), Trouble> {
        let mut places: Vec<(u64, u64)> = numbers
            .iter()
            .filter(|number| (1..=self.made).contains(*number))
            .map(|number| key::place(*number, HEADER_BYTES as u64))
            .collect();
        places.sort_unstable();
        places.dedup();
        for part in places.chunk_by(|a, b| a.0 == b.0) {
            let Some((segment, _)) = part.first() else {
                continue;
            };
            let opened = open_to_write(shared, *segment)?;
            let path = || locate(shared, *segment);
            for (_, offset) in part {
                let written = opened.file.write_at(*offset, &key::gone());
                written.map_err(Trouble::fatal(path(), "overwrite a key"))?;
            }
            opened.file.sync().map_err(Trouble::fatal(path(), "sync"))?;
        }
        for number in numbers {
            self.remembered.remove(number);
        }
        let gone: HashSet<u64> = numbers.iter().copied().collect();
        self.fresh.retain(|(number, _)| !gone.contains(number));
        Ok(())
    }

    /// Destroys keys above `last` that earlier lives of the log made: whether they were used for what was lost
    /// with an unfinished commit, nobody knows.
    pub(crate) fn destroy_above(&mut self, shared: &Shared, last: u64) -> Result<(), Trouble> {
        let fresh = self
            .fresh
            .last()
            .map_or(self.made + 1, |(number, _)| *number);
        let unknown: Vec<u64> = (last + 1..fresh)
            .filter(|number| !self.remembered.contains_key(number))
            .filter(|number| !matches!(is_clean(shared, *number), Ok(true)))
            .collect();
        self.destroy(shared, &unknown)
    }
}

fn open_to_write(shared: &Shared, number: u64) -> Result<OpenSegment, Trouble> {
    let opened = segment::open(&*shared.storage, SegmentKind::Keys, number, Access::Write);
    opened.map_err(|error| {
        let source = match error {
            SegmentError::Io(source) => source,
            SegmentError::Damaged(what) => io::Error::new(io::ErrorKind::InvalidData, what),
        };
        Trouble::at(locate(shared, number), "open the file")(source)
    })
}

fn locate(shared: &Shared, number: u64) -> String {
    let name = segment::name(SegmentKind::Keys, number);
    shared.storage.locate(&name)
}
