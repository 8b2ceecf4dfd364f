//! Forgetting: people and sightings are erased for ever, everywhere in the data folder.
//!
//! An erasure is begun by one record, from which on what it names counts for nothing: it is gone from searches, lists
//! and events at once. What is left of it on disk goes after that, in this order: payloads are overwritten, keys are
//! destroyed (and with them what records and copies hold sealed), the index is written anew from what is left in it,
//! the catalog is scrubbed; then all of it is looked for, and an `ErasureEnded` says that it is gone. Cut off anywhere,
//! it is gone through again.

mod keys;
mod plan;
mod traces;

use super::apply::{Failure, Truth};
use super::catalog::RequestKind;
use super::command::WriteError;
use super::writer::{Refusal, record, repeated};
use super::{Core, SYSTEM, hri};
use crate::core::CoreOptions;
use rollcall_index::TrackId;
use rollcall_log::record::{AlertRuleChanged, Body, ErasureBegun, ErasureEnded, ErasureScope};
use rollcall_log::{BlobError, EraseError, LogReader};

pub(crate) use keys::assign_keys;
pub use traces::{Traces, TracesError, traces};

/// What is to be forgotten.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Whom or what.
    pub what: What,
    /// Who asks for it.
    pub author: String,
    /// Why, in the author's words; may be empty. It stays.
    pub reason: String,
    /// Empty, or an id under which the request is carried out once only.
    pub request_id: String,
}

/// Whom or what an erasure is about. Refused with [`WriteError::NothingToErase`] where nothing matches, and with
/// [`WriteError::EditTooLarge`].
#[derive(Clone, Debug)]
pub enum What {
    /// A person: all sightings, photos, names, and whoever was absorbed. Refused with
    /// [`WriteError::IdentityNotFound`], [`WriteError::IdentityErased`], [`WriteError::EtagMismatch`].
    Identity {
        /// Any id that resolves to them.
        id: u64,
        /// When given, the identity must still have it.
        etag: Option<String>,
    },
    /// Single sightings or photos. Refused with [`WriteError::TrackNotFound`].
    Tracks(Vec<u64>),
    /// The sightings that these faces are of: a face alone is not forgotten, its track says as much. Refused with
    /// [`WriteError::FaceNotFound`].
    Faces(Vec<u64>),
    /// What a source saw within a time. Refused with [`WriteError::SourceNotFound`].
    Source {
        /// Which source.
        id: u64,
        /// From this wall clock on, Unix microseconds.
        from_us: i64,
        /// Up to this one, which is not included.
        to_us: i64,
    },
    /// What is older than it may be kept.
    Outlived(Vec<Outlived>),
}

/// What of some sources may be kept no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlived {
    /// Which source; 0: all but those in `but`.
    pub source: u64,
    /// Sources with a rule of their own.
    pub but: Vec<u64>,
    /// Sightings of people who have a name, or of those who have none.
    pub named: bool,
    /// Closed sightings that ended before this wall clock, Unix microseconds.
    pub before_us: i64,
}

/// What the writer is asked about erasures.
#[derive(Clone, Debug)]
pub(crate) enum EraseCommand {
    Begin(Erasure),
    /// Goes on with one that was begun: `traces` are what its tracks have in the log.
    Finish {
        erasure: u64,
        traces: Traces,
    },
}

/// Carries out a command: the record that began an erasure, or the one that ended it.
pub(super) fn carry_out(
    truth: &mut Truth,
    options: &CoreOptions,
    command: EraseCommand,
) -> Result<u64, Refusal> {
    match command {
        EraseCommand::Begin(erasure) => begin(truth, erasure),
        EraseCommand::Finish { erasure, traces } => finish(truth, options, erasure, &traces),
    }
}

fn begin(truth: &mut Truth, erasure: Erasure) -> Result<u64, Refusal> {
    if let Some(earlier) = repeated(truth, &erasure.request_id, RequestKind::Erase)? {
        return Ok(earlier.sequence);
    }
    let mut planned = plan::plan(truth, &erasure.what)?;
    // Rules that watch for nobody else go; the others go on without them.
    for (rule, before, after) in plan::rules(truth, &planned)? {
        if after.is_none() {
            planned.rule_ids.push(rule);
            planned
                .keys
                .extend(Some(before.key).filter(|key| *key != 0));
        }
        let changed = AlertRuleChanged {
            rule_id: rule,
            before: Some(before),
            after,
            reason: "whom it watches for was erased".to_owned(),
        };
        truth.write(
            record(SYSTEM, "", Body::AlertRuleChanged(changed)),
            Vec::new(),
        )?;
    }
    planned.reason = erasure.reason;
    let body = Body::ErasureBegun(planned);
    Ok(truth.write(
        record(&erasure.author, &erasure.request_id, body),
        Vec::new(),
    )?)
}

