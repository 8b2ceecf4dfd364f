//! The writing side of the log.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use prost::Message as _;

use crate::blobs::BlobWriter;
use crate::cipher::{self, Kind};
use crate::directory::{Place, Segment, Shared};
use crate::error::{AppendError, EraseError, OpenError, Trouble};
use crate::format::entry::ENTRY_HEADER_BYTES;
use crate::format::header::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::format::{BLOB_BYTES_MAX, FORMAT_VERSION, RECORD_BYTES_MAX, blob, entry};
use crate::id::LogId;
use crate::keys::KeyWriter;
use crate::open::{self, OpenReport};
use crate::pending::Pending;
use crate::reader::{LogReader, Target};
use crate::record::{BlobRef, Record};
use crate::seal::{self, SealError};
use crate::segment::{self, OpenSegment};
use crate::storage::{Access, Storage, StorageLock};

/// Records that may wait for a sync, in bytes.
pub const PENDING_RECORD_BYTES_MAX: usize = 256 << 20;

/// How large files get. A change applies from the next segment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A record segment that has reached this size gets no further commit, in bytes. One commit
    /// never spans two segments, so that a large one makes its segment larger.
    pub segment_bytes_max: u64,
    /// A blob that would make its segment larger than this goes to the next one, in bytes.
    pub blob_segment_bytes_max: u64,
}

impl Default for LogOptions {
    /// 64 MiB of records, 256 MiB of blobs.
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            blob_segment_bytes_max: 256 << 20,
        }
    }
}

/// The log, for its one writer. Any number of [`LogReader`]s may read meanwhile.
///
/// Dropping it does not sync: what was appended since the last [`Log::sync`] is lost.
pub struct Log {
    shared: Arc<Shared>,
    options: LogOptions,
    active: Active,
    blobs: BlobWriter,
    keys: KeyWriter,
    appended: u64,
    pending: Pending,
    poison: Option<String>,
    _lock: Box<dyn StorageLock>,
}

/// The record segment that grows.
pub(crate) struct Active {
    pub(crate) segment: OpenSegment,
    /// Durable bytes, and a mark behind them that may not be.
    pub(crate) end: u64,
    /// Whether a mark of the durable sequence is the last thing written.
    pub(crate) marked: bool,
}

/// What opening a log yields to the writer.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    pub(crate) blobs: BlobWriter,
    pub(crate) keys: KeyWriter,
    pub(crate) lock: Box<dyn StorageLock>,
}

