//! The writer's connection: applies records, and answers what the writer must know to decide.

use super::erasures::last_key;
use super::{CatalogError, Progress, SCHEMA, SCHEMA_VERSION, seal, sql, unsql};
use crate::core::attributes;
use crate::core::contracts::Contracts;
use prost::Message as _;
use rollcall_log::record::{
    Attribute, BlobRef, Body, EditKind, Exemplar, MigrationOutcome, Record, SourceAdded,
    SourceKind, SourceProgress, SourceRunStarted, SourceState, SourceStateChanged, TrackObserved,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A track as the writer needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrackRow {
    pub(crate) id: u64,
    pub(crate) revision: u32,
    pub(crate) closed: bool,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) start_frame: i64,
    pub(crate) end_frame: i64,
    pub(crate) wall_start_us: i64,
    pub(crate) identity: u64,
    pub(crate) best_exemplar: u64,
    pub(crate) exemplars: u32,
    pub(crate) joined: f32,
    pub(crate) key: u64,
    pub(crate) attributes: Vec<Attribute>,
    /// Faces seen on it, kept or not.
    pub(crate) faces: u32,
    /// Its key; 0: it was recorded before there were any.
    pub(crate) seal: u64,
}

/// A source as the writer needs it.
#[derive(Clone, Debug)]
pub(crate) struct SourceFacts {
    pub(crate) kind: SourceKind,
    pub(crate) state: SourceState,
    pub(crate) run: u64,
    pub(crate) pipeline: String,
    pub(crate) complete_up_to_us: Option<i64>,
    pub(crate) complete_up_to_frame: i64,
}

/// How far back it is looked for a track that may still be on screen.
pub(super) const LONGEST_TRACK_US: i64 = 3_600_000_000;

/// An identity as the writer needs it.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFacts {
    pub(crate) id: u64,
    /// People have said something about it: it is not the machine's to give up.
    pub(crate) held: bool,
    /// Enrolled photos among them.
    pub(crate) tracks: u64,
    pub(crate) edit_sequence: u64,
    pub(crate) created_us: i64,
}

/// What a request id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    AddSource,
    Edit(EditKind),
    CreateAlertRule,
    UpdateAlertRule,
    DeleteAlertRule,
    StartMigration,
    CancelMigration,
    RollBackMigration,
    FinishMigration,
    Erase,
}

impl RequestKind {
    fn of(body: Option<&Body>) -> Option<Self> {
        match body {
            Some(Body::SourceAdded(_)) => Some(Self::AddSource),
            Some(Body::IdentityRenamed(_)) => Some(Self::Edit(EditKind::Update)),
            Some(Body::ErasureBegun(_)) => Some(Self::Erase),
            Some(Body::Edited(edited)) => Some(Self::Edit(edited.kind())),
            Some(Body::AlertRuleChanged(change)) => Some(match (&change.before, &change.after) {
                (None, _) => Self::CreateAlertRule,
                (Some(_), Some(_)) => Self::UpdateAlertRule,
                (Some(_), None) => Self::DeleteAlertRule,
            }),
            Some(Body::MigrationStarted(started)) => Some(if started.rolls_back {
                Self::RollBackMigration
            } else {
                Self::StartMigration
            }),
            Some(Body::MigrationEnded(ended)) => match ended.outcome() {
                MigrationOutcome::Done => Some(Self::FinishMigration),
                MigrationOutcome::Cancelled => Some(Self::CancelMigration),
                MigrationOutcome::RolledBack | MigrationOutcome::Unspecified => None,
            },
            None
            | Some(
                Body::CollectionOpened(_)
                | Body::ExemplarsReembedded(_)
                | Body::MigrationSwitched(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackObserved(_)
                | Body::TrackRetracted(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_),
            ) => None,
        }
    }

    pub(super) fn number(self) -> i32 {
        match self {
            Self::AddSource => 0,
            Self::Edit(kind) => kind.into(),
            // Far from the kinds of edits, which grow.
            Self::CreateAlertRule => 1001,
            Self::UpdateAlertRule => 1002,
            Self::DeleteAlertRule => 1003,
            Self::StartMigration => 101,
            Self::CancelMigration => 102,
            Self::RollBackMigration => 103,
            Self::FinishMigration => 104,
            Self::Erase => 105,
        }
    }
}

/// A request carried out before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    /// Whether it was of the kind that is asked for now.
    pub(crate) same_kind: bool,
    pub(crate) sequence: u64,
    /// The source or alert rule that it added; 0 for any other.
    pub(crate) result: u64,
}

