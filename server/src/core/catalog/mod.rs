//! The catalog: names, sightings, sources, in SQLite. A view of the log, never the truth: it stores the
//! sequence it has applied and is made again from the log when it is missing, damaged
//! or of another log.

mod alert_read;
mod alerts;
mod compare;
mod edits;
mod erasures;
mod facts;
mod history;
mod migration;
mod read;
mod repair;
mod review;
mod seal;
#[cfg(test)]
mod versions;
mod write;

use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use alert_read::{AlertQuery, AlertRow, AlertRuleRow};
pub(crate) use alerts::{Confirm, Near, OpenAlert, RuleRow, Seen};
pub(crate) use edits::name_key;
pub(crate) use erasures::Doomed;
pub use erasures::ErasurePlace;
pub use facts::FactQuery;
pub use history::{EditPlace, Recorded};
pub use migration::{Lost, Pending, Progress};
pub use read::{Counts, ExemplarRow, IdentityQuery, SightingKey, SightingQuery, SourceRow};
pub use review::{Proposed, ReviewItem};
pub(crate) use write::{
    CatalogWriter, Earlier, IdentityFacts, RequestKind, TrackRow, etag, key_run,
};

/// Raised whenever the tables change: an older catalog is made again.
pub(crate) const SCHEMA_VERSION: i64 = 7;
/// Idle read connections kept.
const READERS_KEPT_MAX: usize = 16;

pub(crate) const SCHEMA: &str = "
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  log_id TEXT NOT NULL, epoch INTEGER NOT NULL, applied_sequence INTEGER NOT NULL,
  last_source_id INTEGER NOT NULL, last_track_id INTEGER NOT NULL,
  last_identity_id INTEGER NOT NULL, last_exemplar_id INTEGER NOT NULL,
  last_fact_id INTEGER NOT NULL, last_key INTEGER NOT NULL);
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, uri TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
  realtime INTEGER NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
  position_us INTEGER NOT NULL, created_us INTEGER NOT NULL, complete_up_to_us INTEGER,
  complete_up_to_frame INTEGER NOT NULL, run INTEGER NOT NULL, pipeline TEXT NOT NULL,
  sequence INTEGER NOT NULL);
CREATE INDEX sources_uri ON sources (uri);
CREATE TABLE identities (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, created_us INTEGER NOT NULL,
  edit_sequence INTEGER NOT NULL, track_count INTEGER NOT NULL, exemplar_count INTEGER NOT NULL,
  screen_us INTEGER NOT NULL, first_seen_us INTEGER, last_seen_us INTEGER,
  cover_exemplar_id INTEGER NOT NULL, cover_quality REAL NOT NULL,
  name_key TEXT NOT NULL DEFAULT '', external_id TEXT NOT NULL DEFAULT '',
  state INTEGER NOT NULL DEFAULT 1, confirmed INTEGER NOT NULL DEFAULT 0,
  photo_count INTEGER NOT NULL DEFAULT 0, seal INTEGER NOT NULL DEFAULT 0);
CREATE INDEX identities_name ON identities (name_key) WHERE name_key <> '';
CREATE INDEX identities_external ON identities (external_id) WHERE external_id <> '';
CREATE TABLE metadata (
  identity_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (identity_id, key)) WITHOUT ROWID;
CREATE TABLE edits (
  sequence INTEGER PRIMARY KEY, undoes INTEGER NOT NULL, undone_by INTEGER,
  seal INTEGER NOT NULL);
CREATE TABLE edit_identities (
  identity_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY (identity_id, sequence)) WITHOUT ROWID;
CREATE INDEX edit_identities_sequence ON edit_identities (sequence);
CREATE TABLE facts (
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, track_id INTEGER NOT NULL,
  identity_id INTEGER NOT NULL, other_track_id INTEGER NOT NULL,
  other_identity_id INTEGER NOT NULL, sequence INTEGER NOT NULL);
CREATE INDEX facts_track ON facts (track_id);
CREATE INDEX facts_identity ON facts (identity_id);
CREATE INDEX facts_other_track ON facts (other_track_id);
CREATE INDEX facts_other_identity ON facts (other_identity_id);
CREATE TABLE redirects (identity_id INTEGER PRIMARY KEY, into_id INTEGER NOT NULL);
CREATE INDEX redirects_into ON redirects (into_id);
CREATE TABLE proposals (
  sequence INTEGER NOT NULL, identity_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL,
  cosine REAL NOT NULL, decided INTEGER NOT NULL,
  PRIMARY KEY (identity_id, candidate_id)) WITHOUT ROWID;
CREATE INDEX proposals_sequence ON proposals (sequence);
CREATE INDEX proposals_candidate ON proposals (candidate_id);
CREATE TABLE proposal_tracks (
  sequence INTEGER NOT NULL, track_id INTEGER NOT NULL,
  PRIMARY KEY (sequence, track_id)) WITHOUT ROWID;
CREATE INDEX proposal_tracks_track ON proposal_tracks (track_id);
CREATE TABLE tracks (
  id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL, run INTEGER NOT NULL, key INTEGER NOT NULL,
  revision INTEGER NOT NULL, closed INTEGER NOT NULL, start_us INTEGER NOT NULL,
  end_us INTEGER NOT NULL, start_frame INTEGER NOT NULL, end_frame INTEGER NOT NULL,
  wall_start_us INTEGER NOT NULL, identity_id INTEGER NOT NULL, best_exemplar_id INTEGER NOT NULL,
  exemplar_count INTEGER NOT NULL, joined REAL NOT NULL, attributes BLOB,
  decided_sequence INTEGER NOT NULL, face_count INTEGER NOT NULL, seal INTEGER NOT NULL,
  erased INTEGER NOT NULL);
