//! What the writer is asked to do, and how it answers.

use super::alert::AlertCommand;
use super::edit::Edit;
use super::erase::EraseCommand;
use super::migrate::Step;
use crate::pb;
use rollcall_log::record::ReviewProposed;
use tokio::sync::oneshot;

/// A file or stream to be watched.
#[derive(Clone, Debug)]
pub struct NewSource {
    /// Path or URL, checked by the caller.
    pub uri: String,
    /// Shown to people.
    pub name: String,
    /// File, live or remote.
    pub kind: pb::SourceKind,
    /// Play a file at the pace of its own clock.
    pub realtime: bool,
    /// Who adds it.
    pub author: String,
    /// Empty, or an id under which the request is carried out once only.
    pub request_id: String,
}

/// A source goes over to another state.
#[derive(Clone, Debug)]
pub struct SourceChange {
    /// Which source.
    pub source_id: u64,
    /// Its state from now on.
    pub state: pb::SourceState,
    /// UPPER_SNAKE, empty when all is well.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Stream time, microseconds.
    pub position_us: i64,
    /// Who caused it.
    pub author: String,
}

/// One message of a run.
#[derive(Clone, Debug)]
pub enum Observed {
    /// A track opened, grown or closed.
    Track(pb::TrackObservation),
    /// Everything before it is seen.
    Checkpoint(pb::Checkpoint),
    /// The run is over.
    Finished(pb::Finished),
}

/// A run over a source has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// To be sent with each observation.
    pub id: u64,
    /// Stream time before which everything is seen; `None`: begin at the beginning.
    pub resume_from_us: Option<i64>,
    /// The frame at that time.
    pub resume_from_frame: i64,
    /// The sequence of the record that began it.
    pub sequence: u64,
}

