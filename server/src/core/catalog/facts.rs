//! Facts in the catalog: those that hold, and what their sides stand for.

use super::{Catalog, CatalogError, CatalogWriter, read, sql, unsql};
use crate::core::fact::{Side, Stated, sides};
use crate::pb;
use rollcall_log::record::{Fact, FactChange, FactKind, Record};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashSet;

const FACT: &str = "SELECT id, kind, track_id, identity_id, other_track_id, other_identity_id, \
    sequence FROM facts";
/// ?1 and everybody who is a part of it.
pub(super) const PARTS: &str = "WITH RECURSIVE part (id) AS (VALUES (?1) UNION \
    SELECT r.identity_id FROM redirects r JOIN part ON r.into_id = part.id)";

/// So many tracks are always looked up one by one. Tests, whose model knows the answer, take either way.
const TRACKS_FEW: usize = if cfg!(test) { 0 } else { 100 };

/// Which facts to list.
#[derive(Clone, Debug, Default)]
pub struct FactQuery {
    /// Only those about this identity (redirects are not followed here), whoever is a part of it, and its
    /// tracks.
    pub identity: Option<u64>,
    /// Only those about this track.
    pub track: Option<u64>,
    /// Empty: all kinds.
    pub kinds: Vec<pb::FactKind>,
    /// Only those with a higher id.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
}

impl Catalog {
    /// Facts that hold, by id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn facts(&self, query: &FactQuery) -> Result<Vec<pb::Fact>, CatalogError> {
        let mut text = match query.identity {
            Some(_) => format!(
                "{PARTS} {FACT} WHERE (identity_id IN (SELECT id FROM part) OR \
                 other_identity_id IN (SELECT id FROM part) OR \
                 track_id IN (SELECT id FROM tracks WHERE identity_id = ?1) OR \
                 other_track_id IN (SELECT id FROM tracks WHERE identity_id = ?1))"
            ),
            None => format!("{FACT} WHERE (?1 = 0 OR track_id = ?1 OR other_track_id = ?1)"),
        };
        if !query.kinds.is_empty() {
            let kinds = query.kinds.iter().map(|kind| i32::from(*kind).to_string());
            text.push_str(&format!(
                " AND kind IN ({})",
                kinds.collect::<Vec<_>>().join(",")
            ));
        }
        text.push_str(" AND id > ?2 ORDER BY id LIMIT ?3");
        let about = query.identity.or(query.track).unwrap_or(0);
        self.read(|db| {
            let mut statement = db.prepare_cached(&text)?;
            let values = params![sql(about), sql(query.after), query.limit];
            let rows = statement.query_map(values, stated)?;
            let facts: Vec<Stated> = rows.collect::<Result<_, _>>()?;
            facts.iter().map(|fact| shown(db, fact)).collect()
        })
    }

    /// Facts that hold about a track, and about its identity; and the identities that they bar it from.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn facts_around(
        &self,
        track: u64,
        identity: u64,
    ) -> Result<(Vec<pb::Fact>, HashSet<u64>), CatalogError> {
        self.read(|db| {
            let own = of_track(db, track)?;
            let mut barred = HashSet::new();
            for fact in own
                .iter()
                .filter(|it| it.fact.kind() == FactKind::TwoPeople)
            {
                barred.extend(other_side(db, &fact.fact, Side::Track(track))?);
            }
            // What is said of the identity itself; not that some other track is not its.
            let mut whole = of_identity(db, identity, Some(FactKind::TwoPeople))?;
            whole.retain(|it| it.fact.track_id == 0 && it.fact.other_track_id == 0);
            let all = own.into_iter().chain(whole);
            let all: Result<Vec<_>, _> = all.map(|fact| shown(db, &fact)).collect();
            let mut all = all?;
            all.sort_by_key(|fact| fact.id);
            all.dedup_by_key(|fact| fact.id);
            Ok((all, barred))
        })
    }
}

impl Catalog {
    /// Whether a fact that holds is about the identity, or whoever is a part of it.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn is_in_a_fact(&self, identity: u64) -> Result<bool, CatalogError> {
        self.read(|db| Ok(!of_identity(db, identity, None)?.is_empty()))
    }
}

