//! The seal of a catalog: a digest of its file, made when the server ends as it should.
//!
//! SQLite keeps no checksums of what lies in its file, so that a bit that turned there would be a wrong answer. A
//! catalog whose seal does not fit is made anew. One without a seal, as after a crash, is taken as SQLite's journal
//! leaves it; `rollcalld check` compares it with the log.

use super::CatalogError;
use super::write::CatalogWriter;
use crate::hex::to_hex;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The first line of the file; raised whenever it says something else.
const VERSION: &str = "rollcall catalog seal 1";
const BUFFER_BYTES: usize = 1 << 20;

impl CatalogWriter {
    /// Writes everything into the catalog's file and seals it. Cost: one read of the file. Nothing may be changed
    /// after it.
    ///
    /// # Errors
    /// What SQLite or the system says. The catalog is good without a seal.
    pub(crate) fn seal(&mut self, path: &Path) -> Result<(), SealError> {
        let query = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self
            .db
            .query_row(query, [], |row| row.get(0))
            .map_err(CatalogError::from)?;
        if busy != 0 {
            return Err(SealError::Busy);
        }
        let text = format!("{VERSION}\n{}\n", digest(path)?);
        let (seal, temporary) = (beside(path, "-seal"), beside(path, "-seal.tmp"));
        let mut private = fs::OpenOptions::new();
        private.write(true).create(true).truncate(true).mode(0o600);
        let mut file = private.open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &seal)?;
        sync_folder(path)
    }
}

/// Why a catalog could not be sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("somebody reads it")]
    Busy,
}

/// Whether the catalog is what it was when it was sealed; yes, if nobody sealed it. The seal is broken by that: what
/// follows may change the file.
pub(super) fn is_whole(path: &Path) -> Result<bool, SealError> {
    let seal = beside(path, "-seal");
    let text = match fs::read_to_string(&seal) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        // Not a text: not what was written.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(error.into()),
    };
    let journal = fs::metadata(beside(path, "-wal")).map_or(0, |journal| journal.len());
    let whole = journal == 0 && text == format!("{VERSION}\n{}\n", digest(path)?);
    fs::remove_file(&seal)?;
    sync_folder(path)?;
    Ok(whole)
}

/// A file's name with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn digest(path: &Path) -> Result<String, io::Error> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(to_hex(&hash.finalize()))
}

fn sync_folder(path: &Path) -> Result<(), SealError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}
