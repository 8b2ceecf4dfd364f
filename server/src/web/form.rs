//! What browsers send: queries, forms, the author's cookie.

use super::guard::Visit;
use super::trouble::{Refusal, Trouble};
use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use url::form_urlencoded::{byte_serialize, parse};

/// The cookie that keeps under which name edits are recorded.
const COOKIE: &str = "rollcall_author";
/// Bytes of a form without a photo at most.
const FORM_BYTES_MAX: usize = 256 << 10;
/// Bytes of the path that a form leads back to at most.
const BACK_BYTES_MAX: usize = 2000;

/// Names and values, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(text: &[u8]) -> Self {
        Self(parse(text).into_owned().collect())
    }

    /// The first value of that name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of that name; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// Whether a box is ticked.
    pub(super) fn is_set(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What stands behind the `?` of an address.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// The fields.
    pub(super) fields: Fields,
    /// The path and they, without what only tells what was just done: where forms lead back to.
    pub(super) here: String,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let fields = Fields::of(parts.uri.query().unwrap_or_default().as_bytes());
        let here = address(
            parts.uri.path(),
            fields.iter().filter(|(name, _)| *name != "done"),
        );
        Ok(Self { fields, here })
    }
}

/// A form that one of our pages has sent.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// Who is asking.
    pub(super) visit: Visit,
    /// The path it was sent to.
    pub(super) path: String,
    /// What was filled in.
    pub(super) fields: Fields,
}

impl<S: Sync> FromRequest<S> for Posted {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &S) -> Result<Self, Trouble> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, state).await?;
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(Refusal::NotAForm.into());
        }
        let bytes = to_bytes(body, FORM_BYTES_MAX).await;
        let fields = Fields::of(&bytes.map_err(|_| Refusal::NotAForm)?);
        if !visit.knows(fields.text("csrf")) {
            return Err(Refusal::Token.into());
        }
        Ok(Self {
            visit,
            path: parts.uri.path().to_owned(),
            fields,
        })
    }
}

/// A path of this server with a query.
pub(super) fn address<'a>(path: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(fields).finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// The path that a form names to lead back to, with the edit that was made, if one was; `/` if what it names is none of this
/// server.
pub(super) fn back(to: &str, done: Option<u64>) -> String {
    let done = done.map(|sequence| sequence.to_string());
    let done = done.iter().map(|sequence| ("done", sequence.as_str()));
    let base = url::Url::parse("http://rollcall.invalid/").ok();
    let url = base.and_then(|base| base.join(to).ok());
    let own = |url: &url::Url| url.host_str() == Some("rollcall.invalid") && url.port().is_none();
    let fits = to.starts_with('/') && to.len() <= BACK_BYTES_MAX;
    let Some(url) = url.filter(|url| fits && own(url)) else {
        return address("/", done);
    };
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let kept = kept.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    // A path of two slashes would name another host.
    let path = format!("/{}", url.path().trim_start_matches('/'));
    address(&path, kept.filter(|(name, _)| *name != "done").chain(done))
}

/// The value of the cookie of that name, as it came.
pub(super) fn named_cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut cookies = cookies.flat_map(|line| line.to_str().unwrap_or_default().split(';'));
    cookies.find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == wanted).then_some(value)
    })
}

/// The author that the browser's cookie names, if any.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let value = named_cookie(headers, COOKIE)?;
    let (author, _) = parse(value.as_bytes()).next()?;
    Some(author.trim().to_owned()).filter(|author| !author.is_empty())
}

/// The header that makes the browser keep an author for a year.
pub(super) fn set_cookie(author: &str) -> String {
    let value: String = byte_serialize(author.as_bytes()).collect();
    format!("{COOKIE}={value}; Path=/; Max-Age=31536000; SameSite=Strict; HttpOnly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_lead_back_to_this_server_alone() {
        let check = |to: &str, expected: &str| assert_eq!(back(to, Some(7)), expected, "{to}");
        check("/people?q=a%26b&done=3", "/people?q=a%26b&done=7");
        check("/people/7#top", "/people/7?done=7");
        assert_eq!(back("/people?done=3", None), "/people");
        for elsewhere in [
            "",
            "people",
            "//evil.example/",
            "/\\evil.example",
            "http://evil.example/",
            "javascript:alert(1)",
        ] {
            check(elsewhere, "/?done=7");
        }
        check("/x//evil.example", "/x//evil.example?done=7");
        check("/.//evil.example", "/evil.example?done=7");
    }

    #[test]
    fn an_author_comes_back_from_its_cookie() {
        let of = |author: &str| {
            let kept = set_cookie(author);
            let pair = kept.split(';').next().unwrap();
            let line = format!("other=1; {pair}; more=2").parse().unwrap();
            cookie(&[(header::COOKIE, line)].into_iter().collect())
        };
        for author in ["Ada", "Zoë & Co; =x", "日本"] {
            assert_eq!(of(author).as_deref(), Some(author));
        }
        assert_eq!(of(" "), None);
        assert_eq!(cookie(&HeaderMap::new()), None);
    }
}
