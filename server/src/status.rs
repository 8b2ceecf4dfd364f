//! Turns errors into gRPC codes: nobody else does. Each carries a canonical code and an `ErrorInfo`
//! with an UPPER_SNAKE reason; `docs/errors.md` lists them.

use crate::core::WriteError;
use crate::error::ApiError;
use crate::page::PageError;
use crate::source_uri::UriError;
use crate::url_mask::masked;
use rollcall_index::{EmbeddingError, SearchError};
use rollcall_ingest::ModelError;
use rollcall_ingest::photo::PhotoError;
use rollcall_log::BlobError;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason.
pub const DOMAIN: &str = "rollcall";
/// When an overloaded server may be asked again.
const RETRY_SOON: Duration = Duration::from_millis(200);
/// When a server whose disk is full may be asked again.
const RETRY_LATER: Duration = Duration::from_secs(5);
/// Headers are limited, so messages are.
const MESSAGE_CHARS_MAX: usize = 600;

/// A code, its reason, and what goes with it.
struct Answer {
    code: Code,
    reason: &'static str,
    field: Option<&'static str>,
    retry: Option<Duration>,
    resource: Option<(&'static str, String)>,
    metadata: Vec<(&'static str, String)>,
}

const fn answer(code: Code, reason: &'static str) -> Answer {
    Answer {
        code,
        reason,
        field: None,
        retry: None,
        resource: None,
        metadata: Vec::new(),
    }
}

impl Answer {
    fn field(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }

    fn retry(self, after: Duration) -> Self {
        Self {
            retry: Some(after),
            ..self
        }
    }

    fn resource(self, kind: &'static str, id: u64) -> Self {
        Self {
            resource: Some((kind, id.to_string())),
            ..self
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let message: String = masked(&error.to_string())
            .chars()
            .take(MESSAGE_CHARS_MAX)
            .collect();
        let answer = classify(&error);
        if answer.code == Code::Internal || answer.code == Code::DataLoss {
            tracing::error!(reason = answer.reason, %message, "a call failed");
        }
        let metadata: HashMap<String, String> = answer
            .metadata
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mut details = ErrorDetails::with_error_info(answer.reason, DOMAIN, metadata);
        if let Some(field) = answer.field {
            details.add_bad_request_violation(field, message.clone());
        }
        if let Some(after) = answer.retry {
            details.set_retry_info(Some(after));
        }
        if let Some((kind, name)) = answer.resource {
            details.set_resource_info(kind, name, "", message.clone());
        }
        Self::with_error_details(answer.code, message, details)
    }
}

impl ApiError {
    /// The UPPER_SNAKE reason that clients see.
    pub fn reason(&self) -> &'static str {
        classify(self).reason
    }

    /// The HTTP status that browsers see.
    pub(crate) fn http_status(&self) -> u16 {
        match classify(self).code {
            Code::Ok => 200,
            Code::InvalidArgument | Code::OutOfRange => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 409,
            Code::ResourceExhausted => 429,
            Code::Cancelled => 499,
            Code::Unimplemented => 501,
            Code::Unavailable => 503,
            Code::DeadlineExceeded => 504,
            Code::Unknown | Code::Internal | Code::DataLoss => 500,
        }
    }
}

fn classify(error: &ApiError) -> Answer {
    match error {
        ApiError::Write(error) => write_error(error),
        ApiError::Catalog(_) => answer(Code::Internal, "CATALOG_FAILED"),
        ApiError::Read(_) => answer(Code::DataLoss, "LOG_DAMAGED"),
        ApiError::Blob(error) => blob_error(error),
        ApiError::Photo(error) => photo_error(error).field("image"),
        ApiError::Infer(_) => answer(Code::Internal, "MODEL_FAILED"),
        ApiError::Search(SearchError::WrongDimension { found, expected }) => {
            answer(Code::InvalidArgument, "INVALID_EMBEDDING")
                .field("embedding")
                .with("found", found)
                .with("expected", expected)
        }
        ApiError::Search(SearchError::Damaged(_)) => answer(Code::DataLoss, "INDEX_DAMAGED"),
        ApiError::Embedding(error) => embedding_error(error),
        ApiError::Page(PageError::Size(_)) => {
            answer(Code::InvalidArgument, "INVALID_PAGE_SIZE").field("page_size")
        }
        ApiError::Page(PageError::Token) => {
            answer(Code::InvalidArgument, "INVALID_PAGE_TOKEN").field("page_token")
        }
        ApiError::Uri(error) => uri_error(error),
        ApiError::NoFaceFound => answer(Code::FailedPrecondition, "NO_FACE_FOUND"),
        ApiError::FaceRejected { reasons } => {
            answer(Code::FailedPrecondition, "FACE_REJECTED").with("reasons", reasons.join(","))
        }
        ApiError::SeveralFaces { count } => {
            answer(Code::FailedPrecondition, "SEVERAL_FACES").with("faces", count)
        }
        ApiError::FaceIndexOutOfRange { count, .. } => {
            answer(Code::InvalidArgument, "FACE_INDEX_OUT_OF_RANGE")
                .field("face_index")
                .with("faces", count)
        }
        ApiError::ModelMismatch { found, expected } => {
            answer(Code::FailedPrecondition, "MODEL_MISMATCH")
                .with("found", found)
                .with("expected", expected)
        }
        ApiError::Model(error) => answer(Code::FailedPrecondition, model_reason(error)),
        ApiError::SameModel { .. } => answer(Code::FailedPrecondition, "MIGRATION_SAME_MODEL"),
        ApiError::WouldLose {
            identities,
            exemplars,
        } => answer(Code::FailedPrecondition, "MIGRATION_WOULD_LOSE")
            .with("identities", identities)
            .with("exemplars", exemplars),
        ApiError::NoSpace { needed, free, .. } => {
            answer(Code::FailedPrecondition, "MIGRATION_NO_SPACE")
                .with("needed", needed)
                .with("free", free)
        }
        ApiError::InvalidField { field, .. } => {
            answer(Code::InvalidArgument, "INVALID_ARGUMENT").field(field)
        }
        ApiError::InvalidName { .. } => answer(Code::InvalidArgument, "INVALID_NAME").field("name"),
        ApiError::InvalidWebhook { .. } => {
            answer(Code::InvalidArgument, "INVALID_WEBHOOK").field("webhook.url")
        }
        ApiError::WebhookHostNotAllowed { host } => {
            answer(Code::PermissionDenied, "WEBHOOK_HOST_NOT_ALLOWED")
                .field("webhook.url")
                .with("host", host)
        }
        ApiError::AlertRuleNotFound { id } => {
            answer(Code::NotFound, "ALERT_RULE_NOT_FOUND").resource("alert_rule", *id)
        }
        ApiError::IdentityNotFound { id } => {
            answer(Code::NotFound, "IDENTITY_NOT_FOUND").resource("identity", *id)
        }
        ApiError::TrackNotFound { id } => {
            answer(Code::NotFound, "TRACK_NOT_FOUND").resource("track", *id)
        }
        ApiError::SourceNotFound { id } => {
            answer(Code::NotFound, "SOURCE_NOT_FOUND").resource("source", *id)
        }
        ApiError::ThumbnailNotFound { what, id } => {
            answer(Code::NotFound, "THUMBNAIL_NOT_FOUND").resource(what, *id)
        }
        ApiError::InvalidCursor { .. } => {
            answer(Code::InvalidArgument, "INVALID_CURSOR").field("cursor")
        }
        ApiError::CursorExpired { .. } => answer(Code::OutOfRange, "CURSOR_EXPIRED"),
        ApiError::WrongWorker { id } => {
            answer(Code::PermissionDenied, "WRONG_WORKER").resource("source", *id)
        }
        ApiError::ClusteringOutdated { .. } => {
            answer(Code::FailedPrecondition, "CLUSTERING_OUTDATED")
        }
        ApiError::Overloaded { limit, .. } => answer(Code::ResourceExhausted, "OVERLOADED")
            .retry(RETRY_SOON)
            .with("limit", limit),
        ApiError::MessageTooLarge { max, picture: true } => {
            answer(Code::InvalidArgument, "IMAGE_TOO_LARGE")
                .field("image")
                .with("bytes_max", max)
        }
        ApiError::MessageTooLarge {
            max,
            picture: false,
        } => answer(Code::InvalidArgument, "MESSAGE_TOO_LARGE").with("bytes_max", max),
        ApiError::DeadlineExceeded { .. } => answer(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        ApiError::ShuttingDown => answer(Code::Unavailable, "SHUTTING_DOWN").retry(RETRY_LATER),
        ApiError::KeyMissing => answer(Code::Unauthenticated, "KEY_MISSING"),
        ApiError::KeyInvalid => answer(Code::Unauthenticated, "KEY_INVALID"),
        ApiError::KeyExpired => answer(Code::Unauthenticated, "KEY_EXPIRED"),
        ApiError::RoleInsufficient { role, least } => {
            answer(Code::PermissionDenied, "ROLE_INSUFFICIENT")
                .with("role", role)
                .with("least", least)
        }
        ApiError::SourceOutOfScope { id } => {
            answer(Code::PermissionDenied, "SOURCE_OUT_OF_SCOPE").resource("source", *id)
        }
        ApiError::NotBySource => answer(Code::PermissionDenied, "SOURCE_OUT_OF_SCOPE"),
        ApiError::Internal(_) => answer(Code::Internal, "INTERNAL"),
    }
}

fn write_error(error: &WriteError) -> Answer {
    match error {
        WriteError::SourceNotFound { id } => {
            answer(Code::NotFound, "SOURCE_NOT_FOUND").resource("source", *id)
        }
        WriteError::SourceExists { id, .. } => answer(Code::AlreadyExists, "SOURCE_EXISTS")
            .resource("source", *id)
            .with("source_id", id),
        WriteError::SourceBusy { id } => {
            answer(Code::FailedPrecondition, "SOURCE_BUSY").resource("source", *id)
        }
        WriteError::SourceFinished { id } => {
            answer(Code::FailedPrecondition, "SOURCE_FINISHED").resource("source", *id)
        }
        WriteError::IdentityNotFound { id } => {
            answer(Code::NotFound, "IDENTITY_NOT_FOUND").resource("identity", *id)
        }
        WriteError::EtagMismatch { id, current } => answer(Code::Aborted, "ETAG_MISMATCH")
            .resource("identity", *id)
            .with("etag", current),
        WriteError::IdentityErased { id } => {
            answer(Code::FailedPrecondition, "IDENTITY_ERASED").resource("identity", *id)
        }
        WriteError::MergeWithItself { id, .. } => {
            answer(Code::InvalidArgument, "MERGE_WITH_ITSELF")
                .field("into_identity_id")
                .resource("identity", *id)
        }
        WriteError::NameTaken { id, .. } => answer(Code::AlreadyExists, "NAME_TAKEN")
            .resource("identity", *id)
            .with("identity_id", id),
        WriteError::ExternalIdTaken { id, .. } => answer(Code::AlreadyExists, "EXTERNAL_ID_TAKEN")
            .resource("identity", *id)
            .with("identity_id", id),
        WriteError::EditTooLarge { .. } => answer(Code::InvalidArgument, "EDIT_TOO_LARGE"),
        WriteError::TrackNotFound { id } => {
            answer(Code::NotFound, "TRACK_NOT_FOUND").resource("track", *id)
        }
        WriteError::InvalidTracks { .. } => {
            answer(Code::InvalidArgument, "INVALID_ARGUMENT").field("track_ids")
        }
        WriteError::TrackElsewhere { track, owner, .. } => {
            answer(Code::FailedPrecondition, "TRACK_ELSEWHERE")
                .resource("track", *track)
                .with("identity_id", owner)
        }
        WriteError::MoveIntoItself { track, .. } => {
            answer(Code::InvalidArgument, "MOVE_INTO_ITSELF")
                .field("into_identity_id")
                .resource("track", *track)
        }
        WriteError::FactsContradict { facts, edits, .. } => {
            answer(Code::FailedPrecondition, "FACTS_CONTRADICT")
                .with("facts", listed(facts))
                .with("edits", listed(edits))
        }
        WriteError::FactExists { id, .. } => answer(Code::AlreadyExists, "FACT_EXISTS")
            .resource("fact", *id)
            .with("fact_id", id),
        WriteError::FactNotFound { id } => {
            answer(Code::NotFound, "FACT_NOT_FOUND").resource("fact", *id)
        }
        WriteError::PhotosKnown { id } => answer(Code::AlreadyExists, "PHOTOS_KNOWN")
            .resource("identity", *id)
            .with("identity_id", id),
        WriteError::PhotoElsewhere { number, id } => {
            answer(Code::FailedPrecondition, "PHOTO_ENROLLED_ELSEWHERE")
                .field("photos")
                .resource("identity", *id)
                .with("photo", number)
                .with("identity_id", id)
        }
        WriteError::ContractGone { found, expected } => {
            answer(Code::FailedPrecondition, "MODEL_MISMATCH")
                .with("found", found)
                .with("expected", expected)
        }
        WriteError::EditNotFound { sequence } => {
            answer(Code::NotFound, "EDIT_NOT_FOUND").resource("edit", *sequence)
        }
        WriteError::AlreadyUndone { sequence, by } => {
            answer(Code::FailedPrecondition, "ALREADY_UNDONE")
                .resource("edit", *sequence)
                .with("undone_by", by)
        }
        WriteError::BuiltUpon {
            sequence, edits, ..
        } => answer(Code::FailedPrecondition, "BUILT_UPON")
            .resource("edit", *sequence)
            .with("edits", listed(edits)),
        WriteError::NothingToErase => answer(Code::NotFound, "NOTHING_TO_ERASE"),
        WriteError::FaceNotFound { id } => {
            answer(Code::NotFound, "FACE_NOT_FOUND").resource("exemplar", *id)
        }
        WriteError::ErasureNotFound { id } => {
            answer(Code::NotFound, "ERASURE_NOT_FOUND").resource("erasure", *id)
        }
        WriteError::ErasureUnfinished { id, .. } => answer(Code::Unavailable, "ERASURE_UNFINISHED")
            .resource("erasure", *id)
            .retry(RETRY_LATER),
        WriteError::AlertRuleNotFound { id } => {
            answer(Code::NotFound, "ALERT_RULE_NOT_FOUND").resource("alert_rule", *id)
        }
        WriteError::AlertRuleEtagMismatch { id, current } => {
            answer(Code::Aborted, "ALERT_RULE_ETAG_MISMATCH")
                .resource("alert_rule", *id)
                .with("etag", current)
        }
        WriteError::AlertRuleKind { id } => answer(Code::InvalidArgument, "ALERT_RULE_KIND")
            .field("watches")
            .resource("alert_rule", *id),
        WriteError::AlertRulesFull { max } => {
            answer(Code::FailedPrecondition, "ALERT_RULES_FULL").with("rules_max", max)
        }
        WriteError::RequestIdReused { sequence, .. } => {
            answer(Code::AlreadyExists, "REQUEST_ID_REUSED")
                .field("request_id")
                .with("sequence", sequence)
        }
        WriteError::MigrationRunning { number, .. } => {
            answer(Code::FailedPrecondition, "MIGRATION_RUNNING").with("migration", number)
        }
        WriteError::NoMigration => answer(Code::NotFound, "MIGRATION_NOT_FOUND"),
        WriteError::MigrationState { .. } => answer(Code::FailedPrecondition, "MIGRATION_STATE"),
        WriteError::Switching => answer(Code::Unavailable, "MIGRATION_SWITCHING").retry(RETRY_SOON),
        WriteError::Protocol { .. } => answer(Code::InvalidArgument, "PROTOCOL_VIOLATION"),
        WriteError::Embedding { .. } => answer(Code::InvalidArgument, "INVALID_EMBEDDING"),
        WriteError::ReadOnly { reason, .. } => answer(Code::Unavailable, reason).retry(RETRY_LATER),
        WriteError::Overloaded => answer(Code::ResourceExhausted, "OVERLOADED")
            .retry(RETRY_SOON)
            .with("limit", "writer"),
        WriteError::Closed => answer(Code::Unavailable, "SHUTTING_DOWN").retry(RETRY_LATER),
    }
}

fn listed(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(",")
}

fn model_reason(error: &ModelError) -> &'static str {
    match error {
        ModelError::Missing { .. } | ModelError::NoAssets { .. } => "MODEL_NOT_FOUND",
        ModelError::Unreadable { .. }
        | ModelError::Runtime { .. }
        | ModelError::Manifest { .. }
        | ModelError::WrongHash { .. }
        | ModelError::WrongShape { .. }
        | ModelError::Load { .. }
        | ModelError::SelfTest { .. }
        | ModelError::NoClassifier { .. }
        | ModelError::SeveralClassifiers { .. }
        | ModelError::Infer(_) => "MODEL_UNUSABLE",
    }
}

fn blob_error(error: &BlobError) -> Answer {
    match error {
        BlobError::Erased => answer(Code::NotFound, "THUMBNAIL_ERASED"),
        BlobError::Missing { .. } | BlobError::Corrupt { .. } | BlobError::BadReference { .. } => {
            answer(Code::DataLoss, "THUMBNAIL_DAMAGED")
        }
        BlobError::Io { .. } => answer(Code::Internal, "LOG_UNREADABLE"),
    }
}

fn photo_error(error: &PhotoError) -> Answer {
    match error {
        PhotoError::Empty | PhotoError::Unreadable { .. } => {
            answer(Code::InvalidArgument, "IMAGE_UNREADABLE")
        }
        PhotoError::TooLargeBytes { .. } | PhotoError::TooManyPixels { .. } => {
            answer(Code::InvalidArgument, "IMAGE_TOO_LARGE")
        }
    }
}

fn embedding_error(error: &EmbeddingError) -> Answer {
    match error {
        EmbeddingError::Empty
        | EmbeddingError::NotFinite { .. }
        | EmbeddingError::ZeroLength { .. }
        | EmbeddingError::NotUnit { .. }
        | EmbeddingError::OddBytes { .. } => {
            answer(Code::InvalidArgument, "INVALID_EMBEDDING").field("embedding")
        }
    }
}

fn uri_error(error: &UriError) -> Answer {
    match error {
        UriError::Invalid { .. } => answer(Code::InvalidArgument, "INVALID_URI").field("uri"),
        UriError::Protocol { protocol, .. } => {
            answer(Code::InvalidArgument, "PROTOCOL_NOT_ALLOWED")
                .field("uri")
                .with("protocol", protocol)
        }
        UriError::FileNotFound { .. } => answer(Code::NotFound, "FILE_NOT_FOUND").field("uri"),
        UriError::NotAFile { .. } => answer(Code::InvalidArgument, "INVALID_URI").field("uri"),
        UriError::OutsideRoots { .. } => {
            answer(Code::PermissionDenied, "FILE_OUTSIDE_ROOTS").field("uri")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: impl Into<ApiError>, code: Code, reason: &str) -> ErrorDetails {
        let status = Status::from(error.into());
        assert_eq!(status.code(), code, "{status}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (reason, DOMAIN)
        );
        details
    }

    #[test]
    fn codes_and_details() {
        let details = check(
            PageError::Size(-3),
            Code::InvalidArgument,
            "INVALID_PAGE_SIZE",
        );
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            "page_size"
        );
        let full = ApiError::Overloaded {
            what: "too many searches wait",
            limit: "searches",
        };
        let details = check(full, Code::ResourceExhausted, "OVERLOADED");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_SOON));
        let details = check(
            WriteError::SourceNotFound { id: 7 },
            Code::NotFound,
            "SOURCE_NOT_FOUND",
        );
        let resource = details.resource_info().unwrap();
        assert_eq!(
            (
                resource.resource_type.as_str(),
                resource.resource_name.as_str()
            ),
            ("source", "7")
        );
        let reasons = vec!["BLURRED", "FACE_TOO_SMALL"];
        let details = check(
            ApiError::FaceRejected { reasons },
            Code::FailedPrecondition,
            "FACE_REJECTED",
        );
        assert_eq!(
            details.error_info().unwrap().metadata["reasons"],
            "BLURRED,FACE_TOO_SMALL"
        );
        let read_only = WriteError::ReadOnly {
            reason: "LOG_FULL",
            message: "disk full".into(),
        };
        check(read_only, Code::Unavailable, "LOG_FULL");
        check(WriteError::Closed, Code::Unavailable, "SHUTTING_DOWN");
        check(BlobError::Erased, Code::NotFound, "THUMBNAIL_ERASED");
        check(
            WriteError::EtagMismatch {
                id: 1,
                current: "x".into(),
            },
            Code::Aborted,
            "ETAG_MISMATCH",
        );
    }

    #[test]
    fn credentials_do_not_show() {
        let error = WriteError::SourceExists {
            id: 3,
            uri: "rtsp://me:pw@cam/1".into(),
        };
        let status = Status::from(ApiError::from(error));
        assert!(status.message().contains("rtsp://***@cam/1"), "{status}");
        assert!(!format!("{status:?}").contains("me:pw"));
    }

    #[test]
    fn the_manual_names_every_reason() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let manual = std::fs::read_to_string(root.join("../docs/errors.md")).unwrap();
        // Reasons are the only UPPER_SNAKE literals of this file.
        let source = include_str!("status.rs");
        let code = source.split("#[cfg(test)]").next().unwrap();
        let mut named = 0;
        for literal in code.split('"').skip(1).step_by(2) {
            let upper =
                literal.len() > 3 && literal.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if upper {
                assert!(
                    manual.contains(&format!("`{literal}`")),
                    "docs/errors.md lacks {literal}"
                );
                named += 1;
            }
        }
        assert!(named > 25, "{named}");
    }
}
