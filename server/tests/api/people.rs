//! From observations to answers: search, identities, sightings, pictures.

use crate::support::{Fixture, embedding, photo, reason, track};
use rollcall_server::pb;

const SEARCH_IMAGE: &str = "/rollcall.v1.SearchService/SearchImage";
const LIST: &str = "/rollcall.v1.IdentityService/ListIdentities";
const SIGHTINGS: &str = "/rollcall.v1.SightingService/ListSightings";
const THUMBNAIL: &str = "/rollcall.v1.SightingService/GetThumbnail";
const RENAME: &str = "/rollcall.v1.IdentityService/RenameIdentity";

/// Two people: hue 0 seen twice, hue 120 once.
async fn two_people() -> (Fixture, u64) {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("studio feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    run.track(track(3, 1, 2.0, 6, 9, true)).await;
    run.finish().await;
    (fixture, source.id)
}

#[tokio::test]
async fn who_is_this_and_where_was_this_person_seen() {
    let (fixture, source) = two_people().await;
    let found = fixture.api.search(1.0).await;
    assert_eq!(found.verdict(), pb::Verdict::Found);
    assert_eq!(found.hits.len(), 1);
    let hit = &found.hits[0];
    let identity = hit.identity.as_ref().unwrap();
    assert_eq!(identity.track_count, 2);
    assert!(hit.cosine > 0.95 && hit.margin > 0.5, "{hit:?}");
    let intervals: Vec<_> = hit
        .sightings
        .iter()
        .map(|s| (s.source_id, s.start, s.end))
        .collect();
    let at = crate::support::seconds;
    assert_eq!(
        intervals,
        [(source, at(6), at(9)), (source, at(0), at(2))],
        "newest first"
    );
    assert!(found.sequence > 0 && found.timings.is_some());
    let stranger = fixture.api.search(240.0).await;
    assert_eq!(
        (stranger.verdict(), stranger.hits.len()),
        (pb::Verdict::Unknown, 0)
    );
}

#[tokio::test]
async fn searches_can_be_narrowed() {
    let (fixture, source) = two_people().await;
    let other = fixture.api.add_remote("another feed").await;
    let search = async |options: pb::SearchOptions| {
        let request = pb::SearchEmbeddingRequest {
            embedding: embedding(0.0).as_slice().to_vec(),
            options: Some(options),
            ..Default::default()
        };
        let method = "/rollcall.v1.SearchService/SearchEmbedding";
        fixture
            .api
            .call::<_, pb::SearchResponse>(method, request)
            .await
            .unwrap()
    };
    let on = |source| pb::SearchOptions {
        source_ids: vec![source],
        ..Default::default()
    };
    assert_eq!(search(on(source)).await.hits[0].sightings.len(), 2);
    assert_eq!(search(on(other.id)).await.verdict(), pb::Verdict::Unknown);
    let from = prost_types::Timestamp {
        seconds: 1_700_000_006,
        nanos: 0,
    };
    let late = pb::SearchOptions {
        seen_after: Some(from),
        ..Default::default()
    };
    assert_eq!(search(late).await.hits[0].sightings.len(), 1);
    // Candidates below the threshold are shown when asked for, but nobody else is found.
    let all = pb::SearchOptions {
        min_cosine: Some(-1.0),
        ..Default::default()
    };
    let found = search(all).await;
    assert_eq!((found.verdict(), found.hits.len()), (pb::Verdict::Found, 2));
}

#[tokio::test]
async fn photos_are_searched_by_their_largest_usable_face() {
    let (fixture, _) = two_people().await;
    let search = async |image: Vec<u8>, face_index: Option<u32>| {
        let request = pb::SearchImageRequest {
            image,
            face_index,
            options: None,
        };
        fixture
            .api
            .call::<_, pb::SearchResponse>(SEARCH_IMAGE, request)
            .await
    };
    let found = search(photo(&[240.0, 120.0]), None).await.unwrap();
    assert_eq!(found.faces.len(), 2);
    assert_eq!(
        found.verdict(),
        pb::Verdict::Found,
        "the larger one is known"
    );
    let used = found.faces[found.used_face_index as usize].r#box.unwrap();
    assert!(used.x > 0.2, "{used:?}");
    let timings = found.timings.unwrap();
    assert!(timings.decode.is_some() && timings.embed.is_some() && timings.total.is_some());
    let smaller = 1 - found.used_face_index;
    let other = search(photo(&[240.0, 120.0]), Some(smaller)).await.unwrap();
    assert_eq!(other.verdict(), pb::Verdict::Unknown);
    assert_eq!(other.used_face_index, smaller);
    for (image, index, expected) in [
        (photo(&[]), None, "NO_FACE_FOUND"),
        (photo(&[0.0]), Some(1), "FACE_INDEX_OUT_OF_RANGE"),
        (Vec::new(), None, "IMAGE_UNREADABLE"),
        (b"not a picture".to_vec(), None, "IMAGE_UNREADABLE"),
        (vec![0; 17 << 20], None, "IMAGE_TOO_LARGE"),
    ] {
        let status = search(image, index).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{status:?}");
    }
}

#[tokio::test]
async fn identities_are_listed_in_pages_and_renamed() {
    let (fixture, _) = two_people().await;
    let list = async |page_size, page_token: &str, named_only| {
        let request = pb::ListIdentitiesRequest {
            page_size,
            page_token: page_token.to_owned(),
            named_only,
            ..Default::default()
        };
        fixture
            .api
            .call::<_, pb::ListIdentitiesResponse>(LIST, request)
            .await
    };
    let first = list(1, "", false).await.unwrap();
    assert_eq!((first.identities.len(), first.total_count), (1, 2));
    let second = list(1, &first.next_page_token, false).await.unwrap();
    assert_eq!(second.identities.len(), 1);
    assert!(second.next_page_token.is_empty());
    assert!(second.identities[0].id > first.identities[0].id);
    let status = list(1, &first.next_page_token, true).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_PAGE_TOKEN");
    assert_eq!(
        reason(&list(-1, "", false).await.unwrap_err()),
        "INVALID_PAGE_SIZE"
    );

    let id = first.identities[0].id;
    let etag = first.identities[0].etag.clone();
    let rename = async |name: &str, etag: &str| {
        let request = pb::RenameIdentityRequest {
            identity_id: id,
            name: name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        };
        fixture.api.call::<_, pb::Identity>(RENAME, request).await
    };
    let renamed = rename("Ada", &etag).await.unwrap();
    assert_eq!(renamed.name, "Ada");
    assert_ne!(renamed.etag, etag);
    let status = rename("Eve", &etag).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (tonic::Code::Aborted, "ETAG_MISMATCH")
    );
    assert_eq!(
        reason(&rename("a\nb", "").await.unwrap_err()),
        "INVALID_NAME"
    );
    let named = list(0, "", true).await.unwrap();
    assert_eq!(
        named.identities.iter().map(|i| i.id).collect::<Vec<_>>(),
        [id]
    );
}

