//! What of a record is sealed on disk: everything that says something about a person.
//!
//! Whoever appends a record names the key (`TrackObserved.key`, `Profile.key`, ...), and readers get the record as it
//! was appended. Where the key was destroyed they get what was not sealed, marked as erased.
use std::io;

use prost::Message as _;

use crate::cipher::{self, Forged, Kind};
use crate::format::key::KeyBytes;
use crate::keys::KeyError;
use crate::record::{
    AlertRaised, AlertRule, AlertRuleChanged, Body, Decision, Edited, Profile, Record, Reembedded,
    TrackObserved,
};

/// Why a record cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("{0}")]
    Key(KeyError),
    #[error("{0}")]
    Io(io::Error),
    /// What is sealed was not sealed with this key, or is no message.
    #[error("{what} was sealed with another key")]
    Forged { what: &'static str },
}

/// Where keys come from.
pub(crate) trait Keys {
    fn key(&mut self, number: u64) -> Result<KeyBytes, KeyError>;
}

impl<F: FnMut(u64) -> Result<KeyBytes, KeyError>> Keys for F {
    fn key(&mut self, number: u64) -> Result<KeyBytes, KeyError> {
        self(number)
    }
}

/// Seals what is to be sealed of a record.
pub(crate) fn seal(record: &mut Record, keys: &mut dyn Keys) -> Result<(), SealError> {
    match &mut record.body {
        Some(Body::TrackObserved(track)) => seal_track(track, keys),
        Some(Body::Edited(edited)) => seal_edited(edited, keys),
        Some(Body::AlertRuleChanged(change)) => seal_change(change, keys),
        Some(Body::AlertRaised(raised)) => seal_raised(raised, keys),
        Some(Body::ExemplarsReembedded(batch)) => {
            let mut exemplars = batch.exemplars.iter_mut();
            exemplars.try_for_each(|exemplar| seal_reembedded(exemplar, keys))
        }
        Some(_) | None => Ok(()),
    }
}

/// Opens what is sealed of a record.
pub(crate) fn unseal(record: &mut Record, keys: &mut dyn Keys) -> Result<(), SealError> {
    match &mut record.body {
        Some(Body::TrackObserved(track)) => open_track(track, keys),
        Some(Body::Edited(edited)) => open_edited(edited, keys),
        Some(Body::AlertRuleChanged(change)) => open_change(change, keys),
        Some(Body::AlertRaised(raised)) => open_raised(raised, keys),
        Some(Body::ExemplarsReembedded(batch)) => {
            let mut exemplars = batch.exemplars.iter_mut();
            exemplars.try_for_each(|exemplar| open_reembedded(exemplar, keys))
        }
        Some(_) | None => Ok(()),
    }
}

fn seal_track(track: &mut TrackObserved, keys: &mut dyn Keys) -> Result<(), SealError> {
    if track.key == 0 {
        return Ok(());
    }
    let decided = track.decision.as_ref();
    let clear = TrackObserved {
        track_id: track.track_id,
        source_id: track.source_id,
        // Of a photo it is a digest of it.
        track_key: match track.source_id {
            0 => track.track_id,
            _ => track.track_key,
        },
        revision: track.revision,
        closed: track.closed,
        decision: decided.map(|decision| Decision {
            identity_id: decision.identity_id,
            previous_identity_id: decision.previous_identity_id,
            absorbs_previous: decision.absorbs_previous,
            ..Decision::default()
        }),
        key: track.key,
        sealed: sealed(track.key, Kind::Track, &track.encode_to_vec(), keys)?,
        ..TrackObserved::default()
    };
    *track = clear;
    Ok(())
}

fn open_track(track: &mut TrackObserved, keys: &mut dyn Keys) -> Result<(), SealError> {
    let (key, is_sealed) = (track.key, !track.sealed.is_empty());
    match open(key, &mut track.sealed, Kind::Track, keys)? {
        Some(message) => {
            *track = TrackObserved::decode(message.as_slice())
                .map_err(|_| SealError::Forged { what: "a track" })?;
        }
        None => track.erased = is_sealed,
    }
    Ok(())
}

