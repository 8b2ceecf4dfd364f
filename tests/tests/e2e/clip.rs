//! The composed clip, from `source add` to the answers.

use crate::support::cli::{Answer, arguments, rollcall};
use crate::support::facts::{Facts, Track};
use crate::support::prepared;
use crate::support::server::{Server, Setup};
use crate::support::truth::Truth;
use crate::support::{scratch, turn};
use rollcall_client::{Client, Error, pb};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_in_the_clip_is_found_and_no_two_people_are_one() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = folder.path().join("data");
    let mut server = Setup::new(&data).start().await;
    let added = rollcall(&server, arguments!["source", "add", &truth.clip, "--wait"]).await;
    let source = added.expect(0).json();
    assert_eq!(
        (number(&source["id"]), source["state"].as_str()),
        (1, Some("ended")),
        "{source}"
    );
    assert_eq!(source["error"], Value::Null);
    assert_eq!(
        source["media"]["duration_s"].as_f64(),
        Some(truth.duration_s),
        "{source}"
    );
    let complete_s = source["complete_up_to_s"].as_f64().unwrap();
    assert!(
        (complete_s - truth.duration_s).abs() < 0.05,
        "to the last frame: {source}"
    );
    let sightings = rollcall(&server, ["sightings", "--limit", "0"])
        .await
        .expect(0)
        .json();
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());

    let facts = Facts::read(&data.join("log"));
    truth.assert_found(facts.tracks.values());
    truth.assert_identified(facts.tracks.values());
    assert!(facts.tracks.values().all(|track| track.closed));
    assert_sightings_are(&sightings["sightings"], &facts);
}

/// What the API says must be what the log says.
fn assert_sightings_are(sightings: &Value, facts: &Facts) {
    let sightings = sightings.as_array().unwrap();
    assert_eq!(sightings.len(), facts.tracks.len());
    let mut last = -1.0;
    for sighting in sightings {
        let id = number(&sighting["track_id"]);
        let track = facts.tracks.values().find(|track| track.id == id).unwrap();
        assert_eq!(
            number(&sighting["identity_id"]),
            track.identity,
            "{sighting}"
        );
        let seconds = |us: i64| us as f64 / 1e6;
        let (start, end) = (
            sighting["start_s"].as_f64().unwrap(),
            sighting["end_s"].as_f64().unwrap(),
        );
        assert!(
            (start - seconds(track.start_us)).abs() < 1e-6,
            "{sighting} {track:?}"
        );
        assert!(
            (end - seconds(track.end_us)).abs() < 1e-6,
            "{sighting} {track:?}"
        );
        assert_eq!(
            number(&sighting["exemplars"]),
            track.exemplars.len() as u64,
            "{sighting}"
        );
        assert_eq!(sighting["open"], false);
        // A file read as fast as possible has the wall clock of its reading: order is by stream time here.
        assert!(start >= last, "{sightings:?}");
        last = start;
    }
}

