//! How sure a hit is: found in the collection itself.

use crate::edits::{UPDATE, rename};
use crate::support::{Fixture, seconds, track};
use rollcall_index::Embedding;
use rollcall_ingest::fake::FAKE_DIMENSION;
use rollcall_server::pb;
use std::time::Duration;

const PEOPLE: u64 = 120;

/// Someone's face: around a direction that is theirs alone, a little different each time.
fn face(person: u64, time: u64) -> Embedding {
    let noise = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
        }
    };
    let (mut own, mut other) = (noise(person), noise(person * 1000 + time + 1));
    let values = (0..FAKE_DIMENSION).map(|_| own() + 0.4 * other());
    Embedding::normalise(values.collect()).unwrap()
}

async fn search(fixture: &Fixture, face: &Embedding, options: pb::SearchOptions) -> pb::SearchHit {
    let request = pb::SearchEmbeddingRequest {
        embedding: face.as_slice().to_vec(),
        options: Some(options),
        ..Default::default()
    };
    let found: Result<pb::SearchResponse, _> = fixture
        .api
        .call("/rollcall.v1.SearchService/SearchEmbedding", request)
        .await;
    found.unwrap().hits.remove(0)
}

async fn calibration(fixture: &Fixture) -> pb::Calibration {
    loop {
        let status: Result<pb::Status, _> = fixture
            .api
            .call(
                "/rollcall.v1.AdminService/GetStatus",
                pb::GetStatusRequest {},
            )
            .await;
        if let Some(calibration) = status.unwrap().calibration {
            return calibration;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// 120 people, each seen twice; and where.
async fn many() -> (Fixture, u64) {
    let fixture = Fixture::with(|config| config.search.calibrate_s = 1).await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    for time in 0..2 {
        for person in 1..=PEOPLE {
            let mut seen = track(time * 1000 + person, 1, 0.0, 0, 1, true);
            let at = i64::try_from(time * PEOPLE + person).unwrap() * 10;
            (seen.start, seen.end) = (seconds(at), seconds(at + 1));
            seen.exemplars[0].embedding = face(person, time).to_f16_bytes();
            run.track(seen).await;
        }
    }
    run.finish().await;
    (fixture, source.id)
}

#[tokio::test]
async fn hits_say_how_sure_they_are_once_there_are_enough_people() {
    let (fixture, source) = many().await;
    let calibration = calibration(&fixture).await;
    assert_eq!(calibration.identities, PEOPLE);
    assert!(calibration.trials >= 200, "{calibration:?}");
    let (percent, permille) = (
        calibration.cosine_at_1_percent,
        calibration.cosine_at_1_permille,
    );
    assert!(
        0.2 < percent && percent <= permille && permille < 0.9,
        "{calibration:?}"
    );

    let known = search(&fixture, &face(7, 5), pb::SearchOptions::default()).await;
    assert!(known.confidence.unwrap() > 0.9, "{known:?}");
    assert!(known.false_positive_rate.unwrap() < 0.01, "{known:?}");
    let anybody = pb::SearchOptions {
        min_cosine: Some(-1.0),
        ..Default::default()
    };
    let stranger = search(&fixture, &face(7_777, 0), anybody.clone()).await;
    assert!(stranger.confidence.unwrap() < 0.3, "{stranger:?}");
    assert!(stranger.false_positive_rate.unwrap() > 0.01, "{stranger:?}");
    // Who is the best of a part of the collection is another question.
    let narrowed = pb::SearchOptions {
        source_ids: vec![source],
        ..anybody
    };
    let narrowed = search(&fixture, &face(7, 5), narrowed).await;
    assert_eq!(
        (narrowed.confidence, narrowed.false_positive_rate),
        (None, None)
    );
}

#[tokio::test]
async fn those_with_names_are_a_gallery_of_their_own() {
    let (fixture, _) = many().await;
    for person in 1..=PEOPLE - 10 {
        let name = rename(person, &format!("Person {person}"));
        fixture.made(UPDATE, name).await;
    }
    let named = pb::SearchOptions {
        named_only: true,
        min_cosine: Some(-1.0),
        ..Default::default()
    };
    let of = async |person| search(&fixture, &face(person, 5), named.clone()).await;
    let waited = async {
        while of(7).await.confidence.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited)
        .await
        .unwrap();
    let known = of(7).await;
    assert_eq!(known.identity.unwrap().name, "Person 7");
    assert!(known.confidence.unwrap() > 0.9);
    // Somebody who is there and bears no name is a stranger to the gallery.
    let unnamed = search(&fixture, &face(PEOPLE, 5), pb::SearchOptions::default()).await;
    assert_eq!(unnamed.identity.unwrap().id, PEOPLE);
    let stranger = of(PEOPLE).await;
    assert_ne!(stranger.identity.unwrap().name, "");
    assert!(stranger.confidence.unwrap() < 0.3);
    assert!(stranger.false_positive_rate.unwrap() > 0.01);
    // A name that is taken away takes its bearer out.
    fixture.made(UPDATE, rename(7, "")).await;
    assert_ne!(of(7).await.identity.unwrap().id, 7);
}

#[tokio::test]
async fn few_people_say_nothing() {
    let fixture = Fixture::with(|config| config.search.calibrate_s = 0).await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let found = fixture.api.search(0.0).await;
    assert_eq!(found.hits[0].confidence, None);
}
