//! Taking an edit back. The rule: whatever the edit left must still be as it left it, and becomes what it was
//! before; else the undo is refused, with what stands in the way. A partial undo leaves that, and says so.

mod photos;

use super::super::apply::{Failure, Truth};
use super::super::catalog::CatalogError;
use super::super::command::WriteError;
use super::super::fact::{Side, Stated, in_words, sides};
use super::super::writer::Refusal;
use super::facts::broken;
use super::plan::{blank, changed, check_unique, moved, refuse_erased};
use rollcall_log::record::{
    Body, EditKind, Edited, Fact, FactChange, IdentityRenamed, PartLeft, Profile, ProfileChange,
    RedirectChange, TracksMoved,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Edits in the way that are named at most.
const EDITS_IN_WAY_MAX: usize = 100;

pub(super) fn plan(
    truth: &Truth,
    sequence: u64,
    allow_duplicate_name: bool,
    partial: bool,
) -> Result<Edited, Refusal> {
    let place = truth.catalog.edit(sequence)?;
    let place = place.ok_or(WriteError::EditNotFound { sequence })?;
    if let Some(by) = place.undone_by {
        return Err(WriteError::AlreadyUndone { sequence, by }.into());
    }
    let edit = as_edited(truth, sequence)?.ok_or(WriteError::EditNotFound { sequence })?;
    let mut undoing = Undoing {
        truth,
        sequence,
        planned: Edited {
            undoes: sequence,
            ..Edited::default()
        },
        way: BTreeMap::new(),
    };
    for change in &edit.profiles {
        undoing.profile(change, &edit)?;
    }
    for change in &edit.redirects {
        undoing.redirect(change)?;
    }
    for made in &edit.moves {
        undoing.tracks(made, &edit.redirects)?;
    }
    for change in &edit.facts {
        undoing.fact(change)?;
    }
    undoing.enrolled(&edit)?;
    undoing.retracted(&edit)?;
    let planned = undoing.finish(partial)?;
    check_unique(&truth.catalog, &planned, allow_duplicate_name)?;
    Ok(planned)
}

struct Undoing<'a> {
    truth: &'a Truth,
    /// The edit that is taken back.
    sequence: u64,
    planned: Edited,
    /// What stands in the way: by identity and part, in words.
    way: BTreeMap<(u64, &'static str), String>,
}

impl Undoing<'_> {
    fn blocked(&mut self, identity: u64, part: &'static str, what: String) {
        self.way.entry((identity, part)).or_insert(what);
    }

    fn profile(&mut self, change: &ProfileChange, edit: &Edited) -> Result<(), Refusal> {
        let (id, catalog) = (change.identity_id, &self.truth.catalog);
        let now = catalog.profile(id)?.unwrap_or_default();
        refuse_erased(id, &now)?;
        let before = change.before.clone().unwrap_or_else(blank);
        let after = change.after.clone().unwrap_or_default();
        if change.erased {
            let what = format!("what was said of identity {id} then was erased");
            self.blocked(id, "PROFILE", what);
            return Ok(());
        }
        if before == after && !change.created {
            // Said again what was said already: there is nothing to take back.
            return Ok(());
        }
        if let Some(into) = catalog.absorber(id)? {
            // What was said of it may have become what is said of the other.
            self.blocked(id, "PROFILE", part_of(id, into));
            return Ok(());
        }
        if change.created {
            // What joined tracks that the edit itself put there stays, without them.
            let moved = edit.moves.iter().any(|moved| moved.into_identity_id == id);
            let filled = moved || !edit.enrolled.is_empty();
            let used = !filled && !catalog.tracks_of(id)?.is_empty();
            if used || catalog.has_absorbed(id)? {
                let what = format!("identity {id} has been given tracks or merged since");
                self.blocked(id, "PROFILE", what);
                return Ok(());
            }
        }
        let (restored, changed_since) = reverted(&now, &before, &after);
        for (part, words) in &changed_since {
            let what = format!("the {words} of identity {id} has been changed since");
            self.blocked(id, part, what);
        }
        if change.created || restored != now {
            self.planned.profiles.push(changed(id, now, restored));
        }
        Ok(())
    }

    fn redirect(&mut self, change: &RedirectChange) -> Result<(), Refusal> {
        let (id, catalog) = (change.identity_id, &self.truth.catalog);
        refuse_erased(id, &catalog.profile(id)?.unwrap_or_default())?;
        let now = catalog.absorber(id)?.unwrap_or(0);
        if now != change.after {
            let what = format!("identity {id} has been merged or restored since");
            self.blocked(id, "REDIRECT", what);
            return Ok(());
        }
        // The absorber, old or new, must be somebody still: else its tracks are a third one's by now.
        let absorber = change.before.max(change.after);
        refuse_erased(absorber, &catalog.profile(absorber)?.unwrap_or_default())?;
        if let Some(third) = catalog.absorber(absorber)? {
            self.blocked(absorber, "REDIRECT", part_of(absorber, third));
            return Ok(());
        }
        if change.before != 0 {
            // Whoever is absorbed again is absorbed whole.
            let track_ids = catalog.tracks_of(id)?;
            let again = moved(id, change.before, track_ids, true);
            self.planned.moves.extend(again);
        }
        self.planned.redirects.push(RedirectChange {
            identity_id: id,
            before: now,
            after: change.before,
        });
        Ok(())
    }

    /// `redirects`: those of the same edit.
    fn tracks(&mut self, made: &TracksMoved, redirects: &[RedirectChange]) -> Result<(), Refusal> {
        let (from, into) = (made.from_identity_id, made.into_identity_id);
        if let Some(own) = redirects.iter().find(|change| {
            (change.identity_id, change.after) == (from, into)
                || (change.identity_id, change.before) == (into, from)
        }) {
            let mut planned = self.planned.redirects.iter();
            let redirected = planned.any(|change| change.identity_id == own.identity_id);
            // Whoever was absorbed again is so whole; whoever cannot be brought back gets nothing.
            if own.before != 0 || !redirected {
                return Ok(());
            }
        } else if let Some(third) = self.truth.catalog.absorber(from)? {
            self.blocked(from, "TRACKS", part_of(from, third));
            self.planned.left_track_ids.extend(&made.track_ids);
            return Ok(());
        }
        let catalog = &self.truth.catalog;
        refuse_erased(from, &catalog.profile(from)?.unwrap_or_default())?;
        let mut back = Vec::new();
        let mut elsewhere = Vec::new();
        for track in &made.track_ids {
            match catalog.track_place(*track)? {
                Some(place) if place.identity == into => back.push(*track),
                // What the machine has moved on or retracted since is not ours to move.
                Some(place) if place.decided > self.sequence => {}
                Some(_) => elsewhere.push(*track),
                None => {}
            }
        }
        let since = catalog.joined_since(into, self.sequence)?;
        let left = since
            .into_iter()
            .filter(|track| back.binary_search(track).is_err());
        self.planned.left_track_ids.extend(left);
        if let Some(first) = elsewhere.first() {
            let what = format!("track {first} has been moved out of identity {into} since");
            self.blocked(into, "TRACKS", what);
            self.planned.left_track_ids.extend(elsewhere);
        }
        self.planned.moves.extend(moved(into, from, back, false));
        Ok(())
    }

    fn fact(&mut self, change: &FactChange) -> Result<(), Refusal> {
        let (fact, catalog) = (change.fact.unwrap_or_default(), &self.truth.catalog);
        if catalog.fact(fact.fact_id)?.is_some() == change.holds {
            self.planned.facts.push(FactChange {
                fact: Some(fact),
                holds: !change.holds,
            });
            return Ok(());
        }
        let now = if change.holds {
            "forgotten"
        } else {
            "said again"
        };
        let what = format!("that {} has been {now} since", in_words(&fact));
        self.fact_left(&fact, what)?;
        Ok(())
    }

    fn fact_left(&mut self, fact: &Fact, what: String) -> Result<(), CatalogError> {
        for side in sides(fact) {
            if let Some(id) = self.truth.catalog.stands_for(side)? {
                self.blocked(id, "FACT", what.clone());
            }
        }
        Ok(())
    }

    fn finish(mut self, partial: bool) -> Result<Edited, Refusal> {
        if !self.way.is_empty() && !partial {
            return Err(self.built_upon()?.into());
        }
        let catalog = &self.truth.catalog;
        let mut against = broken(catalog, &self.planned)?;
        while partial && !against.is_empty() && self.leave(&against)? {
            against = broken(catalog, &self.planned)?;
        }
        let planned = &self.planned;
        let nothing = planned.profiles.iter().all(|it| it.before == it.after)
            && planned.moves.is_empty()
            && planned.redirects.is_empty()
            && planned.facts.is_empty()
            && planned.enrolled.is_empty()
            && planned.retracted.is_empty();
        if nothing && !self.way.is_empty() {
            return Err(self.built_upon()?.into());
        }
        let left = self.way.keys().map(|(identity_id, part)| PartLeft {
            identity_id: *identity_id,
            part: (*part).to_owned(),
        });
        self.planned.parts_left = left.collect();
        self.planned.left_track_ids.sort_unstable();
        self.planned.left_track_ids.dedup();
        Ok(self.planned)
    }

    /// Leaves what would break these facts where it is; whether there was anything of the kind.
    ///
    /// Cost: linear in what is planned and in the facts; of a large merge there are many of both.
    fn leave(&mut self, against: &[Stated]) -> Result<bool, CatalogError> {
        let whole = self.absorbed_whole();
        let planned = self.planned.facts.iter();
        let restated: HashSet<u64> = planned.filter_map(|it| Some(it.fact?.fact_id)).collect();
        let mut dropped = HashSet::new();
        let mut staying: HashMap<u64, (usize, &Stated)> = HashMap::new();
        let mut left = false;
        for (number, stated) in against.iter().enumerate() {
            let id = stated.fact.fact_id;
            if restated.contains(&id) {
                dropped.insert(id);
                let what = format!("that {} cannot hold again", in_words(&stated.fact));
                self.fact_left(&stated.fact, what)?;
                left = true;
                continue;
            }
            for side in sides(&stated.fact) {
                let Side::Track(track) = side else {
                    continue;
                };
                left |= self.leave_photo(track, &stated.in_words());
                if let Some(from) = whole.get(&track) {
                    left |= self.leave_apart(*from, track, &stated.in_words());
                }
                staying.entry(track).or_insert((number, stated));
            }
        }
        let dropped = |it: &FactChange| it.fact.is_some_and(|it| dropped.contains(&it.fact_id));
        self.planned.facts.retain(|change| !dropped(change));
        for moved in &mut self.planned.moves {
            let all = std::mem::take(&mut moved.track_ids).into_iter();
            let stays = |track: &u64| staying.contains_key(track);
            let (stay, go): (Vec<u64>, Vec<u64>) = all.partition(stays);
            moved.track_ids = go;
            let reasons = stay
                .iter()
                .filter_map(|track| Some((track, staying.get(track)?)));
            if let Some((track, (_, stated))) = reasons.min_by_key(|(_, (number, _))| number) {
                let key = (moved.from_identity_id, "TRACKS");
                let what = || format!("track {track} stays: {}", stated.in_words());
                self.way.entry(key).or_insert_with(what);
                left = true;
            }
            self.planned.left_track_ids.extend(stay);
        }
        self.planned
            .moves
            .retain(|moved| !moved.track_ids.is_empty());
        Ok(left)
    }

    /// Tracks of those who are to be absorbed again, and of whom they are.
    fn absorbed_whole(&self) -> HashMap<u64, u64> {
        let whole = self.planned.moves.iter().filter(|moved| moved.all);
        let tracks = whole.flat_map(|moved| {
            let from = moved.from_identity_id;
            moved.track_ids.iter().map(move |track| (*track, from))
        });
        tracks.collect()
    }

    /// Whoever is to be absorbed again is absorbed whole, or not at all: not at all, if this track of theirs stays.
    fn leave_apart(&mut self, from: u64, track: u64, why: &str) -> bool {
        let of_them = |moved: &TracksMoved| moved.all && moved.from_identity_id == from;
        if !self.planned.moves.iter().any(of_them) {
            return false;
        }
        self.planned.moves.retain(|moved| !of_them(moved));
        self.planned
            .redirects
            .retain(|change| change.identity_id != from);
        self.blocked(from, "REDIRECT", format!("track {track} stays: {why}"));
        true
    }

    fn built_upon(&self) -> Result<WriteError, CatalogError> {
        let mut edits = BTreeSet::new();
        for (identity, _) in self.way.keys() {
            edits.extend(self.truth.catalog.edits_since(*identity, self.sequence)?);
        }
        let what: Vec<&str> = self.way.values().map(String::as_str).collect();
        Ok(WriteError::BuiltUpon {
            sequence: self.sequence,
            what: what.join("; "),
            edits: edits.into_iter().take(EDITS_IN_WAY_MAX).collect(),
        })
    }
}

