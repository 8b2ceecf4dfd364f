//! What becomes of catalog and index while nobody looks: they are views, and may be anything.

use super::Random;
use crate::core::tests::copy;
use std::path::{Path, PathBuf};

/// What a server finds of them when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As they were when the power was cut.
    Left,
    /// As they were some time before.
    Older,
    Gone,
    Damaged,
}

impl Fate {
    pub(super) fn draw(random: &mut Random) -> Self {
        random.pick(&[
            Self::Left,
            Self::Left,
            Self::Left,
            Self::Older,
            Self::Gone,
            Self::Damaged,
        ])
    }
}

/// A folder of views, which moves at each start so that nothing of an earlier life holds on to it.
pub(super) struct Views {
    root: tempfile::TempDir,
    lives: u32,
    older: bool,
}

impl Views {
    pub(super) fn new() -> Self {
        // Memory, where there is such a place: what is tested here does not depend on the real disk.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let views = Self {
            root: root.unwrap(),
            lives: 0,
            older: false,
        };
        std::fs::create_dir(views.folder()).unwrap();
        views
    }

    /// Where they are now.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.path().join(format!("life-{}", self.lives))
    }

    fn older(&self) -> PathBuf {
        self.root.path().join("older")
    }

    /// Keeps them as they are for later.
    pub(super) fn keep(&mut self) {
        let older = self.older();
        let _ = std::fs::remove_dir_all(&older);
        std::fs::create_dir(&older).unwrap();
        copy(&self.folder(), &older, None);
        self.older = true;
    }

    /// Takes them as they are, open files and all, into the next life. What is still done to the old ones is
    /// done to nobody.
    pub(super) fn cut(&mut self) -> PathBuf {
        let before = self.folder();
        self.lives += 1;
        let now = self.folder();
        std::fs::create_dir(&now).unwrap();
        copy(&before, &now, None);
        before
    }

    /// Lets that happen to catalog or index, or both; nobody has them open. Returns whether it could.
    pub(super) fn suffer(&mut self, fate: Fate, random: &mut Random) -> bool {
        let which = random.pick(&["", "catalog", "index"]);
        match fate {
            Fate::Left => true,
            Fate::Older if !self.older => false,
            Fate::Older => {
                self.remove(which);
                self.bring_back(which);
                true
            }
            Fate::Gone => {
                self.remove(which);
                true
            }
            Fate::Damaged => self.damage(which, random),
        }
    }

    fn entries(&self, which: &str) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.folder()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with(which) {
                all.push(entry.path());
            }
        }
        all.sort();
        all
    }

    fn remove(&self, which: &str) {
        for path in self.entries(which) {
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    fn bring_back(&self, which: &str) {
        for entry in std::fs::read_dir(self.older()).unwrap() {
            let (path, name) = {
                let entry = entry.unwrap();
                (entry.path(), entry.file_name())
            };
            if !name.to_string_lossy().starts_with(which) {
                continue;
            }
            let to = self.folder().join(name);
            if path.is_dir() {
                std::fs::create_dir(&to).unwrap();
                copy(&path, &to, None);
            } else {
                std::fs::copy(path, to).unwrap();
            }
        }
    }

    /// Cuts a file short, fills a part of it with nothing, or turns a bit of it. A bit that turns in a catalog
    /// nobody has sealed is not noticed before `rollcalld check`, so that is not done to it.
    fn damage(&self, which: &str, random: &mut Random) -> bool {
        let mut files = Vec::new();
        for path in self.entries(which) {
            if path.is_dir() {
                let entries = std::fs::read_dir(path).unwrap();
                files.extend(entries.map(|entry| entry.unwrap().path()));
            } else {
                files.push(path);
            }
        }
        files.sort();
        files.retain(|file| file.metadata().unwrap().len() > 0);
        if files.is_empty() {
            return false;
        }
        let file = &files[random.index(files.len())];
        let name = file.file_name().unwrap().to_string_lossy();
        let sealed = self.folder().join("catalog.sqlite-seal").exists();
        let bits = sealed || !name.starts_with("catalog");
        let mut bytes = std::fs::read(file).unwrap();
        let at = random.index(bytes.len());
        match random.below(if bits { 3 } else { 1 }) {
            0 => bytes.truncate(at),
            1 => bytes[at..].fill(0),
            _ => bytes[at] ^= 1 << random.below(8),
        }
        std::fs::write(file, bytes).unwrap();
        true
    }
}
