//! Alert rules through the API, and what watchers hear of them.

use crate::support::{Fixture, next_event, photo, reason, seconds, track};
use prost::Message;
use rollcall_server::pb::{
    self, alert_rule, create_alert_rule_request::Watches, watch_event::Event,
};
use tonic::{Code, Status};

pub const CREATE: &str = "/rollcall.v1.AlertService/CreateAlertRule";
pub const UPDATE: &str = "/rollcall.v1.AlertService/UpdateAlertRule";
const GET: &str = "/rollcall.v1.AlertService/GetAlertRule";
const RULES: &str = "/rollcall.v1.AlertService/ListAlertRules";
const DELETE: &str = "/rollcall.v1.AlertService/DeleteAlertRule";
const ALERTS: &str = "/rollcall.v1.AlertService/ListAlerts";
const RENAME: &str = "/rollcall.v1.IdentityService/RenameIdentity";

/// A rule for people by id: one face is enough.
pub fn rule(identity_ids: &[u64]) -> pb::CreateAlertRuleRequest {
    let identities = pb::WatchedIdentities {
        identity_ids: identity_ids.to_vec(),
    };
    pb::CreateAlertRuleRequest {
        name: "on air".to_owned(),
        watches: Some(Watches::Identities(identities)),
        settings: Some(pb::AlertSettings {
            confirm_faces: Some(1),
            absence: seconds(10),
            cool_down: seconds(0),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn strangers() -> pb::CreateAlertRuleRequest {
    pb::CreateAlertRuleRequest {
        watches: Some(Watches::Strangers(pb::WatchedStrangers::default())),
        ..rule(&[])
    }
}

impl Fixture {
    pub async fn rule(&self, request: pb::CreateAlertRuleRequest) -> pb::AlertRule {
        self.api.call(CREATE, request).await.unwrap()
    }

    async fn refused_rule<Q: Message + 'static>(
        &self,
        method: &'static str,
        request: Q,
        code: Code,
        expected: &str,
    ) {
        let status: Status = match self.api.call::<Q, pb::AlertRule>(method, request).await {
            Err(status) => status,
            Ok(made) => panic!("not refused: {made:?}"),
        };
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (code, expected),
            "{status}"
        );
    }

    async fn alerts(&self, request: pb::ListAlertsRequest) -> pb::ListAlertsResponse {
        self.api.call(ALERTS, request).await.unwrap()
    }
}

#[tokio::test]
async fn rules_are_made_changed_and_deleted() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("studio feed").await.id;
    let mut run = fixture.api.run(source).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;

    let mut wanted = rule(&[1]);
    wanted.webhook = Some(pb::AlertWebhook {
        url: "https://me:pw@127.0.0.1:1/hook".to_owned(),
        secret: Some("s3cret".to_owned()),
        ..Default::default()
    });
    wanted.request_id = "123e4567-e89b-42d3-a456-426614174000".to_owned();
    wanted.disabled = true;
    let made = fixture.rule(wanted.clone()).await;
    assert_eq!(fixture.rule(wanted).await.id, made.id, "once only");
    let hook = made.webhook.clone().unwrap();
    assert_eq!((hook.signed, hook.gone, hook.secret), (true, false, None));
    assert!(!format!("{made:?}").contains("s3cret") && !hook.url.contains("me:pw"));
    let settings = made.settings.clone().unwrap();
    assert_eq!(
        (settings.confirm_faces, settings.absence, settings.tell_left),
        (Some(1), seconds(10), Some(false))
    );
    let got: pb::AlertRule = fixture
        .api
        .call(GET, pb::GetAlertRuleRequest { rule_id: made.id })
        .await
        .unwrap();
    assert_eq!(got, made);

    let update = pb::UpdateAlertRuleRequest {
        rule_id: made.id,
        etag: made.etag.clone(),
        enabled: Some(true),
        settings: Some(pb::AlertSettings {
            sources: Some(pb::SourceList {
                source_ids: vec![source],
            }),
            tell_left: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    let changed: pb::AlertRule = fixture.api.call(UPDATE, update.clone()).await.unwrap();
    assert!(changed.enabled && changed.etag != made.etag);
    let settings = changed.settings.clone().unwrap();
    assert_eq!(settings.sources.unwrap().source_ids, [source]);
    assert_eq!(
        (settings.tell_left, settings.absence),
        (Some(true), seconds(10))
    );
    assert_eq!(changed.webhook, made.webhook, "what is absent stays");
    let stale = (Code::Aborted, "ALERT_RULE_ETAG_MISMATCH");
    fixture.refused_rule(UPDATE, update, stale.0, stale.1).await;

    let other = fixture.rule(strangers()).await;
    let list: pb::ListAlertRulesResponse = fixture
        .api
        .call(
            RULES,
            pb::ListAlertRulesRequest {
                page_size: 1,
                ..Default::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(list.rules, [changed]);
    let page_token = list.next_page_token;
    let list: pb::ListAlertRulesResponse = fixture
        .api
        .call(
            RULES,
            pb::ListAlertRulesRequest {
                page_size: 1,
                page_token,
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (list.rules, list.next_page_token),
        (vec![other], String::new())
    );

    let delete = pb::DeleteAlertRuleRequest {
        rule_id: made.id,
        ..Default::default()
    };
    let _: pb::DeleteAlertRuleResponse = fixture.api.call(DELETE, delete.clone()).await.unwrap();
    let missing = (Code::NotFound, "ALERT_RULE_NOT_FOUND");
    fixture
        .refused_rule(DELETE, delete, missing.0, missing.1)
        .await;
    let get = pb::GetAlertRuleRequest { rule_id: made.id };
    fixture.refused_rule(GET, get, missing.0, missing.1).await;
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused() {
    let fixture = Fixture::with(|config| {
        config.alerts.webhook_hosts = vec!["example.org".to_owned()];
    })
    .await;
    let mut run = fixture
        .api
        .run(fixture.api.add_remote("studio feed").await.id)
        .await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    let invalid = Code::InvalidArgument;
    let with = |settings: pb::AlertSettings| pb::CreateAlertRuleRequest {
        settings: Some(settings),
        ..rule(&[1])
    };
    let hook = |url: &str| pb::CreateAlertRuleRequest {
        webhook: Some(pb::AlertWebhook {
            url: url.to_owned(),
            ..Default::default()
        }),
        ..rule(&[1])
    };
    let photos = |images: Vec<Vec<u8>>| pb::CreateAlertRuleRequest {
        watches: Some(Watches::Photos(pb::WatchedPhotos { images, count: 0 })),
        ..rule(&[])
    };
    let defaults = pb::AlertSettings::default;
    let cases = [
        (
            pb::CreateAlertRuleRequest {
                watches: None,
                ..rule(&[])
            },
            invalid,
            "INVALID_ARGUMENT",
        ),
        (rule(&[]), invalid, "INVALID_ARGUMENT"),
        (rule(&[9]), Code::NotFound, "IDENTITY_NOT_FOUND"),
        (
            pb::CreateAlertRuleRequest {
                name: " ".into(),
                ..rule(&[1])
            },
            invalid,
            "INVALID_NAME",
        ),
        (
            with(pb::AlertSettings {
                absence: seconds(-1),
                ..defaults()
            }),
            invalid,
            "INVALID_ARGUMENT",
        ),
        (
            with(pb::AlertSettings {
                min_cosine: Some(f32::NAN),
                ..defaults()
            }),
            invalid,
            "INVALID_ARGUMENT",
        ),
        (
            with(pb::AlertSettings {
                sources: Some(pb::SourceList {
                    source_ids: vec![7],
                }),
                ..defaults()
            }),
            Code::NotFound,
            "SOURCE_NOT_FOUND",
        ),
        (hook("ftp://example.org/"), invalid, "INVALID_WEBHOOK"),
        (
            hook("http://127.0.0.1:1/"),
            Code::PermissionDenied,
            "WEBHOOK_HOST_NOT_ALLOWED",
        ),
        (photos(Vec::new()), invalid, "INVALID_ARGUMENT"),
        (
            photos(vec![photo(&[])]),
            Code::FailedPrecondition,
            "NO_FACE_FOUND",
        ),
        (
            photos(vec![b"nothing".to_vec()]),
            invalid,
            "IMAGE_UNREADABLE",
        ),
    ];
    for (request, code, expected) in cases {
        fixture.refused_rule(CREATE, request, code, expected).await;
    }
    let made = fixture.rule(strangers()).await;
    let update = pb::UpdateAlertRuleRequest {
        rule_id: made.id,
        ..Default::default()
    };
    fixture
        .refused_rule(UPDATE, update.clone(), invalid, "INVALID_ARGUMENT")
        .await;
    let of_ids = pb::UpdateAlertRuleRequest {
        identities: Some(pb::WatchedIdentities {
            identity_ids: vec![1],
        }),
        ..update
    };
    fixture
        .refused_rule(UPDATE, of_ids, invalid, "ALERT_RULE_KIND")
        .await;
    let rules: pb::ListAlertRulesResponse = fixture
        .api
        .call(RULES, pb::ListAlertRulesRequest::default())
        .await
        .unwrap();
    assert_eq!(rules.rules, [made], "nothing else was made");
}

#[tokio::test]
async fn alerts_are_watched_listed_and_resumed() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("studio feed").await.id;
    let mut run = fixture.api.run(source).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    let mut of_photo = rule(&[]);
    let images = vec![photo(&[240.0])];
    of_photo.watches = Some(Watches::Photos(pb::WatchedPhotos { images, count: 0 }));
    of_photo.name = "visitor".to_owned();
    let (person, visitor) = (fixture.rule(rule(&[1])).await, fixture.rule(of_photo).await);
    assert!(matches!(&visitor.watches, Some(alert_rule::Watches::Photos(of)) if of.count == 1));
    let kinds = vec![pb::EventKind::Alert.into()];
    let request = pb::WatchRequest {
        kinds: kinds.clone(),
        from_start: true,
        ..Default::default()
    };
    let mut watch = fixture.api.watch(request.clone()).await.unwrap();
    for (key, hue, from) in [(2, 0.0, 50), (3, 240.0, 60), (4, 120.0, 70), (5, 1.0, 90)] {
        run.track(track(key, 1, hue, from, from + 2, true)).await;
    }
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(next_event(&mut watch).await);
    }
    let told: Vec<pb::Alert> = events
        .iter()
        .map(|event| match &event.event {
            Some(Event::AlertRaised(raised)) => raised.alert.clone().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let short = |alert: &pb::Alert| {
        (
            alert.rule_id,
            alert.identity_id,
            alert.track_id,
            alert.appearance,
        )
    };
    let expected = [
        (person.id, 1, 2, 1),
        (visitor.id, 2, 3, 1),
        (person.id, 1, 5, 2),
    ];
    assert_eq!(told.iter().map(short).collect::<Vec<_>>(), expected);
    assert_eq!(
        (told[1].rule_name.as_str(), told[1].source_name.as_str()),
        ("visitor", "studio feed")
    );
    assert!(told[1].cosine > 0.9 && told[1].best_exemplar_id > 0);

    // From the second one's cursor: the third, once.
    let resumed = pb::WatchRequest {
        cursor: events[1].cursor.clone(),
        from_start: false,
        ..request
    };
    let mut resumed = fixture.api.watch(resumed).await.unwrap();
    assert_eq!(next_event(&mut resumed).await, events[2]);
    let of_one = pb::WatchRequest {
        kinds,
        identity_ids: vec![2],
        source_ids: vec![source],
        from_start: true,
        ..Default::default()
    };
    let mut of_one = fixture.api.watch(of_one).await.unwrap();
    assert_eq!(next_event(&mut of_one).await, events[1]);

    let rename = pb::RenameIdentityRequest {
        identity_id: 1,
        name: "Ada".into(),
        ..Default::default()
    };
    let _: pb::Identity = fixture.api.call(RENAME, rename).await.unwrap();
    let sequences =
        |list: &pb::ListAlertsResponse| list.alerts.iter().map(|a| a.sequence).collect::<Vec<_>>();
    let [first, second, third] = [0, 1, 2].map(|i| told[i].sequence);
    let all = fixture
        .alerts(pb::ListAlertsRequest {
            page_size: 2,
            ..Default::default()
        })
        .await;
    assert_eq!(sequences(&all), [third, second]);
    assert_eq!(all.alerts[0].identity_name, "Ada");
    let rest = pb::ListAlertsRequest {
        page_size: 2,
        page_token: all.next_page_token,
        ..Default::default()
    };
    let rest = fixture.alerts(rest).await;
    assert_eq!(
        (sequences(&rest), rest.next_page_token.as_str()),
        (vec![first], "")
    );
    let of_rule = pb::ListAlertsRequest {
        rule_id: person.id,
        ..Default::default()
    };
    assert_eq!(sequences(&fixture.alerts(of_rule).await), [third, first]);
    let of_person = pb::ListAlertsRequest {
        identity_id: 2,
        ..Default::default()
    };
    assert_eq!(sequences(&fixture.alerts(of_person).await), [second]);
    let of_kind = pb::ListAlertsRequest {
        kind: pb::AlertKind::Left.into(),
        ..Default::default()
    };
    assert_eq!(sequences(&fixture.alerts(of_kind).await), [] as [u64; 0]);
}

#[tokio::test]
async fn who_leaves_is_told_of_when_the_source_ends() {
    let fixture = Fixture::start().await;
    let mut run = fixture
        .api
        .run(fixture.api.add_remote("studio feed").await.id)
        .await;
    let mut wanted = strangers();
    wanted.settings.as_mut().unwrap().tell_left = Some(true);
    fixture.rule(wanted).await;
    let kinds = vec![pb::EventKind::Alert.into()];
    let request = pb::WatchRequest {
        kinds,
        ..Default::default()
    };
    let mut watch = fixture.api.watch(request).await.unwrap();
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.finish().await;
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let Some(Event::AlertRaised(raised)) = next_event(&mut watch).await.event else {
            panic!("no alert")
        };
        let alert = raised.alert.unwrap();
        kinds.push((alert.kind(), alert.identity_id, alert.appeared_sequence > 0));
    }
    assert_eq!(
        kinds,
        [
            (pb::AlertKind::Appeared, 1, false),
            (pb::AlertKind::Left, 1, true)
        ]
    );
}
