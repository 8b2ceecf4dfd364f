//! Erasures in the catalog: what their records change, and what an erasure would take.
//!
//! An erased track leaves its key (source, run, key) behind, so that it stays erased when the same material is read
//! again. A record that is replayed after its key was destroyed says less than it once did; what is left of it leads
//! to the same state all the same, once the erasure's record is reached.

use super::facts::PARTS;
use super::{Catalog, CatalogError, CatalogWriter, sql, unsql};
use prost::Message as _;
use rollcall_log::record::{
    AlertRaised, AlertRule, Body, ErasureBegun, ErasureEnded, IdentityState, Record, TrackObserved,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};

/// An erasure's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasurePlace {
    /// The record that began it.
    pub sequence: u64,
    /// When that was, Unix time.
    pub time_us: i64,
    /// The record that ended it; `None` while it is under way.
    pub ended: Option<u64>,
}

/// A track that an erasure would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) track: u64,
    pub(crate) identity: u64,
    pub(crate) key: u64,
    /// It counts; one that was retracted does not.
    pub(crate) live: bool,
}

/// Tracks that count, and those that were retracted.
const DOOMED: &str = "SELECT id, identity_id, seal, live FROM (\
    SELECT id, source_id, identity_id, seal, wall_start_us, \
    wall_start_us + end_us - start_us AS wall_end_us, 1 AS live FROM tracks UNION ALL \
    SELECT track_id, source_id, identity_id, seal, wall_start_us, wall_end_us, 0 \
    FROM retracted_tracks)";

/// The highest key that a record names; 0: it names none.
pub(super) fn last_key(record: &Record) -> u64 {
    let of_track = |track: &TrackObserved| track.key;
    let of_rule = |rule: &AlertRule| rule.key;
    match &record.body {
        Some(Body::TrackObserved(track)) => of_track(track),
        Some(Body::Edited(edited)) => {
            let profiles = edited.profiles.iter().map(|change| change.key);
            let photos = edited.enrolled.iter().map(of_track);
            profiles.chain(photos).fold(edited.key, u64::max)
        }
        Some(Body::AlertRuleChanged(change)) => change.after.as_ref().map_or(0, of_rule),
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::TrackRetracted(_)
            | Body::IdentityRenamed(_)
            | Body::SourceRunStarted(_)
            // Their keys are those of earlier records.
            | Body::AlertRaised(_)
            | Body::ExemplarsReembedded(_)
            | Body::ErasureBegun(_)
            | Body::ErasureEnded(_)
            | Body::AlertDelivered(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_),
        )
        | None => 0,
    }
}

/// What records change.
impl CatalogWriter {
    pub(super) fn erasure_begun(
        &mut self,
        record: &Record,
        begun: &ErasureBegun,
    ) -> Result<(), CatalogError> {
        self.ids.exemplar = self.ids.exemplar.max(begun.last_exemplar_id);
        for track in &begun.track_ids {
            self.erase_track(*track)?;
        }
        for fact in &begun.fact_ids {
            self.db
                .prepare_cached("DELETE FROM facts WHERE id = ?1")?
                .execute([sql(*fact)])?;
        }
        for identity in &begun.identity_ids {
            self.erase_identity(record, *identity)?;
        }
        for identity in &begun.touched_identity_ids {
            self.recompute(*identity)?;
        }
        for rule in &begun.rule_ids {
            self.forget_rule_name(*rule)?;
        }
        self.db
            .prepare_cached("INSERT INTO erasures VALUES (?1, ?2, NULL)")?
            .execute(params![sql(record.sequence), record.time_us])?;
        Ok(())
    }

    fn erase_track(&mut self, track: u64) -> Result<(), CatalogError> {
        self.delete_exemplars("track_id = ?1", track)?;
        for text in [
            // Of a photo the key is a digest.
            "INSERT OR IGNORE INTO erased_tracks SELECT id, source_id, run, \
             iif(source_id = 0, id, key) FROM tracks WHERE id = ?1",
            "INSERT OR IGNORE INTO erased_tracks SELECT track_id, source_id, run, \
             iif(source_id = 0, track_id, key) FROM retracted_tracks WHERE track_id = ?1",
            "DELETE FROM retracted_tracks WHERE track_id = ?1",
            "DELETE FROM proposals WHERE sequence IN \
             (SELECT sequence FROM decisions WHERE track_id = ?1)",
            "DELETE FROM proposal_tracks WHERE track_id = ?1",
            "DELETE FROM decisions WHERE track_id = ?1",
            "DELETE FROM alerts WHERE track_id = ?1",
            "DELETE FROM tracks WHERE id = ?1",
        ] {
            self.db.prepare_cached(text)?.execute([sql(track)])?;
        }
        Ok(())
    }

