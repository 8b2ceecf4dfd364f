//! Webhooks against endpoints that fail in every way.

use crate::alerts::{UPDATE, rule, strangers};
use crate::endpoint::{Endpoint, Posted, Reply};
use crate::support::{Api, Fixture, Run, config, start, track, vision};
use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use rollcall_log::record::{AlertDelivered, AlertDelivery, Body};
use rollcall_log::{FileStorage, Log, LogOptions};
use rollcall_server::config::Config;
use rollcall_server::pb;
use std::sync::Arc;

const GET: &str = "/rollcall.v1.AlertService/GetAlertRule";

fn quick(config: &mut Config) {
    config.alerts.webhook_timeout_ms = 3000;
    config.alerts.retry_first_ms = 1;
    config.alerts.retry_longest_ms = 20;
}

fn hooked(url: &str, request: pb::CreateAlertRuleRequest) -> pb::CreateAlertRuleRequest {
    pb::CreateAlertRuleRequest {
        webhook: Some(pb::AlertWebhook {
            url: url.to_owned(),
            secret: Some("s3cret".to_owned()),
            include_crop: true,
            ..Default::default()
        }),
        ..request
    }
}

/// Strangers come, one a call: each is told of.
struct Street {
    run: Run,
    come: u16,
}

impl Street {
    async fn on(api: &Api) -> Self {
        let source = api.add_remote("street").await;
        Self {
            run: api.run(source.id).await,
            come: 0,
        }
    }

    async fn come(&mut self) {
        self.come += 1;
        let (key, at) = (u64::from(self.come), i64::from(self.come));
        let hue = f32::from(self.come) * 45.0;
        self.run.track(track(key, 1, hue, at, at + 1, true)).await;
    }
}

/// What the log says of deliveries.
fn delivered(fixture: &std::path::Path) -> Vec<AlertDelivered> {
    let storage = FileStorage::open(fixture.join("data/log")).unwrap();
    let (log, _) = Log::open(Arc::new(storage), LogOptions::default()).unwrap();
    let records = log.reader().read_after(0).map(Result::unwrap);
    let delivered = records.filter_map(|record| match record.body {
        Some(Body::AlertDelivered(delivered)) => Some(delivered),
        _ => None,
    });
    delivered.collect()
}

fn assert_signed(posted: &Posted) {
    let signature = &posted.headers["rollcall-signature"];
    let (time, hex) = signature.split_once(",v1=").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(time.strip_prefix("t=").unwrap().as_bytes());
    mac.update(b".");
    mac.update(&posted.bytes);
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hex, expected);
}

#[tokio::test]
async fn alerts_come_in_order_whatever_the_endpoint_does() {
    let fixture = Fixture::with(quick).await;
    let mut endpoint = Endpoint::start([
        Reply::Status(500),
        Reply::Close,
        Reply::Hang,
        Reply::Redirect("http://127.0.0.1:1/".to_owned()),
        Reply::After(503, 0),
        Reply::Status(204),
        Reply::Status(404),
    ])
    .await;
    let made = fixture.rule(hooked(&endpoint.url, strangers())).await;
    let mut street = Street::on(&fixture.api).await;
    for _ in 0..3 {
        street.come().await;
    }
    let mut ids = Vec::new();
    for _ in 0..9 {
        let posted = endpoint.next().await;
        assert_signed(&posted);
        assert_eq!(posted.headers["rollcall-alert-id"], posted.body["id"]);
        assert_eq!(posted.headers["content-type"], "application/json");
        ids.push(posted.body["identity"]["id"].as_u64().unwrap());
        let crop = posted.body["crop_jpeg_base64"].as_str().unwrap();
        let crop = base64::engine::general_purpose::STANDARD
            .decode(crop)
            .unwrap();
        assert_eq!(crop, format!("loose {}", ids.last().unwrap()).into_bytes());
    }
    assert_eq!(ids, [1, 1, 1, 1, 1, 1, 2, 2, 3], "six tries, two, one");
    let last = until_delivered(&fixture.api, made.id, 3).await;
    assert!(!last.webhook.unwrap().gone);
    assert!(endpoint.is_quiet());
    let folder = fixture.folder;
    fixture.server.stop().await;
    let recorded = delivered(folder.path());
    assert_eq!(
        recorded.iter().map(|d| d.attempts).collect::<Vec<_>>(),
        [6, 2, 1]
    );
    assert!(
        recorded
            .iter()
            .all(|d| d.result() == AlertDelivery::Delivered)
    );
    assert_eq!(recorded[0].status, 204);
}