/// What records change, and what the writer looks up, uncommitted changes included.
impl CatalogWriter {
    pub(super) fn change_facts(
        &mut self,
        record: &Record,
        changes: &[FactChange],
    ) -> Result<(), CatalogError> {
        for change in changes {
            let fact = change.fact.unwrap_or_default();
            self.ids.fact = self.ids.fact.max(fact.fact_id);
            if !change.holds {
                self.db
                    .prepare_cached("DELETE FROM facts WHERE id = ?1")?
                    .execute([sql(fact.fact_id)])?;
                continue;
            }
            self.db
                .prepare_cached("INSERT OR REPLACE INTO facts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![
                    sql(fact.fact_id),
                    fact.kind,
                    sql(fact.track_id),
                    sql(fact.identity_id),
                    sql(fact.other_track_id),
                    sql(fact.other_identity_id),
                    sql(record.sequence)
                ])?;
        }
        Ok(())
    }

    /// The fact, if it holds.
    pub(crate) fn fact(&self, id: u64) -> Result<Option<Stated>, CatalogError> {
        let mut statement = self.db.prepare_cached(&format!("{FACT} WHERE id = ?1"))?;
        Ok(statement.query_row([sql(id)], stated).optional()?)
    }

    pub(crate) fn any_fact(&self) -> Result<bool, CatalogError> {
        Ok(self
            .db
            .prepare_cached("SELECT 1 FROM facts LIMIT 1")?
            .exists([])?)
    }

    /// Facts about a track.
    pub(crate) fn facts_of_track(&self, track: u64) -> Result<Vec<Stated>, CatalogError> {
        of_track(&self.db, track)
    }

    /// Facts about any of these tracks, in no order; one about two of them may come twice.
    ///
    /// Cost: a look for each track, or, of many tracks, one at all facts if these are fewer.
    pub(crate) fn facts_of_tracks(
        &self,
        tracks: &HashSet<u64>,
    ) -> Result<Vec<Stated>, CatalogError> {
        if tracks.len() > TRACKS_FEW && self.fact_count()? < tracks.len() as u64 {
            return among_all(&self.db, tracks);
        }
        let mut all = Vec::new();
        for track in tracks {
            all.extend(of_track(&self.db, *track)?);
        }
        Ok(all)
    }

    fn fact_count(&self) -> Result<u64, CatalogError> {
        let mut statement = self.db.prepare_cached("SELECT count(*) FROM facts")?;
        Ok(statement.query_row([], |row| row.get(0).map(unsql))?)
    }

    /// Facts about an identity, and about whoever is a part of it: all, or those of one kind.
    pub(crate) fn facts_of_identity(
        &self,
        id: u64,
        kind: Option<FactKind>,
    ) -> Result<Vec<Stated>, CatalogError> {
        of_identity(&self.db, id, kind)
    }

    /// The identity that a side of a fact stands for; `None` if the track no longer counts.
    pub(crate) fn stands_for(&self, side: Side) -> Result<Option<u64>, CatalogError> {
        stands_for(&self.db, side)
    }
}

fn of_track(db: &Connection, track: u64) -> Result<Vec<Stated>, CatalogError> {
    let text = format!("{FACT} WHERE track_id = ?1 OR other_track_id = ?1 ORDER BY id");
    let mut statement = db.prepare_cached(&text)?;
    let rows = statement.query_map([sql(track)], stated)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Facts about any of these tracks, by a look at all facts.
fn among_all(db: &Connection, tracks: &HashSet<u64>) -> Result<Vec<Stated>, CatalogError> {
    let mut statement = db.prepare_cached(FACT)?;
    let mut all = Vec::new();
    for row in statement.query_map([], stated)? {
        let row = row?;
        if tracks.contains(&row.fact.track_id) || tracks.contains(&row.fact.other_track_id) {
            all.push(row);
        }
    }
    Ok(all)
}

/// Identities that are two people by a fact about them or their tracks: the lower id first.
pub(super) fn told_apart(db: &Connection) -> Result<HashSet<(u64, u64)>, CatalogError> {
    let text = format!("{FACT} WHERE kind = ?1");
    let mut statement = db.prepare_cached(&text)?;
    let rows = statement.query_map([i32::from(FactKind::TwoPeople)], stated)?;
    let mut all = HashSet::new();
    for row in rows {
        let [one, other] = sides(&row?.fact);
        if let (Some(one), Some(other)) = (stands_for(db, one)?, stands_for(db, other)?) {
            all.insert((one.min(other), one.max(other)));
        }
    }
    Ok(all)
}

fn of_identity(
    db: &Connection,
    id: u64,
    kind: Option<FactKind>,
) -> Result<Vec<Stated>, CatalogError> {
    let text = format!(
        "{PARTS} {FACT} WHERE (identity_id IN (SELECT id FROM part) OR \
         other_identity_id IN (SELECT id FROM part)) AND (?2 IS NULL OR kind = ?2) ORDER BY id"
    );
    let mut statement = db.prepare_cached(&text)?;
    let rows = statement.query_map(params![sql(id), kind.map(i32::from)], stated)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn stands_for(db: &Connection, side: Side) -> Result<Option<u64>, CatalogError> {
    match side {
        Side::Identity(id) => read::resolve(db, id),
        Side::Track(id) => {
            let mut statement =
                db.prepare_cached("SELECT identity_id FROM tracks WHERE id = ?1")?;
            let found = statement.query_row([sql(id)], |row| row.get(0).map(unsql));
            Ok(found.optional()?)
        }
    }
}

/// What the side of a fact that is not this one stands for.
fn other_side(db: &Connection, fact: &Fact, side: Side) -> Result<Option<u64>, CatalogError> {
    match crate::core::fact::opposite(fact, side) {
        Some(other) => stands_for(db, other),
        None => Ok(None),
    }
}

fn stated(row: &Row<'_>) -> rusqlite::Result<Stated> {
    Ok(Stated {
        fact: Fact {
            fact_id: unsql(row.get(0)?),
            kind: row.get(1)?,
            track_id: unsql(row.get(2)?),
            identity_id: unsql(row.get(3)?),
            other_track_id: unsql(row.get(4)?),
            other_identity_id: unsql(row.get(5)?),
        },
        sequence: unsql(row.get(6)?),
    })
}

fn shown(db: &Connection, stated: &Stated) -> Result<pb::Fact, CatalogError> {
    let [one, other] = sides(&stated.fact);
    Ok(pb::Fact {
        sequence: stated.sequence,
        current_identity_id: stands_for(db, one)?.unwrap_or(0),
        other_current_identity_id: stands_for(db, other)?.unwrap_or(0),
        ..crate::core::edit::fact_shown(&stated.fact)
    })
}
