//! The reading side: records from any sequence on, and blobs.
use std::io;
use std::sync::Arc;

use prost::Message as _;

use crate::cipher::{self, Forged, Kind};
use crate::directory::Shared;
use crate::error::{BlobError, ReadError, WalkError};
use crate::format::blob::{self, BlobHeader, BlobState, Digest};
use crate::format::entry::Entry;
use crate::format::header::{HEADER_BYTES, SegmentKind};
use crate::format::{ALIGNMENT, BLOB_BYTES_MAX, FormatError};
use crate::id::LogId;
use crate::keys::{self, KeyError};
use crate::record::{BlobRef, Record};
use crate::seal;
use crate::segment::{self, OpenSegment, SegmentError};
use crate::storage::Access;
use crate::walk::Walk;

/// Farthest place in a blob segment that a reference may name; far beyond any real one.
const BLOB_OFFSET_MAX: u64 = 1 << 48;

/// A reader of durable records and blobs. Clones are cheap; use one from any thread while the
/// log is written.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// How much the log holds, in bytes of its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Record segments.
    pub record_bytes: u64,
    /// Blob segments, erased payloads included.
    pub blob_bytes: u64,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the log's name.
    pub fn id(&self) -> LogId {
        self.shared.id
    }

    /// Returns the log's epoch, from 1.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Returns the sequence of the newest durable record; 0 for an empty log.
    pub fn durable_sequence(&self) -> u64 {
        self.shared.read().durable
    }

    /// Returns the records behind `sequence` (0: all of them) in order, up to the newest that is
    /// durable now. Empty if there is none. Stops after the first error.
    ///
    /// Cost: two binary searches, skipping at most 64 KiB or one commit's worth, then sequential
    /// reads of 256 KiB.
    pub fn read_after(&self, sequence: u64) -> Records {
        let last = self.durable_sequence();
        let next = sequence.saturating_add(1);
        Records {
            shared: Arc::clone(&self.shared),
            next,
            last,
            walk: None,
        }
    }

    /// Returns the record of that sequence; `None` if there is none that is durable.
    ///
    /// # Errors
    /// Those of [`Records`].
    ///
    /// Cost: that of the first record of [`Self::read_after`].
    pub fn record(&self, sequence: u64) -> Result<Option<Record>, ReadError> {
        let found = self.read_after(sequence.saturating_sub(1)).next();
        Ok(found
            .transpose()?
            .filter(|record| record.sequence == sequence))
    }

    /// Returns a blob's payload, its digest checked.
    ///
    /// # Errors
    /// [`BlobError::Erased`] if it was erased; [`BlobError::Missing`] if nothing lies there, or it
    /// is not durable yet; [`BlobError::Corrupt`] if something else lies there.
    pub fn blob(&self, reference: &BlobRef) -> Result<Vec<u8>, BlobError> {
        let target = Target::new(reference)?;
        let segment = target.open(&self.shared, Access::Read)?;
        let header = target.read_header(&self.shared, &segment)?;
        target.check_state(&self.shared, header.state)?;
        let mut payload = vec![0; header.length];
        let at = target.offset + blob::BLOB_HEADER_BYTES as u64;
        let read = segment.file.read_at(at, &mut payload);
        let read = read.map_err(|source| target.io(&self.shared, source))?;
        if read == header.length && blob::digest(&payload) == target.digest {
            return self.opened(&target, reference.key, payload);
        }
        // It may have been erased since the header was read.
        let header = target.read_header(&self.shared, &segment)?;
        target.check_state(&self.shared, header.state)?;
        Err(target.corrupt(&self.shared, "the digest does not match"))
    }

    /// Opens a payload that was sealed.
    fn opened(&self, target: &Target, number: u64, payload: Vec<u8>) -> Result<Vec<u8>, BlobError> {
        if number == 0 {
            return Ok(payload);
        }
        let key = keys::read(&self.shared, number)?;
        cipher::open(&key, Kind::Blob, payload)
            .map_err(|Forged| target.corrupt(&self.shared, "it was sealed with another key"))
    }

    /// Returns whether a blob's payload was overwritten by an erasure: it is marked as erased, and nothing of it is left.
    ///
    /// # Errors
    /// Those of [`Self::blob`] but [`BlobError::Erased`].
    pub fn is_overwritten(&self, reference: &BlobRef) -> Result<bool, BlobError> {
        let target = Target::new(reference)?;
        let segment = target.open(&self.shared, Access::Read)?;
        let header = target.read_header(&self.shared, &segment)?;
        if header.state != BlobState::Erased {
            return Ok(false);
        }
        let mut payload = vec![0; header.length];
        let at = target.offset + blob::BLOB_HEADER_BYTES as u64;
        let read = segment.file.read_at(at, &mut payload);
        let read = read.map_err(|source| target.io(&self.shared, source))?;
        Ok(read == header.length && payload.iter().all(|byte| *byte == 0))
    }

    /// Returns whether nothing is left of a key.
    ///
    /// # Errors
    /// [`BlobError::Missing`] if there never was such a key, [`BlobError::Corrupt`] and [`BlobError::Io`] if it
    /// cannot be told.
    pub fn is_destroyed(&self, key: u64) -> Result<bool, BlobError> {
        Ok(keys::is_clean(&self.shared, key)?)
    }

    /// Returns the size of the files as far as they are durable. Cost: one step for each segment.
    pub fn size(&self) -> LogSize {
        let directory = self.shared.read();
        let record_bytes = directory.segments.iter().map(|segment| segment.end).sum();
        LogSize {
            record_bytes,
            blob_bytes: directory.blob_bytes,
        }
    }
}

