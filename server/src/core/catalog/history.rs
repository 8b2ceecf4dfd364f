//! What readers ask about edits: which there were, and which were taken back. What they did is in the log.

use super::{Catalog, CatalogError, sql, unsql};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// An edit's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditPlace {
    /// Its record.
    pub sequence: u64,
    /// The edit that took it back and is itself in effect.
    pub undone_by: Option<u64>,
}

impl Catalog {
    /// The edit at that record.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn edit(&self, sequence: u64) -> Result<Option<EditPlace>, CatalogError> {
        self.read(|db| edit(db, sequence))
    }

    /// Edits before record `before`, newest first: those that name this very identity (redirects are not
    /// followed), or all.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn edits(
        &self,
        identity: Option<u64>,
        before: u64,
        limit: u32,
    ) -> Result<Vec<EditPlace>, CatalogError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.read(|db| {
            let text = match identity {
                Some(_) => {
                    "SELECT e.sequence, e.undone_by FROM edit_identities i JOIN edits e \
                     USING (sequence) WHERE i.identity_id = ?3 AND i.sequence < ?1 \
                     ORDER BY i.sequence DESC LIMIT ?2"
                }
                None => {
                    "SELECT sequence, undone_by FROM edits WHERE sequence < ?1 AND ?3 = 0 \
                     ORDER BY sequence DESC LIMIT ?2"
                }
            };
            let mut statement = db.prepare_cached(text)?;
            let identity = sql(identity.unwrap_or(0));
            let rows = statement.query_map(params![before, limit, identity], place)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The records of the decisions that gave a track an identity, oldest first.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn decisions(&self, track: u64) -> Result<Vec<u64>, CatalogError> {
        self.read(|db| {
            let text = "SELECT sequence FROM decisions WHERE track_id = ?1 ORDER BY sequence";
            let mut statement = db.prepare_cached(text)?;
            let rows = statement.query_map([sql(track)], |row| row.get(0).map(unsql))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

pub(super) fn edit(db: &Connection, sequence: u64) -> Result<Option<EditPlace>, CatalogError> {
    let mut statement =
        db.prepare_cached("SELECT sequence, undone_by FROM edits WHERE sequence = ?1")?;
    Ok(statement.query_row([sql(sequence)], place).optional()?)
}

fn place(row: &Row<'_>) -> rusqlite::Result<EditPlace> {
    let undone_by: Option<i64> = row.get(1)?;
    Ok(EditPlace {
        sequence: unsql(row.get(0)?),
        undone_by: undone_by.map(unsql),
    })
}
