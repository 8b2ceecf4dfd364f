//! The file that keys are kept in. Made and read by `rollcalld key`, read by the server.

use super::key::{Hash, Lifetime, Secret, from_hex};
use super::role::Role;
use crate::hex::to_hex;
use crate::time::{now_us, timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of the file at most.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Characters of a label at most.
const LABEL_CHARS_MAX: usize = 60;
/// Sources of a key at most.
const SOURCES_MAX: usize = 1000;
/// Written at the head of the file.
const HEAD: &str = "# Keys of this server: made and revoked by `rollcalld key`. The keys themselves are not in here, \
                    only digests\n# by which they are known again. A running server takes changes up within two \
                    seconds.\n\n";

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("keys in {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("keys in {path}: {what}; mend it, or put back the file of before", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// No such key.
    #[error("there is no key {id}: `rollcalld key list` shows them")]
    NotFound {
        /// As asked for.
        id: String,
    },
    /// The key cannot be made so.
    #[error("{what}")]
    Unfit {
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// Stands in the key itself.
    pub id: String,
    /// What it may.
    pub role: Role,
    /// For people; recorded as the author of what is done with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Digest of the key, in hexadecimal.
    pub sha256: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// The sources that it is for; without them, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<u64>>,
}

impl StoredKey {
    /// Digest and Unix time of the end in seconds, if all is as it should be.
    pub(crate) fn checked(&self) -> Result<(Hash, Option<i64>), String> {
        let of = |what: &str| format!("key \"{}\": {what}", self.id);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if self.id.is_empty() || self.id.len() > 32 || !self.id.bytes().all(plain) {
            return Err(of("id is not of small letters and digits"));
        }
        let hash = from_hex(&self.sha256).ok_or_else(|| of("sha256 is no digest"))?;
        check_label(&self.label).map_err(|what| of(&what))?;
        match &self.sources {
            Some(sources) if sources.is_empty() => {
                return Err(of("sources is empty; leave it out for all"));
            }
            Some(sources) if sources.contains(&0) => {
                return Err(of("there is no source 0"));
            }
            Some(_) | None => {}
        }
        let time = |name: &str, text: &str| {
            let time = text.parse::<prost_types::Timestamp>();
            time.map_err(|_| of(&format!("{name} is no time such as 2026-01-31T12:00:00Z")))
        };
        time("created", &self.created)?;
        let revoked = self.revoked.as_deref();
        revoked.map(|text| time("revoked", text)).transpose()?;
        let expires = self.expires.as_deref();
        let expires = expires.map(|text| time("expires", text)).transpose()?;
        Ok((hash, expires.map(|time| time.seconds)))
    }

    /// `active`, `expired` or `revoked`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let over = |end: &str| end.parse::<prost_types::Timestamp>().map(|t| t.seconds);
        let expired = self.expires.as_deref().map(over);
        if self.revoked.is_some() {
            "revoked"
        } else if expired.is_some_and(|end| end.is_ok_and(|end| end <= now_us() / 1_000_000)) {
            "expired"
        } else {
            "active"
        }
    }
}

/// A key that is to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it may.
    pub role: Role,
    /// For people; may be empty.
    pub label: String,
    /// The sources that it is for; empty: all.
    pub sources: Vec<u64>,
    /// How long it is good for; `None`: until it is revoked.
    pub expires: Option<Lifetime>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    key: Vec<StoredKey>,
}

