//! What people say about who is who: decisions heed it, merges and undo keep its meaning.

use super::law::{Everything, everything};
use super::{
    create, forget, link, merge, move_into_new, move_tracks, named, partial_undo, reason, reject,
    separate, separate_tracks, split, undo, update,
};
use crate::core::edit::Edit;
use crate::core::tests::{closed, exemplar, face, open, sightings, source, track, two_people};
use crate::core::{Core, FactQuery, Observed, WriteError};
use crate::pb;
use rollcall_log::record::{Body, Edited};

fn facts(core: &Core) -> Vec<pb::Fact> {
    let query = FactQuery {
        limit: 100,
        ..FactQuery::default()
    };
    core.catalog().facts(&query).unwrap()
}

fn owners(core: &Core) -> Vec<(u64, u64)> {
    let seen = sightings(core);
    let mut all: Vec<_> = seen.iter().map(|s| (s.track_id, s.identity_id)).collect();
    all.sort_unstable();
    all
}

fn edited(core: &Core, sequence: u64) -> Edited {
    let record = core.log().record(sequence).unwrap().unwrap();
    match record.body {
        Some(Body::Edited(edited)) => edited,
        other => panic!("{other:?}"),
    }
}

async fn made(core: &Core, edit: Edit) -> u64 {
    core.edit(edit).await.unwrap()
}

async fn refused(core: &Core, edit: Edit, expected: &str) -> WriteError {
    let error = core.edit(edit.clone()).await.unwrap_err();
    assert_eq!(reason(error.clone()), expected, "{edit:?}: {error}");
    error
}

/// A face that is more like the one of `two_people`'s who is at axis `person` than like anybody else.
async fn see(core: &Core, at: (u64, u64), revision: u32, person: usize, close: bool) {
    let (source, run) = at;
    let key = 20;
    let mut seen = track(
        key,
        revision,
        (50, 50 + i64::from(revision)),
        vec![exemplar(revision, 0.9, &face(person, 0.02))],
    );
    if revision > 1 {
        seen.dropped_exemplars = vec![revision - 1];
    }
    let item = if close {
        closed(seen)
    } else {
        Observed::Track(seen)
    };
    core.observe(source, run, vec![item]).await.unwrap();
}

#[tokio::test]
async fn each_way_of_saying_who_is_who_can_be_undone_and_redone() {
    let edits: [fn() -> Edit; 9] = [
        || move_tracks(&[1, 3], 2),
        || move_into_new(&[1, 2], "Eve"),
        || split(1, &[3], "Eve"),
        || split(1, &[1, 3], ""),
        || link(&[2, 1]),
        || separate(1, 2),
        || separate_tracks(1, 3),
        || reject(1, &[1, 3]),
        || reject(2, &[1]),
    ];
    for make in edits {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        two_people(&core).await;
        let state = |core: &Core| -> (Everything, Vec<pb::Fact>) {
            let mut facts = facts(core);
            facts.iter_mut().for_each(|fact| fact.sequence = 0);
            (everything(core), facts)
        };
        let before = state(&core);
        let done = made(&core, make()).await;
        let after = state(&core);
        assert_ne!(after, before);
        let undone = made(&core, undo(done)).await;
        assert_eq!(state(&core), before, "{:?}", make());
        made(&core, undo(undone)).await;
        assert_eq!(state(&core), after, "{:?}", make());
        // Nothing came between: there is nothing to leave.
        let undone = made(&core, partial_undo(done)).await;
        assert_eq!(state(&core), before, "{:?}", make());
        assert!(edited(&core, undone).parts_left.is_empty());
        core.view().index.verify().unwrap();
        core.close().await;
    }
}

#[tokio::test]
async fn a_track_that_grows_stays_where_people_put_it() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let at = (source, run.id);
    see(&core, at, 1, 0, false).await;
    assert_eq!(owners(&core)[3], (4, 1));
    let moved = made(&core, move_tracks(&[4], 2)).await;
    see(&core, at, 2, 0, false).await;
    assert_eq!(
        owners(&core)[3],
        (4, 2),
        "it still looks like the other one"
    );
    // Taken back, the decision is the machine's again.
    made(&core, undo(moved)).await;
    made(&core, move_into_new(&[4], "")).await;
    made(&core, forget(2)).await;
    see(&core, at, 3, 0, true).await;
    assert_eq!(owners(&core)[3], (4, 1));
    assert_eq!(core.catalog().resolve(3).unwrap(), Some(1));
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn a_rejected_track_never_joins_the_person_again_nor_whoever_absorbs_them() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let at = (source, run.id);
    see(&core, at, 1, 0, false).await;
    made(&core, reject(1, &[4])).await;
    assert_eq!(owners(&core)[3], (4, 3));
    see(&core, at, 2, 0, false).await;
    assert_eq!(
        owners(&core)[3],
        (4, 3),
        "it looks like the one that it is not"
    );
    let merged = made(&core, merge(1, 2)).await;
    see(&core, at, 3, 0, false).await;
    assert_eq!(owners(&core)[3], (4, 3));
    let fact = &facts(&core)[0];
    assert_eq!(
        (fact.current_identity_id, fact.other_current_identity_id),
        (3, 2)
    );
    refused(&core, move_tracks(&[4], 2), "FACTS_CONTRADICT").await;
    refused(&core, merge(3, 1), "FACTS_CONTRADICT").await;
    made(&core, undo(merged)).await;
    // Of the one that it was never said not to be, it may be.
    see(&core, at, 4, 1, true).await;
    assert_eq!(owners(&core)[3], (4, 2));
    core.close().await;
}

