//! Files mapped into memory, and pages of them that are checked when they are first touched.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use memmap2::Mmap;

use super::{ALIGN, Damage};

const WORD: usize = size_of::<u64>();

/// A mapped segment file. Its bytes never change once a manifest names it.
#[derive(Debug)]
pub(crate) struct Segment {
    number: u64,
    path: PathBuf,
    map: Mmap,
    /// The first damage found in any file of the index.
    damage: Arc<OnceLock<Damage>>,
}

impl Segment {
    pub(super) fn open(
        number: u64,
        path: &Path,
        damage: &Arc<OnceLock<Damage>>,
    ) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: a segment is written under a number that was never used before, synced, and only
        // then opened here; nothing of this crate changes or shortens it afterwards, and the folder
        // is the index's own, guarded by a lock.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self {
            number,
            path: path.to_owned(),
            map,
            damage: Arc::clone(damage),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&self) -> usize {
        self.map.len()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A page in a segment.
#[derive(Debug)]
pub(crate) struct MappedPage {
    segment: Arc<Segment>,
    /// In bytes, a multiple of [`ALIGN`].
    offset: usize,
    bytes: usize,
    checksum: u32,
    /// The checksum was found right. Set once; whoever reads it late checks again, in vain.
    checked: AtomicBool,
    /// What is read instead of a damaged page: all ones, which no list leads on from.
    void: OnceLock<Box<[u64]>>,
}

impl MappedPage {
    /// A page within its segment; `None` if it does not lie within, or where no page begins.
    pub(super) fn new(
        segment: Arc<Segment>,
        offset: usize,
        words: usize,
        checksum: u32,
    ) -> Option<Self> {
        let bytes = words.checked_mul(WORD)?;
        let end = offset.checked_add(bytes)?;
        (offset.is_multiple_of(ALIGN) && end <= segment.map.len()).then(|| Self {
            segment,
            offset,
            bytes,
            checksum,
            checked: AtomicBool::new(false),
            void: OnceLock::new(),
        })
    }

    pub(super) fn place(&self) -> (u64, usize, u32) {
        (self.segment.number, self.offset, self.checksum)
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Its words; all ones, with the damage noted, if they are not what was written.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        // Relaxed: the bytes were there before, in the file; the flag orders nothing.
        if self.checked.load(Ordering::Relaxed) {
            self.mapped()
        } else {
            self.check()
        }
    }

    #[inline]
    fn mapped(&self) -> &[u64] {
        bytemuck::cast_slice(&self.segment.map[self.offset..self.offset + self.bytes])
    }

    #[cold]
    fn check(&self) -> &[u64] {
        let words = self.mapped();
        if crc32c::crc32c(bytemuck::cast_slice(words)) == self.checksum {
            self.checked.store(true, Ordering::Relaxed);
            return words;
        }
        let _ = self.segment.damage.set(Damage {
            path: self.segment.path.clone(),
            what: format!("damaged at byte {}", self.offset),
        });
        let void = || vec![u64::MAX; self.bytes / WORD].into();
        self.void.get_or_init(void)
    }
}
