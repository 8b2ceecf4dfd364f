//! Tables with commas and a first line of column names (RFC 4180).

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of a row at most.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The system does not open it.
    #[error("{path}: {why}", path = path.display())]
    Open {
        /// The table.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A row is not what it should be, or cannot be read.
    #[error("{place}line {line}: {why}", place = place(path.as_deref()))]
    Row {
        /// The table, if it is a file.
        path: Option<Arc<Path>>,
        /// Where the row begins, counted from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

fn place(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

/// A table, read row by row: fields in quotes may hold commas, line feeds and doubled quotes. Empty lines do not count. A
/// row may have more or fewer fields than the header; [`Self::next_full`], [`Row::field`] and [`Row::two`] refuse that.
#[derive(Debug)]
pub struct Table<R = BufReader<File>> {
    reader: R,
    header: Row,
    /// Lines that were read.
    lines: usize,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    path: Option<Arc<Path>>,
    /// Where it begins, counted from 1.
    pub line: usize,
    /// Its fields as they are there, spaces around them too; quotes undone.
    pub fields: Vec<String>,
}

impl Table {
    /// Opens a file and reads its first line.
    ///
    /// # Errors
    /// [`TableError`], as those of its rows with its path.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let file = File::open(path).map_err(|why| TableError::Open {
            path: path.to_owned(),
            why,
        })?;
        Self::with_path(BufReader::new(file), Some(path.into()))
    }
}

impl<R: BufRead> Table<R> {
    /// Reads the first line of a text.
    ///
    /// # Errors
    /// [`TableError::Row`]: an open quote, no UTF-8, too long, or the system fails.
    pub fn new(reader: R) -> Result<Self, TableError> {
        Self::with_path(reader, None)
    }

    fn with_path(reader: R, path: Option<Arc<Path>>) -> Result<Self, TableError> {
        let header = Row {
            path,
            line: 1,
            fields: Vec::new(),
        };
        let mut table = Self {
            reader,
            header,
            lines: 0,
        };
        if let Some(header) = table.next() {
            table.header = header?;
        }
        Ok(table)
    }

    /// The names of the columns, as they are there; none if nothing is.
    #[must_use]
    pub fn header(&self) -> &[String] {
        &self.header.fields
    }

    /// The first column that has one of these names, which are in lower case.
    ///
    /// # Errors
    /// [`TableError::Row`], about the first line, if there is none.
    pub fn column(&self, names: &[&str]) -> Result<usize, TableError> {
        let is_one = |field: &String| names.contains(&field.trim().to_ascii_lowercase().as_str());
        let column = self.header().iter().position(is_one);
        column.ok_or_else(|| {
            self.header.wrong(if self.header().is_empty() {
                "is empty; the names of columns are wanted".to_owned()
            } else {
                let (names, there) = (names.join(" or "), self.header().join(", "));
                format!("there is no column {names}; there are {there}")
            })
        })
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// [`TableError::Row`] if it has not as many fields as the header, and as [`Self::new`].
    pub fn next_full(&mut self) -> Result<Option<Row>, TableError> {
        let Some(row) = self.next().transpose()? else {
            return Ok(None);
        };
        let (found, wanted) = (row.fields.len(), self.header().len());
        if found != wanted {
            return Err(row.wrong(format!("{found} cells, and the first line has {wanted}")));
        }
        Ok(Some(row))
    }

    /// The next lines up to one in which no quote is open; `None` if there is none.
    fn record(&mut self, row: &Row) -> Result<Option<String>, TableError> {
        let (mut bytes, mut quoted) = (Vec::new(), false);
        loop {
            let before = bytes.len();
            let limit = (ROW_BYTES_MAX + 1 - before) as u64;
            let read = self
                .reader
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut bytes);
            let read = read.map_err(|why| row.wrong(why.to_string()))?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.lines += usize::from(read > 0);
            if bytes.len() > ROW_BYTES_MAX {
                return Err(row.wrong(format!("longer than {ROW_BYTES_MAX} bytes")));
            }
            // A field in quotes has an even number of them.
            let quotes = bytes[before..].iter().filter(|byte| **byte == b'"').count();
            quoted ^= quotes % 2 == 1;
            if !quoted {
                let text = String::from_utf8(bytes);
                return text.map(Some).map_err(|_| row.wrong("no UTF-8"));
            }
            if read == 0 {
                return Err(row.wrong("a quote is not closed"));
            }
        }
    }
}

impl<R: BufRead> Iterator for Table<R> {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut row = Row {
                path: self.header.path.clone(),
                line: self.lines + 1,
                fields: Vec::new(),
            };
            let text = match self.record(&row).transpose()? {
                Ok(text) => text,
                Err(why) => return Some(Err(why)),
            };
            // What some programs put before the text.
            let mark = |character| row.line == 1 && character == '\u{feff}';
            let text = text.trim_start_matches(mark).trim_end_matches(['\r', '\n']);
            row.fields = fields(text);
            if row.fields.len() > 1 || !row.fields[0].trim().is_empty() {
                return Some(Ok(row));
            }
        }
    }
}

