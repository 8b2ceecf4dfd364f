//! Alerts beside a plain model, over cut logs, and case by case.

mod cut;
mod model;
mod world;

use super::{RuleChange, RuleEdit, RuleUpdate, photo_of};
use crate::core::tests::{closed, exemplar, face, open, source, track};
use crate::core::{AlertQuery, AlertRow, Core, Edit, Observed, WriteError};
use crate::pb;
use rollcall_index::Embedding;
use rollcall_log::record::{AlertKind, AlertRule, UnknownPeople};

const SECOND: i64 = 1_000_000;
const START_US: i64 = 1_700_000_000 * SECOND;

/// Watches for these people: one face is enough, 10 s of absence, 20 s of cool-down.
fn rule(identity_ids: &[u64]) -> AlertRule {
    AlertRule {
        name: "watch".to_owned(),
        enabled: true,
        identity_ids: identity_ids.to_vec(),
        confirm_faces: 1,
        absence_us: 10 * SECOND,
        cool_down_us: 20 * SECOND,
        ..AlertRule::default()
    }
}

/// A rule for people by id.
pub(in crate::core) fn plain_rule(identity_ids: &[u64]) -> AlertRule {
    rule(identity_ids)
}

fn edit(change: RuleChange) -> RuleEdit {
    RuleEdit {
        change,
        author: "tester".to_owned(),
        reason: String::new(),
        request_id: String::new(),
    }
}

fn create(rule: AlertRule, photos: Vec<Embedding>) -> RuleEdit {
    edit(RuleChange::Create {
        rule: Box::new(rule),
        photos,
    })
}

async fn add(core: &Core, rule: AlertRule) -> u64 {
    let made = core.edit_alert_rule(create(rule, Vec::new())).await;
    made.unwrap()
}

async fn change(core: &Core, rule_id: u64, update: RuleUpdate) {
    let change = RuleChange::Update {
        rule_id,
        etag: None,
        update: Box::new(update),
    };
    core.edit_alert_rule(edit(change)).await.unwrap();
}

/// A sighting of somebody with one exemplar (revision 1) or none, and so many faces.
fn seen(
    (key, revision): (u64, u32),
    person: usize,
    span_s: (i64, i64),
    faces: usize,
) -> pb::TrackObservation {
    let exemplars = match revision {
        1 => vec![exemplar(1, 0.9, &face(person, 0.1))],
        _ => Vec::new(),
    };
    pb::TrackObservation {
        faces: vec![pb::ObservedFace::default(); faces],
        ..track(key, revision, span_s, exemplars)
    }
}

/// Somebody came and went.
fn came(key: u64, person: usize, span_s: (i64, i64)) -> Observed {
    closed(seen((key, 1), person, span_s, 3))
}

fn alerts(core: &Core) -> Vec<AlertRow> {
    let query = AlertQuery {
        limit: 1000,
        ..AlertQuery::default()
    };
    let mut rows = core.catalog().alerts(&query).unwrap();
    rows.reverse();
    rows
}

/// Rule, kind, person, track and seconds of each alert.
fn told(core: &Core) -> Vec<(u64, AlertKind, u64, u64, i64)> {
    let alerts = alerts(core);
    let told = alerts.iter().map(|alert| {
        let raised = &alert.raised;
        let at = (raised.at_us - START_US) / SECOND;
        (
            raised.rule_id,
            raised.kind(),
            raised.identity_id,
            raised.track_id,
            at,
        )
    });
    told.collect()
}

struct Place {
    _folder: tempfile::TempDir,
    core: Core,
    source: u64,
    run: u64,
}

async fn place(kind: pb::SourceKind) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let source = source(&core, kind).await;
    let run = core.begin_run(source, "p".into()).await.unwrap().id;
    Place {
        _folder: folder,
        core,
        source,
        run,
    }
}

impl Place {
    async fn see(&self, items: Vec<Observed>) {
        let observed = self.core.observe(self.source, self.run, items).await;
        observed.unwrap();
    }
}

const APPEARED: AlertKind = AlertKind::Appeared;
const LEFT: AlertKind = AlertKind::Left;

#[tokio::test]
async fn somebody_is_told_of_once_an_appearance_and_not_within_the_cool_down() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place
        .see(vec![came(1, 0, (0, 1)), came(2, 1, (0, 1))])
        .await;
    let id = add(core, rule(&[1])).await;
    let seen = [
        (3, 0, 5),
        (4, 1, 5),
        (5, 0, 14),
        (6, 0, 40),
        (7, 0, 55),
        (8, 0, 80),
    ];
    for (key, person, at) in seen {
        place.see(vec![came(key, person, (at, at + 1))]).await;
    }
    // At 5 for the first time; 14 goes on; 40 is new, 55 within the cool-down, 80 is new.
    assert_eq!(
        told(core),
        [
            (id, APPEARED, 1, 3, 5),
            (id, APPEARED, 1, 6, 40),
            (id, APPEARED, 1, 8, 80)
        ]
    );
    let numbers: Vec<u32> = alerts(core).iter().map(|a| a.raised.appearance).collect();
    assert_eq!(numbers, [1, 2, 3]);
    core.close().await;
}

