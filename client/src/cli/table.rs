//! Plain tables: two spaces between columns, numbers to the right.
use unicode_width::UnicodeWidthStr as _;

use super::out::Style;

/// Which way a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows under a header. Cells must be [printable](super::format::printable).
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            indent: 0,
        }
    }

    pub(crate) fn indented(mut self, by: usize) -> Self {
        self.indent = by;
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Lines without a line break at the end of the last.
    pub(crate) fn render(&self, style: Style) -> String {
        let width = |i: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(|cell| cell.width());
            cells.chain([self.columns[i].0.width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let header: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let mut lines = vec![style.bold(&self.line(&header, &widths))];
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        lines.join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = " ".repeat(self.indent);
        for (i, ((cell, width), (_, side))) in
            cells.iter().zip(widths).zip(&self.columns).enumerate()
        {
            let gap = " ".repeat(width - cell.width());
            line.push_str(if i == 0 { "" } else { "  " });
            match side {
                Side::Left => line.extend([cell.as_str(), gap.as_str()]),
                Side::Right => line.extend([gap.as_str(), cell.as_str()]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_wide_characters_too() {
        let mut table = Table::new(&[
            ("ID", Side::Right),
            ("NAME", Side::Left),
            ("N", Side::Right),
        ])
        .indented(1);
        table.row(["7".into(), "山田".into(), "1".into()]);
        table.row(["12".into(), "Ada".into(), "10".into()]);
        assert_eq!(
            table.render(Style::PLAIN),
            " ID  NAME   N\n  7  山田   1\n 12  Ada   10"
        );
    }
}