fn seal_edited(edited: &mut Edited, keys: &mut dyn Keys) -> Result<(), SealError> {
    if edited.key != 0 {
        edited.sealed = sealed(edited.key, Kind::Reason, edited.reason.as_bytes(), keys)?;
        edited.reason.clear();
    }
    for change in &mut edited.profiles {
        if change.key != 0 {
            change.sealed_before = seal_profile(change.key, &mut change.before, keys)?;
            change.sealed_after = seal_profile(change.key, &mut change.after, keys)?;
        }
    }
    let mut enrolled = edited.enrolled.iter_mut();
    enrolled.try_for_each(|photo| seal_track(photo, keys))
}

fn open_edited(edited: &mut Edited, keys: &mut dyn Keys) -> Result<(), SealError> {
    if let Some(reason) = open(edited.key, &mut edited.sealed, Kind::Reason, keys)? {
        edited.reason = text(reason, "a reason")?;
    }
    for change in &mut edited.profiles {
        let sides = [
            (&mut change.before, &mut change.sealed_before),
            (&mut change.after, &mut change.sealed_after),
        ];
        for (profile, sealed) in sides {
            change.erased |= !open_profile(change.key, profile, sealed, keys)?;
        }
    }
    let mut enrolled = edited.enrolled.iter_mut();
    enrolled.try_for_each(|photo| open_track(photo, keys))
}

fn seal_profile(
    key: u64,
    profile: &mut Option<Profile>,
    keys: &mut dyn Keys,
) -> Result<Vec<u8>, SealError> {
    let Some(profile) = profile else {
        return Ok(Vec::new());
    };
    let said = Profile {
        name: std::mem::take(&mut profile.name),
        external_id: std::mem::take(&mut profile.external_id),
        metadata: std::mem::take(&mut profile.metadata),
        ..Profile::default()
    };
    sealed(key, Kind::Profile, &said.encode_to_vec(), keys)
}

/// Whether nothing is missing of the profile.
fn open_profile(
    key: u64,
    profile: &mut Option<Profile>,
    sealed: &mut Vec<u8>,
    keys: &mut dyn Keys,
) -> Result<bool, SealError> {
    if sealed.is_empty() {
        return Ok(true);
    }
    let Some(message) = open(key, sealed, Kind::Profile, keys)? else {
        return Ok(false);
    };
    let said = Profile::decode(message.as_slice());
    let said = said.map_err(|_| SealError::Forged { what: "a profile" })?;
    let profile = profile.get_or_insert_default();
    profile.name = said.name;
    profile.external_id = said.external_id;
    profile.metadata = said.metadata;
    Ok(true)
}

fn rule_key(change: &AlertRuleChanged) -> u64 {
    let rules = [&change.after, &change.before].into_iter().flatten();
    rules
        .map(|rule| rule.key)
        .find(|key| *key != 0)
        .unwrap_or(0)
}

fn seal_change(change: &mut AlertRuleChanged, keys: &mut dyn Keys) -> Result<(), SealError> {
    let key = rule_key(change);
    if key != 0 && !change.reason.is_empty() {
        change.sealed = sealed(key, Kind::Reason, change.reason.as_bytes(), keys)?;
        change.reason.clear();
    }
    let rules = [&mut change.before, &mut change.after];
    let mut rules = rules.into_iter().flatten();
    rules.try_for_each(|rule| seal_rule(rule, keys))
}

fn open_change(change: &mut AlertRuleChanged, keys: &mut dyn Keys) -> Result<(), SealError> {
    if let Some(reason) = open(rule_key(change), &mut change.sealed, Kind::Reason, keys)? {
        change.reason = text(reason, "a reason")?;
    }
    let rules = [&mut change.before, &mut change.after];
    let mut rules = rules.into_iter().flatten();
    rules.try_for_each(|rule| {
        if let Some(name) = open(rule.key, &mut rule.sealed, Kind::RuleName, keys)? {
            rule.name = text(name, "a rule's name")?;
        }
        Ok(())
    })
}

fn seal_rule(rule: &mut AlertRule, keys: &mut dyn Keys) -> Result<(), SealError> {
    if rule.key != 0 {
        rule.sealed = sealed(rule.key, Kind::RuleName, rule.name.as_bytes(), keys)?;
        rule.name.clear();
    }
    Ok(())
}