fn part_of(id: u64, into: u64) -> String {
    format!("identity {id} has become a part of {into} since")
}

/// `now` with everything that differs between `before` and `after` as it was before, but for what is no
/// longer as it was after; and what that is, as a part and in words.
fn reverted(
    now: &Profile,
    before: &Profile,
    after: &Profile,
) -> (Profile, Vec<(&'static str, &'static str)>) {
    let mut restored = now.clone();
    let mut since = Vec::new();
    let mut check = |done: Option<()>, part, words| {
        if done.is_none() && !since.contains(&(part, words)) {
            since.push((part, words));
        }
    };
    let done = field(&mut restored.name, &before.name, &after.name);
    check(done, "NAME", "name");
    let (old, new) = (&before.external_id, &after.external_id);
    check(
        field(&mut restored.external_id, old, new),
        "EXTERNAL_ID",
        "external id",
    );
    let (old, new) = (&before.confirmed, &after.confirmed);
    check(
        field(&mut restored.confirmed, old, new),
        "CONFIRMED",
        "confirmation",
    );
    let (old, new) = (before.state(), after.state());
    let mut state = now.state();
    check(field(&mut state, &old, &new), "STATE", "state");
    restored.set_state(state);
    for key in before.metadata.keys().chain(after.metadata.keys()) {
        let mut value = now.metadata.get(key).cloned();
        let (old, new) = (before.metadata.get(key), after.metadata.get(key));
        let done = field(&mut value, &old.cloned(), &new.cloned());
        check(done, "METADATA", "metadata");
        match value {
            Some(value) => restored.metadata.insert(key.clone(), value),
            None => restored.metadata.remove(key),
        };
    }
    (restored, since)
}

