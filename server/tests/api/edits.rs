//! Edits through the API: what they answer, what they are refused for, what watchers hear.

use crate::support::{Fixture, embedding, next_event, reason, track};
use prost::Message;
use rollcall_server::pb::{self, watch_event::Event};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) const GET: &str = "/rollcall.v1.IdentityService/GetIdentity";
const LIST: &str = "/rollcall.v1.IdentityService/ListIdentities";
const RENAME: &str = "/rollcall.v1.IdentityService/RenameIdentity";
pub(crate) const CREATE: &str = "/rollcall.v1.IdentityService/CreateIdentity";
pub(crate) const UPDATE: &str = "/rollcall.v1.IdentityService/UpdateIdentity";
pub(crate) const MERGE: &str = "/rollcall.v1.IdentityService/MergeIdentities";
pub(crate) const UNDO: &str = "/rollcall.v1.IdentityService/UndoEdit";
pub(crate) const EDITS: &str = "/rollcall.v1.IdentityService/ListEdits";

/// Two people, 1 and 2, of hues 0 and 120.
pub(crate) async fn two_people() -> Fixture {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("studio feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    run.track(track(3, 1, 2.0, 6, 9, true)).await;
    run.finish().await;
    fixture
}

impl Fixture {
    pub(crate) async fn edit<Q: Message + 'static>(
        &self,
        method: &'static str,
        request: Q,
    ) -> Result<pb::EditResponse, Status> {
        self.api.call(method, request).await
    }

    /// Makes an edit and returns its sequence.
    pub(crate) async fn made<Q: Message + 'static>(&self, method: &'static str, request: Q) -> u64 {
        let answer = self.edit(method, request).await.unwrap();
        answer.edit.unwrap().sequence
    }

    /// The edit is refused, with this code and reason.
    pub(crate) async fn refused<Q: Message + 'static>(
        &self,
        method: &'static str,
        request: Q,
        code: Code,
        expected: &str,
    ) -> Status {
        let status = self.edit(method, request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
        status
    }

    pub(crate) async fn identity(&self, identity_id: u64) -> pb::Identity {
        let request = pb::GetIdentityRequest { identity_id };
        self.api.call(GET, request).await.unwrap()
    }

    pub(crate) async fn edits(&self, request: pb::ListEditsRequest) -> pb::ListEditsResponse {
        self.api.call(EDITS, request).await.unwrap()
    }
}

