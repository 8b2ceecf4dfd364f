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
use super::catalog::{CatalogError, RequestKind};
use super::command::WriteError;
use super::writer::{Refusal, record, repeated};
use super::{Core, SYSTEM, hri, index_folder};
use crate::core::CoreOptions;
use rollcall_index::TrackId;
use rollcall_log::record::{
    AlertRuleChanged, BlobRef, Body, EditKind, Edited, ErasureBegun, ErasureEnded, ErasureScope,
    ProfileChange,
};
use rollcall_log::{AppendError, BlobError, EraseError, LogReader};

pub(crate) use keys::assign_keys;
pub use traces::{Traces, traces};

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
    /// What was erased after this copy of the log was made: its keys are gone.
    KeysGone,
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
    /// Payloads of an erasure that was begun are overwritten.
    Overwrite {
        erasure: u64,
        blobs: Vec<BlobRef>,
    },
    /// The rest of it is removed; its payloads are overwritten.
    Finish {
        erasure: u64,
        traces: Traces,
    },
}

/// Payloads that are overwritten at a time: others have their turn in between.
const OVERWRITTEN_AT_ONCE: usize = 1000;

/// Carries out a command: the record that began an erasure, or the one that ended it.
pub(super) fn carry_out(
    truth: &mut Truth,
    options: &CoreOptions,
    command: EraseCommand,
) -> Result<u64, Refusal> {
    match command {
        EraseCommand::Begin(erasure) => begin(truth, erasure),
        EraseCommand::Overwrite { erasure, blobs } => {
            let erased = truth.log.erase_blobs(&blobs);
            erased.map_err(|error| not_erased(erasure, error))?;
            Ok(erasure)
        }
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
            ..AlertRuleChanged::default()
        };
        let body = Body::AlertRuleChanged(changed);
        truth.write(record(SYSTEM, "", body), Vec::new())?;
    }
    // What is said of others by a merge that was undone is said anew, under a key that stays.
    for (identity, profile) in plan::said_alike(truth, &planned)? {
        planned.keys.push(truth.catalog.identity_key(identity)?);
        let change = ProfileChange {
            identity_id: identity,
            before: Some(profile.clone()),
            after: Some(profile),
            key: truth.log.new_key()?,
            ..ProfileChange::default()
        };
        let said = Edited {
            kind: EditKind::Update.into(),
            profiles: vec![change],
            ..Edited::default()
        };
        truth.write(record(SYSTEM, "", Body::Edited(said)), Vec::new())?;
    }
    planned.reason = erasure.reason;
    let body = Body::ErasureBegun(planned);
    Ok(truth.write(
        record(&erasure.author, &erasure.request_id, body),
        Vec::new(),
    )?)
}

/// Begins to erase the photos of an alert rule that was deleted.
pub(super) fn photos(truth: &mut Truth, rule: u64, blobs: Vec<BlobRef>) -> Result<(), Refusal> {
    let mut keys: Vec<u64> = blobs.iter().map(|blob| blob.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| *key != 0);
    let begun = ErasureBegun {
        scope: ErasureScope::Rule.into(),
        keys,
        blobs,
        last_exemplar_id: truth.catalog.ids().exemplar,
        first_sequence: truth.log.appended_sequence(),
        reason: format!("alert rule {rule} was deleted"),
        ..ErasureBegun::default()
    };
    truth.write(record(SYSTEM, "", Body::ErasureBegun(begun)), Vec::new())?;
    Ok(())
}

