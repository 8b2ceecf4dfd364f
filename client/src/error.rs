//! What can go wrong between a caller and the server.
use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("`{endpoint}` is not an address of a server, such as http://127.0.0.1:50551: {why}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection, or it broke during the call.
    #[error("cannot reach a Rollcall server at {endpoint}: {why}")]
    Unreachable {
        /// The server's address.
        endpoint: String,
        /// The innermost cause, such as "Connection refused".
        why: String,
    },
    /// No answer within [`ClientOptions::timeout`](crate::ClientOptions::timeout).
    #[error("{endpoint} gave no answer within {} s", after.as_secs_f64())]
    Timeout {
        /// The server's address.
        endpoint: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The server ended a stream that has no end, as it does when it shuts down.
    #[error("{endpoint} ended the stream")]
    StreamEnded {
        /// The server's address.
        endpoint: String,
    },
    /// The server refused or failed, and said why.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The operating system gave no random bytes for a request id.
    #[error("no random bytes for a request id: {why}")]
    NoRandomness {
        /// The system's words.
        why: String,
    },
}

/// An error as the server gave it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    /// Canonical gRPC code.
    pub code: Code,
    /// UPPER_SNAKE reason of the ErrorInfo, such as `NO_FACE_FOUND`; docs/errors.md lists them.
    /// `None` if the error comes from something in between that knows no reasons.
    pub reason: Option<String>,
    /// For people.
    pub message: String,
    /// The ErrorInfo's metadata.
    pub metadata: BTreeMap<String, String>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// The canonical code: the server's, or the one that fits what happened here.
    pub fn code(&self) -> Code {
        match self {
            Error::Endpoint { .. } => Code::InvalidArgument,
            Error::Unreachable { .. } | Error::StreamEnded { .. } => Code::Unavailable,
            Error::Timeout { .. } => Code::DeadlineExceeded,
            Error::Server(error) => error.code,
            Error::NoRandomness { .. } => Code::Internal,
        }
    }

    /// The reason in UPPER_SNAKE: the server's, else the name of [`Error::code`].
    pub fn reason(&self) -> &str {
        match self {
            Error::Server(error) => error.reason.as_deref().unwrap_or(code_name(error.code)),
            Error::Endpoint { .. }
            | Error::Unreachable { .. }
            | Error::Timeout { .. }
            | Error::StreamEnded { .. }
            | Error::NoRandomness { .. } => code_name(self.code()),
        }
    }

    /// What the server said, if it was the server who spoke.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Error::Server(error) => Some(error),
            Error::Endpoint { .. }
            | Error::Unreachable { .. }
            | Error::Timeout { .. }
            | Error::StreamEnded { .. }
            | Error::NoRandomness { .. } => None,
        }
    }

    /// How long the server asks to be left alone before another attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.server().and_then(|error| error.retry_after)
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        self.code() == Code::Unavailable || self.retry_after().is_some()
    }

    /// A connection that broke reads as a status with a cause below it; what a server sent has
    /// none.
    pub(crate) fn from_status(endpoint: &str, status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        if let (None, Some(source)) = (info, status.source()) {
            return Error::Unreachable {
                endpoint: endpoint.to_owned(),
                why: innermost(source),
            };
        }
        Error::Server(Box::new(ServerError {
            code: status.code(),
            reason: info
                .map(|info| info.reason.clone())
                .filter(|reason| !reason.is_empty()),
            message: match status.message() {
                "" => format!("the server answered {}", code_name(status.code())),
                message => message.to_owned(),
            },
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }))
    }

    pub(crate) fn from_connect(endpoint: &str, error: &tonic::transport::Error) -> Self {
        Error::Unreachable {
            endpoint: endpoint.to_owned(),
            why: innermost(error),
        }
    }
}

/// The name of a canonical code, such as `NOT_FOUND`.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // The number that std appends, "(os error 111)", helps nobody.
    let text = cause.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_servers_words_arrive() {
        let metadata = HashMap::from([("faces".to_owned(), "0".to_owned())]);
        let mut details = ErrorDetails::with_error_info("NO_FACE_FOUND", "rollcall", metadata);
        details.set_retry_info(Some(Duration::from_millis(250)));
        let status = Status::with_error_details(Code::FailedPrecondition, "no face", details);
        let error = Error::from_status("http://localhost:1", &status);
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(error.reason(), "NO_FACE_FOUND");
        assert_eq!(error.to_string(), "no face");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        assert_eq!(error.server().unwrap().metadata["faces"], "0");
    }

    #[test]
    fn a_bare_status_has_its_code_for_a_reason() {
        let error = Error::from_status("http://localhost:1", &Status::new(Code::Internal, ""));
        assert_eq!(error.reason(), "INTERNAL");
        assert_eq!(error.to_string(), "the server answered INTERNAL");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_broken_connection_is_not_the_servers_word() {
        let cause = std::io::Error::from_raw_os_error(111);
        let status = Status::from_error(Box::new(cause));
        let error = Error::from_status("http://localhost:1", &status);
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.is_transient());
        assert_eq!(
            error.to_string(),
            "cannot reach a Rollcall server at http://localhost:1: Connection refused"
        );
    }
}
