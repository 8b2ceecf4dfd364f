//! The files of the index: a manifest, and segments of pages that never change. `FORMAT.md` has
//! them to the byte.
//!
//! A checkpoint writes the pages that changed since the last one into a new segment, syncs it, and
//! then replaces the manifest in one step: whoever opens the folder later finds the state of the
//! last checkpoint that came to its end.

#[cfg(test)]
mod anew;
mod disk;
#[cfg(test)]
mod hostile;
#[allow(unsafe_code, reason = "mapping a file")]
mod map;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

pub use disk::{Disk, DiskFile, RealDisk};
pub(crate) use map::MappedPage;
use map::Segment;

use crate::column::{Column, Page};

const MAGIC: [u8; 8] = *b"RCINDEX\0";
/// The only version that is read and written.
const VERSION: u32 = 2;
const MANIFEST: &str = "manifest";
const MANIFEST_NEW: &str = "manifest.new";
const LOCK: &str = "lock";
/// Magic, version, checksum, length.
const HEADER: usize = 24;
/// Pages begin at multiples of this.
const ALIGN: usize = 64;
/// A segment of which less than one in this many bytes is in use is written anew.
const SPARSE: u64 = 2;

/// What is wrong with the files of the index: they are not what was written to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Damage {
    /// The file, or the folder.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// Why an index could not be opened or written. Whatever it is, the index can be made anew from
/// the log: delete the folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{path}: in use by another process")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Written by another version.
    #[error("{path}: format version {found}, this build reads version {VERSION}")]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not what was written.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Made for other embeddings.
    #[error("{path}: made for {found}, not for {expected}")]
    OtherContract {
        /// The manifest.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
}

impl From<Damage> for StoreError {
    fn from(Damage { path, what }: Damage) -> Self {
        Self::Damaged { path, what }
    }
}

/// The manifest, as it is archived.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Debug)]
struct Manifest {
    /// What embeddings these are, in the words of the caller, and their number of values.
    contract: String,
    dimension: u32,
    sequence: u64,
    /// The number of the next segment.
    next_segment: u64,
    /// The segments in use, with their lengths in bytes.
    segments: Vec<(u64, u64)>,
    columns: Vec<ManifestColumn>,
    /// What the tables keep beside their columns, in the order of `State::save`.
    numbers: Vec<u64>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Debug)]
struct ManifestColumn {
    page_words: u32,
    pages: Vec<ManifestPage>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Copy, Debug)]
struct ManifestPage {
    /// Which of the manifest's segments.
    segment: u32,
    checksum: u32,
    offset: u64,
}

/// The columns and numbers of a state, in the order in which they are saved.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    columns: Vec<Column>,
    numbers: Vec<u64>,
}

impl Parts {
    pub(crate) fn save(&mut self, column: &Column) {
        self.columns.push(column.clone());
    }

    pub(crate) fn number(&mut self, number: impl TryInto<u64>) {
        self.numbers.push(number.try_into().unwrap_or(u64::MAX));
    }

    /// Reads every page, which checks those that were not checked yet, and gets those of hot
    /// columns into memory.
    pub(crate) fn warm(&mut self) {
        self.columns.iter_mut().for_each(Column::warm);
    }

    /// Bytes of pages that are in no file.
    pub(crate) fn fresh_bytes(&self) -> usize {
        let fresh = |column: &Column| {
            let fresh = column.pages().filter(|page| page.file().is_none());
            fresh.count() * column.page_words() * size_of::<u64>()
        };
        self.columns.iter().map(fresh).sum()
    }

    /// For reading back: first saved, first given.
    pub(crate) fn reader(self) -> PartsReader {
        PartsReader {
            columns: self.columns.into_iter(),
            numbers: self.numbers.into_iter(),
        }
    }
}

/// Gives back what was saved, in the same order; `None` where it ends, or does not fit.
#[derive(Debug)]
pub(crate) struct PartsReader {
    columns: std::vec::IntoIter<Column>,
    numbers: std::vec::IntoIter<u64>,
}

impl PartsReader {
    /// The pages of the next column, for one that is like `column`.
    pub(crate) fn column(&mut self, column: Column) -> Option<Column> {
        column.with_pages_of(self.columns.next()?)
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.numbers.next()?).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.len() == 0 && self.numbers.len() == 0
    }
}