CREATE INDEX tracks_erased ON tracks (id) WHERE erased = 1;
CREATE UNIQUE INDEX tracks_key ON tracks (source_id, run, key);
CREATE INDEX tracks_identity ON tracks (identity_id, wall_start_us, start_us, id);
CREATE INDEX tracks_wall ON tracks (wall_start_us, start_us, id);
CREATE INDEX tracks_source ON tracks (source_id, start_us);
CREATE TABLE retracted_tracks (
  track_id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL, run INTEGER NOT NULL,
  key INTEGER NOT NULL, identity_id INTEGER NOT NULL, seal INTEGER NOT NULL,
  wall_start_us INTEGER NOT NULL, wall_end_us INTEGER NOT NULL);
CREATE INDEX retracted_tracks_identity ON retracted_tracks (identity_id);
CREATE INDEX retracted_tracks_source ON retracted_tracks (source_id, wall_start_us);
CREATE TABLE erased_tracks (
  track_id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL, run INTEGER NOT NULL,
  key INTEGER NOT NULL);
CREATE INDEX erased_tracks_key ON erased_tracks (source_id, run, key);
CREATE TABLE erasures (
  sequence INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, ended_sequence INTEGER);
CREATE INDEX erasures_pending ON erasures (sequence) WHERE ended_sequence IS NULL;
CREATE TABLE decisions (
  track_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY (track_id, sequence)) WITHOUT ROWID;
CREATE TABLE exemplars (
  id INTEGER PRIMARY KEY, track_id INTEGER NOT NULL, number INTEGER NOT NULL, quality REAL NOT NULL,
  crop BLOB, loose_crop BLOB, pass INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0);
CREATE INDEX exemplars_track ON exemplars (track_id);
CREATE INDEX exemplars_pass ON exemplars (pass, lost);
CREATE TABLE contracts (sequence INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE requests (
  request_id TEXT PRIMARY KEY, kind INTEGER NOT NULL, sequence INTEGER NOT NULL,
  result_id INTEGER NOT NULL);
CREATE TABLE alert_rules (
  id INTEGER PRIMARY KEY, created_us INTEGER NOT NULL, sequence INTEGER NOT NULL,
  since INTEGER NOT NULL, rule BLOB, delivered INTEGER NOT NULL, gone INTEGER NOT NULL);
CREATE TABLE alerts (
  sequence INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, rule_id INTEGER NOT NULL,
  kind INTEGER NOT NULL, person_id INTEGER NOT NULL, track_id INTEGER NOT NULL,
  source_id INTEGER NOT NULL, at_us INTEGER NOT NULL, open INTEGER NOT NULL, raised BLOB NOT NULL);
CREATE INDEX alerts_person ON alerts (person_id, rule_id, at_us);
CREATE INDEX alerts_rule ON alerts (rule_id, sequence);
CREATE INDEX alerts_track ON alerts (track_id);
CREATE INDEX alerts_open ON alerts (sequence) WHERE open = 1;
";

/// Why the catalog could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// SQLite refused.
    #[error(
        "the catalog cannot be used: {0}; it is a view: delete it and start again to have it made anew"
    )]
    Sqlite(#[from] rusqlite::Error),
    /// It has seen records that the log does not have.
    #[error(
        "the log ends at record {durable}, but the catalog has seen record {applied}: what came last was lost or \
         taken away. Restore the log's folder from a backup; to go on without these records, run `rollcalld check \
         --repair --accept-loss`"
    )]
    AheadOfLog {
        /// The last record that it has seen.
        applied: u64,
        /// The last one that there is.
        durable: u64,
    },
    /// A number in it is out of range.
    #[error(
        "the catalog holds an impossible {what}; delete it and start again to have it made anew"
    )]
    Impossible {
        /// Which value.
        what: &'static str,
    },
}

impl CatalogError {
    /// Whether there is no room left on its disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::AheadOfLog { .. } | Self::Impossible { .. } => false,
        }
    }
}

/// Readers of the catalog; cheap to clone, one connection a concurrent read.
#[derive(Clone, Debug)]
pub struct Catalog {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Catalog {
    pub(crate) fn open(path: &Path) -> Result<Self, CatalogError> {
        let catalog = Self {
            path: path.to_owned(),
            idle: Arc::default(),
        };
        let connection = catalog.connect()?;
        catalog.give_back(connection);
        Ok(catalog)
    }

    /// Runs `read` on a connection inside one transaction: it sees one state throughout.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let transaction = connection.transaction()?;
        let result = read(&transaction);
        drop(transaction);
        self.give_back(connection);
        result
    }

    fn connect(&self) -> Result<Connection, CatalogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_KEPT_MAX {
            idle.push(connection);
        }
    }
}

/// SQLite keeps signed 64-bit integers; ids, sequences and keys are stored bit for bit.
pub(crate) fn sql(value: u64) -> i64 {
    value.cast_signed()
}

/// The other way round.
pub(crate) fn unsql(value: i64) -> u64 {
    value.cast_unsigned()
}
