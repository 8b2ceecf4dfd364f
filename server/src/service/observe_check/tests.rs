use super::*;
use crate::time::duration;

const DIMENSION: usize = 4;

fn face() -> pb::ObservedFace {
    pb::ObservedFace {
        frame: 1,
        time: Some(duration(40_000)),
        r#box: Some(pb::Box {
            x: 0.1,
            y: 0.1,
            width: 0.2,
            height: 0.2,
        }),
        confidence: 0.9,
    }
}

fn track(revision: u32) -> pb::TrackObservation {
    let embedding = Embedding::normalise(vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    pb::TrackObservation {
        track_key: 7,
        revision,
        start: Some(duration(0)),
        end: Some(duration(40_000)),
        end_frame: 1,
        wall_start: Some(prost_types::Timestamp::default()),
        faces: vec![face()],
        exemplars: vec![pb::ObservedExemplar {
            number: 1,
            face: Some(face()),
            landmarks: vec![0.5; 10],
            quality: 0.8,
            embedding: embedding.to_f16_bytes(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn numbered(number: u64, message: Message) -> pb::ObserveRequest {
    pb::ObserveRequest {
        number,
        message: Some(message),
    }
}

fn check(edit: impl FnOnce(&mut pb::TrackObservation)) -> Result<(), Unfit> {
    let mut track = track(1);
    edit(&mut track);
    Checker::new(DIMENSION)
        .check(numbered(1, Message::Track(track)))
        .map(drop)
}

#[test]
fn good_tracks_pass_and_bad_ones_do_not() {
    check(|_| ()).unwrap();
    let attribute = |name: &str, value| pb::Attribute {
        name: name.to_owned(),
        value,
        ..Default::default()
    };
    check(|t| t.attributes = vec![attribute("age", 47.0)]).unwrap();
    for odd in [
        attribute("", 1.0),
        attribute("a ge", 1.0),
        attribute("age", f32::NAN),
        pb::Attribute {
            spread: -1.0,
            ..attribute("age", 1.0)
        },
        pb::Attribute {
            label: "x".repeat(65),
            ..attribute("gender", 1.0)
        },
    ] {
        assert!(
            check(|t| t.attributes = vec![odd.clone()]).is_err(),
            "{odd:?}"
        );
    }
    assert!(check(|t| t.attributes = vec![attribute("age", 1.0); 65]).is_err());
    let bad: [fn(&mut pb::TrackObservation); 14] = [
        |t| t.revision = 2,
        |t| t.start = None,
        |t| t.end = Some(duration(-1)),
        |t| t.start = Some(duration(50_000)),
        |t| {
            t.end = Some(prost_types::Duration {
                seconds: 1,
                nanos: 2_000_000_000,
            })
        },
        |t| t.end = Some(duration(i64::MAX)),
        |t| t.end_frame = -1,
        |t| t.wall_start = None,
        |t| t.faces[0].confidence = f32::NAN,
        |t| {
            t.faces[0].r#box = Some(pb::Box {
                x: f32::INFINITY,
                ..Default::default()
            })
        },
        |t| t.faces = vec![face(); FACES_MAX + 1],
        |t| t.exemplars[0].landmarks.truncate(9),
        |t| t.exemplars[0].quality = 1.5,
        |t| t.exemplars[0].crop = vec![0; CROP_BYTES_MAX + 1],
    ];
    for (at, edit) in bad.into_iter().enumerate() {
        assert!(matches!(check(edit), Err(Unfit::Protocol(_))), "case {at}");
    }
    let bad: [fn(&mut pb::TrackObservation); 3] = [
        |t| t.exemplars[0].embedding.truncate(6),
        |t| t.exemplars[0].embedding = vec![0; 8],
        |t| t.exemplars[0].embedding = vec![0xff; 8],
    ];
    for (at, edit) in bad.into_iter().enumerate() {
        assert!(matches!(check(edit), Err(Unfit::Embedding(_))), "case {at}");
    }
}

#[test]
fn messages_come_in_order() {
    let mut checker = Checker::new(DIMENSION);
    checker
        .check(numbered(1, Message::Track(track(1))))
        .unwrap();
    assert!(
        checker
            .check(numbered(1, Message::Track(track(2))))
            .is_err()
    );
    checker
        .check(numbered(2, Message::Track(track(2))))
        .unwrap();
    assert!(
        checker
            .check(numbered(3, Message::Track(track(2))))
            .is_err()
    );
    let ended = pb::Finished {
        state: SourceState::Ended.into(),
        ..Default::default()
    };
    let mut checker = Checker::new(DIMENSION);
    let report = pb::Report::default();
    assert!(matches!(
        checker.check(numbered(0, Message::Report(report.clone()))),
        Ok(Checked::Report(_))
    ));
    assert!(checker.check(numbered(1, Message::Report(report))).is_err());
    checker
        .check(numbered(1, Message::Finished(ended.clone())))
        .unwrap();
    assert!(
        checker
            .check(numbered(2, Message::Finished(ended)))
            .is_err()
    );
    let running = pb::Finished {
        state: SourceState::Running.into(),
        ..Default::default()
    };
    let refused = Checker::new(DIMENSION).check(numbered(1, Message::Finished(running)));
    assert!(refused.is_err());
}

#[test]
fn counters_names_become_labels_only_when_plain() {
    let named = |name: &str| pb::Report {
        counters: Some(pb::SourceCounters {
            frames_rejected: [(name.to_owned(), 1)].into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert!(check_report(&named("EMPTY")).is_ok());
    for name in ["", "a\"b", "ü", &"A".repeat(33)] {
        assert!(check_report(&named(name)).is_err(), "{name}");
    }
}