fn seal_raised(raised: &mut AlertRaised, keys: &mut dyn Keys) -> Result<(), SealError> {
    if raised.key != 0 {
        raised.sealed = sealed(
            raised.key,
            Kind::RuleName,
            raised.rule_name.as_bytes(),
            keys,
        )?;
        raised.rule_name.clear();
    }
    if raised.track_key != 0 {
        let sighting = AlertRaised {
            source_id: std::mem::take(&mut raised.source_id),
            at_us: std::mem::take(&mut raised.at_us),
            position_us: std::mem::take(&mut raised.position_us),
            similarity: std::mem::take(&mut raised.similarity),
            best_exemplar_id: std::mem::take(&mut raised.best_exemplar_id),
            ..AlertRaised::default()
        };
        let message = sighting.encode_to_vec();
        raised.sealed_sighting = sealed(raised.track_key, Kind::Alert, &message, keys)?;
    }
    Ok(())
}

fn open_raised(raised: &mut AlertRaised, keys: &mut dyn Keys) -> Result<(), SealError> {
    if let Some(name) = open(raised.key, &mut raised.sealed, Kind::RuleName, keys)? {
        raised.rule_name = text(name, "a rule's name")?;
    }
    let is_sealed = !raised.sealed_sighting.is_empty();
    let opened = open(
        raised.track_key,
        &mut raised.sealed_sighting,
        Kind::Alert,
        keys,
    )?;
    let Some(message) = opened else {
        raised.erased = is_sealed;
        return Ok(());
    };
    let sighting = AlertRaised::decode(message.as_slice());
    let sighting = sighting.map_err(|_| SealError::Forged { what: "an alert" })?;
    raised.source_id = sighting.source_id;
    raised.at_us = sighting.at_us;
    raised.position_us = sighting.position_us;
    raised.similarity = sighting.similarity;
    raised.best_exemplar_id = sighting.best_exemplar_id;
    Ok(())
}

fn seal_reembedded(exemplar: &mut Reembedded, keys: &mut dyn Keys) -> Result<(), SealError> {
    if exemplar.key != 0 {
        let face = Reembedded {
            seen_us: std::mem::take(&mut exemplar.seen_us),
            quality: std::mem::take(&mut exemplar.quality),
            ..Reembedded::default()
        };
        exemplar.sealed = sealed(exemplar.key, Kind::Face, &face.encode_to_vec(), keys)?;
    }
    Ok(())
}

fn open_reembedded(exemplar: &mut Reembedded, keys: &mut dyn Keys) -> Result<(), SealError> {
    let opened = open(exemplar.key, &mut exemplar.sealed, Kind::Face, keys)?;
    if let Some(message) = opened {
        let face = Reembedded::decode(message.as_slice());
        let face = face.map_err(|_| SealError::Forged { what: "a face" })?;
        (exemplar.seen_us, exemplar.quality) = (face.seen_us, face.quality);
    }
    Ok(())
}

fn sealed(
    number: u64,
    kind: Kind,
    message: &[u8],
    keys: &mut dyn Keys,
) -> Result<Vec<u8>, SealError> {
    let key = keys.key(number).map_err(SealError::Key)?;
    cipher::seal(&key, kind, message).map_err(SealError::Io)
}

/// The message that is sealed, which is taken; `None` if none is, or its key is gone.
fn open(
    number: u64,
    sealed: &mut Vec<u8>,
    kind: Kind,
    keys: &mut dyn Keys,
) -> Result<Option<Vec<u8>>, SealError> {
    let sealed = std::mem::take(sealed);
    if sealed.is_empty() {
        return Ok(None);
    }
    let key = match keys.key(number) {
        Ok(key) => key,
        Err(KeyError::Gone) => return Ok(None),
        Err(error) => return Err(SealError::Key(error)),
    };
    let opened = cipher::open(&key, kind, sealed);
    opened.map(Some).map_err(|Forged| SealError::Forged {
        what: "what is sealed",
    })
}

fn text(bytes: Vec<u8>, what: &'static str) -> Result<String, SealError> {
    String::from_utf8(bytes).map_err(|_| SealError::Forged { what })
}
