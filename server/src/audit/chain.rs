//! The chain: each line bears the digest of the one before.

use super::file::files;
use crate::hex::to_hex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// What stands for the line before the first.
pub(super) const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// A line longer than this is none of ours.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// The digest of a line, without its end, in hexadecimal.
pub(super) fn digest(line: &[u8]) -> String {
    to_hex(&Sha256::digest(line))
}

/// A whole chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Files read.
    pub files: usize,
    /// Lines that follow one another.
    pub lines: u64,
    /// Number of the first line; above 1, older files were deleted.
    pub first: u64,
    /// Digest of the last line: noted elsewhere, it shows whether lines were cut off the end.
    pub last: String,
    /// Lines that a crash has left unfinished.
    pub unfinished: u64,
}

/// Where the chain is broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A line that does not follow the one before.
    #[error("{path}, line {line}: {what}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The files cannot be read.
    #[error("audit log in {path}: {source}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads all lines of a folder and checks that each follows the one before.
///
/// # Errors
/// [`Broken`]: the first line that does not.
pub fn verify(folder: &Path) -> Result<Verified, Broken> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Broken::Io { path, source }
    };
    let files = files(folder).map_err(io(folder))?;
    let mut found = Verified {
        files: files.len(),
        lines: 0,
        first: 0,
        last: FIRST.to_owned(),
        unfinished: 0,
    };
    let mut before: Option<(u64, String)> = None;
    for (_, path) in &files {
        let file = std::fs::File::open(path).map_err(io(path))?;
        let mut reader = BufReader::new(file);
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(io(path))? == 0 {
                break;
            }
            number += 1;
            let broken = |what| Broken::Line {
                path: path.clone(),
                line: number,
                what,
            };
            if line.pop() != Some(b'\n') {
                if !reader.fill_buf().map_err(io(path))?.is_empty() {
                    return Err(broken("is too long to be one of ours"));
                }
                // The writer went on in another file, behind the last whole line.
                found.unfinished += 1;
                break;
            }
            let of = follows(&line, before.as_ref()).map_err(broken)?;
            if found.first == 0 {
                found.first = of;
            }
            found.lines += 1;
            found.last = digest(&line);
            before = Some((of, found.last.clone()));
        }
    }
    Ok(found)
}

/// The number of a line, if it follows the one before, of which number and digest are given.
fn follows(line: &[u8], before: Option<&(u64, String)>) -> Result<u64, &'static str> {
    let value: Value = serde_json::from_slice(line).map_err(|_| "is no JSON")?;
    let number = value["n"].as_u64().ok_or("has no number")?;
    let previous = value["previous"].as_str();
    let previous = previous.ok_or("does not name the line before")?;
    match before {
        None if number == 1 && previous != FIRST => Err("is the first and names one before it"),
        None => Ok(number),
        Some((last, _)) if number != last + 1 => {
            Err("is not the next: lines are missing, or were added")
        }
        Some((_, digest)) if digest != previous => {
            Err("is not the one that was written behind the line before it")
        }
        Some(_) => Ok(number),
    }
}
