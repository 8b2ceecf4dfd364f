//! The seam below the log: named files that grow, can be synced and cut back.
//!
//! Names are relative, with `/` between folder and file. What the log assumes of a storage:
//!
//! - after [`StorageFile::sync`] has returned, the file's bytes and length survive a power cut;
//! - after [`Storage::sync_folder`] has returned, so do the names in that folder;
//! - without them, a power cut may leave any subset of the written sectors (512 bytes), the others
//!   being zero or as they were before, and any of the two names of a renamed file;
//! - a rename is one step: no moment shows neither name or half a file.
mod file;
mod memory;
mod power;

use std::io;
use std::sync::Arc;

pub use file::FileStorage;
pub use memory::{Fault, MemoryStorage};
pub use power::Survival;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

/// Proof that the storage is locked; dropping it unlocks.
pub trait StorageLock: Send + Sync {}

/// A place for a log's files. See the module for what is assumed of it.
pub trait Storage: Send + Sync + 'static {
    /// Takes the storage for one log alone, or returns `None` if another holds it. Does not wait.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self) -> io::Result<Option<Box<dyn StorageLock>>>;

    /// Returns how people call the file or folder `name`: its full path, for messages.
    fn locate(&self, name: &str) -> String;

    /// Creates a folder, durably; an existing one is fine.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Returns the names of the files in `folder`, without the folder, in ascending order.
    ///
    /// # Errors
    /// What the system says; `NotFound` if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Creates an empty file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives the file `from` the name `to`, in place of any file that had it.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name of a file.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in `folder` durable.
    ///
    /// # Errors
    /// What the system says. Afterwards it is unknown which names are durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file. It stays usable when its name changes.
#[allow(clippy::len_without_is_empty)] // a file's length is I/O, not a container's property
pub trait StorageFile: Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Reads from `offset` until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says; any part of `bytes` may have been written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes bytes and length durable.
    ///
    /// # Errors
    /// What the system says. Afterwards it is unknown which bytes are durable, and a later call
    /// that succeeds proves nothing: Linux marks pages that it failed to write as clean (Rebello and
    /// others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    fn sync(&self) -> io::Result<()>;

    /// Overwrites ranges, each an offset and a length in bytes, with zeros, durably, and gives their space back where
    /// the storage can. The file keeps its length.
    ///
    /// # Errors
    /// What the system says; any part may still be there then.
    fn erase(&self, ranges: &[(u64, u64)]) -> io::Result<()>;
}
