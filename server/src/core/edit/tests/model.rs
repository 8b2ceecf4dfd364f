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
pub(super) struct Set {
    pub(super) id: u64,
    pub(super) field: Field,
    pub(super) before: String,
    pub(super) after: String,
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Track(u64),
    Identity(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    Two,
    Placed,
}

pub(super) type Fact = (Kind, Side, Side);

/// An edit that was made.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    pub(super) sets: Vec<Set>,
    pub(super) created: Vec<u64>,
    /// From where, to where, which tracks.
    pub(super) moved: Vec<(u64, u64, Vec<u64>)>,
    /// Which, and whether it holds from here on.
    pub(super) facts: Vec<(u64, Fact, bool)>,
    /// Photos that become somebody's: which track, whose, which photo.
    pub(super) enrolled: Vec<(u64, u64, u64)>,
    /// Photos that no longer count.
    pub(super) retracted: Vec<(u64, u64, u64)>,
    pub(super) undoes: Option<u64>,
    pub(super) undone: bool,
}

pub(super) type Refused = &'static str;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) tracks: BTreeMap<u64, u64>,
    /// The record by which the machine gave a track its identity.
    pub(super) decided: BTreeMap<u64, u64>,
    pub(super) facts: BTreeMap<u64, Fact>,
    /// Tracks that are photos, by photo.
    pub(super) photos: BTreeMap<u64, u64>,
    pub(super) last_track: u64,
    fields: BTreeMap<(u64, Field), String>,
    /// The last id given.
    pub(super) last: u64,
    pub(super) last_fact: u64,
    pub(super) edits: BTreeMap<u64, Made>,
}

