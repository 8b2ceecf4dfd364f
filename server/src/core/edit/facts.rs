//! Edits that say who is who, and the rule that holds for all edits: no fact that holds is broken.

use super::super::catalog::{CatalogError, CatalogWriter};
use super::super::command::WriteError;
use super::super::fact::{Side, Stated, fact, in_words, is_kept, sides};
use super::super::writer::Refusal;
use super::LINKED_MAX;
use super::draft::{Draft, owners};
use super::plan::editable;
use rollcall_log::record::{Edited, FactChange, FactKind};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Facts named in a refusal at most.
const NAMED_MAX: usize = 10;

/// The tracks are one person's: whoever the first one's is.
pub(super) fn link(
    catalog: &CatalogWriter,
    track_ids: &[u64],
    wanted: Option<String>,
) -> Result<Edited, Refusal> {
    let owners = owners(catalog, track_ids, (2, LINKED_MAX))?;
    let mut draft = Draft::new(catalog);
    let mut known = None;
    let mut fresh = false;
    if let Some(((first, into), rest)) = owners.split_first() {
        editable(catalog, *into, wanted)?;
        for (track, from) in rest {
            if from != into {
                refuse_two_people(catalog, (*first, *into), (*track, *from))?;
                draft.take(*track, *from, *into)?;
            }
            let both = [Side::Track(*first), Side::Track(*track)];
            match draft.state_anew(FactKind::OnePerson, both)? {
                Some(stated) => known = Some(stated),
                None => fresh = true,
            }
        }
    }
    said_anew(fresh, known)?;
    Ok(draft.finish())
}

/// Refuses to link tracks of two identities that people say are two people.
fn refuse_two_people(
    catalog: &CatalogWriter,
    (track, identity): (u64, u64),
    (other_track, other): (u64, u64),
) -> Result<(), Refusal> {
    for stated in catalog.facts_of_identity(identity, Some(FactKind::TwoPeople))? {
        let both = sides(&stated.fact);
        if both.iter().any(|side| matches!(side, Side::Track(_))) {
            continue;
        }
        let mut now = BTreeSet::new();
        for side in both {
            now.extend(catalog.stands_for(side)?);
        }
        if now == BTreeSet::from([identity, other]) {
            let both = [Side::Track(track), Side::Track(other_track)];
            let asked = in_words(&fact(0, FactKind::OnePerson, both));
            return Err(contradiction(asked, &[stated]).into());
        }
    }
    Ok(())
}

/// The identities are two people.
pub(super) fn separate(
    catalog: &CatalogWriter,
    (asked, wanted): (u64, Option<String>),
    (asked_other, wanted_other): (u64, Option<String>),
) -> Result<Edited, Refusal> {
    let (one, _) = editable(catalog, asked, wanted)?;
    let (other, _) = editable(catalog, asked_other, wanted_other)?;
    let mut draft = Draft::new(catalog);
    let both = [Side::Identity(one), Side::Identity(other)];
    if one == other {
        // Said of one identity, or of two that were merged: what contradicts it is what they are.
        let both = [Side::Identity(asked), Side::Identity(asked_other)];
        return Err(WriteError::FactsContradict {
            asked: in_words(&fact(0, FactKind::TwoPeople, both)),
            said: vec![format!("both are identity {one}")],
            facts: Vec::new(),
            edits: merges(catalog, &[asked, asked_other])?,
        }
        .into());
    }
    let known = draft.state_anew(FactKind::TwoPeople, both)?;
    said_anew(known.is_none(), known)?;
    Ok(draft.finish())
}

/// Edits in effect that name identities which are a part of somebody.
fn merges(catalog: &CatalogWriter, ids: &[u64]) -> Result<Vec<u64>, CatalogError> {
    let mut edits = BTreeSet::new();
    for id in ids {
        if catalog.absorber(*id)?.is_some() {
            edits.extend(catalog.edits_since(*id, 0)?.into_iter().next_back());
        }
    }
    Ok(edits.into_iter().collect())
}

