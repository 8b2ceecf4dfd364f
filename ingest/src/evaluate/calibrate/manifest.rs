//! The threshold where the server reads it: `same` in the section `[decision]` of the embedder's
//! manifest. A manifest is what a contract is made from, so this is the threshold of that contract.

use std::path::{Path, PathBuf};

use super::{Calibration, EvaluateError};
use crate::{Contract, evaluate::labels::read_text, files::write_whole, model::EmbedderManifest};

/// A manifest that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The manifest.
    pub path: PathBuf,
    /// The contract of its embeddings.
    pub contract: String,
    /// The threshold it had.
    pub before: String,
}

/// The section to put into a manifest.
#[must_use]
pub fn snippet(calibration: &Calibration) -> String {
    format!(
        "[decision]\nsame = {:.4}\nsource = {}\n",
        calibration.threshold,
        source(calibration)
    )
}

fn source(calibration: &Calibration) -> String {
    let Calibration {
        false_match_rate,
        false_match_interval,
        true_match_rate,
        ..
    } = calibration;
    let text = format!(
        "rollcall-ingest calibrate: {} pairs of two people, {} of one; false match rate {:.2e} (95 %: {:.1e} to {:.1e}), true match rate {:.4}",
        calibration.different_pairs,
        calibration.same_pairs,
        false_match_rate,
        false_match_interval.low,
        false_match_interval.high,
        true_match_rate
    );
    toml::Value::String(text).to_string()
}

/// Puts the threshold into an embedder's manifest, whatever else it holds staying as it is. With
/// `contract`, only if that is the contract of its embeddings.
///
/// # Errors
/// [`EvaluateError::Configuration`] if the file is no embedder's manifest, or another contract's;
/// nothing is written then.
pub fn write_manifest(
    path: &Path,
    calibration: &Calibration,
    contract: Option<&str>,
) -> Result<Written, EvaluateError> {
    let bad = |why: String| EvaluateError::Configuration {
        path: path.to_owned(),
        why,
    };
    if !(0.0..=1.0).contains(&calibration.threshold) {
        return Err(bad(format!(
            "the threshold found is {:.4}, and a manifest takes 0 to 1; ask for another false match rate",
            calibration.threshold
        )));
    }
    let text = read_text(path)?;
    let is_settings = text.lines().any(|line| line.trim() == "[grpc]");
    if is_settings {
        return Err(bad("these are rollcalld's settings, and the threshold is in the embedder's manifest (models/ID.toml in the assets): give that".into()));
    }
    let manifest = EmbedderManifest::read(path).map_err(|why| bad(why.to_string()))?;
    let of = Contract::of(&manifest);
    if contract.is_some_and(|wanted| wanted != of.id()) {
        return Err(bad(format!(
            "is of contract {}, not of the one that was given",
            of.id()
        )));
    }
    let changed = with_decision(&text, calibration).map_err(bad)?;
    let check: toml::Table = changed
        .parse()
        .map_err(|why: toml::de::Error| bad(why.to_string()))?;
    let same = check
        .get("decision")
        .and_then(|decision| decision.get("same")?.as_float());
    if same.is_none_or(|same| (same - calibration.threshold).abs() > 1e-4) {
        return Err(bad(
            "its section [decision] cannot be changed line by line; put same there by hand".into(),
        ));
    }
    write_whole(path, changed.as_bytes()).map_err(EvaluateError::io(path))?;
    Ok(Written {
        path: path.to_owned(),
        contract: of.id().to_owned(),
        before: manifest.decision.same.to_string(),
    })
}

/// The text with other values for `same` and `source` in its section `[decision]`.
fn with_decision(text: &str, calibration: &Calibration) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header = |line: &String| line.trim_start().starts_with('[');
    let begin = lines
        .iter()
        .position(|line| line.trim().starts_with("[decision]"));
    let begin = begin.ok_or("has no section [decision]")? + 1;
    let end = lines[begin..]
        .iter()
        .position(header)
        .map_or(lines.len(), |end| begin + end);
    let key = |name: &str| {
        let is_key = |line: &String| {
            line.split_once('=')
                .is_some_and(|(key, _)| key.trim() == name)
        };
        lines[begin..end]
            .iter()
            .position(is_key)
            .map(|at| begin + at)
    };
    let (same, from) = (key("same").ok_or("has no decision.same")?, key("source"));
    // What is written after the old value.
    let comment = lines[same]
        .split_once('#')
        .map_or(String::new(), |(_, text)| format!(" #{text}"));
    lines[same] = format!("same = {:.4}{comment}", calibration.threshold);
    let source = format!("source = {}", source(calibration));
    match from {
        Some(at) => lines[at] = source,
        None => lines.insert(same + 1, source),
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{calibrate::from_pairs, pairs::Pair};

    const MANIFEST: &str = include_str!("../../../models/mobilefacenet.toml");

    fn calibration() -> Calibration {
        let pairs = (0_u8..200).map(|at| Pair {
            cosine: if at == 0 { 0.9 } else { f32::from(at) / 500.0 },
            same: at == 0,
            fold: 0,
        });
        from_pairs(&pairs.collect::<Vec<_>>(), 0.01).unwrap().0
    }

    #[test]
    fn one_value_changes_and_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        std::fs::write(
            &path,
            MANIFEST.replace("same = 0.40", "same = 0.40 # by hand"),
        )
        .unwrap();
        let calibration = calibration();
        let contract = Contract::of(&EmbedderManifest::read(&path).unwrap());
        let written = write_manifest(&path, &calibration, Some(contract.id())).unwrap();
        assert_eq!(
            (written.before.as_str(), written.contract.as_str()),
            ("0.4", contract.id())
        );
        let now = std::fs::read_to_string(&path).unwrap();
        let manifest = EmbedderManifest::read(&path).unwrap();
        assert!((f64::from(manifest.decision.same) - calibration.threshold).abs() < 1e-4);
        assert!(
            now.contains("same = 0.3961 # by hand\nsource = "),
            "{}",
            calibration.threshold
        );
        let rest = |text: &str| -> Vec<String> {
            let kept = |line: &&str| {
                !line.starts_with("same")
                    && !line.starts_with("source = \"r")
                    && !line.starts_with("source = \"3")
            };
            text.lines().filter(kept).map(str::to_owned).collect()
        };
        assert_eq!(rest(&now), rest(MANIFEST));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(snippet(&calibration).parse::<toml::Table>().is_ok());
    }

    #[test]
    fn what_is_no_manifest_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let fails = |text: &str, contract: Option<&str>, why: &str| {
            let path = folder.path().join("m.toml");
            std::fs::write(&path, text).unwrap();
            let found = write_manifest(&path, &calibration(), contract)
                .unwrap_err()
                .to_string();
            assert!(
                found.starts_with("BAD_CONFIGURATION") && found.contains(why),
                "{found}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        };
        fails(
            "[grpc]\nlisten = \"a\"\n",
            None,
            "these are rollcalld's settings",
        );
        fails("[decision]\nsame = 0.4\n", None, "missing field");
        fails(MANIFEST, Some("rc1-00"), "is of contract rc1-");
    }
}