/// Records in order; see [`LogReader::read_after`].
pub struct Records {
    shared: Arc<Shared>,
    /// The sequence to yield next.
    next: u64,
    last: u64,
    /// Where in which segment.
    walk: Option<(u64, Walk)>,
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let step = self.step();
        self.next = if step.is_ok() {
            self.next + 1
        } else {
            u64::MAX
        };
        self.last = if step.is_ok() { self.last } else { 0 };
        Some(step)
    }
}

impl Records {
    /// Reads the record `self.next`.
    fn step(&mut self) -> Result<Record, ReadError> {
        let wanted = self.next;
        loop {
            let (segment, walk) = match &mut self.walk {
                Some((segment, walk)) => (*segment, walk),
                None => {
                    let (segment, walk) = self.enter(wanted)?;
                    (segment, &mut self.walk.insert((segment, walk)).1)
                }
            };
            let damaged = |offset, what: String| {
                let name = segment::name(SegmentKind::Records, segment);
                let segment = self.shared.storage.locate(&name);
                ReadError::Corrupt {
                    segment,
                    offset,
                    sequence: wanted,
                    what,
                }
            };
            match walk.next() {
                Ok(Some((_, Entry::Mark { .. }))) => {}
                Ok(Some((_, Entry::Record { sequence, .. }))) if sequence < wanted => {}
                Ok(Some((offset, Entry::Record { sequence, payload }))) => {
                    if sequence != wanted {
                        let found = FormatError::Sequence { found: sequence };
                        return Err(damaged(offset, found.to_string()));
                    }
                    let mut record = Record::decode(payload)
                        .map_err(|error| damaged(offset, error.to_string()))?;
                    if record.sequence != wanted {
                        return Err(damaged(offset, "the record says another sequence".into()));
                    }
                    if record.body.is_none() {
                        return Err(ReadError::UnknownBody { sequence });
                    }
                    let shared = &self.shared;
                    let opened =
                        seal::unseal(&mut record, &mut |number| keys::read(shared, number));
                    opened.map_err(|error| damaged(offset, error.to_string()))?;
                    return Ok(record);
                }
                Ok(None) => self.walk = None,
                Err(WalkError::Io(source)) => {
                    let name = segment::name(SegmentKind::Records, segment);
                    let path = self.shared.storage.locate(&name);
                    return Err(ReadError::Io {
                        path,
                        action: "read",
                        source,
                    });
                }
                Err(WalkError::Damaged { offset, what }) => {
                    return Err(damaged(offset, what.to_string()));
                }
            }
        }
    }

    /// Starts a walk that will meet the durable record `sequence`.
    fn enter(&self, sequence: u64) -> Result<(u64, Walk), ReadError> {
        let found = self.shared.read().find(sequence);
        let stretch = found.expect("durable records have a place, and segments only grow");
        let number = stretch.segment;
        let path = self
            .shared
            .storage
            .locate(&segment::name(SegmentKind::Records, number));
        match self.shared.open_file(SegmentKind::Records, number) {
            Ok(open) => Ok((
                number,
                Walk::new(open.file, open.salt, stretch.start, stretch.end),
            )),
            Err(SegmentError::Io(source)) => Err(ReadError::Io {
                path,
                action: "open the file",
                source,
            }),
            Err(SegmentError::Damaged(what)) => {
                let what = what.to_string();
                Err(ReadError::Corrupt {
                    segment: path,
                    offset: 0,
                    sequence,
                    what,
                })
            }
        }
    }
}

