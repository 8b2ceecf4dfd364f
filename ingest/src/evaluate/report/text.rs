//! A report for a terminal.

use std::fmt::Write as _;

use super::{Report, Table};

impl Report {
    /// What there is to read, without pictures.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        self.lead
            .iter()
            .for_each(|line| text.push_str(&format!("{line}\n")));
        for section in &self.sections {
            let _ = write!(text, "\n{}\n", section.heading);
            section
                .notes
                .iter()
                .for_each(|note| text.push_str(&format!("  {note}\n")));
            let shown = section.tables.iter().filter(|table| !table.file_only);
            shown.for_each(|table| text.push_str(&table.text()));
        }
        text
    }
}

impl Table {
    fn text(&self) -> String {
        let length = |text: &String| text.chars().count();
        let columns: Vec<(usize, usize)> = self
            .filled()
            .into_iter()
            .map(|column| {
                let cells = self.rows.iter().map(|row| length(&row[column]));
                let widest = cells.chain([length(&self.columns[column])]).max();
                (column, widest.unwrap_or(0))
            })
            .collect();
        let line = |cells: &[String]| {
            let mut line = String::from(" ");
            for (column, width) in &columns {
                let cell = &cells[*column];
                let gap = " ".repeat(width - length(cell));
                // Names to the left, numbers to the right.
                if cell.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
                    let _ = write!(line, " {gap}{cell} ");
                } else {
                    let _ = write!(line, " {cell}{gap} ");
                }
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut text = format!("  {}\n", self.caption);
        text.push_str(&line(&self.columns));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}
