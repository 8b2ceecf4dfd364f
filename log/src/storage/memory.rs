//! The in-memory double: files that fail, fill up and lose their power on command.
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::power::{Content, Random, Survival};
use super::{Access, Storage, StorageFile, StorageLock};

/// What happens to an operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one operation fails with EIO; a write gets half-way.
    Io,
    /// From here on no write and no creation succeeds (ENOSPC; a write gets half-way), until
    /// [`MemoryStorage::clear_fault`].
    Full,
    /// Everything that changes something fails from here on, a write half-way, until [`MemoryStorage::cut_power`].
    Dead,
    /// This one operation fails with EIO. Where it is the sync of a file, the system forgets besides what it could
    /// not write, as Linux does: reads go on showing it, and no later sync makes it durable unless it is
    /// written again.
    LostSync,
}

/// Files in memory, for tests. Clones share the files.
///
/// Operations that change something (create, write, truncate, sync, erase, rename, remove, create
/// and sync a folder) are counted, and the n-th can be made to fail.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Content>,
    /// Names now, and as a power cut would find them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced, in order.
    unsynced_names: Vec<Renaming>,
    folders: Vec<String>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// Operations that a fault has befallen.
    failed: u64,
    locked: bool,
    /// Raised by a power cut: handles of an earlier life are dead.
    life: u64,
}

