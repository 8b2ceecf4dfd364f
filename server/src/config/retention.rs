//! How long sightings are kept: ages as text, such as `12h`, `30d` or `never`.

use serde::{Deserialize, Serialize};

/// How long sightings are kept, counted from their end by the wall clock; see `docs/privacy.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Of people who have no name.
    pub unknown: String,
    /// Of people who have one.
    pub named: String,
    /// Sources with times of their own, each `ID=UNKNOWN/NAMED`.
    pub sources: Vec<String>,
    /// How often it is looked for what is older, in seconds.
    pub every_s: u64,
}

/// How long sightings of one kind of people are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which source; 0: all that have no rule of their own.
    pub source: u64,
    /// Of people who have no name, in seconds; `None`: for ever.
    pub unknown_s: Option<u64>,
    /// Of people who have one.
    pub named_s: Option<u64>,
}

const WANTED: &str = "a time such as \"12h\" or \"30d\" (s, m, h, d), or \"never\"";

/// Seconds; `None` for "never".
pub(super) fn age(text: &str) -> Result<Option<u64>, String> {
    if text == "never" {
        return Ok(None);
    }
    let wrong = || format!("\"{text}\" is not {WANTED}");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let unit_s: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(unit_s) {
        Some(0) => Err("must be at least 1s, or \"never\"".to_owned()),
        // A hundred years: further back there is no film.
        Some(seconds) if seconds <= 36_525 * 86_400 => Ok(Some(seconds)),
        Some(_) | None => Err(format!(
            "\"{text}\" is more than a hundred years: say \"never\""
        )),
    }
}

/// The rule of one source.
pub(super) fn of_source(text: &str) -> Result<Kept, String> {
    let wrong = || {
        format!(
            "\"{text}\" is not a source with its times, such as \"7=2d/30d\" (ID=UNKNOWN/NAMED)"
        )
    };
    let (id, ages) = text.split_once('=').ok_or_else(wrong)?;
    let (unknown, named) = ages.split_once('/').ok_or_else(wrong)?;
    let source: u64 = id.trim().parse().map_err(|_| wrong())?;
    if source == 0 {
        return Err(wrong());
    }
    Ok(Kept {
        source,
        unknown_s: age(unknown.trim())?,
        named_s: age(named.trim())?,
    })
}

impl Retention {
    /// The rules: first that of all other sources, then those of single ones.
    pub fn rules(&self) -> Vec<Kept> {
        // Texts that are none were refused when the settings were loaded.
        let age = |text: &str| age(text).unwrap_or_default();
        let all = Kept {
            source: 0,
            unknown_s: age(&self.unknown),
            named_s: age(&self.named),
        };
        let own = self.sources.iter().filter_map(|text| of_source(text).ok());
        std::iter::once(all).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("never"), Ok(None));
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
        ] {
            assert_eq!(age(text), Ok(Some(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "30",
            "30 d",
            "-1d",
            "1.5d",
            "1w",
            "0d",
            "99999999d",
            "30é",
            "Never",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_of_sources() {
        let expected = Kept {
            source: 7,
            unknown_s: Some(172_800),
            named_s: None,
        };
        assert_eq!(of_source("7=2d/never"), Ok(expected));
        for text in ["", "7", "7=2d", "0=2d/3d", "x=2d/3d", "7=2d/3w", "=/"] {
            assert!(of_source(text).is_err(), "{text}");
        }
    }
}