/// The file that keys are kept in, which need not be there.
#[derive(Clone, Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// That at this path.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All keys, in the order in which they were made; none if there is no file.
    ///
    /// # Errors
    /// [`KeyFileError::Io`], [`KeyFileError::Invalid`].
    pub fn read(&self) -> Result<Vec<StoredKey>, KeyFileError> {
        let mut text = String::new();
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(|source| self.io(source))?,
        };
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        let read = read.map_err(|source| self.io(source))?;
        if u64::try_from(read).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(self.invalid(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let stored = toml::from_str::<Stored>(&text);
        let stored = stored.map_err(|error| {
            // The message alone: lines of the file are not for logs.
            let line = error.span().map_or(0, |span| {
                text.bytes()
                    .take(span.start)
                    .filter(|b| *b == b'\n')
                    .count()
                    + 1
            });
            self.invalid(format!("line {line}: {}", error.message()))
        })?;
        let mut ids = HashSet::new();
        for key in &stored.key {
            key.checked().map_err(|what| self.invalid(what))?;
            if !ids.insert(&key.id) {
                return Err(self.invalid(format!("key \"{}\" is there twice", key.id)));
            }
        }
        Ok(stored.key)
    }

    /// Makes a key. Returns how it is kept, and the key itself, which is known to nobody else and cannot be had again.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn create(&self, new: NewKey) -> Result<(StoredKey, String), KeyFileError> {
        let label = new.label.trim().to_owned();
        check_label(&label).map_err(|what| KeyFileError::Unfit { what })?;
        if new.sources.len() > SOURCES_MAX {
            let what = format!("a key is for at most {SOURCES_MAX} sources, or for all");
            return Err(KeyFileError::Unfit { what });
        }
        if new.sources.contains(&0) {
            let what = "there is no source 0: `rollcall source list` shows them".to_owned();
            return Err(KeyFileError::Unfit { what });
        }
        let _locked = self.lock()?;
        let mut keys = self.read()?;
        let fresh = || to_hex(&rand::random::<[u8; 4]>());
        let mut id = fresh();
        while keys.iter().any(|key| key.id == id) {
            id = fresh();
        }
        let secret = Secret::new(&id);
        let now = now_us();
        let seconds = now / 1_000_000;
        let at = |seconds: i64| timestamp(seconds.saturating_mul(1_000_000)).to_string();
        let key = StoredKey {
            id,
            role: new.role,
            label,
            sha256: to_hex(&secret.hash()),
            created: at(seconds),
            expires: new.expires.map(|life| at(seconds + life.seconds())),
            revoked: None,
            sources: (!new.sources.is_empty()).then_some(new.sources),
        };
        keys.push(key.clone());
        self.write(keys)?;
        Ok((key, secret.text().to_owned()))
    }

    /// Has a key refused from now on; it stays on the list.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn revoke(&self, id: &str) -> Result<StoredKey, KeyFileError> {
        let _locked = self.lock()?;
        let mut keys = self.read()?;
        let found = keys.iter_mut().find(|key| key.id == id);
        let key = found.ok_or_else(|| KeyFileError::NotFound { id: id.to_owned() })?;
        if key.revoked.is_none() {
            let seconds = now_us() / 1_000_000;
            key.revoked = Some(timestamp(seconds * 1_000_000).to_string());
        }
        let key = key.clone();
        self.write(keys)?;
        Ok(key)
    }

    /// Keeps other writers out until it is dropped. Readers need no lock: the file is exchanged as a whole.
    fn lock(&self) -> Result<File, KeyFileError> {
        let folder = self.folder();
        std::fs::create_dir_all(folder).map_err(|source| self.io(source))?;
        let mut path = self.0.clone().into_os_string();
        path.push(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|source| self.io(source))?;
        let locked = flock(&file, FlockOperation::LockExclusive);
        locked.map_err(|error| self.io(error.into()))?;
        Ok(file)
    }

    /// Writes beside, syncs, renames, syncs the folder.
    fn write(&self, key: Vec<StoredKey>) -> Result<(), KeyFileError> {
        let text = toml::to_string(&Stored { key });
        let text = text.map_err(|error| self.invalid(error.to_string()))?;
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let write = || {
            // Of a writer that was killed; the lock says that there is no other.
            match std::fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.0)?;
            File::open(self.folder())?.sync_all()
        };
        write().map_err(|source| self.io(source))
    }

    fn folder(&self) -> &Path {
        let parent = self.0.parent();
        let named = parent.filter(|parent| !parent.as_os_str().is_empty());
        named.unwrap_or(Path::new("."))
    }

    fn io(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io {
            path: self.0.clone(),
            source,
        }
    }

    fn invalid(&self, what: String) -> KeyFileError {
        KeyFileError::Invalid {
            path: self.0.clone(),
            what,
        }
    }
}

/// A label stands before the author in brackets, so it has none itself, and it is not what the machine signs with.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    if label.chars().count() > LABEL_CHARS_MAX {
        return Err(format!(
            "the label is longer than {LABEL_CHARS_MAX} characters"
        ));
    }
    if label.chars().any(|c| c.is_control() || "()".contains(c)) {
        return Err("the label has brackets or control characters".to_owned());
    }
    if [crate::core::SYSTEM, "anonymous"].contains(&label) {
        return Err(format!(
            "\"{label}\" is recorded where nobody is: choose another label"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn new(role: Role) -> NewKey {
        NewKey {
            role,
            label: String::new(),
            sources: Vec::new(),
            expires: None,
        }
    }

    #[test]
    fn keys_come_back_without_their_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(folder.path().join("data/keys.toml"));
        assert_eq!(file.read().unwrap(), []);
        let (first, secret) = file.create(new(Role::Reader)).unwrap();
        let asked = NewKey {
            label: " kiosk ".to_owned(),
            sources: vec![3, 4],
            expires: Some("90d".parse().unwrap()),
            ..new(Role::Editor)
        };
        let (second, _) = file.create(asked).unwrap();
        assert_eq!(file.read().unwrap(), [first.clone(), second.clone()]);
        assert_eq!((second.label.as_str(), second.state()), ("kiosk", "active"));
        assert_eq!(second.sources.as_deref(), Some([3, 4].as_slice()));
        let text = std::fs::read_to_string(file.path()).unwrap();
        let random = secret.splitn(3, '_').nth(2).unwrap();
        assert!(!text.contains(random), "{text}");
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let revoked = file.revoke(&first.id).unwrap();
        assert_eq!(revoked.state(), "revoked");
        assert_eq!(file.read().unwrap(), [revoked, second]);
        let missing = file.revoke("zz").unwrap_err();
        assert!(
            matches!(missing, KeyFileError::NotFound { .. }),
            "{missing}"
        );
    }

    #[test]
    fn files_that_are_not_right_are_refused_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(folder.path().join("keys.toml"));
        file.create(new(Role::Admin)).unwrap();
        let good = std::fs::read_to_string(file.path()).unwrap();
        let check = |text: &str, expected: &str| {
            std::fs::write(file.path(), text).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("[[key", "line 1");
        check(&good.replace("admin", "root"), "root");
        check(&good.replace("sha256", "sha"), "sha");
        check(&good.replace("sha256 = \"", "sha256 = \"x"), "no digest");
        check(&good.replace("created = \"", "created = \"x"), "no time");
        check(&format!("{good}sources = []\n"), "sources is empty");
        check(&format!("{good}\n{good}"), "twice");
        std::fs::write(file.path(), [0xff, 0xfe]).unwrap();
        assert!(file.read().is_err());
    }

    #[test]
    fn labels_are_not_taken_for_anything_else() {
        for label in ["a (b)", "system", "anonymous", "a\nb", &"x".repeat(61)] {
            assert!(check_label(label).is_err(), "{label}");
        }
        check_label("Zoë’s kiosk").unwrap();
    }
}