/// The last ids given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastIds {
    pub(crate) source: u64,
    pub(crate) track: u64,
    pub(crate) identity: u64,
    pub(crate) exemplar: u64,
    pub(crate) fact: u64,
    /// The highest that any record has named.
    pub(crate) key: u64,
}

/// Where a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrackPlace {
    pub(crate) identity: u64,
    /// The record of the last decision that gave it an identity.
    pub(crate) decided: u64,
}

/// The one connection that writes; between [`CatalogWriter::begin`] and [`CatalogWriter::commit`] readers
/// see nothing of what it does.
#[derive(Debug)]
pub(crate) struct CatalogWriter {
    pub(super) db: Connection,
    open: bool,
    pub(super) ids: LastIds,
    /// Hidden identities, as the table has them.
    pub(super) hidden: HashSet<u64>,
    /// Identities that bear a name.
    pub(super) named: HashSet<u64>,
    /// What the records of the table of contracts come to, and these.
    pub(super) contracts: Arc<Contracts>,
    pub(super) contract_records: Vec<Record>,
    /// How far the last migration is, by the table of exemplars.
    pub(super) progress: Progress,
    /// Why the one that was there before is of no use.
    pub(crate) made_anew: Option<String>,
}

impl CatalogWriter {
    /// Opens the catalog of this log, or makes it anew when it is not of this log, of another version, not what it was
    /// when it was sealed, or unreadable. Returns the sequence it has applied.
    ///
    /// # Errors
    /// [`CatalogError::AheadOfLog`]; whatever else keeps it from being made.
    pub(crate) fn open(
        path: &Path,
        log_id: &str,
        epoch: u64,
        durable: u64,
    ) -> Result<(Self, u64), CatalogError> {
        let why = match Self::open_existing(path, log_id, epoch, durable) {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(why)) => why.map(str::to_owned),
            Err(error @ CatalogError::AheadOfLog { .. }) => return Err(error),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = &why {
            tracing::warn!(why, "the catalog is made anew from the log");
        }
        for suffix in ["", "-wal", "-shm", "-seal", "-seal.tmp"] {
            // Absent already is as good as removed; any other failure shows at once below.
            let _ = std::fs::remove_file(seal::beside(path, suffix));
        }
        // Its journal gets the same permissions. One that cannot be made shows at once below.
        let mut private = std::fs::OpenOptions::new();
        let _ = private.write(true).create(true).mode(0o600).open(path);
        let mut anew = Self::begin_in(connect(path)?, log_id, epoch)?;
        anew.made_anew = why;
        Ok((anew, 0))
    }

    /// The tables, empty, for a log.
    pub(super) fn begin_in(db: Connection, log_id: &str, epoch: u64) -> Result<Self, CatalogError> {
        db.execute_batch(&format!(
            "BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};"
        ))?;
        db.execute(
            "INSERT INTO meta VALUES (1, ?1, ?2, 0, 0, 0, 0, 0, 0, 0)",
            params![log_id, sql(epoch)],
        )?;
        db.execute_batch("COMMIT")?;
        Ok(Self::empty(db))
    }

