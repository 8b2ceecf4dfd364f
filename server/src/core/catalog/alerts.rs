//! Alert rules and alerts in the catalog: what their records change, and what the writer must know to judge.

use super::write::LONGEST_TRACK_US;
use super::{CatalogError, CatalogWriter, sql, unsql};
use prost::Message as _;
use rollcall_log::record::{
    AlertDelivered, AlertDelivery, AlertKind, AlertRaised, AlertRule, AlertRuleChanged, Record,
    SourceKind, SourceState,
};
use rusqlite::{OptionalExtension, Row, params};

/// A rule as the writer needs it.
#[derive(Clone, Debug)]
pub(crate) struct RuleRow {
    pub(crate) id: u64,
    /// The record that changed it last.
    pub(crate) sequence: u64,
    /// The record since which it is enabled.
    pub(crate) since: u64,
    pub(crate) rule: AlertRule,
    /// The newest alert that its webhook has taken.
    pub(crate) delivered: u64,
}

/// A sighting near another one in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    pub(crate) track: u64,
    pub(crate) source: u64,
    pub(crate) kind: SourceKind,
    pub(crate) joined: f32,
}

/// What makes a sighting count: so many faces, and so long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirm {
    pub(crate) faces: u32,
    pub(crate) length_us: i64,
}

/// An alert whose person has not left yet.
#[derive(Clone, Debug)]
pub(crate) struct OpenAlert {
    pub(crate) sequence: u64,
    /// Whom it is about by now.
    pub(crate) person: u64,
    pub(crate) raised: AlertRaised,
}

/// A sighting, and how far its source has been read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) track: u64,
    pub(crate) source: u64,
    pub(crate) kind: SourceKind,
    pub(crate) state: SourceState,
    pub(crate) complete_up_to_us: Option<i64>,
    pub(crate) closed: bool,
    pub(crate) end_us: i64,
    pub(crate) wall_end_us: i64,
    pub(crate) best_exemplar: u64,
}

/// What records change.
impl CatalogWriter {
    pub(super) fn rule_changed(
        &mut self,
        record: &Record,
        change: &AlertRuleChanged,
    ) -> Result<(), CatalogError> {
        let (id, sequence) = (sql(change.rule_id), sql(record.sequence));
        let Some(rule) = &change.after else {
            self.db
                .prepare_cached("UPDATE alert_rules SET rule = NULL, sequence = ?2 WHERE id = ?1")?
                .execute([id, sequence])?;
            return self.close_alerts(change.rule_id);
        };
        let before = self.rule_at(change.rule_id)?;
        let enabled = before.as_ref().filter(|before| before.rule.enabled);
        let since = enabled.map_or(record.sequence, |before| before.since);
        let url = |rule: &AlertRule| rule.webhook.as_ref().map(|hook| hook.url.clone());
        let gone = self.is_gone(change.rule_id)?;
        // Alerts from before the webhook was set are not its own.
        let same = before.filter(|before| url(&before.rule) == url(rule) && !gone);
        let delivered = same.map_or(record.sequence, |before| before.delivered);
        self.db
            .prepare_cached(
                "INSERT INTO alert_rules VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) ON CONFLICT (id) DO \
                 UPDATE SET sequence = ?3, since = ?4, rule = ?5, delivered = ?6, gone = 0",
            )?
            .execute(params![
                id,
                record.time_us,
                sequence,
                sql(since),
                rule.encode_to_vec(),
                sql(delivered)
            ])?;
        if !(rule.enabled && rule.tell_left) {
            self.close_alerts(change.rule_id)?;
        }
        Ok(())
    }