#[tokio::test]
async fn a_sighting_counts_once_it_has_enough_faces_and_has_lasted() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place.see(vec![came(1, 0, (0, 1))]).await;
    let slow = AlertRule {
        confirm_faces: 5,
        confirm_us: 3 * SECOND,
        ..rule(&[1])
    };
    let id = add(core, slow).await;
    place
        .see(vec![Observed::Track(seen((2, 1), 0, (50, 51), 4))])
        .await;
    place
        .see(vec![Observed::Track(seen((2, 2), 0, (50, 52), 4))])
        .await;
    assert_eq!(told(core), [], "long enough is missing");
    place
        .see(vec![Observed::Track(seen((2, 3), 0, (50, 53), 0))])
        .await;
    assert_eq!(told(core), [(id, APPEARED, 1, 2, 50)]);
    place.see(vec![closed(seen((2, 4), 0, (50, 54), 4))]).await;
    assert_eq!(told(core).len(), 1);
    core.close().await;
}

#[tokio::test]
async fn strangers_are_told_of_until_somebody_says_who_they_are() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place
        .see(vec![came(1, 0, (0, 1)), came(2, 1, (0, 1))])
        .await;
    let edit = Edit {
        change: crate::core::Change::Update {
            identity_id: 1,
            etag: None,
            update: crate::core::ProfileUpdate {
                name: Some("Ada".to_owned()),
                ..Default::default()
            },
            allow_duplicate_name: false,
        },
        author: String::new(),
        reason: String::new(),
        request_id: String::new(),
    };
    core.edit(edit).await.unwrap();
    let strangers = AlertRule {
        identity_ids: Vec::new(),
        unknown_people: Some(UnknownPeople::default()),
        ..rule(&[])
    };
    let id = add(core, strangers).await;
    place
        .see(vec![
            came(3, 0, (5, 6)),
            came(4, 1, (5, 6)),
            came(5, 2, (5, 6)),
        ])
        .await;
    assert_eq!(
        told(core),
        [(id, APPEARED, 2, 4, 5), (id, APPEARED, 3, 5, 5)]
    );
    core.close().await;
}

#[tokio::test]
async fn a_photo_finds_whoever_looks_like_it_and_no_other_source_counts() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    let of_photo = AlertRule {
        identity_ids: Vec::new(),
        photo: Some(photo_of("test")),
        min_cosine: Some(0.8),
        source_ids: vec![place.source],
        ..rule(&[])
    };
    let made = core
        .edit_alert_rule(create(of_photo.clone(), vec![face(4, 0.0)]))
        .await;
    let id = made.unwrap();
    let live = AlertRule {
        live_only: true,
        ..of_photo.clone()
    };
    core.edit_alert_rule(create(live, vec![face(4, 0.0)]))
        .await
        .unwrap();
    let of_another_model = AlertRule {
        photo: Some(photo_of("another")),
        ..of_photo
    };
    let refused = core
        .edit_alert_rule(create(of_another_model, vec![face(4, 0.0)]))
        .await;
    assert!(
        matches!(refused, Err(WriteError::ContractGone { .. })),
        "{refused:?}"
    );
    place
        .see(vec![came(1, 0, (0, 1)), came(2, 4, (0, 1))])
        .await;
    assert_eq!(told(core), [(id, APPEARED, 2, 2, 0)]);
    assert!(alerts(core)[0].raised.similarity > 0.99);
    core.close().await;
}

#[tokio::test]
async fn merging_raises_nothing_and_the_rule_follows() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place
        .see(vec![came(1, 0, (0, 1)), came(2, 1, (0, 1))])
        .await;
    let id = add(core, rule(&[1])).await;
    place.see(vec![came(3, 0, (5, 6))]).await;
    let merge = Edit {
        change: crate::core::Change::Merge {
            from: 1,
            into: 2,
            from_etag: None,
            into_etag: None,
        },
        author: String::new(),
        reason: String::new(),
        request_id: String::new(),
    };
    let merged = core.edit(merge).await.unwrap();
    assert_eq!(told(core), [(id, APPEARED, 1, 3, 5)]);
    // The same appearance, by either face; the next one is under the absorber's id.
    place
        .see(vec![
            came(4, 1, (8, 9)),
            came(5, 0, (9, 10)),
            came(6, 1, (60, 61)),
        ])
        .await;
    assert_eq!(
        told(core),
        [(id, APPEARED, 1, 3, 5), (id, APPEARED, 2, 6, 60)]
    );
    assert_eq!(alerts(core)[1].raised.appearance, 2);
    // Undone, the rule means the first one alone again.
    let undo = Edit {
        change: crate::core::Change::Undo {
            sequence: merged,
            allow_duplicate_name: false,
            partial: false,
        },
        author: String::new(),
        reason: String::new(),
        request_id: String::new(),
    };
    core.edit(undo).await.unwrap();
    place
        .see(vec![came(7, 1, (100, 101)), came(8, 0, (102, 103))])
        .await;
    assert_eq!(told(core)[2..], [(id, APPEARED, 1, 8, 102)]);
    core.close().await;
}