impl Model {
    /// What the machine did; its decisions are taken as they are.
    pub(super) fn observed(&mut self, record: &Record) {
        match &record.body {
            Some(Body::TrackObserved(track)) => {
                let decision = track.decision.clone().unwrap();
                self.last = self.last.max(decision.identity_id);
                let identity = decision.identity_id;
                self.last_track = self.last_track.max(track.track_id);
                if self.tracks.insert(track.track_id, identity) != Some(identity) {
                    self.decided.insert(track.track_id, record.sequence);
                }
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
        made.created.push(id);
        self.make(sequence, made)
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
        made.moved.push((from, into, self.tracks_of(from)));
        self.make(sequence, made)
    }

    /// Into an identity, or a new one of this name.
    pub(super) fn move_tracks(
        &mut self,
        sequence: u64,
        tracks: &[u64],
        into: Result<u64, &str>,
    ) -> Result<(), Refused> {
        self.known(tracks, 1)?;
        let mut made = Made::default();
        let into = match into {
            Ok(id) if id == 0 || id > self.last => return Err("IDENTITY_NOT_FOUND"),
            Ok(id) => self.resolve(id),
            Err(name) => self.open(&mut made, name),
        };
        for track in tracks {
            if self.tracks[track] == into {
                return Err("MOVE_INTO_ITSELF");
            }
            self.take(&mut made, *track, into);
            let placed = (Kind::Placed, Side::Track(*track), Side::Identity(into));
            self.state(&mut made, placed);
        }
        self.make(sequence, made)
    }

    pub(super) fn split(
        &mut self,
        sequence: u64,
        id: u64,
        tracks: &[u64],
        name: &str,
    ) -> Result<(), Refused> {
        if id == 0 || id > self.last {
            return Err("IDENTITY_NOT_FOUND");
        }
        self.known(tracks, 1)?;
        if tracks
            .iter()
            .any(|track| self.tracks[track] != self.resolve(id))
        {
            return Err("TRACK_ELSEWHERE");
        }
        self.move_tracks(sequence, tracks, Err(name))
    }

    pub(super) fn link(&mut self, sequence: u64, tracks: &[u64]) -> Result<(), Refused> {
        self.known(tracks, 2)?;
        let into = self.tracks[&tracks[0]];
        let mut made = Made::default();
        for track in &tracks[1..] {
            let from = self.tracks[track];
            let two = (Kind::Two, Side::Identity(from), Side::Identity(into));
            if from != into && self.is_said(two) {
                return Err("FACTS_CONTRADICT");
            }
            if from != into {
                self.take(&mut made, *track, into);
            }
            let one = (Kind::One, Side::Track(tracks[0]), Side::Track(*track));
            if !self.is_said(one) {
                self.state(&mut made, one);
            }
        }
        self.say(sequence, made)
    }

    pub(super) fn separate(&mut self, sequence: u64, one: u64, other: u64) -> Result<(), Refused> {
        if [one, other].iter().any(|id| *id == 0 || *id > self.last) {
            return Err("IDENTITY_NOT_FOUND");
        }
        let (one, other) = (self.resolve(one), self.resolve(other));
        let two = (Kind::Two, Side::Identity(one), Side::Identity(other));
        let mut made = Made::default();
        if one == other {
            return Err("FACTS_CONTRADICT");
        }
        if !self.is_said(two) {
            self.state(&mut made, two);
        }
        self.say(sequence, made)
    }

    pub(super) fn separate_tracks(
        &mut self,
        sequence: u64,
        one: u64,
        other: u64,
    ) -> Result<(), Refused> {
        self.known(&[one, other], 2)?;
        let two = (Kind::Two, Side::Track(one), Side::Track(other));
        let mut made = Made::default();
        if self.is_said(two) {
            return Err("FACT_EXISTS");
        }
        self.state(&mut made, two);
        if self.tracks[&one] == self.tracks[&other] {
            let own = self.open(&mut made, "");
            self.take(&mut made, one, own);
        }
        self.make(sequence, made)
    }

    pub(super) fn reject(&mut self, sequence: u64, id: u64, tracks: &[u64]) -> Result<(), Refused> {
        if id == 0 || id > self.last {
            return Err("IDENTITY_NOT_FOUND");
        }
        self.known(tracks, 1)?;
        let id = self.resolve(id);
        let mut made = Made::default();
        for track in tracks {
            let two = (Kind::Two, Side::Track(*track), Side::Identity(id));
            if !self.is_said(two) {
                self.state(&mut made, two);
            }
        }
        if made.facts.is_empty() {
            return Err("FACT_EXISTS");
        }
        let mut leaving: Vec<u64> = tracks.to_vec();
        leaving.retain(|track| self.tracks[track] == id);
        leaving.sort_unstable();
        while let Some(first) = leaving.first().copied() {
            let mut group = BTreeSet::from([first]);
            let linked = |group: &BTreeSet<u64>, track: u64| {
                let mut group = group.iter();
                group.any(|it| self.is_said((Kind::One, Side::Track(*it), Side::Track(track))))
            };
            while let Some(more) = leaving
                .iter()
                .find(|it| !group.contains(it) && linked(&group, **it))
            {
                group.insert(*more);
            }
            leaving.retain(|track| !group.contains(track));
            let own = self.open(&mut made, "");
            for track in group {
                self.take(&mut made, track, own);
            }
        }
        self.make(sequence, made)
    }

    /// Photos of an identity, or of a new one of this name.
    pub(super) fn enrol(
        &mut self,
        sequence: u64,
        into: Result<u64, &str>,
        photos: &[u64],
    ) -> Result<(), Refused> {
        let mut made = Made::default();
        let owner = |photo: &u64| Some(self.tracks[self.photos.get(photo)?]);
        let into = match into {
            Ok(id) if id == 0 || id > self.last => return Err("IDENTITY_NOT_FOUND"),
            Ok(id) => self.resolve(id),
            Err(name) => {
                let id = self.open(&mut made, name);
                let next = self.after(&made);
                if next.is_shared(id, Field::Name) {
                    let bearers = (1..=self.last).filter(|other| {
                        self.resolve(*other) == *other
                            && self.get(*other, Field::Name).to_lowercase() == name.to_lowercase()
                    });
                    let bearers: Vec<u64> = bearers.collect();
                    let first = owner(&photos[0]);
                    let known = first.is_some_and(|first| bearers.contains(&first))
                        && photos.iter().all(|photo| owner(photo) == first);
                    return Err(if known { "PHOTOS_KNOWN" } else { "NAME_TAKEN" });
                }
                id
            }
        };
        for photo in photos {
            let twice = made.enrolled.iter().any(|(.., other)| other == photo);
            match owner(photo) {
                Some(owner) if owner != into => return Err("PHOTO_ENROLLED_ELSEWHERE"),
                Some(_) => {}
                None if twice => {}
                None => {
                    let track = self.last_track + 1 + made.enrolled.len() as u64;
                    made.enrolled.push((track, into, *photo));
                }
            }
        }
        if made.enrolled.is_empty() {
            return Err("PHOTOS_KNOWN");
        }
        self.make(sequence, made)
    }

    pub(super) fn forget(&mut self, sequence: u64, fact: u64) -> Result<(), Refused> {
        let said = *self.facts.get(&fact).ok_or("FACT_NOT_FOUND")?;
        let made = Made {
            facts: vec![(fact, said, false)],
            ..Made::default()
        };
        self.make(sequence, made)
    }

    fn say(&mut self, sequence: u64, made: Made) -> Result<(), Refused> {
        if made.facts.iter().all(|(.., holds)| !holds) {
            return Err("FACT_EXISTS");
        }
        self.make(sequence, made)
    }

    fn known(&self, tracks: &[u64], least: usize) -> Result<(), Refused> {
        let once: BTreeSet<u64> = tracks.iter().copied().collect();
        if once.len() < tracks.len() || tracks.len() < least {
            return Err("INVALID_ARGUMENT");
        }
        match tracks.iter().all(|track| self.tracks.contains_key(track)) {
            true => Ok(()),
            false => Err("TRACK_NOT_FOUND"),
        }
    }

    fn open(&self, made: &mut Made, name: &str) -> u64 {
        let id = self.last + 1 + made.created.len() as u64;
        made.created.push(id);
        made.sets
            .extend(self.to_be(id, &[(Field::Name, name)]).sets);
        id
    }

    /// The track becomes the identity's; where it was placed no longer counts.
    fn take(&self, made: &mut Made, track: u64, into: u64) {
        made.moved.push((self.tracks[&track], into, vec![track]));
        for (id, fact) in &self.facts {
            if fact.0 == Kind::Placed && fact.1 == Side::Track(track) {
                made.facts.push((*id, *fact, false));
            }
        }
    }

    fn state(&self, made: &mut Made, fact: Fact) {
        let stated = made.facts.iter().filter(|(.., holds)| *holds).count();
        made.facts
            .push((self.last_fact + 1 + stated as u64, fact, true));
    }

    fn is_said(&self, wanted: Fact) -> bool {
        let now = |side| match side {
            Side::Track(_) => side,
            Side::Identity(id) => Side::Identity(self.resolve(id)),
        };
        let both = |fact: &Fact| BTreeSet::from([now(fact.1), now(fact.2)]);
        let mut facts = self.facts.values();
        facts.any(|fact| fact.0 == wanted.0 && both(fact) == both(&wanted))
    }

    fn stands_for(&self, side: Side) -> Option<u64> {
        match side {
            Side::Track(track) => self.tracks.get(&track).copied(),
            Side::Identity(id) => Some(self.resolve(id)),
        }
    }

    /// Whether a fact about the two, or about tracks of theirs, says that they are two people.
    pub(super) fn are_told_apart(&self, one: u64, other: u64) -> bool {
        let both = BTreeSet::from([Some(one), Some(other)]);
        let mut facts = self.facts.values();
        facts.any(|(kind, one, other)| {
            let now = [one, other].map(|side| self.stands_for(*side));
            *kind == Kind::Two && BTreeSet::from(now) == both
        })
    }

    /// Facts that are not kept, by id.
    pub(super) fn broken(&self) -> Vec<u64> {
        let broken = self.facts.iter().filter(|(_, (kind, one, other))| {
            match (self.stands_for(*one), self.stands_for(*other)) {
                (Some(one), Some(other)) => (one == other) == (*kind == Kind::Two),
                _ => false,
            }
        });
        broken.map(|(id, _)| *id).collect()
    }

    pub(super) fn to_be(&self, id: u64, all: &[(Field, &str)]) -> Made {
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

    /// What things are after the edit.
    pub(super) fn after(&self, made: &Made) -> Self {
        let mut next = self.clone();
        for set in made.sets.iter().filter(|set| set.before != set.after) {
            next.set(set.id, set.field, set.after.clone());
        }
        next.last = next.last.max(made.created.last().copied().unwrap_or(0));
        for (_, into, tracks) in &made.moved {
            for track in tracks {
                next.tracks.insert(*track, *into);
            }
        }
        for (track, _, photo) in &made.retracted {
            next.tracks.remove(track);
            next.photos.remove(photo);
        }
        for (track, identity, photo) in &made.enrolled {
            next.tracks.insert(*track, *identity);
            next.photos.insert(*photo, *track);
            next.last_track = next.last_track.max(*track);
        }
        for (id, fact, holds) in &made.facts {
            next.last_fact = next.last_fact.max(*id);
            match holds {
                true => next.facts.insert(*id, *fact),
                false => next.facts.remove(id),
            };
        }
        next
    }

    /// Makes the edit, unless two would have the same name or external id by it, or a fact would be broken.
    pub(super) fn make(&mut self, sequence: u64, made: Made) -> Result<(), Refused> {
        let mut next = self.after(&made);
        let changed = made.sets.iter().filter(|set| set.before != set.after);
        let touched: BTreeSet<(u64, Field)> = changed.map(|set| (set.id, set.field)).collect();
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
        if !next.broken().is_empty() {
            return Err("FACTS_CONTRADICT");
        }
        next.take_back(made.undoes);
        for (track, ..) in &made.enrolled {
            next.decided.insert(*track, sequence);
        }
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