#[tokio::test]
async fn facts_that_contradict_each_other_are_refused_and_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    made(&core, create("Eve")).await;
    let said = made(&core, separate(1, 2)).await;
    let merged = made(&core, merge(1, 3)).await;
    // Transitively: what 1 is not, 3 is not either by now.
    let error = refused(&core, merge(3, 2), "FACTS_CONTRADICT").await;
    let told = error.to_string();
    assert!(
        told.contains("identity 3 would become a part of 2"),
        "{told}"
    );
    assert!(
        told.contains("identities 1 and 2 are two people (fact 1, edit "),
        "{told}"
    );
    let WriteError::FactsContradict { facts, edits, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((facts, edits), (vec![1], vec![said]));
    let error = refused(&core, link(&[1, 2]), "FACTS_CONTRADICT").await;
    assert!(
        error
            .to_string()
            .contains("tracks 1 and 2 are one person's")
    );
    let error = refused(&core, separate(3, 1), "FACTS_CONTRADICT").await;
    let WriteError::FactsContradict { edits, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(edits, [merged]);
    refused(&core, separate(2, 1), "FACT_EXISTS").await;

    // A single track is free to go: of whom it was is what was wrong.
    made(&core, move_tracks(&[3], 2)).await;
    made(&core, link(&[2, 3])).await;
    refused(&core, separate_tracks(3, 2), "FACTS_CONTRADICT").await;
    refused(&core, reject(2, &[3]), "FACTS_CONTRADICT").await;
    refused(&core, split(2, &[3], ""), "FACTS_CONTRADICT").await;
    refused(&core, link(&[3, 2]), "FACT_EXISTS").await;
    made(&core, reject(2, &[2, 3])).await;
    assert_eq!(
        owners(&core),
        [(1, 3), (2, 4), (3, 4)],
        "they stay together"
    );

    // What is forgotten stands in nobody's way; once it is broken, it cannot hold again.
    let forgotten = made(&core, forget(1)).await;
    made(&core, merge(3, 2)).await;
    refused(&core, undo(forgotten), "FACTS_CONTRADICT").await;
    refused(&core, forget(1), "FACT_NOT_FOUND").await;
    core.close().await;
}

#[tokio::test]
async fn whoever_facts_name_is_not_given_up_by_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let at = (source, run.id);
    see(&core, at, 1, 5, false).await;
    made(&core, separate(3, 2)).await;
    see(&core, at, 2, 1, true).await;
    assert_eq!(owners(&core)[3], (4, 3));
    assert_eq!(core.catalog().resolve(3).unwrap(), Some(3));
    core.close().await;
}

#[tokio::test]
async fn an_edit_is_taken_back_as_far_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let first = made(&core, split(1, &[1, 3], "Eve")).await;
    let renamed = made(&core, update(3, named("Zoe"))).await;
    let moved = made(&core, move_tracks(&[3], 2)).await;
    let error = refused(&core, undo(first), "BUILT_UPON").await;
    let WriteError::BuiltUpon { edits, what, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(edits, [renamed, moved]);
    assert!(what.contains("the name of identity 3"), "{what}");
    assert!(what.contains("track 3 has been moved"), "{what}");
    let undone = made(&core, partial_undo(first)).await;
    assert_eq!(owners(&core), [(1, 1), (2, 2), (3, 2)]);
    assert_eq!(core.catalog().identity(3).unwrap().unwrap().name, "Zoe");
    let told = edited(&core, undone);
    assert_eq!(told.left_track_ids, [3]);
    let left = told.parts_left.iter();
    let left: Vec<_> = left.map(|it| (it.identity_id, &*it.part)).collect();
    assert_eq!(left, [(2, "FACT"), (3, "FACT"), (3, "NAME"), (3, "TRACKS")]);
    refused(&core, undo(first), "ALREADY_UNDONE").await;
    // The undo is an edit like any other.
    made(&core, undo(undone)).await;
    assert_eq!(owners(&core), [(1, 3), (2, 2), (3, 2)]);
    made(&core, undo(moved)).await;
    made(&core, undo(renamed)).await;
    made(&core, undo(first)).await;
    assert_eq!(owners(&core), [(1, 1), (2, 2), (3, 1)]);

    // Where nothing can be taken back, nothing is.
    let second = made(&core, update(2, named("Ada"))).await;
    made(&core, update(2, named("Bea"))).await;
    refused(&core, partial_undo(second), "BUILT_UPON").await;
    core.close().await;
}

