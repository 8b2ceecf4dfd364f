//! Who each given identity is in the collection.

use super::super::BuildError;
use super::pass::Pass;
use crate::core::{Catalog, CatalogError, Core, FactQuery, SYSTEM, name_key};
use crate::pb::IdentityState;
use crate::repair::said_of;
use rollcall_ingest::cluster::repair::Said;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Facts read at once.
const FACTS_AT_ONCE: u32 = 10_000;

impl Pass<'_> {
    /// Finds out who each given identity is, one each: who was given as it before, else who has its name and some of
    /// its tracks, else who has most of them. Nobody of another name, and nobody of whom something is said unless most
    /// of the tracks are theirs.
    ///
    /// Moving tracks of a given identity to who it is changes nothing about that: a build that was broken off goes on
    /// with the same people.
    pub(super) fn claim(&mut self, bearers: &HashMap<u64, Option<Bearer>>) {
        let mut shares: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for (label, person) in &self.people {
            for track in &person.tracks {
                *shares.entry((*label, self.owners[track])).or_default() += 1;
            }
        }
        let mut pairs = Vec::with_capacity(shares.len());
        for ((label, identity), share) in shares {
            let Some(bearer) = &bearers[&identity] else {
                continue;
            };
            let wanted = self.given.names.get(&label);
            let wanted = wanted.map(|name| name_key(name)).unwrap_or_default();
            let most = share * 2 > self.people[&label].tracks.len();
            let rank = if bearer.label == Some(label.to_string()) {
                0
            } else if !wanted.is_empty() && bearer.name == wanted {
                1
            } else if bearer.is_free(most) && (bearer.name.is_empty() || wanted.is_empty()) {
                2
            } else {
                continue;
            };
            pairs.push((rank, Reverse(share), label, identity));
        }
        pairs.sort_unstable();
        for (_, _, label, identity) in pairs {
            if let Some(person) = self.people.get_mut(&label)
                && person.target.is_none()
                && self.claimed.insert(identity)
            {
                person.target = Some(identity);
            }
        }
    }
}

/// Somebody of the collection who may be a given identity.
pub(super) struct Bearer {
    /// As names are compared.
    name: String,
    /// As whom they were given before, in this file.
    label: Option<String>,
    said: Said,
    /// They stay so: nothing comes to them, and nothing leaves them.
    pub(super) hidden: bool,
}

impl Bearer {
    /// Who has this id, `key` being that of the file's labels; `None` if nobody has it.
    pub(super) fn of(catalog: &Catalog, id: u64, key: &str) -> Result<Option<Self>, CatalogError> {
        let Some(identity) = catalog.identity(id)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: name_key(&identity.name),
            label: identity.metadata.get(key).cloned(),
            said: said_of(catalog, &identity)?,
            hidden: identity.state() != IdentityState::Active,
        }))
    }

    /// Whether a given identity may be them, who has the `most` of its tracks or not.
    fn is_free(&self, most: bool) -> bool {
        self.label.is_none() && (most || self.said == Said::Nothing)
    }
}

/// Tracks that people have put somewhere, or of which they have said whose they are or are not.
pub(super) fn said_by_people(core: &Core) -> Result<HashSet<u64>, BuildError> {
    let (log, mut tracks) = (core.log(), HashSet::new());
    // One edit may state ten thousand of them.
    let mut last = (0, false);
    let mut query = FactQuery {
        limit: FACTS_AT_ONCE,
        ..FactQuery::default()
    };
    loop {
        let facts = core.catalog().facts(&query)?;
        let Some(newest) = facts.last() else {
            return Ok(tracks);
        };
        query.after = newest.id;
        for fact in facts {
            if fact.sequence != last.0 {
                let record = log.record(fact.sequence)?;
                last = (
                    fact.sequence,
                    record.is_some_and(|record| record.author != SYSTEM),
                );
            }
            if last.1 {
                let both = [fact.track_id, fact.other_track_id];
                tracks.extend(both.into_iter().filter(|track| *track != 0));
            }
        }
    }
}
