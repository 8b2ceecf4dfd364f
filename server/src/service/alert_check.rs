//! What an alert rule may say.

use crate::core::{RuleUpdate, WebhookUpdate, photo_of};
use crate::edge::{Edge, unfit};
use crate::error::ApiError;
use crate::pb::{self, create_alert_rule_request::Watches};
use crate::time::duration_us;
use rollcall_log::record::{AlertRule, UnknownPeople};
use std::collections::BTreeSet;

/// People or sources of a rule at most.
const IDS_MAX: usize = 1000;
const SECRET_CHARS_MAX: usize = 500;
const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// Settings where none are given.
const CONFIRM_FACES: u32 = 3;
const CONFIRM_FACES_MAX: u32 = 10_000;
const ABSENCE_US: i64 = 30 * SECOND_US;
const COOL_DOWN_US: i64 = 60 * SECOND_US;
const CONFIRM_MAX_US: i64 = DAY_US / 24;
const ABSENCE_MAX_US: i64 = 7 * DAY_US;
const COOL_DOWN_MAX_US: i64 = 30 * DAY_US;
/// Strangers may be as new as that, or newer.
const OPENED_MAX_US: i64 = 3660 * DAY_US;

/// A new rule, all but the faces of its photos.
pub(super) fn checked_rule(
    edge: &Edge,
    request: pb::CreateAlertRuleRequest,
) -> Result<AlertRule, ApiError> {
    let settings = checked_settings(request.settings)?;
    let mut rule = AlertRule {
        name: checked_name(&request.name)?,
        enabled: !request.disabled,
        source_ids: settings.source_ids.unwrap_or_default(),
        live_only: settings.live_only.unwrap_or_default(),
        confirm_faces: settings.confirm_faces.unwrap_or(CONFIRM_FACES),
        confirm_us: settings.confirm_us.unwrap_or_default(),
        absence_us: settings.absence_us.unwrap_or(ABSENCE_US),
        cool_down_us: settings.cool_down_us.unwrap_or(COOL_DOWN_US),
        min_cosine: settings.min_cosine,
        tell_left: settings.tell_left.unwrap_or_default(),
        ..AlertRule::default()
    };
    match request.watches {
        Some(Watches::Identities(identities)) => {
            rule.identity_ids = checked_ids("identities", identities.identity_ids)?;
            if rule.identity_ids.is_empty() {
                return Err(wrong("identities", "is empty: name at least one"));
            }
        }
        Some(Watches::Strangers(strangers)) => {
            let opened_within_us = opened_within(strangers)?;
            rule.unknown_people = Some(UnknownPeople { opened_within_us });
            if rule.min_cosine.is_some() {
                let what = "means nothing to a rule that watches for strangers";
                return Err(wrong("settings.min_cosine", what));
            }
        }
        Some(Watches::Photos(_)) => {
            let collection = &edge.in_service().collection;
            rule.photo = Some(photo_of(&collection.contract));
            rule.min_cosine.get_or_insert(collection.same_cosine);
        }
        None => {
            let what = "is missing: say whom to watch for: identities, strangers or photos";
            return Err(wrong("watches", what));
        }
    }
    if let Some(webhook) = request.webhook {
        let update = checked_webhook(edge, webhook)?;
        if update.url.is_empty() {
            let what = "is empty".to_owned();
            return Err(ApiError::InvalidWebhook { what });
        }
        rule.webhook = update.on(None);
    }
    Ok(rule)
}

