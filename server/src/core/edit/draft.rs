//! An edit in the making: tracks that go from one identity to another, facts that are stated and given up.

use super::super::catalog::{CatalogError, CatalogWriter};
use super::super::command::WriteError;
use super::super::fact::{Side, Stated, fact, sides};
use super::super::writer::Refusal;
use super::plan::blank;
use rollcall_log::record::{Edited, FactChange, FactKind, Profile, ProfileChange, TracksMoved};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Draft<'a> {
    catalog: &'a CatalogWriter,
    edited: Edited,
    /// From where, to where.
    moves: BTreeMap<(u64, u64), Vec<u64>>,
    next_identity: u64,
    next_fact: u64,
}

impl<'a> Draft<'a> {
    pub(super) fn new(catalog: &'a CatalogWriter) -> Self {
        let ids = catalog.ids();
        Self {
            catalog,
            edited: Edited::default(),
            moves: BTreeMap::new(),
            next_identity: ids.identity + 1,
            next_fact: ids.fact + 1,
        }
    }

    /// A new identity.
    pub(super) fn open(&mut self, name: String) -> u64 {
        let identity_id = self.next_identity;
        self.next_identity += 1;
        let after = Profile { name, ..blank() };
        self.edited.profiles.push(ProfileChange {
            identity_id,
            created: true,
            before: None,
            after: Some(after),
            ..ProfileChange::default()
        });
        identity_id
    }

    /// The track becomes another identity's; where people put it before no longer counts.
    pub(super) fn take(&mut self, track: u64, from: u64, into: u64) -> Result<(), CatalogError> {
        self.moves.entry((from, into)).or_default().push(track);
        for stated in self.catalog.facts_of_track(track)? {
            if stated.fact.kind() == FactKind::Placed {
                self.edited.facts.push(FactChange {
                    fact: Some(stated.fact),
                    holds: false,
                });
            }
        }
        Ok(())
    }

    pub(super) fn state(&mut self, kind: FactKind, both: [Side; 2]) {
        let stated = fact(self.next_fact, kind, both);
        self.next_fact += 1;
        self.edited.facts.push(FactChange {
            fact: Some(stated),
            holds: true,
        });
    }

    /// The same, if it has not been said already; else the fact that says it.
    pub(super) fn state_anew(
        &mut self,
        kind: FactKind,
        both: [Side; 2],
    ) -> Result<Option<Stated>, CatalogError> {
        let wanted = self.sides_now(both)?;
        let known = match both[0] {
            Side::Track(track) => self.catalog.facts_of_track(track)?,
            Side::Identity(id) => self.catalog.facts_of_identity(id, Some(kind))?,
        };
        for stated in known.into_iter().filter(|it| it.fact.kind() == kind) {
            if self.sides_now(sides(&stated.fact))? == wanted {
                return Ok(Some(stated));
            }
        }
        self.state(kind, both);
        Ok(None)
    }

    /// In order, identities as whoever they resolve to.
    fn sides_now(&self, both: [Side; 2]) -> Result<BTreeSet<Side>, CatalogError> {
        let now = both.map(|side| match side {
            Side::Track(_) => Ok(Some(side)),
            Side::Identity(_) => Ok(self.catalog.stands_for(side)?.map(Side::Identity)),
        });
        now.into_iter().filter_map(Result::transpose).collect()
    }

    pub(super) fn finish(mut self) -> Edited {
        let moves = self.moves.into_iter().map(|((from, into), mut track_ids)| {
            track_ids.sort_unstable();
            TracksMoved {
                from_identity_id: from,
                into_identity_id: into,
                track_ids,
                all: false,
            }
        });
        self.edited.moves.extend(moves);
        self.edited
    }
}

/// The tracks, `least` to `most` of them and each once, with whose they are; in the order given.
pub(super) fn owners(
    catalog: &CatalogWriter,
    track_ids: &[u64],
    (least, most): (usize, usize),
) -> Result<Vec<(u64, u64)>, Refusal> {
    let count = track_ids.len();
    if count > most {
        let what = format!("{count} tracks are more than can be named at a time: {most}");
        return Err(WriteError::EditTooLarge { what }.into());
    }
    let mut seen = BTreeSet::new();
    let twice = track_ids.iter().find(|track| !seen.insert(**track));
    let what = match twice {
        Some(twice) => Some(format!("names track {twice} twice")),
        None => (count < least).then(|| format!("names {count} tracks, and {least} are needed")),
    };
    if let Some(what) = what {
        return Err(WriteError::InvalidTracks { what }.into());
    }
    let owner = |id: &u64| match catalog.track_place(*id)? {
        Some(place) => Ok((*id, place.identity)),
        None => Err(WriteError::TrackNotFound { id: *id }.into()),
    };
    track_ids.iter().map(owner).collect()
}
