//! Enrolling people from photos, through the API.

use crate::edits::{EDITS, GET, UNDO, undo};
use crate::support::{Fixture, next_event, photo, reason, track};
use rollcall_ingest::fake::{paint_blurred_face, paint_face};
use rollcall_ingest::{Picture, Rect};
use rollcall_server::pb::{self, PhotoOutcome, watch_event::Event};
use tonic::Status;

const ENROL: &str = "/rollcall.v1.IdentityService/EnrolPerson";
const SEARCH: &str = "/rollcall.v1.SearchService/SearchImage";
const THUMBNAIL: &str = "/rollcall.v1.SightingService/GetThumbnail";
const SIGHTINGS: &str = "/rollcall.v1.SightingService/ListSightings";

fn person(name: &str, images: &[&[u8]]) -> pb::EnrolPersonRequest {
    let photos = images
        .iter()
        .enumerate()
        .map(|(number, image)| pb::EnrolPhoto {
            image: image.to_vec(),
            label: format!("{number}.jpg"),
            face_index: None,
        });
    pb::EnrolPersonRequest {
        name: name.to_owned(),
        photos: photos.collect(),
        author: "ada".to_owned(),
        ..Default::default()
    }
}

fn into(identity_id: u64, images: &[&[u8]]) -> pb::EnrolPersonRequest {
    pb::EnrolPersonRequest {
        identity_id,
        ..person("", images)
    }
}

fn outcomes(answer: &pb::EnrolPersonResponse) -> Vec<PhotoOutcome> {
    answer.photos.iter().map(pb::PhotoResult::outcome).collect()
}

fn blurred() -> Vec<u8> {
    let mut picture = Picture::filled(480, 240, [128; 3]).unwrap();
    paint_blurred_face(&mut picture, Rect::new(20.0, 40.0, 120.0, 120.0), 100.0);
    rollcall_ingest::crop::to_jpeg(picture.view(), 95)
}

/// A photo of that person, not the same one as `photo` makes.
fn another(hue: f32) -> Vec<u8> {
    let mut picture = Picture::filled(480, 240, [120; 3]).unwrap();
    paint_face(&mut picture, Rect::new(100.0, 60.0, 110.0, 110.0), hue);
    rollcall_ingest::crop::to_jpeg(picture.view(), 95)
}

impl Fixture {
    async fn enrol(
        &self,
        request: pb::EnrolPersonRequest,
    ) -> Result<pb::EnrolPersonResponse, Status> {
        self.api.call(ENROL, request).await
    }

    async fn enrolled(&self, request: pb::EnrolPersonRequest) -> u64 {
        let answer = self.enrol(request).await.unwrap();
        assert!(answer.edit.is_some(), "{answer:?}");
        answer.identity.unwrap().id
    }

    async fn person(&self, identity_id: u64) -> pb::Identity {
        let request = pb::GetIdentityRequest { identity_id };
        self.api.call(GET, request).await.unwrap()
    }

    async fn nobody_is_known(&self) {
        let request = pb::ListIdentitiesRequest::default();
        let method = "/rollcall.v1.IdentityService/ListIdentities";
        let all: pb::ListIdentitiesResponse = self.api.call(method, request).await.unwrap();
        assert_eq!(all.total_count, 0);
    }
}

