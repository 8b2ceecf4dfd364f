//! Who is signed in: a cookie that names a key and is sealed, so that only this server can have made it.

use crate::access::{Caller, Gate};
use crate::error::ApiError;
use crate::time::now_us;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The cookie.
pub(super) const COOKIE: &str = "rollcall_session";
/// Seconds after which one signs in again.
const LIFETIME_S: i64 = 12 * 3600;

/// Makes sessions and knows them again. They end with the process.
pub(super) struct Sessions([u8; 32]);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(***)")
    }
}

impl Sessions {
    /// With a seal of their own.
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// The cookie's value for the owner of a key; `None` if the key is gone in the meantime.
    pub(super) fn begin(&self, gate: &Gate, caller: &Caller) -> Option<String> {
        let id = caller.id()?;
        let end = (now_us() / 1_000_000)
            .saturating_add(LIFETIME_S)
            .to_string();
        let mac = self.seal(&[id, &end], &gate.hash_of(id)?).finalize();
        let mac = URL_SAFE_NO_PAD.encode(mac.into_bytes());
        Some(format!("{id}.{end}.{mac}"))
    }

    /// Whose session it is. A key that was revoked, has expired or was made anew has none.
    ///
    /// # Errors
    /// [`ApiError::KeyMissing`] if it is none any more.
    pub(super) fn caller(&self, gate: &Gate, value: &str) -> Result<Caller, ApiError> {
        let mut parts = value.splitn(3, '.');
        let (Some(id), Some(end), Some(mac)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ApiError::KeyMissing);
        };
        let hash = gate.hash_of(id).ok_or(ApiError::KeyMissing)?;
        let mac = URL_SAFE_NO_PAD.decode(mac);
        let mac = mac.map_err(|_| ApiError::KeyMissing)?;
        // In a time that does not say where they differ.
        let sealed = self.seal(&[id, end], &hash).verify_slice(&mac);
        sealed.map_err(|_| ApiError::KeyMissing)?;
        let over = |end: i64| end <= now_us() / 1_000_000;
        if end.parse().map_or(true, over) {
            return Err(ApiError::KeyMissing);
        }
        gate.owner(id).map_err(|_| ApiError::KeyMissing)
    }

    /// What forms send back that were made for this session; empty: for nobody's.
    pub(super) fn form_token(&self, session: &str) -> String {
        let token = self.seal(&["form", session], &[]).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(token)
    }

    fn seal(&self, parts: &[&str], more: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("any length is a key");
        for part in parts {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.update(more);
        mac
    }
}

/// The header that begins a session.
pub(super) fn set(value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={LIFETIME_S}; SameSite=Strict; HttpOnly{secure}")
}

/// The header that ends a session.
pub(super) fn clear(secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}=; Path=/; Max-Age=0; SameSite=Strict; HttpOnly{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{NewKey, Role};
    use crate::config::Config;

    #[test]
    fn sessions_end_with_their_key_and_cannot_be_made_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data: folder.path().to_owned(),
            ..Config::default()
        };
        let make = |role| NewKey {
            role,
            label: String::new(),
            sources: Vec::new(),
            expires: None,
        };
        let file = config.key_file();
        let (kept, key) = file.create(make(Role::Reader)).unwrap();
        let (admin, _) = file.create(make(Role::Admin)).unwrap();
        let gate = Gate::open(&config).unwrap();
        let sessions = Sessions::new();
        let caller = gate.caller(&key).unwrap();
        let value = sessions.begin(&gate, &caller).unwrap();
        assert_eq!(sessions.caller(&gate, &value).unwrap(), caller);
        assert!(!value.contains(key.splitn(3, '_').nth(2).unwrap()));
        let another = Sessions::new().begin(&gate, &caller).unwrap();
        let later = value.replacen('.', ".9", 1);
        for wrong in [
            "",
            "x",
            "a.b.c",
            &value[..value.len() - 2],
            &value.replace(&kept.id, &admin.id),
            &later,
            &another,
        ] {
            assert!(sessions.caller(&gate, wrong).is_err(), "{wrong}");
        }
        assert_ne!(sessions.form_token(&value), sessions.form_token(""));
        file.revoke(&kept.id).unwrap();
        gate.look();
        assert!(sessions.caller(&gate, &value).is_err());
    }
}
