//! The files: `audit-NUMBER.jsonl`, the highest number is written to.

use super::Entry;
use super::chain::{FIRST, digest};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A line: number, content, and the digest of the line before.
#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    #[serde(flatten)]
    entry: &'a Entry,
    previous: &'a str,
}

/// The files of a folder, oldest first, with their numbers; none if there is no folder.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| {
            let middle = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
            middle.parse().ok()
        });
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The last `count` whole lines, oldest first.
///
/// # Errors
/// If the files cannot be read.
pub fn show(folder: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut shown: Vec<String> = Vec::new();
    for (_, path) in files(folder)?.iter().rev() {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        let whole = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        let mut lines: Vec<String> = whole.map(str::to_owned).collect();
        lines.append(&mut shown);
        shown = lines;
        if shown.len() >= count {
            break;
        }
    }
    Ok(shown.split_off(shown.len().saturating_sub(count)))
}

/// A file to go on in and its size, if its last line is whole.
fn whole(path: &Path) -> io::Result<Option<(File, u64)>> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok(Some((file, 0)));
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok((last == *b"\n").then_some((file, bytes)))
}

/// Writes lines.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    bytes_max: u64,
    files_max: usize,
    file: Option<File>,
    /// The file's.
    number: u64,
    bytes: u64,
    /// The last line's.
    line: u64,
    last: String,
}

impl Writer {
    /// Goes on behind the last whole line: in the newest file, or in another if that ends in the middle of a line.
    pub(super) fn open(folder: &Path, bytes_max: u64, files_max: usize) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
        let found = files(folder)?;
        let number = found.last().map_or(0, |(number, _)| *number);
        let last = show(folder, 1)?.pop();
        let line = last.as_deref().map_or(0, |line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            value["n"].as_u64().unwrap_or_default()
        });
        let newest = found.last().map(|(_, path)| whole(path)).transpose()?;
        let (file, bytes) = newest
            .flatten()
            .map_or((None, 0), |(file, bytes)| (Some(file), bytes));
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            files_max,
            file,
            number,
            bytes,
            line,
            last: last.map_or(FIRST.to_owned(), |line| digest(line.as_bytes())),
        })
    }

    /// Writes a line behind the last one.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let line = Line {
            n: self.line + 1,
            entry,
            previous: &self.last,
        };
        let mut text = serde_json::to_vec(&line)?;
        let digest = digest(&text);
        text.push(b'\n');
        if self.file.is_none() || self.bytes >= self.bytes_max {
            self.next_file()?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(&text)?;
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.line += 1;
        self.last = digest;
        Ok(())
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// After a failure: goes on behind the last line that is whole on disk.
    pub(super) fn recover(&mut self) {
        // If it cannot be opened now, nothing more is appended behind what may be half a line.
        self.file = None;
        if let Ok(writer) = Self::open(&self.folder, self.bytes_max, self.files_max) {
            *self = writer;
        }
    }

    fn next_file(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_data()?;
        }
        let number = self.number + 1;
        let path = self.folder.join(format!("audit-{number:08}.jsonl"));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        self.file = Some(options.open(path)?);
        (self.number, self.bytes) = (number, 0);
        File::open(&self.folder)?.sync_all()?;
        self.delete_oldest()
    }

    /// Deletes the oldest files, if there are both more of them and more bytes in them than there may be: files that stayed
    /// small, as on a disk that fails, push out nothing. One that cannot be deleted stays.
    fn delete_oldest(&self) -> io::Result<()> {
        let all = files(&self.folder)?;
        let sizes: Vec<u64> = all
            .iter()
            .map(|(_, path)| path.metadata().map_or(0, |metadata| metadata.len()))
            .collect();
        let most = self
            .bytes_max
            .saturating_mul(u64::try_from(self.files_max).unwrap_or(u64::MAX));
        let mut kept: u64 = sizes.iter().sum();
        let surplus = all.len().saturating_sub(self.files_max);
        for ((_, path), size) in all.iter().zip(sizes).take(surplus) {
            // The newest has no lines yet.
            if kept.saturating_add(self.bytes_max) <= most {
                break;
            }
            match std::fs::remove_file(path) {
                Ok(()) => kept -= size,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%error, %path, "an old file of the audit log stays");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::{Broken, verify};
    use super::*;

    fn entry(method: &str) -> Entry {
        Entry {
            method: method.to_owned(),
            who: "kiosk".to_owned(),
            ..Entry::default()
        }
    }

    fn write(folder: &Path, count: usize, bytes_max: u64, files_max: usize) {
        let mut writer = Writer::open(folder, bytes_max, files_max).unwrap();
        for number in 0..count {
            writer.append(&entry(&format!("call {number}"))).unwrap();
        }
        writer.sync().unwrap();
    }

    #[test]
    fn lines_follow_one_another_over_files_and_starts() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(verify(folder).unwrap().lines, 0);
        write(folder, 3, 1 << 20, 10);
        write(folder, 2, 1 << 20, 10);
        assert_eq!(
            verify(folder).unwrap().files,
            1,
            "a start goes on in the file"
        );
        write(folder, 5, 300, 10);
        let found = verify(folder).unwrap();
        assert_eq!((found.lines, found.first), (10, 1));
        assert!(found.files > 2, "{found:?}");
        let shown = show(folder, 2).unwrap();
        assert!(shown[1].contains("call 4") && shown[0].contains("call 3"));
        assert_eq!(digest(shown[1].as_bytes()), found.last);
        // Old files go; the chain begins later.
        write(folder, 20, 300, 3);
        let found = verify(folder).unwrap();
        assert_eq!(found.files, 3);
        assert!(found.first > 1, "{found:?}");
    }

    #[test]
    fn what_was_changed_shows_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, 6, 1 << 20, 10);
        let (_, path) = files(folder).unwrap().remove(0);
        let good = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        let check = |text: String, expected: u64| {
            std::fs::write(&path, text).unwrap();
            match verify(folder).unwrap_err() {
                Broken::Line { line, .. } => assert_eq!(line, expected),
                error @ Broken::Io { .. } => panic!("{error}"),
            }
        };
        // A changed line breaks the next one.
        check(good.replace("call 2", "call x"), 4);
        let without: String = [&lines[..2], &lines[3..]].concat().concat();
        check(without, 3);
        let twice: String = [&lines[..3], &lines[2..]].concat().concat();
        check(twice, 4);
        check(good.replace("{\"n\":3", "{\"n\":\"x\""), 3);
        check(format!("{good}nonsense\n"), 7);
        // Cut off at the end nothing shows but another last digest.
        std::fs::write(&path, &good).unwrap();
        let whole = verify(folder).unwrap();
        std::fs::write(&path, lines[..5].concat()).unwrap();
        let cut = verify(folder).unwrap();
        assert_eq!(cut.lines, 5);
        assert_ne!(cut.last, whole.last);
    }

    #[test]
    fn a_line_that_a_crash_left_unfinished_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, 3, 1 << 20, 10);
        let (_, path) = files(folder).unwrap().remove(0);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        write(folder, 2, 1 << 20, 10);
        let found = verify(folder).unwrap();
        assert_eq!((found.lines, found.unfinished), (4, 1));
    }
}