#[tokio::test]
async fn a_track_that_turns_out_to_be_somebody_watched_is_told_of() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place.see(vec![came(1, 1, (0, 1))]).await;
    let id = add(core, rule(&[1])).await;
    let bad = exemplar(1, 0.15, &face(5, 0.0));
    let first = pb::TrackObservation {
        faces: vec![pb::ObservedFace::default()],
        ..track(9, 1, (50, 51), vec![bad])
    };
    place.see(vec![Observed::Track(first)]).await;
    assert_eq!(told(core), []);
    let good = exemplar(2, 0.9, &face(1, 0.05));
    place
        .see(vec![closed(track(9, 2, (50, 52), vec![good]))])
        .await;
    assert_eq!(told(core), [(id, APPEARED, 1, 2, 50)]);
    core.close().await;
}

#[tokio::test]
async fn whoever_was_told_of_leaves_when_the_time_of_the_source_has_passed() {
    for kind in [pb::SourceKind::File, pb::SourceKind::Live] {
        let place = place(kind).await;
        let core = &place.core;
        let strangers = AlertRule {
            unknown_people: Some(UnknownPeople::default()),
            tell_left: true,
            ..rule(&[])
        };
        let id = add(core, strangers).await;
        place
            .see(vec![Observed::Track(seen((1, 1), 0, (0, 1), 3))])
            .await;
        let tick = async |at: i64| core.tick_alerts(START_US + at * SECOND).await.unwrap();
        let appeared = (id, APPEARED, 1, 1, 0);
        tick(1000).await;
        assert_eq!(told(core), [appeared], "still there: the track is open");
        place.see(vec![closed(seen((1, 2), 0, (0, 4), 3))]).await;
        tick(13).await;
        assert_eq!(told(core), [appeared], "not for long enough");
        place.see(vec![crate::core::tests::checkpoint(14)]).await;
        tick(14).await;
        let left = (id, LEFT, 1, 1, 4);
        assert_eq!(told(core), [appeared, left]);
        let told_of = &alerts(core)[1];
        assert_eq!(told_of.raised.appeared_sequence, alerts(core)[0].sequence);
        tick(2000).await;
        assert_eq!(told(core), [appeared, left], "once");
        core.close().await;
    }
}

#[tokio::test]
async fn a_rule_that_is_off_tells_nothing_and_begins_anew_when_it_is_on() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place.see(vec![came(1, 0, (0, 1))]).await;
    let off = AlertRule {
        enabled: false,
        ..rule(&[1])
    };
    let id = add(core, off).await;
    place.see(vec![came(2, 0, (50, 51))]).await;
    assert_eq!(told(core), []);
    let switch = |enabled| RuleUpdate {
        enabled: Some(enabled),
        ..RuleUpdate::default()
    };
    change(core, id, switch(true)).await;
    place.see(vec![came(3, 0, (52, 53))]).await;
    assert_eq!(told(core), [(id, APPEARED, 1, 3, 52)], "they are here");
    change(core, id, switch(false)).await;
    place.see(vec![came(4, 0, (90, 91))]).await;
    assert_eq!(told(core).len(), 1);
    core.close().await;
}

#[tokio::test]
async fn changes_are_checked() {
    let place = place(pb::SourceKind::File).await;
    let core = &place.core;
    place.see(vec![came(1, 0, (0, 1))]).await;
    let refused = async |edit| core.edit_alert_rule(edit).await.unwrap_err();
    let unknown = refused(create(rule(&[1, 7]), Vec::new())).await;
    assert_eq!(unknown, WriteError::IdentityNotFound { id: 7 });
    let elsewhere = AlertRule {
        source_ids: vec![9],
        ..rule(&[1])
    };
    let unknown = refused(create(elsewhere, Vec::new())).await;
    assert_eq!(unknown, WriteError::SourceNotFound { id: 9 });
    let mut twice = create(rule(&[1]), Vec::new());
    twice.request_id = "r1".to_owned();
    let id = core.edit_alert_rule(twice.clone()).await.unwrap();
    assert_eq!(core.edit_alert_rule(twice).await, Ok(id));
    assert_eq!(core.catalog().alert_rules(0, 10).unwrap().len(), 1);
    let strangers = RuleUpdate {
        opened_within_us: Some(5),
        ..RuleUpdate::default()
    };
    let other_kind = edit(RuleChange::Update {
        rule_id: id,
        etag: None,
        update: Box::new(strangers),
    });
    assert_eq!(refused(other_kind).await, WriteError::AlertRuleKind { id });
    let delete = |etag: Option<&str>| {
        edit(RuleChange::Delete {
            rule_id: id,
            etag: etag.map(str::to_owned),
        })
    };
    let stale = refused(delete(Some("e0"))).await;
    assert!(
        matches!(stale, WriteError::AlertRuleEtagMismatch { .. }),
        "{stale}"
    );
    core.edit_alert_rule(delete(None)).await.unwrap();
    assert_eq!(
        refused(delete(None)).await,
        WriteError::AlertRuleNotFound { id }
    );
    // Its id is never given again.
    assert_eq!(add(core, rule(&[1])).await, id + 1);
    core.close().await;
}
