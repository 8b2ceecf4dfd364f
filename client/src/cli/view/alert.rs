//! Alert rules and alerts.
use rollcall_client::pb::{self, alert_rule::Watches};
use serde::Serialize;

use super::{id, moment, seconds, text};
use crate::cli::format::enum_name;

#[derive(Debug, Serialize)]
pub(crate) struct AlertRule {
    id: u64,
    name: String,
    enabled: bool,
    watches: &'static str,
    identity_ids: Vec<u64>,
    opened_within_s: Option<f64>,
    photos: Option<u32>,
    source_ids: Vec<u64>,
    live_only: bool,
    confirm_faces: u32,
    confirm_time_s: Option<f64>,
    absence_s: Option<f64>,
    cool_down_s: Option<f64>,
    min_cosine: Option<f32>,
    tell_left: bool,
    webhook: Option<Webhook>,
    etag: Option<String>,
    created: Option<String>,
}

#[derive(Debug, Serialize)]
struct Webhook {
    url: String,
    include_crop: bool,
    signed: bool,
    gone: bool,
    delivered_sequence: u64,
}

impl From<&pb::AlertRule> for AlertRule {
    fn from(from: &pb::AlertRule) -> Self {
        let settings = from.settings.clone().unwrap_or_default();
        let (mut identity_ids, mut opened_within_s, mut photos) = (Vec::new(), None, None);
        let watches = match &from.watches {
            Some(Watches::Identities(identities)) => {
                identity_ids.clone_from(&identities.identity_ids);
                "identities"
            }
            Some(Watches::Strangers(strangers)) => {
                opened_within_s = seconds(strangers.opened_within.as_ref());
                "strangers"
            }
            Some(Watches::Photos(of)) => {
                photos = Some(of.count);
                "photos"
            }
            None => "unknown",
        };
        Self {
            id: from.id,
            name: from.name.clone(),
            enabled: from.enabled,
            watches,
            identity_ids,
            opened_within_s,
            photos,
            source_ids: settings.sources.clone().unwrap_or_default().source_ids,
            live_only: settings.live_only(),
            confirm_faces: settings.confirm_faces(),
            confirm_time_s: seconds(settings.confirm_time.as_ref()),
            absence_s: seconds(settings.absence.as_ref()),
            cool_down_s: seconds(settings.cool_down.as_ref()),
            min_cosine: settings.min_cosine,
            tell_left: settings.tell_left(),
            webhook: from.webhook.as_ref().map(|hook| Webhook {
                url: hook.url.clone(),
                include_crop: hook.include_crop,
                signed: hook.signed,
                gone: hook.gone,
                delivered_sequence: hook.delivered_sequence,
            }),
            etag: text(&from.etag),
            created: moment(from.create_time.as_ref()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Alert {
    sequence: u64,
    time: Option<String>,
    rule_id: u64,
    rule_name: String,
    kind: String,
    identity_id: u64,
    identity_name: Option<String>,
    track_id: Option<u64>,
    source_id: u64,
    source_name: Option<String>,
    seen: Option<String>,
    position_s: Option<f64>,
    cosine: f32,
    appearance: u32,
    best_exemplar_id: Option<u64>,
    appeared_sequence: Option<u64>,
}

impl From<&pb::Alert> for Alert {
    fn from(from: &pb::Alert) -> Self {
        Self {
            sequence: from.sequence,
            time: moment(from.time.as_ref()),
            rule_id: from.rule_id,
            rule_name: from.rule_name.clone(),
            kind: enum_name(from.kind().as_str_name(), "ALERT_KIND_"),
            identity_id: from.identity_id,
            identity_name: text(&from.identity_name),
            track_id: id(from.track_id),
            source_id: from.source_id,
            source_name: text(&from.source_name),
            seen: moment(from.seen.as_ref()),
            position_s: seconds(from.position.as_ref()),
            cosine: from.cosine,
            appearance: from.appearance,
            best_exemplar_id: id(from.best_exemplar_id),
            appeared_sequence: id(from.appeared_sequence),
        }
    }
}