    /// Nobody waits any more for those to leave whom the rule has told of.
    fn close_alerts(&mut self, rule: u64) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("UPDATE alerts SET open = 0 WHERE open = 1 AND rule_id = ?1")?
            .execute([sql(rule)])?;
        Ok(())
    }

    pub(super) fn alert_raised(
        &mut self,
        record: &Record,
        raised: &AlertRaised,
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("UPDATE alerts SET open = 0 WHERE sequence = ?1")?
            .execute([sql(raised.appeared_sequence)])?;
        let open = raised.kind() == AlertKind::Appeared && raised.expects_left;
        self.db
            .prepare_cached("INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
            .execute(params![
                sql(record.sequence),
                record.time_us,
                sql(raised.rule_id),
                raised.kind,
                sql(raised.identity_id),
                sql(raised.track_id),
                sql(raised.source_id),
                raised.at_us,
                open,
                raised.encode_to_vec()
            ])?;
        Ok(())
    }

    pub(super) fn alert_delivered(
        &mut self,
        delivered: &AlertDelivered,
    ) -> Result<(), CatalogError> {
        let gone = delivered.result() == AlertDelivery::Gone;
        self.db
            .prepare_cached("UPDATE alert_rules SET delivered = ?2, gone = ?3 WHERE id = ?1")?
            .execute(params![
                sql(delivered.rule_id),
                sql(delivered.alert_sequence),
                gone
            ])?;
        Ok(())
    }

    /// What was told of one person was told of the other.
    pub(super) fn alerts_follow(&mut self, from: u64, into: u64) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("UPDATE alerts SET person_id = ?2 WHERE person_id = ?1")?
            .execute([sql(from), sql(into)])?;
        Ok(())
    }

    /// Whether anything was told of a person.
    pub(super) fn any_alert_of(&self, person: u64) -> Result<bool, CatalogError> {
        Ok(self
            .db
            .prepare_cached("SELECT 1 FROM alerts WHERE person_id = ?1 LIMIT 1")?
            .exists([sql(person)])?)
    }

    /// What was told of a person because of a track goes where the track goes.
    pub(super) fn alerts_follow_track(
        &mut self,
        track: u64,
        (from, into): (u64, u64),
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached(
                "UPDATE alerts SET person_id = ?3 WHERE track_id = ?1 AND person_id = ?2",
            )?
            .execute([sql(track), sql(from), sql(into)])?;
        Ok(())
    }
}

const RULE: &str = "SELECT id, sequence, since, rule, delivered FROM alert_rules";

fn rule_row(row: &Row<'_>) -> rusqlite::Result<RuleRow> {
    let rule: Vec<u8> = row.get(3)?;
    Ok(RuleRow {
        id: unsql(row.get(0)?),
        sequence: unsql(row.get(1)?),
        since: unsql(row.get(2)?),
        // What this very build has encoded, or the catalog would have been made anew.
        rule: AlertRule::decode(rule.as_slice()).unwrap_or_default(),
        delivered: unsql(row.get(4)?),
    })
}