/// What a checkpoint has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Pages written.
    pub pages: usize,
    /// Bytes written.
    pub bytes: u64,
    /// Segments in use after it.
    pub segments: usize,
    /// Bytes of them, those no longer in use included.
    pub file_bytes: u64,
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    contract: String,
    next_segment: u64,
    damage: Arc<OnceLock<Damage>>,
    _lock: std::fs::File,
}

/// What is asked of a folder.
pub(crate) struct Wanted<'a> {
    pub(crate) contract: &'a str,
    pub(crate) dimension: usize,
}

impl Store {
    /// Locks the folder, which is made if it is not there, and reads its manifest. Without one,
    /// nothing but the store is returned.
    pub(crate) fn open(
        folder: &Path,
        disk: Arc<dyn Disk>,
        wanted: &Wanted<'_>,
    ) -> Result<(Self, Option<(u64, Parts)>), StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let lock_path = folder.join(LOCK);
        let lock = std::fs::File::create(&lock_path).map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => StoreError::InUse {
                path: folder.to_owned(),
            },
            std::fs::TryLockError::Error(source) => StoreError::Io {
                path: lock_path.clone(),
                source,
            },
        })?;
        let mut store = Self {
            folder: folder.to_owned(),
            disk,
            contract: wanted.contract.to_owned(),
            next_segment: 1,
            damage: Arc::default(),
            _lock: lock,
        };
        let path = folder.join(MANIFEST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                store.sweep(&[]);
                return Ok((store, None));
            }
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let manifest = read_manifest(&path, &bytes)?;
        let expected = format!("{} of {} values", wanted.contract, wanted.dimension);
        let found = format!("{} of {} values", manifest.contract, manifest.dimension);
        if expected != found {
            return Err(StoreError::OtherContract {
                path,
                found,
                expected,
            });
        }
        store.next_segment = manifest.next_segment;
        let parts = store.parts(&path, &manifest)?;
        let numbers: Vec<u64> = manifest.segments.iter().map(|segment| segment.0).collect();
        store.sweep(&numbers);
        Ok((store, Some((manifest.sequence, parts))))
    }

    pub(crate) fn contract(&self) -> &str {
        &self.contract
    }

    /// The first damage found in a file.
    pub(crate) fn damage(&self) -> &Arc<OnceLock<Damage>> {
        &self.damage
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn parts(&self, path: &Path, manifest: &Manifest) -> Result<Parts, StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let numbers: Vec<u64> = manifest.segments.iter().map(|segment| segment.0).collect();
        // The next segment must not be written over one that is mapped.
        let last = numbers.last().copied().unwrap_or(0);
        let next = last < manifest.next_segment && manifest.next_segment < u64::MAX;
        if !numbers.is_sorted_by(|a, b| a < b) || !next {
            return Err(damaged("segments are not numbered in order"));
        }
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for (number, length) in &manifest.segments {
            let path = self.segment_path(*number);
            let segment = Segment::open(*number, &path, &self.damage)
                .map_err(|source| StoreError::Io { path, source })?;
            if u64::try_from(segment.bytes()).ok() != Some(*length) {
                return Err(StoreError::Damaged {
                    path: segment.path().to_owned(),
                    what: format!("{} bytes long, not {length}", segment.bytes()),
                });
            }
            segments.push(Arc::new(segment));
        }
        let mut parts = Parts {
            columns: Vec::new(),
            numbers: manifest.numbers.clone(),
        };
        for saved in &manifest.columns {
            let words = usize::try_from(saved.page_words).unwrap_or(0);
            let mut column = Column::with_page_words(words);
            for page in &saved.pages {
                let segment = usize::try_from(page.segment).ok();
                let segment = segment.and_then(|segment| segments.get(segment));
                let mapped = segment.zip(usize::try_from(page.offset).ok());
                let mapped = mapped.and_then(|(segment, offset)| {
                    MappedPage::new(Arc::clone(segment), offset, words, page.checksum)
                });
                let mapped = mapped.ok_or_else(|| damaged("a page lies outside its segment"))?;
                column.push(Page::mapped(mapped));
            }
            parts.columns.push(column);
        }
        // Pages named again and again would take more memory than the files have bytes.
        let pages: usize = parts.columns.iter().map(Column::bytes).sum();
        if pages > segments.iter().map(|segment| segment.bytes()).sum() {
            return Err(damaged("pages lie in the same place"));
        }
        Ok(parts)
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("segment-{number:016x}"))
    }

    /// Writes what has changed, and returns the same parts with every page in a file. `anew`: writes everything, and
    /// sees to it that no earlier segment is left.
    pub(crate) fn checkpoint(
        &mut self,
        sequence: u64,
        dimension: usize,
        parts: &Parts,
        anew: bool,
    ) -> Result<(Parts, Checkpoint), StoreError> {
        let sparse = sparse_segments(parts);
        let lies_well =
            |page: &Arc<MappedPage>| !anew && !sparse.contains(&page.segment().number());
        let stays = |page: &Page| page.file().is_some_and(lies_well);
        let all = || parts.columns.iter().flat_map(Column::pages);
        let written = all().filter(|page| !stays(page)).count();
        let mut places = Vec::with_capacity(written);
        let mut segment = None;
        let mut bytes = 0;
        if written > 0 {
            let number = self.next_segment;
            // The number is used up even if writing fails: what is there may be anything.
            self.next_segment += 1;
            let path = self.segment_path(number);
            let io = |source| StoreError::Io {
                path: path.clone(),
                source,
            };
            let mut file = self.disk.create(&path).map_err(io)?;
            let unfinished = Unfinished {
                disk: &*self.disk,
                path: &path,
            };
            for page in all().filter(|page| !stays(page)) {
                let page: &[u8] = bytemuck::cast_slice(page.words());
                places.push((bytes, crc32c::crc32c(page)));
                file.write_all(page).map_err(io)?;
                let padding = page.len().next_multiple_of(ALIGN) - page.len();
                file.write_all(&[0; ALIGN][..padding]).map_err(io)?;
                bytes += page.len() + padding;
            }
            file.sync().map_err(io)?;
            self.disk.sync_folder(&self.folder).map_err(io)?;
            std::mem::forget(unfinished);
            segment = Some(Arc::new(
                Segment::open(number, &path, &self.damage).map_err(io)?,
            ));
        }
        // Pages of sparse segments were read above for the first time, perhaps.
        if let Some(damage) = self.damage.get() {
            return Err(damage.clone().into());
        }
        let mut next = Parts {
            columns: Vec::new(),
            numbers: parts.numbers.clone(),
        };
        let mut places = places.into_iter();
        for column in &parts.columns {
            let words = column.page_words();
            let mut mapped = column.without_pages();
            for page in column.pages() {
                if stays(page) {
                    mapped.push(page.clone());
                    continue;
                }
                let moved = places.next().zip(segment.as_ref());
                let moved = moved.and_then(|((offset, checksum), segment)| {
                    MappedPage::new(Arc::clone(segment), offset, words, checksum)
                });
                let moved = moved.ok_or_else(|| StoreError::Damaged {
                    path: self.segment_path(self.next_segment - 1),
                    what: "shorter than it was written".to_owned(),
                })?;
                mapped.push_written(moved, page);
            }
            next.columns.push(mapped);
        }
        let manifest = self.manifest(sequence, dimension, &next);
        self.write_manifest(&manifest)?;
        let numbers: Vec<u64> = manifest.segments.iter().map(|segment| segment.0).collect();
        self.sweep(&numbers);
        if anew {
            self.check_swept(&numbers)?;
        }
        let done = Checkpoint {
            pages: written,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            segments: numbers.len(),
            file_bytes: manifest.segments.iter().map(|segment| segment.1).sum(),
        };
        Ok((next, done))
    }

    fn manifest(&self, sequence: u64, dimension: usize, parts: &Parts) -> Manifest {
        let mut segments: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
        for page in parts.columns.iter().flat_map(Column::pages) {
            if let Some(page) = page.file() {
                let bytes = u64::try_from(page.segment().bytes()).unwrap_or(u64::MAX);
                segments.insert(page.segment().number(), (0, bytes));
            }
        }
        for (position, entry) in (0..).zip(segments.values_mut()) {
            entry.0 = position;
        }
        let page = |page: &Page| {
            let page = page.file().expect("a checkpoint has written every page");
            let (segment, offset, checksum) = page.place();
            ManifestPage {
                segment: segments[&segment].0,
                checksum,
                offset: u64::try_from(offset).unwrap_or(u64::MAX),
            }
        };
        let columns = parts.columns.iter().map(|column| ManifestColumn {
            page_words: u32::try_from(column.page_words()).unwrap_or(u32::MAX),
            pages: column.pages().map(page).collect(),
        });
        Manifest {
            contract: self.contract.clone(),
            dimension: u32::try_from(dimension).unwrap_or(u32::MAX),
            sequence,
            next_segment: self.next_segment,
            columns: columns.collect(),
            segments: segments
                .iter()
                .map(|(n, (_, bytes))| (*n, *bytes))
                .collect(),
            numbers: parts.numbers.clone(),
        }
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let (path, new) = (self.folder.join(MANIFEST), self.folder.join(MANIFEST_NEW));
        let bytes = manifest_bytes(manifest).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            what: format!("cannot be archived: {error}"),
        })?;
        let io = |source| StoreError::Io {
            path: path.clone(),
            source,
        };
        let mut file = self.disk.create(&new).map_err(io)?;
        file.write_all(&bytes).map_err(io)?;
        file.sync().map_err(io)?;
        drop(file);
        self.disk.rename(&new, &path).map_err(io)?;
        self.disk.sync_folder(&self.folder).map_err(io)
    }

    /// Fails if there is a segment that is not to be kept.
    fn check_swept(&self, keep: &[u64]) -> Result<(), StoreError> {
        let io = |source| StoreError::Io {
            path: self.folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if segment_number(&entry).is_some_and(|number| !keep.contains(&number)) {
                let path = entry.path();
                let source = io::Error::other("this file cannot be removed");
                return Err(StoreError::Io { path, source });
            }
        }
        self.disk.sync_folder(&self.folder).map_err(io)
    }

    /// Deletes segments that no manifest names. What cannot be deleted is tried again next time.
    fn sweep(&self, keep: &[u64]) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            if segment_number(&entry).is_some_and(|number| !keep.contains(&number)) {
                let _ = self.disk.remove(&entry.path());
            }
        }
    }
}

