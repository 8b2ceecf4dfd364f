//! Rules and alerts in the API's words.

use super::super::catalog::{AlertRow, AlertRuleRow, etag};
use crate::pb::{self, alert_rule::Watches};
use crate::time::{duration, timestamp};
use crate::url_mask::masked;
use rollcall_log::record::{AlertKind, AlertRaised, AlertRule, AlertWebhook};

/// The event of an alert.
pub(crate) fn raised(sequence: u64, time_us: i64, raised: &AlertRaised) -> pb::Alert {
    let kind = match raised.kind() {
        AlertKind::Unspecified => pb::AlertKind::Unspecified,
        AlertKind::Appeared => pb::AlertKind::Appeared,
        AlertKind::Left => pb::AlertKind::Left,
    };
    pb::Alert {
        sequence,
        time: Some(timestamp(time_us)),
        rule_id: raised.rule_id,
        rule_name: raised.rule_name.clone(),
        kind: kind.into(),
        identity_id: raised.identity_id,
        identity_name: String::new(),
        track_id: raised.track_id,
        source_id: raised.source_id,
        source_name: String::new(),
        seen: Some(timestamp(raised.at_us)),
        position: Some(duration(raised.position_us)),
        cosine: raised.similarity,
        appearance: raised.appearance,
        best_exemplar_id: raised.best_exemplar_id,
        appeared_sequence: raised.appeared_sequence,
    }
}

/// An alert of the catalog; names are not in it.
pub(crate) fn alert(row: &AlertRow) -> pb::Alert {
    raised(row.sequence, row.time_us, &row.raised)
}

/// A rule, without its webhook's secret.
pub(crate) fn rule(row: &AlertRuleRow) -> pb::AlertRule {
    let says = &row.rule;
    pb::AlertRule {
        id: row.id,
        name: says.name.clone(),
        enabled: says.enabled,
        watches: Some(watches(says)),
        settings: Some(settings(says)),
        webhook: says.webhook.as_ref().map(|hook| webhook(row, hook)),
        etag: etag(row.sequence),
        create_time: Some(timestamp(row.created_us)),
    }
}

fn watches(says: &AlertRule) -> Watches {
    if let Some(strangers) = &says.unknown_people {
        let within = Some(strangers.opened_within_us).filter(|within| *within > 0);
        return Watches::Strangers(pb::WatchedStrangers {
            opened_within: within.map(duration),
        });
    }
    if let Some(photo) = &says.photo {
        return Watches::Photos(pb::WatchedPhotos {
            images: Vec::new(),
            count: u32::try_from(photo.embeddings.len()).unwrap_or(u32::MAX),
        });
    }
    Watches::Identities(pb::WatchedIdentities {
        identity_ids: says.identity_ids.clone(),
    })
}

fn settings(says: &AlertRule) -> pb::AlertSettings {
    pb::AlertSettings {
        sources: Some(pb::SourceList {
            source_ids: says.source_ids.clone(),
        }),
        live_only: Some(says.live_only),
        confirm_faces: Some(says.confirm_faces),
        confirm_time: Some(duration(says.confirm_us)),
        absence: Some(duration(says.absence_us)),
        cool_down: Some(duration(says.cool_down_us)),
        min_cosine: says.min_cosine,
        tell_left: Some(says.tell_left),
    }
}

fn webhook(row: &AlertRuleRow, hook: &AlertWebhook) -> pb::AlertWebhook {
    pb::AlertWebhook {
        url: masked(&hook.url),
        secret: None,
        include_crop: hook.include_crop,
        signed: !hook.secret.is_empty(),
        gone: row.gone,
        delivered_sequence: row.delivered,
    }
}
