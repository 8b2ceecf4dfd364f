//! What writer and readers share: which segments there are, and how far they are durable.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::FormatError;
use crate::format::header::{HEADER_BYTES, SegmentKind};
use crate::id::LogId;
use crate::segment::{self, OpenSegment, SegmentError};
use crate::storage::{Access, Storage};

/// Distance between the places in a segment that are remembered, in bytes: what a reader that
/// starts anywhere has to skip at most, and 16 bytes of memory for each.
const REMEMBERED_EVERY_BYTES: u64 = 64 << 10;

/// Files that readers keep open.
const OPEN_FILES_MAX: usize = 32;

/// Where a record's entry begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
}

/// A record segment as far as it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) first_sequence: u64,
    /// Durable bytes from the start of the file.
    pub(crate) end: u64,
    /// Some places, ascending.
    places: Vec<Place>,
}

impl Segment {
    /// A segment without records.
    pub(crate) fn new(first_sequence: u64) -> Self {
        Self {
            first_sequence,
            end: HEADER_BYTES as u64,
            places: Vec::new(),
        }
    }

    /// Remembers a place if the last one remembered is far enough away.
    pub(crate) fn remember(&mut self, place: Place) {
        let last = self
            .places
            .last()
            .map_or(HEADER_BYTES as u64, |last| last.offset);
        if place.offset >= last + REMEMBERED_EVERY_BYTES {
            self.places.push(place);
        }
    }

    /// Where to start looking for `sequence`: never behind it.
    fn start(&self, sequence: u64) -> u64 {
        let after = self
            .places
            .partition_point(|place| place.sequence <= sequence);
        let before = after
            .checked_sub(1)
            .and_then(|index| self.places.get(index));
        before.map_or(HEADER_BYTES as u64, |place| place.offset)
    }
}

/// The durable state of the log.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// By first sequence, without gaps.
    pub(crate) segments: Vec<Segment>,
    pub(crate) durable: u64,
    pub(crate) blob_bytes: u64,
}

/// A stretch of a segment to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) segment: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Directory {
    /// Lets readers go up to `end` in the last segment.
    pub(crate) fn grow_last(&mut self, end: u64) -> &mut Segment {
        let last = self
            .segments
            .last_mut()
            .expect("a log has at least one segment");
        last.end = end;
        last
    }

    /// Returns where `sequence` is found, `None` if it is not durable. Cost: two binary searches.
    pub(crate) fn find(&self, sequence: u64) -> Option<Stretch> {
        if sequence == 0 || sequence > self.durable {
            return None;
        }
        let after = self
            .segments
            .partition_point(|s| s.first_sequence <= sequence);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let start = segment.start(sequence);
        Some(Stretch {
            segment: segment.first_sequence,
            start,
            end: segment.end,
        })
    }
}

/// What writer and readers share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) id: LogId,
    pub(crate) epoch: u64,
    directory: RwLock<Directory>,
    /// Most recently used last.
    open_files: Mutex<VecDeque<OpenSegment>>,
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        id: LogId,
        epoch: u64,
        directory: Directory,
    ) -> Self {
        let directory = RwLock::new(directory);
        Self {
            storage,
            id,
            epoch,
            directory,
            open_files: Mutex::default(),
        }
    }

    /// The directory, for a moment: never held during I/O.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory, for the writer to publish in.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a segment for reading, its header checked; a few stay open.
    pub(crate) fn open_file(
        &self,
        kind: SegmentKind,
        number: u64,
    ) -> Result<OpenSegment, SegmentError> {
        let is_it = |s: &OpenSegment| s.header.kind == kind && s.header.number == number;
        {
            let mut files = self.files();
            if let Some(found) = files.iter().position(is_it).and_then(|at| files.remove(at)) {
                files.push_back(found.clone());
                return Ok(found);
            }
        }
        let opened = segment::open(&*self.storage, kind, number, Access::Read)?;
        if opened.header.log != self.id {
            return Err(SegmentError::Damaged(FormatError::Field {
                field: "the log's id",
            }));
        }
        let mut files = self.files();
        if !files.iter().any(is_it) {
            files.push_back(opened.clone());
        }
        if files.len() > OPEN_FILES_MAX {
            files.pop_front();
        }
        Ok(opened)
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<OpenSegment>> {
        self.open_files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
