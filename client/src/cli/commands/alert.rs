//! `rollcall alert`.
use std::time::Duration;

use rollcall_client::pb::{self, alert_rule, create_alert_rule_request::Watches};
use rollcall_client::{Client, time};
use serde_json::json;

use super::{connect, found, limit};
use crate::cli::Outcome;
use crate::cli::args::{
    Alert, AlertAdd, AlertHistory, AlertKind, AlertSet, AlertSettings, Args, Format, Webhook,
};
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, enum_name, name, printable, wall_time};
use crate::cli::input::{self, Limit};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

pub(crate) async fn run(args: &Args, command: &Alert, out: &mut Out) -> Result<Outcome, Failure> {
    let author = args.global.author.clone();
    match command {
        Alert::Add(command) => {
            let request = creation(command, author).await?;
            let client = connect(args).await?;
            show(&client.create_alert_rule(request).await?, out)
        }
        Alert::List { limit: at_most } => {
            let client = connect(args).await?;
            list(&client.all_alert_rules(limit(*at_most)).await?, out)
        }
        Alert::Show { id } => show(&connect(args).await?.alert_rule(*id).await?, out),
        Alert::Set(command) => {
            let request = update(command, author).await?;
            let client = connect(args).await?;
            show(&client.update_alert_rule(request).await?, out)
        }
        Alert::Remove { id, etag, why } => {
            let request = pb::DeleteAlertRuleRequest {
                rule_id: *id,
                etag: etag.clone(),
                author,
                reason: why.reason.clone(),
                request_id: String::new(),
            };
            connect(args).await?.delete_alert_rule(request).await?;
            out.note(&format!("alert rule {id} is deleted"));
            Ok(Outcome::Found)
        }
        Alert::History(command) => history(&connect(args).await?, command, out).await,
    }
}

async fn creation(
    command: &AlertAdd,
    author: String,
) -> Result<pb::CreateAlertRuleRequest, Failure> {
    let whom = &command.whom;
    let watches = if whom.strangers {
        Watches::Strangers(strangers(command.opened_within))
    } else if whom.photos.is_empty() {
        let identity_ids = whom.identities.clone();
        Watches::Identities(pb::WatchedIdentities { identity_ids })
    } else {
        let mut images = Vec::new();
        for photo in &whom.photos {
            images.push(input::read_photo(photo).await?);
        }
        Watches::Photos(pb::WatchedPhotos { images, count: 0 })
    };
    Ok(pb::CreateAlertRuleRequest {
        name: command.name.clone(),
        watches: Some(watches),
        settings: Some(settings(&command.settings, false)),
        webhook: webhook(&command.webhook).await?,
        disabled: command.disabled,
        author,
        reason: command.why.reason.clone(),
        request_id: String::new(),
    })
}

async fn update(command: &AlertSet, author: String) -> Result<pb::UpdateAlertRuleRequest, Failure> {
    let identity_ids = command.identities.clone();
    let identities = pb::WatchedIdentities { identity_ids };
    Ok(pb::UpdateAlertRuleRequest {
        rule_id: command.id,
        etag: command.etag.clone(),
        name: command.name.clone(),
        enabled: (command.enable || command.disable).then_some(command.enable),
        identities: (!command.identities.is_empty()).then_some(identities),
        strangers: command.opened_within.map(|within| strangers(Some(within))),
        settings: Some(settings(&command.settings, command.all_sources)),
        webhook: webhook(&command.webhook).await?,
        author,
        reason: command.why.reason.clone(),
        request_id: String::new(),
    })
}

fn strangers(within: Option<Limit>) -> pb::WatchedStrangers {
    pb::WatchedStrangers {
        opened_within: within.and_then(|within| within.0).map(time::to_api),
    }
}

fn settings(given: &AlertSettings, all_sources: bool) -> pb::AlertSettings {
    // `none` is no time.
    let length =
        |limit: Option<Limit>| limit.map(|limit| time::to_api(limit.0.unwrap_or(Duration::ZERO)));
    let listed = all_sources || !given.sources.is_empty();
    pb::AlertSettings {
        sources: listed.then(|| pb::SourceList {
            source_ids: given.sources.clone(),
        }),
        live_only: given.live_only,
        confirm_faces: given.confirm_faces,
        confirm_time: length(given.confirm_time),
        absence: length(given.absence),
        cool_down: length(given.cool_down),
        min_cosine: given.min_cosine,
        tell_left: given.left,
    }
}

async fn webhook(given: &Webhook) -> Result<Option<pb::AlertWebhook>, Failure> {
    let Some(url) = given.url.clone() else {
        return Ok(None);
    };
    let secret = match &given.secret_file {
        Some(path) => Some(input::read_line(path).await?),
        None => None,
    };
    Ok(Some(pb::AlertWebhook {
        url,
        secret,
        include_crop: given.crop,
        ..Default::default()
    }))
}