    /// The catalog as it is; or why it is of no use, unless there is none.
    fn open_existing(
        path: &Path,
        log_id: &str,
        epoch: u64,
        durable: u64,
    ) -> Result<Result<(Self, u64), Option<&'static str>>, CatalogError> {
        if !path.exists() {
            return Ok(Err(None));
        }
        match seal::is_whole(path) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Some("it is not what it was when it was sealed"))),
            // A folder that cannot be written keeps its seal: it shows at once below.
            Err(error) => tracing::warn!(%error, "the catalog's seal cannot be read"),
        }
        let db = connect(path)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != SCHEMA_VERSION {
            return Ok(Err(Some("it is of another version")));
        }
        let (id, of_epoch, applied): (String, i64, i64) = db.query_row(
            "SELECT log_id, epoch, applied_sequence FROM meta",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let health: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if health != "ok" {
            return Ok(Err(Some("SQLite finds it damaged")));
        }
        if id != log_id || unsql(of_epoch) != epoch {
            return Ok(Err(Some("it is of another log")));
        }
        let applied = unsql(applied);
        if applied > durable {
            return Err(CatalogError::AheadOfLog { applied, durable });
        }
        let mut writer = Self::empty(db);
        writer.load_ids()?;
        writer.load_marks()?;
        writer.load_contracts()?;
        Ok(Ok((writer, applied)))
    }

    fn empty(db: Connection) -> Self {
        Self {
            db,
            open: false,
            ids: LastIds::default(),
            hidden: HashSet::new(),
            named: HashSet::new(),
            contracts: Arc::default(),
            contract_records: Vec::new(),
            progress: Progress::default(),
            made_anew: None,
        }
    }

    pub(crate) fn begin(&mut self) -> Result<(), CatalogError> {
        if !self.open {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            self.open = true;
        }
        Ok(())
    }

    /// Makes everything since [`CatalogWriter::begin`] visible, as the state at `sequence`.
    pub(crate) fn commit(&mut self, sequence: u64) -> Result<(), CatalogError> {
        self.begin()?;
        let ids = self.ids;
        self.db
            .prepare_cached(
                "UPDATE meta SET applied_sequence = ?1, last_source_id = ?2, last_track_id = ?3, \
                 last_identity_id = ?4, last_exemplar_id = ?5, last_fact_id = ?6, last_key = ?7",
            )?
            .execute(params![
                sql(sequence),
                sql(ids.source),
                sql(ids.track),
                sql(ids.identity),
                sql(ids.exemplar),
                sql(ids.fact),
                sql(ids.key)
            ])?;
        self.db.execute_batch("COMMIT")?;
        self.open = false;
        Ok(())
    }

    pub(crate) fn ids(&self) -> LastIds {
        self.ids
    }

    fn load_ids(&mut self) -> Result<(), CatalogError> {
        self.ids = self.db.query_row(
            "SELECT last_source_id, last_track_id, last_identity_id, last_exemplar_id, last_fact_id, \
             last_key FROM meta",
            [],
            |row| {
                Ok(LastIds {
                    source: unsql(row.get(0)?),
                    track: unsql(row.get(1)?),
                    identity: unsql(row.get(2)?),
                    exemplar: unsql(row.get(3)?),
                    fact: unsql(row.get(4)?),
                    key: unsql(row.get(5)?),
                })
            },
        )?;
        Ok(())
    }

    /// Applies one record. Records must come in the order of the log.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), CatalogError> {
        self.begin()?;
        match &record.body {
            None => {}
            Some(
                Body::CollectionOpened(_)
                | Body::MigrationStarted(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_),
            ) => self.contract_said(record)?,
            Some(Body::ExemplarsReembedded(batch)) => self.reembedded(batch)?,
            Some(Body::SourceAdded(added)) => self.source_added(record, added)?,
            Some(Body::SourceRunStarted(run)) => self.run_started(record, run)?,
            Some(Body::SourceStateChanged(change)) => self.source_changed(record, change)?,
            Some(Body::SourceProgress(progress)) => self.source_progress(record, progress)?,
            Some(Body::TrackObserved(track)) => self.track_observed(record, track)?,
            Some(Body::TrackRetracted(track)) => {
                self.track_retracted(track.track_id, track.identity_id)?;
            }
            Some(Body::IdentityRenamed(rename)) => self.renamed(record, rename)?,
            Some(Body::Edited(edited)) => self.edited(record, edited)?,
            Some(Body::AlertRuleChanged(change)) => self.rule_changed(record, change)?,
            Some(Body::AlertRaised(raised)) => self.alert_raised(record, raised)?,
            Some(Body::AlertDelivered(delivered)) => self.alert_delivered(delivered)?,
            Some(Body::ReviewProposed(proposed)) => self.review_proposed(record, proposed)?,
            Some(Body::ErasureBegun(begun)) => self.erasure_begun(record, begun)?,
            Some(Body::ErasureEnded(ended)) => self.erasure_ended(record, ended)?,
        }
        self.ids.key = self.ids.key.max(last_key(record));
        let kind = RequestKind::of(record.body.as_ref());
        if let Some(kind) = kind.filter(|_| !record.request_id.is_empty()) {
            let result = match &record.body {
                Some(Body::SourceAdded(added)) => added.source_id,
                Some(Body::AlertRuleChanged(change)) => change.rule_id,
                Some(_) | None => 0,
            };
            self.db
                .prepare_cached("INSERT OR REPLACE INTO requests VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    record.request_id,
                    kind.number(),
                    sql(record.sequence),
                    sql(result)
                ])?;
        }
        Ok(())
    }

    fn source_added(&mut self, record: &Record, added: &SourceAdded) -> Result<(), CatalogError> {
        self.ids.source = self.ids.source.max(added.source_id);
        self.db
            .prepare_cached(
                "INSERT INTO sources VALUES (?1, ?2, ?3, ?4, ?5, ?6, '', '', 0, ?7, NULL, 0, 0, '', ?8)",
            )?
            .execute(params![
                sql(added.source_id),
                added.uri,
                added.name,
                added.kind,
                added.settings.is_some_and(|s| s.realtime),
                i32::from(SourceState::Queued),
                record.time_us,
                sql(record.sequence)
            ])?;
        Ok(())
    }

    fn run_started(&mut self, record: &Record, run: &SourceRunStarted) -> Result<(), CatalogError> {
        self.db
            .prepare_cached(
                "UPDATE sources SET run = ?2, pipeline = ?3, sequence = ?4 WHERE id = ?1",
            )?
            .execute(params![
                sql(run.source_id),
                sql(run.run),
                run.pipeline,
                sql(record.sequence)
            ])?;
        Ok(())
    }

    fn source_changed(
        &mut self,
        record: &Record,
        change: &SourceStateChanged,
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached(
                "UPDATE sources SET state = ?2, reason = ?3, message = ?4, position_us = ?5, \
                 sequence = ?6 WHERE id = ?1",
            )?
            .execute(params![
                sql(change.source_id),
                change.state,
                change.reason,
                change.message,
                change.position_us,
                sql(record.sequence)
            ])?;
        Ok(())
    }

    fn source_progress(
        &mut self,
        record: &Record,
        progress: &SourceProgress,
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached(
                "UPDATE sources SET complete_up_to_us = ?2, complete_up_to_frame = ?3, sequence = ?4 \
                 WHERE id = ?1",
            )?
            .execute(params![
                sql(progress.source_id),
                progress.complete_up_to_us,
                progress.complete_up_to_frame,
                sql(record.sequence)
            ])?;
        Ok(())
    }

    fn track_observed(
        &mut self,
        record: &Record,
        track: &TrackObserved,
    ) -> Result<(), CatalogError> {
        let decision = track.decision.clone().unwrap_or_default();
        let before = self.track(track.track_id)?;
        self.ids.track = self.ids.track.max(track.track_id);
        if decision.identity_id > self.ids.identity {
            self.new_identity(record, decision.identity_id)?;
        }
        let decided = before
            .as_ref()
            .is_none_or(|before| before.identity != decision.identity_id);
        if decided {
            self.note_ambiguous(record, &decision)?;
        }
        let decided = decided.then_some(record.sequence);
        self.put_track(track, decision.identity_id, decided)?;
        if let Some(sequence) = decided {
            self.db
                .prepare_cached("INSERT INTO decisions VALUES (?1, ?2)")?
                .execute([sql(track.track_id), sql(sequence)])?;
        }
        for exemplar in &track.exemplars {
            self.ids.exemplar = self.ids.exemplar.max(exemplar.exemplar_id);
            self.put_exemplar(track.track_id, exemplar)?;
        }
        for dropped in &track.dropped_exemplar_ids {
            self.delete_exemplars("id = ?1", *dropped)?;
        }
        let same = before
            .as_ref()
            .is_none_or(|b| b.identity == decision.identity_id);
        if same && track.dropped_exemplar_ids.is_empty() {
            return self.grow(before.as_ref(), track, decision.identity_id);
        }
        self.recompute(decision.identity_id)?;
        if let Some(before) = before.filter(|b| b.identity != decision.identity_id) {
            self.recompute(before.identity)?;
            if decision.absorbs_previous {
                self.redirect(before.identity, Some(decision.identity_id))?;
                self.alerts_follow(before.identity, decision.identity_id)?;
            }
        }
        Ok(())
    }

    /// A row for an identity that was never there.
    pub(super) fn new_identity(&mut self, record: &Record, id: u64) -> Result<(), CatalogError> {
        self.ids.identity = id;
        self.db
            .prepare_cached(
                "INSERT INTO identities (id, name, created_us, edit_sequence, track_count, \
                 exemplar_count, screen_us, cover_exemplar_id, cover_quality) \
                 VALUES (?1, '', ?2, ?3, 0, 0, 0, 0, -1.0)",
            )?
            .execute(params![sql(id), record.time_us, sql(record.sequence)])?;
        Ok(())
    }

    /// `decided`: the record gave the track its identity.
    pub(super) fn put_track(
        &mut self,
        track: &TrackObserved,
        identity: u64,
        decided: Option<u64>,
    ) -> Result<(), CatalogError> {
        let run = self
            .source(track.source_id)?
            .map_or(0, |s| key_run(s.kind, s.run));
        self.db
            .prepare_cached(
                "INSERT INTO tracks VALUES \
                 (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,ifnull(?17,0),?18,?19,?20) \
                 ON CONFLICT (id) DO UPDATE SET revision = ?5, closed = ?6, end_us = ?8, \
                 end_frame = ?10, identity_id = ?12, best_exemplar_id = ?13, exemplar_count = ?14, \
                 joined = ?15, attributes = ?16, decided_sequence = ifnull(?17, decided_sequence), \
                 face_count = face_count + ?18, seal = max(seal, ?19), \
                 erased = max(erased, ?20)",
            )?
            .execute(params![
                sql(track.track_id),
                sql(track.source_id),
                sql(run),
                sql(track.track_key),
                track.revision,
                track.closed,
                track.start_us,
                track.end_us,
                track.start_frame,
                track.end_frame,
                track.wall_start_us,
                sql(identity),
                sql(track.best_exemplar_id),
                track.exemplar_count,
                track.joined_similarity,
                attributes::to_column(&track.attributes),
                decided.map(sql),
                i64::try_from(track.boxes.len()).unwrap_or(i64::MAX),
                sql(track.key),
                track.erased
            ])?;
        Ok(())
    }

    pub(super) fn put_exemplar(
        &mut self,
        track: u64,
        exemplar: &Exemplar,
    ) -> Result<(), CatalogError> {
        let blob = |reference: &Option<BlobRef>| reference.as_ref().map(BlobRef::encode_to_vec);
        self.db
            .prepare_cached("INSERT INTO exemplars VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)")?
            .execute(params![
                sql(exemplar.exemplar_id),
                sql(track),
                exemplar.number,
                exemplar.quality,
                blob(&exemplar.crop),
                blob(&exemplar.loose_crop)
            ])?;
        self.progress.total += 1;
        Ok(())
    }

    /// The identity's sums after one of its tracks was opened or has grown.
    fn grow(
        &mut self,
        before: Option<&TrackRow>,
        track: &TrackObserved,
        identity: u64,
    ) -> Result<(), CatalogError> {
        let length = track.end_us - track.start_us;
        let length_before = before.map_or(0, |b| b.end_us - b.start_us);
        let best = track.exemplars.iter().max_by(|a, b| {
            a.quality
                .total_cmp(&b.quality)
                .then(b.exemplar_id.cmp(&a.exemplar_id))
        });
        let (cover, quality) = best.map_or((0, -1.0), |e| (e.exemplar_id, e.quality));
        self.db
            .prepare_cached(
                "UPDATE identities SET track_count = track_count + ?2, \
                 exemplar_count = exemplar_count + ?3, screen_us = screen_us + ?4, \
                 first_seen_us = min(ifnull(first_seen_us, ?5), ?5), \
                 last_seen_us = max(ifnull(last_seen_us, ?6), ?6), \
                 cover_exemplar_id = iif(?8 > cover_quality, ?7, cover_exemplar_id), \
                 cover_quality = max(cover_quality, ?8) WHERE id = ?1",
            )?
            .execute(params![
                sql(identity),
                i64::from(before.is_none()),
                i64::try_from(track.exemplars.len()).unwrap_or(i64::MAX),
                length - length_before,
                track.wall_start_us,
                track.wall_start_us + length,
                sql(cover),
                quality
            ])?;
        Ok(())
    }

    /// The identity's sums from its tracks: after one has left it, or a cover was given up.
    pub(super) fn recompute(&mut self, identity: u64) -> Result<(), CatalogError> {
        self.db
            .prepare_cached(
                "UPDATE identities SET (track_count, screen_us, first_seen_us, last_seen_us) = \
                 (SELECT count(*), ifnull(sum(end_us - start_us), 0), min(wall_start_us), \
                 max(wall_start_us + end_us - start_us) FROM tracks WHERE identity_id = ?1 AND \
                 source_id <> 0), (photo_count, exemplar_count) = (SELECT \
                 count(*) FILTER (WHERE source_id = 0), ifnull(sum(exemplar_count), 0) FROM tracks \
                 WHERE identity_id = ?1), \
                 (cover_exemplar_id, cover_quality) = (SELECT ifnull(max(e.id), 0), \
                 ifnull(max(e.quality), -1.0) FROM (SELECT e.id, e.quality FROM exemplars e JOIN \
                 tracks t ON t.id = e.track_id WHERE t.identity_id = ?1 \
                 ORDER BY e.quality DESC, e.id LIMIT 1) e) WHERE id = ?1",
            )?
            .execute([sql(identity)])?;
        Ok(())
    }

    pub(super) fn track_retracted(
        &mut self,
        track: u64,
        identity: u64,
    ) -> Result<(), CatalogError> {
        self.delete_exemplars("track_id = ?1", track)?;
        // It counts no longer, and may have to be erased all the same.
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO retracted_tracks SELECT id, source_id, run, key, \
                 identity_id, seal, wall_start_us, wall_start_us + end_us - start_us FROM tracks \
                 WHERE id = ?1",
            )?
            .execute([sql(track)])?;
        self.db
            .prepare_cached("DELETE FROM decisions WHERE track_id = ?1")?
            .execute([sql(track)])?;
        self.db
            .prepare_cached("DELETE FROM tracks WHERE id = ?1")?
            .execute([sql(track)])?;
        self.recompute(identity)
    }
}

