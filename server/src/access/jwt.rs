//! Tokens of an identity provider (JWT, RFC 7519), in place of keys of this server.

use super::caller::Caller;
use super::file::check_label;
use super::role::Role;
use crate::config::{Jwt, JwtAlgorithm};
use crate::error::ApiError;
use crate::time::now_us;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8192;
/// Bytes of a shared secret at least (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Sources of a token at most.
const SOURCES_MAX: usize = 1000;

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The file cannot be read, or holds no key for that algorithm.
    #[error("jwt.key_file = {path}: {what}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Tokens for anybody would be taken.
    #[error(
        "jwt.audience is not set: tokens that the issuer made for other services would be taken; name this server's audience"
    )]
    NoAudience,
}

/// What a token has to say.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    role: String,
    #[serde(default)]
    sources: Option<Vec<u64>>,
}

/// Checks tokens: by one algorithm, which the settings name. What a token says of its own algorithm decides nothing.
pub(crate) struct Tokens {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(***)")
    }
}

impl Tokens {
    /// As these settings say; `None` if they name no key.
    ///
    /// # Errors
    /// [`JwtError`].
    pub(crate) fn open(jwt: &Jwt) -> Result<Option<Self>, JwtError> {
        if jwt.key_file.as_os_str().is_empty() {
            return Ok(None);
        }
        if jwt.audience.is_empty() {
            return Err(JwtError::NoAudience);
        }
        let wrong = |what: String| JwtError::Key {
            path: jwt.key_file.clone(),
            what,
        };
        let text = std::fs::read(&jwt.key_file).map_err(|error| wrong(error.to_string()))?;
        let no_key = |_| wrong("holds no public key (PEM) for jwt.algorithm".to_owned());
        let (algorithm, key) = match jwt.algorithm {
            JwtAlgorithm::Hs256 => {
                let secret = text.trim_ascii();
                // A public key is no secret: whoever has it could sign.
                if secret.len() < SECRET_BYTES_MIN || secret.starts_with(b"-----BEGIN") {
                    let what = format!("holds no secret of {SECRET_BYTES_MIN} bytes or more");
                    return Err(wrong(what));
                }
                (Algorithm::HS256, DecodingKey::from_secret(secret))
            }
            JwtAlgorithm::Rs256 => {
                let key = DecodingKey::from_rsa_pem(&text);
                (Algorithm::RS256, key.map_err(no_key)?)
            }
            JwtAlgorithm::Es256 => {
                let key = DecodingKey::from_ec_pem(&text);
                (Algorithm::ES256, key.map_err(no_key)?)
            }
            JwtAlgorithm::EdDsa => {
                let key = DecodingKey::from_ed_pem(&text);
                (Algorithm::EdDSA, key.map_err(no_key)?)
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&jwt.audience]);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 5;
        if !jwt.issuer.is_empty() {
            validation.set_issuer(&[&jwt.issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Some(Self { key, validation }))
    }

    /// Whoever the token was made for.
    ///
    /// # Errors
    /// [`ApiError::KeyInvalid`], [`ApiError::KeyExpired`].
    pub(crate) fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ApiError::KeyInvalid);
        }
        let decoded = decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| {
            if matches!(error.kind(), ErrorKind::ExpiredSignature) {
                ApiError::KeyExpired
            } else {
                ApiError::KeyInvalid
            }
        })?;
        let Claims {
            sub,
            exp,
            role,
            sources,
        } = claims.claims;
        let role: Role = role.parse().map_err(|_| ApiError::KeyInvalid)?;
        let fits = !sub.is_empty() && check_label(&sub).is_ok();
        // No list is all sources; an empty one is none, which is no scope to be of use.
        let scope = sources.as_ref().is_none_or(|sources| {
            !sources.is_empty() && sources.len() <= SOURCES_MAX && !sources.contains(&0)
        });
        if !fits || !scope {
            return Err(ApiError::KeyInvalid);
        }
        Ok(Caller::token(&sub, role, sources, exp))
    }
}

/// Whether tokens could be checked with these settings.
///
/// # Errors
/// [`JwtError`].
pub(crate) fn check(jwt: &Jwt) -> Result<(), JwtError> {
    Tokens::open(jwt).map(drop)
}

