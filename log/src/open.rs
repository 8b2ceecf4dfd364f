//! Opening: every record segment is read and checked, and a torn tail is told from damage.
use std::io;
use std::sync::Arc;

use crate::blob_tail::read_blobs;
use crate::blobs::BlobWriter;
use crate::directory::{Directory, Place, Segment, Shared};
use crate::error::{OpenError, Trouble, WalkError};
use crate::format::entry::{self, ENTRY_HEADER_BYTES, Entry};
use crate::format::header::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::format::{FORMAT_VERSION, FORMAT_VERSION_FIRST, FormatError, Salt};
use crate::id::LogId;
use crate::keys::KeyWriter;
use crate::log::{Active, LogOptions, Parts};
use crate::segment::{self, BLOBS, KEYS, OpenSegment, RECORDS, SegmentError};
use crate::storage::{Access, Storage, StorageFile};
use crate::walk::Walk;

const SEARCH_BYTES: usize = 1 << 20;

/// What was found when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no log: it was created.
    pub created: bool,
    /// Records in the log.
    pub records: u64,
    /// Record segments.
    pub segments: u64,
    /// Blob segments.
    pub blob_segments: u64,
    /// An unfinished commit was cut off, as after a power cut. Nothing in it was acknowledged,
    /// unless someone shortened the file.
    pub torn: Option<TornTail>,
    /// The newest blob segment ends in something unfinished or damaged. It is left as it is;
    /// blobs go to a new segment. Those in it are checked when read.
    pub blob_tail_left: Option<String>,
}

/// Bytes that were cut off the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub segment: String,
    /// Its length now, in bytes.
    pub at: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// The last record kept.
    pub last_sequence: u64,
}

pub(crate) fn open(
    storage: Arc<dyn Storage>,
    options: LogOptions,
    new_id: impl FnOnce() -> io::Result<LogId>,
) -> Result<(Parts, OpenReport), OpenError> {
    let lock = storage
        .lock()
        .map_err(Trouble::at(storage.locate("LOCK"), "lock"))?
        .ok_or_else(|| OpenError::InUse {
            path: storage.locate("LOCK"),
        })?;
    let mut report = OpenReport::default();
    let mut records = prepare(&*storage, SegmentKind::Records, RECORDS)?;
    let blobs = prepare(&*storage, SegmentKind::Blobs, BLOBS)?;
    let keys = prepare(&*storage, SegmentKind::Keys, KEYS)?;
    if records.is_empty() {
        if !blobs.is_empty() {
            let what = "no record segment is left, though there are blobs";
            return Err(corrupt(&*storage, 1, 0, 1, what.to_owned()));
        }
        let log = new_id().map_err(Trouble::at("the random source".to_owned(), "read"))?;
        let kind = SegmentKind::Records;
        segment::create(
            &*storage,
            SegmentHeader {
                kind,
                log,
                epoch: 1,
                number: 1,
                version: FORMAT_VERSION,
            },
        )?;
        records.push(1);
        report.created = true;
    }
    let (segments, found) = read_records(&*storage, &records)?;
    let Scanned {
        segment: _,
        durable,
        proven,
        end,
        marked,
        torn_bytes,
        opened,
    } = found;
    let tail = read_blobs(&*storage, &blobs, opened.header.log)?;
    // Nothing is changed before everything was found right.
    report.torn = settle(&*storage, &opened, (proven, end), torn_bytes, durable)?;
    report.blob_tail_left = tail.left;
    report.records = durable;
    report.segments = records.len() as u64;
    report.blob_segments = blobs.len() as u64;
    let next_blob = blobs.last().map_or(1, |last| last + 1);
    let max = options.blob_segment_bytes_max;
    let blobs = BlobWriter::new(max, tail.growing, next_blob, tail.bytes);
    let active = Active {
        segment: opened,
        end,
        marked,
    };
    let SegmentHeader { log, epoch, .. } = active.segment.header;
    let directory = Directory {
        segments,
        durable,
        blob_bytes: tail.bytes,
    };
    let shared = Arc::new(Shared::new(storage, log, epoch, directory));
    let keys = KeyWriter::after(&shared, &keys)?;
    Ok((
        Parts {
            shared,
            active,
            blobs,
            keys,
            lock,
        },
        report,
    ))
}

