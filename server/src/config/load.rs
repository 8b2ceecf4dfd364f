//! Lays the layers over one another and checks each value where it comes from.

use super::{Config, Key, Kind, keys, retention};
use rollcall_ingest::DetectSizes;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What environment variables of this project begin with.
const PREFIX: &str = "ROLLCALL_";
/// Variables with that prefix that belong to the command line client, the tests or to flags of this
/// program.
const NOT_SETTINGS: &[&str] = &[
    "ROLLCALL_CONFIG",
    "ROLLCALL_PORT_FILE",
    "ROLLCALL_ENDPOINT",
    "ROLLCALL_TIMEOUT",
    "ROLLCALL_CONNECT_TIMEOUT",
    "ROLLCALL_FORMAT",
    "ROLLCALL_COLOR",
    "ROLLCALL_NO_PROGRESS",
    "ROLLCALL_AUTHOR",
    "ROLLCALL_KEY",
    "ROLLCALL_KEY_FILE",
    "ROLLCALL_CA_FILE",
    "ROLLCALL_CLIENT_CERTIFICATE",
    "ROLLCALL_CLIENT_KEY",
    "ROLLCALL_QUIET",
    "ROLLCALL_VERBOSE",
    "ROLLCALL_PAIRS",
    "ROLLCALL_CACHE",
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read settings file {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("settings file {path}: {message}", path = path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting \"{name}\"{hint}")]
    Unknown {
        /// Where it was given.
        origin: Origin,
        /// As given.
        name: String,
        /// A similar one, or where to read on.
        hint: String,
    },
    /// The value does not fit the setting.
    #[error("{origin}: {name}: {what}")]
    Unfit {
        /// Where it was given.
        origin: Origin,
        /// Which setting.
        name: String,
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// Settings given on the command line: flag, key and value.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<(String, String, String)>);

impl Flags {
    /// A flag of its own that stands for `key`, if it was given.
    #[must_use]
    pub fn with(mut self, flag: &str, key: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0
                .push((flag.to_owned(), key.to_owned(), value.to_owned()));
        }
        self
    }
}

/// The settings and where each comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    pub(super) values: BTreeMap<&'static str, (Value, Origin)>,
}

/// Reads the settings. `environment` is all of it; variables that do not begin with `ROLLCALL_` are
/// ignored.
///
/// # Errors
/// [`ConfigError`]: the first setting that is unknown or whose value does not fit.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded, ConfigError> {
    let mut values = BTreeMap::new();
    let defaults = Table::try_from(Config::default()).expect("the defaults are plain values");
    for (name, value) in flatten(defaults) {
        set(&mut values, Origin::Default, &name, value)?;
    }
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let table: Table = toml::from_str(&text).map_err(|error| ConfigError::NotToml {
            path: path.to_owned(),
            message: error.to_string().trim_end().replace('\n', " "),
        })?;
        for (name, value) in flatten(table) {
            set(&mut values, Origin::File(path.to_owned()), &name, value)?;
        }
    }
    let mut environment: Vec<_> = environment.into_iter().collect();
    environment.sort();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if NOT_SETTINGS.contains(&variable.as_str()) {
            continue;
        }
        let name = rest.to_ascii_lowercase().replace("__", ".");
        set_text(&mut values, Origin::Environment(variable), &name, &value)?;
    }
    for (flag, name, value) in &flags.0 {
        set_text(&mut values, Origin::Flag(flag.clone()), name, value)?;
    }
    let config = nest(&values)
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Unfit {
            origin: Origin::Default,
            name: "settings".to_owned(),
            what: error.to_string(),
        })?;
    Ok(Loaded { config, values })
}

fn set_text(
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    origin: Origin,
    name: &str,
    text: &str,
) -> Result<(), ConfigError> {
    let value = match keys::find(name).map(|key| key.kind) {
        Some(Kind::Number(..)) => text
            .trim()
            .parse()
            .map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
        Some(Kind::List | Kind::Ages) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
        Some(Kind::Text | Kind::Address | Kind::Choice(_) | Kind::Sizes | Kind::Age) | None => {
            Value::String(text.to_owned())
        }
    };
    set(values, origin, name, value)
}