#[tokio::test]
async fn what_facts_say_of_a_track_stays_with_it_in_a_partial_undo() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let merged = made(&core, merge(1, 2)).await;
    let linked = made(&core, link(&[2, 3])).await;
    let error = refused(&core, undo(merged), "FACTS_CONTRADICT").await;
    let WriteError::FactsContradict { edits, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(edits, [linked]);
    let undone = made(&core, partial_undo(merged)).await;
    assert_eq!(owners(&core), [(1, 1), (2, 2), (3, 2)]);
    assert_eq!(edited(&core, undone).left_track_ids, [3]);
    core.close().await;
}

#[tokio::test]
async fn whoever_is_left_without_tracks_is_listed_if_somebody_said_something_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    made(&core, update(2, named("Bob"))).await;
    made(&core, move_tracks(&[2], 1)).await;
    let listed = everything(&core).0;
    let listed: Vec<_> = listed.iter().map(|it| (it.id, it.track_count)).collect();
    assert_eq!(listed, [(1, 3), (2, 0)]);
    made(&core, move_tracks(&[1, 2, 3], 2)).await;
    let listed = everything(&core).0;
    let listed: Vec<_> = listed.iter().map(|it| (it.id, it.track_count)).collect();
    assert_eq!(listed, [(2, 3)]);
    assert_eq!(core.catalog().resolve(1).unwrap(), Some(1));
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn bad_lists_of_tracks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let many: Vec<u64> = (1..=10_001).collect();
    for (edit, expected) in [
        (move_tracks(&[], 1), "INVALID_ARGUMENT"),
        (move_tracks(&[1, 1], 2), "INVALID_ARGUMENT"),
        (move_tracks(&[9], 2), "TRACK_NOT_FOUND"),
        (move_tracks(&[2], 9), "IDENTITY_NOT_FOUND"),
        (move_tracks(&[1, 2], 2), "MOVE_INTO_ITSELF"),
        (move_tracks(&many, 2), "EDIT_TOO_LARGE"),
        (split(1, &[1, 2], ""), "TRACK_ELSEWHERE"),
        (split(9, &[1], ""), "IDENTITY_NOT_FOUND"),
        (link(&[1]), "INVALID_ARGUMENT"),
        (link(&many[..1001]), "EDIT_TOO_LARGE"),
        (separate(1, 1), "FACTS_CONTRADICT"),
        (separate_tracks(1, 1), "INVALID_ARGUMENT"),
        (reject(1, &[9]), "TRACK_NOT_FOUND"),
        (forget(1), "FACT_NOT_FOUND"),
    ] {
        refused(&core, edit, expected).await;
    }
    assert!(facts(&core).is_empty());
    assert_eq!(owners(&core), [(1, 1), (2, 2), (3, 1)]);
    core.close().await;
}

#[tokio::test]
async fn two_sources_that_open_the_same_stranger_at_once_give_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let one = source(&core, pb::SourceKind::Live).await;
    let new = crate::core::NewSource {
        uri: "other.mp4".into(),
        name: "other".into(),
        kind: pb::SourceKind::Live,
        realtime: false,
        author: "tester".into(),
        request_id: String::new(),
    };
    let other = core.add_source(new).await.unwrap();
    let runs = [
        core.begin_run(one, "p1".to_owned()).await.unwrap().id,
        core.begin_run(other, "p1".to_owned()).await.unwrap().id,
    ];
    let seen = |noise| closed(track(1, 1, (0, 1), vec![exemplar(1, 0.9, &face(3, noise))]));
    let (first, second) = tokio::join!(
        core.observe(one, runs[0], vec![seen(0.1)]),
        core.observe(other, runs[1], vec![seen(0.2)]),
    );
    first.unwrap();
    second.unwrap();
    assert_eq!(owners(&core), [(1, 1), (2, 1)]);
    core.close().await;
}