/// Whether a moment is past, Unix time in seconds.
pub(super) fn is_past(end: i64) -> bool {
    end <= now_us() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const RSA_PUBLIC: &str = include_str!("../../tests/jwt/rsa.pem");
    /// Signed once with the private half, which was thrown away.
    const RSA_TOKEN: &str = include_str!("../../tests/jwt/rsa.jwt");
    const FAR: i64 = 32_503_680_000;

    fn tokens(algorithm: JwtAlgorithm, key: &str) -> Result<Tokens, JwtError> {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("jwt.key");
        std::fs::write(&key_file, key).unwrap();
        let jwt = Jwt {
            key_file,
            algorithm,
            issuer: String::new(),
            audience: "rollcall".to_owned(),
        };
        Tokens::open(&jwt).map(Option::unwrap)
    }

    fn claims() -> Value {
        json!({"sub": "ada", "aud": "rollcall", "exp": FAR, "role": "editor"})
    }

    fn hs256(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn tokens_of_each_algorithm_say_who_it_is() {
        let ada = Caller::token("ada", Role::Editor, None, FAR);
        let shared = tokens(JwtAlgorithm::Hs256, &format!("{SECRET}\n")).unwrap();
        assert_eq!(shared.caller(&hs256(&claims())).unwrap(), ada);
        for (algorithm, ours, kind) in [
            (
                Algorithm::ES256,
                JwtAlgorithm::Es256,
                &PKCS_ECDSA_P256_SHA256,
            ),
            (Algorithm::EdDSA, JwtAlgorithm::EdDsa, &PKCS_ED25519),
        ] {
            let pair = KeyPair::generate_for(kind).unwrap();
            let private = pair.serialize_pem();
            let key = if ours == JwtAlgorithm::Es256 {
                EncodingKey::from_ec_pem(private.as_bytes())
            } else {
                EncodingKey::from_ed_pem(private.as_bytes())
            };
            let token = encode(&Header::new(algorithm), &claims(), &key.unwrap()).unwrap();
            let open = tokens(ours, &pair.public_key_pem()).unwrap();
            assert_eq!(open.caller(&token).unwrap(), ada, "{algorithm:?}");
            let other = KeyPair::generate_for(kind).unwrap().public_key_pem();
            let other = tokens(ours, &other).unwrap();
            assert_eq!(other.caller(&token).unwrap_err().reason(), "KEY_INVALID");
        }
        let rsa = tokens(JwtAlgorithm::Rs256, RSA_PUBLIC).unwrap();
        let token = RSA_TOKEN.trim();
        assert_eq!(rsa.caller(token).unwrap().name(), Some("ada"));
        assert!(rsa.caller(&token.replacen(".ey", ".ez", 1)).is_err());
    }

    #[test]
    fn unsigned_tokens_and_confused_algorithms_are_refused() {
        let shared = tokens(JwtAlgorithm::Hs256, SECRET).unwrap();
        let signed = hs256(&claims());
        let signature = signed.rsplit('.').next().unwrap();
        for algorithm in ["none", "None", "NONE", "nOnE"] {
            let head = part(&json!({"alg": algorithm, "typ": "JWT"}));
            for tail in ["", signature] {
                let token = format!("{head}.{}.{tail}", part(&claims()));
                assert_eq!(shared.caller(&token).unwrap_err().reason(), "KEY_INVALID");
            }
        }
        // The public key taken for a shared secret: whoever reads it would sign.
        let key = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
        let forged = encode(&Header::new(Algorithm::HS256), &claims(), &key).unwrap();
        let rsa = tokens(JwtAlgorithm::Rs256, RSA_PUBLIC).unwrap();
        assert_eq!(rsa.caller(&forged).unwrap_err().reason(), "KEY_INVALID");
        assert!(tokens(JwtAlgorithm::Hs256, RSA_PUBLIC).is_err());
        assert!(tokens(JwtAlgorithm::Hs256, "short").is_err());
        for wrong in [
            JwtAlgorithm::Rs256,
            JwtAlgorithm::Es256,
            JwtAlgorithm::EdDsa,
        ] {
            assert!(tokens(wrong, SECRET).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn claims_that_are_missing_or_wrong_are_refused() {
        let shared = tokens(JwtAlgorithm::Hs256, SECRET).unwrap();
        let check = |name: &str, value: Value, expected: &str| {
            let mut claims = claims();
            let object = claims.as_object_mut().unwrap();
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.to_owned(), value);
            }
            let found = shared.caller(&hs256(&claims));
            let found = found.map_or_else(|error| error.reason(), |_| "OK");
            assert_eq!(found, expected, "{name}: {claims}");
        };
        check("exp", json!(1_000_000), "KEY_EXPIRED");
        for name in ["exp", "sub", "aud", "role"] {
            check(name, Value::Null, "KEY_INVALID");
        }
        check("aud", json!("another"), "KEY_INVALID");
        check("nbf", json!(FAR - 1), "KEY_INVALID");
        check("role", json!("root"), "KEY_INVALID");
        for subject in ["", "a (b)", "system", "a\nb"] {
            check("sub", json!(subject), "KEY_INVALID");
        }
        check("sources", json!([]), "KEY_INVALID");
        check("sources", json!([0]), "KEY_INVALID");
        check("sources", json!([3, 4]), "OK");
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(shared.caller(&long).unwrap_err().reason(), "KEY_INVALID");
    }
}