/// A change of a rule.
pub(super) fn checked_update(
    edge: &Edge,
    request: pb::UpdateAlertRuleRequest,
) -> Result<RuleUpdate, ApiError> {
    let mut update = checked_settings(request.settings)?;
    update.name = request.name.as_deref().map(checked_name).transpose()?;
    update.enabled = request.enabled;
    if let Some(identities) = request.identities {
        let ids = checked_ids("identities", identities.identity_ids)?;
        if ids.is_empty() {
            return Err(wrong(
                "identities",
                "is empty: name at least one, or delete the rule",
            ));
        }
        update.identity_ids = Some(ids);
    }
    update.opened_within_us = request.strangers.map(opened_within).transpose()?;
    let webhook = request.webhook;
    update.webhook = webhook
        .map(|webhook| checked_webhook(edge, webhook))
        .transpose()?;
    if update == RuleUpdate::default() {
        let what = "is missing, and so is everything else that could be changed";
        return Err(wrong("name", what));
    }
    Ok(update)
}

fn wrong(field: &'static str, what: &str) -> ApiError {
    ApiError::InvalidField {
        field,
        what: what.to_owned(),
    }
}

fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(ApiError::InvalidName { what: "is empty" });
    }
    match unfit(name) {
        Some(what) => Err(ApiError::InvalidName { what }),
        None => Ok(name.to_owned()),
    }
}

fn checked_settings(settings: Option<pb::AlertSettings>) -> Result<RuleUpdate, ApiError> {
    let settings = settings.unwrap_or_default();
    let cosine = settings.min_cosine;
    if cosine.is_some_and(|cosine| !(-1.0..=1.0).contains(&cosine)) {
        return Err(wrong(
            "settings.min_cosine",
            "must be a number from -1 to 1",
        ));
    }
    let faces = settings.confirm_faces;
    if faces.is_some_and(|faces| faces > CONFIRM_FACES_MAX) {
        return Err(wrong("settings.confirm_faces", "is more than 10000"));
    }
    let sources = settings.sources.map(|list| list.source_ids);
    Ok(RuleUpdate {
        source_ids: sources
            .map(|ids| checked_ids("settings.sources", ids))
            .transpose()?,
        live_only: settings.live_only,
        confirm_faces: faces,
        confirm_us: time(
            "settings.confirm_time",
            settings.confirm_time,
            CONFIRM_MAX_US,
        )?,
        absence_us: time("settings.absence", settings.absence, ABSENCE_MAX_US)?,
        cool_down_us: time("settings.cool_down", settings.cool_down, COOL_DOWN_MAX_US)?,
        min_cosine: cosine,
        tell_left: settings.tell_left,
        ..RuleUpdate::default()
    })
}

fn opened_within(strangers: pb::WatchedStrangers) -> Result<i64, ApiError> {
    let field = "strangers.opened_within";
    Ok(time(field, strangers.opened_within, OPENED_MAX_US)?.unwrap_or_default())
}

fn time(
    field: &'static str,
    time: Option<prost_types::Duration>,
    most_us: i64,
) -> Result<Option<i64>, ApiError> {
    let us = time.as_ref().map(duration_us);
    match us.filter(|us| !(0..=most_us).contains(us)) {
        Some(_) => {
            let what = format!("must lie between 0 and {} s", most_us / SECOND_US);
            Err(wrong(field, &what))
        }
        None => Ok(us),
    }
}

fn checked_ids(field: &'static str, ids: Vec<u64>) -> Result<Vec<u64>, ApiError> {
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    if ids.len() > IDS_MAX {
        return Err(wrong(field, "has more than 1000 entries"));
    }
    Ok(ids.into_iter().collect())
}

fn checked_webhook(edge: &Edge, webhook: pb::AlertWebhook) -> Result<WebhookUpdate, ApiError> {
    let secret = webhook.secret;
    if secret
        .as_ref()
        .is_some_and(|secret| secret.chars().count() > SECRET_CHARS_MAX)
    {
        return Err(wrong("webhook.secret", "is longer than 500 characters"));
    }
    // As it was read: what is checked is what is asked for.
    let url = match webhook.url.as_str() {
        "" => String::new(),
        url => edge.webhook_rules.check(url)?.into(),
    };
    Ok(WebhookUpdate {
        url,
        secret: secret.map(String::into_bytes),
        include_crop: webhook.include_crop,
    })
}
