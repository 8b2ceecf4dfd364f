//! What waits for people to decide: tracks that the rule could not give to one of several people, identities that
//! may be one person, and identities that may be two.

use super::facts::told_apart;
use super::read::{IDENTITY, applied_sequence, identity_row, resolve};
use super::{Catalog, CatalogError, CatalogWriter, sql, unsql};
use crate::pb;
use rollcall_log::record::{
    Candidate, Decision, DecisionKind, IdentityState, Record, ReviewProposed,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// What people are to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// Which of the candidates the identity is, if it is one: the rule could not tell when its track came.
    WhichOne,
    /// Whether the identity and the candidate are one person.
    OnePerson,
    /// Whether the identity is two people.
    TwoPeople,
}

/// Something that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewItem {
    /// The record that proposed it.
    pub sequence: u64,
    /// What is to be decided.
    pub proposed: Proposed,
    /// Of whom.
    pub identity: pb::Identity,
    /// Who it may be, with the cosine there was when that was proposed; the likeliest first.
    pub candidates: Vec<(pb::Identity, f32)>,
    /// Of one that may be two people: the tracks, still there, that look like somebody else.
    pub track_ids: Vec<u64>,
    /// Of one that may be two people: the cosine of the two parts.
    pub cosine: f32,
}

/// A row of the table of proposals. Those of one record go together.
struct Row {
    sequence: u64,
    identity: u64,
    /// 0: the identity may be two people.
    candidate: u64,
    cosine: f32,
    /// The rule has decided so, of a track; else it was looked at again.
    decided: bool,
}

/// Of whom the rule has decided, they are themselves still, and nobody has said anything of them.
const WAITING: &str = "SELECT p.sequence, p.identity_id, p.candidate_id, p.cosine, p.decided \
    FROM proposals p JOIN identities i ON i.id = p.identity_id WHERE NOT p.decided OR (i.name = '' AND \
    i.external_id = '' AND NOT i.confirmed AND \
    NOT EXISTS (SELECT 1 FROM redirects r WHERE r.identity_id = i.id)) \
    ORDER BY p.sequence DESC, p.cosine DESC, p.candidate_id";

impl Catalog {
    /// What waits of what was proposed before record `before`, newest first; how much waits in all; and the sequence
    /// that was read. What has been answered meanwhile (merged, told apart, named, confirmed, moved, hidden) is left
    /// out.
    ///
    /// Cost: a look at all that was proposed, and at all facts that say "two people".
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn review_items(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<(Vec<ReviewItem>, u64, u64), CatalogError> {
        self.read(|db| {
            let mut waiting = db.prepare_cached(WAITING)?;
            let rows = waiting.query_map([], |row| {
                Ok(Row {
                    sequence: unsql(row.get(0)?),
                    identity: unsql(row.get(1)?),
                    candidate: unsql(row.get(2)?),
                    cosine: row.get(3)?,
                    decided: row.get(4)?,
                })
            })?;
            let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
            let apart = told_apart(db)?;
            let mut met = HashSet::new();
            let mut items = Vec::new();
            let mut total = 0;
            for of_record in rows.chunk_by(|one, next| one.sequence == next.sequence) {
                let Some(open) = open(db, of_record, &apart, &mut met)? else {
                    continue;
                };
                total += 1;
                if open.sequence < before && items.len() < limit {
                    items.push(open.item(db)?);
                }
            }
            Ok((items, total, applied_sequence(db)?))
        })
    }
}

/// What has not been answered of a record's proposals.
struct Open {
    sequence: u64,
    proposed: Proposed,
    identity: u64,
    candidates: Vec<(u64, f32)>,
    track_ids: Vec<u64>,
    cosine: f32,
}

/// `met`: pairs that a newer record has proposed.
fn open(
    db: &Connection,
    rows: &[Row],
    apart: &HashSet<(u64, u64)>,
    met: &mut HashSet<(u64, u64)>,
) -> Result<Option<Open>, CatalogError> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let Some(identity) = there(db, first.identity)? else {
        return Ok(None);
    };
    if first.candidate == 0 {
        let track_ids = tracks_still_there(db, first.sequence, identity)?;
        let two =
            identity == first.identity && !track_ids.is_empty() && !is_confirmed(db, identity)?;
        return Ok(two.then_some(Open {
            sequence: first.sequence,
            proposed: Proposed::TwoPeople,
            identity,
            candidates: Vec::new(),
            track_ids,
            cosine: first.cosine,
        }));
    }
    let mut candidates: Vec<(u64, f32)> = Vec::new();
    for row in rows {
        let Some(candidate) = there(db, row.candidate)? else {
            continue;
        };
        let both = (identity.min(candidate), identity.max(candidate));
        if identity != candidate && !apart.contains(&both) && met.insert(both) {
            candidates.push((candidate, row.cosine));
        }
    }
    let proposed = if first.decided {
        Proposed::WhichOne
    } else {
        Proposed::OnePerson
    };
    Ok((!candidates.is_empty()).then_some(Open {
        sequence: first.sequence,
        proposed,
        identity,
        candidates,
        track_ids: Vec::new(),
        cosine: first.cosine,
    }))
}

