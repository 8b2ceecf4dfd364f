//! Making it so: one given identity after the other, then notes and names, several at once.

use super::super::{BuildError, Step, request_id};
use super::claim::{Bearer, said_by_people};
use super::{Given, GivenOutcome};
use crate::core::{
    CatalogError, Change, Core, Edit, MOVED_MAX, ProfileUpdate, SYSTEM, Target, WriteError,
    name_key,
};
use crate::hex::to_hex;
use crate::repair::said_of;
use rollcall_ingest::cluster::repair::Said;
use sha2::{Digest, Sha256};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use tokio::task::JoinSet;

/// Edits under way at once.
const EDITS_AT_ONCE: usize = 64;
/// Characters of a file's name in a metadata key at most.
const FILE_CHARS_MAX: usize = 150;
/// What is recorded as the reason.
const REASON: &str = "given with the vectors";

/// Making it so.
pub(super) struct Pass<'a> {
    pub(super) given: &'a Given,
    pub(super) core: &'a Core,
    pub(super) people: BTreeMap<u64, Person>,
    /// Whose each track is now.
    pub(super) owners: HashMap<u64, u64>,
    /// Who may not become part of another: they are given identities too.
    pub(super) claimed: HashSet<u64>,
    /// Tracks that stay where people have put them, or of which they have said something, and those of hidden people.
    pub(super) kept: u64,
}

