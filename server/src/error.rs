//! Everything that a call can be refused for; `status` gives each its code.

use crate::access::Role;
use crate::core::{CatalogError, WriteError};
use crate::page::PageError;
use crate::source_uri::UriError;
use rollcall_index::{EmbeddingError, SearchError};
use rollcall_ingest::photo::PhotoError;
use rollcall_ingest::{InferError, ModelError};
use rollcall_log::{BlobError, ReadError};
use std::path::PathBuf;

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The writer refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The catalog could not be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stored picture could not be read.
    #[error("the picture cannot be read: {0}")]
    Blob(#[from] BlobError),
    /// The query picture could not be used.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// A model failed.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The index refused the query.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The query embedding is not one.
    #[error("embedding: {0}")]
    Embedding(#[from] EmbeddingError),
    /// A page cannot be given.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A source's address cannot be used.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The detector found no face.
    #[error("no face found in the picture")]
    NoFaceFound,
    /// Faces were found, but none that can be used.
    #[error("no face of the picture can be used: {}", reasons.join(", "))]
    FaceRejected {
        /// Why, face by face.
        reasons: Vec<&'static str>,
    },
    /// More than one face may be the one that is meant.
    #[error("the picture has {count} faces: say which one is meant, by face_index")]
    SeveralFaces {
        /// Faces of the picture.
        count: usize,
    },
    /// The picture has fewer faces.
    #[error("face_index is {asked}, but the picture has {count} faces, counted from 0")]
    FaceIndexOutOfRange {
        /// As asked for.
        asked: u32,
        /// Faces of the picture.
        count: usize,
    },
    /// An embedding of another model.
    #[error("the embedding was made under contract {found}, this collection's is {expected}")]
    ModelMismatch {
        /// The caller's.
        found: String,
        /// The collection's.
        expected: String,
    },
    /// A model cannot be loaded.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// A migration to what is in service.
    #[error("{embedder} is in service already: there is nothing to migrate to")]
    SameModel {
        /// The embedder's id.
        embedder: String,
    },
    /// People would be lost to searches.
    #[error(
        "of {identities} identities no face can be embedded again ({exemplars} faces have no picture that can be \
         read): searches would no longer find them; allow that, or stay with the old model"
    )]
    WouldLose {
        /// Identities without any face left.
        identities: u64,
        /// Faces that cannot be embedded.
        exemplars: u64,
    },
    /// The disk is too small for another set of embeddings, and its index.
    #[error(
        "this takes about {needed} bytes of disk, {free} are free under {path}: make room", path = path.display()
    )]
    NoSpace {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        free: u64,
        /// The data folder.
        path: PathBuf,
    },
    /// A field holds what it must not.
    #[error("{field}: {what}")]
    InvalidField {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Not a name.
    #[error("name: {what}")]
    InvalidName {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A webhook's address cannot be used.
    #[error("webhook.url: {what}")]
    InvalidWebhook {
        /// What is wrong with it.
        what: String,
    },
    /// A webhook's host is none of those that are allowed.
    #[error("webhook.url: alerts may not be sent to {host}; allow it in alerts.webhook_hosts")]
    WebhookHostNotAllowed {
        /// Which host.
        host: String,
    },
    /// No such alert rule.
    #[error("there is no alert rule {id}")]
    AlertRuleNotFound {
        /// As asked for.
        id: u64,
    },
    /// No such identity.
    #[error("there is no identity {id}")]
    IdentityNotFound {
        /// As asked for.
        id: u64,
    },
    /// No such track, or one that no longer counts.
    #[error("there is no track {id}")]
    TrackNotFound {
        /// As asked for.
        id: u64,
    },
    /// No such source.
    #[error("there is no source {id}")]
    SourceNotFound {
        /// As asked for.
        id: u64,
    },
    /// No picture is kept for it.
    #[error("there is no picture of {what} {id}")]
    ThumbnailNotFound {
        /// `exemplar`, `track` or `identity`.
        what: &'static str,
        /// As asked for.
        id: u64,
    },
    /// Not a cursor of this server.
    #[error("cursor: {what}")]
    InvalidCursor {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A cursor of another log, or of a place that this log does not have.
    #[error("cursor: {what}; begin again from the start, or from now on")]
    CursorExpired {
        /// Why it leads nowhere.
        what: &'static str,
    },
    /// Another worker reads the source.
    #[error("source {id} is read by this server's own worker")]
    WrongWorker {
        /// Which source.
        id: u64,
    },
    /// The changes of another clustering are asked for.
    #[error(
        "there is no clustering of sequence {asked} to apply{}: cluster again, look at what would change, and name its sequence",
        kept.map(|kept| format!(", the last one is of {kept}")).unwrap_or_default()
    )]
    ClusteringOutdated {
        /// As asked for.
        asked: u64,
        /// The one that could be applied.
        kept: Option<u64>,
    },
    /// A limit on what is done at a time is reached.
    #[error("{what}: try again shortly")]
    Overloaded {
        /// Which limit.
        what: &'static str,
        /// Also the label of the metric.
        limit: &'static str,
    },
    /// The message is larger than the server takes.
    #[error(
        "the message is larger than the {max} bytes that this server takes (grpc.message_bytes_max)"
    )]
    MessageTooLarge {
        /// The limit.
        max: usize,
        /// Whether it carried a picture.
        picture: bool,
    },
    /// It took too long.
    #[error("not done within the deadline of {milliseconds} ms")]
    DeadlineExceeded {
        /// The deadline.
        milliseconds: u128,
    },
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// No key was sent.
    #[error(
        "this server asks for a key: send one (rollcall: --key-file or ROLLCALL_KEY; HTTP: the header authorization: Bearer)"
    )]
    KeyMissing,
    /// A key was sent that is none, or none any more.
    #[error(
        "the key is not one of this server, or was revoked: ask its operator for another (rollcalld key create)"
    )]
    KeyInvalid,
    /// The key's time is over.
    #[error("the key has expired: ask the server's operator for another (rollcalld key create)")]
    KeyExpired,
    /// The key's role is too small.
    #[error("this takes the role {least}, the key has the role {role}")]
    RoleInsufficient {
        /// The key's.
        role: &'static str,
        /// The least that would do.
        least: Role,
    },
    /// A source that the key is not for.
    #[error("the key is not for source {id}")]
    SourceOutOfScope {
        /// Which source.
        id: u64,
    },
    /// A call that shows or does more than what belongs to some sources.
    #[error(
        "the key is for some sources alone, and this cannot be bounded to them: it takes a key for all sources"
    )]
    NotBySource,
    /// Our own mistake.
    #[error("internal error: {0}")]
    Internal(&'static str),
}
