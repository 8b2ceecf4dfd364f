//! What the index asks of a disk; a seam, so that tests can let it fail.

use std::{
    fmt::Debug,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writing, as far as the index needs it.
pub trait Disk: Debug + Send + Sync {
    /// A new, empty file; one of that name is replaced.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Puts `from` in the place of `to` in one step.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written, from its beginning to its end.
pub trait DiskFile: Write {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says; the file may hold anything then.
    fn sync(&mut self) -> io::Result<()>;
}

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

impl DiskFile for BufWriter<File> {
    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.get_ref().sync_all()
    }
}

/// The disk there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File::create(path)?;
        Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
