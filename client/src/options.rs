//! How a client connects, how long it waits, and who it is.
use std::fmt;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// A key of a server (`rollcalld key create`). Its text is shown nowhere.
#[derive(Clone)]
pub struct Key(MetadataValue<Ascii>);

impl Key {
    /// The key of this text; space around it is left out. `None` if it is empty or has characters that no key has.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut value = MetadataValue::try_from(format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Whom to trust, and who one is, over `https://`; [`Default`] trusts whom the system trusts and shows nothing. What
/// is given is PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The authorities to trust, in place of the system's.
    pub ca: Option<Vec<u8>>,
    /// A certificate and its private key, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Tls");
        shown.field("ca", &self.ca.is_some());
        shown.field("identity", &self.identity.is_some()).finish()
    }
}

impl Tls {
    /// Whether nothing is given.
    pub(crate) fn is_default(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    pub(crate) fn config(&self) -> ClientTlsConfig {
        let config = match &self.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }
}

/// Sends the key with every call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(pub(crate) Option<Key>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(Key(value)) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Settings of a [`Client`](crate::Client); [`Default`] suits a server on the same network.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Longest a call may take, retries included; also sent to the server, which gives up work
    /// past it. `None`: no limit. Does not bound a stream once it is open. Default: 30 s.
    pub timeout: Option<Duration>,
    /// Longest a connection may take to come about. Default: 5 s.
    pub connect_timeout: Duration,
    /// Largest message sent or received, bytes. Default: 16 MiB, as the server's.
    pub message_bytes_max: usize,
    /// How often a read is tried again while the server is unavailable. Mutations are never
    /// tried again. Default: 3.
    pub read_retries: u32,
    /// Sent with every call, to servers that ask for keys. Default: none.
    pub key: Option<Key>,
    /// Of addresses that begin with `https://`. Default: whom the system trusts.
    pub tls: Tls,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(5),
            message_bytes_max: 16 * 1024 * 1024,
            read_retries: 3,
            key: None,
            tls: Tls::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sent_and_not_shown() {
        let key = Key::new(" rk_a1_secret\n").unwrap();
        let options = ClientOptions {
            key: Some(key.clone()),
            ..ClientOptions::default()
        };
        assert!(!format!("{options:?}").contains("secret"));
        let sent = Bearer(Some(key)).call(Request::new(())).unwrap();
        let value = sent.metadata().get("authorization").unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer rk_a1_secret");
        assert!(!format!("{:?}", sent.metadata()).contains("secret"));
        for text in ["", " \n", "a b", "a\nb", "é"] {
            assert!(Key::new(text).is_none(), "{text:?}");
        }
    }
}
