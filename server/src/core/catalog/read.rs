//! What readers ask the catalog.

use super::{Catalog, CatalogError, sql, unsql};
use crate::core::attributes;
use crate::pb;
use prost::Message as _;
use rollcall_log::record::{BlobRef, IdentityState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

/// A source as the log knows it; how its run is doing is known to the ingest service alone.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Its id.
    pub id: u64,
    /// With credentials: mask before showing.
    pub uri: String,
    /// Shown to people.
    pub name: String,
    /// File, live or remote.
    pub kind: pb::SourceKind,
    /// Played at the pace of its own clock.
    pub realtime: bool,
    /// Its state.
    pub state: pb::SourceState,
    /// UPPER_SNAKE, empty when all is well.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Stream time of the last change of state.
    pub position_us: i64,
    /// Unix time.
    pub created_us: i64,
    /// Stream time before which everything is seen.
    pub complete_up_to_us: Option<i64>,
    /// Runs begun so far.
    pub runs: u64,
    /// Tracks that count.
    pub tracks: u64,
    /// Its last record.
    pub sequence: u64,
}

/// Which sightings to list.
#[derive(Clone, Debug, Default)]
pub struct SightingQuery {
    /// Of one identity (redirects are not followed here).
    pub identity: Option<u64>,
    /// On one source.
    pub source: Option<u64>,
    /// Overlapping the time from here on, Unix microseconds.
    pub seen_after_us: Option<i64>,
    /// Overlapping the time up to here.
    pub seen_before_us: Option<i64>,
    /// Go on after this one.
    pub after: Option<SightingKey>,
    /// At most so many.
    pub limit: u32,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

/// Where a sighting stands in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SightingKey {
    /// Wall clock of the first frame.
    pub wall_start_us: i64,
    /// Stream time of the first frame.
    pub start_us: i64,
    /// Track id.
    pub track: u64,
}

/// An exemplar's pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarRow {
    /// Its id.
    pub id: u64,
    /// The track it belongs to.
    pub track: u64,
    /// The identity its track belongs to.
    pub identity: u64,
    /// 0 to 1.
    pub quality: f32,
    /// Aligned crop.
    pub crop: Option<BlobRef>,
    /// Looser crop.
    pub loose_crop: Option<BlobRef>,
}

/// How much the catalog holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Identities with at least one track or photo, or a name.
    pub identities: u64,
    /// Tracks that count, enrolled photos apart.
    pub tracks: u64,
    /// Exemplars kept.
    pub exemplars: u64,
    /// Sources ever added.
    pub sources: u64,
}

const SOURCE: &str = "SELECT id, uri, name, kind, realtime, state, reason, message, position_us, \
    created_us, complete_up_to_us, run, sequence, \
    (SELECT count(*) FROM tracks WHERE source_id = sources.id) FROM sources";
pub(super) const IDENTITY: &str = "SELECT id, name, created_us, edit_sequence, track_count, exemplar_count, \
    screen_us, first_seen_us, last_seen_us, cover_exemplar_id, external_id, state, confirmed, \
    (SELECT json_group_object(key, value) FROM metadata WHERE identity_id = identities.id), \
    photo_count FROM identities";
const SIGHTING: &str = "SELECT t.id, t.source_id, ifnull(s.name, ''), t.start_us, t.end_us, t.start_frame, \
    t.end_frame, t.wall_start_us, t.closed, t.identity_id, t.best_exemplar_id, t.exemplar_count, \
    t.joined, t.attributes FROM tracks t LEFT JOIN sources s ON s.id = t.source_id";
/// Identities worth listing: one that was emptied keeps its id but is shown only if somebody said
/// something about it; one that was absorbed is shown as its absorber.
const LISTED: &str = "((track_count > 0 OR photo_count > 0 OR name <> '' OR external_id <> '' OR confirmed) \
    AND NOT EXISTS (SELECT 1 FROM redirects WHERE identity_id = identities.id))";
/// Redirects followed from one identity at most: more would be a circle.
const CHAIN_MAX: u32 = 1_000_000;

/// Which identities to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityQuery {
    /// Only those whose name contains this, case-insensitively.
    pub name_contains: String,
    /// Only named ones.
    pub named_only: bool,
    /// Only those without a name.
    pub unnamed_only: bool,
    /// Hidden ones too.
    pub include_hidden: bool,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

