//! What a page answers when something is wrong.

use super::words;
use crate::error::ApiError;
use crate::url_mask::masked;
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// Why a request to the page was refused before anything was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Perhaps another site that has made its name lead here.
    #[error(
        "the page does not answer under the name {host:?}: open it by its address in numbers, or add the name to \
         http.allowed_hosts"
    )]
    Host { host: String },
    /// The browser says that another site has sent the form.
    #[error("this was not sent from a page of this server")]
    CrossSite,
    /// A form of another site, or from before the server was started again.
    #[error(
        "this form is not of this server, or from before it was started again: load the page anew"
    )]
    Token,
    /// Not what our forms send.
    #[error("this is no form of this page, or too large a one")]
    NotAForm,
    /// The collection is being opened, or models are being loaded.
    #[error("the server is starting: try again shortly")]
    Starting,
}

impl Refusal {
    /// UPPER_SNAKE; `docs/errors.md` lists them.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Host { .. } => "HOST_NOT_ALLOWED",
            Self::CrossSite => "CROSS_SITE",
            Self::Token => "FORM_TOKEN",
            Self::NotAForm => "NOT_A_FORM",
            Self::Starting => "STARTING",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Host { .. } | Self::CrossSite | Self::Token => StatusCode::FORBIDDEN,
            Self::NotAForm => StatusCode::BAD_REQUEST,
            Self::Starting => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why a page cannot be shown, or an edit not be made.
#[derive(Debug)]
pub(super) struct Trouble {
    status: StatusCode,
    reason: &'static str,
    message: String,
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status(),
            reason: refusal.reason(),
            message: refusal.to_string(),
        }
    }
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (reason, message) = (error.reason(), masked(&error.to_string()));
        if status.is_server_error() {
            tracing::warn!(reason, %message, "a page could not be shown");
        }
        Self {
            status,
            reason,
            message,
        }
    }
}

impl Trouble {
    /// What the error says, as one line for a page that goes on.
    pub(super) fn sentence(&self) -> String {
        words::sentence(&self.message)
    }

    /// The status to answer with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its reason.
    pub(super) fn reason(&self) -> &'static str {
        self.reason
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    message: String,
    reason: &'static str,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let page = TroublePage {
            message: self.sentence(),
            reason: self.reason,
        };
        (self.status, shown(&page)).into_response()
    }
}

/// A page from its template.
pub(super) fn shown(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a template failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_refusal() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let manual = std::fs::read_to_string(root.join("../docs/errors.md")).unwrap();
        let host = String::new();
        let all = [
            Refusal::Host { host },
            Refusal::CrossSite,
            Refusal::Token,
            Refusal::NotAForm,
            Refusal::Starting,
        ];
        for refusal in all {
            let reason = refusal.reason();
            assert!(manual.contains(&format!("`{reason}`")), "{reason}");
        }
    }
}