/// A segment that is being written; if that fails, the room that it takes is given back.
struct Unfinished<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // If it cannot be removed now, the next checkpoint does.
        let _ = self.disk.remove(self.path);
    }
}

/// The number of the segment that a file of the folder is.
fn segment_number(entry: &std::fs::DirEntry) -> Option<u64> {
    let name = entry.file_name();
    let number = name.to_str()?.strip_prefix("segment-")?;
    u64::from_str_radix(number, 16).ok()
}

/// Segments of which little is in use.
fn sparse_segments(parts: &Parts) -> Vec<u64> {
    let mut used: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for column in &parts.columns {
        let bytes = u64::try_from(column.page_words() * 8).unwrap_or(0);
        for page in column.pages() {
            if let Some(page) = page.file() {
                let whole = u64::try_from(page.segment().bytes()).unwrap_or(0);
                let entry = used.entry(page.segment().number()).or_insert((0, whole));
                entry.0 += bytes;
            }
        }
    }
    let sparse = used
        .iter()
        .filter(|(_, (used, whole))| used * SPARSE < *whole);
    sparse.map(|(number, _)| *number).collect()
}

/// The contract and the dimension of the embeddings that a folder was made for.
pub(crate) fn made_for(folder: &Path) -> Result<(String, usize), StoreError> {
    let path = folder.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(|source| StoreError::Io {
        path: path.clone(),
        source,
    })?;
    let manifest = read_manifest(&path, &bytes)?;
    let dimension = usize::try_from(manifest.dimension).unwrap_or(usize::MAX);
    Ok((manifest.contract, dimension))
}

/// The manifest's file: a header, and the body.
fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>, rkyv::rancor::Error> {
    Ok(with_header(&rkyv::to_bytes::<rkyv::rancor::Error>(
        manifest,
    )?))
}

fn with_header(body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn read_manifest(path: &Path, bytes: &[u8]) -> Result<Manifest, StoreError> {
    let damaged = |what: &str| StoreError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let (magic, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged("too short"))?;
    let (version, rest) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| damaged("too short"))?;
    let (checksum, rest) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| damaged("too short"))?;
    let (length, body) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged("too short"))?;
    if *magic != MAGIC {
        return Err(damaged("not an index's manifest"));
    }
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(StoreError::Version {
            path: path.to_owned(),
            found,
        });
    }
    if u64::try_from(body.len()).ok() != Some(u64::from_le_bytes(*length)) {
        return Err(damaged("cut short, or longer than it was written"));
    }
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err(damaged("its checksum is wrong"));
    }
    // rkyv reads aligned memory.
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
    aligned.extend_from_slice(body);
    rkyv::from_bytes::<Manifest, rkyv::rancor::Error>(&aligned)
        .map_err(|error| damaged(&format!("cannot be read: {error}")))
}
