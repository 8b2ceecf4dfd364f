//! Who is let in.

use super::caller::Caller;
use super::file::{KeyFile, KeyFileError};
use super::jwt::{JwtError, Tokens, is_past};
use super::key::{Hash, Secret, same};
use super::role::Needs;
use crate::config::Config;
use crate::error::ApiError;
use crate::shutdown::Shutdown;
use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The one method of workers.
pub(super) const OBSERVE: &str = "/rollcall.v1.IngestService/Observe";
/// How often it is looked whether the file of keys has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the ids of workers' keys begin with; none in the file does, since they have no such sign.
const WORKER: &str = "worker-";

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// Tokens cannot be checked.
    #[error(transparent)]
    Tokens(#[from] JwtError),
}

/// A key as it is compared.
struct Entry {
    caller: Caller,
    hash: Hash,
    /// Unix time, seconds.
    expires: Option<i64>,
    revoked: bool,
}

/// Whether the file is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// Who is let in. Once there is a key, even a revoked one, everybody is asked for one.
pub struct Gate {
    file: KeyFile,
    tokens: Option<Tokens>,
    keys: ArcSwap<HashMap<String, Entry>>,
    /// The file that was looked at last, whether or not it was of use.
    seen: Mutex<Option<Stamp>>,
    /// From which the keys of workers follow; another after each start.
    own: [u8; 32],
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Gate");
        shown.field("file", &self.file).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate with the keys that these settings name.
    ///
    /// # Errors
    /// [`GateError`] if there is a file of keys that cannot be read, or tokens cannot be checked: nobody is let in by
    /// mistake.
    pub fn open(config: &Config) -> Result<Self, GateError> {
        let file = config.key_file();
        let seen = stamp(&file);
        Ok(Self {
            keys: ArcSwap::from_pointee(entries(&file)?),
            file,
            tokens: Tokens::open(&config.jwt)?,
            seen: Mutex::new(seen),
            own: rand::random(),
        })
    }

    /// Whether a key is asked for.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.tokens.is_some() || !self.keys.load().is_empty()
    }

    /// Whoever makes a call with these headers, if they may make it. Cost: a digest and a look into a table.
    ///
    /// # Errors
    /// [`ApiError::KeyMissing`], [`ApiError::KeyInvalid`], [`ApiError::KeyExpired`], [`ApiError::RoleInsufficient`],
    /// [`ApiError::NotBySource`].
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        method: &str,
        needs: Needs,
    ) -> Result<Caller, ApiError> {
        let caller = self.who(headers, needs)?;
        caller.check(method, needs)?;
        Ok(caller)
    }

    /// Whoever makes a call with these headers, whatever they may; anybody where that makes no difference.
    ///
    /// # Errors
    /// [`ApiError::KeyMissing`], [`ApiError::KeyInvalid`], [`ApiError::KeyExpired`].
    pub(crate) fn who(&self, headers: &HeaderMap, needs: Needs) -> Result<Caller, ApiError> {
        if needs == Needs::Nothing || !self.asks() {
            return Ok(Caller::ANYBODY);
        }
        self.caller(bearer(headers)?)
    }

    /// This server's own worker that makes a call with these headers, whether or not keys are asked for.
    ///
    /// # Errors
    /// [`ApiError::KeyMissing`], [`ApiError::KeyInvalid`].
    pub(crate) fn admit_worker(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let caller = self.caller(bearer(headers)?)?;
        // Whoever else has a key goes in at the front.
        if !caller.is_worker() {
            return Err(ApiError::KeyInvalid);
        }
        Ok(caller)
    }

    /// The owner of a key.
    ///
    /// # Errors
    /// [`ApiError::KeyInvalid`], [`ApiError::KeyExpired`].
    pub(crate) fn caller(&self, key: &str) -> Result<Caller, ApiError> {
        let Some(secret) = Secret::parse(key) else {
            let tokens = self.tokens.as_ref().ok_or(ApiError::KeyInvalid)?;
            return tokens.caller(key);
        };
        if let Some(source) = secret.id.strip_prefix(WORKER) {
            let source = source.parse().map_err(|_| ApiError::KeyInvalid)?;
            let right = same(&self.of_worker(source).hash(), &secret.hash());
            return right
                .then(|| Caller::worker(source))
                .ok_or(ApiError::KeyInvalid);
        }
        let keys = self.keys.load();
        let entry = keys.get(&secret.id).ok_or(ApiError::KeyInvalid)?;
        if entry.revoked || !same(&entry.hash, &secret.hash()) {
            return Err(ApiError::KeyInvalid);
        }
        entry.in_time()
    }

    /// The owner of the key with that id, if it is good. Whoever asks knows otherwise that it is theirs.
    ///
    /// # Errors
    /// As [`Gate::caller`].
    pub(crate) fn owner(&self, id: &str) -> Result<Caller, ApiError> {
        let keys = self.keys.load();
        let entry = keys.get(id).filter(|entry| !entry.revoked);
        entry.ok_or(ApiError::KeyInvalid)?.in_time()
    }

    /// Whether a caller who was let in still would be.
    ///
    /// # Errors
    /// [`ApiError::KeyInvalid`], [`ApiError::KeyExpired`].
    pub(crate) fn still(&self, caller: &Caller) -> Result<(), ApiError> {
        match (caller.id(), caller.ends()) {
            // One whose role or sources have changed comes again.
            (Some(id), _) if self.owner(id)? != *caller => Err(ApiError::KeyInvalid),
            (Some(_), _) => Ok(()),
            (None, Some(end)) if is_past(end) => Err(ApiError::KeyExpired),
            (None, None) if *caller == Caller::ANYBODY && self.asks() => Err(ApiError::KeyMissing),
            (None, Some(_) | None) => Ok(()),
        }
    }

    /// The digest of the key with that id.
    pub(crate) fn hash_of(&self, id: &str) -> Option<Hash> {
        self.keys.load().get(id).map(|entry| entry.hash)
    }

    /// The key of this server's own worker for that source.
    pub(crate) fn worker_key(&self, source: u64) -> String {
        self.of_worker(source).text().to_owned()
    }

    fn of_worker(&self, source: u64) -> Secret {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.own).expect("any length is a key");
        mac.update(&source.to_le_bytes());
        let secret = mac.finalize().into_bytes();
        Secret::derived(&format!("{WORKER}{source}"), &secret)
    }

    /// Takes up what has changed in the file of keys. One that cannot be read leaves things as they are.
    pub(crate) fn look(&self) {
        let now = stamp(&self.file);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        let path = self.file.path().display();
        if now.is_none() {
            if self.asks() {
                tracing::warn!(%path, "the file of keys is gone: those of before hold until a restart");
            }
            return;
        }
        match entries(&self.file) {
            Ok(keys) if keys.is_empty() && self.asks() => {
                tracing::warn!(%path, "the file of keys holds none: those of before hold until a restart");
            }
            Ok(keys) => {
                tracing::info!(%path, keys = keys.len(), "keys were read again");
                self.keys.store(Arc::new(keys));
            }
            Err(error) => {
                if let KeyFileError::Io { .. } = error {
                    // It may pass by itself: it is looked at again.
                    *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                tracing::error!(%error, "keys were not read again: those of before hold");
            }
        }
    }
}

