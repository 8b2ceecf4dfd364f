//! What readers ask about alert rules and alerts.

use super::{Catalog, CatalogError, sql, unsql};
use prost::Message as _;
use rollcall_log::record::{AlertRaised, AlertRule};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

/// A rule as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRuleRow {
    /// Its id.
    pub id: u64,
    /// Unix time.
    pub created_us: i64,
    /// The record that changed it last.
    pub sequence: u64,
    /// What it says; the webhook's secret included: show it to nobody.
    pub rule: AlertRule,
    /// The newest alert that its webhook has taken.
    pub delivered: u64,
    /// The webhook's endpoint said that it is gone.
    pub gone: bool,
}

/// An alert as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// Its record, and its id.
    pub sequence: u64,
    /// When it was raised, Unix time.
    pub time_us: i64,
    /// What it says.
    pub raised: AlertRaised,
}

/// Which alerts to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// Of one rule.
    pub rule: Option<u64>,
    /// About whom by now.
    pub person: Option<u64>,
    /// On one source.
    pub source: Option<u64>,
    /// Of one kind, by its number.
    pub kind: Option<i32>,
    /// Raised at or after, Unix microseconds.
    pub raised_after_us: Option<i64>,
    /// Raised at or before.
    pub raised_before_us: Option<i64>,
    /// Before this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

const RULE: &str = "SELECT id, created_us, sequence, rule, delivered, gone FROM alert_rules WHERE rule IS NOT NULL";
const ALERT: &str = "SELECT sequence, time_us, raised FROM alerts";

impl Catalog {
    /// The rule with this id, if it is not deleted.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn alert_rule(&self, id: u64) -> Result<Option<AlertRuleRow>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("{RULE} AND id = ?1"))?;
            Ok(statement.query_row([sql(id)], rule_row).optional()?)
        })
    }

    /// Rules after `after_id`, by id, deleted ones left out.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn alert_rules(
        &self,
        after_id: u64,
        limit: u32,
    ) -> Result<Vec<AlertRuleRow>, CatalogError> {
        self.read(|db| {
            let text = format!("{RULE} AND id > ?1 ORDER BY id LIMIT ?2");
            let mut statement = db.prepare_cached(&text)?;
            let rows = statement.query_map(params![sql(after_id), limit], rule_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Alerts, newest first.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn alerts(&self, query: &AlertQuery) -> Result<Vec<AlertRow>, CatalogError> {
        let (text, values) = alerts_sql(query);
        self.read(|db| {
            let mut statement = db.prepare_cached(&text)?;
            let rows = statement.query_map(params_from_iter(values), alert_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The rule's first alert after record `after`.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn next_alert(&self, rule: u64, after: u64) -> Result<Option<AlertRow>, CatalogError> {
        self.read(|db| {
            let text =
                format!("{ALERT} WHERE rule_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT 1");
            let mut statement = db.prepare_cached(&text)?;
            let row = statement.query_row([sql(rule), sql(after)], alert_row);
            Ok(row.optional()?)
        })
    }
}

fn alerts_sql(query: &AlertQuery) -> (String, Vec<Value>) {
    let conditions = [
        ("rule_id = ?", query.rule.map(sql)),
        ("person_id = ?", query.person.map(sql)),
        ("source_id = ?", query.source.map(sql)),
        ("kind = ?", query.kind.map(i64::from)),
        ("time_us >= ?", query.raised_after_us),
        ("time_us <= ?", query.raised_before_us),
        ("sequence < ?", query.before.map(sql)),
    ];
    let mut text = format!("{ALERT} WHERE 1");
    let mut values = Vec::new();
    for (condition, value) in conditions {
        if let Some(value) = value {
            text.push_str(" AND ");
            text.push_str(condition);
            values.push(Value::Integer(value));
        }
    }
    text.push_str(" ORDER BY sequence DESC LIMIT ?");
    values.push(Value::Integer(i64::from(query.limit)));
    (text, values)
}

fn rule_row(row: &Row<'_>) -> rusqlite::Result<AlertRuleRow> {
    let rule: Vec<u8> = row.get(3)?;
    Ok(AlertRuleRow {
        id: unsql(row.get(0)?),
        created_us: row.get(1)?,
        sequence: unsql(row.get(2)?),
        rule: AlertRule::decode(rule.as_slice()).unwrap_or_default(),
        delivered: unsql(row.get(4)?),
        gone: row.get(5)?,
    })
}

fn alert_row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let raised: Vec<u8> = row.get(2)?;
    Ok(AlertRow {
        sequence: unsql(row.get(0)?),
        time_us: row.get(1)?,
        raised: AlertRaised::decode(raised.as_slice()).unwrap_or_default(),
    })
}
