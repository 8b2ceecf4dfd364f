use std::fmt;

use super::MediaTime;

/// Why a source cannot be read, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultReason {
    /// No file at that path.
    FileNotFound,
    /// The file lies outside the folders that may be read.
    FileOutsideRoots,
    /// Bytes are there, but no video.
    NotAVideo,
    /// A media file without pictures.
    NoPictureStream,
    /// The end came early; what was readable was kept.
    Truncated,
    /// The other side could not be reached.
    ConnectFailed,
    /// Nothing came within the time limit.
    ReadTimeout,
    /// The URL, or something it points at, uses a protocol that is not allowed.
    ProtocolNotAllowed,
    /// A model is missing or does not do what it should.
    ModelUnusable,
    /// A fault of our own.
    Internal,
}

impl FaultReason {
    /// The reason as the API writes it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::FileNotFound => "FILE_NOT_FOUND",
            Self::FileOutsideRoots => "FILE_OUTSIDE_ROOTS",
            Self::NotAVideo => "NOT_A_VIDEO",
            Self::NoPictureStream => "NO_PICTURE_STREAM",
            Self::Truncated => "TRUNCATED",
            Self::ConnectFailed => "CONNECT_FAILED",
            Self::ReadTimeout => "READ_TIMEOUT",
            Self::ProtocolNotAllowed => "PROTOCOL_NOT_ALLOWED",
            Self::ModelUnusable => "MODEL_UNUSABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether trying again may help: the world may change, a refusal does not.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::ConnectFailed | Self::ReadTimeout | Self::Truncated => true,
            Self::FileNotFound
            | Self::FileOutsideRoots
            | Self::NotAVideo
            | Self::NoPictureStream
            | Self::ProtocolNotAllowed
            | Self::ModelUnusable
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What went wrong with a source, for an operator to act on. Credentials are masked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Fault {
    /// Which kind of trouble.
    pub reason: FaultReason,
    /// What, where, and what to do.
    pub message: String,
    /// Stream time at which it happened.
    pub position: MediaTime,
}

impl Fault {
    /// A fault at the start of the stream. Credentials in URLs within `message` are masked.
    #[must_use]
    pub fn new(reason: FaultReason, message: impl AsRef<str>) -> Self {
        Self {
            reason,
            message: mask_credentials(message.as_ref()),
            position: MediaTime::ZERO,
        }
    }

    /// The same fault, at `position`.
    #[must_use]
    pub fn at(mut self, position: MediaTime) -> Self {
        self.position = position;
        self
    }
}

/// Masks what stands between `://` and `@` in every URL of `text`, and the values of query
/// parameters, which often are keys.
#[must_use]
pub fn mask_credentials(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        masked.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '<' | '>' | '`'))
            .unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        mask_url(url, &mut masked);
        rest = tail;
    }
    masked.push_str(rest);
    masked
}

fn mask_url(url: &str, masked: &mut String) {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, rest) = url.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            masked.push_str("***@");
            masked.push_str(host);
        }
        None => masked.push_str(authority),
    }
    let Some((path, query)) = rest.split_once('?') else {
        masked.push_str(rest);
        return;
    };
    masked.push_str(path);
    masked.push('?');
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None => pair.to_owned(),
    });
    masked.push_str(&pairs.collect::<Vec<_>>().join("&"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        let check = |text: &str, expected: &str| assert_eq!(mask_credentials(text), expected);
        check(
            "rtsp://me:secret@cam.example/live",
            "rtsp://***@cam.example/live",
        );
        check(
            "rtsp://me:p@ss@cam.example:554",
            "rtsp://***@cam.example:554",
        );
        check(
            "cannot open 'http://a/b?key=1&x' twice",
            "cannot open 'http://a/b?key=***&x' twice",
        );
        check(
            "http://a@b then http://c:d@e/f",
            "http://***@b then http://***@e/f",
        );
        check("/srv/video@home.mp4", "/srv/video@home.mp4");
        check("http://host/a@b.mp4", "http://host/a@b.mp4");
    }
}