/// A server on the prepared collection, with what is true about it.
async fn prepared_server(folder: &std::path::Path) -> (Server, Facts, Truth) {
    let data = prepared::collection(folder).await;
    let facts = Facts::read(&data.join("log"));
    (Setup::new(&data).start().await, facts, Truth::small())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_out_pictures_find_their_people_and_a_stranger_nobody() {
    let _turn = turn().await;
    let folder = scratch();
    let (server, facts, truth) = prepared_server(folder.path()).await;
    let labels = truth.label(facts.tracks.values());
    for (person, picture) in &truth.held_out {
        let answer = rollcall(&server, arguments!["search", picture])
            .await
            .expect(0)
            .json();
        assert_eq!(answer["verdict"], "found", "{person}: {answer}");
        let hit = &answer["hits"][0];
        let identity = number(&hit["identity"]["id"]);
        let theirs: Vec<&Track> = facts
            .tracks
            .values()
            .filter(|track| track.identity == identity)
            .collect();
        assert!(
            theirs.iter().all(|track| labels[&track.id] == person),
            "{person}: {answer}"
        );
        let sightings = hit["sightings"].as_array().unwrap();
        assert_eq!(sightings.len(), theirs.len(), "{person}: {answer}");
        let cosine = hit["cosine"].as_f64().unwrap();
        assert!((0.40..=1.0).contains(&cosine), "{person}: {cosine}");
        let total = answer["timings"]["total_s"].as_f64().unwrap();
        assert!(total > 0.0 && total <= answer["timings"]["round_trip_s"].as_f64().unwrap());
    }
    let answer = rollcall(&server, arguments!["search", &truth.stranger])
        .await
        .expect(1)
        .json();
    assert_eq!(
        (
            answer["verdict"].as_str(),
            answer["hits"].as_array().unwrap().len()
        ),
        (Some("unknown"), 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_have_pictures_and_take_names() {
    let _turn = turn().await;
    let folder = scratch();
    let (server, facts, _) = prepared_server(folder.path()).await;
    let client = server.client().await;
    let identities = client
        .all_identities(Default::default(), 100)
        .await
        .unwrap()
        .items;
    assert!(identities.len() >= 3, "{identities:?}");
    for identity in &identities {
        let jpeg = folder.path().join(format!("{}.jpg", identity.id));
        let id = identity.id.to_string();
        for (aligned, side) in [(false, None), (true, Some((112, 112)))] {
            let mut arguments = arguments!["thumbnail", "--identity", &id, "-o", &jpeg].to_vec();
            arguments.extend(aligned.then(|| "--aligned".into()));
            rollcall(&server, arguments).await.expect(0);
            let picture = image::open(&jpeg).unwrap();
            assert!(side.is_none_or(|side| side == (picture.width(), picture.height())));
            assert!(picture.width() >= 32 && picture.height() >= 32);
        }
    }
    for track in facts.tracks.values() {
        let request = pb::GetThumbnailRequest {
            of: Some(pb::get_thumbnail_request::Of::TrackId(track.id)),
            aligned: true,
        };
        let thumbnail = client.thumbnail(request).await.unwrap();
        image::load_from_memory_with_format(&thumbnail.jpeg, image::ImageFormat::Jpeg).unwrap();
    }
    let missing = arguments!["thumbnail", "--track", "999", "-o", "-"];
    rollcall(&server, missing)
        .await
        .expect_error("THUMBNAIL_NOT_FOUND");

    rename(&server, &client, identities[0].id).await;
}

async fn rename(server: &Server, client: &Client, id: u64) {
    let text = id.to_string();
    let named = rollcall(server, ["identity", "rename", &text, "Ada Lovelace"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (number(&named["id"]), named["name"].as_str()),
        (id, Some("Ada Lovelace"))
    );
    let etag = named["etag"].as_str().unwrap().to_owned();
    let list = rollcall(server, ["identity", "list", "--name", "lOVE"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (number(&list["total"]), number(&list["identities"][0]["id"])),
        (1, id),
        "{list}"
    );
    rollcall(
        server,
        ["identity", "list", "--name", "nobody of that name"],
    )
    .await
    .expect(1);
    let renamed = ["identity", "rename", &text, "Augusta", "--etag", &etag];
    rollcall(server, renamed).await.expect(0);
    rollcall(server, renamed)
        .await
        .expect_error("ETAG_MISMATCH");
    rollcall(server, ["identity", "rename", &text, "two\nlines"])
        .await
        .expect_error("INVALID_NAME");
    rollcall(server, ["identity", "rename", "999", "x"])
        .await
        .expect_error("IDENTITY_NOT_FOUND");
    // The same request sent twice has one effect.
    let request = pb::RenameIdentityRequest {
        identity_id: id,
        name: "Once".into(),
        request_id: "6e8bc430-9c3a-11d9-9669-0800200c9a66".into(),
        ..Default::default()
    };
    let first = client.rename_identity(request.clone()).await.unwrap();
    assert_eq!(client.rename_identity(request).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages_and_tokens_fit_only_their_own_list() {
    let _turn = turn().await;
    let folder = scratch();
    let (server, facts, _) = prepared_server(folder.path()).await;
    let client = server.client().await;
    let page = |page_token: &str, name: &str| {
        let request = pb::ListIdentitiesRequest {
            page_size: 1,
            page_token: page_token.into(),
            name_contains: name.into(),
            ..Default::default()
        };
        client.list_identities(request)
    };
    let all = client
        .all_identities(Default::default(), 100)
        .await
        .unwrap();
    let mut ids = Vec::new();
    let mut token = String::new();
    let first = page("", "").await.unwrap().next_page_token;
    loop {
        let one = page(&token, "").await.unwrap();
        assert_eq!(one.total_count, all.total);
        ids.extend(one.identities.iter().map(|identity| identity.id));
        token = one.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(
        ids,
        all.items
            .iter()
            .map(|identity| identity.id)
            .collect::<Vec<_>>()
    );

    let of_sightings = sightings_in_pages(&client, &facts).await;
    assert_reason(page(&first, "other arguments").await, "INVALID_PAGE_TOKEN");
    assert_reason(page(&of_sightings, "").await, "INVALID_PAGE_TOKEN");
    assert_reason(page("nonsense", "").await, "INVALID_PAGE_TOKEN");
}

/// Returns a token of the list of sightings.
async fn sightings_in_pages(client: &Client, facts: &Facts) -> String {
    let sightings = |page_token: &str, source_id| {
        let request = pb::ListSightingsRequest {
            page_size: 2,
            page_token: page_token.into(),
            source_id,
            ..Default::default()
        };
        client.list_sightings(request)
    };
    let two = sightings("", 1).await.unwrap();
    assert_eq!(two.sightings.len(), 2);
    let rest = sightings(&two.next_page_token, 1).await.unwrap();
    assert!(
        rest.sightings
            .iter()
            .all(|sighting| !two.sightings.contains(sighting))
    );
    assert_eq!(
        client
            .all_sightings(Default::default(), 1000)
            .await
            .unwrap()
            .items
            .len(),
        facts.tracks.len()
    );
    assert_reason(
        sightings(&two.next_page_token, 0).await,
        "INVALID_PAGE_TOKEN",
    );
    assert_reason(sightings("", 7).await, "SOURCE_NOT_FOUND");
    let negative = pb::ListSourcesRequest {
        page_size: -1,
        ..Default::default()
    };
    assert_reason(client.list_sources(negative).await, "INVALID_PAGE_SIZE");
    two.next_page_token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_collection_answers_that_it_has_nothing() {
    let _turn = turn().await;
    let folder = scratch();
    let server = Setup::new(&folder.path().join("data")).start().await;
    let truth = Truth::small();
    let empty: [Answer; 4] = [
        rollcall(&server, ["source", "list"]).await,
        rollcall(&server, ["identity", "list"]).await,
        rollcall(&server, ["sightings"]).await,
        rollcall(&server, arguments!["search", &truth.held_out[0].1]).await,
    ];
    for answer in empty {
        assert_eq!(answer.code, 1, "{answer:?}");
    }
    let status = rollcall(&server, ["status"]).await.expect(0).json();
    assert_eq!(
        (number(&status["identities"]), number(&status["sources"])),
        (0, 0),
        "{status}"
    );
}

#[track_caller]
fn assert_reason<T: std::fmt::Debug>(answer: Result<T, Error>, reason: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.reason(), reason, "{error:?}");
}
