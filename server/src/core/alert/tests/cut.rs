//! A log cut off behind any of its records: what is raised in the end is what would have been.

use super::{SECOND, START_US, create, rule};
use crate::core::alert::{AlertCommand, carry_out, judge_end};
use crate::core::apply::Truth;
use crate::core::edit::tests::crash::truth;
use crate::core::tests::face;
use crate::core::writer::record;
use rollcall_log::record::{
    AlertRaised, AlertRule, BlobRef, Body, CollectionOpened, Decision, DecisionKind, Exemplar,
    FaceBox, Record, SourceAdded, SourceKind, SourceState, SourceStateChanged, TrackObserved,
    UnknownPeople, WatchedPhoto,
};
use rollcall_log::{Log, LogOptions, MemoryStorage};
use std::sync::Arc;

/// Person, seconds, and whether it is the first sight of them, of each track.
const SEEN: [(u64, i64, bool); 7] = [
    (1, 0, true),
    (2, 1, true),
    (1, 8, false),
    (1, 40, false),
    (2, 41, false),
    (3, 42, true),
    (1, 90, false),
];

/// One thing after another that is to be in the log.
fn steps() -> Vec<Body> {
    let mut steps = vec![
        Body::CollectionOpened(CollectionOpened::default()),
        Body::SourceAdded(SourceAdded {
            source_id: 1,
            kind: SourceKind::Live.into(),
            ..SourceAdded::default()
        }),
    ];
    let tracks = (1_u64..).zip(SEEN).map(|(id, (person, at, first))| {
        let (start_us, kind) = (
            at * SECOND,
            if first {
                DecisionKind::New
            } else {
                DecisionKind::Join
            },
        );
        Body::TrackObserved(TrackObserved {
            track_id: id,
            track_key: id,
            source_id: 1,
            revision: 1,
            closed: true,
            start_us,
            end_us: start_us + SECOND,
            wall_start_us: START_US + start_us,
            boxes: vec![FaceBox::default()],
            exemplar_count: 1,
            decision: Some(Decision {
                identity_id: person,
                kind: kind.into(),
                ..Decision::default()
            }),
            ..TrackObserved::default()
        })
    });
    steps.extend(tracks);
    steps.push(Body::SourceStateChanged(SourceStateChanged {
        source_id: 1,
        state: SourceState::Ended.into(),
        ..SourceStateChanged::default()
    }));
    steps
}

fn rules() -> [(AlertRule, Vec<rollcall_index::Embedding>); 3] {
    let rule = || AlertRule {
        tell_left: true,
        ..rule(&[])
    };
    let strangers = AlertRule {
        unknown_people: Some(UnknownPeople::default()),
        ..rule()
    };
    let photo = AlertRule {
        photo: Some(WatchedPhoto::default()),
        min_cosine: Some(0.5),
        ..rule()
    };
    let again = strangers.clone();
    [
        (strangers, Vec::new()),
        (photo, vec![face(1, 0.0)]),
        (again, Vec::new()),
    ]
}

/// Does what the log lacks. A record that is there had its effect; what it raised, the writer sees to.
fn go_on(truth: &mut Truth) {
    judge_end(truth).unwrap();
    let records: Vec<Record> = truth
        .log
        .reader()
        .read_after(0)
        .map(Result::unwrap)
        .collect();
    let count = |is: fn(&Body) -> bool| {
        records
            .iter()
            .filter_map(|r| r.body.as_ref())
            .filter(|b| is(b))
            .count()
    };
    let made = count(|body| matches!(body, Body::AlertRuleChanged(_)));
    let done = count(|body| !matches!(body, Body::AlertRuleChanged(_) | Body::AlertRaised(_)));
    for (rule, photos) in rules().into_iter().skip(made) {
        let edit = create(rule, photos);
        assert!(carry_out(truth, AlertCommand::Edit(edit)).is_ok());
    }
    for body in steps().into_iter().skip(done) {
        step(truth, body);
    }
    for _ in 0..2 {
        assert!(carry_out(truth, AlertCommand::Tick(START_US + 1000 * SECOND)).is_ok());
    }
    truth.log.sync().unwrap();
}

fn step(truth: &mut Truth, mut body: Body) {
    let mut embeddings = Vec::new();
    if let Body::TrackObserved(track) = &mut body {
        let person = track.decision.as_ref().unwrap().identity_id;
        let embedding = face(usize::try_from(person).unwrap(), 0.1);
        let blob = truth.log.put_blob(&embedding.to_f16_bytes()).unwrap();
        track.exemplars.push(Exemplar {
            exemplar_id: track.track_id,
            quality: 0.5,
            embedding: Some(blob),
            ..Exemplar::default()
        });
        embeddings.push(embedding);
    }
    truth.write(record("", "", body), embeddings).unwrap();
}

fn raised(truth: &Truth) -> Vec<AlertRaised> {
    let records = truth.log.reader().read_after(0).map(Result::unwrap);
    let raised = records.filter_map(|record| match record.body {
        Some(Body::AlertRaised(raised)) => Some(raised),
        _ => None,
    });
    // Where in the log a coming was told may differ: rules may have come in between.
    raised
        .map(|raised| AlertRaised {
            appeared_sequence: 0,
            key: 0,
            ..raised
        })
        .collect()
}

fn references(record: &mut Record) -> Vec<&mut BlobRef> {
    match &mut record.body {
        Some(Body::TrackObserved(track)) => track
            .exemplars
            .iter_mut()
            .filter_map(|e| e.embedding.as_mut())
            .collect(),
        Some(Body::AlertRuleChanged(change)) => {
            let rule = change.after.as_mut();
            let photo = rule.and_then(|rule| rule.photo.as_mut());
            let embeddings = photo.map(|photo| photo.embeddings.iter_mut());
            embeddings.into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}

/// The first so many records of a log, and their payloads.
fn cut(whole: &MemoryStorage, records: usize) -> MemoryStorage {
    let (whole, _) = Log::open(Arc::new(whole.clone()), LogOptions::default()).unwrap();
    let reader = whole.reader();
    let storage = MemoryStorage::new();
    let (mut log, _) = Log::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
    // As many keys as the whole has used, and no more: the next one is as it would have been.
    let mut made = 0;
    for record in reader.read_after(0).take(records) {
        let mut record = record.unwrap();
        let last = match &record.body {
            Some(Body::AlertRuleChanged(change)) => change.after.as_ref().map_or(0, |it| it.key),
            _ => 0,
        };
        while made < last {
            made = log.new_key().unwrap();
        }
        for reference in references(&mut record) {
            let bytes = reader.blob(reference).unwrap();
            *reference = log.put_sealed(reference.key, &bytes).unwrap();
        }
        log.append(record).unwrap();
    }
    log.sync().unwrap();
    storage
}

#[test]
fn behind_whichever_record_the_log_is_cut_off_the_same_is_raised_in_the_end() {
    let whole = MemoryStorage::new();
    let (mut undisturbed, _folder) = truth(&whole);
    go_on(&mut undisturbed);
    let expected = raised(&undisturbed);
    let records = usize::try_from(undisturbed.log.durable_sequence()).unwrap();
    drop(undisturbed);
    assert!(expected.len() >= 12, "{expected:?}");
    for kept in 0..=records {
        let storage = cut(&whole, kept);
        let (mut resumed, _folder) = truth(&storage);
        go_on(&mut resumed);
        assert_eq!(raised(&resumed), expected, "cut off behind record {kept}");
        drop(resumed);
        let (made_anew, _folder) = truth(&storage);
        assert_eq!(made_anew.catalog.open_alerts(0, 9).unwrap().len(), 0);
    }
}