/// The tracks are two people's; of one identity, the first gets one of its own.
pub(super) fn separate_tracks(
    catalog: &CatalogWriter,
    track: u64,
    other: u64,
) -> Result<Edited, Refusal> {
    let owners = owners(catalog, &[track, other], (2, 2))?;
    let mut draft = Draft::new(catalog);
    let both = [Side::Track(track), Side::Track(other)];
    let known = draft.state_anew(FactKind::TwoPeople, both)?;
    said_anew(known.is_none(), known)?;
    if let [(track, one), (_, other)] = owners[..]
        && one == other
    {
        let own = draft.open(String::new());
        draft.take(track, one, own)?;
    }
    Ok(draft.finish())
}

/// The tracks are not this person's. Those that are leave, each for an identity of its own, linked ones
/// for one of theirs.
pub(super) fn reject(
    catalog: &CatalogWriter,
    (asked, wanted): (u64, Option<String>),
    track_ids: &[u64],
) -> Result<Edited, Refusal> {
    let (id, _) = editable(catalog, asked, wanted)?;
    let owners = owners(catalog, track_ids, (1, LINKED_MAX))?;
    let mut draft = Draft::new(catalog);
    let mut known = None;
    let mut fresh = false;
    for (track, _) in &owners {
        let both = [Side::Track(*track), Side::Identity(id)];
        match draft.state_anew(FactKind::TwoPeople, both)? {
            Some(stated) => known = Some(stated),
            None => fresh = true,
        }
    }
    said_anew(fresh, known)?;
    let leaving = owners.iter().filter(|(_, owner)| *owner == id);
    for group in linked(catalog, leaving.map(|(track, _)| *track).collect())? {
        let own = draft.open(String::new());
        for track in group {
            draft.take(track, id, own)?;
        }
    }
    Ok(draft.finish())
}