/// A blob reference whose parts are possible.
pub(crate) struct Target {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    length: usize,
    digest: Digest,
}

impl Target {
    pub(crate) fn new(reference: &BlobRef) -> Result<Self, BlobError> {
        let bad = |what| BlobError::BadReference { what };
        let BlobRef {
            segment,
            offset,
            length,
            digest,
            key: _,
        } = reference;
        if *segment == 0 {
            return Err(bad("segment 0"));
        }
        let aligned = offset.is_multiple_of(ALIGNMENT as u64);
        if !aligned || !(HEADER_BYTES as u64..BLOB_OFFSET_MAX).contains(offset) {
            return Err(bad("no blob begins at such an offset"));
        }
        let length = usize::try_from(*length)
            .ok()
            .filter(|length| *length <= BLOB_BYTES_MAX);
        let length = length.ok_or_else(|| bad("longer than a blob may be"))?;
        let digest = Digest::try_from(digest.as_slice());
        let digest = digest.map_err(|_| bad("the digest is not 16 bytes long"))?;
        Ok(Self {
            segment: *segment,
            offset: *offset,
            length,
            digest,
        })
    }

    /// Opens the segment, from those that readers keep open or, for writing, anew.
    pub(crate) fn open(&self, shared: &Shared, access: Access) -> Result<OpenSegment, BlobError> {
        let opened = match access {
            Access::Read => shared.open_file(SegmentKind::Blobs, self.segment),
            Access::Write => {
                segment::open(&*shared.storage, SegmentKind::Blobs, self.segment, access)
            }
        };
        opened.map_err(|error| match error {
            SegmentError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing(shared)
            }
            SegmentError::Io(source) => self.io(shared, source),
            SegmentError::Damaged(what) => {
                let segment = self.path(shared);
                BlobError::Corrupt {
                    segment,
                    offset: 0,
                    what: what.to_string(),
                }
            }
        })
    }

    /// Reads the blob's header and checks that it is the one referred to.
    pub(crate) fn read_header(
        &self,
        shared: &Shared,
        segment: &OpenSegment,
    ) -> Result<BlobHeader, BlobError> {
        let mut bytes = [0; blob::BLOB_HEADER_BYTES];
        let read = segment.file.read_at(self.offset, &mut bytes);
        if read.map_err(|source| self.io(shared, source))? < bytes.len() {
            return Err(self.missing(shared));
        }
        let header = blob::decode(&bytes, segment.salt, self.offset)
            .map_err(|what| self.corrupt(shared, &what.to_string()))?;
        if (header.length, header.digest) != (self.length, self.digest) {
            return Err(self.corrupt(shared, "another blob lies there"));
        }
        Ok(header)
    }

    /// Lets live blobs pass.
    fn check_state(&self, shared: &Shared, state: BlobState) -> Result<(), BlobError> {
        match state {
            BlobState::Live => Ok(()),
            BlobState::Erased => Err(BlobError::Erased),
            BlobState::Unclear => Err(self.corrupt(shared, "its state has an impossible value")),
        }
    }

    fn path(&self, shared: &Shared) -> String {
        shared
            .storage
            .locate(&segment::name(SegmentKind::Blobs, self.segment))
    }

    fn missing(&self, shared: &Shared) -> BlobError {
        BlobError::Missing {
            segment: self.path(shared),
            offset: self.offset,
        }
    }

    fn corrupt(&self, shared: &Shared, what: &str) -> BlobError {
        let (segment, offset) = (self.path(shared), self.offset);
        BlobError::Corrupt {
            segment,
            offset,
            what: what.to_owned(),
        }
    }

    fn io(&self, shared: &Shared, source: io::Error) -> BlobError {
        BlobError::Io {
            path: self.path(shared),
            action: "read",
            source,
        }
    }
}

impl From<KeyError> for BlobError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Gone => Self::Erased,
            KeyError::Missing { segment, offset } => Self::Missing { segment, offset },
            KeyError::Damaged {
                segment,
                offset,
                what,
            } => Self::Corrupt {
                segment,
                offset,
                what: what.to_string(),
            },
            KeyError::Io { path, source } => Self::Io {
                path,
                action: "read",
                source,
            },
        }
    }
}
