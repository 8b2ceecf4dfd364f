//! What people write: durations, moments, cosines, files.
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use rollcall_client::pb::EventKind;
use rollcall_client::{IMAGE_BYTES_MAX, check_photo};
use serde::Deserialize;

use super::failure::Failure;

/// A duration, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

/// A moment on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment(pub(crate) Timestamp);

const EMBEDDING_BYTES_MAX: u64 = 1024 * 1024;
/// Of a file that holds one line.
const LINE_BYTES_MAX: u64 = 1 << 16;

pub(crate) fn parse_limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        _ => parse_duration(text).map(|duration| Limit(Some(duration))),
    }
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write 500ms, 10s, 1m, 2h or 1d");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds_each = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds_each).map_err(|_| wrong())
}

pub(crate) fn parse_moment_now(text: &str) -> Result<Moment, String> {
    parse_moment(text, SystemTime::now())
}

fn parse_moment(text: &str, now: SystemTime) -> Result<Moment, String> {
    let wrong = || {
        format!("`{text}` is no moment: write 2026-01-31T12:00:00Z, 2026-01-31, or 2h for 2 h ago")
    };
    if let Ok(ago) = parse_duration(text) {
        return now
            .checked_sub(ago)
            .map(|then| Moment(then.into()))
            .ok_or_else(wrong);
    }
    let date_only = text.len() == 10 && !text.contains('T');
    let full = if date_only {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    full.parse().map(Moment).map_err(|_| wrong())
}

pub(crate) fn parse_cosine(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(cosine) if (-1.0..=1.0).contains(&cosine) => Ok(cosine),
        _ => Err("a cosine lies between -1 and 1".to_owned()),
    }
}

pub(crate) fn parse_kind(text: &str) -> Result<EventKind, String> {
    let name = format!("EVENT_KIND_{}", text.to_ascii_uppercase());
    EventKind::from_str_name(&name)
        .filter(|kind| *kind != EventKind::Unspecified)
        .ok_or_else(|| {
            "kinds are source_changed, identity_created, identity_changed, identity_absorbed, \
             sighting_started, sighting_changed, sighting_ended, track_reassigned, \
             sighting_retracted, identity_restored, tracks_moved, fact_changed, photos_changed, alert, \
             migration_changed, erased"
                .to_owned()
        })
}

/// `key=value`, for metadata.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("metadata are written KEY=VALUE".to_owned()),
    }
}

/// Reads the picture of a query and refuses what the server would refuse by its size.
pub(crate) async fn read_photo(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = IMAGE_BYTES_MAX as u64;
    let size = size_of(path);
    if let Some(size) = size {
        check_photo(size).map_err(|fault| Failure::photo(path, fault))?;
    }
    let bytes = read(path, limit + 1).await?;
    check_photo(bytes.len() as u64).map_err(|fault| Failure::photo(path, fault))?;
    Ok(bytes)
}

/// The first line of a file, or of standard input; refused if it is no text or empty.
pub(crate) async fn read_line(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, LINE_BYTES_MAX).await?;
    let first = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next();
    match std::str::from_utf8(first.unwrap_or_default()) {
        Ok(line) if !line.is_empty() => Ok(line.to_owned()),
        Ok(_) | Err(_) => Err(Failure::Local {
            reason: "INVALID_ARGUMENT",
            message: format!(
                "{}: the first line is empty or no UTF-8 text; write the key there as text (`openssl rand -hex 32`)",
                path.display()
            ),
        }),
    }
}

/// An embedding from outside, with the contract it was made under if it says so.
#[derive(Debug, PartialEq)]
pub(crate) struct EmbeddingFile {
    pub(crate) embedding: Vec<f32>,
    pub(crate) contract: String,
}

pub(crate) async fn read_embedding(path: &Path) -> Result<EmbeddingFile, Failure> {
    let bytes = read(path, EMBEDDING_BYTES_MAX).await?;
    parse_embedding(&bytes).map_err(|why| Failure::Local {
        reason: "INVALID_EMBEDDING",
        message: format!(
            "{}: {why}; write an array of numbers, or an object with `embedding`",
            path.display()
        ),
    })
}

fn parse_embedding(bytes: &[u8]) -> Result<EmbeddingFile, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Bare(Vec<f32>),
        Full {
            embedding: Vec<f32>,
            #[serde(default)]
            contract: String,
        },
    }
    let text = serde_json::from_slice(bytes).map_err(|_| "no embedding as JSON".to_owned())?;
    let (embedding, contract) = match text {
        Text::Bare(embedding) => (embedding, String::new()),
        Text::Full {
            embedding,
            contract,
        } => (embedding, contract),
    };
    if embedding.is_empty() {
        return Err("an embedding without values".to_owned());
    }
    if embedding.iter().any(|value| !value.is_finite()) {
        return Err("a value is too large".to_owned());
    }
    Ok(EmbeddingFile {
        embedding,
        contract,
    })
}

/// The size of a plain file; pipes have none.
fn size_of(path: &Path) -> Option<u64> {
    let meta = std::fs::metadata(path).ok()?;
    (path != Path::new("-") && meta.is_file()).then_some(meta.len())
}

/// At most `limit` bytes of a file, or of standard input for `-`.
async fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let from = path.to_owned();
    let work = move || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if from == Path::new("-") {
            std::io::stdin()
                .lock()
                .take(limit)
                .read_to_end(&mut bytes)?;
        } else {
            std::fs::File::open(&from)?
                .take(limit)
                .read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    // Apart from the runtime's thread, so that Ctrl-C works while nothing comes.
    let read = tokio::task::spawn_blocking(work).await;
    read.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| Failure::file(path, "read", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let millis = |text| parse_limit(text).map(|limit| limit.0.map(|d| d.as_millis()));
        assert_eq!(millis("500ms"), Ok(Some(500)));
        assert_eq!(millis("1.5s"), Ok(Some(1500)));
        assert_eq!(millis("2m"), Ok(Some(120_000)));
        assert_eq!(millis("1h"), Ok(Some(3_600_000)));
        assert_eq!(millis("none"), Ok(None));
        for wrong in [
            "",
            "10",
            "s",
            "-1s",
            "1w",
            "1.2.3s",
            "9e99s",
            "99999999999999999999999d",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = |text| parse_moment(text, now).map(|moment| moment.0.seconds);
        assert_eq!(seconds("1h"), Ok(1_000_000 - 3600));
        assert_eq!(seconds("1970-01-02"), Ok(86_400));
        assert_eq!(seconds("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(seconds("1970-01-01T00:00:01.5Z"), Ok(1));
        for wrong in ["yesterday", "2026-13-01", "", "-2h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn embeddings() {
        let parsed = parse_embedding(b"[1, 2.5]").unwrap();
        assert_eq!(parsed.embedding, [1.0, 2.5]);
        let parsed = parse_embedding(br#"{"embedding":[1],"contract":"c"}"#).unwrap();
        assert_eq!((parsed.embedding.len(), parsed.contract.as_str()), (1, "c"));
        for wrong in ["", "[]", "{}", "[\"a\"]", "[1e39]", "\u{0}"] {
            assert!(parse_embedding(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(
            parse_kind("sighting_started"),
            Ok(EventKind::SightingStarted)
        );
        assert!(
            parse_kind("unspecified")
                .unwrap_err()
                .contains("sighting_retracted")
        );
    }
}
