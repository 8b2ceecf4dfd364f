//! Where webhooks may be.

use crate::config::Config;
use crate::error::ApiError;
use hyper::Uri;
use url::Url;

/// Bytes of an address at most.
const BYTES_MAX: usize = 2000;

/// Which hosts alerts may be sent to.
#[derive(Clone, Debug)]
pub(crate) struct WebhookRules {
    hosts: Vec<String>,
    /// Any host, for whoever can ask for it sits at this machine.
    any: bool,
}

impl WebhookRules {
    pub(crate) fn new(config: &Config) -> Self {
        let hosts: Vec<String> = config
            .alerts
            .webhook_hosts
            .iter()
            .map(|host| host.trim().trim_matches(['[', ']']).to_lowercase())
            .collect();
        Self {
            any: hosts.is_empty() && config.is_local(),
            hosts,
        }
    }

    /// The address, if it is one and may be used.
    pub(crate) fn check(&self, url: &str) -> Result<Url, ApiError> {
        let unfit = |what: &str| ApiError::InvalidWebhook {
            what: what.to_owned(),
        };
        if url.len() > BYTES_MAX {
            return Err(unfit("is longer than 2000 bytes"));
        }
        let parsed = Url::parse(url).map_err(|error| unfit(&format!("is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(unfit("begins with neither http:// nor https://"));
        }
        let host = parsed.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_lowercase();
        if host.is_empty() {
            return Err(unfit("has no host"));
        }
        if self.any || self.hosts.contains(&host) {
            return match Uri::try_from(parsed.as_str()) {
                Ok(_) => Ok(parsed),
                Err(error) => Err(unfit(&format!("cannot be asked for: {error}"))),
            };
        }
        Err(ApiError::WebhookHostNotAllowed { host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &[&str], listen: &str, url: &str, expected: &str) {
        let mut config = Config::default();
        config.alerts.webhook_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        config.grpc.listen = listen.parse().unwrap();
        let checked = WebhookRules::new(&config).check(url);
        let found = checked.map_or_else(|error| error.reason(), |_| "");
        assert_eq!(found, expected, "{hosts:?} {listen} {url}");
    }

    #[test]
    fn hosts_are_those_that_are_listed_or_any_for_a_local_server() {
        let (local, open) = ("127.0.0.1:1", "0.0.0.0:1");
        check(&[], local, "http://169.254.169.254/x", "");
        check(
            &[],
            open,
            "https://example.org/x",
            "WEBHOOK_HOST_NOT_ALLOWED",
        );
        check(&["Example.org"], open, "https://EXAMPLE.org:8443/x", "");
        check(
            &["example.org"],
            local,
            "https://b.example.org/",
            "WEBHOOK_HOST_NOT_ALLOWED",
        );
        check(&["::1"], open, "http://[::1]:9/", "");
        check(
            &["example.org"],
            open,
            "http://example.org@evil.org/",
            "WEBHOOK_HOST_NOT_ALLOWED",
        );
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for url in [
            "",
            "example.org",
            "ftp://example.org/",
            "http://",
            "file:///etc/passwd",
        ] {
            check(&[], "127.0.0.1:1", url, "INVALID_WEBHOOK");
        }
        let long = format!("http://example.org/{}", "a".repeat(2000));
        check(&[], "127.0.0.1:1", &long, "INVALID_WEBHOOK");
    }
}