impl Catalog {
    /// The source with this id.
    ///
    /// # Errors
    /// [`CatalogError`] if the catalog cannot be read, as for every read here.
    pub fn source(&self, id: u64) -> Result<Option<SourceRow>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("{SOURCE} WHERE id = ?1"))?;
            Ok(statement.query_row([sql(id)], source_row).optional()?)
        })
    }

    /// Sources after `after_id`, by id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn sources(&self, after_id: u64, limit: u32) -> Result<Vec<SourceRow>, CatalogError> {
        self.read(|db| {
            let mut statement =
                db.prepare_cached(&format!("{SOURCE} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            let rows = statement.query_map(params![sql(after_id), limit], source_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The source that a request of this id made, if one did.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn source_of_request(&self, request_id: &str) -> Result<Option<u64>, CatalogError> {
        self.read(|db| {
            let text = "SELECT s.id FROM requests r JOIN sources s ON s.id = r.result_id \
                 WHERE r.request_id = ?1 AND r.kind = ?2";
            let kind = super::write::RequestKind::AddSource.number();
            let row = db.query_row(text, params![request_id, kind], |row| row.get(0).map(unsql));
            Ok(row.optional()?)
        })
    }

    /// The edit that a request of this id made, if one did.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn edit_of_request(&self, request_id: &str) -> Result<Option<u64>, CatalogError> {
        self.read(|db| {
            let text = "SELECT e.sequence FROM requests r JOIN edits e USING (sequence) \
                 WHERE r.request_id = ?1";
            let mut statement = db.prepare_cached(text)?;
            let row = statement.query_row([request_id], |row| row.get(0).map(unsql));
            Ok(row.optional()?)
        })
    }

    /// The tracks of a source that count: (the key that its worker had for it, id, identity), by id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn keys_of_source(&self, source: u64) -> Result<Vec<(u64, u64, u64)>, CatalogError> {
        self.read(|db| {
            let text = "SELECT key, id, identity_id FROM tracks WHERE source_id = ?1 ORDER BY id";
            let mut statement = db.prepare_cached(text)?;
            let rows = statement.query_map([sql(source)], |row| {
                Ok((unsql(row.get(0)?), unsql(row.get(1)?), unsql(row.get(2)?)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The first source with that address.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn source_with_uri(&self, uri: &str) -> Result<Option<u64>, CatalogError> {
        self.read(|db| {
            let text = "SELECT min(id) FROM sources WHERE uri = ?1";
            let id: Option<i64> = db.query_row(text, [uri], |row| row.get(0))?;
            Ok(id.map(unsql))
        })
    }

    /// Sources ever added.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn source_count(&self) -> Result<u64, CatalogError> {
        self.read(|db| count(db, "SELECT count(*) FROM sources"))
    }

    /// The identity that `identity` stands for today: itself, or the one that absorbed it.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn resolve(&self, identity: u64) -> Result<Option<u64>, CatalogError> {
        self.read(|db| resolve(db, identity))
    }

    /// The identity, redirects followed.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn identity(&self, id: u64) -> Result<Option<pb::Identity>, CatalogError> {
        self.read(|db| {
            let Some(id) = resolve(db, id)? else {
                return Ok(None);
            };
            let mut statement = db.prepare_cached(&format!("{IDENTITY} WHERE id = ?1"))?;
            Ok(statement.query_row([sql(id)], identity_row).optional()?)
        })
    }

    /// Identities after `after_id` in the order of ids, all without it; how many match in all, and the sequence that was read.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn identities(
        &self,
        after_id: Option<u64>,
        limit: u32,
        query: &IdentityQuery,
    ) -> Result<(Vec<pb::Identity>, u64, u64), CatalogError> {
        let mut condition = LISTED.to_owned();
        let name_contains = &query.name_contains;
        if query.named_only {
            condition.push_str(" AND name <> ''");
        }
        if query.unnamed_only {
            condition.push_str(" AND name = ''");
        }
        if !query.include_hidden {
            condition.push_str(&format!(" AND state <> {}", IdentityState::Hidden as i32));
        }
        if !name_contains.is_empty() {
            condition.push_str(" AND instr(lower(name), lower(:name)) > 0");
        }
        let (first, beyond, order) = match query.newest_first {
            true => (i64::MAX, "<", "DESC"),
            false => (0, ">", "ASC"),
        };
        let name = rusqlite::named_params! { ":name": name_contains };
        let name: &[(&str, &dyn rusqlite::ToSql)] =
            if name_contains.is_empty() { &[] } else { name };
        self.read(|db| {
            let total: i64 = db
                .prepare_cached(&format!(
                    "SELECT count(*) FROM identities WHERE {condition}"
                ))?
                .query_row(name, |row| row.get(0))?;
            let mut statement = db.prepare_cached(&format!(
                "{IDENTITY} WHERE id {beyond} :after AND {condition} ORDER BY id {order} LIMIT :limit"
            ))?;
            let after = after_id.map_or(first, sql);
            let mut all: Vec<(&str, &dyn rusqlite::ToSql)> = name.to_vec();
            all.extend([
                (":after", &after as &dyn rusqlite::ToSql),
                (":limit", &limit),
            ]);
            let rows = statement.query_map(all.as_slice(), identity_row)?;
            Ok((
                rows.collect::<Result<_, _>>()?,
                unsql(total),
                applied_sequence(db)?,
            ))
        })
    }

    /// Sightings in the order of [`SightingKey`], and the sequence that was read.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn sightings(
        &self,
        query: &SightingQuery,
    ) -> Result<(Vec<pb::Sighting>, u64), CatalogError> {
        let (text, values) = sighting_sql(query);
        self.read(|db| {
            let mut statement = db.prepare_cached(&text)?;
            let rows = statement.query_map(params_from_iter(values), sighting_row)?;
            Ok((rows.collect::<Result<_, _>>()?, applied_sequence(db)?))
        })
    }

    /// The sighting that is this track; or the enrolled photo, which has no source and no times.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn track(&self, id: u64) -> Result<Option<pb::Sighting>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("{SIGHTING} WHERE t.id = ?1"))?;
            Ok(statement.query_row([sql(id)], sighting_row).optional()?)
        })
    }

    /// The exemplar with this id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn exemplar(&self, id: u64) -> Result<Option<ExemplarRow>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT e.id, e.track_id, t.identity_id, e.quality, e.crop, e.loose_crop \
                 FROM exemplars e JOIN tracks t ON t.id = e.track_id WHERE e.id = ?1",
            )?;
            Ok(statement.query_row([sql(id)], exemplar_row).optional()?)
        })
    }

    /// The exemplars kept of these tracks: (track, exemplar), the best of each track first.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn exemplars_of(&self, tracks: &[u64]) -> Result<Vec<(u64, u64)>, CatalogError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id FROM exemplars WHERE track_id = ?1 ORDER BY quality DESC, id",
            )?;
            let mut all = Vec::new();
            for track in tracks {
                let rows = statement.query_map([sql(*track)], |row| row.get(0).map(unsql))?;
                for exemplar in rows {
                    all.push((*track, exemplar?));
                }
            }
            Ok(all)
        })
    }

    /// How much there is.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn counts(&self) -> Result<Counts, CatalogError> {
        self.read(|db| {
            Ok(Counts {
                identities: count(
                    db,
                    &format!("SELECT count(*) FROM identities WHERE {LISTED}"),
                )?,
                tracks: count(db, "SELECT count(*) FROM tracks WHERE source_id <> 0")?,
                exemplars: count(db, "SELECT count(*) FROM exemplars")?,
                sources: count(db, "SELECT count(*) FROM sources")?,
            })
        })
    }
}