/// Sets a value back, if it was changed; `None` if it was, and is no longer what it was changed to.
fn field<T: PartialEq + Clone>(now: &mut T, before: &T, after: &T) -> Option<()> {
    if before == after {
        return Some(());
    }
    if now != after {
        return None;
    }
    now.clone_from(before);
    Some(())
}

/// The edit at a record: its effects, those of a name given in the words of old told in today's.
fn as_edited(truth: &Truth, sequence: u64) -> Result<Option<Edited>, Failure> {
    let record = truth.record(sequence)?;
    Ok(match record.and_then(|record| record.body) {
        Some(Body::Edited(edited)) => Some(edited),
        Some(Body::IdentityRenamed(rename)) => {
            let before = name_before(truth, rename.identity_id, sequence)?;
            Some(as_update(rename, before))
        }
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::TrackObserved(_)
            | Body::TrackRetracted(_)
            | Body::SourceRunStarted(_)
            | Body::AlertRuleChanged(_)
            | Body::AlertRaised(_)
            | Body::AlertDelivered(_)
            | Body::ErasureBegun(_)
            | Body::ErasureEnded(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::ExemplarsReembedded(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_),
        )
        | None => None,
    })
}

fn as_update(rename: IdentityRenamed, before: String) -> Edited {
    let named = |name| Profile {
        name,
        ..Profile::default()
    };
    Edited {
        kind: EditKind::Update.into(),
        profiles: vec![changed(
            rename.identity_id,
            named(before),
            named(rename.name),
        )],
        ..Edited::default()
    }
}

/// The name that an identity bore before record `sequence`, by the newest edit that said so.
fn name_before(truth: &Truth, identity: u64, sequence: u64) -> Result<String, Failure> {
    for earlier in truth.catalog.edits_before(identity, sequence)? {
        let body = truth.record(earlier)?.and_then(|record| record.body);
        if let Some(Body::IdentityRenamed(rename)) = &body {
            return Ok(rename.name.clone());
        }
        if let Some(Body::Edited(edited)) = &body {
            let mut profiles = edited.profiles.iter().rev();
            if let Some(change) = profiles.find(|change| change.identity_id == identity) {
                return Ok(change.after.clone().unwrap_or_default().name);
            }
        }
    }
    Ok(String::new())
}