fn set(
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    origin: Origin,
    name: &str,
    value: Value,
) -> Result<(), ConfigError> {
    let Some(key) = keys::find(name) else {
        let hint = keys::nearest(name).map_or_else(
            || "; `rollcalld config show` lists all".to_owned(),
            |nearest| format!("; did you mean \"{nearest}\"?"),
        );
        return Err(ConfigError::Unknown {
            origin,
            name: name.to_owned(),
            hint,
        });
    };
    if let Err(what) = check(key, &value) {
        return Err(ConfigError::Unfit {
            origin,
            name: name.to_owned(),
            what,
        });
    }
    values.insert(key.name, (value, origin));
    Ok(())
}

fn check(key: &Key, value: &Value) -> Result<(), String> {
    let found = value.type_str();
    match (key.kind, value) {
        (Kind::Text, Value::String(text)) => match (key.name, text.is_empty()) {
            ("data", true) => Err("must name a folder".to_owned()),
            _ => Ok(()),
        },
        (Kind::Text, _) => Err(format!("must be a text, not {found}")),
        (Kind::Address, Value::String(text)) => match text.parse::<SocketAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "\"{text}\" is no address; write one as in 127.0.0.1:50551"
            )),
        },
        (Kind::Address, _) => Err(format!(
            "must be a text such as \"127.0.0.1:50551\", not {found}"
        )),
        (Kind::Choice(choices), Value::String(text)) if choices.contains(&text.as_str()) => Ok(()),
        (Kind::Choice(choices), _) => Err(format!("must be one of {}", choices.join(", "))),
        (Kind::Sizes, Value::String(text)) => match text.parse::<DetectSizes>() {
            Ok(_) => Ok(()),
            Err(why) => Err(why.to_string()),
        },
        (Kind::Sizes, _) => Err(format!("must be a text such as \"640,1280\", not {found}")),
        (Kind::Age, Value::String(text)) => retention::age(text).map(|_| ()),
        (Kind::Age, _) => Err(format!("must be a text such as \"30d\", not {found}")),
        (Kind::Number(least, most), Value::Integer(number)) => {
            if (least..=most).contains(number) {
                Ok(())
            } else {
                Err(format!(
                    "{number} is out of range; it goes from {least} to {most}"
                ))
            }
        }
        (Kind::Number(least, most), Value::String(text)) => Err(format!(
            "\"{text}\" is not a whole number from {least} to {most}"
        )),
        (Kind::Number(..), _) => Err(format!("must be a whole number, not {found}")),
        (Kind::Ages, Value::Array(items)) if items.iter().all(Value::is_str) => {
            let mut texts = items.iter().filter_map(Value::as_str);
            texts.try_for_each(|text| retention::of_source(text).map(|_| ()))
        }
        (Kind::List | Kind::Ages, Value::Array(items)) => {
            match items.iter().find(|item| !item.is_str()) {
                Some(item) => Err(format!(
                    "must be a list of texts, but has {}",
                    item.type_str()
                )),
                None => Ok(()),
            }
        }
        (Kind::List | Kind::Ages, _) => Err(format!("must be a list of texts, not {found}")),
    }
}

fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => flat.extend(
                flatten(section)
                    .into_iter()
                    .map(|(rest, value)| (format!("{name}.{rest}"), value)),
            ),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => flat.push((name, value)),
        }
    }
    flat
}

fn nest(values: &BTreeMap<&'static str, (Value, Origin)>) -> Table {
    let mut root = Table::new();
    for (name, (value, _)) in values {
        match name.split_once('.') {
            None => {
                root.insert((*name).to_owned(), value.clone());
            }
            Some((section, rest)) => {
                let section = root
                    .entry(section.to_owned())
                    .or_insert_with(|| Value::Table(Table::new()));
                if let Some(section) = section.as_table_mut() {
                    section.insert(rest.to_owned(), value.clone());
                }
            }
        }
    }
    root
}

#[cfg(test)]
mod tests;