/// Waits until the rule's webhook has taken so many of its alerts.
async fn until_delivered(api: &Api, rule_id: u64, count: usize) -> pb::AlertRule {
    loop {
        let request = pb::ListAlertsRequest {
            rule_id,
            ..Default::default()
        };
        let alerts: pb::ListAlertsResponse = api
            .call("/rollcall.v1.AlertService/ListAlerts", request)
            .await
            .unwrap();
        let rule: pb::AlertRule = api
            .call(GET, pb::GetAlertRuleRequest { rule_id })
            .await
            .unwrap();
        let newest = alerts.alerts.first().map_or(0, |alert| alert.sequence);
        let taken = rule
            .webhook
            .as_ref()
            .map_or(0, |hook| hook.delivered_sequence);
        if alerts.alerts.len() == count && taken == newest {
            return rule;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dead_endpoint_holds_up_nobody_else() {
    let fixture = Fixture::with(|config| {
        quick(config);
        config.alerts.webhook_timeout_ms = 600_000;
    })
    .await;
    let mut dead = Endpoint::start([Reply::Hang]).await;
    let mut alive = Endpoint::start([]).await;
    fixture.rule(hooked(&dead.url, strangers())).await;
    fixture.rule(hooked(&alive.url, strangers())).await;
    let mut street = Street::on(&fixture.api).await;
    for number in 1..=4 {
        street.come().await;
        assert_eq!(alive.next().await.body["identity"]["id"], number);
    }
    assert_eq!(dead.next().await.body["identity"]["id"], 1);
    assert!(dead.is_quiet());
    // A server that goes down does not wait for it.
    fixture.server.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_gets_nothing_until_it_is_set_anew() {
    let fixture = Fixture::with(quick).await;
    let mut endpoint = Endpoint::start([Reply::Status(200), Reply::Status(410)]).await;
    let made = fixture.rule(hooked(&endpoint.url, strangers())).await;
    let mut street = Street::on(&fixture.api).await;
    street.come().await;
    street.come().await;
    endpoint.next().await;
    endpoint.next().await;
    let gone = until_delivered(&fixture.api, made.id, 2).await;
    assert!(gone.webhook.unwrap().gone);
    street.come().await;
    let update = pb::UpdateAlertRuleRequest {
        rule_id: made.id,
        webhook: Some(pb::AlertWebhook {
            url: endpoint.url.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let set: pb::AlertRule = fixture.api.call(UPDATE, update).await.unwrap();
    let hook = set.webhook.unwrap();
    assert!(!hook.gone && hook.signed, "the secret stays");
    street.come().await;
    let posted = endpoint.next().await;
    assert_eq!(
        posted.body["identity"]["id"], 4,
        "what came while it was gone is not sent"
    );
    assert_signed(&posted);
    assert_eq!(posted.body.get("crop_jpeg_base64"), None);
}

#[tokio::test]
async fn a_rule_that_is_changed_is_tried_at_once() {
    let fixture = Fixture::with(|config| {
        config.alerts.retry_first_ms = 3_600_000;
        config.alerts.retry_longest_ms = 3_600_000;
    })
    .await;
    let mut broken = Endpoint::start([Reply::After(500, 7200)]).await;
    let mut mended = Endpoint::start([]).await;
    let made = fixture.rule(hooked(&broken.url, strangers())).await;
    let mut street = Street::on(&fixture.api).await;
    street.come().await;
    broken.next().await;
    let rename = pb::UpdateAlertRuleRequest {
        rule_id: made.id,
        name: Some("other".to_owned()),
        ..Default::default()
    };
    let _: pb::AlertRule = fixture.api.call(UPDATE, rename.clone()).await.unwrap();
    assert_eq!(broken.next().await.body["identity"]["id"], 1, "tried again");
    let elsewhere = pb::UpdateAlertRuleRequest {
        name: None,
        webhook: Some(pb::AlertWebhook {
            url: mended.url.clone(),
            ..Default::default()
        }),
        ..rename
    };
    let _: pb::AlertRule = fixture.api.call(UPDATE, elsewhere).await.unwrap();
    street.come().await;
    assert_eq!(
        mended.next().await.body["identity"]["id"],
        2,
        "what is raised from then on"
    );
}

#[tokio::test]
async fn what_waits_is_delivered_after_a_restart_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(folder.path());
    quick(&mut settings);
    let mut endpoint = Endpoint::start([Reply::Status(200), Reply::Hang]).await;
    let server = start(&settings, vision()).await.unwrap();
    let api = Api::connect(&server).await;
    let request = hooked(&endpoint.url, rule(&[1]));
    let mut street = Street::on(&api).await;
    street.come().await;
    let made: pb::AlertRule = api.call(crate::alerts::CREATE, request).await.unwrap();
    street.run.track(track(70, 1, 45.0, 100, 102, true)).await;
    street.run.track(track(71, 1, 45.0, 200, 202, true)).await;
    let first = endpoint.next().await.body["id"].clone();
    let second = endpoint.next().await.body["id"].clone();
    assert_ne!(first, second);
    drop(street);
    server.stop().await;
    endpoint.then(Reply::Status(200));
    let server = start(&settings, vision()).await.unwrap();
    assert_eq!(endpoint.next().await.body["id"], second);
    let api = Api::connect(&server).await;
    until_delivered(&api, made.id, 2).await;
    server.stop().await;
    let recorded = delivered(folder.path());
    assert_eq!(recorded.len(), 2, "{recorded:?}");
}
