//! What readers ask about edits: which there were, and which were taken back. What they did is in the log.

use super::read::applied_sequence;
use super::{Catalog, CatalogError, sql, unsql};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;

/// An edit's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditPlace {
    /// Its record.
    pub sequence: u64,
    /// The edit that took it back and is itself in effect.
    pub undone_by: Option<u64>,
}

/// Which tracks of a source count, and where in the log they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The identity of each track.
    pub identities: HashMap<u64, u64>,
    /// Faces in all their records.
    pub faces: u64,
    /// The first of these records comes after this one.
    pub after: u64,
    /// The last record that the catalog knew.
    pub sequence: u64,
}

impl Catalog {
    /// The tracks of a source that overlap a window of stream time, and where their records are.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn recorded(
        &self,
        source: u64,
        start_us: i64,
        end_us: i64,
    ) -> Result<Recorded, CatalogError> {
        self.read(|db| {
            let mut recorded = Recorded {
                sequence: applied_sequence(db)?,
                ..Recorded::default()
            };
            let mut statement = db.prepare_cached(
                "SELECT id, identity_id, face_count FROM tracks \
                 WHERE source_id = ?1 AND start_us <= ?3 AND end_us >= ?2",
            )?;
            let mut rows = statement.query(params![sql(source), start_us, end_us])?;
            while let Some(row) = rows.next()? {
                let (track, identity, faces) = (row.get(0)?, row.get(1)?, row.get(2)?);
                recorded.identities.insert(unsql(track), unsql(identity));
                recorded.faces = recorded.faces.saturating_add(unsql(faces));
            }
            // Tracks get their ids in the order of the log, and a track's first record decides who it is.
            let first = recorded.identities.keys().min().copied();
            let begun: Option<i64> = db
                .prepare_cached("SELECT min(sequence) FROM decisions WHERE track_id = ?1")?
                .query_row([sql(first.unwrap_or_default())], |row| row.get(0))?;
            recorded.after = begun.map_or(0, |begun| unsql(begun).saturating_sub(1));
            Ok(recorded)
        })
    }

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