#[tokio::test]
async fn sightings_and_their_pictures() {
    let (fixture, source) = two_people().await;
    let list = async |identity_id, page_token: &str| {
        let request = pb::ListSightingsRequest {
            identity_id,
            source_id: source,
            page_size: 2,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        fixture
            .api
            .call::<_, pb::ListSightingsResponse>(SIGHTINGS, request)
            .await
    };
    let first = list(0, "").await.unwrap();
    let rest = list(0, &first.next_page_token).await.unwrap();
    assert!(rest.next_page_token.is_empty());
    let all: Vec<_> = first.sightings.iter().chain(&rest.sightings).collect();
    let starts: Vec<_> = all.iter().map(|s| s.start.unwrap().seconds).collect();
    assert_eq!(starts, [0, 3, 6]);
    assert_eq!(
        reason(&list(99, "").await.unwrap_err()),
        "IDENTITY_NOT_FOUND"
    );

    let thumbnail = async |of, aligned| {
        let request = pb::GetThumbnailRequest {
            of: Some(of),
            aligned,
        };
        fixture
            .api
            .call::<_, pb::Thumbnail>(THUMBNAIL, request)
            .await
    };
    use pb::get_thumbnail_request::Of;
    let track = Of::TrackId(all[1].track_id);
    assert_eq!(thumbnail(track, false).await.unwrap().jpeg, b"loose 2");
    assert_eq!(thumbnail(track, true).await.unwrap().jpeg, b"aligned 2");
    let identity = Of::IdentityId(all[1].identity_id);
    assert_eq!(thumbnail(identity, false).await.unwrap().jpeg, b"loose 2");
    let status = thumbnail(Of::ExemplarId(999), false).await.unwrap_err();
    assert_eq!(reason(&status), "THUMBNAIL_NOT_FOUND");
}

#[tokio::test]
async fn status_tells_what_there_is() {
    let (fixture, _) = two_people().await;
    let method = "/rollcall.v1.AdminService/GetStatus";
    let status: pb::Status = fixture
        .api
        .call(method, pb::GetStatusRequest {})
        .await
        .unwrap();
    assert_eq!(
        (status.identities, status.tracks, status.exemplars),
        (2, 3, 3)
    );
    assert_eq!((status.sources, status.sources_running), (1, 0));
    assert_eq!(status.write_state, "ok");
    assert_eq!(status.visible_sequence, status.durable_sequence);
    assert!(status.log_bytes > 0 && status.blob_bytes > 0);
}

#[tokio::test]
async fn a_stranger_whom_several_sources_open_at_once_is_one_identity() {
    let fixture = Fixture::start().await;
    let seen = (0..8).map(|number| {
        let api = fixture.api.clone();
        async move {
            let source = api.add_remote(&format!("feed {number}")).await;
            let mut run = api.run(source.id).await;
            run.track(track(1, 1, 40.0, 0, 2, true)).await;
            run.finish().await;
        }
    });
    let seen: Vec<_> = seen.map(tokio::spawn).collect();
    for run in seen {
        run.await.unwrap();
    }
    let found = fixture.api.search(40.0).await;
    assert_eq!(found.hits.len(), 1);
    let identity = found.hits[0].identity.as_ref().unwrap();
    assert_eq!((identity.id, identity.track_count), (1, 8));
}