impl Log {
    /// Opens the log in `storage` and takes it for this process alone. Creates it where there is
    /// none, with a random id. Checks every record's checksum, so that it costs one read of all
    /// record segments (blobs are checked when read); a tail torn by a power cut is cut off and
    /// reported.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another log has the storage open, [`OpenError::Corrupt`] if a
    /// record that was durable is damaged or gone, [`OpenError::UnsupportedVersion`] for a newer
    /// format, [`OpenError::Io`] if the storage fails.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: LogOptions,
    ) -> Result<(Self, OpenReport), OpenError> {
        Self::open_with(storage, options, LogId::random)
    }

    /// As [`Log::open`], but a log that has to be created gets this id. For fixtures and restores.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_or_create_as(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        id: LogId,
    ) -> Result<(Self, OpenReport), OpenError> {
        Self::open_with(storage, options, || Ok(id))
    }

    fn open_with(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        id: impl FnOnce() -> std::io::Result<LogId>,
    ) -> Result<(Self, OpenReport), OpenError> {
        let (parts, report) = open::open(storage, options, id)?;
        let Parts {
            shared,
            active,
            blobs,
            keys,
            lock,
        } = parts;
        let (appended, pending) = (shared.read().durable, Pending::default());
        let poison = None;
        let mut log = Self {
            shared,
            options,
            active,
            blobs,
            keys,
            appended,
            pending,
            poison,
            _lock: lock,
        };
        log.take_over_empty()?;
        log.mark();
        Ok((log, report))
    }

    /// Returns the log's name, drawn when it was created.
    pub fn id(&self) -> LogId {
        self.shared.id
    }

    /// Returns the epoch, from 1: raised when a log is restored or rebuilt, since sequences seen
    /// before then may mean other records now.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Returns the sequence of the newest record, durable or not; 0 for an empty log.
    pub fn appended_sequence(&self) -> u64 {
        self.appended
    }

    /// Returns the sequence up to which every record survives a power cut; 0 for an empty log.
    pub fn durable_sequence(&self) -> u64 {
        self.shared.read().durable
    }

    /// Returns a reader; it and its clones may be used from any thread, and outlive the log.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Appends a record, whose `sequence` field is set here, and returns its sequence. It is
    /// kept in memory until the next [`Log::sync`].
    ///
    /// # Errors
    /// [`AppendError::NoBody`], [`AppendError::RecordTooLarge`] and [`AppendError::Backlog`]
    /// change nothing; [`AppendError::Poisoned`] after a failed sync.
    pub fn append(&mut self, mut record: Record) -> Result<u64, AppendError> {
        self.check_health()?;
        if record.body.is_none() {
            return Err(AppendError::NoBody);
        }
        let sequence = self.appended + 1;
        record.sequence = sequence;
        let (shared, keys) = (&self.shared, &mut self.keys);
        let sealed = seal::seal(&mut record, &mut |number| keys.get(shared, number));
        sealed.map_err(|error| self.unsealed(error))?;
        let (bytes, max) = (record.encoded_len(), RECORD_BYTES_MAX);
        if bytes > max {
            return Err(AppendError::RecordTooLarge { bytes, max });
        }
        let waiting = self.pending.bytes();
        if waiting + bytes > PENDING_RECORD_BYTES_MAX {
            return Err(AppendError::Backlog { bytes: waiting });
        }
        self.pending.push(&record);
        self.appended = sequence;
        Ok(sequence)
    }

    /// Appends a blob and returns how a record refers to it. It is durable, and can be read, after
    /// the next [`Log::sync`]. The same bytes put twice are two blobs: each can be erased alone.
    ///
    /// # Errors
    /// [`AppendError::BlobTooLarge`] changes nothing. [`AppendError::Full`] and
    /// [`AppendError::Io`] take the log back to its last sync, as there.
    pub fn put_blob(&mut self, bytes: &[u8]) -> Result<BlobRef, AppendError> {
        self.put(bytes, 0)
    }

    /// As [`Log::put_blob`], but what is written is sealed with a key of [`Log::new_key`]: it can be read for as
    /// long as that is not destroyed. Readers open it.
    ///
    /// # Errors
    /// As [`Log::put_blob`]; [`AppendError::Key`] if the key cannot be had.
    pub fn put_sealed(&mut self, key: u64, bytes: &[u8]) -> Result<BlobRef, AppendError> {
        self.check_health()?;
        if key == 0 {
            return self.put(bytes, 0);
        }
        let found = self.keys.get(&self.shared, key).map_err(SealError::Key);
        let found = found.map_err(|error| self.unsealed(error))?;
        let sealed = cipher::seal(&found, Kind::Blob, bytes).map_err(SealError::Io);
        let sealed = sealed.map_err(|error| self.unsealed(error))?;
        self.put(&sealed, key)
    }

    fn put(&mut self, bytes: &[u8], key: u64) -> Result<BlobRef, AppendError> {
        self.check_health()?;
        if bytes.len() > BLOB_BYTES_MAX {
            let (bytes, max) = (bytes.len(), BLOB_BYTES_MAX);
            return Err(AppendError::BlobTooLarge { bytes, max });
        }
        let put = self.blobs.put(&self.shared, bytes, key);
        put.map_err(|trouble| self.fail(trouble))
    }

    /// Returns a key that was never used, from 1: a number that records and blobs name. It is durable already. Cost: a
    /// write and a sync for every 1024.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::Io`] take the log back to its last sync, as [`Log::sync`].
    pub fn new_key(&mut self) -> Result<u64, AppendError> {
        self.check_health()?;
        let key = self.keys.next(&self.shared);
        key.map_err(|trouble| self.fail(trouble))
    }

    /// Destroys keys for ever: what was sealed with them, here and in every copy that does not hold the keys too,
    /// can be read no more. After a failure, or a crash before this returned, destroy them again. Numbers that were
    /// never given out are passed over. Cost: one sync for every 65 536 keys in a row.
    ///
    /// Records that wait for a sync are made durable first.
    ///
    /// # Errors
    /// Those of [`Log::sync`]; the log is poisoned if a key cannot be overwritten.
    pub fn destroy_keys(&mut self, numbers: &[u64]) -> Result<(), AppendError> {
        self.sync()?;
        let destroyed = self.keys.destroy(&self.shared, numbers);
        destroyed.map_err(|trouble| self.verdict(trouble))
    }

    /// Destroys all keys above `last` that were made before this log was opened. `last` is the highest that a record
    /// names: what others may have sealed was lost with an unfinished commit.
    ///
    /// # Errors
    /// As [`Log::destroy_keys`]; [`AppendError::Key`] if there are not as many keys: some of the folder are missing, and
    /// would be given out twice.
    pub fn destroy_unused_keys(&mut self, last: u64) -> Result<(), AppendError> {
        self.check_health()?;
        let made = self.keys.made();
        if last > made {
            let folder = self.shared.storage.locate(segment::KEYS);
            let durable = self.durable_sequence();
            let what = format!(
                "records name keys up to {last}, {folder} ends with {made}: restore it from the backup of the keys"
            );
            return Err(AppendError::Key { what, durable });
        }
        let destroyed = self.keys.destroy_above(&self.shared, last);
        destroyed.map_err(|trouble| self.verdict(trouble))
    }

    fn unsealed(&self, error: SealError) -> AppendError {
        let what = error.to_string();
        let durable = self.durable_sequence();
        AppendError::Key { what, durable }
    }

    /// A segment of an earlier version that has no record yet becomes one of this version.
    fn take_over_empty(&mut self) -> Result<(), OpenError> {
        let header = self.active.segment.header;
        if header.version < FORMAT_VERSION && self.active.end == HEADER_BYTES as u64 {
            let version = FORMAT_VERSION;
            let header = SegmentHeader { version, ..header };
            self.active.segment = segment::create(&*self.shared.storage, header)?;
        }
        Ok(())
    }

    /// Makes everything appended so far durable, blobs before the records that may refer to them,
    /// and returns the durable sequence. One call for many records is one group commit.
    ///
    /// Cost: a write and a sync for the records, the same for blobs if there are any; nothing if
    /// nothing was appended. A new segment costs three syncs more.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::Io`]: everything since the last sync is gone, from
    /// the disk too, and must be appended again. [`AppendError::Poisoned`]: a sync failed, and
    /// nothing more is taken until the log is opened again.
    pub fn sync(&mut self) -> Result<u64, AppendError> {
        self.check_health()?;
        match self.commit() {
            Ok(()) => Ok(self.appended),
            Err(trouble) => Err(self.fail(trouble)),
        }
    }

    /// Erases durable blobs for ever: marks them, overwrites their payloads with zeros, gives the
    /// space back. References to them stay valid and yield [`BlobError::Erased`](crate::BlobError::Erased). After a
    /// failure, or a crash before this returned, erase again. Cost: two syncs for each blob segment that they lie in.
    ///
    /// Copies that the disk itself keeps (snapshots, copy on write, worn flash) are out of reach.
    ///
    /// # Errors
    /// [`EraseError::Blob`] if there is no such blob: nothing was changed then. [`EraseError::Append`] if the storage
    /// fails; the log is poisoned then, unless it was for want of space.
    pub fn erase_blobs(&mut self, references: &[BlobRef]) -> Result<(), EraseError> {
        self.check_health()?;
        let mut places: BTreeMap<u64, (OpenSegment, Vec<(u64, u64)>)> = BTreeMap::new();
        for reference in references {
            let target = Target::new(reference)?;
            let (segment, ranges) = match places.entry(target.segment) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let segment = target.open(&self.shared, Access::Write)?;
                    new.insert((segment, Vec::new()))
                }
            };
            target.read_header(&self.shared, segment)?;
            let payload = target.offset + blob::BLOB_HEADER_BYTES as u64;
            ranges.push((payload, u64::from(reference.length)));
        }
        for (number, (segment, ranges)) in &places {
            let name = segment::name(SegmentKind::Blobs, *number);
            let path = self.shared.storage.locate(&name);
            let erased = erase(&path, segment, ranges);
            erased.map_err(|mut trouble| {
                trouble.fatal &= !trouble.is_full();
                EraseError::Append(self.verdict(trouble))
            })?;
        }
        Ok(())
    }

    fn check_health(&self) -> Result<(), AppendError> {
        match &self.poison {
            None => Ok(()),
            Some(what) => {
                let durable = self.durable_sequence();
                Err(AppendError::Poisoned {
                    what: what.clone(),
                    durable,
                })
            }
        }
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.blobs.sync(&self.shared)?;
        if !self.pending.is_empty() {
            let bytes = self.pending.iter().map(entry::record_bytes).sum::<usize>() as u64;
            let is_empty = self.active.end == HEADER_BYTES as u64;
            let outdated = self.active.segment.header.version < FORMAT_VERSION;
            let full = self.active.end + bytes > self.options.segment_bytes_max;
            if !is_empty && (full || outdated) {
                self.next_segment()?;
            }
            self.write_records()?;
        }
        self.shared.write().blob_bytes = self.blobs.durable_bytes();
        self.mark();
        Ok(())
    }

    /// Writes what is pending, syncs it, and shows it to the readers.
    fn write_records(&mut self) -> Result<(), Trouble> {
        let salt = self.active.segment.salt;
        let durable = self.durable_sequence();
        let mut bytes = Vec::with_capacity(self.pending.bytes() * 5 / 4);
        if !self.active.marked && durable >= self.active.segment.header.number {
            entry::push_mark(&mut bytes, salt, durable);
        }
        let mut places = Vec::new();
        for (sequence, payload) in (durable + 1..).zip(self.pending.iter()) {
            places.push(Place {
                sequence,
                offset: self.active.end + bytes.len() as u64,
            });
            entry::push_record(&mut bytes, salt, sequence, payload);
        }
        let file = &self.active.segment.file;
        file.write_at(self.active.end, &bytes)
            .map_err(Trouble::at(self.active_path(), "write"))?;
        file.sync()
            .map_err(Trouble::fatal(self.active_path(), "sync"))?;
        self.active.end += bytes.len() as u64;
        self.active.marked = false;
        self.pending.clear();
        let mut directory = self.shared.write();
        directory.durable = self.appended;
        let segment = directory.grow_last(self.active.end);
        places.into_iter().for_each(|place| segment.remember(place));
        Ok(())
    }

    /// Writes a mark behind durable records: proof, at the next opening, that they were durable,
    /// so that damage to them is not taken for a torn tail. It needs no sync, and no success: the
    /// next commit brings its own.
    fn mark(&mut self) {
        if self.write_mark().is_err() {
            // Half a mark may be there: the next write covers it, an opening cuts it off.
            self.active.marked = false;
        }
    }

    fn write_mark(&mut self) -> Result<(), Trouble> {
        let durable = self.durable_sequence();
        let segment = &self.active.segment;
        if self.active.marked || durable < segment.header.number {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES);
        entry::push_mark(&mut bytes, segment.salt, durable);
        segment
            .file
            .write_at(self.active.end, &bytes)
            .map_err(Trouble::at(self.active_path(), "write"))?;
        self.active.end += bytes.len() as u64;
        self.active.marked = true;
        self.shared.write().grow_last(self.active.end);
        Ok(())
    }

    /// Seals the active segment and starts the next.
    fn next_segment(&mut self) -> Result<(), Trouble> {
        self.write_mark()?;
        let file = &self.active.segment.file;
        file.sync()
            .map_err(Trouble::fatal(self.active_path(), "sync"))?;
        let first = self.durable_sequence() + 1;
        let shared = &self.shared;
        let (kind, log, epoch) = (SegmentKind::Records, shared.id, shared.epoch);
        let header = SegmentHeader {
            kind,
            log,
            epoch,
            number: first,
            version: FORMAT_VERSION,
        };
        let segment = segment::create(&*shared.storage, header)?;
        let mut directory = shared.write();
        directory.segments.push(Segment::new(first));
        self.active = Active {
            segment,
            end: HEADER_BYTES as u64,
            marked: false,
        };
        Ok(())
    }

    /// Takes the log back to its last durable record after a failure, or poisons it.
    fn fail(&mut self, trouble: Trouble) -> AppendError {
        self.pending.clear();
        self.appended = self.durable_sequence();
        if !trouble.fatal
            && let Err(worse) = self.cut_back()
        {
            return self.verdict(worse);
        }
        self.verdict(trouble)
    }

    fn cut_back(&mut self) -> Result<(), Trouble> {
        let file = &self.active.segment.file;
        file.truncate(self.active.end)
            .map_err(Trouble::fatal(self.active_path(), "cut back"))?;
        file.sync()
            .map_err(Trouble::fatal(self.active_path(), "sync"))?;
        self.blobs.cut_back(&self.shared)
    }

    /// Tells the caller what a failure comes to.
    fn verdict(&mut self, trouble: Trouble) -> AppendError {
        let durable = self.durable_sequence();
        let full = trouble.is_full();
        let Trouble {
            path,
            action,
            source,
            fatal,
        } = trouble;
        if fatal {
            let what = format!("{path}: could not {action}: {source}");
            self.poison = Some(what.clone());
            return AppendError::Poisoned { what, durable };
        }
        match full {
            true => AppendError::Full { path, durable },
            false => AppendError::Io {
                path,
                action,
                source,
                durable,
            },
        }
    }

    fn active_path(&self) -> String {
        let name = segment::name(SegmentKind::Records, self.active.segment.header.number);
        self.shared.storage.locate(&name)
    }
}

/// Marks blobs of one segment as erased, then overwrites their payloads.
fn erase(path: &str, segment: &OpenSegment, payloads: &[(u64, u64)]) -> Result<(), Trouble> {
    let file = &segment.file;
    let state = (blob::BLOB_HEADER_BYTES - blob::STATE) as u64;
    for (payload, _) in payloads {
        file.write_at(payload - state, &blob::STATE_ERASED)
            .map_err(Trouble::at(path.to_owned(), "mark the blob as erased"))?;
    }
    file.sync()
        .map_err(Trouble::fatal(path.to_owned(), "sync"))?;
    file.erase(payloads)
        .map_err(Trouble::fatal(path.to_owned(), "overwrite the blob"))
}
