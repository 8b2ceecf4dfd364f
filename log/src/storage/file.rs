//! Real files in one folder.
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::{Access, Storage, StorageFile, StorageLock};
use crate::error::OpenError;

const LOCK_FILE: &str = "LOCK";
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Real files in one folder, which only the owner may read: records carry the addresses of
/// cameras, credentials included.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
}

impl FileStorage {
    /// Opens `folder`, creating it (mode 0700) and its parents where they are missing.
    ///
    /// # Errors
    /// [`OpenError::Io`] if it cannot be created or is not a folder.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let folder = folder.into();
        let failed = |action| {
            let path = folder.display().to_string();
            move |source| OpenError::Io {
                path,
                action,
                source,
            }
        };
        let existed = folder.is_dir();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed("create the folder"))?;
        if !existed && let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_folder(parent).map_err(failed("sync the folder above"))?;
        }
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A lock of the operating system on the file `LOCK`; it goes with the process, however that ends.
struct FileLock(#[allow(dead_code)] File); // held, never read

impl StorageLock for FileLock {}

impl Storage for FileStorage {
    fn lock(&self) -> io::Result<Option<Box<dyn StorageLock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(FileLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn locate(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.path(folder))?;
        sync_folder(&self.folder)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            // A name that is not Unicode is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(self.path(name))?)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let write = access == Access::Write;
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.path(folder))
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

struct RealFile(File);

impl StorageFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn erase(&self, ranges: &[(u64, u64)]) -> io::Result<()> {
        for &(offset, length) in ranges {
            let mut done = 0;
            while done < length {
                let part = usize::try_from(length - done)
                    .unwrap_or(usize::MAX)
                    .min(ZEROS.len());
                self.0.write_all_at(&ZEROS[..part], offset + done)?;
                done += part as u64;
            }
        }
        self.0.sync_data()?;
        // The zeros are what counts. Space is given back where the file system can; not every one
        // can, and an empty range is no error of ours.
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for &(offset, length) in ranges {
            let _ = rustix::fs::fallocate(&self.0, flags, offset, length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn files_do_what_the_log_assumes() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(folder.path().join("a/log")).unwrap();
        storage.create_folder("f").unwrap();
        storage.create_folder("f").unwrap();
        assert_eq!(
            storage.open("f/x", Access::Read).err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
        let file = storage.create("f/x").unwrap();
        assert_eq!(
            storage.create("f/x").err().unwrap().kind(),
            io::ErrorKind::AlreadyExists
        );
        file.write_at(0, &[7; 300_000]).unwrap();
        file.erase(&[(1000, 200_000)]).unwrap();
        assert_eq!(file.len().unwrap(), 300_000);
        let mut bytes = vec![1; 300_100];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), 300_000);
        assert!(bytes[1000..201_000].iter().all(|&b| b == 0));
        assert!(
            bytes[..1000]
                .iter()
                .chain(&bytes[201_000..300_000])
                .all(|&b| b == 7)
        );
        storage.rename("f/x", "f/y").unwrap();
        file.truncate(10).unwrap();
        file.sync().unwrap();
        storage.sync_folder("f").unwrap();
        assert_eq!(storage.list("f").unwrap(), ["y"]);
        assert_eq!(
            storage.open("f/y", Access::Read).unwrap().len().unwrap(),
            10
        );
        let mode = fs::metadata(storage.locate("f/y")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        storage.remove("f/y").unwrap();
        assert!(storage.list("f").unwrap().is_empty());
    }

    #[test]
    fn one_lock_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(folder.path()).unwrap();
        let lock = storage.lock().unwrap().unwrap();
        let again = FileStorage::open(folder.path()).unwrap();
        assert!(again.lock().unwrap().is_none());
        drop(lock);
        assert!(again.lock().unwrap().is_some());
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"").unwrap();
        let error = FileStorage::open(&path).err().unwrap();
        assert!(
            error
                .to_string()
                .contains("file: could not create the folder"),
            "{error}"
        );
    }
}
