//! Tables with commas and a first line of column names (RFC 4180), a row at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Bytes of a row at most.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The system refuses.
    #[error("{path}: {why}", path = path.display())]
    Io {
        /// The table.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A column is missing.
    #[error("{path}: there is no column {name}; there are {there}", path = path.display())]
    Column {
        /// The table.
        path: PathBuf,
        /// What it should be called.
        name: String,
        /// Which there are.
        there: String,
    },
    /// A row is not what it should be.
    #[error("{path}: line {line}: {why}", path = path.display())]
    Row {
        /// The table.
        path: PathBuf,
        /// Where the row begins, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// A table being read.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    reader: BufReader<File>,
    columns: Vec<String>,
    line: usize,
}

/// A row: as many cells as there are columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: usize,
    /// In the order of the columns, without quotes.
    pub cells: Vec<String>,
}

impl Csv {
    /// Opens a table and reads its first line.
    ///
    /// # Errors
    /// [`CsvError::Io`]; [`CsvError::Row`] if there is no first line.
    pub fn open(path: &Path) -> Result<Self, CsvError> {
        let file = File::open(path).map_err(|why| CsvError::Io {
            path: path.to_owned(),
            why,
        })?;
        let mut csv = Self {
            path: path.to_owned(),
            reader: BufReader::new(file),
            columns: Vec::new(),
            line: 0,
        };
        let Some(first) = csv.record()? else {
            return Err(csv.wrong(1, "is empty; a line with the names of columns is wanted"));
        };
        csv.columns = first.cells;
        // What some programs put before the text.
        if let Some(name) = csv.columns.first_mut()
            && let Some(bare) = name.strip_prefix('\u{feff}')
        {
            *name = bare.to_owned();
        }
        Ok(csv)
    }

    /// The names of its columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Where a column is.
    ///
    /// # Errors
    /// [`CsvError::Column`] if there is none of that name.
    pub fn column(&self, name: &str) -> Result<usize, CsvError> {
        let place = self.columns.iter().position(|column| column == name);
        place.ok_or_else(|| CsvError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            there: self.columns.join(", "),
        })
    }

    /// The next row; `None` after the last. Empty lines are passed over.
    ///
    /// # Errors
    /// [`CsvError::Row`]: other than as many cells as columns, an open quote, no UTF-8, too long.
    pub fn next_row(&mut self) -> Result<Option<Row>, CsvError> {
        let Some(row) = self.record()? else {
            return Ok(None);
        };
        let (found, wanted) = (row.cells.len(), self.columns.len());
        if found != wanted {
            let why = format!("{found} cells, and the first line has {wanted}");
            return Err(self.wrong(row.line, why));
        }
        Ok(Some(row))
    }

    /// An error about a row.
    #[must_use]
    pub fn wrong(&self, line: usize, why: impl Into<String>) -> CsvError {
        CsvError::Row {
            path: self.path.clone(),
            line,
            why: why.into(),
        }
    }

    fn record(&mut self) -> Result<Option<Row>, CsvError> {
        let (mut bytes, mut begun) = (Vec::new(), self.line + 1);
        loop {
            let before = bytes.len();
            let read = self.reader.read_until(b'\n', &mut bytes);
            let read = read.map_err(|why| CsvError::Io {
                path: self.path.clone(),
                why,
            })?;
            if read == 0 && before == 0 {
                return Ok(None);
            }
            self.line += usize::from(read > 0);
            if bytes.len() > ROW_BYTES_MAX {
                return Err(self.wrong(begun, format!("longer than {ROW_BYTES_MAX} bytes")));
            }
            if before == 0 && bytes.iter().all(u8::is_ascii_whitespace) {
                bytes.clear();
                begun = self.line + 1;
                continue;
            }
            // Each cell in quotes has an even number of them.
            if bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
                break;
            }
            if read == 0 {
                return Err(self.wrong(begun, "a cell's quotes are not closed"));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| self.wrong(begun, "no UTF-8"))?;
        let cells = cells(text.trim_end_matches(['\r', '\n']));
        Ok(Some(Row { line: begun, cells }))
    }
}

/// The cells of a row, in which quotes are closed.
fn cells(text: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    cells
}

/// A line of these cells, in quotes where they need them.
#[must_use]
pub fn line(cells: &[String]) -> String {
    let mut line = String::new();
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            line.push('"');
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(cell);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Row>, CsvError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let mut csv = Csv::open(&path)?;
        assert_eq!(csv.column("b")?, 1);
        let mut rows = Vec::new();
        while let Some(row) = csv.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn cells_may_hold_anything_and_are_written_as_they_were() {
        let text = "\u{feff}a,b\r\n1,\"x, \"\"y\"\"\"\r\n\n\"two\nlines\",\n3,last";
        let rows = read(text.as_bytes()).unwrap();
        let cells: Vec<_> = rows.iter().map(|row| (row.line, &row.cells[..])).collect();
        let expected = [
            (2, ["1", "x, \"y\""]),
            (4, ["two\nlines", ""]),
            (6, ["3", "last"]),
        ];
        for ((line, cells), (at, expected)) in cells.iter().zip(expected) {
            assert_eq!((*line, *cells), (at, &expected.map(str::to_owned)[..]));
        }
        assert_eq!(rows.len(), 3);
        assert_eq!(line(&rows[0].cells), "1,\"x, \"\"y\"\"\"\n");
        assert_eq!(line(&rows[1].cells), "\"two\nlines\",\n");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |text: &[u8], said: &str| {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        };
        check(b"", "line 1: is empty");
        check(b"a,c\n", "no column b; there are a, c");
        check(b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells");
        check(b"a,b\n1,2\n\n1,\"2\n3,4\n", "line 4: a cell's quotes");
        check(b"a,b\n1,\xff\n", "line 2: no UTF-8");
        let long = ["a,b\n1,", &"x".repeat(ROW_BYTES_MAX)].concat();
        check(long.as_bytes(), "line 2: longer");
    }
}