/// Removes what is left on disk, looks for it, and writes down that it is gone.
fn finish(
    truth: &mut Truth,
    options: &CoreOptions,
    erasure: u64,
    traces: &Traces,
) -> Result<u64, Refusal> {
    let ended = truth.catalog.erasures_pending()?;
    if !ended.iter().any(|place| place.sequence == erasure) {
        return Ok(erasure);
    }
    let Some(begun) = begun_at(truth, erasure)? else {
        return Err(WriteError::ErasureNotFound { id: erasure }.into());
    };
    // Everything else must be durable before anything is destroyed, and readers must not miss what is overwritten.
    commit_before(truth)?;
    overwrite(truth, traces)?;
    truth.log.destroy_keys(&begun.keys).map_err(Failure::Log)?;
    for index in std::iter::once(&mut truth.index).chain(&mut truth.other) {
        if let Err(error) = index.rewrite() {
            let what = format!("the index cannot be written anew: {error}");
            return Err(WriteError::ErasureUnfinished { id: erasure, what }.into());
        }
    }
    hri::go_over(truth, options)?;
    if !truth.catalog.scrub()? {
        let what = "the catalog's journal is in use".to_owned();
        return Err(WriteError::ErasureUnfinished { id: erasure, what }.into());
    }
    if let Some(what) = left(truth, &begun, traces)? {
        return Err(WriteError::ErasureUnfinished { id: erasure, what }.into());
    }
    let count = |all: usize| u64::try_from(all).unwrap_or(u64::MAX);
    let body = Body::ErasureEnded(ErasureEnded {
        erasure,
        tracks: count(begun.track_ids.len()),
        faces: traces.faces,
        blobs: count(traces.blobs.len()),
        blob_bytes: traces.blobs.iter().map(|it| u64::from(it.length)).sum(),
        keys: count(begun.keys.len()),
    });
    Ok(truth.write(record(SYSTEM, "", body), Vec::new())?)
}

fn begun_at(truth: &Truth, sequence: u64) -> Result<Option<ErasureBegun>, Failure> {
    let body = truth.record(sequence)?.and_then(|record| record.body);
    Ok(match body {
        Some(Body::ErasureBegun(begun)) => Some(begun),
        Some(_) | None => None,
    })
}

/// Commits what the commands before this one did: the log and the catalog cannot be scrubbed within a transaction.
fn commit_before(truth: &mut Truth) -> Result<(), Failure> {
    let sequence = truth.log.sync()?;
    truth.catalog.commit(sequence)?;
    Ok(())
}

fn overwrite(truth: &mut Truth, traces: &Traces) -> Result<(), Failure> {
    let reader = truth.log.reader();
    let there: Vec<_> = traces
        .blobs
        .iter()
        .filter(|blob| match reader.is_overwritten(blob) {
            Ok(overwritten) => !overwritten,
            // What lies there is not this blob any more: there is nothing to overwrite.
            Err(error) => {
                tracing::warn!(%error, "a blob to be erased is not there");
                false
            }
        })
        .cloned()
        .collect();
    match truth.log.erase_blobs(&there) {
        Ok(()) => Ok(()),
        Err(EraseError::Append(error)) => Err(error.into()),
        Err(EraseError::Blob(error)) => {
            tracing::warn!(%error, "a blob to be erased went away");
            Ok(())
        }
    }
}

/// What is still there of what was to go.
fn left(truth: &Truth, begun: &ErasureBegun, traces: &Traces) -> Result<Option<String>, Failure> {
    let reader = truth.log.reader();
    if let Some(key) = begun.keys.iter().find(|key| !is_gone(&reader, **key)) {
        return Ok(Some(format!("key {key} can still be read")));
    }
    let readable = traces.blobs.iter().find(|blob| reader.blob(blob).is_ok());
    if let Some(blob) = readable {
        let (segment, offset) = (blob.segment, blob.offset);
        let what = format!("blob segment {segment}, byte {offset} can still be read");
        return Ok(Some(what));
    }
    for index in std::iter::once(&truth.index).chain(&truth.other) {
        let face = |track: &u64| index.newest().track_faces(TrackId::new(*track)).next();
        if let Some(face) = begun.track_ids.iter().find_map(face) {
            return Ok(Some(format!("face {} is still in the index", face.face)));
        }
    }
    match truth.catalog.left_of(begun)? {
        0 => Ok(None),
        rows => Ok(Some(format!("{rows} rows are still in the catalog"))),
    }
}

/// Whether nothing is left of a key. One that never was leaves nothing either.
fn is_gone(reader: &LogReader, key: u64) -> bool {
    match reader.is_destroyed(key) {
        Ok(gone) => gone,
        Err(BlobError::Missing { .. }) => true,
        Err(error) => {
            tracing::error!(key, %error, "whether a key is destroyed cannot be told");
            false
        }
    }
}

impl Core {
    /// Goes through all that is left of an erasure that was begun, and returns the record that ended it. Reads the log
    /// from the first record about whom it forgets. Blocking for that long.
    ///
    /// # Errors
    /// [`WriteError::ErasureUnfinished`]: it stays under way, and can be gone on with.
    pub async fn finish_erasure(&self, erasure: u64) -> Result<u64, WriteError> {
        let log = self.log();
        let found = tokio::task::spawn_blocking(move || traces(&log, erasure)).await;
        let unfinished = |what: String| WriteError::ErasureUnfinished { id: erasure, what };
        let traces = found.map_err(|error| unfinished(error.to_string()))?;
        let traces = traces.map_err(|error| unfinished(error.to_string()))?;
        self.erase_command(EraseCommand::Finish { erasure, traces })
            .await
    }
}

/// What an erasure is about, in words that metrics and logs use.
pub(crate) fn scope_name(scope: ErasureScope) -> &'static str {
    match scope {
        ErasureScope::Unspecified => "unspecified",
        ErasureScope::Identity => "identity",
        ErasureScope::Tracks => "tracks",
        ErasureScope::Source => "source",
        ErasureScope::Retention => "retention",
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