fn sighting_sql(query: &SightingQuery) -> (String, Vec<Value>) {
    // Of source 0 are enrolled photos, on which nobody was seen.
    let mut text = format!("{SIGHTING} WHERE t.source_id <> 0");
    let mut values = Vec::new();
    let mut condition = |sql: &str, value: i64| {
        text.push_str(sql);
        values.push(Value::Integer(value));
    };
    if let Some(identity) = query.identity {
        condition(" AND t.identity_id = ?", sql(identity));
    }
    if let Some(source) = query.source {
        condition(" AND t.source_id = ?", sql(source));
    }
    if let Some(after) = query.seen_after_us {
        condition(" AND t.wall_start_us + (t.end_us - t.start_us) >= ?", after);
    }
    if let Some(before) = query.seen_before_us {
        condition(" AND t.wall_start_us <= ?", before);
    }
    let (compare, order) = if query.newest_first {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some(key) = query.after {
        text.push_str(&format!(
            " AND (t.wall_start_us, t.start_us, t.id) {compare} (?, ?, ?)"
        ));
        values.extend([key.wall_start_us, key.start_us, sql(key.track)].map(Value::Integer));
    }
    text.push_str(&format!(
        " ORDER BY t.wall_start_us {order}, t.start_us {order}, t.id {order} LIMIT ?"
    ));
    values.push(Value::Integer(i64::from(query.limit)));
    (text, values)
}

pub(super) fn resolve(db: &Connection, identity: u64) -> Result<Option<u64>, CatalogError> {
    let mut identity = identity;
    let mut followed = 0;
    while let Some(into) = redirect(db, identity)? {
        identity = into;
        followed += 1;
        if followed > CHAIN_MAX {
            let what = "chain of redirects";
            return Err(CatalogError::Impossible { what });
        }
    }
    let known = db
        .prepare_cached("SELECT 1 FROM identities WHERE id = ?1")?
        .exists([sql(identity)])?;
    Ok(known.then_some(identity))
}

/// The identity that this one was made a part of, if it was.
pub(super) fn redirect(db: &Connection, identity: u64) -> Result<Option<u64>, CatalogError> {
    let into = db
        .prepare_cached("SELECT into_id FROM redirects WHERE identity_id = ?1")?
        .query_row([sql(identity)], |row| row.get(0))
        .optional()?;
    Ok(into.map(unsql))
}

pub(super) fn applied_sequence(db: &Connection) -> Result<u64, CatalogError> {
    count(db, "SELECT applied_sequence FROM meta")
}

fn count(db: &Connection, text: &str) -> Result<u64, CatalogError> {
    Ok(unsql(
        db.prepare_cached(text)?.query_row([], |row| row.get(0))?,
    ))
}

fn source_row(row: &Row<'_>) -> rusqlite::Result<SourceRow> {
    Ok(SourceRow {
        id: unsql(row.get(0)?),
        uri: row.get(1)?,
        name: row.get(2)?,
        kind: pb::SourceKind::try_from(row.get::<_, i32>(3)?).unwrap_or_default(),
        realtime: row.get(4)?,
        state: pb::SourceState::try_from(row.get::<_, i32>(5)?).unwrap_or_default(),
        reason: row.get(6)?,
        message: row.get(7)?,
        position_us: row.get(8)?,
        created_us: row.get(9)?,
        complete_up_to_us: row.get(10)?,
        runs: unsql(row.get(11)?),
        sequence: unsql(row.get(12)?),
        tracks: unsql(row.get(13)?),
    })
}

pub(super) fn identity_row(row: &Row<'_>) -> rusqlite::Result<pb::Identity> {
    let edit: i64 = row.get(3)?;
    let metadata: String = row.get(13)?;
    Ok(pb::Identity {
        id: unsql(row.get(0)?),
        name: row.get(1)?,
        state: row.get(11)?,
        create_time: Some(crate::time::timestamp(row.get(2)?)),
        first_seen: row.get::<_, Option<i64>>(7)?.map(crate::time::timestamp),
        last_seen: row.get::<_, Option<i64>>(8)?.map(crate::time::timestamp),
        track_count: unsql(row.get(4)?),
        exemplar_count: unsql(row.get(5)?),
        screen_time: Some(crate::time::duration(row.get(6)?)),
        cover_exemplar_id: unsql(row.get(9)?),
        etag: super::write::etag(unsql(edit)),
        external_id: row.get(10)?,
        confirmed: row.get(12)?,
        metadata: serde_json::from_str(&metadata).unwrap_or_default(),
        photo_count: unsql(row.get(14)?),
    })
}

fn sighting_row(row: &Row<'_>) -> rusqlite::Result<pb::Sighting> {
    Ok(pb::Sighting {
        track_id: unsql(row.get(0)?),
        source_id: unsql(row.get(1)?),
        source_name: row.get(2)?,
        start: Some(crate::time::duration(row.get(3)?)),
        end: Some(crate::time::duration(row.get(4)?)),
        start_frame: row.get(5)?,
        end_frame: row.get(6)?,
        wall_start: Some(crate::time::timestamp(row.get(7)?)),
        open: !row.get::<_, bool>(8)?,
        identity_id: unsql(row.get(9)?),
        best_exemplar_id: unsql(row.get(10)?),
        exemplar_count: row.get(11)?,
        cosine: row.get(12)?,
        attributes: attributes::shown(&attributes::from_column(row.get(13)?)),
    })
}

fn exemplar_row(row: &Row<'_>) -> rusqlite::Result<ExemplarRow> {
    let blob = |bytes: Option<Vec<u8>>| bytes.and_then(|b| BlobRef::decode(b.as_slice()).ok());
    Ok(ExemplarRow {
        id: unsql(row.get(0)?),
        track: unsql(row.get(1)?),
        identity: unsql(row.get(2)?),
        quality: row.get(3)?,
        crop: blob(row.get(4)?),
        loose_crop: blob(row.get(5)?),
    })
}
