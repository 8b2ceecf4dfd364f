//! Which key seals what: one for each track, for what is said of each identity, for each edit's reason, for each rule
//! and for its photos.

use super::super::apply::{Failure, Truth};
use rollcall_log::record::{Body, Edited, Record};
use std::collections::HashMap;

/// Names the keys of what a record says of people. Those of tracks are there: their blobs were sealed with them.
pub(crate) fn assign_keys(truth: &mut Truth, record: &mut Record) -> Result<(), Failure> {
    match &mut record.body {
        Some(Body::Edited(edited)) => of_edit(truth, edited),
        Some(Body::AlertRuleChanged(change)) => {
            let known = change.before.as_ref().map_or(0, |rule| rule.key);
            if let Some(after) = change.after.as_mut().filter(|rule| rule.key == 0) {
                after.key = match known {
                    0 => truth.log.new_key()?,
                    key => key,
                };
            }
            Ok(())
        }
        Some(Body::AlertRaised(raised)) => {
            let rule = truth.catalog.rule_at(raised.rule_id)?;
            raised.key = rule.map_or(0, |row| row.rule.key);
            raised.track_key = truth.catalog.track_key(raised.track_id)?;
            Ok(())
        }
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::TrackObserved(_)
            | Body::TrackRetracted(_)
            | Body::IdentityRenamed(_)
            | Body::SourceRunStarted(_)
            | Body::AlertDelivered(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::ExemplarsReembedded(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_)
            | Body::ErasureBegun(_)
            | Body::ErasureEnded(_),
        )
        | None => Ok(()),
    }
}

fn of_edit(truth: &mut Truth, edited: &mut Edited) -> Result<(), Failure> {
    if !edited.reason.is_empty() {
        edited.key = truth.log.new_key()?;
    }
    let mut known: HashMap<u64, u64> = HashMap::new();
    for change in edited.profiles.iter_mut().filter(|change| change.key == 0) {
        let profiles = [&change.before, &change.after].into_iter().flatten();
        let mut profiles = profiles.filter(|profile| {
            let texts = [&profile.name, &profile.external_id];
            texts.iter().any(|text| !text.is_empty()) || !profile.metadata.is_empty()
        });
        if profiles.next().is_none() {
            continue;
        }
        let id = change.identity_id;
        let of_before = match known.get(&id) {
            Some(key) => *key,
            None => truth.catalog.identity_key(id)?,
        };
        change.key = match of_before {
            0 => truth.log.new_key()?,
            key => key,
        };
        known.insert(id, change.key);
    }
    Ok(())
}
