//! What the catalog knows of contracts and migrations. An exemplar has the number of the last migration that is
//! done with it in its column `pass`; `lost` is not 0 if it could not be embedded then.

use super::{Catalog, CatalogError, CatalogWriter, sql, unsql};
use crate::core::contracts::{Contracts, Phase};
use prost::Message as _;
use rollcall_log::record::{BlobRef, ExemplarsReembedded, Record};
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// Lost to the contract that a migration goes to.
const LOST_FORTH: i64 = 1;
/// Lost to the contract that it goes back to.
const LOST_BACK: i64 = 2;

/// How far a migration is, in exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// There are so many.
    pub total: u64,
    /// Of them are done with.
    pub done: u64,
    /// Of those could not be embedded.
    pub lost: u64,
}

/// An exemplar that is to be embedded again.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Its id.
    pub exemplar: u64,
    /// Its aligned crop, if it has one.
    pub crop: Option<BlobRef>,
}

/// What a contract would lack, or lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Exemplars that cannot be embedded.
    pub exemplars: u64,
    /// Identities that have faces, of which none can be embedded.
    pub identities: u64,
}

/// What records change, and what the writer must know.
impl CatalogWriter {
    /// Reads contracts and counts from the tables.
    pub(super) fn load_contracts(&mut self) -> Result<(), CatalogError> {
        let mut statement = self
            .db
            .prepare("SELECT record FROM contracts ORDER BY sequence")?;
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let mut records = Vec::new();
        for bytes in rows {
            let what = "record of a contract";
            let record = Record::decode(bytes?.as_slice());
            records.push(record.map_err(|_| CatalogError::Impossible { what })?);
        }
        drop(statement);
        let contracts = Contracts::after(&records, u64::MAX);
        let number = contracts
            .migration()
            .map_or(0, |migration| migration.number);
        self.contract_records = records;
        self.contracts = Arc::new(contracts);
        let count = |condition: &str| -> Result<u64, CatalogError> {
            let text = format!("SELECT count(*) FROM exemplars WHERE {condition}");
            let counted = self.db.query_row(&text, [], |row| row.get(0))?;
            Ok(unsql(counted))
        };
        self.progress = Progress {
            total: count("1")?,
            done: count(&format!("pass = {number} AND pass > 0"))?,
            lost: count(&format!("pass = {number} AND lost > 0"))?,
        };
        Ok(())
    }

