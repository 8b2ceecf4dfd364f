//! Which files a folder or a pattern stands for; and how one is written whole or not at all.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Component, Path, PathBuf},
};

/// A folder or a pattern stands for so many files at most.
pub const FILES_MAX: usize = 10_000;
/// So many names are looked at for them.
const NAMES_MAX: usize = 1_000_000;

/// Endings, in lower case, of files that are taken for videos.
pub const VIDEO_ENDINGS: &[&str] = &[
    "mp4", "m4v", "mkv", "mov", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "flv", "wmv",
    "ogv", "3gp", "mxf",
];

/// Why a folder or a pattern cannot be searched.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The pattern makes no sense.
    #[error("{pattern}: {why}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it, and where.
        why: String,
    },
    /// It is too much.
    #[error("{pattern} stands for more than {FILES_MAX} files; choose a narrower one")]
    TooMany {
        /// As given.
        pattern: String,
    },
    /// The system refuses.
    #[error("{path}: {why}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// What a folder or a pattern stands for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundFiles {
    /// The folder, or the part of the pattern before its first wildcard.
    pub base: PathBuf,
    /// Paths under `base`, in order.
    pub files: Vec<PathBuf>,
    /// Files in the folder whose names are not those of videos.
    pub skipped: Vec<PathBuf>,
}

/// Whether a name ends as videos do.
#[must_use]
pub fn is_named_like_video(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| VIDEO_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// The part of a pattern before its first wildcard; `None` for what is no pattern: a URL, whose
/// query begins with `?`, or what exists under that very name.
#[must_use]
pub fn pattern_base(text: &str) -> Option<PathBuf> {
    let is_wild = |part: &Component<'_>| {
        let part = part.as_os_str().to_string_lossy();
        part.contains(['*', '?', '['])
    };
    let path = Path::new(text);
    if text.contains("://") {
        return None;
    }
    let wild = path.components().any(|part| is_wild(&part)) && !path.exists();
    wild.then(|| {
        path.components()
            .take_while(|part| !is_wild(part))
            .collect()
    })
}

/// The videos that `text` stands for: of a folder, those in it and below it, by their endings; of a
/// pattern (`*`, `?`, `[a-z]`, and `**` for folders at any depth), whatever file it fits. Names that
/// begin with a dot are passed over, and links to folders are not followed. `None` for anything
/// else: a single file, a URL, what is not there.
///
/// # Errors
/// [`FilesError`].
pub fn find_files(text: &str) -> Result<Option<FoundFiles>, FilesError> {
    if let Some(base) = pattern_base(text) {
        return by_pattern(text, base).map(Some);
    }
    if !Path::new(text).is_dir() {
        return Ok(None);
    }
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let base = PathBuf::from(text);
    walk(text, &base, usize::MAX, |path| {
        let list = if is_named_like_video(&path) && path.is_file() {
            &mut files
        } else {
            &mut skipped
        };
        list.push(path);
        list.len()
    })?;
    files.sort();
    skipped.sort();
    Ok(Some(FoundFiles {
        base,
        files,
        skipped,
    }))
}

fn by_pattern(text: &str, base: PathBuf) -> Result<FoundFiles, FilesError> {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    // As paths below the base are written: `a/./b//*` is `a/b/*`.
    let plain: PathBuf = Path::new(text).components().collect();
    let pattern =
        glob::Pattern::new(&plain.to_string_lossy()).map_err(|why| FilesError::Pattern {
            pattern: text.to_owned(),
            why: why.to_string(),
        })?;
    let depth = plain.components().count() - base.components().count();
    let depth = if text.contains("**") {
        usize::MAX
    } else {
        depth
    };
    let mut files = Vec::new();
    walk(text, &base, depth, |path| {
        if pattern.matches_path_with(&path, options) && path.is_file() {
            files.push(path);
        }
        files.len()
    })?;
    files.sort();
    let skipped = Vec::new();
    Ok(FoundFiles {
        base,
        files,
        skipped,
    })
}

/// Gives `take` whatever in `base` is no folder, `depth_max` levels down (1: the folder itself);
/// `take` says how many it has kept.
fn walk(
    given: &str,
    base: &Path,
    depth_max: usize,
    mut take: impl FnMut(PathBuf) -> usize,
) -> Result<(), FilesError> {
    let (mut folders, mut looked_at) = (vec![(base.to_owned(), 1)], 0);
    while let Some((folder, depth)) = folders.pop() {
        let failed = |why| FilesError::Io {
            path: folder.clone(),
            why,
        };
        // The folder one is in has an empty name here.
        let here = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &folder
        };
        for entry in fs::read_dir(here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
            looked_at += 1;
            let hidden = name.as_encoded_bytes().starts_with(b".");
            let mut kept = 0;
            if kind.is_dir() && depth < depth_max && !hidden {
                folders.push((folder.join(name), depth + 1));
            } else if !kind.is_dir() && !hidden {
                kept = take(folder.join(name));
            }
            if kept > FILES_MAX || looked_at > NAMES_MAX {
                let pattern = given.to_owned();
                return Err(FilesError::TooMany { pattern });
            }
        }
    }
    Ok(())
}