    fn erase_identity(&mut self, record: &Record, identity: u64) -> Result<(), CatalogError> {
        let erased = i32::from(IdentityState::Erased);
        self.db
            .prepare_cached(
                "UPDATE identities SET name = '', name_key = '', external_id = '', state = ?2, \
                 confirmed = 0, seal = 0, edit_sequence = ?3 WHERE id = ?1",
            )?
            .execute(params![sql(identity), erased, sql(record.sequence)])?;
        for text in [
            "DELETE FROM metadata WHERE identity_id = ?1",
            "DELETE FROM proposals WHERE identity_id = ?1 OR candidate_id = ?1",
            "DELETE FROM alerts WHERE person_id = ?1",
        ] {
            self.db.prepare_cached(text)?.execute([sql(identity)])?;
        }
        self.forget_marks(identity);
        self.recompute(identity)
    }

    /// What a rule told of others stays, but not what it was called.
    fn forget_rule_name(&mut self, rule: u64) -> Result<(), CatalogError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT sequence, raised FROM alerts WHERE rule_id = ?1")?;
        let rows = statement.query_map([sql(rule)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
        drop(statement);
        for (sequence, bytes) in rows {
            let mut raised = AlertRaised::decode(bytes.as_slice()).unwrap_or_default();
            raised.rule_name.clear();
            self.db
                .prepare_cached("UPDATE alerts SET raised = ?2 WHERE sequence = ?1")?
                .execute(params![sequence, raised.encode_to_vec()])?;
        }
        Ok(())
    }

    pub(super) fn erasure_ended(
        &mut self,
        record: &Record,
        ended: &ErasureEnded,
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("UPDATE erasures SET ended_sequence = ?2 WHERE sequence = ?1")?
            .execute([sql(ended.erasure), sql(record.sequence)])?;
        Ok(())
    }
}

/// What the writer looks up, uncommitted changes included.
impl CatalogWriter {
    /// The identity's key; 0: nothing was said of it yet.
    pub(crate) fn identity_key(&self, id: u64) -> Result<u64, CatalogError> {
        let text = "SELECT seal FROM identities WHERE id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found = statement.query_row([sql(id)], |row| row.get(0).map(unsql));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// The track's key; 0: it has none.
    pub(crate) fn track_key(&self, id: u64) -> Result<u64, CatalogError> {
        let text = "SELECT seal FROM tracks WHERE id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found = statement.query_row([sql(id)], |row| row.get(0).map(unsql));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// Whether this track, or photo, was erased.
    pub(crate) fn is_erased_track(&self, id: u64) -> Result<bool, CatalogError> {
        let text = "SELECT 1 FROM erased_tracks WHERE track_id = ?1";
        Ok(self.db.prepare_cached(text)?.exists([sql(id)])?)
    }

    /// Whether the track that a worker calls `key` was erased.
    pub(crate) fn was_erased(&self, source: u64, run: u64, key: u64) -> Result<bool, CatalogError> {
        let text = "SELECT 1 FROM erased_tracks WHERE source_id = ?1 AND run = ?2 AND key = ?3";
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.exists([sql(source), sql(run), sql(key)])?)
    }

    /// The identity and everybody who was absorbed by it, by id.
    pub(crate) fn parts_of(&self, id: u64) -> Result<Vec<u64>, CatalogError> {
        let text = format!("{PARTS} SELECT id FROM part ORDER BY id");
        let mut statement = self.db.prepare_cached(&text)?;
        let rows = statement.query_map([sql(id)], |row| row.get(0).map(unsql))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The tracks and photos of an identity, by id.
    pub(crate) fn doomed_of_identity(&self, id: u64) -> Result<Vec<Doomed>, CatalogError> {
        self.doomed("identity_id = ?1", params![sql(id)])
    }

    /// The track, if it counts.
    pub(crate) fn doomed_track(&self, id: u64) -> Result<Option<Doomed>, CatalogError> {
        Ok(self.doomed("id = ?1", params![sql(id)])?.pop())
    }

    /// Tracks whose keys are gone although no erasure names them: they were erased after this copy of the log was made.
    pub(crate) fn doomed_already(&self) -> Result<Vec<Doomed>, CatalogError> {
        self.doomed("id IN (SELECT id FROM tracks WHERE erased = 1)", &[])
    }

    /// The tracks of a source that overlap the time, by id.
    pub(crate) fn doomed_of_source(
        &self,
        source: u64,
        (from_us, to_us): (i64, i64),
    ) -> Result<Vec<Doomed>, CatalogError> {
        self.doomed(
            "source_id = ?1 AND wall_start_us < ?3 AND wall_end_us >= ?2",
            params![sql(source), from_us, to_us],
        )
    }

    /// Closed tracks, and retracted ones, that ended before `before_us`, at most `limit`, oldest first: those of people who have a name, or
    /// those of people who have none; of one source, or, if that is 0, of all but those in `but`.
    pub(crate) fn outlived(
        &self,
        (source, but): (u64, &[u64]),
        named: bool,
        before_us: i64,
        limit: usize,
    ) -> Result<Vec<Doomed>, CatalogError> {
        let but: Vec<String> = but.iter().map(u64::to_string).collect();
        let which = match source {
            0 => format!(
                "t.source_id NOT IN (0, {})",
                if but.is_empty() {
                    "0".to_owned()
                } else {
                    but.join(",")
                }
            ),
            source => format!("t.source_id = {source}"),
        };
        let part = |tracks: &str, id: &str, end: &str, live: u8| {
            format!(
                "SELECT t.{id} AS id, t.identity_id AS identity_id, t.seal AS seal, {live} AS live, \
                 t.wall_start_us AS wall_start_us FROM {tracks} t JOIN identities i ON \
                 i.id = t.identity_id WHERE {which} AND (i.name <> '') = ?1 AND \
                 t.wall_start_us < ?2 AND {end} < ?2"
            )
        };
        let end = "t.closed = 1 AND t.wall_start_us + t.end_us - t.start_us";
        let live = part("tracks", "id", end, 1);
        let retracted = part("retracted_tracks", "track_id", "t.wall_end_us", 0);
        let text = format!(
            "SELECT id, identity_id, seal, live FROM ({live} UNION ALL {retracted}) \
             ORDER BY wall_start_us, id LIMIT ?3"
        );
        let mut statement = self.db.prepare(&text)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![named, before_us, limit], doomed_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn doomed(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Doomed>, CatalogError> {
        let text = format!("{DOOMED} WHERE {condition} ORDER BY id");
        let mut statement = self.db.prepare_cached(&text)?;
        let rows = statement.query_map(values, doomed_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The track of an exemplar.
    pub(crate) fn track_of_exemplar(&self, exemplar: u64) -> Result<Option<u64>, CatalogError> {
        let text = "SELECT track_id FROM exemplars WHERE id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found = statement.query_row([sql(exemplar)], |row| row.get(0).map(unsql));
        Ok(found.optional()?)
    }

    /// Keys of the reasons of edits that name any of these people, and the first record about any of them.
    pub(crate) fn said_of(
        &self,
        identities: &BTreeSet<u64>,
    ) -> Result<(BTreeSet<u64>, u64), CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT e.seal, e.sequence FROM edit_identities i JOIN edits e USING (sequence) \
             WHERE i.identity_id = ?1",
        )?;
        let (mut keys, mut first) = (BTreeSet::new(), u64::MAX);
        for identity in identities {
            let mut rows = statement.query([sql(*identity)])?;
            while let Some(row) = rows.next()? {
                keys.insert(unsql(row.get(0)?));
                first = first.min(unsql(row.get(1)?));
            }
        }
        keys.remove(&0);
        Ok((keys, first))
    }

    /// The edits that name any of these people.
    pub(crate) fn edits_of(
        &self,
        identities: &BTreeSet<u64>,
    ) -> Result<BTreeSet<u64>, CatalogError> {
        let text = "SELECT sequence FROM edit_identities WHERE identity_id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let mut all = BTreeSet::new();
        for identity in identities {
            let rows = statement.query_map([sql(*identity)], |row| row.get(0).map(unsql))?;
            for row in rows {
                all.insert(row?);
            }
        }
        Ok(all)
    }

    /// The first record that decided about a track.
    pub(crate) fn first_decision(&self, track: u64) -> Result<Option<u64>, CatalogError> {
        let text = "SELECT min(sequence) FROM decisions WHERE track_id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found: Option<i64> = statement.query_row([sql(track)], |row| row.get(0))?;
        Ok(found.map(unsql))
    }

    /// How many tracks each of these identities has.
    pub(crate) fn track_counts(
        &self,
        identities: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, usize>, CatalogError> {
        let text = "SELECT count(*) FROM tracks WHERE identity_id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let count = |id: &u64| -> Result<_, CatalogError> {
            let count: i64 = statement.query_row([sql(*id)], |row| row.get(0))?;
            Ok((*id, usize::try_from(count).unwrap_or(usize::MAX)))
        };
        identities.iter().map(count).collect()
    }

    /// The record that ended an erasure; `None` if there is none.
    pub(crate) fn erasure_end(&self, sequence: u64) -> Result<Option<u64>, CatalogError> {
        let text = "SELECT ended_sequence FROM erasures WHERE sequence = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found = statement.query_row([sql(sequence)], |row| row.get::<_, Option<i64>>(0));
        Ok(found.optional()?.flatten().map(unsql))
    }

    /// Erasures under way, oldest first.
    pub(crate) fn erasures_pending(&self) -> Result<Vec<ErasurePlace>, CatalogError> {
        pending(&self.db)
    }

    /// Rows that are left of what an erasure names.
    pub(crate) fn left_of(&self, begun: &ErasureBegun) -> Result<u64, CatalogError> {
        left_of(&self.db, begun)
    }

    /// Writes the tables anew into the one file, so that nothing of what was deleted lingers in its pages or in the
    /// journal; whether the journal could be emptied. What is deleted is overwritten at once, but cells that had moved to
    /// another page may have left copies behind. Waits for readers, which are quick. Not while a transaction is open.
    ///
    /// Cost: the catalog is read and written twice.
    pub(crate) fn scrub(&self) -> Result<bool, CatalogError> {
        self.db.execute_batch("VACUUM")?;
        let busy: i64 = self
            .db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(busy == 0)
    }
}

/// How many of these tracks count, and how many of these identities have anything left.
fn left_of(db: &Connection, begun: &ErasureBegun) -> Result<u64, CatalogError> {
    let count = |text: &str, ids: &[u64]| -> Result<u64, CatalogError> {
        let mut statement = db.prepare_cached(text)?;
        let mut left = 0;
        for id in ids {
            left += u64::from(statement.exists([sql(*id)])?);
        }
        Ok(left)
    };
    let exemplars = "SELECT 1 FROM exemplars WHERE track_id = ?1";
    let people = "SELECT 1 FROM identities WHERE id = ?1 AND (name <> '' OR external_id <> '' \
                  OR track_count + photo_count > 0 OR EXISTS \
                  (SELECT 1 FROM metadata WHERE identity_id = ?1))";
    let retracted = "SELECT 1 FROM retracted_tracks WHERE track_id = ?1";
    let alerts = "SELECT 1 FROM alerts WHERE track_id = ?1";
    Ok(count(retracted, &begun.track_ids)?
        + count(alerts, &begun.track_ids)?
        + count("SELECT 1 FROM tracks WHERE id = ?1", &begun.track_ids)?
        + count(exemplars, &begun.track_ids)?
        + count(people, &begun.identity_ids)?)
}

fn doomed_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Doomed> {
    Ok(Doomed {
        track: unsql(row.get(0)?),
        identity: unsql(row.get(1)?),
        key: unsql(row.get(2)?),
        live: row.get(3)?,
    })
}

fn pending(db: &Connection) -> Result<Vec<ErasurePlace>, CatalogError> {
    let text = "SELECT sequence, time_us, ended_sequence FROM erasures WHERE ended_sequence IS NULL \
                ORDER BY sequence";
    let mut statement = db.prepare_cached(text)?;
    let rows = statement.query_map([], place_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn place_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ErasurePlace> {
    let ended: Option<i64> = row.get(2)?;
    Ok(ErasurePlace {
        sequence: unsql(row.get(0)?),
        time_us: row.get(1)?,
        ended: ended.map(unsql),
    })
}

/// What readers ask.
impl Catalog {
    /// The erasure that a record began.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn erasure(&self, sequence: u64) -> Result<Option<ErasurePlace>, CatalogError> {
        self.read(|db| {
            let text = "SELECT sequence, time_us, ended_sequence FROM erasures WHERE sequence = ?1";
            let mut statement = db.prepare_cached(text)?;
            Ok(statement.query_row([sql(sequence)], place_row).optional()?)
        })
    }

    /// Erasures before record `before`, newest first.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn erasures(&self, before: u64, limit: u32) -> Result<Vec<ErasurePlace>, CatalogError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT sequence, time_us, ended_sequence FROM erasures WHERE sequence < ?1 \
                 ORDER BY sequence DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![before, limit], place_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Erasures under way, oldest first.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn erasures_pending(&self) -> Result<Vec<ErasurePlace>, CatalogError> {
        self.read(pending)
    }
}
