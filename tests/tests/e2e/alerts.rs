//! Alerts of a whole system: raised from a clip, watched, listed, posted, while the server is killed again and again.

use crate::support::cli::{arguments, rollcall};
use crate::support::events::{collect_until, ends, is_sighting, next_recorded, watch};
use crate::support::http::Hook;
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{scratch, turn, until};
use rollcall_client::pb::{self, watch_event::Event};
use rollcall_client::{Client, WatchFrom};
use rollcall_log::record::Body;
use rollcall_log::{FileStorage, Log, LogOptions};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Servers that are killed.
const KILLS: u32 = 4;

async fn newest(client: &Client) -> Vec<pb::Alert> {
    client
        .all_alerts(pb::ListAlertsRequest::default(), usize::MAX)
        .await
        .unwrap()
}

/// Alerts and deliveries in the log.
#[derive(Default)]
struct Logged {
    /// Whom each alert was raised for, by which track, and of which kind.
    raised: Vec<(u64, u64, i32)>,
    sequences: Vec<u64>,
    /// The alerts of the deliveries.
    delivered: Vec<u64>,
}

fn logged(data: &Path) -> Logged {
    let storage = FileStorage::open(data.join("log")).unwrap();
    let (log, _) = Log::open(Arc::new(storage), LogOptions::default()).unwrap();
    let mut logged = Logged::default();
    for record in log.reader().read_after(0) {
        let record = record.unwrap();
        if let Some(Body::AlertRaised(alert)) = &record.body {
            let told = (alert.identity_id, alert.track_id, alert.kind);
            logged.raised.push(told);
            logged.sequences.push(record.sequence);
        }
        if let Some(Body::AlertDelivered(done)) = &record.body {
            logged.delivered.push(done.alert_sequence);
        }
    }
    logged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_arrives_although_the_server_is_killed() {
    let _turn = turn().await;
    let (folder, truth, hook) = (scratch(), Truth::small(), Hook::start().await);
    let setup = Setup::new(&folder.path().join("data"))
        .set("alerts.retry_first_ms", "20")
        .set("alerts.retry_longest_ms", "100");
    let mut server = setup.start().await;
    let webhook = hook.url();
    let add = arguments![
        "alert",
        "add",
        "anybody",
        "--strangers",
        "--confirm-faces",
        "1",
        "--cool-down",
        "0s",
        "--left",
        "--webhook",
        &webhook,
        "--crop"
    ];
    let rule = rollcall(&server, add).await.expect(0).json();
    assert_eq!(
        (
            rule["watches"].as_str(),
            rule["webhook"]["signed"].as_bool()
        ),
        (Some("strangers"), Some(false))
    );

    let mut client = server.client().await;
    let mut events = watch(&client, WatchFrom::Start).await;
    let uri = truth.clip.to_str().unwrap().to_owned();
    let request = pb::AddSourceRequest {
        uri,
        ..Default::default()
    };
    let source = client.add_source(request).await.unwrap().id;
    let (mut kills, mut seen) = (0, 0);
    loop {
        let event = next_recorded(&mut events).await;
        if ends(&event, source) {
            break;
        }
        seen += u32::from(is_sighting(&event));
        if kills < KILLS && seen >= 2 {
            (kills, seen) = (kills + 1, 0);
            server.kill();
            server = setup.start().await;
            client = server.client().await;
            events = watch(&client, WatchFrom::Cursor(event.cursor.clone())).await;
        }
    }
    assert_eq!(kills, KILLS);

    // Whoever came has left once the source has ended, and all of that is posted.
    let client = &client;
    let alerts = until("all alerts to be delivered", async || {
        let (alerts, rule) = (newest(client).await, client.alert_rule(1).await.unwrap());
        let count = |kind| alerts.iter().filter(|alert| alert.kind() == kind).count();
        let all_left = count(pb::AlertKind::Appeared) == count(pb::AlertKind::Left);
        let taken = rule.webhook.unwrap().delivered_sequence;
        (all_left && alerts.first().is_some_and(|alert| alert.sequence == taken)).then_some(alerts)
    })
    .await;
    let people: BTreeSet<u64> = alerts.iter().map(|alert| alert.identity_id).collect();
    assert!(people.len() >= 3, "{alerts:?}");

    // In order, each at least once, under one name; nothing else.
    let taken = hook.taken();
    let mut sequences: Vec<u64> = taken
        .iter()
        .map(|body| body["sequence"].as_u64().unwrap())
        .collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    let names: BTreeSet<(u64, &str)> = taken
        .iter()
        .map(|body| {
            (
                body["sequence"].as_u64().unwrap(),
                body["id"].as_str().unwrap(),
            )
        })
        .collect();
    sequences.dedup();
    assert_eq!(names.len(), sequences.len());
    let listed: Vec<u64> = alerts.iter().rev().map(|alert| alert.sequence).collect();
    assert_eq!(sequences, listed);
    let appeared = taken.iter().filter(|body| body["kind"] == "appeared");
    assert!(
        appeared
            .clone()
            .all(|body| body["crop_jpeg_base64"].is_string())
    );

    // Once each on the watch stream, and once each in the record.
    let mut replay = watch(client, WatchFrom::Start).await;
    let last = *listed.last().unwrap();
    let replayed = collect_until(&mut replay, |event| event.sequence == last).await;
    let told: Vec<u64> = replayed
        .iter()
        .filter(|event| matches!(event.event, Some(Event::AlertRaised(_))))
        .map(|event| event.sequence)
        .collect();
    assert_eq!(told, listed);
    let history = rollcall(
        &server,
        arguments!["alert", "history", "1", "--kind", "left"],
    )
    .await;
    let history = history.expect(0).json();
    assert_eq!(
        history["alerts"].as_array().unwrap().len(),
        listed.len() / 2
    );
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    let logged = logged(server.data());
    let once: BTreeSet<_> = logged.raised.iter().collect();
    assert_eq!(once.len(), logged.raised.len(), "{:?}", logged.raised);
    assert_eq!((&logged.sequences, &logged.delivered), (&listed, &listed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photo_finds_its_person_in_the_clip_and_nobody_else() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let mut server = Setup::new(&folder.path().join("data")).start().await;
    let (name, picture) = &truth.held_out[0];
    let add = |name: &str, picture: &Path| {
        arguments![
            "alert",
            "add",
            name,
            "--photo",
            picture,
            "--confirm-faces",
            "1"
        ]
    };
    rollcall(&server, add(name, picture)).await.expect(0);
    rollcall(&server, add("nobody", &truth.stranger))
        .await
        .expect(0);
    let refused = rollcall(&server, add("a clip", &truth.clip)).await;
    refused.expect_error("IMAGE_UNREADABLE");
    rollcall(&server, arguments!["source", "add", &truth.clip, "--wait"])
        .await
        .expect(0);
    let history = rollcall(&server, arguments!["alert", "history"])
        .await
        .expect(0)
        .json();
    let alerts = history["alerts"].as_array().unwrap();
    let rules: BTreeSet<&str> = alerts
        .iter()
        .map(|a| a["rule_name"].as_str().unwrap())
        .collect();
    assert_eq!(rules, BTreeSet::from([name.as_str()]));
    let who = rollcall(&server, arguments!["search", picture])
        .await
        .expect(0)
        .json();
    for alert in alerts {
        assert_eq!(alert["identity_id"], who["hits"][0]["identity"]["id"]);
    }
    let none = rollcall(&server, arguments!["alert", "history", "2"]).await;
    none.expect(1);
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
}
