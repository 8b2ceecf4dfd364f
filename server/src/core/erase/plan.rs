//! What an erasure comes to: planned from the catalog alone.

use super::super::apply::{Failure, Truth};
use super::super::catalog::{CatalogWriter, Doomed};
use super::super::command::WriteError;
use super::super::writer::Refusal;
use super::{Outlived, What};
use crate::core::edit::editable_identity;
use rollcall_log::record::{AlertRule, Body, ErasureBegun, ErasureScope, IdentityState, Profile};
use std::collections::{BTreeMap, BTreeSet};

/// Tracks of one erasure at most: they must fit a record.
const TRACKS_ERASED_MAX: usize = 500_000;

pub(super) fn plan(truth: &Truth, what: &What) -> Result<ErasureBegun, Refusal> {
    let catalog = &truth.catalog;
    let mut planned = ErasureBegun::default();
    let mut people = BTreeSet::new();
    let doomed = match what {
        What::Identity { id, etag } => {
            planned.set_scope(ErasureScope::Identity);
            let id = editable_identity(catalog, *id, etag.clone())?;
            people.extend(catalog.parts_of(id)?);
            let mut all = Vec::new();
            for part in &people {
                // Retracted ones are whose they were then.
                all.extend(catalog.doomed_of_identity(*part)?);
            }
            all
        }
        What::Tracks(ids) => {
            planned.set_scope(ErasureScope::Tracks);
            tracks(catalog, ids)?
        }
        What::Faces(ids) => {
            planned.set_scope(ErasureScope::Tracks);
            let track = |face: &u64| {
                let id = *face;
                let found = catalog.track_of_exemplar(id)?;
                found.ok_or_else(|| Refusal::from(WriteError::FaceNotFound { id }))
            };
            let ids: BTreeSet<u64> = ids.iter().map(track).collect::<Result<_, Refusal>>()?;
            tracks(catalog, &Vec::from_iter(ids))?
        }
        What::Source { id, from_us, to_us } => {
            planned.set_scope(ErasureScope::Source);
            if catalog.source(*id)?.is_none() {
                return Err(WriteError::SourceNotFound { id: *id }.into());
            }
            planned.source_ids = vec![*id];
            (planned.from_us, planned.to_us) = (*from_us, *to_us);
            catalog.doomed_of_source(*id, (*from_us, *to_us))?
        }
        What::KeysGone => {
            planned.set_scope(ErasureScope::Tracks);
            catalog.doomed_already()?
        }
        What::Outlived(rules) => {
            planned.set_scope(ErasureScope::Retention);
            outlived(catalog, rules, &mut planned)?
        }
    };
    if doomed.is_empty() && people.is_empty() {
        return Err(WriteError::NothingToErase.into());
    }
    if doomed.len() > TRACKS_ERASED_MAX {
        let what = format!(
            "{} sightings are more than one erasure can name: {TRACKS_ERASED_MAX}; erase them source by source, \
             or in shorter times",
            doomed.len()
        );
        return Err(WriteError::EditTooLarge { what }.into());
    }
    fill(catalog, planned, &doomed, people)
}

fn tracks(catalog: &CatalogWriter, ids: &[u64]) -> Result<Vec<Doomed>, Refusal> {
    let one = |id: &u64| {
        let id = *id;
        let found = catalog.doomed_track(id)?;
        found.ok_or_else(|| Refusal::from(WriteError::TrackNotFound { id }))
    };
    let unique: BTreeSet<u64> = ids.iter().copied().collect();
    unique.iter().map(one).collect()
}

fn outlived(
    catalog: &CatalogWriter,
    rules: &[Outlived],
    planned: &mut ErasureBegun,
) -> Result<Vec<Doomed>, Refusal> {
    let mut all: BTreeMap<u64, Doomed> = BTreeMap::new();
    for rule in rules {
        let room = TRACKS_ERASED_MAX - all.len();
        let which = (rule.source, rule.but.as_slice());
        let found = catalog.outlived(which, rule.named, rule.before_us, room)?;
        all.extend(found.into_iter().map(|one| (one.track, one)));
        planned.to_us = planned.to_us.max(rule.before_us);
    }
    Ok(all.into_values().collect())
}

