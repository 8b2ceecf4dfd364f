//! Moving, splitting, and saying who is who, through the API.

use crate::edits::{
    CREATE, EDITS, GET, MERGE, UNDO, UPDATE, create, merge, rename, two_people, undo,
};
use crate::support::{Fixture, next_event, reason, track};
use rollcall_server::pb::{self, FactKind, watch_event::Event};
use tonic::Code;
use tonic_types::StatusExt as _;

const MOVE: &str = "/rollcall.v1.IdentityService/MoveTracks";
const SPLIT: &str = "/rollcall.v1.IdentityService/SplitIdentity";
const LINK: &str = "/rollcall.v1.IdentityService/LinkTracks";
const SEPARATE: &str = "/rollcall.v1.IdentityService/Separate";
const REJECT: &str = "/rollcall.v1.IdentityService/RejectTracks";
const FORGET: &str = "/rollcall.v1.IdentityService/ForgetFact";
const FACTS: &str = "/rollcall.v1.IdentityService/ListFacts";
const EXPLAIN: &str = "/rollcall.v1.IdentityService/ExplainTrack";

fn move_tracks(track_ids: &[u64], into_identity_id: u64) -> pb::MoveTracksRequest {
    pb::MoveTracksRequest {
        track_ids: track_ids.to_vec(),
        into_identity_id,
        author: "ada".to_owned(),
        ..Default::default()
    }
}

fn split(identity_id: u64, track_ids: &[u64], name: &str) -> pb::SplitIdentityRequest {
    pb::SplitIdentityRequest {
        identity_id,
        track_ids: track_ids.to_vec(),
        name: name.to_owned(),
        ..Default::default()
    }
}

fn link(track_ids: &[u64]) -> pb::LinkTracksRequest {
    pb::LinkTracksRequest {
        track_ids: track_ids.to_vec(),
        ..Default::default()
    }
}

fn separate(identity_id: u64, other_identity_id: u64) -> pb::SeparateRequest {
    pb::SeparateRequest {
        identity_id,
        other_identity_id,
        ..Default::default()
    }
}

fn reject(identity_id: u64, track_ids: &[u64]) -> pb::RejectTracksRequest {
    pb::RejectTracksRequest {
        identity_id,
        track_ids: track_ids.to_vec(),
        ..Default::default()
    }
}

fn forget(fact_id: u64) -> pb::ForgetFactRequest {
    pb::ForgetFactRequest {
        fact_id,
        ..Default::default()
    }
}

impl Fixture {
    async fn facts(&self, request: pb::ListFactsRequest) -> pb::ListFactsResponse {
        self.api.call(FACTS, request).await.unwrap()
    }

    async fn explain(&self, track_id: u64) -> pb::TrackExplanation {
        let request = pb::ExplainTrackRequest { track_id };
        self.api.call(EXPLAIN, request).await.unwrap()
    }

    async fn owner(&self, track_id: u64) -> u64 {
        self.explain(track_id).await.sighting.unwrap().identity_id
    }
}

#[tokio::test]
async fn tracks_are_moved_and_split_off_and_come_back() {
    let fixture = two_people().await;
    let answer = fixture.edit(MOVE, move_tracks(&[3], 2)).await.unwrap();
    let edit = answer.edit.unwrap();
    assert_eq!(
        (edit.kind(), edit.author.as_str()),
        (pb::EditKind::Move, "ada")
    );
    let moved = &edit.moves[0];
    assert_eq!(
        (
            moved.from_identity_id,
            moved.into_identity_id,
            &moved.track_ids[..]
        ),
        (1, 2, &[3][..])
    );
    let counts = answer.identities.iter();
    let counts: Vec<_> = counts.map(|it| (it.id, it.track_count)).collect();
    assert_eq!(counts, [(1, 1), (2, 2)]);
    let placed = edit.facts[0].fact.unwrap();
    assert_eq!((placed.kind(), edit.fact_count), (FactKind::Placed, 1));

    let answer = fixture.edit(SPLIT, split(2, &[3], "Eve")).await.unwrap();
    let split_off = answer.edit.unwrap();
    assert_eq!(split_off.kind(), pb::EditKind::Split);
    assert_eq!(fixture.identity(3).await.name, "Eve");
    assert_eq!(fixture.owner(3).await, 3);
    // Where it was put before no longer counts; where it is now does.
    let holds: Vec<_> = split_off.facts.iter().map(|it| it.holds).collect();
    assert_eq!(holds, [false, true]);
    let found = fixture.api.search(2.0).await;
    let hits: Vec<_> = found
        .hits
        .iter()
        .map(|hit| hit.identity.clone().unwrap().id)
        .collect();
    assert!(hits.contains(&1) && hits.contains(&3), "{hits:?}");

    // Into a new one, from several.
    let request = pb::MoveTracksRequest {
        name: "Zoe".to_owned(),
        ..move_tracks(&[1, 2], 0)
    };
    let answer = fixture.edit(MOVE, request).await.unwrap();
    assert_eq!(fixture.identity(4).await.track_count, 2);
    let status = fixture.edit(UNDO, undo(edit.sequence)).await.unwrap_err();
    assert_eq!(reason(&status), "BUILT_UPON");
    for sequence in [
        answer.edit.unwrap().sequence,
        split_off.sequence,
        edit.sequence,
    ] {
        fixture.made(UNDO, undo(sequence)).await;
    }
    let owners = [
        fixture.owner(1).await,
        fixture.owner(2).await,
        fixture.owner(3).await,
    ];
    assert_eq!(owners, [1, 2, 1]);
    assert!(fixture.facts(Default::default()).await.facts.is_empty());
}

