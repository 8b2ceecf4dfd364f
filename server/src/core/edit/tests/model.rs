//! What edits should come to, told with plain maps and nothing of the server's.

use rollcall_log::record::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is said of an identity. Values are texts; the empty one is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Name,
    ExternalId,
    Hidden,
    Confirmed,
    /// Under the key "note".
    Note,
    /// Of which identity it is a part.
    PartOf,
}

#[derive(Clone, Debug)]
struct Set {
    id: u64,
    field: Field,
    before: String,
    after: String,
}

/// An edit that was made.
#[derive(Clone, Debug, Default)]
struct Made {
    sets: Vec<Set>,
    created: Option<u64>,
    /// From where, to where, which tracks.
    moved: Option<(u64, u64, Vec<u64>)>,
    undoes: Option<u64>,
    undone: bool,
}

type Refused = &'static str;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) tracks: BTreeMap<u64, u64>,
    fields: BTreeMap<(u64, Field), String>,
    /// The last id given.
    pub(super) last: u64,
    edits: BTreeMap<u64, Made>,
}

impl Model {
    /// What the machine did; its decisions are taken as they are.
    pub(super) fn observed(&mut self, record: &Record) {
        match &record.body {
            Some(Body::TrackObserved(track)) => {
                let decision = track.decision.clone().unwrap();
                self.last = self.last.max(decision.identity_id);
                self.tracks.insert(track.track_id, decision.identity_id);
                if decision.absorbs_previous {
                    let into = decision.identity_id.to_string();
                    self.set(decision.previous_identity_id, Field::PartOf, into);
                }
            }
            Some(Body::TrackRetracted(track)) => {
                self.tracks.remove(&track.track_id);
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn get(&self, id: u64, field: Field) -> &str {
        self.fields.get(&(id, field)).map_or("", String::as_str)
    }

    pub(super) fn resolve(&self, id: u64) -> u64 {
        match self.get(id, Field::PartOf) {
            "" => id,
            into => self.resolve(into.parse().unwrap()),
        }
    }

    pub(super) fn edits(&self) -> Vec<u64> {
        self.edits.keys().copied().collect()
    }

    pub(super) fn tracks_of(&self, id: u64) -> Vec<u64> {
        let own = self.tracks.iter().filter(|(_, of)| **of == id);
        own.map(|(track, _)| *track).collect()
    }

    pub(super) fn create(&mut self, sequence: u64, name: &str) -> Result<(), Refused> {
        let id = self.last + 1;
        let mut made = self.to_be(id, &[(Field::Name, name)]);
        made.created = Some(id);
        self.make(sequence, made)?;
        self.last = id;
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        sequence: u64,
        id: u64,
        field: Field,
        value: &str,
    ) -> Result<(), Refused> {
        if id == 0 || id > self.last {
            return Err("IDENTITY_NOT_FOUND");
        }
        let made = self.to_be(self.resolve(id), &[(field, value)]);
        self.make(sequence, made)
    }

    pub(super) fn merge(&mut self, sequence: u64, from: u64, into: u64) -> Result<(), Refused> {
        let (from, into) = (self.resolve(from), self.resolve(into));
        if from == into {
            return Err("MERGE_WITH_ITSELF");
        }
        let mut all = Vec::new();
        for field in [Field::Name, Field::ExternalId, Field::Note] {
            if self.get(into, field).is_empty() {
                all.push((field, self.get(from, field)));
            }
        }
        let mut made = self.to_be(into, &all);
        let part_of = into.to_string();
        made.sets
            .extend(self.to_be(from, &[(Field::PartOf, &part_of)]).sets);
        made.moved = Some((from, into, self.tracks_of(from)));
        self.make(sequence, made)
    }

    pub(super) fn undo(&mut self, sequence: u64, edit: u64) -> Result<(), Refused> {
        let target = self.edits.get(&edit).ok_or("EDIT_NOT_FOUND")?.clone();
        if target.undone {
            return Err("ALREADY_UNDONE");
        }
        let mut made = Made {
            undoes: Some(edit),
            ..Made::default()
        };
        if let Some(id) = target.created {
            let absorbed_any =
                (1..=self.last).any(|other| self.get(other, Field::PartOf) == id.to_string());
            let part = !self.get(id, Field::PartOf).is_empty();
            if part || absorbed_any || !self.tracks_of(id).is_empty() {
                return Err("BUILT_UPON");
            }
        }
        for set in target.sets.iter().filter(|set| set.field != Field::PartOf) {
            // Whoever has become a part of somebody has nothing of its own.
            if !self.get(set.id, Field::PartOf).is_empty() {
                return Err("BUILT_UPON");
            }
        }
        for set in target.sets.iter().filter(|set| set.before != set.after) {
            if self.get(set.id, set.field) != set.after {
                return Err("BUILT_UPON");
            }
            made.sets.push(Set {
                before: set.after.clone(),
                after: set.before.clone(),
                ..set.clone()
            });
        }
        let part = target.sets.iter().find(|set| set.field == Field::PartOf);
        if let (Some(part), Some((.., tracks))) = (part, &target.moved) {
            let was_merge = part.before.is_empty();
            let absorber = if was_merge { &part.after } else { &part.before };
            let absorber = absorber.parse().unwrap();
            if !self.get(absorber, Field::PartOf).is_empty() {
                return Err("BUILT_UPON");
            }
            made.moved = Some(if was_merge {
                let here = |track: &&u64| self.tracks.get(track) == Some(&absorber);
                (
                    absorber,
                    part.id,
                    tracks.iter().filter(here).copied().collect(),
                )
            } else {
                (part.id, absorber, self.tracks_of(part.id))
            });
        }
        self.make(sequence, made)
    }

    fn to_be(&self, id: u64, all: &[(Field, &str)]) -> Made {
        let sets = all.iter().map(|(field, value)| Set {
            id,
            field: *field,
            before: self.get(id, *field).to_owned(),
            after: (*value).to_owned(),
        });
        Made {
            sets: sets.collect(),
            ..Made::default()
        }
    }

    fn set(&mut self, id: u64, field: Field, value: String) {
        if value.is_empty() {
            self.fields.remove(&(id, field));
        } else {
            self.fields.insert((id, field), value);
        }
    }

    /// Makes the edit, unless two would have the same name or external id by it.
    fn make(&mut self, sequence: u64, made: Made) -> Result<(), Refused> {
        let mut next = self.clone();
        let mut touched = BTreeSet::new();
        for set in made.sets.iter().filter(|set| set.before != set.after) {
            next.set(set.id, set.field, set.after.clone());
            touched.insert((set.id, set.field));
        }
        next.last = next.last.max(made.created.unwrap_or(0));
        for id in 1..=next.last {
            let back = touched.contains(&(id, Field::PartOf));
            for (field, refused) in [
                (Field::Name, "NAME_TAKEN"),
                (Field::ExternalId, "EXTERNAL_ID_TAKEN"),
            ] {
                if (back || touched.contains(&(id, field))) && next.is_shared(id, field) {
                    return Err(refused);
                }
            }
        }
        if let Some((_, into, tracks)) = &made.moved {
            for track in tracks {
                next.tracks.insert(*track, *into);
            }
        }
        next.take_back(made.undoes);
        next.edits.insert(sequence, made);
        *self = next;
        Ok(())
    }

    fn is_shared(&self, id: u64, field: Field) -> bool {
        let root = |id: u64| self.get(id, Field::PartOf).is_empty();
        let value = self.get(id, field).to_lowercase();
        let equal = |other: u64| self.get(other, field).to_lowercase() == value;
        let same = |other: u64| other != id && root(other) && equal(other);
        root(id) && !value.is_empty() && (1..=self.last).any(same)
    }

    /// The edit no longer counts; what it had taken back counts again, and so on.
    fn take_back(&mut self, edit: Option<u64>) {
        let (mut edit, mut undone) = (edit, true);
        while let Some(made) = edit.and_then(|edit| self.edits.get_mut(&edit)) {
            made.undone = undone;
            undone = !undone;
            edit = made.undoes;
        }
    }
}