/// Creates the folder where it is missing, clears files that never became whole, and returns the
/// numbers of the segments, ascending.
fn prepare(storage: &dyn Storage, kind: SegmentKind, folder: &str) -> Result<Vec<u64>, OpenError> {
    let at = |action| Trouble::at(storage.locate(folder), action);
    storage
        .create_folder(folder)
        .map_err(at("create the folder"))?;
    let names = storage.list(folder).map_err(at("list the folder"))?;
    for name in &names {
        let whole = name.strip_suffix(segment::TEMPORARY);
        if whole.is_some_and(|whole| segment::number(kind, whole).is_some()) {
            let name = format!("{folder}/{name}");
            storage
                .remove(&name)
                .map_err(Trouble::at(storage.locate(&name), "remove"))?;
        }
    }
    // A killed process may have left a name that is not durable yet.
    storage.sync_folder(folder).map_err(at("sync"))?;
    Ok(names
        .iter()
        .filter_map(|name| segment::number(kind, name))
        .collect())
}

/// Cuts a torn tail off, and makes what a killed process, or a failed sync, left from the last mark on durable.
fn settle(
    storage: &dyn Storage,
    opened: &OpenSegment,
    (proven, end): (u64, u64),
    torn_bytes: u64,
    last_sequence: u64,
) -> Result<Option<TornTail>, OpenError> {
    let segment = storage.locate(&segment::name(SegmentKind::Records, opened.header.number));
    if torn_bytes > 0 {
        opened
            .file
            .truncate(end)
            .map_err(Trouble::at(segment.clone(), "cut back"))?;
    }
    let again = write_again(&*opened.file, proven, end);
    match again.map_err(Trouble::at(segment.clone(), "write again")) {
        // A mark alone, and no room for anything: nothing is built on it either, and what is there can be read.
        Err(trouble) if trouble.is_full() && end - proven <= ENTRY_HEADER_BYTES as u64 => {}
        outcome => outcome?,
    }
    opened
        .file
        .sync()
        .map_err(Trouble::at(segment.clone(), "sync"))?;
    Ok((torn_bytes > 0).then_some(TornTail {
        segment,
        at: end,
        bytes: torn_bytes,
        last_sequence,
    }))
}

/// Writes bytes over themselves. After a sync that failed the system may show them and yet take them for written,
/// so that another sync alone would leave them out (see [`StorageFile::sync`]).
fn write_again(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; SEARCH_BYTES.min(usize::try_from(to - from).unwrap_or(usize::MAX))];
    let mut at = from;
    while at < to {
        let wanted = buffer
            .len()
            .min(usize::try_from(to - at).unwrap_or(usize::MAX));
        let read = file.read_at(at, &mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(at, &buffer[..read])?;
        at += read as u64;
    }
    Ok(())
}

/// Reads all record segments and returns them, with the outcome for the last. `numbers` is not
/// empty.
fn read_records(
    storage: &dyn Storage,
    numbers: &[u64],
) -> Result<(Vec<Segment>, Scanned), OpenError> {
    let mut segments = Vec::with_capacity(numbers.len());
    let mut newest: Option<Scanned> = None;
    for (index, &number) in numbers.iter().enumerate() {
        let expected = newest.as_ref().map_or(0, |scanned| scanned.durable) + 1;
        if number != expected {
            let there = segment::name(SegmentKind::Records, number);
            let what = format!("this file is missing, or {there} does not belong here");
            return Err(corrupt(storage, expected, 0, expected, what));
        }
        let is_last = index + 1 == numbers.len();
        let before = newest.as_ref().map(|scanned| scanned.opened.header);
        let opened = open_records(storage, number, is_last, before)?;
        let scanned = scan(storage, opened, is_last)?;
        segments.push(scanned.segment.clone());
        newest = Some(scanned);
    }
    Ok((segments, newest.expect("there is at least one segment")))
}

fn open_records(
    storage: &dyn Storage,
    number: u64,
    is_last: bool,
    before: Option<SegmentHeader>,
) -> Result<OpenSegment, OpenError> {
    let access = if is_last { Access::Write } else { Access::Read };
    let opened = segment::open(storage, SegmentKind::Records, number, access);
    let opened =
        opened.map_err(|error| header_error(storage, SegmentKind::Records, number, error))?;
    let wrong = |what: &str| Err(corrupt(storage, number, 0, number, what.to_owned()));
    match before {
        Some(before) if before.log != opened.header.log => {
            wrong("it belongs to another log than the segment before it")
        }
        Some(before) if before.epoch > opened.header.epoch => {
            wrong("its epoch is lower than that of the segment before it")
        }
        Some(_) | None => Ok(opened),
    }
}

/// What a record segment holds.
struct Scanned {
    opened: OpenSegment,
    segment: Segment,
    /// The last record, here or before.
    durable: u64,
    /// Where the last mark begins: what comes before it was durable. It may not be itself.
    proven: u64,
    /// Where the sound entries end.
    end: u64,
    /// Whether the last of them is a mark.
    marked: bool,
    /// What follows them: an unfinished commit.
    torn_bytes: u64,
}

