//! Alerts: rules by which people who appear, or leave, are told of.
//!
//! A sighting is judged right behind its record, in the same commit; what it raises is a record of its own, and
//! replay never judges again. See `docs/alerts.md`.

mod judge;
mod left;
mod shown;
mod watchlist;

use super::SYSTEM;
use super::apply::{Failure, Truth};
use super::catalog::{RequestKind, RuleRow, etag};
use super::command::{Done, WriteError};
use super::erase;
use super::writer::{Refusal, record, repeated};
use rollcall_index::Embedding;
use rollcall_log::record::{
    AlertDelivered, AlertRaised, AlertRule, AlertRuleChanged, AlertWebhook, BlobRef, Body, Record,
    UnknownPeople, WatchedPhoto,
};

pub(crate) use shown::{alert as as_shown_alert, raised as as_raised, rule as as_shown_rule};
pub(crate) use watchlist::Watchlist;

/// Rules at a time.
pub(crate) const RULES_MAX: usize = 256;

/// A change of the rules to be made.
#[derive(Clone, Debug)]
pub struct RuleEdit {
    /// What is done.
    pub change: RuleChange,
    /// Who does it.
    pub author: String,
    /// Why, in the author's words; may be empty.
    pub reason: String,
    /// Empty, or an id under which the request is carried out once only.
    pub request_id: String,
}

/// What becomes of a rule. Ids of people and sources that are not there are refused with
/// [`WriteError::IdentityNotFound`] and [`WriteError::SourceNotFound`].
#[derive(Clone, Debug)]
pub enum RuleChange {
    /// A new rule. Refused with [`WriteError::AlertRulesFull`].
    Create {
        /// What it says; a photo's faces come apart.
        rule: Box<AlertRule>,
        /// Faces of one person, if it watches for a photo.
        photos: Vec<Embedding>,
    },
    /// Refused with [`WriteError::AlertRuleNotFound`], [`WriteError::AlertRuleEtagMismatch`],
    /// [`WriteError::AlertRuleKind`].
    Update {
        /// Which one.
        rule_id: u64,
        /// When given, the rule must still have it.
        etag: Option<String>,
        /// What is changed.
        update: Box<RuleUpdate>,
    },
    /// Refused with [`WriteError::AlertRuleNotFound`], [`WriteError::AlertRuleEtagMismatch`].
    Delete {
        /// Which one.
        rule_id: u64,
        /// When given, the rule must still have it.
        etag: Option<String>,
    },
}

/// What a rule says from here on; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleUpdate {
    /// Its name.
    pub name: Option<String>,
    /// Whether it raises alerts.
    pub enabled: Option<bool>,
    /// Whom it watches for, if it watches for people by id.
    pub identity_ids: Option<Vec<u64>>,
    /// How new people must be, if it watches for strangers; 0: any.
    pub opened_within_us: Option<i64>,
    /// See [`AlertRule`], as for the rest.
    pub source_ids: Option<Vec<u64>>,
    /// Live sources alone.
    pub live_only: Option<bool>,
    /// Faces that make a sighting count.
    pub confirm_faces: Option<u32>,
    /// Length that makes a sighting count.
    pub confirm_us: Option<i64>,
    /// Time after which somebody unseen has left.
    pub absence_us: Option<i64>,
    /// Time without a second alert.
    pub cool_down_us: Option<i64>,
    /// Least cosine.
    pub min_cosine: Option<f32>,
    /// An alert when they leave, too.
    pub tell_left: Option<bool>,
    /// Who is told.
    pub webhook: Option<WebhookUpdate>,
}

/// What becomes of a rule's webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUpdate {
    /// Empty: there is none any more.
    pub url: String,
    /// Key of the signature, empty for none; `None`: as it was.
    pub secret: Option<Vec<u8>>,
    /// The picture goes along.
    pub include_crop: bool,
}

impl WebhookUpdate {
    /// The webhook after the update.
    pub fn on(self, before: Option<&AlertWebhook>) -> Option<AlertWebhook> {
        let kept = || {
            before
                .map(|before| before.secret.clone())
                .unwrap_or_default()
        };
        (!self.url.is_empty()).then(|| AlertWebhook {
            secret: self.secret.unwrap_or_else(kept),
            url: self.url,
            include_crop: self.include_crop,
        })
    }
}

