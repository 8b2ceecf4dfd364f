use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{ChannelError, io_error};
use crate::table::line;

/// A table of comma-separated values that is only ever added to.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    file: File,
}

impl Table {
    /// Opens the table at `path` or begins it with the line `columns`. A last line that was cut off
    /// is removed.
    pub(super) fn open(path: &Path, columns: &'static str) -> Result<Self, ChannelError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error(path))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io_error(path))?;
        let whole = text
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let first = text[..whole]
            .split(|b| *b == b'\n')
            .next()
            .unwrap_or_default();
        if whole > 0 && first.strip_suffix(b"\r").unwrap_or(first) != columns.as_bytes() {
            return Err(ChannelError::ForeignTable {
                path: path.to_path_buf(),
                columns,
            });
        }
        let end = u64::try_from(whole).unwrap_or(u64::MAX);
        let mut cut = || -> io::Result<()> {
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            if whole == 0 {
                file.write_all(format!("{columns}\n").as_bytes())?;
            }
            Ok(())
        };
        cut().map_err(io_error(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// The first field of every row. Names have neither commas nor quotes.
    pub(super) fn names(&self) -> Result<Vec<String>, ChannelError> {
        let text = std::fs::read(&self.path).map_err(io_error(&self.path))?;
        let first = |line: &str| line.split(',').next().unwrap_or_default().to_owned();
        Ok(String::from_utf8_lossy(&text)
            .lines()
            .skip(1)
            .map(first)
            .collect())
    }

    /// Adds rows, all at once.
    pub(super) fn append(&mut self, rows: &[Vec<String>]) -> Result<(), ChannelError> {
        let text: String = rows.iter().map(|row| line(row)).collect();
        self.file
            .write_all(text.as_bytes())
            .map_err(io_error(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_and_a_torn_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let row = |a: &str, b: &str| vec![vec![a.to_owned(), b.to_owned()]];
        let mut table = Table::open(&path, "a,b").unwrap();
        table.append(&row("x", "(1, 2)")).unwrap();
        drop(table);
        let whole = "a,b\nx,\"(1, 2)\"\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        std::fs::write(&path, format!("{whole}y,\"(3")).unwrap();
        let mut table = Table::open(&path, "a,b").unwrap();
        assert_eq!(table.names().unwrap(), ["x"]);
        table.append(&row("z", "q\"q")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{whole}z,\"q\"\"q\"\n"));
        let other = Table::open(&path, "b,a").unwrap_err().to_string();
        assert!(other.contains("t.csv") && other.contains("b,a"), "{other}");
    }
}
