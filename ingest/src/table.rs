//! Tables with commas and a line of names.

use std::{iter::Peekable, str::Chars};

/// A line of a table that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct TableError {
    /// Counted from 1; where the row begins.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// A table by RFC 4180, read row by row: fields in quotes may hold commas, line feeds and doubled quotes.
/// Spaces around a field do not count, nor do empty lines.
pub struct Table<'a> {
    header: Vec<String>,
    characters: Peekable<Chars<'a>>,
    /// Where the next row begins.
    line: usize,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins, counted from 1.
    pub line: usize,
    /// Its fields, quotes undone.
    pub fields: Vec<String>,
}

impl<'a> Table<'a> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`TableError`] if a quote in it is not closed.
    pub fn new(text: &'a str) -> Result<Self, TableError> {
        let mut table = Self {
            header: Vec::new(),
            characters: text.trim_start_matches('\u{feff}').chars().peekable(),
            line: 1,
        };
        if let Some(row) = table.next() {
            table.header = row?.fields;
        }
        Ok(table)
    }

    /// The names of the columns, as they are there.
    #[must_use]
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The first column that has one of these names, which are in lower case.
    #[must_use]
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        let is_one = |field: &String| names.contains(&field.to_ascii_lowercase().as_str());
        self.header.iter().position(is_one)
    }

    /// The fields up to the end of the line; `None` if a quote is not closed.
    fn record(&mut self) -> Option<Vec<String>> {
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        while let Some(character) = self.characters.next() {
            self.line += usize::from(character == '\n');
            match character {
                '"' if quoted && self.characters.peek() == Some(&'"') => {
                    self.characters.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
                '\n' if !quoted => break,
                other => field.push(other),
            }
        }
        fields.push(field.trim().to_owned());
        (!quoted).then_some(fields)
    }
}

impl Iterator for Table<'_> {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.characters.peek().is_some() {
            let line = self.line;
            let Some(fields) = self.record() else {
                let why = "a quote is not closed".to_owned();
                return Some(Err(TableError { line, why }));
            };
            if fields.len() > 1 || !fields[0].is_empty() {
                return Some(Ok(Row { line, fields }));
            }
        }
        None
    }
}

impl Row {
    /// The field of a column.
    ///
    /// # Errors
    /// [`TableError`] if the row is too short.
    pub fn field(&self, column: usize) -> Result<&str, TableError> {
        let field = self.fields.get(column);
        field.map(String::as_str).ok_or_else(|| {
            let count = self.fields.len();
            self.wrong(&format!("has {count} fields, fewer than the header"))
        })
    }

    /// The fields, if there are just two.
    ///
    /// # Errors
    /// [`TableError`] otherwise.
    pub fn two(self) -> Result<[String; 2], TableError> {
        let line = self.line;
        self.fields.try_into().map_err(|fields: Vec<String>| {
            let why = format!("has {} columns, two are wanted", fields.len());
            TableError { line, why }
        })
    }

    /// What is wrong with this row.
    #[must_use]
    pub fn wrong(&self, why: &str) -> TableError {
        TableError {
            line: self.line,
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
        let table = Table::new(text).map_err(|why| why.to_string())?;
        let rows = table.map(|row| row.map(|row| (row.line, row.fields)));
        rows.collect::<Result<_, _>>()
            .map_err(|why| why.to_string())
    }

    #[test]
    fn rows_have_their_lines_and_quotes_are_undone() {
        let text = "\u{feff}Name, b\r\n\r\n x ,\"1, \"\"2\"\"\"\r\n\"two\nlines\",\n,z";
        let table = Table::new(text).unwrap();
        assert_eq!(table.header(), ["Name", "b"]);
        assert_eq!(
            (table.column(&["label", "b"]), table.column(&["name"])),
            (Some(1), Some(0))
        );
        assert_eq!(table.column(&["c"]), None);
        let own = |line, fields: [&str; 2]| (line, fields.map(str::to_owned).to_vec());
        let expected = [
            own(3, ["x", "1, \"2\""]),
            own(4, ["two\nlines", ""]),
            own(6, ["", "z"]),
        ];
        assert_eq!(rows(text).unwrap(), expected);
        assert_eq!(rows("").unwrap(), []);
        assert_eq!(rows("a,b\n").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(
            rows("a\n\n\"b\nc").unwrap_err(),
            "line 3: a quote is not closed"
        );
        assert_eq!(rows("\"a\n").unwrap_err(), "line 1: a quote is not closed");
        let row = Table::new("a,b\nx\n").unwrap().next().unwrap().unwrap();
        assert_eq!(row.field(0).unwrap(), "x");
        let short = row.field(1).unwrap_err().to_string();
        assert_eq!(short, "line 2: has 1 fields, fewer than the header");
        let one = row.two().unwrap_err().to_string();
        assert_eq!(one, "line 2: has 1 columns, two are wanted");
    }
}
