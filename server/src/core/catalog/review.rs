//! What waits for people to decide: identities that the rule opened because it could not tell two apart.

use super::facts::told_apart;
use super::read::{IDENTITY, identity_row, resolve};
use super::{Catalog, CatalogError, CatalogWriter, sql, unsql};
use crate::pb;
use rollcall_log::record::{Decision, DecisionKind, IdentityState};
use rusqlite::params;

/// An identity that may be somebody who was known already.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewItem {
    /// Whom the rule did not dare to join to anybody.
    pub identity: pb::Identity,
    /// Who it may be: the one nearest to it when that was decided.
    pub candidate: pb::Identity,
    /// How similar the two were then.
    pub cosine: f32,
}

/// Nobody has said anything of them, they were not absorbed, and there is something to look at.
const WAITING: &str = "i.name = '' AND i.external_id = '' AND NOT i.confirmed AND i.track_count > 0 \
    AND NOT EXISTS (SELECT 1 FROM redirects r WHERE r.identity_id = i.id)";

impl Catalog {
    /// What waits before identity `before`, newest first, and how much waits in all. Those whose candidate has become
    /// the same person, or is gone, or is somebody else by people's word, are left out.
    ///
    /// Cost: a look at all that waits, and at all facts that say "two people".
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn review_items(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<(Vec<ReviewItem>, u64), CatalogError> {
        let from = "FROM ambiguous a JOIN identities i ON i.id = a.identity_id";
        let active = i32::from(IdentityState::Active);
        self.read(|db| {
            let apart = told_apart(db)?;
            let mut waiting = db.prepare_cached(&format!(
                "SELECT a.identity_id, a.candidate_id, a.cosine {from} \
                 WHERE {WAITING} AND i.state = ?1 ORDER BY i.id DESC"
            ))?;
            let rows = waiting.query_map([active], |row| {
                Ok((unsql(row.get(0)?), unsql(row.get(1)?), row.get(2)?))
            })?;
            let mut person = db.prepare_cached(&format!("{IDENTITY} WHERE id = ?1"))?;
            let mut items = Vec::new();
            let mut total = 0;
            for row in rows {
                let (identity, candidate, cosine) = row?;
                let Some(candidate) = resolve(db, candidate)? else {
                    continue;
                };
                let both = (identity.min(candidate), identity.max(candidate));
                if identity == candidate || apart.contains(&both) {
                    continue;
                }
                total += 1;
                if identity >= before || items.len() >= limit {
                    continue;
                }
                items.push(ReviewItem {
                    identity: person.query_row([sql(identity)], identity_row)?,
                    candidate: person.query_row([sql(candidate)], identity_row)?,
                    cosine,
                });
            }
            Ok((items, total))
        })
    }
}

impl CatalogWriter {
    /// Notes what is to be reviewed of a decision that gave a track its identity.
    pub(super) fn note_ambiguous(&mut self, decision: &Decision) -> Result<(), CatalogError> {
        if decision.kind() == DecisionKind::Ambiguous && decision.runner_up_identity_id != 0 {
            let text = "INSERT OR REPLACE INTO ambiguous VALUES (?1, ?2, ?3)";
            self.db.prepare_cached(text)?.execute(params![
                sql(decision.identity_id),
                sql(decision.runner_up_identity_id),
                decision.runner_up_similarity
            ])?;
        }
        Ok(())
    }
}
