//! Where everything goes: results to standard output, the rest to standard error.
use std::env;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use rollcall_client::code_name;
use serde::Serialize;

use super::args::{Color, Format, Global};
use super::failure::Failure;
use super::format::printable;

/// The two streams and how to write on them.
#[derive(Debug)]
pub(crate) struct Out {
    stdout: BufWriter<Stdout>,
    /// How results are written.
    pub(crate) format: Format,
    /// Of standard output.
    pub(crate) style: Style,
    notes: Style,
    /// 0 quiet, 1 normal, more with `-v`.
    loudness: u8,
    /// Whether a bar may move on standard error.
    pub(crate) bar: bool,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    coloured: bool,
}

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Style = Style { coloured: false };

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn doubtful(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Out {
    pub(crate) fn new(global: &Global) -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = |terminal| Style {
            coloured: coloured(global.color, terminal, no_color),
        };
        Self {
            stdout: BufWriter::new(io::stdout()),
            format: global.format.unwrap_or(default_format(stdout)),
            style: style(stdout),
            notes: style(stderr),
            loudness: if global.quiet { 0 } else { 1 + global.verbose },
            bar: stderr && !global.quiet && !global.no_progress,
        }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// The result as one JSON document, pretty only for `json`.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(value),
            Format::Table | Format::Jsonl => serde_json::to_string(value),
        };
        self.line(&text.map_err(io::Error::other)?)
    }

    /// One line of JSON, for streams, and at once.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(&text)?;
        Ok(self.flush()?)
    }

    /// Bytes that are the result.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stdout.write_all(bytes)?)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    /// What people may want to know beside the result.
    pub(crate) fn note(&self, text: &str) {
        if self.loudness >= 1 {
            eprintln!("{text}");
        }
    }

    /// What they may want to know if they asked for more.
    pub(crate) fn detail(&self, text: &str) {
        if self.loudness >= 2 {
            eprintln!("{text}");
        }
    }

    pub(crate) fn warn(&self, text: &str) {
        if self.loudness >= 1 {
            eprintln!("{} {text}", self.notes.doubtful("rollcall: warning:"));
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        let text = printable(&failure.to_string());
        eprintln!(
            "{} {text} [{}]",
            self.notes.bad("rollcall:"),
            printable(failure.reason())
        );
        if let Some(server) = failure.client().and_then(|error| error.server()) {
            self.detail(&format!("  code: {}", code_name(server.code)));
            for (key, value) in &server.metadata {
                self.detail(&format!("  {}: {}", printable(key), printable(value)));
            }
        }
    }
}

fn default_format(terminal: bool) -> Format {
    if terminal {
        Format::Table
    } else {
        Format::Jsonl
    }
}

fn coloured(color: Color, terminal: bool, no_color: bool) -> bool {
    match color {
        Color::Auto => terminal && !no_color,
        Color::Always => true,
        Color::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_they_are_welcome() {
        assert!(coloured(Color::Auto, true, false));
        assert!(!coloured(Color::Auto, true, true));
        assert!(!coloured(Color::Auto, false, false));
        assert!(coloured(Color::Always, false, true));
        assert!(!coloured(Color::Never, true, false));
        assert_eq!(Style::PLAIN.bold("x"), "x");
        assert_eq!(Style { coloured: true }.bad("x"), "\x1b[31mx\x1b[0m");
    }
}