/// What the writer is asked about alerts.
#[derive(Clone, Debug)]
pub(crate) enum AlertCommand {
    Edit(RuleEdit),
    Delivered(AlertDelivered),
    /// Who has left by now? Unix microseconds.
    Tick(i64),
}

/// Carries out a command: the id of a new rule, or the record that it left.
pub(super) fn carry_out(truth: &mut Truth, command: AlertCommand) -> Result<Done, Refusal> {
    match command {
        AlertCommand::Edit(edit) => edit_rule(truth, edit),
        AlertCommand::Delivered(delivered) => delivery(truth, delivered).map(Done::Sequence),
        AlertCommand::Tick(now_us) => {
            let raised = left::left(&mut truth.alerts, &truth.catalog, now_us)?;
            append(truth, raised)?;
            Ok(Done::Sequence(truth.log.appended_sequence()))
        }
    }
}

/// The alerts that a record raises, now that it is applied.
pub(super) fn raised_by(truth: &Truth, record: &Record) -> Result<Vec<AlertRaised>, Failure> {
    judge::judge(&truth.alerts, &truth.catalog, truth.index.newest(), record)
}

/// Writes alerts down, in their order.
pub(super) fn append(truth: &mut Truth, raised: Vec<AlertRaised>) -> Result<(), Failure> {
    for raised in raised {
        let body = Body::AlertRaised(raised);
        truth.write(record(SYSTEM, "", body), Vec::new())?;
    }
    Ok(())
}

/// Judges the record at the end of the log, as it was opened: a crash may have come between it and its alerts.
/// Those of them that are there are not raised again.
pub(super) fn judge_end(truth: &mut Truth) -> Result<(), Failure> {
    if std::mem::replace(&mut truth.alerts.end_judged, true) {
        return Ok(());
    }
    let mut sequence = truth.log.appended_sequence();
    while let Some(last) = truth.record(sequence)? {
        match &last.body {
            Some(Body::AlertRaised(_)) => sequence -= 1,
            Some(_) | None => {
                let raised = raised_by(truth, &last)?;
                return append(truth, raised);
            }
        }
    }
    Ok(())
}

/// Notes how far a webhook has got; what was noted before is not noted again.
fn delivery(truth: &mut Truth, delivered: AlertDelivered) -> Result<u64, Refusal> {
    let rule = truth.catalog.rule_at(delivered.rule_id)?;
    if rule.is_none_or(|rule| rule.delivered >= delivered.alert_sequence) {
        return Ok(truth.log.appended_sequence());
    }
    let body = Body::AlertDelivered(delivered);
    Ok(truth.write(record(SYSTEM, "", body), Vec::new())?)
}

fn edit_rule(truth: &mut Truth, edit: RuleEdit) -> Result<Done, Refusal> {
    let RuleEdit {
        change,
        author,
        reason,
        request_id,
    } = edit;
    let kind = match &change {
        RuleChange::Create { .. } => RequestKind::CreateAlertRule,
        RuleChange::Update { .. } => RequestKind::UpdateAlertRule,
        RuleChange::Delete { .. } => RequestKind::DeleteAlertRule,
    };
    if let Some(earlier) = repeated(truth, &request_id, kind)? {
        return Ok(match change {
            RuleChange::Create { .. } => Done::Id(earlier.result),
            RuleChange::Update { .. } | RuleChange::Delete { .. } => {
                Done::Sequence(earlier.sequence)
            }
        });
    }
    let (mut changed, photos) = plan(truth, change)?;
    let (id, created) = (changed.rule_id, changed.before.is_none());
    changed.reason = reason;
    let watched = changed.before.as_ref().and_then(|rule| rule.photo.clone());
    let forgotten = watched.filter(|_| changed.after.is_none());
    let body = Body::AlertRuleChanged(changed);
    let sequence = truth.write(record(&author, &request_id, body), photos)?;
    if let Some(photo) = forgotten {
        // Nobody needs to know any more what they look like.
        erase::photos(truth, id, photo.embeddings)?;
    }
    Ok(if created {
        Done::Id(id)
    } else {
        Done::Sequence(sequence)
    })
}