#[tokio::test]
async fn whoever_is_enrolled_is_found_and_joined() {
    let f = Fixture::start().await;
    let mut events = f.api.watch(pb::WatchRequest::default()).await.unwrap();
    let (one, other) = (photo(&[100.0]), another(100.0));
    let answer = f.enrol(person("Ada", &[&one, &other])).await.unwrap();
    assert_eq!(outcomes(&answer), [PhotoOutcome::Enrolled; 2]);
    let labels: Vec<&str> = answer.photos.iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, ["0.jpg", "1.jpg"]);
    assert!(
        answer
            .photos
            .iter()
            .all(|it| !it.unlike && it.identity_id == 0)
    );
    let ada = answer.identity.unwrap();
    assert_eq!(
        (&*ada.name, ada.photo_count, ada.track_count),
        ("Ada", 2, 0)
    );
    let edit = answer.edit.unwrap();
    assert_eq!((edit.kind(), &*edit.author), (pb::EditKind::Enrol, "ada"));
    let tracks = edit.photos[0].enrolled_track_ids.clone();
    assert_eq!((edit.photos[0].identity_id, tracks.len()), (ada.id, 2));
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(next_event(&mut events).await.event.unwrap());
    }
    assert!(matches!(told[0], Event::IdentityCreated(_)), "{told:?}");
    assert!(matches!(told[1], Event::IdentityChanged(_)), "{told:?}");
    let Event::PhotosChanged(photos) = &told[2] else {
        panic!("{told:?}")
    };
    assert_eq!(photos.enrolled_track_ids, tracks);

    // Found, with a picture to show; but never seen.
    let request = pb::SearchImageRequest {
        image: one.clone(),
        ..Default::default()
    };
    let found: pb::SearchResponse = f.api.call(SEARCH, request.clone()).await.unwrap();
    assert_eq!(found.verdict(), pb::Verdict::Found);
    let hit = &found.hits[0];
    assert_eq!(hit.identity.as_ref().map(|it| it.id), Some(ada.id));
    assert!(hit.sightings.is_empty());
    let request = pb::SearchImageRequest {
        options: Some(pb::SearchOptions {
            seen_before: Some(prost_types::Timestamp {
                seconds: 4_000_000_000,
                nanos: 0,
            }),
            ..Default::default()
        }),
        ..request
    };
    let then: pb::SearchResponse = f.api.call(SEARCH, request).await.unwrap();
    assert!(then.hits.is_empty(), "{then:?}");
    let request = pb::GetThumbnailRequest {
        of: Some(pb::get_thumbnail_request::Of::IdentityId(ada.id)),
        ..Default::default()
    };
    let picture: pb::Thumbnail = f.api.call(THUMBNAIL, request).await.unwrap();
    assert!(!picture.jpeg.is_empty());
    let request = pb::ListSightingsRequest::default();
    let seen: pb::ListSightingsResponse = f.api.call(SIGHTINGS, request).await.unwrap();
    assert!(seen.sightings.is_empty());

    let source = f.api.add_remote("door").await;
    let mut run = f.api.run(source.id).await;
    run.track(track(1, 1, 100.0, 1, 4, true)).await;
    run.finish().await;
    let ada = f.person(ada.id).await;
    assert_eq!((ada.track_count, ada.photo_count), (1, 2));
    f.server.stop().await;
}

#[tokio::test]
async fn a_photo_that_cannot_be_used_keeps_the_others_from_being_recorded() {
    let f = Fixture::start().await;
    let (good, two, none) = (photo(&[100.0]), photo(&[100.0, 280.0]), photo(&[]));
    let blurred = blurred();
    let images: [&[u8]; 6] = [&good, &two, &none, &blurred, b"no picture", b""];
    let answer = f.enrol(person("Ada", &images)).await.unwrap();
    let expected = [
        PhotoOutcome::Enrolled,
        PhotoOutcome::SeveralFaces,
        PhotoOutcome::NoFaceFound,
        PhotoOutcome::FaceRejected,
        PhotoOutcome::ImageUnreadable,
        PhotoOutcome::ImageUnreadable,
    ];
    assert_eq!(outcomes(&answer), expected);
    assert!(answer.edit.is_none() && answer.identity.is_none());
    assert_eq!(answer.photos[1].face_count, 2);
    assert_eq!(answer.photos[3].rejections, ["BLURRED"]);
    f.nobody_is_known().await;

    // Only looked at.
    let looked = f
        .enrol(pb::EnrolPersonRequest {
            validate_only: true,
            ..person("Ada", &[&good])
        })
        .await
        .unwrap();
    assert_eq!(outcomes(&looked), [PhotoOutcome::Enrolled]);
    assert!(looked.edit.is_none());
    f.nobody_is_known().await;

    // The second face of the group is another person's, and said to be.
    let mut request = person("Ada", &images);
    request.skip_unusable = true;
    let ada = f.enrolled(request).await;
    assert_eq!(f.person(ada).await.photo_count, 1);
    let mut told = Vec::new();
    for (name, face) in [("Bob", 0), ("Zoe", 1)] {
        let mut request = person(name, &[&two]);
        request.photos[0].face_index = Some(face);
        let answer = f.enrol(request).await.unwrap();
        let id = answer.identity.unwrap().id;
        let alike: Vec<u64> = answer
            .resembles
            .iter()
            .filter_map(|it| it.identity.as_ref().map(|it| it.id))
            .collect();
        told.push(alike);
        assert_ne!(id, ada);
    }
    // One of the two faces is Ada's: that is told, and nobody is merged.
    told.sort();
    assert_eq!(told, [vec![], vec![ada]]);
    let mut request = person("Eve", &[&two]);
    request.photos[0].face_index = Some(2);
    let answer = f.enrol(request).await.unwrap();
    assert_eq!(outcomes(&answer), [PhotoOutcome::FaceIndexOutOfRange]);
    f.server.stop().await;
}