/// Removes what is left on disk, looks for it, and writes down that it is gone.
fn finish(
    truth: &mut Truth,
    options: &CoreOptions,
    erasure: u64,
    traces: &Traces,
) -> Result<u64, Refusal> {
    let pending = truth.catalog.erasures_pending()?;
    if !pending.iter().any(|place| place.sequence == erasure) {
        let ended = truth.catalog.erasure_end(erasure)?;
        return Ok(ended.ok_or(WriteError::ErasureNotFound { id: erasure })?);
    }
    let Some(begun) = begun_at(truth, erasure)? else {
        return Err(WriteError::ErasureNotFound { id: erasure }.into());
    };
    let unfinished = |what: String| WriteError::ErasureUnfinished { id: erasure, what };
    // Everything else must be durable before anything is destroyed; the catalog cannot be scrubbed within a transaction.
    let sequence = truth.log.sync().map_err(Failure::Log)?;
    truth.catalog.commit(sequence)?;
    let destroyed = truth.log.destroy_keys(&begun.keys);
    destroyed.map_err(|error| not_erased(erasure, EraseError::Append(error)))?;
    for index in std::iter::once(&mut truth.index).chain(&mut truth.other) {
        let written = index.rewrite();
        written
            .map_err(|error| unfinished(format!("the index cannot be written anew: {error}")))?;
    }
    index_folder::sweep(&options.data, truth.catalog.contracts()).map_err(unfinished)?;
    hri::go_over(truth, options)?;
    if !truth.catalog.scrub()? {
        return Err(unfinished("the catalog's journal is in use".to_owned()).into());
    }
    let mut left = keys_left(&truth.log.reader(), &begun);
    left.extend(views_left(truth, &begun)?);
    if let Some(what) = left.into_iter().next() {
        return Err(unfinished(what).into());
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

/// Something could not be overwritten. After some failures the log must be opened again; after others it goes on.
fn not_erased(erasure: u64, error: EraseError) -> Refusal {
    match error {
        EraseError::Append(error @ AppendError::Poisoned { .. }) => Refusal::Writer(error.into()),
        EraseError::Append(_) | EraseError::Blob(_) => {
            let what = error.to_string();
            WriteError::ErasureUnfinished { id: erasure, what }.into()
        }
    }
}

fn begun_at(truth: &Truth, sequence: u64) -> Result<Option<ErasureBegun>, Failure> {
    let body = truth.record(sequence)?.and_then(|record| record.body);
    Ok(match body {
        Some(Body::ErasureBegun(begun)) => Some(begun),
        Some(_) | None => None,
    })
}

/// Keys that were to be destroyed and are not known to be, in words.
pub(crate) fn keys_left(log: &LogReader, begun: &ErasureBegun) -> Vec<String> {
    let left = |key: &u64| match log.is_destroyed(*key) {
        Ok(true) => None,
        Ok(false) => Some(format!("key {key} can still be read")),
        Err(error) => Some(format!("key {key}: {error}")),
    };
    begun.keys.iter().filter_map(left).collect()
}

/// What the indexes and the catalog still hold of what was to go, in words.
pub(crate) fn views_left(truth: &Truth, begun: &ErasureBegun) -> Result<Vec<String>, CatalogError> {
    let mut left = Vec::new();
    for index in std::iter::once(&truth.index).chain(&truth.other) {
        let state = index.newest();
        let faces = |track: &&u64| state.track_faces(TrackId::new(**track)).next().is_some();
        let tracks = begun.track_ids.iter().filter(faces);
        left.extend(tracks.map(|track| format!("faces of track {track} are in the index")));
    }
    let rows = truth.catalog.left_of(begun)?;
    if rows > 0 {
        left.push(format!("{rows} rows are in the catalog"));
    }
    Ok(left)
}

/// Those of some payloads that are not overwritten yet. One that is damaged, or whose file is missing, cannot be.
fn to_overwrite(log: &LogReader, blobs: &[BlobRef]) -> Result<Vec<BlobRef>, BlobError> {
    let mut there = Vec::new();
    for blob in blobs {
        match log.is_overwritten(blob) {
            Ok(true) => {}
            Ok(false) => there.push(blob.clone()),
            Err(error @ (BlobError::Missing { .. } | BlobError::Corrupt { .. })) => {
                tracing::warn!(%error, "a payload to be erased is not there");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

impl Core {
    /// Goes through all that is left of an erasure that was begun, and returns the record that ended it. Reads the log
    /// from the first record about whom it forgets, and holds the writer for as long as it takes to write the index and
    /// the catalog anew.
    ///
    /// # Errors
    /// [`WriteError::ErasureUnfinished`]: it stays under way, and can be gone on with.
    pub async fn finish_erasure(&self, erasure: u64) -> Result<u64, WriteError> {
        let unfinished = |what: String| WriteError::ErasureUnfinished { id: erasure, what };
        let log = self.log();
        let found = tokio::task::spawn_blocking(move || {
            let record = log.record(erasure).map_err(|error| error.to_string())?;
            let Some(Body::ErasureBegun(begun)) = record.and_then(|record| record.body) else {
                return Err(format!("record {erasure} begins no erasure"));
            };
            let traces = traces(&log, &begun).map_err(|error| error.to_string())?;
            let there = to_overwrite(&log, &traces.blobs).map_err(|error| error.to_string())?;
            Ok::<_, String>((traces, there))
        });
        let found = found.await.map_err(|error| unfinished(error.to_string()))?;
        let (traces, there) = found.map_err(unfinished)?;
        for some in there.chunks(OVERWRITTEN_AT_ONCE) {
            let blobs = some.to_vec();
            self.erase_command(EraseCommand::Overwrite { erasure, blobs })
                .await?;
        }
        let log = self.log();
        let left = tokio::task::spawn_blocking(move || to_overwrite(&log, &there)).await;
        let left = left.map_err(|error| unfinished(error.to_string()))?;
        let left = left.map_err(|error| unfinished(error.to_string()))?;
        if let Some(BlobRef {
            segment, offset, ..
        }) = left.first()
        {
            let what = format!("blob segment {segment}, byte {offset} is still there");
            return Err(unfinished(what));
        }
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
        ErasureScope::Rule => "rule",
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
