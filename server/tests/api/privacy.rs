//! Forgetting, through the API: gone from every answer at once, from the disk soon after, also across a restart.

use crate::support::{Api, Fixture, config, once_free, reason, track};
use rollcall_server::pb::{self, erase_request::What};
use rollcall_server::verify_erasures;

const ERASE: &str = "/rollcall.v1.PrivacyService/Erase";
const GET: &str = "/rollcall.v1.PrivacyService/GetErasure";
const LIST: &str = "/rollcall.v1.PrivacyService/ListErasures";

/// Two people: hue 0 seen twice and named, hue 120 once.
async fn two_people(fixture: &Fixture) -> u64 {
    let source = fixture.api.add_remote("studio feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    run.track(track(3, 1, 2.0, 6, 9, true)).await;
    run.finish().await;
    let rename = pb::RenameIdentityRequest {
        identity_id: 1,
        name: "Zaphod".to_owned(),
        ..Default::default()
    };
    let method = "/rollcall.v1.IdentityService/RenameIdentity";
    let named: pb::Identity = fixture.api.call(method, rename).await.unwrap();
    assert_eq!(named.name, "Zaphod");
    source.id
}

async fn erase(api: &Api, what: What) -> Result<pb::Erasure, tonic::Status> {
    let request = pb::EraseRequest {
        what: Some(what),
        author: "officer".to_owned(),
        reason: "asked by letter".to_owned(),
        ..Default::default()
    };
    api.call(ERASE, request).await
}

async fn get(api: &Api, id: u64) -> Result<pb::Erasure, tonic::Status> {
    api.call(GET, pb::GetErasureRequest { id }).await
}

/// Asks until it is through.
async fn done(api: &Api, id: u64) -> pb::Erasure {
    for _ in 0..10_000 {
        let erasure = get(api, id).await.unwrap();
        if erasure.state() == pb::ErasureState::Done {
            return erasure;
        }
        tokio::task::yield_now().await;
    }
    panic!("erasure {id} is not through");
}

#[tokio::test]
async fn a_person_is_gone_from_every_answer() {
    let fixture = Fixture::start().await;
    two_people(&fixture).await;
    let api = &fixture.api;
    let erased = erase(api, What::IdentityId(1)).await.unwrap();
    let erased = done(api, erased.id).await;
    assert_eq!(erased.scope(), pb::ErasureScope::Identity);
    assert_eq!(
        (erased.identity_ids.as_slice(), erased.track_count),
        (&[1][..], 2)
    );
    assert_eq!(
        (erased.author.as_str(), erased.reason.as_str()),
        ("officer", "asked by letter")
    );
    assert!(
        erased.face_count >= 2 && erased.blob_count > erased.face_count && erased.key_count > 2
    );
    assert_eq!(erased.receipt.len(), 64);
    assert_eq!(api.search(1.0).await.verdict(), pb::Verdict::Unknown);
    assert_eq!(api.search(120.0).await.verdict(), pb::Verdict::Found);
    let sightings: pb::ListSightingsResponse = api
        .call(
            "/rollcall.v1.SightingService/ListSightings",
            pb::ListSightingsRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(sightings.sightings.len(), 1);
    let people: pb::ListIdentitiesResponse = api
        .call(
            "/rollcall.v1.IdentityService/ListIdentities",
            pb::ListIdentitiesRequest::default(),
        )
        .await
        .unwrap();
    assert!(
        people
            .identities
            .iter()
            .all(|person| person.id != 1 && person.name.is_empty()),
        "{people:?}"
    );
    let request = pb::GetIdentityRequest { identity_id: 1 };
    let person: pb::Identity = api
        .call("/rollcall.v1.IdentityService/GetIdentity", request)
        .await
        .unwrap();
    assert_eq!(
        (person.state(), person.name.as_str(), person.track_count),
        (pb::IdentityState::Erased, "", 0)
    );
    let edits: pb::ListEditsResponse = api
        .call(
            "/rollcall.v1.IdentityService/ListEdits",
            pb::ListEditsRequest::default(),
        )
        .await
        .unwrap();
    assert!(!format!("{edits:?}").contains("Zaphod"));
    let all: pb::ListErasuresResponse = api
        .call(LIST, pb::ListErasuresRequest::default())
        .await
        .unwrap();
    assert_eq!(all.erasures, std::slice::from_ref(&erased));
    // What the server says is what is found in its folder.
    fixture.server.stop().await;
    let data = config(fixture.folder.path()).data;
    let verified = once_free(async || verify_erasures(&data).map_err(|error| error.to_string()));
    let verified = verified.await.unwrap();
    assert_eq!(verified.len(), 1);
    assert!(verified[0].left.is_empty());
    assert_eq!(
        verified[0].receipt.as_deref(),
        Some(erased.receipt.as_str())
    );
}

#[tokio::test]
async fn what_cannot_be_erased_is_refused_with_a_reason() {
    let fixture = Fixture::start().await;
    let source = two_people(&fixture).await;
    let api = &fixture.api;
    let tracks = |track_ids, exemplar_ids| {
        What::Tracks(pb::EraseTracks {
            track_ids,
            exemplar_ids,
        })
    };
    let of_source = |source_id, from, to| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        What::Source(pb::EraseSource {
            source_id,
            from: at(from),
            to: at(to),
        })
    };
    for (what, expected) in [
        (What::IdentityId(99), "IDENTITY_NOT_FOUND"),
        (tracks(vec![99], vec![]), "TRACK_NOT_FOUND"),
        (tracks(vec![], vec![99]), "FACE_NOT_FOUND"),
        (tracks(vec![], vec![]), "INVALID_ARGUMENT"),
        (tracks(vec![1], vec![1]), "INVALID_ARGUMENT"),
        (tracks(vec![1; 10_001], vec![]), "INVALID_ARGUMENT"),
        (of_source(99, 0, 1), "SOURCE_NOT_FOUND"),
        (of_source(source, 0, 1), "NOTHING_TO_ERASE"),
        (of_source(source, 1, 1), "INVALID_ARGUMENT"),
    ] {
        let refused = erase(api, what.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{what:?}");
    }
    let nothing: Result<pb::Erasure, _> = api.call(ERASE, pb::EraseRequest::default()).await;
    assert_eq!(reason(&nothing.unwrap_err()), "INVALID_ARGUMENT");
    assert_eq!(reason(&get(api, 1).await.unwrap_err()), "ERASURE_NOT_FOUND");
    let stale = pb::EraseRequest {
        what: Some(What::IdentityId(1)),
        etag: "e0".to_owned(),
        ..Default::default()
    };
    let stale: Result<pb::Erasure, _> = api.call(ERASE, stale).await;
    assert_eq!(reason(&stale.unwrap_err()), "ETAG_MISMATCH");
    assert_eq!(api.search(1.0).await.verdict(), pb::Verdict::Found);
}

#[tokio::test]
async fn what_is_older_than_it_may_be_kept_goes_by_itself() {
    // What the fixture sees was seen years ago.
    let fixture = Fixture::with(|config| {
        config.retention.unknown = "30d".to_owned();
        config.retention.every_s = 1;
    })
    .await;
    let api = &fixture.api;
    let source = api.add_remote("studio feed").await;
    let mut run = api.run(source.id).await;
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    run.finish().await;
    let all = async || {
        let request = pb::ListErasuresRequest::default();
        let all: pb::ListErasuresResponse = api.call(LIST, request).await.unwrap();
        all.erasures
    };
    let through = |erasure: &pb::Erasure| {
        erasure.state() == pb::ErasureState::Done && erasure.track_count == 1
    };
    let mut looks = 0;
    while !all().await.iter().any(through) {
        looks += 1;
        assert!(looks < 100_000, "it is kept");
        tokio::task::yield_now().await;
    }
    assert_eq!(api.search(120.0).await.verdict(), pb::Verdict::Unknown);
    let erasure = all().await.pop().unwrap();
    assert_eq!(erasure.scope(), pb::ErasureScope::Retention);
    assert_eq!(
        (erasure.author.as_str(), erasure.identity_ids.len()),
        ("system", 1)
    );
}