#[tokio::test]
async fn the_same_photo_again_is_known_and_nobody_elses() {
    let f = Fixture::start().await;
    let (one, more, other) = (photo(&[100.0]), another(100.0), photo(&[200.0]));
    let mut request = person("Ada", &[&one, &one]);
    request.request_id = "123e4567-e89b-42d3-a456-426614174000".to_owned();
    let first = f.enrol(request.clone()).await.unwrap();
    let twice = [PhotoOutcome::Enrolled, PhotoOutcome::AlreadyEnrolled];
    assert_eq!(outcomes(&first), twice);
    let ada = first.identity.clone().unwrap().id;
    // Sent again, it gives the answer of the first time; asked again, there is nothing left to do.
    let again = f.enrol(request.clone()).await.unwrap();
    assert_eq!(again.edit, first.edit);
    assert_eq!(outcomes(&again), twice);
    request.request_id.clear();
    for validate_only in [false, true] {
        let request = pb::EnrolPersonRequest {
            validate_only,
            ..request.clone()
        };
        let known = f.enrol(request).await.unwrap();
        assert!(known.edit.is_none());
        assert_eq!(outcomes(&known), [PhotoOutcome::AlreadyEnrolled; 2]);
        assert_eq!(known.identity.unwrap().id, ada);
    }
    // A new photo under a name that is taken is refused, looked at or not; by id it is added.
    for validate_only in [false, true] {
        let request = pb::EnrolPersonRequest {
            validate_only,
            ..person("ada", &[&one, &more])
        };
        let refused = f.enrol(request).await.unwrap_err();
        assert_eq!(reason(&refused), "NAME_TAKEN");
    }
    let added = f.enrol(into(ada, &[&one, &more])).await.unwrap();
    let expected = [PhotoOutcome::AlreadyEnrolled, PhotoOutcome::Enrolled];
    assert_eq!(outcomes(&added), expected);
    assert_eq!(f.person(ada).await.photo_count, 2);

    let bob = f.enrolled(person("Bob", &[&other])).await;
    let answer = f.enrol(into(bob, &[&one])).await.unwrap();
    assert_eq!(outcomes(&answer), [PhotoOutcome::EnrolledElsewhere]);
    assert_eq!((answer.photos[0].identity_id, answer.edit), (ada, None));
    // Photos of two people are told to be unlike.
    let answer = f
        .enrol(person("Both", &[&photo(&[20.0]), &photo(&[300.0])]))
        .await;
    assert!(answer.unwrap().photos.iter().all(|photo| photo.unlike));
    f.server.stop().await;
}

#[tokio::test]
async fn an_enrolment_is_undone_and_redone() {
    let f = Fixture::start().await;
    let one = photo(&[100.0]);
    let answer = f.enrol(person("Ada", &[&one])).await.unwrap();
    let (ada, edit) = (answer.identity.unwrap().id, answer.edit.unwrap().sequence);
    let undone = f.edit(UNDO, undo(edit)).await.unwrap();
    let undone = undone.edit.unwrap();
    assert_eq!(undone.photos[0].withdrawn_track_ids.len(), 1);
    f.nobody_is_known().await;
    assert!(f.api.search(100.0).await.hits.is_empty());
    f.edit(UNDO, undo(undone.sequence)).await.unwrap();
    let back = f.person(ada).await;
    assert_eq!((&*back.name, back.photo_count), ("Ada", 1));
    assert_eq!(f.api.search(100.0).await.hits.len(), 1);
    let request = pb::ListEditsRequest {
        identity_id: ada,
        ..Default::default()
    };
    let edits: pb::ListEditsResponse = f.api.call(EDITS, request).await.unwrap();
    assert_eq!(edits.edits.len(), 3);
    f.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let f = Fixture::start().await;
    let one = photo(&[100.0]);
    let mut many = person("Ada", &[&one]);
    many.photos = vec![many.photos[0].clone(); 101];
    let both = pb::EnrolPersonRequest {
        name: "Ada".to_owned(),
        ..into(1, &[&one])
    };
    let etag = pb::EnrolPersonRequest {
        etag: "e1".to_owned(),
        ..person("Ada", &[&one])
    };
    let wrong = [person("Ada", &[]), person("", &[&one]), many, both, etag];
    for request in wrong {
        let refused = f.enrol(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    }
    let refused = f.enrol(into(9, &[&one])).await.unwrap_err();
    assert_eq!(reason(&refused), "IDENTITY_NOT_FOUND");
    let ada = f.enrolled(person("Ada", &[&one])).await;
    for validate_only in [false, true] {
        let stale = pb::EnrolPersonRequest {
            etag: "e1".to_owned(),
            validate_only,
            ..into(ada, &[&another(100.0)])
        };
        let refused = f.enrol(stale).await.unwrap_err();
        assert_eq!(reason(&refused), "ETAG_MISMATCH");
    }
    f.server.stop().await;
}
