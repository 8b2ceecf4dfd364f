//! When alerts are raised, told plainly: from all records before, every time anew.

use rollcall_log::record::{AlertKind, AlertRule, Body, Edited, Record, SourceKind, TrackObserved};
use std::collections::BTreeMap;

/// An alert, and the record that raised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) after: u64,
    pub(super) rule: u64,
    pub(super) person: u64,
    pub(super) track: u64,
    pub(super) at_us: i64,
    pub(super) appearance: u32,
}

#[derive(Clone)]
struct Seen {
    person: u64,
    source: u64,
    wall_us: (i64, i64),
    length_us: i64,
    faces: u32,
    joined: f32,
}

#[derive(Default)]
struct Model {
    kinds: BTreeMap<u64, SourceKind>,
    tracks: BTreeMap<u64, Seen>,
    redirects: BTreeMap<u64, u64>,
    named: BTreeMap<u64, bool>,
    rules: BTreeMap<u64, (AlertRule, u64)>,
    told: Vec<Told>,
    /// Whom each told is about by now.
    about: Vec<u64>,
}

/// The comings that these records raise.
pub(super) fn expected(records: &[Record]) -> Vec<Told> {
    let mut model = Model::default();
    for record in records {
        model.record(record);
    }
    model.told
}

/// The comings that these records tell of.
pub(super) fn found(records: &[Record]) -> Vec<Told> {
    let mut after = 0;
    let mut told = Vec::new();
    for record in records {
        match &record.body {
            Some(Body::AlertRaised(raised)) if raised.kind() == AlertKind::Appeared => {
                told.push(Told {
                    after,
                    rule: raised.rule_id,
                    person: raised.identity_id,
                    track: raised.track_id,
                    at_us: raised.at_us,
                    appearance: raised.appearance,
                });
            }
            Some(Body::AlertRaised(_)) => {}
            _ => after = record.sequence,
        }
    }
    told
}

impl Model {
    fn record(&mut self, record: &Record) {
        match &record.body {
            Some(Body::SourceAdded(added)) => {
                self.kinds.insert(added.source_id, added.kind());
            }
            Some(Body::AlertRuleChanged(change)) => {
                let before = self.rules.remove(&change.rule_id);
                if let Some(rule) = change.after.clone() {
                    let since = match before {
                        Some((before, since)) if before.enabled => since,
                        _ => record.sequence,
                    };
                    self.rules.insert(change.rule_id, (rule, since));
                }
            }
            Some(Body::TrackObserved(track)) => self.observed(record.sequence, track),
            Some(Body::TrackRetracted(track)) => {
                self.tracks.remove(&track.track_id);
            }
            Some(Body::Edited(edited)) => self.edited(edited),
            _ => {}
        }
    }

    fn edited(&mut self, edited: &Edited) {
        for change in &edited.profiles {
            let after = change.after.clone().unwrap_or_default();
            self.named
                .insert(change.identity_id, !after.name.is_empty());
        }
        for moved in &edited.moves {
            for id in &moved.track_ids {
                self.tracks.get_mut(id).unwrap().person = moved.into_identity_id;
                for (told, about) in self.told.iter().zip(&mut self.about) {
                    let goes = moved.all || told.track == *id;
                    if goes && *about == moved.from_identity_id {
                        *about = moved.into_identity_id;
                    }
                }
            }
        }
        for change in &edited.redirects {
            self.redirects.insert(change.identity_id, change.after);
        }
    }

    fn observed(&mut self, sequence: u64, track: &TrackObserved) {
        let decision = track.decision.clone().unwrap();
        let length_us = track.end_us - track.start_us;
        let faces = self.tracks.get(&track.track_id).map_or(0, |t| t.faces);
        let seen = Seen {
            person: decision.identity_id,
            source: track.source_id,
            wall_us: (track.wall_start_us, track.wall_start_us + length_us),
            length_us,
            faces: faces + u32::try_from(track.boxes.len()).unwrap(),
            joined: track.joined_similarity,
        };
        self.tracks.insert(track.track_id, seen.clone());
        if decision.absorbs_previous {
            let from = decision.previous_identity_id;
            self.redirects.insert(from, decision.identity_id);
            for about in &mut self.about {
                if *about == from {
                    *about = decision.identity_id;
                }
            }
        }
        for (id, (rule, since)) in self.rules.clone() {
            if self.raises((id, &rule, since), track.track_id, &seen) {
                let told = self.told_of(id, seen.person).count() + 1;
                self.told.push(Told {
                    after: sequence,
                    rule: id,
                    person: seen.person,
                    track: track.track_id,
                    at_us: seen.wall_us.0,
                    appearance: u32::try_from(told).unwrap(),
                });
                self.about.push(seen.person);
            }
        }
    }

    fn told_of(&self, rule: u64, person: u64) -> impl Iterator<Item = &Told> {
        let all = self.told.iter().zip(&self.about);
        let of = all.filter(move |(told, about)| told.rule == rule && **about == person);
        of.map(|(told, _)| told)
    }

    fn person_of(&self, mut id: u64) -> u64 {
        while let Some(into) = self.redirects.get(&id).filter(|into| **into != 0) {
            id = *into;
        }
        id
    }

    fn counts(&self, rule: &AlertRule, seen: &Seen) -> bool {
        let close = seen.joined == 0.0 || seen.joined >= rule.min_cosine.unwrap_or(-1.0);
        seen.faces >= rule.confirm_faces
            && seen.length_us >= rule.confirm_us
            && (rule.source_ids.is_empty() || rule.source_ids.contains(&seen.source))
            && (!rule.live_only || self.kinds[&seen.source] == SourceKind::Live)
            && (close || rule.unknown_people.is_some())
    }

    fn raises(&self, (id, rule, since): (u64, &AlertRule, u64), track: u64, seen: &Seen) -> bool {
        let person = seen.person;
        let named = self.named.get(&person).copied().unwrap_or(false);
        let watched = match rule.unknown_people {
            Some(_) => !named,
            None => rule
                .identity_ids
                .iter()
                .any(|id| self.person_of(*id) == person),
        };
        if !rule.enabled || !watched || !self.counts(rule, seen) {
            return false;
        }
        let (start, end) = seen.wall_us;
        let (from, to) = (start - rule.absence_us, end + rule.absence_us);
        let near = |at: i64| (from..=to).contains(&at) || (at - start).abs() < rule.cool_down_us;
        if self.told_of(id, person).any(|told| near(told.at_us)) {
            return false;
        }
        let goes_on = self.tracks.iter().any(|(other, it)| {
            let overlaps = it.wall_us.0 <= to && it.wall_us.1 >= from;
            *other != track && it.person == person && overlaps && self.counts(rule, it)
        });
        !(goes_on && self.told_of(id, person).any(|told| told.after > since))
    }
}
