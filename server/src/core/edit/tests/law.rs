//! What is undone is as it was; what was refused is told with what stands in the way.

use super::{create, edit, merge, named, undo, update};
use crate::core::edit::{Change, Edit, ProfileUpdate};
use crate::core::tests::{closed, exemplar, face, open, options, sightings, track, two_people};
use crate::core::{Core, CoreMetrics, IdentityQuery, Observed, WriteError};
use crate::pb;
use rollcall_index::IdentityId;
use rollcall_log::record::{
    Body, Edited, IdentityRenamed, IdentityState, Profile, ProfileChange, Record,
};
use rollcall_log::{FileStorage, Log, LogOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) type Everything = (Vec<pb::Identity>, Vec<pb::Sighting>, Vec<(u64, u64)>);

/// Everybody (etags left out), every track, and ids that resolve to others.
pub(super) fn everything(core: &Core) -> Everything {
    let query = IdentityQuery {
        include_hidden: true,
        ..IdentityQuery::default()
    };
    let mut all = core.catalog().identities(None, 100, &query).unwrap().0;
    all.iter_mut().for_each(|identity| identity.etag.clear());
    let resolved = (1..10).filter_map(|id| Some((id, core.catalog().resolve(id).unwrap()?)));
    let redirects = resolved.filter(|(id, into)| id != into);
    (all, sightings(core), redirects.collect())
}

fn everything_said() -> ProfileUpdate {
    ProfileUpdate {
        name: Some("Ada".to_owned()),
        external_id: Some("7".to_owned()),
        hidden: Some(true),
        confirmed: Some(true),
        set_metadata: BTreeMap::from([("note".to_owned(), "glasses".to_owned())]),
        remove_metadata: Vec::new(),
    }
}

#[tokio::test]
async fn undo_restores_all_and_undoing_that_redoes_it() {
    let edits: [fn() -> Edit; 5] = [
        || create("Eve"),
        || update(1, everything_said()),
        || merge(1, 2),
        || merge(2, 1),
        || update(2, named("Bea")),
    ];
    for make in edits {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        two_people(&core).await;
        core.edit(update(2, named("Bob"))).await.unwrap();
        let before = everything(&core);
        let made = core.edit(make()).await.unwrap();
        let after = everything(&core);
        assert_ne!(after, before);
        let undone = core.edit(undo(made)).await.unwrap();
        assert_eq!(everything(&core), before, "{:?}", make());
        let twice = core.edit(undo(made)).await;
        let (sequence, by) = (made, undone);
        assert_eq!(twice, Err(WriteError::AlreadyUndone { sequence, by }));
        core.edit(undo(undone)).await.unwrap();
        assert_eq!(everything(&core), after, "{:?}", make());
        core.edit(undo(made)).await.unwrap();
        assert_eq!(everything(&core), before, "{:?}", make());
        core.view().index.verify().unwrap();
        core.close().await;
    }
}

#[tokio::test]
async fn tracks_that_joined_meanwhile_stay_and_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let made = core.edit(merge(1, 2)).await.unwrap();
    let see = async |key, person| {
        let seen = exemplar(1, 0.8, &face(person, 0.1));
        let span = (20 + i64::try_from(key).unwrap(), 40);
        let items = vec![closed(track(key, 1, span, vec![seen]))];
        core.observe(source, run.id, items).await.unwrap();
    };
    see(10, 0).await;
    see(11, 0).await;
    let joined = sightings(&core)
        .iter()
        .map(|s| s.identity_id)
        .collect::<Vec<_>>();
    assert_eq!(joined, [2; 5]);
    let undone = core.edit(undo(made)).await.unwrap();
    let record = core.log().read_after(undone - 1).next().unwrap().unwrap();
    let Some(Body::Edited(undone)) = record.body else {
        panic!("{record:?}")
    };
    assert_eq!(undone.left_track_ids, [4, 5]);
    let owners: BTreeMap<u64, u64> = sightings(&core)
        .iter()
        .map(|s| (s.track_id, s.identity_id))
        .collect();
    assert_eq!(
        owners,
        BTreeMap::from([(1, 1), (2, 2), (3, 1), (4, 2), (5, 2)])
    );
    core.close().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let made = async |edit| core.edit(edit).await.unwrap();
    let first = made(update(1, named("Ada"))).await;
    let second = made(update(1, named("Eve"))).await;
    let in_the_way = async |sequence| match core.edit(undo(sequence)).await {
        Err(WriteError::BuiltUpon { edits, .. }) => edits,
        other => panic!("{other:?}"),
    };
    assert_eq!(in_the_way(first).await, [second]);
    // Another field is not in the way.
    let confirmed = ProfileUpdate {
        confirmed: Some(true),
        ..ProfileUpdate::default()
    };
    made(update(1, confirmed)).await;
    let back = made(undo(second)).await;
    let gone = made(undo(first)).await;
    assert_eq!(in_the_way(back).await, [gone]);

    let born = made(create("Zoe")).await;
    let merged = made(merge(3, 1)).await;
    let further = made(merge(1, 2)).await;
    assert_eq!(in_the_way(born).await, [merged]);
    assert_eq!(in_the_way(merged).await, [further]);
    made(undo(further)).await;
    made(undo(merged)).await;
    made(undo(born)).await;
    assert_eq!(everything(&core).0.len(), 2);
    let missing = core.edit(undo(1)).await;
    assert_eq!(missing, Err(WriteError::EditNotFound { sequence: 1 }));
    core.close().await;
}

