//! Damage done to files on purpose.

use super::programs::assets;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The newest record segment of a data folder.
pub(crate) fn record_segment(data: &Path) -> PathBuf {
    let folder = data.join("log/records");
    let mut names: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names.pop().unwrap()
}

/// Flips every bit of one byte.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xFF;
    fs::write(path, bytes).unwrap();
}

/// Cuts bytes off the end.
pub(crate) fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - bytes).unwrap();
}

/// An assets folder like the real one, whose models may be changed.
pub(crate) fn assets_copy(folder: &Path) -> PathBuf {
    let (from, to) = (assets(), folder.join("assets"));
    fs::create_dir_all(to.join("models")).unwrap();
    symlink(from.join("onnxruntime"), to.join("onnxruntime")).unwrap();
    for entry in fs::read_dir(from.join("models")).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), to.join("models").join(entry.file_name())).unwrap();
    }
    to
}