/// The tracks in groups of those that people say are one person's.
fn linked(catalog: &CatalogWriter, tracks: BTreeSet<u64>) -> Result<Vec<Vec<u64>>, CatalogError> {
    let mut left = tracks;
    let mut groups = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut group = vec![first];
        let mut next = 0;
        while let Some(track) = group.get(next).copied() {
            next += 1;
            for stated in catalog.facts_of_track(track)? {
                let links = stated.fact.kind() == FactKind::OnePerson;
                for side in sides(&stated.fact).into_iter().filter(|_| links) {
                    if let Side::Track(other) = side
                        && left.remove(&other)
                    {
                        group.push(other);
                    }
                }
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Refuses what says nothing new.
fn said_anew(fresh: bool, known: Option<Stated>) -> Result<(), WriteError> {
    match known {
        Some(stated) if !fresh => Err(WriteError::FactExists {
            said: stated.in_words(),
            id: stated.fact.fact_id,
        }),
        Some(_) | None => Ok(()),
    }
}

/// The fact no longer holds.
pub(super) fn forget(catalog: &CatalogWriter, id: u64) -> Result<Edited, Refusal> {
    let stated = catalog.fact(id)?.ok_or(WriteError::FactNotFound { id })?;
    Ok(Edited {
        facts: vec![FactChange {
            fact: Some(stated.fact),
            holds: false,
        }],
        ..Edited::default()
    })
}

/// Refuses an edit after which a fact that then holds would not be kept.
pub(super) fn heed(catalog: &CatalogWriter, planned: &Edited) -> Result<(), Refusal> {
    let broken = broken(catalog, planned)?;
    if broken.is_empty() {
        return Ok(());
    }
    Err(contradiction(asked(planned), &broken).into())
}

/// What an edit comes to, in words: the first of it.
fn asked(planned: &Edited) -> String {
    let facts = planned.facts.iter().filter(|change| change.holds);
    let mut facts = facts.filter_map(|change| change.fact);
    if let Some(change) = planned.redirects.first() {
        let id = change.identity_id;
        return match change.after {
            0 => format!("identity {id} would stand for itself again"),
            into => format!("identity {id} would become a part of {into}"),
        };
    }
    if let Some(fact) = facts.find(|fact| fact.kind() != FactKind::Placed) {
        return in_words(&fact);
    }
    let moved = planned.moves.iter();
    let mut moved = moved.filter_map(|it| Some((it.track_ids.first()?, it.into_identity_id)));
    match moved.next() {
        Some((track, into)) => format!("track {track} would become identity {into}'s"),
        None => "it would hold again".to_owned(),
    }
}

fn contradiction(asked: String, broken: &[Stated]) -> WriteError {
    let said = broken.iter().take(NAMED_MAX).map(Stated::in_words);
    let held = || broken.iter().filter(|it| it.sequence != 0).take(NAMED_MAX);
    let edits: BTreeSet<u64> = held().map(|it| it.sequence).collect();
    WriteError::FactsContradict {
        asked,
        said: said.collect(),
        facts: held().map(|it| it.fact.fact_id).collect(),
        edits: edits.into_iter().collect(),
    }
}

/// Facts that hold after the edit and are not kept by it, by id.
pub(super) fn broken(
    catalog: &CatalogWriter,
    planned: &Edited,
) -> Result<Vec<Stated>, CatalogError> {
    let states = planned.facts.iter().any(|change| change.holds);
    let moves =
        !planned.moves.is_empty() || !planned.redirects.is_empty() || !planned.enrolled.is_empty();
    let may_break = moves && catalog.any_fact()?;
    if !states && !may_break {
        return Ok(Vec::new());
    }
    // Whatever is about something that the edit changes; nothing else can break.
    let mut about: BTreeMap<u64, Stated> = BTreeMap::new();
    let mut add = |all: Vec<Stated>| about.extend(all.into_iter().map(|it| (it.fact.fact_id, it)));
    let moved = planned.moves.iter().flat_map(|moved| &moved.track_ids);
    let photos = planned.enrolled.iter().map(|photo| photo.track_id);
    let tracks: HashSet<u64> = moved.copied().chain(photos).collect();
    add(catalog.facts_of_tracks(&tracks)?);
    for change in &planned.redirects {
        add(catalog.facts_of_identity(change.identity_id, None)?);
    }
    for change in &planned.facts {
        let fact = change.fact.unwrap_or_default();
        if change.holds {
            about.insert(fact.fact_id, Stated { fact, sequence: 0 });
        } else {
            about.remove(&fact.fact_id);
        }
    }
    let after = After::new(catalog, planned);
    let mut broken = Vec::new();
    for stated in about.into_values() {
        let [one, other] = sides(&stated.fact);
        let (one, other) = (after.stands_for(one)?, after.stands_for(other)?);
        if !is_kept(stated.fact.kind(), one, other) {
            broken.push(stated);
        }
    }
    Ok(broken)
}

/// Who is who after an edit.
struct After<'a> {
    catalog: &'a CatalogWriter,
    tracks: HashMap<u64, u64>,
    redirects: HashMap<u64, u64>,
    created: BTreeSet<u64>,
}

impl<'a> After<'a> {
    fn new(catalog: &'a CatalogWriter, planned: &Edited) -> Self {
        let moves = planned.moves.iter();
        let tracks = moves.flat_map(|moved| {
            let into = moved.into_identity_id;
            moved.track_ids.iter().map(move |track| (*track, into))
        });
        let enrolled = planned.enrolled.iter().map(|photo| {
            let identity = photo.decision.as_ref().map_or(0, |it| it.identity_id);
            (photo.track_id, identity)
        });
        let redirects = planned.redirects.iter();
        let created = planned.profiles.iter().filter(|change| change.created);
        Self {
            catalog,
            tracks: tracks.chain(enrolled).collect(),
            redirects: redirects.map(|it| (it.identity_id, it.after)).collect(),
            created: created.map(|change| change.identity_id).collect(),
        }
    }

    fn stands_for(&self, side: Side) -> Result<Option<u64>, CatalogError> {
        let mut id = match side {
            Side::Track(track) => match self.tracks.get(&track) {
                Some(into) => return Ok(Some(*into)),
                None => return self.catalog.stands_for(side),
            },
            Side::Identity(id) => id,
        };
        if self.redirects.is_empty() && !self.created.contains(&id) {
            return self.catalog.stands_for(side);
        }
        loop {
            let into = match self.redirects.get(&id) {
                Some(after) => Some(*after).filter(|after| *after != 0),
                None => self.catalog.absorber(id)?,
            };
            match into {
                Some(into) => id = into,
                None => return Ok(Some(id)),
            }
        }
    }
}