impl Entry {
    fn in_time(&self) -> Result<Caller, ApiError> {
        if self.expires.is_some_and(is_past) {
            return Err(ApiError::KeyExpired);
        }
        Ok(self.caller.clone())
    }
}

/// Takes up changes of the keys until the server goes down.
pub(crate) async fn keep(gate: Arc<Gate>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.wait() => return,
        }
        let gate = Arc::clone(&gate);
        // A file system may block.
        let _ = tokio::task::spawn_blocking(move || gate.look()).await;
    }
}

/// The key in the header `authorization`.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().ok_or(ApiError::KeyMissing)?;
    let text = value.to_str().map_err(|_| ApiError::KeyInvalid)?;
    if all.next().is_some() {
        return Err(ApiError::KeyInvalid);
    }
    // What a browser sends by itself to a proxy that asks for a password is no key.
    key_of(text).ok_or(ApiError::KeyMissing)
}

/// Whether a key came with these headers.
pub(crate) fn has_key(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    value.is_some_and(|value| value.to_str().is_ok_and(|text| key_of(text).is_some()))
}

fn key_of(text: &str) -> Option<&str> {
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn entries(file: &KeyFile) -> Result<HashMap<String, Entry>, KeyFileError> {
    let mut entries = HashMap::new();
    for key in file.read()? {
        let (hash, expires) = key.checked().map_err(|what| KeyFileError::Invalid {
            path: file.path().to_owned(),
            what,
        })?;
        let revoked = key.revoked.is_some();
        let caller = Caller::owner(&key.id, &key.label, key.role, key.sources);
        let entry = Entry {
            caller,
            hash,
            expires,
            revoked,
        };
        entries.insert(key.id, entry);
    }
    Ok(entries)
}

fn stamp(file: &KeyFile) -> Option<Stamp> {
    let found = std::fs::metadata(file.path()).ok()?;
    Some(Stamp {
        place: (found.dev(), found.ino()),
        size: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{NewKey, Role, StoredKey};
    use super::*;

    fn config(folder: &std::path::Path) -> Config {
        Config {
            data: folder.to_owned(),
            ..Config::default()
        }
    }

    fn new(role: Role) -> NewKey {
        NewKey {
            role,
            label: "kiosk".to_owned(),
            sources: Vec::new(),
            expires: None,
        }
    }

    fn headers(authorization: &str) -> HeaderMap {
        let value = authorization.parse().unwrap();
        [(header::AUTHORIZATION, value)].into_iter().collect()
    }

    const READS: Needs = Needs::UNKNOWN;

    #[test]
    fn without_keys_nobody_is_asked_and_with_one_everybody_is() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::open(&config(folder.path())).unwrap();
        let admit = |headers: &HeaderMap, needs| gate.admit(headers, "/x/Y", needs);
        assert!(!gate.asks());
        let anybody = admit(&HeaderMap::new(), READS).unwrap();
        assert_eq!(anybody, Caller::ANYBODY);

        let file = gate.file.clone();
        let (kept, key) = file.create(new(Role::Reader)).unwrap();
        gate.look();
        assert!(gate.asks());
        let refused = |headers: &HeaderMap| admit(headers, READS).unwrap_err().reason();
        assert_eq!(refused(&HeaderMap::new()), "KEY_MISSING");
        let wrong = key.replace(&kept.id, "00000000");
        let cut = key.get(..key.len() - 1).unwrap();
        for text in ["Bearer", "Basic eA=="] {
            assert_eq!(refused(&headers(text)), "KEY_MISSING", "{text}");
        }
        for text in [
            "Bearer ",
            &format!("Bearer {wrong}"),
            &format!("Bearer {cut}"),
            &format!("Bearer {key}x"),
            &format!("Bearer rk_worker-1_{cut}"),
        ] {
            assert_eq!(refused(&headers(text)), "KEY_INVALID", "{text}");
        }
        let mut twice = headers(&format!("Bearer {key}"));
        twice.append(header::AUTHORIZATION, "Bearer x".parse().unwrap());
        assert_eq!(refused(&twice), "KEY_INVALID");
        let right = headers(&format!("bearer {key}"));
        assert_eq!(admit(&right, READS).unwrap().name(), Some("kiosk"));
        let edits = super::super::needs("rollcall.v1.IdentityService", "UndoEdit");
        let refusal = admit(&right, edits).unwrap_err();
        assert_eq!(refusal.reason(), "ROLE_INSUFFICIENT");
        admit(&HeaderMap::new(), Needs::Nothing).unwrap();

        file.revoke(&kept.id).unwrap();
        gate.look();
        assert_eq!(refused(&right), "KEY_INVALID");
        assert!(gate.asks(), "a revoked key is asked for too");
    }

    #[test]
    fn a_broken_or_missing_file_leaves_the_keys_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let file = config.key_file();
        let (_, key) = file.create(new(Role::Reader)).unwrap();
        let gate = Gate::open(&config).unwrap();
        std::fs::write(file.path(), "key = 7").unwrap();
        gate.look();
        gate.caller(&key).unwrap();
        std::fs::remove_file(file.path()).unwrap();
        gate.look();
        gate.caller(&key).unwrap();
        assert!(gate.asks());
        // A start is not a running server: there is nothing of before.
        std::fs::write(file.path(), "key = 7").unwrap();
        assert!(Gate::open(&config).is_err());
    }

    #[test]
    fn keys_end_when_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let file = config.key_file();
        let (kept, key) = file.create(new(Role::Reader)).unwrap();
        let gate = Gate::open(&config).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let over = StoredKey {
            expires: Some("2020-01-01T00:00:00Z".to_owned()),
            ..kept.clone()
        };
        assert_eq!(over.state(), "expired");
        let line = format!("created = \"{}\"", kept.created);
        let ended = format!("{line}\nexpires = \"2020-01-01T00:00:00Z\"");
        std::fs::write(file.path(), text.replace(&line, &ended)).unwrap();
        gate.look();
        assert_eq!(gate.caller(&key).unwrap_err().reason(), "KEY_EXPIRED");
    }

    #[test]
    fn workers_have_keys_of_their_own_source() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::open(&config(folder.path())).unwrap();
        let other = Gate::open(&config(folder.path())).unwrap();
        let key = gate.worker_key(7);
        assert_eq!(gate.caller(&key).unwrap(), Caller::worker(7));
        let moved = key.replace("worker-7", "worker-8");
        let worker = headers(&format!("Bearer {key}"));
        assert_eq!(gate.admit_worker(&worker).unwrap(), Caller::worker(7));
        let (_, other_key) = gate.file.create(new(Role::Admin)).unwrap();
        gate.look();
        for nobody in [HeaderMap::new(), headers(&format!("Bearer {other_key}"))] {
            assert!(gate.admit_worker(&nobody).is_err());
        }
        for wrong in [&moved, &other.worker_key(7)] {
            assert_eq!(gate.caller(wrong).unwrap_err().reason(), "KEY_INVALID");
        }
        assert!(!format!("{gate:?}").contains(&key[12..]));
    }
}
