//! Making it so: one given identity after the other, then notes and names, several at once.

use super::super::{BuildError, Step, request_id};
use super::{Given, GivenOutcome};
use crate::core::{
    Catalog, CatalogError, Change, Core, Edit, MOVED_MAX, ProfileUpdate, SYSTEM, Target,
    WriteError, name_key,
};
use crate::repair::said_of;
use rollcall_ingest::cluster::repair::Said;
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
    given: &'a Given,
    core: &'a Core,
    people: BTreeMap<u64, Person>,
    /// Whose each track is now.
    owners: HashMap<u64, u64>,
    /// Who may not become part of another: they are given identities too.
    claimed: HashSet<u64>,
}

/// A given identity.
#[derive(Default)]
struct Person {
    tracks: Vec<u64>,
    /// Who they are in the collection.
    target: Option<u64>,
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
        };
        let catalog = core.catalog();
        let mut said: BTreeMap<u64, String> = BTreeMap::new();
        for source in &given.sources {
            let Some(id) = catalog.source_of_request(&source.request_id)? else {
                continue;
            };
            for (key, track, identity) in catalog.keys_of_source(id)? {
                let Some(label) = source.tracks.get(&key) else {
                    continue;
                };
                pass.people.entry(*label).or_default().tracks.push(track);
                pass.owners.insert(track, identity);
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
        pass.claim(catalog)?;
        Ok(pass)
    }

    /// Finds out who each given identity is: who has its name and some of its tracks, else who has most of them; one each,
    /// where most tracks agree first. Nobody of another name.
    ///
    /// Moving tracks of a given identity to who it is changes nothing about that: a build that was broken off goes on
    /// with the same people.
    fn claim(&mut self, catalog: &Catalog) -> Result<(), BuildError> {
        let mut shares: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (label, person) in &self.people {
            for track in &person.tracks {
                *shares.entry((*label, self.owners[track])).or_default() += 1;
            }
        }
        let mut bears: HashMap<u64, String> = HashMap::new();
        let mut pairs = Vec::with_capacity(shares.len());
        for ((label, identity), share) in shares {
            if let std::collections::hash_map::Entry::Vacant(place) = bears.entry(identity) {
                let name = catalog.identity(identity)?.map(|it| it.name);
                place.insert(name_key(&name.unwrap_or_default()));
            }
            let (bears, wanted) = (&bears[&identity], self.given.names.get(&label));
            let wanted = wanted.map(|name| name_key(name)).unwrap_or_default();
            let (either, same) = (bears.is_empty() || wanted.is_empty(), *bears == wanted);
            if either || same {
                pairs.push((either, std::cmp::Reverse(share), label, identity));
            }
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
        Ok(())
    }

    pub(super) async fn make_so(
        mut self,
        outcome: &mut GivenOutcome,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        outcome.people += self.people.len() as u64;
        outcome.tracks += self.owners.len() as u64;
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
        if person.done {
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
            Err(error) if is_refusal(&error) => {
                outcome.refuse(format!("label {label} is left in parts: {error}"));
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
            Ok(()) => Ok(()),
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
    ) -> Result<(), WriteError> {
        let mut target = self.people[&label].target;
        for tracks in parts.chunks(MOVED_MAX) {
            let into = match target {
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
            outcome.moved += tracks.len() as u64;
            if target.is_none() {
                target = self.owner(tracks[0]);
                self.claimed.extend(target);
                self.person(label).target = target;
            }
            let into = target.unwrap_or_default();
            self.owners
                .extend(tracks.iter().map(|track| (*track, into)));
        }
        for (from, tracks) in whole {
            let Some(into) = target else { continue };
            let change = Change::Merge {
                from,
                into,
                from_etag: None,
                into_etag: None,
            };
            self.edit(label, &format!("merge {from}"), change).await?;
            outcome.moved += tracks.len() as u64;
            self.owners
                .extend(tracks.iter().map(|track| (*track, into)));
        }
        Ok(())
    }

    fn person(&mut self, label: u64) -> &mut Person {
        self.people.entry(label).or_default()
    }

    /// Whose a track has just become.
    fn owner(&self, track: u64) -> Option<u64> {
        let sighting = self.core.catalog().track(track).ok().flatten();
        sighting.map(|sighting| sighting.identity_id)
    }

    async fn edit(&self, label: u64, what: &str, change: Change) -> Result<u64, WriteError> {
        let id = request_id(what, &self.people[&label].id);
        self.core.edit(edit(change, id)).await
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
            if let (false, true, Some(target)) = (person.done, gathered, person.target) {
                let update = ProfileUpdate {
                    set_metadata: BTreeMap::from([(key.clone(), label.to_string())]),
                    ..ProfileUpdate::default()
                };
                edits.push((*label, edit(updated(target, update), person.id.clone())));
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
                edits.push((*label, edit(updated(identity.id, update), id)));
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

fn updated(identity_id: u64, update: ProfileUpdate) -> Change {
    Change::Update {
        identity_id,
        etag: None,
        update,
        allow_duplicate_name: false,
    }
}

/// `label:FILE`.
fn metadata_key(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = file.chars().filter(|character| !character.is_control());
    format!("label:{}", shown.take(FILE_CHARS_MAX).collect::<String>())
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