/// Has a file written under a name that nobody else uses, on this machine or another, then gives it its name: it is there
/// whole, and on the disk, or not at all.
///
/// # Errors
/// What `write` returns, or the system's refusal.
pub fn write_beside<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let beside = beside(path);
    let place = || {
        fs::File::open(&beside)?
            .sync_all()
            .and_then(|()| rename(&beside, path))
    };
    let written = write(&beside).and_then(|()| Ok(place()?));
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// A name in the same folder that nobody else uses.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let drawn = RandomState::new().build_hasher().finish();
    name.push(format!(".{drawn:016x}.tmp"));
    path.with_file_name(name)
}

/// Gives a file, which is on the disk, its name; once this returns, the name is there too.
///
/// # Errors
/// The system's refusal.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_names(to)
}

/// Gives a folder its name once all that is in it is on the disk; once this returns, the name is there too.
///
/// # Errors
/// The system's refusal.
pub fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    sync_tree(from)?;
    rename(from, to)
}

/// Waits until the names beside `path` are on the disk.
fn sync_names(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Waits until everything in a folder is on the disk.
///
/// Cost: one request for the whole file system. One for each file would be thousands where there are pictures.
///
/// # Errors
/// The system's refusal.
#[cfg(target_os = "linux")]
pub(crate) fn sync_tree(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(folder)?)?)
}

/// Waits until everything in a folder is on the disk.
///
/// # Errors
/// The system's refusal.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            fs::File::open(&path)?.sync_all()?;
            sync_names(&path)?;
        }
    }
    Ok(())
}

/// Writes a file of these bytes by [`write_beside`].
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(path, |beside| fs::write(beside, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(folder: &Path, pattern: &str, files: &[&str], skipped: &[&str]) {
        let text = folder.join(pattern);
        let found = find_files(text.to_str().unwrap()).unwrap().unwrap();
        let under = |names: &[&str]| {
            names
                .iter()
                .map(|name| folder.join(name))
                .collect::<Vec<_>>()
        };
        assert_eq!(found.files, under(files), "{pattern}");
        assert_eq!(found.skipped, under(skipped), "{pattern}");
        assert!(
            found.files.iter().all(|file| file.starts_with(&found.base)),
            "{pattern}"
        );
    }

    #[test]
    fn a_file_or_a_folder_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let fails = |beside: &Path| {
            fs::write(beside, "half")?;
            Err(io::Error::other("no more"))
        };
        assert!(write_beside(&path, fails).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let part = folder.path().join("f.part");
        fs::create_dir_all(part.join("b")).unwrap();
        fs::write(part.join("b/c"), "x").unwrap();
        rename_folder(&part, &folder.path().join("f")).unwrap();
        assert_eq!(fs::read(folder.path().join("f/b/c")).unwrap(), b"x");
        assert!(rename_folder(&part, &folder.path().join("g")).is_err());
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "nothing else is left");
        assert_ne!(beside(&path), beside(&path));
        // A name alone is one in the folder where one is.
        sync_names(Path::new("a.txt")).unwrap();
    }

    #[test]
    fn folders_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir_all(at.join("b/.hidden")).unwrap();
        for name in [
            "c.mp4",
            "a.MKV",
            "notes.txt",
            "b/d.ts",
            "b/.hidden/e.mp4",
            "._c.mp4",
            "[x].mp4",
        ] {
            fs::write(at.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at, at.join("b/loop")).unwrap();
        check(
            at,
            "",
            &["[x].mp4", "a.MKV", "b/d.ts", "c.mp4"],
            &["b/loop", "notes.txt"],
        );
        check(at, "b", &["b/d.ts"], &["b/loop"]);
        check(at, "?.*", &["a.MKV", "c.mp4"], &[]);
        check(at, "*.txt", &["notes.txt"], &[]);
        check(at, "**/[cd].*", &["b/d.ts", "c.mp4"], &[]);
        check(at, "*/d.ts", &["b/d.ts"], &[]);
        check(at, "b/.//*.ts", &["b/d.ts"], &[]);
        check(at, "none*", &[], &[]);
        for single in ["c.mp4", "[x].mp4", "gone.mp4"] {
            assert_eq!(
                find_files(at.join(single).to_str().unwrap()).unwrap(),
                None,
                "{single}"
            );
        }
        assert_eq!(find_files("rtsp://camera/1?channel=2").unwrap(), None);
        let odd = at.join("a***").to_str().unwrap().to_owned();
        assert!(matches!(find_files(&odd), Err(FilesError::Pattern { .. })));
        assert_eq!(pattern_base("/srv/a/*/b?.mp4"), Some("/srv/a".into()));
    }
}