#[tokio::test]
async fn a_name_that_comes_back_must_be_free() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    core.edit(update(1, named("Bob"))).await.unwrap();
    let renamed = core.edit(update(1, named("Rob"))).await.unwrap();
    core.edit(update(2, named("BOB"))).await.unwrap();
    let taken = core.edit(undo(renamed)).await;
    let name = "Bob".to_owned();
    assert_eq!(taken, Err(WriteError::NameTaken { name, id: 2 }));
    let all_the_same = edit(Change::Undo {
        sequence: renamed,
        allow_duplicate_name: true,
        partial: false,
    });
    core.edit(all_the_same).await.unwrap();
    assert_eq!(everything(&core).0[0].name, "Bob");
    core.close().await;
}

#[tokio::test]
async fn a_hidden_person_who_is_seen_again_stays_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (_, run) = two_people(&core).await;
    let hide = ProfileUpdate {
        hidden: Some(true),
        ..ProfileUpdate::default()
    };
    core.edit(update(2, hide)).await.unwrap();
    // Their only track goes, then another one's becomes theirs.
    core.end_run(1, run.id).await;
    let merged = core.edit(merge(2, 1)).await.unwrap();
    core.edit(undo(merged)).await.unwrap();
    let state = core.view().index.identity_state(IdentityId::new(2));
    assert_eq!(state.map(rollcall_index::IdentityState::get), Some(1));
    core.edit(merge(1, 2)).await.unwrap();
    let state = core.view().index.identity_state(IdentityId::new(2));
    assert_eq!(state.map(rollcall_index::IdentityState::get), Some(1));
    // The machine knows them still: no stranger is made of them.
    let again = core.begin_run(1, "p1".to_owned()).await.unwrap();
    let seen = exemplar(1, 0.8, &face(0, 0.1));
    let items = vec![closed(track(9, 1, (7, 8), vec![seen]))];
    core.observe(1, again.id, items).await.unwrap();
    assert!(sightings(&core).iter().all(|s| s.identity_id == 2));
    core.close().await;
}

#[tokio::test]
async fn what_people_said_of_a_single_track_is_not_the_machines_to_give_up() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let bad = exemplar(1, 0.15, &face(5, 0.0));
    let first = Observed::Track(track(9, 1, (7, 8), vec![bad]));
    core.observe(source, run.id, vec![first]).await.unwrap();
    let confirm = ProfileUpdate {
        confirmed: Some(true),
        ..ProfileUpdate::default()
    };
    core.edit(update(3, confirm)).await.unwrap();
    let good = exemplar(2, 0.9, &face(1, 0.05));
    let items = vec![closed(track(9, 2, (7, 9), vec![good]))];
    core.observe(source, run.id, items).await.unwrap();
    assert_eq!(core.catalog().resolve(3).unwrap(), Some(3));
    assert_eq!(core.catalog().identity(3).unwrap().unwrap().track_count, 1);
    core.close().await;
}

fn append(folder: &Path, body: Body) -> u64 {
    let storage = Arc::new(FileStorage::open(folder.join("log")).unwrap());
    let (mut log, _) = Log::open(storage, LogOptions::default()).unwrap();
    let record = Record {
        author: "old".to_owned(),
        body: Some(body),
        ..Record::default()
    };
    let sequence = log.append(record).unwrap();
    log.sync().unwrap();
    sequence
}

fn open_again(folder: &Path) -> Core {
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    Core::open(options(folder), metrics).unwrap()
}

#[tokio::test]
async fn names_given_by_earlier_versions_can_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    core.edit(update(1, named("Ada"))).await.unwrap();
    core.close().await;
    drop(core);
    let old = append(
        folder.path(),
        Body::IdentityRenamed(IdentityRenamed {
            identity_id: 1,
            name: "Augusta".to_owned(),
        }),
    );
    let core = open_again(folder.path());
    assert_eq!(everything(&core).0[0].name, "Augusta");
    core.edit(undo(old)).await.unwrap();
    assert_eq!(everything(&core).0[0].name, "Ada");
    core.close().await;
}

#[tokio::test]
async fn whoever_was_erased_is_not_edited() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let named = core.edit(update(1, named("Ada"))).await.unwrap();
    core.close().await;
    drop(core);
    let erased = Profile {
        state: IdentityState::Erased.into(),
        ..Profile::default()
    };
    let change = ProfileChange {
        identity_id: 1,
        after: Some(erased),
        ..ProfileChange::default()
    };
    append(
        folder.path(),
        Body::Edited(Edited {
            profiles: vec![change],
            ..Edited::default()
        }),
    );
    let core = open_again(folder.path());
    let refused = Err(WriteError::IdentityErased { id: 1 });
    let confirm = ProfileUpdate {
        confirmed: Some(true),
        ..ProfileUpdate::default()
    };
    let edits = [update(1, confirm), merge(1, 2), merge(2, 1), undo(named)];
    for edit in edits {
        assert_eq!(core.edit(edit.clone()).await, refused, "{edit:?}");
    }
    core.close().await;
}