impl Open {
    fn item(self, db: &Connection) -> Result<ReviewItem, CatalogError> {
        let mut person = db.prepare_cached(&format!("{IDENTITY} WHERE id = ?1"))?;
        let mut person = |id: u64| person.query_row([sql(id)], identity_row);
        let mut candidates = Vec::with_capacity(self.candidates.len());
        for (candidate, cosine) in &self.candidates {
            candidates.push((person(*candidate)?, *cosine));
        }
        Ok(ReviewItem {
            sequence: self.sequence,
            proposed: self.proposed,
            identity: person(self.identity)?,
            candidates,
            track_ids: self.track_ids,
            cosine: self.cosine,
        })
    }
}

/// Whom the id stands for, if there is something to be looked at and it is not hidden.
fn there(db: &Connection, id: u64) -> Result<Option<u64>, CatalogError> {
    let Some(id) = resolve(db, id)? else {
        return Ok(None);
    };
    let text =
        "SELECT 1 FROM identities WHERE id = ?1 AND state = ?2 AND track_count + photo_count > 0";
    let active = i32::from(IdentityState::Active);
    let found = db.prepare_cached(text)?.exists(params![sql(id), active])?;
    Ok(found.then_some(id))
}

fn is_confirmed(db: &Connection, id: u64) -> Result<bool, CatalogError> {
    let mut statement = db.prepare_cached("SELECT confirmed FROM identities WHERE id = ?1")?;
    Ok(statement.query_row([sql(id)], |row| row.get(0))?)
}

/// Of the tracks that were proposed to be somebody else, those that the identity still has.
fn tracks_still_there(
    db: &Connection,
    sequence: u64,
    identity: u64,
) -> Result<Vec<u64>, CatalogError> {
    let text = "SELECT t.id FROM proposal_tracks p JOIN tracks t ON t.id = p.track_id \
                WHERE p.sequence = ?1 AND t.identity_id = ?2 ORDER BY t.id";
    let mut statement = db.prepare_cached(text)?;
    let rows = statement.query_map([sql(sequence), sql(identity)], |row| row.get(0).map(unsql))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl CatalogWriter {
    /// Notes what is to be reviewed of a decision that gave a track its identity.
    pub(super) fn note_ambiguous(
        &mut self,
        record: &Record,
        decision: &Decision,
    ) -> Result<(), CatalogError> {
        if decision.kind() != DecisionKind::Ambiguous {
            return Ok(());
        }
        // Records of old name one candidate alone.
        let runner_up = Candidate {
            identity_id: decision.runner_up_identity_id,
            similarity: decision.runner_up_similarity,
        };
        let one = [runner_up];
        let candidates = match decision.candidates.as_slice() {
            [] => one.as_slice(),
            several => several,
        };
        for candidate in candidates.iter().filter(|it| it.identity_id != 0) {
            let pair = (decision.identity_id, candidate.identity_id);
            self.note_proposal(record.sequence, pair, candidate.similarity, true)?;
        }
        Ok(())
    }

    pub(super) fn review_proposed(
        &mut self,
        record: &Record,
        proposed: &ReviewProposed,
    ) -> Result<(), CatalogError> {
        let pair = (proposed.identity_id, proposed.other_identity_id);
        self.note_proposal(record.sequence, pair, proposed.similarity, false)?;
        let mut statement = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO proposal_tracks VALUES (?1, ?2)")?;
        for track in &proposed.track_ids {
            statement.execute([sql(record.sequence), sql(*track)])?;
        }
        Ok(())
    }

    fn note_proposal(
        &mut self,
        sequence: u64,
        (identity, candidate): (u64, u64),
        cosine: f32,
        decided: bool,
    ) -> Result<(), CatalogError> {
        let text = "INSERT OR REPLACE INTO proposals VALUES (?1, ?2, ?3, ?4, ?5)";
        self.db.prepare_cached(text)?.execute(params![
            sql(sequence),
            sql(identity),
            sql(candidate),
            cosine,
            decided
        ])?;
        Ok(())
    }

    /// Whether that was proposed before: of these two in either order, or of the one (the other is 0) and tracks of
    /// which some are still its.
    pub(crate) fn is_proposed(&self, one: u64, other: u64) -> Result<bool, CatalogError> {
        let text = "SELECT sequence FROM proposals WHERE identity_id = ?1 AND candidate_id = ?2";
        let mut statement = self.db.prepare_cached(text)?;
        let mut proposed = |one, other| {
            let found = statement.query_row([sql(one), sql(other)], |row| row.get(0).map(unsql));
            found.optional()
        };
        let Some(sequence) = proposed(one, other)? else {
            return Ok(other != 0 && proposed(other, one)?.is_some());
        };
        Ok(other != 0 || !tracks_still_there(&self.db, sequence, one)?.is_empty())
    }
}
