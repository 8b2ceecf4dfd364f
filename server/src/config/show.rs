//! Prints the merged settings, each with where it comes from.

use super::{KEYS, Loaded};
use std::fmt::Write as _;

impl Loaded {
    /// The settings as a TOML file that gives the same settings again, each with its origin as a
    /// comment.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let Some((value, origin)) = self.values.get(key.name) else {
                continue;
            };
            let name = match key.name.split_once('.') {
                None => key.name,
                Some((of, rest)) => {
                    if of != section {
                        // Writing to a String cannot fail.
                        let _ = write!(text, "\n[{of}]\n");
                        section = of;
                    }
                    rest
                }
            };
            let _ = writeln!(text, "{name} = {value}  # {origin}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, KEYS, load};
    use std::path::Path;

    #[test]
    fn what_is_shown_is_what_was_loaded() {
        let flags = Flags::default()
            .with("--set", "ingest.file_roots", Some("/srv/a \"b\",/srv/c"))
            .with("--data", "data", Some("/x"));
        let loaded = load(None, [], &flags).unwrap();
        let text = loaded.to_toml();
        assert!(text.contains("data = \"/x\"  # flag --data\n"), "{text}");
        assert!(
            text.contains("[search]\nthreads = 0  # default\n"),
            "{text}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shown.toml");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            load(Some(&path), [], &Flags::default()).unwrap().config,
            loaded.config
        );
    }

    #[test]
    fn the_example_file_and_the_manual_name_every_key() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let example = root.join("deploy/rollcalld.toml");
        let loaded = load(Some(&example), [], &Flags::default()).unwrap();
        let defaults = load(None, [], &Flags::default()).unwrap();
        assert_eq!(
            loaded.config, defaults.config,
            "the example shows the defaults"
        );
        let manual = std::fs::read_to_string(root.join("docs/configuration.md")).unwrap();
        let text = std::fs::read_to_string(&example).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        for key in KEYS {
            let value = key
                .name
                .split('.')
                .try_fold(&toml::Value::Table(table.clone()), |at, part| at.get(part))
                .is_some();
            assert!(value, "deploy/rollcalld.toml lacks {}", key.name);
            assert!(
                manual.contains(&format!("`{}`", key.name)),
                "the manual lacks {}",
                key.name
            );
        }
    }
}
