//! A report as one page: no scripts, nothing fetched, light or dark as the reader has it.

use std::fmt::Write as _;

use super::{Report, Section, Table, escape};

const CSS: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fdfdfc; --faint: #5f6b7a; --rule: #d5dae1;
  --s0: #1f6fb2; --s1: #c9601a; --s2: #2e8b57; --s3: #8b4fb0; --s4: #b03a48; --s5: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --paper: #14181e; --faint: #98a4b3; --rule: #343c47;
  --s0: #63aee8; --s1: #f09a55; --s2: #63c58e; --s3: #c592e6; --s4: #ec7f8b; --s5: #a3acb8; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0; max-width: 60rem; overflow-wrap: anywhere; } .note { color: var(--faint); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { white-space: nowrap; text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--faint); font-weight: 500; }
td { max-width: 34rem; overflow-wrap: break-word; }
";

impl Report {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        for line in &self.lead {
            let _ = writeln!(page, "<p>{}</p>", escape(line));
        }
        self.sections
            .iter()
            .for_each(|section| section.html(&mut page));
        page.push_str("<p class=\"note\">All numbers are in report.json, tables in .csv files, beside this page.</p>\n");
        page.push_str("</body>\n</html>\n");
        page
    }
}

impl Section {
    fn html(&self, page: &mut String) {
        let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(&self.heading));
        for note in &self.notes {
            let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
        }
        if !self.plots.is_empty() {
            page.push_str("<div class=\"plots\">\n");
            for plot in &self.plots {
                let _ = writeln!(page, "<figure>\n{}</figure>", plot.svg());
            }
            page.push_str("</div>\n");
        }
        let shown = self.tables.iter().filter(|table| !table.file_only);
        shown.for_each(|table| table.html(page));
        page.push_str("</section>\n");
    }
}

impl Table {
    fn html(&self, page: &mut String) {
        let _ = writeln!(
            page,
            "<div class=\"scroll\">\n<table>\n<caption>{}</caption>",
            escape(&self.caption)
        );
        let columns = self.filled();
        let cells = |tag: &str, row: &[String]| -> String {
            let cells = columns.iter().map(|column| escape(&row[*column]));
            cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect()
        };
        let _ = writeln!(
            page,
            "<thead><tr>{}</tr></thead>\n<tbody>",
            cells("th", &self.columns)
        );
        for row in &self.rows {
            let _ = writeln!(page, "<tr>{}</tr>", cells("td", row));
        }
        page.push_str("</tbody>\n</table>\n</div>\n");
    }
}