/// Checks every entry of a segment. Damage is an error, except in the last segment where no proof
/// is found that what is damaged was ever durable.
fn scan(storage: &dyn Storage, opened: OpenSegment, is_last: bool) -> Result<Scanned, OpenError> {
    let number = opened.header.number;
    let io_at = || storage.locate(&segment::name(SegmentKind::Records, number));
    let length = opened
        .file
        .len()
        .map_err(Trouble::at(io_at(), "read the length"))?;
    let mut walk = Walk::new(
        Arc::clone(&opened.file),
        opened.salt,
        HEADER_BYTES as u64,
        length,
    );
    let mut segment = Segment::new(number);
    let (mut durable, mut marked, mut torn_bytes) = (number - 1, false, 0);
    let mut proven = HEADER_BYTES as u64;
    loop {
        match walk.next() {
            Ok(None) => break,
            Ok(Some((offset, Entry::Record { sequence, .. }))) if sequence == durable + 1 => {
                segment.remember(Place { sequence, offset });
                (durable, marked) = (sequence, false);
            }
            Ok(Some((offset, Entry::Mark { sequence }))) if sequence == durable => {
                (marked, proven) = (true, offset);
            }
            Ok(Some((offset, Entry::Record { sequence, .. } | Entry::Mark { sequence }))) => {
                let what = FormatError::Sequence { found: sequence }.to_string();
                return Err(corrupt(storage, number, offset, durable + 1, what));
            }
            Err(WalkError::Io(source)) => {
                return Err(OpenError::Io {
                    path: io_at(),
                    action: "read",
                    source,
                });
            }
            Err(WalkError::Damaged { offset, what }) => {
                let proof = match is_last {
                    true => find_mark(&*opened.file, opened.salt, offset, length, durable + 1)
                        .map_err(Trouble::at(io_at(), "read"))?
                        .is_some(),
                    false => true,
                };
                if proof {
                    return Err(corrupt(
                        storage,
                        number,
                        offset,
                        durable + 1,
                        what.to_string(),
                    ));
                }
                torn_bytes = length - offset;
                break;
            }
        }
    }
    let end = length - torn_bytes;
    segment.end = end;
    Ok(Scanned {
        opened,
        segment,
        durable,
        proven,
        end,
        marked,
        torn_bytes,
    })
}

/// Looks behind damage for a mark that the record `sequence`, or a later one, was durable.
fn find_mark(
    file: &dyn StorageFile,
    salt: Salt,
    from: u64,
    length: u64,
    sequence: u64,
) -> io::Result<Option<u64>> {
    // No more records fit behind the damage than it has room for.
    let range = sequence..sequence + (length - from) / ENTRY_HEADER_BYTES as u64 + 1;
    let mut buffer = vec![0; SEARCH_BYTES];
    let mut at = from;
    loop {
        let read = file.read_at(at, &mut buffer)?;
        let found = entry::find_mark(buffer.get(..read).unwrap_or_default(), salt, &range);
        if found.is_some() || read < SEARCH_BYTES {
            return Ok(found);
        }
        at += (SEARCH_BYTES - ENTRY_HEADER_BYTES + 1) as u64;
    }
}

/// Says why a segment could not be opened.
pub(crate) fn header_error(
    storage: &dyn Storage,
    kind: SegmentKind,
    number: u64,
    error: SegmentError,
) -> OpenError {
    let path = storage.locate(&segment::name(kind, number));
    match error {
        SegmentError::Io(source) => OpenError::Io {
            path,
            action: "open the file",
            source,
        },
        SegmentError::Damaged(FormatError::Version { found }) => {
            let reads = FORMAT_VERSION_FIRST..=FORMAT_VERSION;
            OpenError::UnsupportedVersion {
                segment: path,
                found,
                reads,
            }
        }
        SegmentError::Damaged(what) => {
            let what = what.to_string();
            OpenError::Corrupt {
                segment: path,
                offset: 0,
                sequence: number,
                what,
            }
        }
    }
}

/// Says that the segment `number` is damaged at `offset`, where the record `sequence` should be.
fn corrupt(
    storage: &dyn Storage,
    number: u64,
    offset: u64,
    sequence: u64,
    what: String,
) -> OpenError {
    let segment = storage.locate(&segment::name(SegmentKind::Records, number));
    OpenError::Corrupt {
        segment,
        offset,
        sequence,
        what,
    }
}