/// Whether the writer takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteState {
    /// It does.
    Ok,
    /// It does not, and tries to get back to work by itself.
    ReadOnly {
        /// `LOG_FULL` or `LOG_FAILED`.
        reason: &'static str,
        /// What went wrong.
        message: String,
    },
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// No such source.
    #[error("there is no source {id}")]
    SourceNotFound {
        /// As asked for.
        id: u64,
    },
    /// The URI is a source already.
    #[error("{uri} is source {id} already")]
    SourceExists {
        /// The source that has it.
        id: u64,
        /// With credentials: mask before showing.
        uri: String,
    },
    /// Another run is on.
    #[error("source {id} is being read by another worker")]
    SourceBusy {
        /// Which source.
        id: u64,
    },
    /// The source has ended, was stopped or failed.
    #[error("source {id} is finished; add it again to read it again")]
    SourceFinished {
        /// Which source.
        id: u64,
    },
    /// No such identity.
    #[error("there is no identity {id}")]
    IdentityNotFound {
        /// As asked for.
        id: u64,
    },
    /// The identity was edited in between.
    #[error("identity {id} was changed in between: its etag is {current} now")]
    EtagMismatch {
        /// Which identity.
        id: u64,
        /// The etag it has.
        current: String,
    },
    /// The identity is gone for good.
    #[error("identity {id} was erased: nothing of it can be changed any more")]
    IdentityErased {
        /// Which identity.
        id: u64,
    },
    /// Both are one already.
    #[error("identity {from} and identity {into} are the same one: {id}")]
    MergeWithItself {
        /// As asked for.
        from: u64,
        /// As asked for.
        into: u64,
        /// What both resolve to.
        id: u64,
    },
    /// Another identity bears the name.
    #[error(
        "identity {id} is named {name:?} already; allow a duplicate name if they are two people, or merge them"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Who bears it.
        id: u64,
    },
    /// Another identity has the external id.
    #[error("identity {id} has the external id {external_id:?} already")]
    ExternalIdTaken {
        /// The external id.
        external_id: String,
        /// Whose it is.
        id: u64,
    },
    /// More than one edit can do.
    #[error("{what}")]
    EditTooLarge {
        /// What there is too much of.
        what: String,
    },
    /// No such track, or one that no longer counts.
    #[error("there is no track {id}")]
    TrackNotFound {
        /// As asked for.
        id: u64,
    },
    /// The list of tracks cannot be used.
    #[error("track_ids {what}")]
    InvalidTracks {
        /// What is wrong with it.
        what: String,
    },
    /// The track is not of the identity that was named.
    #[error("track {track} is not of identity {id}, but of {owner}")]
    TrackElsewhere {
        /// Which track.
        track: u64,
        /// Whose it is.
        owner: u64,
        /// Whose it should be.
        id: u64,
    },
    /// The track is there already.
    #[error("track {track} is of identity {id} already")]
    MoveIntoItself {
        /// Which track.
        track: u64,
        /// Whose it is.
        id: u64,
    },
    /// People said the opposite.
    #[error("{asked}: this contradicts what was said: {}; forget or undo that first", .said.join("; "))]
    FactsContradict {
        /// What the edit comes to.
        asked: String,
        /// What stands against it.
        said: Vec<String>,
        /// The facts that do.
        facts: Vec<u64>,
        /// The edits that stated them.
        edits: Vec<u64>,
    },
    /// People said it already.
    #[error("that was said already: {said}")]
    FactExists {
        /// What was said.
        said: String,
        /// The fact.
        id: u64,
    },
    /// No such fact, or one that no longer holds.
    #[error("there is no fact {id} that holds")]
    FactNotFound {
        /// As asked for.
        id: u64,
    },
    /// All photos are this person's already.
    #[error("identity {id} has these photos already")]
    PhotosKnown {
        /// Whose they are.
        id: u64,
    },
    /// The photo is somebody else's.
    #[error(
        "photo {number} is enrolled for identity {id} already; if they are one person, merge them, else undo that first"
    )]
    PhotoElsewhere {
        /// Which one, counted from 0.
        number: usize,
        /// Whose it is.
        id: u64,
    },
    /// The collection has gone over to another contract meanwhile.
    #[error(
        "the photos were embedded under contract {found}, this collection's is {expected} now; try again"
    )]
    ContractGone {
        /// That of the photos.
        found: String,
        /// The one in service.
        expected: String,
    },
    /// No such edit.
    #[error("record {sequence} is no edit")]
    EditNotFound {
        /// As asked for.
        sequence: u64,
    },
    /// It was taken back before.
    #[error("edit {sequence} was undone already, by {by}; undo that to have it back")]
    AlreadyUndone {
        /// Which edit.
        sequence: u64,
        /// The edit that did it.
        by: u64,
    },
    /// What the edit did is no longer as it left it.
    #[error("edit {sequence} cannot be undone: {what}{}", in_the_way(.edits))]
    BuiltUpon {
        /// Which edit.
        sequence: u64,
        /// What has changed since.
        what: String,
        /// Edits in effect that came after and stand in the way, oldest first.
        edits: Vec<u64>,
    },
    /// No such alert rule.
    #[error("there is no alert rule {id}")]
    AlertRuleNotFound {
        /// As asked for.
        id: u64,
    },
    /// The rule was changed in between.
    #[error("alert rule {id} was changed in between: its etag is {current} now")]
    AlertRuleEtagMismatch {
        /// Which rule.
        id: u64,
        /// The etag it has.
        current: String,
    },
    /// The change does not fit what the rule watches for.
    #[error(
        "alert rule {id} watches for something else: whom a rule watches for stays of its kind; make another rule"
    )]
    AlertRuleKind {
        /// Which rule.
        id: u64,
    },
    /// There are as many rules as there may be.
    #[error("there are {max} alert rules already; delete one that is not needed")]
    AlertRulesFull {
        /// How many there may be.
        max: usize,
    },
    /// The request id was used before, for something else.
    #[error("request_id {request_id} was used for another kind of request, record {sequence}")]
    RequestIdReused {
        /// As sent.
        request_id: String,
        /// What it stands for.
        sequence: u64,
    },
    /// Nothing matches what an erasure is about.
    #[error("there is nothing to erase: no sighting matches")]
    NothingToErase,
    /// No such face, or one that no longer counts.
    #[error("there is no face {id}")]
    FaceNotFound {
        /// As asked for.
        id: u64,
    },
    /// No such erasure.
    #[error("record {id} begins no erasure")]
    ErasureNotFound {
        /// As asked for.
        id: u64,
    },
    /// Something could not be removed yet.
    #[error("erasure {id} is not through: {what}; it is gone on with by itself")]
    ErasureUnfinished {
        /// Which one.
        id: u64,
        /// What stands in the way.
        what: String,
    },
    /// A migration is on.
    #[error(
        "a migration to {embedder} is on, number {number}: finish it, roll it back or cancel it first"
    )]
    MigrationRunning {
        /// The record that began it.
        number: u64,
        /// The embedder it goes to.
        embedder: String,
    },
    /// None is on.
    #[error("no migration is on")]
    NoMigration,
    /// A migration is not far enough for that, or too far.
    #[error("{what}")]
    MigrationState {
        /// What can be done.
        what: &'static str,
    },
    /// Observations are held up for the moment in which the models change.
    #[error("the collection is going over to another model: try again in a moment")]
    Switching,
    /// The run's messages do not make sense.
    #[error("observation refused: {what}")]
    Protocol {
        /// What is wrong with which message.
        what: String,
    },
    /// An embedding cannot be used.
    #[error("embedding refused: {what}")]
    Embedding {
        /// What is wrong with it.
        what: String,
    },
    /// The log takes no writes at present.
    #[error("nothing can be written at present: {message}")]
    ReadOnly {
        /// `LOG_FULL` or `LOG_FAILED`.
        reason: &'static str,
        /// What went wrong.
        message: String,
    },
    /// Too many commands wait.
    #[error("too many writes wait")]
    Overloaded,
    /// The server is going down.
    #[error("the server is shutting down")]
    Closed,
}

/// Edits named in a message at most.
const EDITS_SHOWN: usize = 10;

fn in_the_way(edits: &[u64]) -> String {
    if edits.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = edits.iter().take(EDITS_SHOWN).map(u64::to_string).collect();
    let more = if edits.len() > EDITS_SHOWN {
        ", ..."
    } else {
        ""
    };
    format!("; undo first: {}{more}", shown.join(", "))
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    AddSource(NewSource),
    SetSourceState(SourceChange),
    Edit(Edit),
    Alert(AlertCommand),
    Propose(ReviewProposed),
    BeginRun {
        source_id: u64,
        pipeline: String,
    },
    Observe {
        source_id: u64,
        run: u64,
        items: Vec<Observed>,
    },
    EndRun {
        source_id: u64,
        run: u64,
    },
    Migrate(Step),
    Erase(EraseCommand),
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Id(u64),
    Sequence(u64),
    Run(Run),
}

pub(crate) struct Command {
    pub(crate) action: Action,
    pub(crate) reply: oneshot::Sender<Result<Done, WriteError>>,
}
