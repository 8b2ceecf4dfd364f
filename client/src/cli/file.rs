//! Files that are written whole or not at all.
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::failure::Failure;

/// A folder of our own beside a file that is to be made: what is done in it is not seen before it is done, and a rename
/// takes it out. Removed with what it still holds when dropped.
#[derive(Debug)]
pub(crate) struct Workshop {
    folder: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// # Errors
    /// The folder of `target` is missing, or cannot be written to.
    pub(crate) fn beside(target: &Path) -> Result<Self, Failure> {
        let fail = |error| Failure::file(target, "write", &error);
        // What a link leads to is made anew, not the link.
        let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        if is_special(target) || target.is_dir() {
            return Err(fail(io::Error::other("it is no plain file")));
        }
        let name = target
            .file_name()
            .ok_or_else(|| fail(io::Error::other("it is no name of a file")))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", process::id()));
        let folder = target.with_file_name(hidden);
        fs::create_dir(&folder).map_err(fail)?;
        let target = target.to_owned();
        Ok(Self { folder, target })
    }

    /// Absolute if it can be.
    pub(crate) fn folder(&self) -> PathBuf {
        std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone())
    }

    /// # Errors
    /// It cannot be written, on a full disk say.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        fs::write(self.folder.join(name), content).map_err(|error| self.failure(&error))
    }

    /// Makes what is called `name` here the target, in place of what was there.
    ///
    /// # Errors
    /// It is not there, or a folder is in its way.
    pub(crate) fn finish(&self, name: &str) -> Result<(), Failure> {
        let made = self.folder.join(name);
        fs::rename(made, &self.target).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::file(&self.target, "write", error)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Nobody is left to be told; the name says that it is of no use.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A device or a pipe, which is written to as it is.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// Writes a file whole; what was there stays until then.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if is_special(path) {
        return fs::write(path, content).map_err(|error| Failure::file(path, "write", &error));
    }
    let workshop = Workshop::beside(path)?;
    workshop.write("whole", content)?;
    workshop.finish("whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_written_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("none/a.csv");
        let failure = write_whole(&inside, b"x").unwrap_err();
        assert_eq!(failure.reason(), "FILE_NOT_FOUND");
        assert!(failure.to_string().contains("none/a.csv"), "{failure}");
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_whole(&folder.path().join("taken"), b"x").is_err());
        assert!(write_whole(Path::new(".."), b"x").is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        assert!(Workshop::beside(Path::new("/dev/null")).is_err());
        write_whole(Path::new("/dev/null"), b"x").unwrap();
    }
}