pub(crate) fn create(name: &str) -> pb::CreateIdentityRequest {
    pb::CreateIdentityRequest {
        name: name.to_owned(),
        author: "ada".to_owned(),
        reason: "on the list".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn rename(identity_id: u64, name: &str) -> pb::UpdateIdentityRequest {
    pb::UpdateIdentityRequest {
        identity_id,
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn hide(identity_id: u64, hidden: bool) -> pb::UpdateIdentityRequest {
    pb::UpdateIdentityRequest {
        identity_id,
        hidden: Some(hidden),
        ..Default::default()
    }
}

pub(crate) fn merge(from_identity_id: u64, into_identity_id: u64) -> pb::MergeIdentitiesRequest {
    pb::MergeIdentitiesRequest {
        from_identity_id,
        into_identity_id,
        ..Default::default()
    }
}

pub(crate) fn undo(sequence: u64) -> pb::UndoEditRequest {
    pb::UndoEditRequest {
        sequence,
        ..Default::default()
    }
}

#[tokio::test]
async fn what_is_said_of_somebody_is_kept_with_who_said_it_and_why() {
    let fixture = two_people().await;
    let request = pb::CreateIdentityRequest {
        external_id: "hr-17".to_owned(),
        confirmed: true,
        metadata: [("team".to_owned(), "red".to_owned())].into(),
        ..create("Ada Lovelace")
    };
    let answer = fixture.edit(CREATE, request).await.unwrap();
    let edit = answer.edit.clone().unwrap();
    assert_eq!(
        (edit.author.as_str(), edit.reason.as_str(), edit.kind()),
        ("ada", "on the list", pb::EditKind::Create)
    );
    assert!(edit.time.is_some() && edit.profiles[0].created);
    let [ada] = &answer.identities[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (ada.id, ada.name.as_str(), ada.external_id.as_str()),
        (3, "Ada Lovelace", "hr-17")
    );
    assert!(ada.confirmed && ada.metadata["team"] == "red");
    assert_eq!(ada, &fixture.identity(3).await);

    // What is absent stays, and what is empty goes.
    let request = pb::UpdateIdentityRequest {
        identity_id: 3,
        external_id: Some(String::new()),
        confirmed: Some(false),
        set_metadata: [("floor".to_owned(), "2".to_owned())].into(),
        remove_metadata: vec!["team".to_owned()],
        ..Default::default()
    };
    let answer = fixture.edit(UPDATE, request).await.unwrap();
    let ada = &answer.identities[0];
    assert_eq!(
        (ada.name.as_str(), ada.external_id.as_str()),
        ("Ada Lovelace", "")
    );
    assert!(!ada.confirmed && ada.metadata.len() == 1 && ada.metadata["floor"] == "2");
}

#[tokio::test]
async fn a_merge_moves_all_tracks_and_its_undo_brings_them_back() {
    let fixture = two_people().await;
    fixture.made(UPDATE, rename(1, "Ada")).await;
    let before = (fixture.identity(1).await, fixture.identity(2).await);
    let request = pb::MergeIdentitiesRequest {
        from_etag: before.0.etag.clone(),
        into_etag: before.1.etag.clone(),
        ..merge(1, 2)
    };
    let answer = fixture.edit(MERGE, request).await.unwrap();
    let edit = answer.edit.unwrap();
    assert_eq!((edit.moves[0].track_count, answer.identities.len()), (2, 1));
    let both = fixture.identity(1).await;
    assert_eq!((both.id, both.track_count), (2, 3));
    assert_eq!(both.name, "Ada", "it had none of its own");
    let found = fixture.api.search(0.0).await;
    assert_eq!(found.hits[0].identity.as_ref().unwrap().id, 2);

    fixture.made(UNDO, undo(edit.sequence)).await;
    let after = (fixture.identity(1).await, fixture.identity(2).await);
    let but_etag = |identity: &pb::Identity| pb::Identity {
        etag: String::new(),
        ..identity.clone()
    };
    assert_eq!(but_etag(&after.0), but_etag(&before.0));
    assert_eq!(but_etag(&after.1), but_etag(&before.1));
    let found = fixture.api.search(0.0).await;
    assert_eq!(found.hits[0].identity.as_ref().unwrap().id, 1);
}

#[tokio::test]
async fn hidden_people_are_found_by_those_who_ask_for_them() {
    let fixture = two_people().await;
    let list = async |include_hidden| {
        let request = pb::ListIdentitiesRequest {
            include_hidden,
            ..Default::default()
        };
        let listed: pb::ListIdentitiesResponse = fixture.api.call(LIST, request).await.unwrap();
        let ids = listed.identities.iter().map(|identity| identity.id);
        ids.collect::<Vec<_>>()
    };
    let search = async |include_hidden| {
        let request = pb::SearchEmbeddingRequest {
            embedding: embedding(0.0).as_slice().to_vec(),
            options: Some(pb::SearchOptions {
                include_hidden,
                ..Default::default()
            }),
            ..Default::default()
        };
        let method = "/rollcall.v1.SearchService/SearchEmbedding";
        let found: pb::SearchResponse = fixture.api.call(method, request).await.unwrap();
        found.verdict()
    };
    let hidden = fixture.made(UPDATE, hide(1, true)).await;
    let state = fixture.identity(1).await.state();
    assert_eq!(state, pb::IdentityState::Hidden);
    assert_eq!((list(false).await, list(true).await), (vec![2], vec![1, 2]));
    let verdicts = (search(false).await, search(true).await);
    assert_eq!(verdicts, (pb::Verdict::Unknown, pb::Verdict::Found));
    fixture.made(UNDO, undo(hidden)).await;
    assert_eq!(list(false).await, [1, 2]);
    assert_eq!(search(false).await, pb::Verdict::Found);
}

#[tokio::test]
async fn history_is_told_in_pages_newest_first() {
    let fixture = two_people().await;
    let named = fixture.made(UPDATE, rename(1, "Ada")).await;
    let created = fixture.made(CREATE, create("Eve")).await;
    let merged = fixture.made(MERGE, merge(1, 3)).await;
    let undone = fixture.made(UNDO, undo(merged)).await;
    let of = async |identity_id, page_size, page_token: &str| {
        let request = pb::ListEditsRequest {
            identity_id,
            page_size,
            page_token: page_token.to_owned(),
        };
        let page = fixture.edits(request).await;
        let sequences: Vec<u64> = page.edits.iter().map(|edit| edit.sequence).collect();
        (sequences, page)
    };
    assert_eq!(of(1, 0, "").await.0, [undone, merged, named]);
    assert_eq!(of(3, 0, "").await.0, [undone, merged, created]);
    assert_eq!(of(2, 0, "").await.0, [0; 0]);
    let (first, page) = of(0, 3, "").await;
    let (rest, last) = of(0, 3, &page.next_page_token).await;
    assert_eq!([first, rest].concat(), [undone, merged, created, named]);
    assert!(last.next_page_token.is_empty());
    assert_eq!(
        (page.edits[0].undoes, page.edits[1].undone_by),
        (merged, undone)
    );
    for (id, token, expected) in [
        (99, "", "IDENTITY_NOT_FOUND"),
        (1, &*page.next_page_token, "INVALID_PAGE_TOKEN"),
    ] {
        let request = pb::ListEditsRequest {
            identity_id: id,
            page_token: token.to_owned(),
            ..Default::default()
        };
        let refused = fixture.api.call::<_, pb::ListEditsResponse>(EDITS, request);
        assert_eq!(reason(&refused.await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn bad_edits_are_refused_with_a_reason_and_change_nothing() {
    let fixture = two_people().await;
    let named = fixture.made(UPDATE, rename(1, "Ada")).await;
    let given = pb::UpdateIdentityRequest {
        external_id: Some("7".to_owned()),
        ..rename(2, "Bob")
    };
    fixture.made(UPDATE, given).await;
    let merged = fixture.made(MERGE, merge(1, 2)).await;
    let status = fixture
        .refused(
            MERGE,
            merge(1, 2),
            Code::InvalidArgument,
            "MERGE_WITH_ITSELF",
        )
        .await;
    assert!(status.message().contains("the same one: 2"), "{status}");
    fixture
        .refused(
            MERGE,
            merge(2, 2),
            Code::InvalidArgument,
            "MERGE_WITH_ITSELF",
        )
        .await;
    for request in [merge(1, 9), merge(9, 1)] {
        fixture
            .refused(MERGE, request, Code::NotFound, "IDENTITY_NOT_FOUND")
            .await;
    }
    let status = fixture
        .refused(CREATE, create(" bOB "), Code::AlreadyExists, "NAME_TAKEN")
        .await;
    let details = status.get_details_error_info().unwrap();
    assert_eq!(details.metadata["identity_id"], "2");
    let known = pb::CreateIdentityRequest {
        external_id: "7".to_owned(),
        ..create("Eve")
    };
    fixture
        .refused(CREATE, known, Code::AlreadyExists, "EXTERNAL_ID_TAKEN")
        .await;
    let further = fixture.made(UPDATE, rename(2, "Bea")).await;
    fixture.made(UNDO, undo(merged)).await;
    let status = fixture
        .refused(
            UNDO,
            undo(merged),
            Code::FailedPrecondition,
            "ALREADY_UNDONE",
        )
        .await;
    let details = status.get_details_error_info().unwrap();
    assert_eq!(details.metadata["undone_by"], (further + 1).to_string());
    let again = fixture.made(UPDATE, rename(1, "Augusta")).await;
    let status = fixture
        .refused(UNDO, undo(named), Code::FailedPrecondition, "BUILT_UPON")
        .await;
    let details = status.get_details_error_info().unwrap();
    assert_eq!(details.metadata["edits"], again.to_string());
    fixture
        .refused(UNDO, undo(1), Code::NotFound, "EDIT_NOT_FOUND")
        .await;

    let long = "x".repeat(201);
    let metadata = |key: &str, value: String| [(key.to_owned(), value)].into();
    let bad = [
        pb::UpdateIdentityRequest {
            identity_id: 1,
            ..Default::default()
        },
        pb::UpdateIdentityRequest {
            external_id: Some(long.clone()),
            ..hide(1, true)
        },
        pb::UpdateIdentityRequest {
            reason: "two\nlines".to_owned(),
            ..hide(1, true)
        },
        pb::UpdateIdentityRequest {
            reason: "x".repeat(501),
            ..hide(1, true)
        },
        pb::UpdateIdentityRequest {
            request_id: "1".to_owned(),
            ..hide(1, true)
        },
        pb::UpdateIdentityRequest {
            set_metadata: metadata("", "x".to_owned()),
            ..hide(1, true)
        },
        pb::UpdateIdentityRequest {
            set_metadata: metadata("key", "x".repeat(2001)),
            ..hide(1, true)
        },
    ];
    for request in bad {
        fixture
            .refused(UPDATE, request, Code::InvalidArgument, "INVALID_ARGUMENT")
            .await;
    }
    fixture
        .refused(
            UPDATE,
            rename(1, &long),
            Code::InvalidArgument,
            "INVALID_NAME",
        )
        .await;
    fixture
        .refused(
            CREATE,
            create(""),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        )
        .await;
    let many = |range: std::ops::Range<u32>| pb::UpdateIdentityRequest {
        set_metadata: range.map(|n| (n.to_string(), String::new())).collect(),
        ..hide(1, false)
    };
    fixture.made(UPDATE, many(0..64)).await;
    let last = fixture.edits(pb::ListEditsRequest::default()).await.edits;
    fixture
        .refused(
            UPDATE,
            many(64..65),
            Code::InvalidArgument,
            "EDIT_TOO_LARGE",
        )
        .await;
    let now = fixture.edits(pb::ListEditsRequest::default()).await.edits;
    assert_eq!(now, last, "nothing that was refused is in the history");
}

#[tokio::test]
async fn every_edit_is_guarded_by_etags_and_request_ids() {
    let fixture = two_people().await;
    let stale = fixture.identity(1).await.etag;
    fixture.made(UPDATE, rename(1, "Ada")).await;
    let guarded = pb::UpdateIdentityRequest {
        etag: stale.clone(),
        ..hide(1, true)
    };
    fixture
        .refused(UPDATE, guarded, Code::Aborted, "ETAG_MISMATCH")
        .await;
    let from = pb::MergeIdentitiesRequest {
        from_etag: stale.clone(),
        ..merge(1, 2)
    };
    let into = pb::MergeIdentitiesRequest {
        into_etag: stale,
        ..merge(2, 1)
    };
    for request in [from, into] {
        fixture
            .refused(MERGE, request, Code::Aborted, "ETAG_MISMATCH")
            .await;
    }

    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let count = async || {
        let all = fixture.edits(pb::ListEditsRequest::default()).await;
        all.edits.len()
    };
    let before = count().await;
    let creation = pb::CreateIdentityRequest {
        request_id: id(1),
        ..create("Eve")
    };
    let update = pb::UpdateIdentityRequest {
        request_id: id(2),
        ..hide(2, true)
    };
    let merging = pb::MergeIdentitiesRequest {
        request_id: id(3),
        ..merge(3, 2)
    };
    let first = fixture.edit(CREATE, creation.clone()).await.unwrap();
    assert_eq!(fixture.edit(CREATE, creation.clone()).await.unwrap(), first);
    let first = fixture.edit(UPDATE, update.clone()).await.unwrap();
    assert_eq!(fixture.edit(UPDATE, update).await.unwrap(), first);
    let first = fixture.edit(MERGE, merging.clone()).await.unwrap();
    assert_eq!(fixture.edit(MERGE, merging).await.unwrap(), first);
    let undoing = pb::UndoEditRequest {
        request_id: id(4),
        ..undo(first.edit.unwrap().sequence)
    };
    let first = fixture.edit(UNDO, undoing.clone()).await.unwrap();
    assert_eq!(fixture.edit(UNDO, undoing).await.unwrap(), first);
    assert_eq!(count().await, before + 4);

    // An id stands for one kind of request.
    let reused = pb::UndoEditRequest {
        request_id: id(1),
        ..undo(1)
    };
    fixture
        .refused(UNDO, reused, Code::AlreadyExists, "REQUEST_ID_REUSED")
        .await;
    let renaming = pb::RenameIdentityRequest {
        identity_id: 1,
        name: "Zoe".to_owned(),
        request_id: id(4),
        ..Default::default()
    };
    let status = fixture.api.call::<_, pb::Identity>(RENAME, renaming).await;
    assert_eq!(reason(&status.unwrap_err()), "REQUEST_ID_REUSED");
    let adding = pb::AddSourceRequest {
        uri: "another feed".to_owned(),
        kind: pb::SourceKind::Remote.into(),
        request_id: id(1),
        ..Default::default()
    };
    let method = "/rollcall.v1.SourceService/AddSource";
    let status = fixture.api.call::<_, pb::Source>(method, adding).await;
    assert_eq!(reason(&status.unwrap_err()), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn watchers_hear_of_edits_live_and_from_the_log() {
    let fixture = two_people().await;
    let mut live = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap();
    live.message().await.unwrap();
    fixture.made(CREATE, create("Eve")).await;
    fixture.made(UPDATE, hide(2, true)).await;
    let merged = fixture.made(MERGE, merge(1, 3)).await;
    fixture.made(UNDO, undo(merged)).await;
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(next_event(&mut live).await);
    }
    let told: Vec<Event> = seen
        .iter()
        .map(|event| event.event.clone().unwrap())
        .collect();
    let profile = |identity_id, name: &str, state: pb::IdentityState| {
        Event::IdentityChanged(pb::IdentityChanged {
            identity_id,
            name: name.to_owned(),
            state: state.into(),
            ..Default::default()
        })
    };
    let moved = |from_identity_id, to_identity_id| {
        Event::TracksMoved(pb::TracksMoved {
            from_identity_id,
            to_identity_id,
            track_ids: vec![1, 3],
            track_count: 2,
        })
    };
    let expected = [
        Event::IdentityCreated(pb::IdentityCreated {
            identity_id: 3,
            ..Default::default()
        }),
        profile(3, "Eve", pb::IdentityState::Active),
        profile(2, "", pb::IdentityState::Hidden),
        moved(1, 3),
        Event::IdentityAbsorbed(pb::IdentityAbsorbed {
            identity_id: 1,
            into_identity_id: 3,
        }),
        Event::IdentityRestored(pb::IdentityRestored {
            identity_id: 1,
            from_identity_id: 3,
        }),
        moved(3, 1),
    ];
    assert_eq!(told, expected);

    let request = pb::WatchRequest {
        from_start: true,
        identity_ids: vec![3],
        ..Default::default()
    };
    let mut again = fixture.api.watch(request).await.unwrap();
    for event in seen
        .iter()
        .filter(|event| event.event != Some(told[2].clone()))
    {
        assert_eq!(
            &next_event(&mut again).await,
            event,
            "the log tells the same"
        );
    }
}