/// What the writer looks up, uncommitted changes included.
impl CatalogWriter {
    pub(crate) fn source(&self, id: u64) -> Result<Option<SourceFacts>, CatalogError> {
        let row = self
            .db
            .prepare_cached(
                "SELECT kind, state, run, pipeline, complete_up_to_us, complete_up_to_frame \
                 FROM sources WHERE id = ?1",
            )?
            .query_row([sql(id)], |row| {
                Ok(SourceFacts {
                    kind: SourceKind::try_from(row.get::<_, i32>(0)?).unwrap_or_default(),
                    state: SourceState::try_from(row.get::<_, i32>(1)?).unwrap_or_default(),
                    run: unsql(row.get(2)?),
                    pipeline: row.get(3)?,
                    complete_up_to_us: row.get(4)?,
                    complete_up_to_frame: row.get(5)?,
                })
            })
            .optional()?;
        Ok(row)
    }

    /// A source with this URI that is being read, or is a file that was read whole.
    pub(crate) fn source_in_the_way(&self, uri: &str) -> Result<Option<u64>, CatalogError> {
        let found: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT id FROM sources WHERE uri = ?1 AND (state IN (?2, ?3, ?4, ?5) OR \
                 (state = ?6 AND kind = ?7 AND reason = '')) ORDER BY id LIMIT 1",
            )?
            .query_row(
                params![
                    uri,
                    i32::from(SourceState::Queued),
                    i32::from(SourceState::Connecting),
                    i32::from(SourceState::Running),
                    i32::from(SourceState::Stalled),
                    i32::from(SourceState::Ended),
                    i32::from(SourceKind::File)
                ],
                |row| row.get(0),
            )
            .optional()?;
        Ok(found.map(unsql))
    }

    /// What became of a request of this id before.
    pub(crate) fn request(
        &self,
        request_id: &str,
        kind: RequestKind,
    ) -> Result<Option<Earlier>, CatalogError> {
        let found = self
            .db
            .prepare_cached("SELECT kind, sequence, result_id FROM requests WHERE request_id = ?1")?
            .query_row([request_id], |row| {
                Ok(Earlier {
                    same_kind: row.get::<_, i32>(0)? == kind.number(),
                    sequence: unsql(row.get(1)?),
                    result: unsql(row.get(2)?),
                })
            })
            .optional()?;
        Ok(found)
    }

    pub(crate) fn identity(&self, id: u64) -> Result<Option<IdentityFacts>, CatalogError> {
        let Some(id) = super::read::resolve(&self.db, id)? else {
            return Ok(None);
        };
        let row = self
            .db
            .prepare_cached(
                "SELECT name <> '' OR external_id <> '' OR confirmed OR state = 2 OR photo_count > 0, \
                 track_count + photo_count, edit_sequence, created_us FROM identities WHERE id = ?1",
            )?
            .query_row([sql(id)], |row| {
                Ok(IdentityFacts {
                    id,
                    held: row.get(0)?,
                    tracks: unsql(row.get(1)?),
                    edit_sequence: unsql(row.get(2)?),
                    created_us: row.get(3)?,
                })
            })
            .optional()?;
        Ok(row)
    }

    /// The identity that this id stands for; itself, if it is unknown.
    pub(crate) fn resolve(&self, id: u64) -> Result<u64, CatalogError> {
        Ok(super::read::resolve(&self.db, id)?.unwrap_or(id))
    }

    pub(crate) fn track(&self, id: u64) -> Result<Option<TrackRow>, CatalogError> {
        self.one_track("id = ?1", &[&sql(id)])
    }

    /// Where the track is; `None` if there is none that counts.
    pub(crate) fn track_place(&self, id: u64) -> Result<Option<TrackPlace>, CatalogError> {
        let place = self
            .db
            .prepare_cached("SELECT identity_id, decided_sequence FROM tracks WHERE id = ?1")?
            .query_row([sql(id)], |row| {
                Ok(TrackPlace {
                    identity: unsql(row.get(0)?),
                    decided: unsql(row.get(1)?),
                })
            })
            .optional()?;
        Ok(place)
    }

    /// The track that a worker calls `key`, in the run that key belongs to.
    pub(crate) fn track_by_key(
        &self,
        source: u64,
        run: u64,
        key: u64,
    ) -> Result<Option<TrackRow>, CatalogError> {
        self.one_track(
            "source_id = ?1 AND run = ?2 AND key = ?3",
            &[&sql(source), &sql(run), &sql(key)],
        )
    }

    fn one_track(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<TrackRow>, CatalogError> {
        let mut statement = self
            .db
            .prepare_cached(&format!("{TRACK} WHERE {condition}"))?;
        Ok(statement.query_row(values, track_row).optional()?)
    }

    /// Tracks of a source that begin at or after `start_us`.
    pub(crate) fn tracks_from(
        &self,
        source: u64,
        start_us: i64,
    ) -> Result<Vec<TrackRow>, CatalogError> {
        self.many_tracks(
            "source_id = ?1 AND start_us >= ?2",
            &[&sql(source), &start_us],
        )
    }

    /// Tracks of a source that were never closed.
    pub(crate) fn open_tracks(&self, source: u64) -> Result<Vec<TrackRow>, CatalogError> {
        self.many_tracks("source_id = ?1 AND closed = 0", &[&sql(source)])
    }

    fn many_tracks(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<TrackRow>, CatalogError> {
        let mut statement = self
            .db
            .prepare_cached(&format!("{TRACK} WHERE {condition} ORDER BY id"))?;
        let rows = statement.query_map(values, track_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Identities of other tracks that are on screen together with the interval: same source, same run
    /// where runs have clocks of their own, some time in common. A track is looked for up to an hour back.
    pub(crate) fn on_screen(
        &self,
        source: u64,
        run: u64,
        track: u64,
        (start_us, end_us): (i64, i64),
    ) -> Result<Vec<u64>, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT identity_id FROM tracks WHERE source_id = ?1 AND run = ?2 AND id <> ?3 \
             AND start_us <= ?5 AND end_us >= ?4 AND start_us > ?4 - ?6",
        )?;
        let rows = statement.query_map(
            params![
                sql(source),
                sql(run),
                sql(track),
                start_us,
                end_us,
                LONGEST_TRACK_US
            ],
            |row| row.get(0).map(unsql),
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A track's exemplars: the worker's number, the id and the quality.
    pub(crate) fn exemplars(&self, track: u64) -> Result<Vec<(u32, u64, f32)>, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT number, id, quality FROM exemplars WHERE track_id = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([sql(track)], |row| {
            Ok((row.get(0)?, unsql(row.get(1)?), row.get(2)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

const TRACK: &str = "SELECT id, revision, closed, start_us, end_us, start_frame, end_frame, \
    wall_start_us, identity_id, best_exemplar_id, exemplar_count, joined, key, attributes, face_count, seal \
    FROM tracks";

fn track_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TrackRow> {
    Ok(TrackRow {
        id: unsql(row.get(0)?),
        revision: row.get(1)?,
        closed: row.get(2)?,
        start_us: row.get(3)?,
        end_us: row.get(4)?,
        start_frame: row.get(5)?,
        end_frame: row.get(6)?,
        wall_start_us: row.get(7)?,
        identity: unsql(row.get(8)?),
        best_exemplar: unsql(row.get(9)?),
        exemplars: row.get(10)?,
        joined: row.get(11)?,
        key: unsql(row.get(12)?),
        attributes: attributes::from_column(row.get(13)?),
        faces: row.get(14)?,
        seal: unsql(row.get(15)?),
    })
}

/// Track keys of a file mean the same in every run; those of a live stream only within one.
pub(crate) fn key_run(kind: SourceKind, run: u64) -> u64 {
    match kind {
        SourceKind::Live => run,
        SourceKind::File | SourceKind::Remote | SourceKind::Unspecified => 0,
    }
}

/// An identity's etag: when it was last edited.
pub(crate) fn etag(edit_sequence: u64) -> String {
    format!("e{edit_sequence:x}")
}

fn connect(path: &Path) -> Result<Connection, CatalogError> {
    let db = Connection::open(path)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    // What is deleted is overwritten: the catalog holds names.
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;",
    )?;
    Ok(db)
}