fn plan(
    truth: &mut Truth,
    change: RuleChange,
) -> Result<(AlertRuleChanged, Vec<Embedding>), Refusal> {
    let changed = |rule_id, before, after| AlertRuleChanged {
        rule_id,
        before,
        after,
        ..AlertRuleChanged::default()
    };
    match change {
        RuleChange::Create { mut rule, photos } => {
            if truth.catalog.rules()?.len() >= RULES_MAX {
                return Err(WriteError::AlertRulesFull { max: RULES_MAX }.into());
            }
            check_ids(truth, &rule)?;
            if let Some(photo) = &mut rule.photo {
                let expected = &truth.catalog.contracts().in_service().id;
                if photo.contract != *expected {
                    let (found, expected) = (photo.contract.clone(), expected.clone());
                    return Err(WriteError::ContractGone { found, expected }.into());
                }
                let key = truth.log.new_key()?;
                photo.embeddings = stored(truth, key, &photos)?;
            }
            let id = truth.catalog.last_rule()? + 1;
            Ok((changed(id, None, Some(*rule)), photos))
        }
        RuleChange::Update {
            rule_id,
            etag,
            update,
        } => {
            let before = editable(truth, rule_id, etag)?.rule;
            let after = updated(rule_id, before.clone(), *update)?;
            check_ids(truth, &after)?;
            Ok((changed(rule_id, Some(before), Some(after)), Vec::new()))
        }
        RuleChange::Delete { rule_id, etag } => {
            let before = editable(truth, rule_id, etag)?.rule;
            Ok((changed(rule_id, Some(before), None), Vec::new()))
        }
    }
}

fn stored(truth: &mut Truth, key: u64, photos: &[Embedding]) -> Result<Vec<BlobRef>, Failure> {
    let photos = photos.iter().map(Embedding::to_f16_bytes);
    photos
        .map(|bytes| Ok(truth.log.put_sealed(key, &bytes)?))
        .collect()
}

fn editable(truth: &Truth, id: u64, wanted: Option<String>) -> Result<RuleRow, Refusal> {
    let row = truth.catalog.rule_at(id)?;
    let row = row.ok_or(WriteError::AlertRuleNotFound { id })?;
    let current = etag(row.sequence);
    if wanted.is_some_and(|wanted| wanted != current) {
        return Err(WriteError::AlertRuleEtagMismatch { id, current }.into());
    }
    Ok(row)
}

/// Refuses people and sources that are not there.
fn check_ids(truth: &Truth, rule: &AlertRule) -> Result<(), Refusal> {
    for id in rule.identity_ids.iter().copied() {
        if truth.catalog.identity(id)?.is_none() {
            return Err(WriteError::IdentityNotFound { id }.into());
        }
    }
    for id in rule.source_ids.iter().copied() {
        if truth.catalog.source(id)?.is_none() {
            return Err(WriteError::SourceNotFound { id }.into());
        }
    }
    Ok(())
}

fn updated(id: u64, mut rule: AlertRule, update: RuleUpdate) -> Result<AlertRule, WriteError> {
    let by_id = !rule.identity_ids.is_empty();
    let strangers = rule.unknown_people.is_some();
    let wrong = (update.identity_ids.is_some() && !by_id)
        || (update.opened_within_us.is_some() && !strangers)
        || (update.min_cosine.is_some() && strangers);
    if wrong {
        return Err(WriteError::AlertRuleKind { id });
    }
    fn set<T>(field: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *field = value;
        }
    }
    set(&mut rule.name, update.name);
    set(&mut rule.enabled, update.enabled);
    set(&mut rule.identity_ids, update.identity_ids);
    if let Some(opened_within_us) = update.opened_within_us {
        rule.unknown_people = Some(UnknownPeople { opened_within_us });
    }
    set(&mut rule.source_ids, update.source_ids);
    set(&mut rule.live_only, update.live_only);
    set(&mut rule.confirm_faces, update.confirm_faces);
    set(&mut rule.confirm_us, update.confirm_us);
    set(&mut rule.absence_us, update.absence_us);
    set(&mut rule.cool_down_us, update.cool_down_us);
    rule.min_cosine = update.min_cosine.or(rule.min_cosine);
    set(&mut rule.tell_left, update.tell_left);
    if let Some(webhook) = update.webhook {
        rule.webhook = webhook.on(rule.webhook.as_ref());
    }
    Ok(rule)
}

/// A photo rule's part that is not its faces.
pub(crate) fn photo_of(contract: &str) -> WatchedPhoto {
    WatchedPhoto {
        contract: contract.to_owned(),
        embeddings: Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod tests;