/// What the writer looks up, uncommitted changes included.
impl CatalogWriter {
    /// Rules that are not deleted, by id.
    pub(crate) fn rules(&self) -> Result<Vec<RuleRow>, CatalogError> {
        let text = format!("{RULE} WHERE rule IS NOT NULL ORDER BY id");
        let mut statement = self.db.prepare_cached(&text)?;
        let rows = statement.query_map([], rule_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The rule, if it is not deleted.
    pub(crate) fn rule_at(&self, id: u64) -> Result<Option<RuleRow>, CatalogError> {
        let text = format!("{RULE} WHERE id = ?1 AND rule IS NOT NULL");
        let mut statement = self.db.prepare_cached(&text)?;
        Ok(statement.query_row([sql(id)], rule_row).optional()?)
    }

    fn is_gone(&self, rule: u64) -> Result<bool, CatalogError> {
        let text = "SELECT 1 FROM alert_rules WHERE id = ?1 AND gone = 1";
        Ok(self.db.prepare_cached(text)?.exists([sql(rule)])?)
    }

    /// The id of the newest rule, deleted or not.
    pub(crate) fn last_rule(&self) -> Result<u64, CatalogError> {
        let text = "SELECT ifnull(max(id), 0) FROM alert_rules";
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_row([], |row| row.get(0).map(unsql))?)
    }

    /// Whether the rule has told of the person's coming at a time within `near_us`, or less than
    /// `cool_down_us` away from `start_us`.
    pub(crate) fn told_near(
        &self,
        (rule, person): (u64, u64),
        near_us: (i64, i64),
        (start_us, cool_down_us): (i64, i64),
    ) -> Result<bool, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT 1 FROM alerts WHERE person_id = ?1 AND rule_id = ?2 AND kind = 1 AND \
             at_us BETWEEN min(?3, ?5 - ?6) AND max(?4, ?5 + ?6) AND \
             (at_us BETWEEN ?3 AND ?4 OR abs(at_us - ?5) < ?6)",
        )?;
        Ok(statement.exists(params![
            sql(person),
            sql(rule),
            near_us.0,
            near_us.1,
            start_us,
            cool_down_us
        ])?)
    }

    /// Whether the rule has told of the person's coming after record `since`.
    pub(crate) fn told_since(
        &self,
        (rule, person): (u64, u64),
        since: u64,
    ) -> Result<bool, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT 1 FROM alerts WHERE person_id = ?1 AND rule_id = ?2 AND kind = 1 AND \
             sequence > ?3",
        )?;
        Ok(statement.exists([sql(person), sql(rule), sql(since)])?)
    }

    /// How often the rule has told of the person's coming.
    pub(crate) fn appearances(&self, rule: u64, person: u64) -> Result<u32, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT count(*) FROM alerts WHERE person_id = ?1 AND rule_id = ?2 AND kind = 1",
        )?;
        Ok(statement.query_row([sql(person), sql(rule)], |row| row.get(0))?)
    }

    /// Whether one of the person's sightings that count, but for track `but`, overlaps the time and is one
    /// that `takes` takes; newest first.
    pub(crate) fn any_near<E: From<CatalogError>>(
        &self,
        (person, but): (u64, u64),
        (from_us, to_us): (i64, i64),
        confirm: Confirm,
        takes: &mut dyn FnMut(Near) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let text = "SELECT t.id, t.source_id, s.kind, t.joined FROM tracks t JOIN sources s ON \
             s.id = t.source_id WHERE t.identity_id = ?1 AND t.id <> ?2 AND \
             t.wall_start_us BETWEEN ?3 - ?7 AND ?4 AND \
             t.wall_start_us + t.end_us - t.start_us >= ?3 AND t.face_count >= ?5 AND \
             t.end_us - t.start_us >= ?6 ORDER BY t.wall_start_us DESC";
        let mut statement = self.db.prepare_cached(text).map_err(CatalogError::from)?;
        let values = params![
            sql(person),
            sql(but),
            from_us,
            to_us,
            confirm.faces,
            confirm.length_us,
            LONGEST_TRACK_US
        ];
        let near = |row: &Row<'_>| {
            Ok(Near {
                track: unsql(row.get(0)?),
                source: unsql(row.get(1)?),
                kind: SourceKind::try_from(row.get::<_, i32>(2)?).unwrap_or_default(),
                joined: row.get(3)?,
            })
        };
        let rows = statement.query_map(values, near);
        for row in rows.map_err(CatalogError::from)? {
            if takes(row.map_err(CatalogError::from)?)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Alerts after record `after` whose people have not left, oldest first.
    pub(crate) fn open_alerts(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OpenAlert>, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT sequence, person_id, raised FROM alerts WHERE open = 1 AND sequence > ?1 \
             ORDER BY sequence LIMIT ?2",
        )?;
        let rows = statement.query_map(params![sql(after), limit], |row| {
            let raised: Vec<u8> = row.get(2)?;
            Ok(OpenAlert {
                sequence: unsql(row.get(0)?),
                person: unsql(row.get(1)?),
                raised: AlertRaised::decode(raised.as_slice()).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The person's last sightings on sources that are taken, those that began last first.
    pub(crate) fn last_seen(
        &self,
        person: u64,
        limit: usize,
        takes: impl Fn(&Seen) -> bool,
    ) -> Result<Vec<Seen>, CatalogError> {
        let mut statement = self.db.prepare_cached(
            "SELECT t.id, t.source_id, s.kind, s.state, s.complete_up_to_us, t.closed, t.end_us, \
             t.wall_start_us + t.end_us - t.start_us, t.best_exemplar_id FROM tracks t \
             JOIN sources s ON s.id = t.source_id WHERE t.identity_id = ?1 \
             ORDER BY t.wall_start_us DESC",
        )?;
        let rows = statement.query_map([sql(person)], |row| {
            Ok(Seen {
                track: unsql(row.get(0)?),
                source: unsql(row.get(1)?),
                kind: SourceKind::try_from(row.get::<_, i32>(2)?).unwrap_or_default(),
                state: SourceState::try_from(row.get::<_, i32>(3)?).unwrap_or_default(),
                complete_up_to_us: row.get(4)?,
                closed: row.get(5)?,
                end_us: row.get(6)?,
                wall_end_us: row.get(7)?,
                best_exemplar: unsql(row.get(8)?),
            })
        })?;
        let taken = rows.filter(|row| row.as_ref().map_or(true, &takes));
        Ok(taken.take(limit).collect::<Result<_, _>>()?)
    }
}
