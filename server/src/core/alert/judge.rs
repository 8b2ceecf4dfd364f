//! Whether a sighting raises alerts. What is asked depends on records alone: on the track and the people as the
//! record leaves them, and on the alerts before it. Asked again, after a crash, it gives what is still missing.
//!
//! A sighting counts once it is confirmed. It is told of if it begins an appearance: the rule has told of
//! nobody's coming that is this person within the absence time around it or the cool-down, and no other sighting
//! that counts lies that near. Only if the rule has never told of the person since it was enabled, sightings before
//! do not matter.

use super::super::apply::{Failure, seen_us};
use super::super::catalog::{CatalogWriter, Confirm, IdentityFacts, Near, TrackRow};
use super::watchlist::{Rule, Watchlist};
use rollcall_index::{Embedding, State, TrackId};
use rollcall_log::record::{
    AlertKind, AlertRaised, Body, Record, SourceKind, TrackObserved, UnknownPeople,
};
use std::cell::OnceCell;

/// Sightings near in time that are compared with a photo at most.
const NEAR_COMPARED_MAX: u32 = 64;

/// The alerts that a record raises, by rule. Catalog and index have applied it.
pub(super) fn judge(
    list: &Watchlist,
    catalog: &CatalogWriter,
    state: &State,
    record: &Record,
) -> Result<Vec<AlertRaised>, Failure> {
    let Some(Body::TrackObserved(observed)) = &record.body else {
        return Ok(Vec::new());
    };
    let identity = observed
        .decision
        .as_ref()
        .map_or(0, |decision| decision.identity_id);
    let mut rules = list.rules_for(identity).peekable();
    if rules.peek().is_none() {
        return Ok(Vec::new());
    }
    let (Some(track), Some(source)) = (
        catalog.track(observed.track_id)?,
        catalog.source(observed.source_id)?,
    ) else {
        return Ok(Vec::new());
    };
    let sighting = Sighting {
        catalog,
        state,
        observed,
        kind: source.kind,
        time_us: record.time_us,
        facts: catalog.identity(track.identity)?,
        mean: OnceCell::new(),
        track,
    };
    let mut raised = Vec::new();
    for rule in rules {
        raised.extend(sighting.under(rule)?);
    }
    Ok(raised)
}

struct Sighting<'a> {
    catalog: &'a CatalogWriter,
    state: &'a State,
    observed: &'a TrackObserved,
    kind: SourceKind,
    /// When it was recorded.
    time_us: i64,
    track: TrackRow,
    facts: Option<IdentityFacts>,
    mean: OnceCell<Option<Embedding>>,
}

impl Sighting<'_> {
    fn under(&self, rule: &Rule) -> Result<Option<AlertRaised>, Failure> {
        let (says, track) = (&rule.says, &self.track);
        let confirm = Confirm {
            faces: says.confirm_faces,
            length_us: says.confirm_us,
        };
        let confirmed =
            track.faces >= confirm.faces && track.end_us - track.start_us >= confirm.length_us;
        if !confirmed || !rule.takes_source(self.observed.source_id, self.kind) {
            return Ok(None);
        }
        let Some(similarity) = self.watched_for(rule) else {
            return Ok(None);
        };
        let pair = (rule.id, track.identity);
        let start_us = seen_us(self.observed, track.start_us);
        let end_us = seen_us(self.observed, track.end_us);
        let near_us = (
            start_us.saturating_sub(says.absence_us),
            end_us.saturating_add(says.absence_us),
        );
        let cool_down = (start_us, says.cool_down_us);
        if self.catalog.told_near(pair, near_us, cool_down)? {
            return Ok(None);
        }
        if self.catalog.told_since(pair, rule.since)? && self.goes_on(rule, near_us, confirm)? {
            return Ok(None);
        }
        Ok(Some(AlertRaised {
            rule_id: rule.id,
            rule_name: says.name.clone(),
            kind: AlertKind::Appeared.into(),
            identity_id: track.identity,
            track_id: track.id,
            source_id: self.observed.source_id,
            appearance: self.catalog.appearances(rule.id, track.identity)? + 1,
            at_us: start_us,
            position_us: track.start_us,
            similarity,
            best_exemplar_id: track.best_exemplar,
            appeared_sequence: 0,
            expects_left: says.tell_left,
            ..AlertRaised::default()
        }))
    }

    /// Whether the rule watches for whoever this is, and the similarity that goes with it.
    fn watched_for(&self, rule: &Rule) -> Option<f32> {
        if let Some(photo) = &rule.says.photo {
            if photo.contract != self.catalog.contracts().in_service().id {
                // Embeddings of two models have nothing to do with each other.
                return None;
            }
            let mean = self.mean.get_or_init(|| mean_of(self.state, self.track.id));
            return like(rule, mean.as_ref()?);
        }
        if let Some(strangers) = &rule.says.unknown_people {
            let facts = self.facts.as_ref()?;
            return self
                .is_stranger(facts, strangers)
                .then_some(self.track.joined);
        }
        is_close(rule, self.track.joined).then_some(self.track.joined)
    }

    fn is_stranger(&self, facts: &IdentityFacts, strangers: &UnknownPeople) -> bool {
        let age = self.time_us.saturating_sub(facts.created_us);
        let recent = strangers.opened_within_us == 0 || age <= strangers.opened_within_us;
        recent && !facts.held
    }

    /// Whether another sighting of the person that counts lies near in time.
    fn goes_on(&self, rule: &Rule, near_us: (i64, i64), confirm: Confirm) -> Result<bool, Failure> {
        let mut left = NEAR_COMPARED_MAX;
        let mut takes = |near: Near| {
            if !rule.takes_source(near.source, near.kind) {
                return Ok(false);
            }
            if rule.says.photo.is_none() {
                return Ok(rule.says.unknown_people.is_some() || is_close(rule, near.joined));
            }
            left = left.saturating_sub(1);
            let mean = mean_of(self.state, near.track);
            Ok(left == 0 || mean.is_some_and(|mean| like(rule, &mean).is_some()))
        };
        let who = (self.track.identity, self.track.id);
        self.catalog.any_near(who, near_us, confirm, &mut takes)
    }
}

/// Whether a track that joined its identity by that cosine (0: it opened it) is close enough.
fn is_close(rule: &Rule, joined: f32) -> bool {
    let least = rule.says.min_cosine;
    joined == 0.0 || least.is_none_or(|least| joined >= least)
}

/// The cosine to the rule's photo, if it is high enough.
fn like(rule: &Rule, mean: &Embedding) -> Option<f32> {
    let photos = rule.photos.iter();
    let cosines = photos
        .filter(|photo| photo.dimension() == mean.dimension())
        .map(|photo| photo.dot(mean).get());
    let least = rule.says.min_cosine.unwrap_or(1.0);
    cosines.max_by(f32::total_cmp).filter(|most| *most >= least)
}

fn mean_of(state: &State, track: u64) -> Option<Embedding> {
    let faces = state.track_faces(TrackId::new(track));
    let faces: Vec<(Embedding, f32)> = faces.map(|face| (face.embedding(), face.quality)).collect();
    Embedding::mean(
        faces
            .iter()
            .map(|(embedding, quality)| (embedding, *quality)),
    )
}