/// The fields of a row, in which quotes are closed.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

impl Row {
    /// The field of a column, without spaces around it.
    ///
    /// # Errors
    /// [`TableError::Row`] if the row is too short.
    pub fn field(&self, column: usize) -> Result<&str, TableError> {
        let field = self.fields.get(column).map(|field| field.trim());
        field.ok_or_else(|| {
            let count = self.fields.len();
            self.wrong(format!("has {count} fields, fewer than the header"))
        })
    }

    /// The fields, if there are just two, without spaces around them.
    ///
    /// # Errors
    /// [`TableError::Row`] otherwise.
    pub fn two(&self) -> Result<[String; 2], TableError> {
        let [one, other] = &self.fields[..] else {
            let count = self.fields.len();
            return Err(self.wrong(format!("has {count} columns, two are wanted")));
        };
        Ok([one, other].map(|field| field.trim().to_owned()))
    }

    /// What is wrong with this row.
    #[must_use]
    pub fn wrong(&self, why: impl Into<String>) -> TableError {
        TableError::Row {
            path: self.path.clone(),
            line: self.line,
            why: why.into(),
        }
    }
}

/// A line of these fields, in quotes where they need them.
#[must_use]
pub fn line(fields: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (place, field) in fields.iter().map(AsRef::as_ref).enumerate() {
        if place > 0 {
            line.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(field);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Row>, String> {
        let rows = Table::new(text).and_then(Iterator::collect);
        rows.map_err(|why: TableError| why.to_string())
    }

    #[test]
    fn rows_have_their_lines_and_are_written_as_they_were() {
        let text = "\u{feff}Name, b\r\n\r\n x ,\"1, \"\"2\"\"\"\r\n\"two\nlines\",\n \n,z";
        let table = Table::new(text.as_bytes()).unwrap();
        assert_eq!(table.header(), ["Name", " b"]);
        assert_eq!(table.column(&["label", "b"]).unwrap(), 1);
        assert_eq!(table.column(&["name"]).unwrap(), 0);
        let rows = rows(text.as_bytes()).unwrap();
        let expected = [
            (3, [" x ", "1, \"2\""], " x ,\"1, \"\"2\"\"\"\n"),
            (4, ["two\nlines", ""], "\"two\nlines\",\n"),
            (7, ["", "z"], ",z\n"),
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, (at, fields, written)) in rows.iter().zip(expected) {
            assert_eq!((row.line, line(&row.fields)), (at, written.to_owned()));
            assert_eq!(row.fields, fields);
            assert_eq!(row.two().unwrap(), fields.map(str::trim));
            assert_eq!(row.field(0).unwrap(), fields[0].trim());
        }
    }

    #[test]
    fn a_table_may_be_empty() {
        for text in ["", "\n\n", "a,b\n"] {
            assert_eq!(rows(text.as_bytes()).unwrap(), []);
        }
        let why = Table::new(&b""[..]).unwrap().column(&["a"]).unwrap_err();
        assert!(why.to_string().starts_with("line 1: is empty"), "{why}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let fails = |text: &[u8], said: &str| assert_eq!(rows(text).unwrap_err(), said);
        fails(b"a\n\n\"b\nc", "line 3: a quote is not closed");
        fails(b"\"a\n", "line 1: a quote is not closed");
        fails(b"a,b\n1,\xff\n", "line 2: no UTF-8");
        let long = ["a,b\n1,", &"x".repeat(ROW_BYTES_MAX)].concat();
        fails(long.as_bytes(), "line 2: longer than 1048576 bytes");
        fails(
            ["a\n\"", &"\n".repeat(ROW_BYTES_MAX)].concat().as_bytes(),
            "line 2: longer than 1048576 bytes",
        );
        let row = rows(b"a,b\nx\n").unwrap().remove(0);
        let short = row.field(1).unwrap_err().to_string();
        assert_eq!(short, "line 2: has 1 fields, fewer than the header");
        let one = row.two().unwrap_err().to_string();
        assert_eq!(one, "line 2: has 1 columns, two are wanted");
    }

    #[test]
    fn of_a_file_its_path_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let said = |why: TableError, said: &str| {
            let why = why.to_string();
            let (at, why) = why.split_once(": ").unwrap();
            assert_eq!(at, path.display().to_string());
            assert!(why.starts_with(said), "{why}");
        };
        said(Table::open(&path).unwrap_err(), "No such file");
        std::fs::write(&path, "a,b\n1,2\n\n1,2,3\n").unwrap();
        let mut table = Table::open(&path).unwrap();
        let missing = table.column(&["c", "d"]).unwrap_err();
        said(missing, "line 1: there is no column c or d; there are a, b");
        assert_eq!(table.next_full().unwrap().unwrap().fields, ["1", "2"]);
        said(table.next_full().unwrap_err(), "line 4: 3 cells");
        assert_eq!(table.next_full().unwrap(), None);
    }
}