fn list(rules: &[pb::AlertRule], out: &mut Out) -> Result<Outcome, Failure> {
    let views = || rules.iter().map(view::AlertRule::from);
    match out.format {
        Format::Json => out.json(&json!({ "rules": views().collect::<Vec<_>>() }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if rules.is_empty() => out.note("there are no alert rules"),
        Format::Table => {
            let mut table = Table::new(&[
                ("ID", Side::Right),
                ("NAME", Side::Left),
                ("WATCHES FOR", Side::Left),
                ("STATE", Side::Left),
                ("WEBHOOK", Side::Left),
            ]);
            for rule in rules {
                table.row([
                    rule.id.to_string(),
                    printable(&rule.name),
                    whom(rule),
                    if rule.enabled { "on" } else { "off" }.to_owned(),
                    endpoint(rule),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    Ok(found(!rules.is_empty()))
}

fn whom(rule: &pb::AlertRule) -> String {
    match &rule.watches {
        Some(alert_rule::Watches::Identities(identities)) => {
            let ids = identities.identity_ids.iter().map(u64::to_string);
            format!("identities {}", ids.collect::<Vec<_>>().join(", "))
        }
        Some(alert_rule::Watches::Strangers(strangers)) => match &strangers.opened_within {
            Some(within) => format!("strangers, at most {} s old", time::seconds(within)),
            None => "strangers".to_owned(),
        },
        Some(alert_rule::Watches::Photos(photos)) => format!("a face ({} photos)", photos.count),
        None => "something that this client does not know".to_owned(),
    }
}

fn endpoint(rule: &pb::AlertRule) -> String {
    let webhook = rule.webhook.clone().unwrap_or_default();
    let gone = if webhook.gone { " (gone)" } else { "" };
    format!("{}{gone}", printable(&webhook.url))
}

fn show(rule: &pb::AlertRule, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::AlertRule::from(rule))?,
        Format::Table => {
            let settings = rule.settings.clone().unwrap_or_default();
            let seconds = |at: &Option<prost_types::Duration>| {
                format!("{} s", at.as_ref().map_or(0.0, time::seconds))
            };
            let sources = settings.sources.clone().unwrap_or_default().source_ids;
            let sources: Vec<String> = sources.iter().map(u64::to_string).collect();
            let on = match (sources.is_empty(), settings.live_only()) {
                (true, false) => "all sources".to_owned(),
                (true, true) => "live sources".to_owned(),
                (false, false) => format!("sources {}", sources.join(", ")),
                (false, true) => format!("sources {}, if live", sources.join(", ")),
            };
            let faces = settings.confirm_faces();
            let rows = [
                ("rule", rule.id.to_string()),
                ("name", printable(&rule.name)),
                ("state", if rule.enabled { "on" } else { "off" }.to_owned()),
                ("watches for", whom(rule)),
                ("on", on),
                (
                    "confirm",
                    format!("{faces} faces, {}", seconds(&settings.confirm_time)),
                ),
                ("absence", seconds(&settings.absence)),
                ("cool-down", seconds(&settings.cool_down)),
                (
                    "min cosine",
                    settings.min_cosine.map_or_else(|| "any".to_owned(), cosine),
                ),
                (
                    "tells of",
                    if settings.tell_left() {
                        "coming and leaving"
                    } else {
                        "coming"
                    }
                    .to_owned(),
                ),
                ("webhook", endpoint(rule)),
                ("etag", printable(&rule.etag)),
            ];
            for (key, value) in rows {
                let key = out.style.bold(&format!("{key:<11}"));
                out.line(&format!("{key} {value}"))?;
            }
        }
    }
    Ok(Outcome::Found)
}

async fn history(
    client: &Client,
    command: &AlertHistory,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let kind = match command.kind {
        None => pb::AlertKind::Unspecified,
        Some(AlertKind::Appeared) => pb::AlertKind::Appeared,
        Some(AlertKind::Left) => pb::AlertKind::Left,
    };
    let request = pb::ListAlertsRequest {
        rule_id: command.rule,
        identity_id: command.identity,
        source_id: command.source,
        kind: kind.into(),
        raised_after: command.since.map(|moment| moment.0),
        raised_before: command.until.map(|moment| moment.0),
        ..Default::default()
    };
    let alerts = client.all_alerts(request, limit(command.limit)).await?;
    let views = || alerts.iter().map(view::Alert::from);
    match out.format {
        Format::Json => out.json(&json!({ "alerts": views().collect::<Vec<_>>() }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if alerts.is_empty() => out.note("no alerts"),
        Format::Table => out.line(&table(&alerts, out))?,
    }
    Ok(found(!alerts.is_empty()))
}

fn table(alerts: &[pb::Alert], out: &Out) -> String {
    let mut table = Table::new(&[
        ("ALERT", Side::Right),
        ("RAISED", Side::Left),
        ("RULE", Side::Left),
        ("WHAT", Side::Left),
        ("IDENTITY", Side::Right),
        ("NAME", Side::Left),
        ("SOURCE", Side::Left),
        ("SEEN", Side::Left),
    ]);
    for alert in alerts {
        table.row([
            alert.sequence.to_string(),
            wall_time(alert.time.as_ref()),
            printable(&alert.rule_name),
            enum_name(alert.kind().as_str_name(), "ALERT_KIND_"),
            alert.identity_id.to_string(),
            name(&alert.identity_name),
            printable(&alert.source_name),
            wall_time(alert.seen.as_ref()),
        ]);
    }
    table.render(out.style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_not_given_are_absent() {
        let none = AlertSettings {
            sources: Vec::new(),
            live_only: None,
            confirm_faces: None,
            confirm_time: None,
            absence: Some(Limit(None)),
            cool_down: Some(Limit(Some(Duration::from_secs(5)))),
            min_cosine: None,
            left: None,
        };
        let sent = settings(&none, false);
        assert_eq!((sent.sources, sent.confirm_faces), (None, None));
        assert_eq!(sent.absence, Some(time::to_api(Duration::ZERO)));
        assert_eq!(sent.cool_down, Some(time::to_api(Duration::from_secs(5))));
        let all = settings(&none, true).sources.unwrap();
        assert_eq!(all.source_ids, [] as [u64; 0]);
    }
}
