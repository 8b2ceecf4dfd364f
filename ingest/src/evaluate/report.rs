//! Reports: all numbers as JSON, tables as CSV, and a page with pictures that needs nothing else.

mod html;
mod svg;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use svg::{Axis, Bars, Curves, Plot, Series, Style};

use super::EvaluateError;
use crate::table::line;

/// What an evaluation has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was evaluated, and of what.
    pub title: String,
    /// What to know before reading: what was compared, what was left out, what was drawn.
    pub lead: Vec<String>,
    /// What was found, part by part.
    pub sections: Vec<Section>,
    /// All numbers.
    pub numbers: Value,
    /// Further files, by name.
    pub files: Vec<(String, Value)>,
}

/// A part of a report.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// What it is about.
    pub heading: String,
    /// What to know of it.
    pub notes: Vec<String>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its pictures.
    pub plots: Vec<Plot>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The name of its `.csv` file, without the ending.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// The columns.
    pub columns: Vec<String>,
    /// The rows, each with a cell a column.
    pub rows: Vec<Vec<String>>,
    /// Whether it is too long to be shown, and in its `.csv` file alone.
    pub file_only: bool,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(name: &str, caption: &str, columns: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            caption: caption.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// Unless there is a cell a column.
    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "a cell a column");
        self.rows.push(row);
    }

    /// The columns that hold anything.
    fn filled(&self) -> Vec<usize> {
        let is_filled = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        (0..self.columns.len()).filter(is_filled).collect()
    }

    fn csv(&self) -> String {
        let rows = self.rows.iter().map(|cells| line(cells));
        std::iter::once(line(&self.columns)).chain(rows).collect()
    }
}

impl Report {
    /// Writes `report.html`, `report.json`, a `.csv` for each table, and what else there is, into a
    /// folder, which is made if need be. Files appear whole, `report.html` last.
    ///
    /// # Errors
    /// [`EvaluateError::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), EvaluateError> {
        fs::create_dir_all(folder).map_err(EvaluateError::io(folder))?;
        let mut files: Vec<(PathBuf, String)> = Vec::new();
        for table in self.sections.iter().flat_map(|section| &section.tables) {
            files.push((folder.join(format!("{}.csv", table.name)), table.csv()));
        }
        let json = |value: &Value| format!("{value:#}\n");
        files.push((folder.join("report.json"), json(&self.numbers)));
        for (name, value) in &self.files {
            files.push((folder.join(name), json(value)));
        }
        files.push((folder.join("report.html"), self.html()));
        let written = files.iter().try_for_each(|(path, text)| {
            let part = part_of(path);
            fs::write(&part, text).map_err(EvaluateError::io(&part))
        });
        let put = |(path, _): &(PathBuf, String)| {
            fs::rename(part_of(path), path).map_err(EvaluateError::io(path))
        };
        let written = written.and_then(|()| files.iter().try_for_each(put));
        if written.is_err() {
            // Whatever is left of it; the reason is the first failure.
            let left = files.iter().map(|(path, _)| fs::remove_file(part_of(path)));
            left.for_each(drop);
        }
        written
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Text as it is written between tags and in attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in XML, and of no meaning.
            other if other.is_control() && !matches!(other, '\n' | '\t') => {
                escaped.push('\u{fffd}')
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
