//! What looking at identities again has to know beside faces.

use super::facts::PARTS;
use super::read::resolve;
use super::write::LONGEST_TRACK_US;
use super::{Catalog, CatalogError, sql, unsql};
use rusqlite::{Connection, params};

/// Tracks of the lesser identity that are looked at, the newest.
const TRACKS_MAX: u32 = 64;
/// Pairs that are found at most.
const PAIRS_MAX: u32 = 16;

impl Catalog {
    /// Whether an edit has named both identities, or whoever is a part of them: somebody has had both before
    /// their eyes, and left them two.
    ///
    /// Cost: a look at the edits of the one that has absorbed fewer, and at whom they named.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn edited_together(&self, one: u64, other: u64) -> Result<bool, CatalogError> {
        self.read(|db| {
            let (one_s, other_s) = (absorbed(db, one)?, absorbed(db, other)?);
            let (fewer, of) = if one_s <= other_s {
                (one, other)
            } else {
                (other, one)
            };
            let text = format!(
                "{PARTS} SELECT DISTINCT y.identity_id FROM part \
                 JOIN edit_identities x ON x.identity_id = part.id \
                 JOIN edit_identities y ON y.sequence = x.sequence"
            );
            let mut statement = db.prepare_cached(&text)?;
            let rows = statement.query_map([sql(fewer)], |row| row.get(0).map(unsql))?;
            for named in rows {
                if resolve(db, named?)? == Some(of) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Pairs of tracks, one of each identity, that were on screen at the same time: a few of them, if there are any.
    ///
    /// Cost: for each of at most 64 tracks a look at an hour of its source.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn on_screen_together(
        &self,
        one: u64,
        other: u64,
    ) -> Result<Vec<(u64, u64)>, CatalogError> {
        self.read(|db| {
            let (fewer, of) = if track_count(db, one)? <= track_count(db, other)? {
                (one, other)
            } else {
                (other, one)
            };
            let text = "SELECT t.id, o.id FROM (SELECT * FROM tracks WHERE identity_id = ?1 \
                 AND source_id <> 0 ORDER BY wall_start_us DESC LIMIT ?3) t \
                 CROSS JOIN tracks o INDEXED BY tracks_source ON o.source_id = t.source_id \
                 AND o.start_us <= t.end_us AND o.start_us > t.start_us - ?5 AND o.end_us >= t.start_us \
                 AND o.run = t.run AND o.identity_id = ?2 LIMIT ?4";
            let mut statement = db.prepare_cached(text)?;
            let values = params![
                sql(fewer),
                sql(of),
                TRACKS_MAX,
                PAIRS_MAX,
                LONGEST_TRACK_US
            ];
            let rows =
                statement.query_map(values, |row| Ok((unsql(row.get(0)?), unsql(row.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// How many identities resolve to it at once.
fn absorbed(db: &Connection, id: u64) -> Result<u64, CatalogError> {
    count(db, "SELECT count(*) FROM redirects WHERE into_id = ?1", id)
}

fn track_count(db: &Connection, id: u64) -> Result<u64, CatalogError> {
    count(db, "SELECT count(*) FROM tracks WHERE identity_id = ?1", id)
}

fn count(db: &Connection, text: &str, id: u64) -> Result<u64, CatalogError> {
    let mut statement = db.prepare_cached(text)?;
    Ok(statement.query_row([sql(id)], |row| row.get(0).map(unsql))?)
}
