//! Values as people read them.
use prost_types::{Duration, Timestamp};
use rollcall_client::time;

/// What stands where a value is absent.
pub(crate) const ABSENT: &str = "-";

/// Stream time: `00:12.480`, `1:02:03.456`.
pub(crate) fn stream_time(at: Option<&Duration>) -> String {
    let Some(at) = at else {
        return ABSENT.to_owned();
    };
    let millis = time::duration(at).as_millis();
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
    if hours == 0 {
        format!("{minutes:02}:{seconds:02}.{millis:03}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}")
    }
}

/// Wall clock, UTC, to the second: `2026-01-31 12:00:00Z`.
pub(crate) fn wall_time(at: Option<&Timestamp>) -> String {
    let Some(at) = at else {
        return ABSENT.to_owned();
    };
    let whole = Timestamp {
        seconds: at.seconds,
        nanos: 0,
    };
    whole.to_string().replacen('T', " ", 1)
}

/// A cosine with three digits.
pub(crate) fn cosine(cosine: f32) -> String {
    format!("{cosine:.3}")
}

/// `12.3 ms`, `1.20 s`.
pub(crate) fn elapsed(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

/// `12 B`, `3.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A person's name, or that there is none.
pub(crate) fn name(name: &str) -> String {
    if name.is_empty() {
        "(unnamed)".to_owned()
    } else {
        printable(name)
    }
}

/// Text from outside without what could steer a terminal: control characters and those that turn
/// the direction of writing become U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// `SOURCE_STATE_ENDED` as `ended`.
pub(crate) fn enum_name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix)
        .unwrap_or(full)
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_times() {
        let at = |seconds, nanos| stream_time(Some(&Duration { seconds, nanos }));
        assert_eq!(at(12, 480_000_000), "00:12.480");
        assert_eq!(at(0, 0), "00:00.000");
        assert_eq!(at(3723, 456_000_000), "1:02:03.456");
        assert_eq!(at(360_000, 0), "100:00:00.000");
        assert_eq!(at(-1, 0), "00:00.000");
        assert_eq!(stream_time(None), "-");
    }

    #[test]
    fn wall_times() {
        let at = Timestamp {
            seconds: 86_400,
            nanos: 5,
        };
        assert_eq!(wall_time(Some(&at)), "1970-01-02 00:00:00Z");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(16 << 20), "16.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[2Jb\nc\u{202e}d"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
        assert_eq!(name(""), "(unnamed)");
    }
}