/// A given identity.
#[derive(Default)]
pub(super) struct Person {
    pub(super) tracks: Vec<u64>,
    /// Who they are in the collection.
    pub(super) target: Option<u64>,
    /// What its edits are called by.
    id: String,
    /// Its tracks were gathered by an earlier build, and are people's business since.
    done: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn begin(given: &'a Given, core: &'a Core) -> Result<Self, BuildError> {
        let mut pass = Self {
            given,
            core,
            people: BTreeMap::new(),
            owners: HashMap::new(),
            claimed: HashSet::new(),
            kept: 0,
        };
        let catalog = core.catalog();
        let by_people = said_by_people(core)?;
        let label_key = metadata_key(&given.path);
        let mut bearers: HashMap<u64, Option<Bearer>> = HashMap::new();
        let mut said: BTreeMap<u64, String> = BTreeMap::new();
        for source in &given.sources {
            let Some(id) = catalog.source_of_request(&source.request_id)? else {
                continue;
            };
            for (key, track, identity) in catalog.keys_of_source(id)? {
                let Some(label) = source.tracks.get(&key) else {
                    continue;
                };
                let person = pass.people.entry(*label).or_default();
                let bearer = match bearers.entry(identity) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        place.insert(Bearer::of(catalog, identity, &label_key)?)
                    }
                };
                let hidden = bearer.as_ref().is_some_and(|bearer| bearer.hidden);
                if hidden || by_people.contains(&track) {
                    pass.kept += 1;
                } else {
                    person.tracks.push(track);
                    pass.owners.insert(track, identity);
                }
            }
            for (key, label) in &source.tracks {
                *said.entry(*label).or_default() += &format!("{}/{key} ", source.request_id);
            }
        }
        for (label, person) in &mut pass.people {
            let said = said.remove(label).unwrap_or_default();
            person.id = request_id(&format!("given {label}"), &said);
            person.done = catalog.edit_of_request(&person.id)?.is_some();
        }
        pass.claim(&bearers);
        Ok(pass)
    }

    pub(super) async fn make_so(
        mut self,
        outcome: &mut GivenOutcome,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        outcome.people += self.people.len() as u64;
        outcome.tracks += self.owners.len() as u64 + self.kept;
        outcome.kept += self.kept;
        let order = self.order();
        for (done, label) in (1..).zip(&order) {
            self.gather(*label, outcome).await?;
            progress(Step::People {
                done,
                people: order.len() as u64,
            });
        }
        self.note(&order, outcome, progress).await?;
        self.name(&order, outcome, progress).await
    }

    /// Given identities, those of most tracks first.
    fn order(&self) -> Vec<u64> {
        let mut order: Vec<u64> = self.people.keys().copied().collect();
        order.sort_by_key(|label| (std::cmp::Reverse(self.people[label].tracks.len()), *label));
        order
    }

    /// Tracks that a given identity lacks become its own.
    async fn gather(&mut self, label: u64, outcome: &mut GivenOutcome) -> Result<(), BuildError> {
        let person = &self.people[&label];
        if person.done || person.tracks.is_empty() {
            return Ok(());
        }
        let mut strays: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for track in &person.tracks {
            let owner = self.owners[track];
            if person.target != Some(owner) {
                strays.entry(owner).or_default().push(*track);
            }
        }
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for (owner, tracks) in strays {
            // Somebody new needs tracks before anybody can become a part of them.
            if person.target.is_some() && self.has_no_more(owner, tracks.len())? {
                whole.push((owner, tracks));
            } else {
                parts.extend(tracks);
            }
        }
        let moved = self.carry(label, (whole, parts), outcome).await;
        match moved {
            Err(BuildError::Write { source, .. }) if is_refusal(&source) => {
                outcome.refuse(format!("label {label} is left in parts: {source}"));
                Ok(())
            }
            other => other,
        }
    }

    /// Whether somebody has no other tracks, and nobody has said anything of them.
    fn has_no_more(&self, owner: u64, tracks: usize) -> Result<bool, CatalogError> {
        if self.claimed.contains(&owner) {
            return Ok(false);
        }
        let catalog = self.core.catalog();
        let Some(identity) = catalog.identity(owner)? else {
            return Ok(false);
        };
        let has = identity.track_count + identity.photo_count;
        Ok(has == tracks as u64 && said_of(catalog, &identity)? == Said::Nothing)
    }

    async fn carry(
        &mut self,
        label: u64,
        (whole, parts): (Vec<(u64, Vec<u64>)>, Vec<u64>),
        outcome: &mut GivenOutcome,
    ) -> Result<(), BuildError> {
        for tracks in parts.chunks(MOVED_MAX) {
            let into = match self.people[&label].target {
                Some(id) => Target::Identity { id, etag: None },
                None => Target::New {
                    name: String::new(),
                    allow_duplicate_name: false,
                },
            };
            let change = Change::Move {
                track_ids: tracks.to_vec(),
                into,
            };
            self.edit(label, &format!("move {tracks:?}"), change)
                .await?;
            if !self.arrived(label, tracks[0])? {
                let why = "its tracks were gathered before, and people have moved them since";
                outcome.refuse(format!("label {label}: {why}"));
                return Ok(());
            }
            self.carried(label, tracks, outcome);
        }
        let Some(into) = self.people[&label].target else {
            return Ok(());
        };
        for (from, tracks) in whole {
            let change = Change::Merge {
                from,
                into,
                from_etag: None,
                into_etag: None,
            };
            match self.edit(label, &format!("merge {from}"), change).await {
                Ok(_) => self.carried(label, &tracks, outcome),
                Err(BuildError::Write { source, .. }) if is_refusal(&source) => {
                    let note = format!("label {label}: identity {from} stays apart: {source}");
                    outcome.refuse(note);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a track that was moved is where the given identity is, who may be somebody new: an edit that was made
    /// before, by the same request, is not made again.
    fn arrived(&mut self, label: u64, track: u64) -> Result<bool, CatalogError> {
        let sighting = self.core.catalog().track(track)?;
        let Some(owner) = sighting.map(|sighting| sighting.identity_id) else {
            return Ok(false);
        };
        let person = self.people.entry(label).or_default();
        if person.target.is_none() && self.claimed.insert(owner) {
            person.target = Some(owner);
        }
        Ok(person.target == Some(owner))
    }

    fn carried(&mut self, label: u64, tracks: &[u64], outcome: &mut GivenOutcome) {
        outcome.moved += tracks.len() as u64;
        let into = self.people[&label].target.unwrap_or_default();
        let now = tracks.iter().map(|track| (*track, into));
        self.owners.extend(now);
    }

    async fn edit(&self, label: u64, what: &str, change: Change) -> Result<u64, BuildError> {
        let id = request_id(what, &self.people[&label].id);
        let made = self.core.edit(edit(change, id)).await;
        made.map_err(|source| self.failed(source))
    }

    /// Notes in each identity as whom it was given: from then on the machine makes no two of them one.
    async fn note(
        &self,
        order: &[u64],
        outcome: &mut GivenOutcome,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        let key = metadata_key(&self.given.path);
        let mut edits = Vec::new();
        for label in order {
            let person = &self.people[label];
            let gathered = person
                .tracks
                .iter()
                .all(|track| Some(self.owners[track]) == person.target);
            let gathered = gathered && !person.tracks.is_empty();
            if let (false, true, Some(target)) = (person.done, gathered, person.target) {
                let update = ProfileUpdate {
                    set_metadata: BTreeMap::from([(key.clone(), label.to_string())]),
                    ..ProfileUpdate::default()
                };
                let etag = None;
                edits.push((
                    *label,
                    edit(updated(target, etag, update), person.id.clone()),
                ));
            }
        }
        for (label, _, made) in self.make(edits, progress).await? {
            if let Err(error) = made {
                outcome.refuse(format!("label {label} is not noted: {error}"));
            }
        }
        Ok(())
    }

    /// Gives names to whoever has none, unless somebody else bears it.
    async fn name(
        &self,
        order: &[u64],
        outcome: &mut GivenOutcome,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        let (mut edits, mut seen) = (Vec::new(), BTreeMap::new());
        for label in order {
            let (person, Some(name)) = (&self.people[label], self.given.names.get(label)) else {
                continue;
            };
            let id = request_id(&format!("name {name}"), &person.id);
            if self.core.catalog().edit_of_request(&id)?.is_some() {
                continue;
            }
            let target = person
                .target
                .map(|target| self.core.catalog().identity(target));
            let Some(identity) = target.transpose()?.flatten() else {
                outcome.refuse(format!(
                    "label {label} is not named: nobody is only this label"
                ));
                continue;
            };
            let first = *seen.entry(name_key(name)).or_insert(*label);
            if first != *label {
                outcome.refuse(format!(
                    "label {label} is not named: label {first} has the name"
                ));
            } else if identity.name.is_empty() {
                let update = ProfileUpdate {
                    name: Some(name.clone()),
                    ..ProfileUpdate::default()
                };
                let etag = Some(identity.etag);
                edits.push((*label, edit(updated(identity.id, etag, update), id)));
            } else if name_key(&identity.name) != name_key(name) {
                let who = identity.id;
                outcome.refuse(format!("label {label}: identity {who} keeps its name"));
            }
        }
        for (label, _, made) in self.make(edits, progress).await? {
            match made {
                Ok(_) => outcome.named += 1,
                Err(WriteError::NameTaken { id, .. }) => outcome.refuse(format!(
                    "label {label} is not named: identity {id} has the name"
                )),
                Err(error) => outcome.refuse(format!("label {label} is not named: {error}")),
            }
        }
        Ok(())
    }

    /// Makes edits, several at once; gives what came of each, refusals included, in their order.
    async fn make(
        &self,
        edits: Vec<(u64, Edit)>,
        progress: &mut impl FnMut(Step),
    ) -> Result<Vec<Made>, BuildError> {
        let people = edits.len() as u64;
        let (mut under_way, mut all) = (JoinSet::new(), Vec::with_capacity(edits.len()));
        let mut edits = (0_usize..).zip(edits);
        loop {
            while under_way.len() < EDITS_AT_ONCE
                && let Some((place, (label, edit))) = edits.next()
            {
                let core = self.core.clone();
                under_way.spawn(async move { (label, place, core.edit(edit).await) });
            }
            let Some(made) = under_way.join_next().await else {
                break;
            };
            let made = made.map_err(|_| self.failed(WriteError::Closed))?;
            if let Err(error) = &made.2
                && !is_refusal(error)
            {
                return Err(self.failed(error.clone()));
            }
            all.push(made);
            progress(Step::People {
                done: all.len() as u64,
                people,
            });
        }
        all.sort_by_key(|(_, place, _)| *place);
        Ok(all)
    }

    fn failed(&self, source: WriteError) -> BuildError {
        BuildError::Write {
            path: self.given.path.clone(),
            source,
        }
    }
}

/// The label, the edit's place among others, and what came of it.
type Made = (u64, usize, Result<u64, WriteError>);

fn edit(change: Change, request_id: String) -> Edit {
    Edit {
        change,
        author: SYSTEM.to_owned(),
        reason: REASON.to_owned(),
        request_id,
    }
}

fn updated(identity_id: u64, etag: Option<String>, update: ProfileUpdate) -> Change {
    Change::Update {
        identity_id,
        etag,
        update,
        allow_duplicate_name: false,
    }
}

/// `label:FILE#PATH`: its name, and eight hexadecimal digits of a hash of where it is.
fn metadata_key(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = file.chars().filter(|character| !character.is_control());
    let shown: String = shown.take(FILE_CHARS_MAX).collect();
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    format!("label:{shown}#{}", to_hex(&hash[..4]))
}

/// Whether it is about this edit alone: others may still be made.
fn is_refusal(error: &WriteError) -> bool {
    !matches!(
        error,
        WriteError::ReadOnly { .. }
            | WriteError::Overloaded
            | WriteError::Closed
            | WriteError::Switching
    )
}