#[derive(Clone, Debug)]
struct Renaming {
    removed: Option<String>,
    added: Option<(String, usize)>,
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, file)) = &self.added {
            names.insert(name.clone(), *file);
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        let name = self
            .added
            .as_ref()
            .map(|(name, _)| name)
            .or(self.removed.as_ref());
        name.is_some_and(|name| folder_of(name) == folder)
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl MemoryStorage {
    /// Returns an empty storage without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many operations that change something were asked for so far.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// Returns how many operations a fault has befallen so far.
    pub fn failed_operations(&self) -> u64 {
        self.inner().failed
    }

    /// Lets the next `operations` succeed, and `fault` befall the one after them.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = Some((inner.operations + operations, fault));
    }

    /// Takes any fault away.
    pub fn clear_fault(&self) {
        self.inner().fault = None;
    }

    /// Cuts the power and switches it on again: the lock is free, handles held so far are dead,
    /// faults are gone, and of what was not synced only `survival` is left, by the seed.
    pub fn cut_power(&self, survival: Survival, seed: u64) {
        let mut random = Random(seed);
        let inner = &mut *self.inner();
        inner.life += 1;
        inner.locked = false;
        inner.fault = None;
        if survival == Survival::Kept {
            // The system goes on, with all that it has not written yet.
            return;
        }
        let renamings = std::mem::take(&mut inner.unsynced_names);
        let in_order = match survival {
            Survival::Dropped => 0,
            Survival::Torn => random.below(renamings.len() + 1),
            Survival::Reordered | Survival::Kept => renamings.len(),
        };
        for renaming in renamings.iter().take(in_order) {
            if survival != Survival::Reordered || random.below(2) == 0 {
                renaming.apply(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
        for content in &mut inner.files {
            content.cut_power(survival, &mut random);
        }
    }

    /// Returns every file with its bytes, by name.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        let bytes = |file: &usize| inner.files.get(*file).map(|f| f.now.clone());
        inner
            .names
            .iter()
            .filter_map(|(name, file)| Some((name.clone(), bytes(file)?)))
            .collect()
    }

    /// Puts a file there, durably, as if someone had copied it; `None` takes it away.
    pub fn plant(&self, name: &str, bytes: Option<Vec<u8>>) {
        let mut inner = self.inner();
        inner.names.remove(name);
        inner.durable_names.remove(name);
        if let Some(bytes) = bytes {
            let file = inner.files.len();
            inner.files.push(Content::of(bytes));
            inner.names.insert(name.to_owned(), file);
            inner.durable_names.insert(name.to_owned(), file);
            inner.folders.push(folder_of(name).to_owned());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts an operation that changes something, and says whether a fault befalls it.
    fn change(&mut self, writes: bool) -> Result<(), io::Error> {
        let outcome = self.befall(writes);
        self.operations += 1;
        self.failed += u64::from(outcome.is_err());
        outcome
    }

    fn befall(&self, writes: bool) -> Result<(), io::Error> {
        let now = self.operations;
        match self.fault {
            Some((at, Fault::Io | Fault::LostSync)) if at == now => {
                Err(io::Error::from_raw_os_error(5))
            }
            Some((at, Fault::Full)) if at <= now && writes => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Some((at, Fault::Dead)) if at <= now => Err(io::Error::other("no power")),
            Some(_) | None => Ok(()),
        }
    }

    fn file(&mut self, file: usize) -> io::Result<&mut Content> {
        self.files
            .get_mut(file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.unsynced_names.push(renaming);
    }
}

struct MemoryLock {
    storage: MemoryStorage,
    life: u64,
}

impl StorageLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut inner = self.storage.inner();
        if inner.life == self.life {
            inner.locked = false;
        }
    }
}

impl Storage for MemoryStorage {
    fn lock(&self) -> io::Result<Option<Box<dyn StorageLock>>> {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock {
            storage: self.clone(),
            life: inner.life,
        })))
    }

    fn locate(&self, name: &str) -> String {
        format!("memory:{name}")
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change(true)?;
        inner.folders.push(folder.to_owned());
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let inner = self.inner();
        if !inner.folders.iter().any(|f| f == folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = |name: &&String| folder_of(name) == folder;
        let bare = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(inner.names.keys().filter(here).map(bare).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut inner = self.inner();
        inner.change(true)?;
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = inner.files.len();
        inner.files.push(Content::default());
        inner.rename(Renaming {
            removed: None,
            added: Some((name.to_owned(), file)),
        });
        let life = inner.life;
        Ok(Arc::new(MemoryFile {
            storage: self.clone(),
            file,
            life,
            access: Access::Write,
        }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.inner();
        let file = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile {
            storage: self.clone(),
            file,
            life: inner.life,
            access,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change(false)?;
        let file = *inner.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let (removed, added) = (Some(from.to_owned()), Some((to.to_owned(), file)));
        inner.rename(Renaming { removed, added });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change(false)?;
        if !inner.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.rename(Renaming {
            removed: Some(name.to_owned()),
            added: None,
        });
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let inner = &mut *self.inner();
        inner.change(false)?;
        for renaming in inner
            .unsynced_names
            .extract_if(.., |renaming| renaming.is_in(folder))
        {
            renaming.apply(&mut inner.durable_names);
        }
        Ok(())
    }
}

struct MemoryFile {
    storage: MemoryStorage,
    file: usize,
    life: u64,
    access: Access,
}

impl MemoryFile {
    /// Runs `work` on the file's bytes, if the power was never cut since it was opened.
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.storage.inner();
        if inner.life != self.life {
            return Err(io::Error::other("opened before the power cut"));
        }
        work(&mut inner)
    }

    fn change(&self, work: impl FnOnce(&mut Inner) -> io::Result<()>) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.with(work)
    }

    fn put(content: &mut Content, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[start..end].copy_from_slice(bytes);
        content.written(start..end);
        Ok(())
    }
}

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|inner| Ok(inner.file(self.file)?.now.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|inner| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let rest = inner.file(self.file)?.now.get(start..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|inner| {
            let outcome = inner.change(true);
            let part = if outcome.is_ok() {
                bytes
            } else {
                &bytes[..bytes.len() / 2]
            };
            Self::put(inner.file(self.file)?, offset, part)?;
            outcome
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(|inner| {
            inner.change(false)?;
            let length = usize::try_from(length).map_err(io::Error::other)?;
            inner.file(self.file)?.resize(length);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|inner| {
            let outcome = inner.change(false);
            let lost = matches!(inner.fault, Some((_, Fault::LostSync)));
            let content = inner.file(self.file)?;
            match outcome {
                Ok(()) => content.sync(),
                Err(_) if lost => content.lose(),
                Err(_) => {}
            }
            outcome
        })
    }

    fn erase(&self, ranges: &[(u64, u64)]) -> io::Result<()> {
        self.change(|inner| {
            inner.change(true)?;
            for &(offset, length) in ranges {
                let zeros = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                Self::put(inner.file(self.file)?, offset, &zeros)?;
            }
            inner.file(self.file)?.sync();
            Ok(())
        })
    }
}
