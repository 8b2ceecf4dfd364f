//! What went wrong, as the one line that people read: what, where, what to do, `[REASON]`.
use std::io;
use std::path::Path;

use rollcall_client::{Error, PhotoFault};

/// Why a command ended with exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A call failed.
    #[error("{}", of_client(.0))]
    Client(#[from] Error),
    /// A search with a picture failed.
    #[error("{}", of_search(.photo, .error))]
    Search { photo: String, error: Error },
    /// Found here, before or without a call.
    #[error("{message}")]
    Local {
        reason: &'static str,
        message: String,
    },
    /// What was waited for came to grief; the reason is the server's.
    #[error("{message}")]
    Awaited { reason: String, message: String },
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(crate) fn file(path: &Path, verb: &str, error: &io::Error) -> Self {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let reason = if missing {
            "FILE_NOT_FOUND"
        } else {
            "FILE_ERROR"
        };
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default();
        Failure::Local {
            reason,
            message: format!("cannot {verb} {}: {why}", path.display()),
        }
    }

    pub(crate) fn photo(path: &Path, fault: PhotoFault) -> Self {
        let message = format!("{}: {fault}", path.display());
        Failure::Local {
            reason: fault.reason(),
            message,
        }
    }

    /// UPPER_SNAKE, for the brackets at the end of the line.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Failure::Client(error) | Failure::Search { error, .. } => error.reason(),
            Failure::Local { reason, .. } => reason,
            Failure::Awaited { reason, .. } => reason,
            Failure::Output(_) => "OUTPUT_ERROR",
        }
    }

    pub(crate) fn client(&self) -> Option<&Error> {
        match self {
            Failure::Client(error) | Failure::Search { error, .. } => Some(error),
            Failure::Local { .. } | Failure::Awaited { .. } | Failure::Output(_) => None,
        }
    }
}

fn of_client(error: &Error) -> String {
    match advice(error) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn of_search(photo: &str, error: &Error) -> String {
    match error.reason() {
        "NO_FACE_FOUND" => format!("no face found in {photo}"),
        "IMAGE_UNREADABLE" | "IMAGE_TOO_LARGE" | "FACE_REJECTED" | "FACE_INDEX_OUT_OF_RANGE" => {
            format!("{photo}: {}", of_client(error))
        }
        _ => of_client(error),
    }
}

/// What to do, for the errors whose own words do not say.
fn advice(error: &Error) -> Option<&'static str> {
    if let Error::Unreachable { .. } = error {
        return Some(
            "start one with `rollcalld serve`, or name another with --endpoint or \
             ROLLCALL_ENDPOINT",
        );
    }
    Some(match error.reason() {
        "DEADLINE_EXCEEDED" => "give it more time with --timeout",
        "OVERLOADED" => "the server is busy: try again in a moment",
        "INDEX_LOADING" => "the server is starting: try again in a moment",
        "FACE_REJECTED" => "try a larger, sharper picture that shows the face from the front",
        "IDENTITY_NOT_FOUND" => "`rollcall identity list` shows who is known",
        "SOURCE_NOT_FOUND" | "SOURCE_EXISTS" => "`rollcall source list` shows them",
        "FILE_NOT_FOUND" => "the path must exist on the server's machine",
        "CURSOR_EXPIRED" | "INVALID_CURSOR" => "begin afresh with --from-start",
        "ETAG_MISMATCH" => "someone changed it meanwhile: look again and repeat",
        "TRACK_NOT_FOUND" => "`rollcall sightings` shows them",
        "FACT_NOT_FOUND" => "`rollcall identity facts` shows them",
        "BUILT_UPON" => "or take back what can be, with --partial",
        "EDIT_NOT_FOUND" => "`rollcall identity history` shows them",
        "UNIMPLEMENTED" => "is that a Rollcall server, and as new as this client?",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rollcall_client::{Code, ServerError};

    use super::*;

    fn server(reason: &str, message: &str) -> Error {
        Error::Server(Box::new(ServerError {
            code: Code::FailedPrecondition,
            reason: Some(reason.to_owned()),
            message: message.to_owned(),
            metadata: Default::default(),
            retry_after: None,
        }))
    }

    #[test]
    fn a_search_names_its_picture() {
        let error = server("NO_FACE_FOUND", "nothing that looks like a face");
        let failure = Failure::Search {
            photo: "photo.jpg".to_owned(),
            error,
        };
        assert_eq!(failure.to_string(), "no face found in photo.jpg");
        assert_eq!(failure.reason(), "NO_FACE_FOUND");
        let error = server("IMAGE_UNREADABLE", "not a JPEG");
        let failure = Failure::Search {
            photo: "photo.jpg".to_owned(),
            error,
        };
        assert_eq!(failure.to_string(), "photo.jpg: not a JPEG");
    }

    #[test]
    fn a_missing_server_says_how_to_start_one() {
        let error = Error::Unreachable {
            endpoint: "http://h:1".into(),
            why: "Connection refused".into(),
        };
        let failure = Failure::from(error);
        assert_eq!(
            failure.to_string(),
            "cannot reach a Rollcall server at http://h:1: Connection refused; start one with \
             `rollcalld serve`, or name another with --endpoint or ROLLCALL_ENDPOINT"
        );
        assert_eq!(failure.reason(), "UNAVAILABLE");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = io::Error::from_raw_os_error(2);
        let failure = Failure::file(Path::new("a/b.jpg"), "read", &error);
        assert_eq!(
            failure.to_string(),
            "cannot read a/b.jpg: No such file or directory"
        );
        assert_eq!(failure.reason(), "FILE_NOT_FOUND");
    }
}