/// What goes with the tracks and the people.
fn fill(
    catalog: &CatalogWriter,
    mut planned: ErasureBegun,
    doomed: &[Doomed],
    mut people: BTreeSet<u64>,
) -> Result<ErasureBegun, Refusal> {
    let mut leaving: BTreeMap<u64, usize> = BTreeMap::new();
    for one in doomed.iter().filter(|one| one.live) {
        *leaving.entry(one.identity).or_default() += 1;
    }
    let touched: BTreeSet<u64> = leaving.keys().copied().collect();
    let counts = catalog.track_counts(&touched)?;
    for (identity, leaves) in &leaving {
        // Of somebody of whom nobody has said anything, nothing is left then.
        let last = counts.get(identity) == Some(leaves);
        let held = catalog.identity(*identity)?.is_some_and(|it| it.held);
        if last && !held && catalog.facts_of_identity(*identity, None)?.is_empty() {
            people.extend(catalog.parts_of(*identity)?);
        }
    }
    let mut facts = BTreeSet::new();
    let tracks = doomed.iter().map(|one| one.track).collect();
    facts.extend(
        catalog
            .facts_of_tracks(&tracks)?
            .iter()
            .map(|it| it.fact.fact_id),
    );
    let mut keys: BTreeSet<u64> = doomed.iter().map(|one| one.key).collect();
    for identity in &people {
        let about = catalog.facts_of_identity(*identity, None)?;
        facts.extend(about.iter().map(|it| it.fact.fact_id));
        keys.insert(catalog.identity_key(*identity)?);
    }
    let (reasons, mut first) = catalog.said_of(&people)?;
    keys.extend(reasons);
    keys.remove(&0);
    for one in doomed {
        first = first.min(catalog.first_decision(one.track)?.unwrap_or(1));
    }
    planned.touched_identity_ids = touched.difference(&people).copied().collect();
    planned.identity_ids = people.into_iter().collect();
    planned.track_ids = doomed.iter().map(|one| one.track).collect();
    planned.keys = keys.into_iter().collect();
    planned.fact_ids = facts.into_iter().collect();
    planned.last_exemplar_id = catalog.ids().exemplar;
    planned.first_sequence = if first == u64::MAX { 1 } else { first };
    Ok(planned)
}

/// The alert rules that watch for people who are erased, and what becomes of each: nothing, if it watches for
/// nobody else.
pub(super) fn rules(
    truth: &Truth,
    planned: &ErasureBegun,
) -> Result<Vec<(u64, AlertRule, Option<AlertRule>)>, Refusal> {
    let mut changed = Vec::new();
    for row in truth.catalog.rules()? {
        let gone = |id: &u64| planned.identity_ids.binary_search(id).is_ok();
        if !row.rule.identity_ids.iter().any(gone) {
            continue;
        }
        let mut after = row.rule.clone();
        after.identity_ids.retain(|id| !gone(id));
        let after = (!after.identity_ids.is_empty()).then_some(after);
        changed.push((row.id, row.rule, after));
    }
    Ok(changed)
}

/// People who stay, and of whom may have been said what was said of somebody who goes: they were merged, with whatever
/// names there were, and that was undone. With what is said of them now.
pub(super) fn said_alike(
    truth: &Truth,
    planned: &ErasureBegun,
) -> Result<Vec<(u64, Profile)>, Refusal> {
    let gone: BTreeSet<u64> = planned.identity_ids.iter().copied().collect();
    let mut alike = BTreeSet::new();
    for sequence in truth.catalog.edits_of(&gone)? {
        let body = truth
            .record(sequence)
            .map_err(Failure::Read)?
            .and_then(|record| record.body);
        let Some(Body::Edited(edited)) = body else {
            continue;
        };
        if edited.redirects.is_empty() {
            continue;
        }
        let others = edited.profiles.iter().map(|change| change.identity_id);
        alike.extend(others.filter(|id| !gone.contains(id)));
    }
    let mut all = Vec::new();
    for id in alike {
        let profile = truth.catalog.profile(id)?.unwrap_or_default();
        if profile.state() != IdentityState::Erased && truth.catalog.identity_key(id)? != 0 {
            all.push((id, profile));
        }
    }
    Ok(all)
}