    /// Keeps a record that says something of contracts.
    pub(super) fn contract_said(&mut self, record: &Record) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("INSERT INTO contracts VALUES (?1, ?2)")?
            .execute(params![sql(record.sequence), record.encode_to_vec()])?;
        let before = self.contracts.migration().map(|migration| migration.number);
        Arc::make_mut(&mut self.contracts).apply(record);
        self.contract_records.push(record.clone());
        let after = self.contracts.migration().map(|migration| migration.number);
        if after != before {
            self.progress = Progress {
                total: self.progress.total,
                ..Progress::default()
            };
        }
        Ok(())
    }

    pub(super) fn reembedded(&mut self, batch: &ExemplarsReembedded) -> Result<(), CatalogError> {
        let migration = self.contracts.migration();
        let back = migration.is_some_and(|migration| migration.phase == Phase::RollingBack);
        let lost_now = if back { LOST_BACK } else { LOST_FORTH };
        let mut statement = self
            .db
            .prepare_cached("UPDATE exemplars SET pass = ?2, lost = ?3 WHERE id = ?1")?;
        for exemplar in &batch.exemplars {
            let lost = exemplar.embedding.is_none();
            let found = statement.execute(params![
                sql(exemplar.exemplar_id),
                sql(batch.migration),
                if lost { lost_now } else { 0 }
            ])?;
            if found > 0 {
                self.progress.done += 1;
                self.progress.lost += u64::from(lost);
            }
        }
        Ok(())
    }

    /// Deletes exemplars, and counts them no longer.
    pub(super) fn delete_exemplars(
        &mut self,
        condition: &str,
        value: u64,
    ) -> Result<(), CatalogError> {
        let number = self
            .contracts
            .migration()
            .map_or(0, |migration| migration.number);
        let mut statement = self.db.prepare_cached(&format!(
            "DELETE FROM exemplars WHERE {condition} RETURNING pass, lost"
        ))?;
        let rows = statement.query_map([sql(value)], |row| {
            Ok((unsql(row.get(0)?), row.get::<_, i64>(1)?))
        })?;
        for row in rows {
            let (pass, lost) = row?;
            let done = number > 0 && pass == number;
            self.progress.total -= 1;
            self.progress.done -= u64::from(done);
            self.progress.lost -= u64::from(done && lost > 0);
        }
        Ok(())
    }

    /// The contracts after the last record.
    pub(crate) fn contracts(&self) -> &Arc<Contracts> {
        &self.contracts
    }

    /// The contracts after record `sequence`.
    pub(crate) fn contracts_after(&self, sequence: u64) -> Contracts {
        Contracts::after(&self.contract_records, sequence)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether there is such an exemplar, with which migration `number` is not done.
    pub(crate) fn is_pending(&self, exemplar: u64, number: u64) -> Result<bool, CatalogError> {
        let pass: Option<i64> = self
            .db
            .prepare_cached("SELECT pass FROM exemplars WHERE id = ?1")?
            .query_row([sql(exemplar)], |row| row.get(0))
            .optional()?;
        Ok(pass.is_some_and(|pass| unsql(pass) < number))
    }

    /// Whether migration `number` is not done with any exemplar.
    pub(crate) fn any_pending(&self, number: u64) -> Result<bool, CatalogError> {
        let found = self
            .db
            .prepare_cached("SELECT 1 FROM exemplars WHERE pass < ?1 LIMIT 1")?
            .exists([sql(number)])?;
        Ok(found)
    }
}

/// What readers ask.
impl Catalog {
    /// Exemplars with which migration `number` is not done, `limit` at most.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn pending(&self, number: u64, limit: u32) -> Result<Vec<Pending>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, crop FROM exemplars WHERE pass < ?1 ORDER BY pass, lost, id LIMIT ?2",
            )?;
            let rows = statement.query_map(params![sql(number), limit], pending_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// What a contract would lack for which all exemplars have to be embedded anew: those without a crop.
    /// Cost: a look at every exemplar.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn without_crops(&self) -> Result<Lost, CatalogError> {
        self.lost("e.crop IS NULL", &[])
    }

    /// What the contract that migration `number` goes to lacks; or, if it goes `back`, that which it goes back to.
    /// Cost: a look at every exemplar.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn lost_by(&self, number: u64, back: bool) -> Result<Lost, CatalogError> {
        let lost = if back { LOST_BACK } else { LOST_FORTH };
        self.lost("(e.pass = ?1 AND e.lost = ?2)", &[sql(number), lost])
    }

    fn lost(&self, condition: &str, values: &[i64]) -> Result<Lost, CatalogError> {
        let values = rusqlite::params_from_iter(values);
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT ifnull(sum(lost), 0), ifnull(sum(lost = own), 0) FROM \
                 (SELECT sum({condition}) AS lost, count(*) AS own FROM exemplars e \
                 JOIN tracks t ON t.id = e.track_id GROUP BY t.identity_id)"
            ))?;
            let lost = statement.query_row(values, |row| {
                Ok(Lost {
                    exemplars: unsql(row.get(0)?),
                    identities: unsql(row.get(1)?),
                })
            })?;
            Ok(lost)
        })
    }
}

fn pending_row(row: &Row<'_>) -> rusqlite::Result<Pending> {
    let crop: Option<Vec<u8>> = row.get(1)?;
    Ok(Pending {
        exemplar: unsql(row.get(0)?),
        // The catalog is only a view: what cannot be read is nothing.
        crop: crop.and_then(|bytes| BlobRef::decode(bytes.as_slice()).ok()),
    })
}