#[tokio::test]
async fn what_was_said_of_who_is_who_is_listed_until_it_is_taken_back() {
    let fixture = two_people().await;
    fixture.made(CREATE, create("Eve")).await;
    let apart = fixture.made(SEPARATE, separate(1, 2)).await;
    let linked = fixture.made(LINK, link(&[1, 3])).await;
    let rejected = fixture.made(REJECT, reject(2, &[2])).await;
    let merged = fixture.made(MERGE, merge(2, 3)).await;
    let all = fixture.facts(Default::default()).await.facts;
    let told: Vec<_> = all
        .iter()
        .map(|it| (it.id, it.kind(), it.sequence))
        .collect();
    assert_eq!(
        told,
        [
            (1, FactKind::TwoPeople, apart),
            (2, FactKind::OnePerson, linked),
            (3, FactKind::TwoPeople, rejected)
        ]
    );
    // What the sides stand for now: 2 is a part of 3, and the track has an identity of its own.
    let now = |fact: &pb::Fact| (fact.current_identity_id, fact.other_current_identity_id);
    assert_eq!((now(&all[0]), now(&all[2])), ((1, 3), (4, 3)));
    assert_eq!((all[2].track_id, all[2].other_identity_id), (2, 2));

    let ids = async |request: pb::ListFactsRequest| {
        let page = fixture.facts(request).await;
        page.facts.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    let of = |identity_id| pb::ListFactsRequest {
        identity_id,
        ..Default::default()
    };
    assert_eq!(ids(of(1)).await, [1, 2]);
    assert_eq!(ids(of(3)).await, [1, 3], "what was said of 2 is said of it");
    assert_eq!(ids(of(4)).await, [3], "one of its tracks is named");
    let about = pb::ListFactsRequest {
        track_id: 3,
        ..Default::default()
    };
    assert_eq!(ids(about).await, [2]);
    let kinds = pb::ListFactsRequest {
        kinds: vec![FactKind::TwoPeople.into()],
        page_size: 1,
        ..Default::default()
    };
    let first = fixture.facts(kinds.clone()).await;
    let next = pb::ListFactsRequest {
        page_token: first.next_page_token.clone(),
        ..kinds
    };
    let last = fixture.facts(next).await;
    assert_eq!((first.facts[0].id, last.facts[0].id), (1, 3));
    assert!(last.next_page_token.is_empty());

    let forgotten = fixture.made(FORGET, forget(1)).await;
    assert_eq!(ids(Default::default()).await, [2, 3]);
    for sequence in [forgotten, merged, rejected] {
        fixture.made(UNDO, undo(sequence)).await;
    }
    assert_eq!(ids(Default::default()).await, [1, 2]);
    // History of an identity tells of facts about it and its tracks.
    let history = pb::ListEditsRequest {
        identity_id: 2,
        ..Default::default()
    };
    let history: pb::ListEditsResponse = fixture.api.call(EDITS, history).await.unwrap();
    let kinds: Vec<_> = history.edits.iter().map(pb::Edit::kind).collect();
    use pb::EditKind::{CannotLink, ForgetFact, Merge, NotThisPerson, Undo};
    assert_eq!(
        kinds,
        [
            Undo,
            Undo,
            Undo,
            ForgetFact,
            Merge,
            NotThisPerson,
            CannotLink
        ]
    );

    for (request, expected) in [
        (of(9), "IDENTITY_NOT_FOUND"),
        (
            pb::ListFactsRequest {
                track_id: 9,
                ..Default::default()
            },
            "TRACK_NOT_FOUND",
        ),
        (
            pb::ListFactsRequest {
                track_id: 1,
                ..of(1)
            },
            "INVALID_ARGUMENT",
        ),
        (
            pb::ListFactsRequest {
                kinds: vec![9],
                ..Default::default()
            },
            "INVALID_ARGUMENT",
        ),
        (
            pb::ListFactsRequest {
                page_size: -1,
                ..Default::default()
            },
            "INVALID_PAGE_SIZE",
        ),
        (
            pb::ListFactsRequest {
                page_token: first.next_page_token.clone(),
                ..of(1)
            },
            "INVALID_PAGE_TOKEN",
        ),
    ] {
        let refused = fixture.api.call::<_, pb::ListFactsResponse>(FACTS, request);
        assert_eq!(reason(&refused.await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn bad_words_about_who_is_who_are_refused_with_a_reason_and_change_nothing() {
    let fixture = two_people().await;
    let apart = fixture.made(SEPARATE, separate(1, 2)).await;
    fixture.made(LINK, link(&[1, 3])).await;
    let before: pb::ListEditsResponse = fixture
        .api
        .call(EDITS, pb::ListEditsRequest::default())
        .await
        .unwrap();
    let stale = pb::SplitIdentityRequest {
        etag: "e1".to_owned(),
        ..split(1, &[1], "")
    };
    let status = fixture
        .refused(
            MERGE,
            merge(1, 2),
            Code::FailedPrecondition,
            "FACTS_CONTRADICT",
        )
        .await;
    let details = status.get_details_error_info().unwrap();
    assert_eq!(
        (
            details.metadata["facts"].as_str(),
            details.metadata["edits"].as_str()
        ),
        ("1", apart.to_string().as_str())
    );
    assert!(
        status
            .message()
            .contains("identity 1 would become a part of 2"),
        "{status}"
    );
    assert!(
        status
            .message()
            .contains("identities 1 and 2 are two people"),
        "{status}"
    );
    let contradict = (Code::FailedPrecondition, "FACTS_CONTRADICT");
    let invalid = (Code::InvalidArgument, "INVALID_ARGUMENT");
    let missing = (Code::NotFound, "TRACK_NOT_FOUND");
    let check = async |method, request: pb::MoveTracksRequest, (code, reason)| {
        fixture.refused(method, request, code, reason).await;
    };
    check(MOVE, move_tracks(&[], 2), invalid).await;
    check(MOVE, move_tracks(&[1, 1], 2), invalid).await;
    check(MOVE, move_tracks(&[9], 2), missing).await;
    check(
        MOVE,
        move_tracks(&[1], 9),
        (Code::NotFound, "IDENTITY_NOT_FOUND"),
    )
    .await;
    check(
        MOVE,
        move_tracks(&[2], 2),
        (Code::InvalidArgument, "MOVE_INTO_ITSELF"),
    )
    .await;
    check(MOVE, move_tracks(&[1], 2), contradict).await;
    let many: Vec<u64> = (1..=10_001).collect();
    check(
        MOVE,
        move_tracks(&many, 2),
        (Code::InvalidArgument, "EDIT_TOO_LARGE"),
    )
    .await;
    let named = pb::MoveTracksRequest {
        name: "Eve".to_owned(),
        ..move_tracks(&[2], 1)
    };
    check(MOVE, named, invalid).await;
    let nobodys = pb::MoveTracksRequest {
        into_etag: "e1".to_owned(),
        ..move_tracks(&[2], 0)
    };
    check(MOVE, nobodys, invalid).await;
    let guarded = pb::MoveTracksRequest {
        into_etag: "e1".to_owned(),
        ..move_tracks(&[2], 1)
    };
    check(MOVE, guarded, (Code::Aborted, "ETAG_MISMATCH")).await;

    let elsewhere = (Code::FailedPrecondition, "TRACK_ELSEWHERE");
    for (request, (code, reason)) in [
        (split(1, &[2], ""), elsewhere),
        (split(1, &[1], ""), contradict),
        (split(9, &[1], ""), (Code::NotFound, "IDENTITY_NOT_FOUND")),
        (
            split(1, &[1, 3], &"x".repeat(201)),
            (Code::InvalidArgument, "INVALID_NAME"),
        ),
        (stale, (Code::Aborted, "ETAG_MISMATCH")),
    ] {
        fixture.refused(SPLIT, request, code, reason).await;
    }
    let exists = (Code::AlreadyExists, "FACT_EXISTS");
    for (tracks, (code, reason)) in [
        (&[1][..], invalid),
        (&[1, 9], missing),
        (&[1, 2], contradict),
        (&[3, 1], exists),
    ] {
        fixture.refused(LINK, link(tracks), code, reason).await;
    }
    let both = pb::SeparateRequest {
        track_id: 1,
        other_track_id: 2,
        ..separate(1, 2)
    };
    let half = pb::SeparateRequest {
        track_id: 1,
        ..Default::default()
    };
    for (request, (code, reason)) in [
        (separate(1, 1), contradict),
        (separate(2, 1), exists),
        (separate(1, 9), (Code::NotFound, "IDENTITY_NOT_FOUND")),
        (both, invalid),
        (half, invalid),
    ] {
        fixture.refused(SEPARATE, request, code, reason).await;
    }
    for (request, (code, reason)) in [
        (reject(1, &[]), invalid),
        (reject(1, &[1]), contradict),
        (reject(9, &[1]), (Code::NotFound, "IDENTITY_NOT_FOUND")),
    ] {
        fixture.refused(REJECT, request, code, reason).await;
    }
    fixture
        .refused(FORGET, forget(9), Code::NotFound, "FACT_NOT_FOUND")
        .await;
    let request = pb::ExplainTrackRequest { track_id: 9 };
    let refused = fixture
        .api
        .call::<_, pb::TrackExplanation>(EXPLAIN, request);
    assert_eq!(reason(&refused.await.unwrap_err()), "TRACK_NOT_FOUND");
    let after: pb::ListEditsResponse = fixture
        .api
        .call(EDITS, pb::ListEditsRequest::default())
        .await
        .unwrap();
    assert_eq!(after, before, "nothing that was refused is in the history");
}

#[tokio::test]
async fn each_of_them_has_one_effect_however_often_it_is_sent() {
    let fixture = two_people().await;
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let once = async |method, request: pb::MoveTracksRequest| {
        let first = fixture.edit(method, request.clone()).await.unwrap();
        assert_eq!(fixture.edit(method, request).await.unwrap(), first);
    };
    once(
        MOVE,
        pb::MoveTracksRequest {
            request_id: id(1),
            ..move_tracks(&[3], 2)
        },
    )
    .await;
    let request = pb::RejectTracksRequest {
        request_id: id(2),
        ..reject(2, &[3])
    };
    let first = fixture.edit(REJECT, request.clone()).await.unwrap();
    assert_eq!(fixture.edit(REJECT, request).await.unwrap(), first);
    let reused = pb::ForgetFactRequest {
        request_id: id(2),
        ..forget(1)
    };
    fixture
        .refused(FORGET, reused, Code::AlreadyExists, "REQUEST_ID_REUSED")
        .await;
    let all: pb::ListEditsResponse = fixture
        .api
        .call(EDITS, pb::ListEditsRequest::default())
        .await
        .unwrap();
    assert_eq!(all.edits.len(), 2);
    let metrics = crate::http::get(fixture.server.http(), "/metrics").await;
    for kind in ["move", "not_this_person"] {
        let line = format!("rollcall_identity_operations_total{{kind=\"{kind}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn a_track_explains_itself() {
    let fixture = two_people().await;
    let why = fixture.explain(3).await;
    let [decision] = &why.decisions[..] else {
        panic!("{why:?}")
    };
    assert_eq!(
        (
            decision.kind(),
            decision.identity_id,
            decision.reason.as_str()
        ),
        (pb::DecisionKind::Join, 1, "ABOVE_THRESHOLD")
    );
    assert!(decision.cosine > 0.9 && why.cosine.unwrap() > 0.9);
    assert!(why.edits.is_empty() && why.facts.is_empty());
    assert_eq!(why.nearest[0].identity.as_ref().unwrap().id, 2);
    let alone = fixture.explain(2).await;
    assert_eq!(alone.cosine, None);
    assert_eq!(alone.decisions[0].kind(), pb::DecisionKind::New);

    let renamed = fixture.made(UPDATE, rename(1, "Ada")).await;
    let rejected = fixture.made(REJECT, reject(1, &[3])).await;
    let merged = fixture.made(MERGE, merge(3, 2)).await;
    let moved = fixture.made(MOVE, move_tracks(&[1], 2)).await;
    let why = fixture.explain(3).await;
    let edits: Vec<_> = why.edits.iter().map(|it| it.sequence).collect();
    assert_eq!(edits, [rejected, merged], "not {renamed}, not {moved}");
    assert_eq!(why.sighting.unwrap().identity_id, 2);
    let facts: Vec<_> = why.facts.iter().map(|it| it.kind()).collect();
    assert_eq!(facts, [FactKind::TwoPeople]);
    assert!(why.nearest.is_empty(), "there is nobody else");
    fixture.made(UNDO, undo(moved)).await;
    let near = fixture.explain(3).await.nearest;
    assert_eq!(
        (near[0].identity.as_ref().unwrap().id, near[0].barred),
        (1, true)
    );
}

#[tokio::test]
async fn a_partial_undo_says_what_it_left() {
    let fixture = two_people().await;
    let first = fixture.made(SPLIT, split(1, &[1, 3], "Eve")).await;
    fixture.made(UPDATE, rename(3, "Zoe")).await;
    fixture.made(MOVE, move_tracks(&[3], 2)).await;
    fixture
        .refused(UNDO, undo(first), Code::FailedPrecondition, "BUILT_UPON")
        .await;
    let request = pb::UndoEditRequest {
        partial: true,
        ..undo(first)
    };
    let edit = fixture.edit(UNDO, request).await.unwrap().edit.unwrap();
    assert_eq!(
        (&edit.left_track_ids[..], edit.left_track_count),
        (&[3][..], 1)
    );
    let left: Vec<_> = edit
        .parts_left
        .iter()
        .map(|it| (it.identity_id, &*it.part))
        .collect();
    assert!(
        left.contains(&(3, "NAME")) && left.contains(&(3, "TRACKS")),
        "{left:?}"
    );
    let owners = [fixture.owner(1).await, fixture.owner(3).await];
    assert_eq!(owners, [1, 2]);
}

#[tokio::test]
async fn a_rejected_track_is_not_given_back_by_what_is_seen_next() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("studio feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.track(track(2, 1, 1.0, 3, 4, false)).await;
    assert_eq!(fixture.owner(2).await, 1);
    fixture.made(REJECT, reject(1, &[2])).await;
    let mut grown = track(2, 2, 1.0, 3, 6, true);
    grown.exemplars = track(2, 1, 1.0, 3, 6, true).exemplars;
    grown.exemplars[0].number = 2;
    run.track(grown).await;
    assert_eq!(fixture.owner(2).await, 2);
    run.finish().await;
    let request = pb::GetIdentityRequest { identity_id: 2 };
    let own: pb::Identity = fixture.api.call(GET, request).await.unwrap();
    assert_eq!((own.id, own.exemplar_count), (2, 2));
}

#[tokio::test]
async fn watchers_hear_who_was_said_to_be_who() {
    let fixture = two_people().await;
    let mut live = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap();
    live.message().await.unwrap();
    fixture.made(MOVE, move_tracks(&[3], 2)).await;
    fixture.made(SEPARATE, separate(1, 2)).await;
    fixture.made(FORGET, forget(1)).await;
    fixture.made(SPLIT, split(2, &[3], "Eve")).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(next_event(&mut live).await);
    }
    let moved = |from_identity_id, to_identity_id| {
        Event::TracksMoved(pb::TracksMoved {
            from_identity_id,
            to_identity_id,
            track_ids: vec![3],
            track_count: 1,
        })
    };
    let told: Vec<Event> = seen.iter().map(|it| it.event.clone().unwrap()).collect();
    let apart = pb::Fact {
        id: 2,
        kind: FactKind::TwoPeople.into(),
        identity_id: 1,
        other_identity_id: 2,
        ..Default::default()
    };
    let placed = pb::Fact {
        id: 1,
        kind: FactKind::Placed.into(),
        track_id: 3,
        other_identity_id: 2,
        ..Default::default()
    };
    let changed = |fact, holds| {
        Event::FactChanged(pb::FactChanged {
            fact: Some(fact),
            holds,
        })
    };
    let expected = [
        moved(1, 2),
        changed(apart, true),
        changed(placed, false),
        Event::IdentityCreated(pb::IdentityCreated {
            identity_id: 3,
            ..Default::default()
        }),
        Event::IdentityChanged(pb::IdentityChanged {
            identity_id: 3,
            name: "Eve".to_owned(),
            state: pb::IdentityState::Active.into(),
            ..Default::default()
        }),
        moved(2, 3),
    ];
    assert_eq!(told, expected);
    let request = pb::WatchRequest {
        from_start: true,
        identity_ids: vec![1],
        kinds: vec![pb::EventKind::FactChanged.into()],
        ..Default::default()
    };
    let mut again = fixture.api.watch(request).await.unwrap();
    assert_eq!(
        next_event(&mut again).await,
        seen[1],
        "the log tells the same"
    );
}
