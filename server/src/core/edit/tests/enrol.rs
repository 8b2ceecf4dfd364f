//! Photos of a person: enrolled, recognised by, taken back, and back again.

use super::law::everything;
use super::{enrol_known, enrol_new, forget, link, merge, move_tracks, partial_undo, reason, undo};
use crate::core::Core;
use crate::core::edit::Edit;
use crate::core::tests::{closed, exemplar, face, open, sightings, track, two_people};
use rollcall_index::{Effort, Filter, Similarity, TrackId};

/// Whom the index takes this person for.
fn who(core: &Core, person: usize) -> Option<u64> {
    let floor = Similarity::new(0.4).unwrap();
    let index = &core.view().index;
    let asked = face(person, 0.05);
    let (hits, _) = index
        .who(&asked, 1, floor, &Filter::default(), Effort::Normal)
        .unwrap();
    Some(hits.first()?.identity.get())
}

async fn refused(core: &Core, edit: Edit) -> &'static str {
    reason(core.edit(edit).await.unwrap_err())
}

#[tokio::test]
async fn whoever_is_enrolled_is_recognised_but_was_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let before = sightings(&core);
    core.edit(enrol_new("Eve", &[4, 5])).await.unwrap();
    assert_eq!(sightings(&core), before);
    let eve = core.catalog().identity(3).unwrap().unwrap();
    assert_eq!((eve.name.as_str(), eve.photo_count), ("Eve", 2));
    assert_eq!((eve.track_count, eve.exemplar_count), (0, 2));
    assert!(eve.first_seen.is_none() && eve.cover_exemplar_id > 0);
    assert_eq!(who(&core, 2), Some(3));
    // Whoever looks like that joins her, and she has been seen.
    let seen = exemplar(1, 0.8, &face(2, 0.1));
    let items = vec![closed(track(9, 1, (7, 8), vec![seen]))];
    core.observe(source, run.id, items).await.unwrap();
    let eve = core.catalog().identity(3).unwrap().unwrap();
    assert_eq!((eve.track_count, eve.photo_count), (1, 2));
    assert!(eve.first_seen.is_some());
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn what_is_undone_is_gone_and_undoing_that_brings_it_back() {
    let makes: [fn() -> Edit; 2] = [|| enrol_new("Eve", &[4, 5]), || enrol_known(2, &[3])];
    for make in makes {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        two_people(&core).await;
        let before = (everything(&core), core.view().index.stats().faces);
        let made = core.edit(make()).await.unwrap();
        let after = (everything(&core), core.view().index.stats().faces);
        assert_ne!(after, before);
        let mut last = made;
        for expected in [&before, &after, &before, &after] {
            last = core.edit(undo(last)).await.unwrap();
            let now = (everything(&core), core.view().index.stats().faces);
            assert_eq!(now, *expected, "{:?}", make());
            core.view().index.verify().unwrap();
        }
        core.close().await;
    }
}

#[tokio::test]
async fn edits_that_are_committed_together_are_read_back_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let next = core.view().sequence + 1;
    let (made, undone, back) = tokio::join!(
        core.edit(enrol_new("Eve", &[4, 5])),
        core.edit(undo(next)),
        core.edit(undo(next + 1)),
    );
    assert_eq!(made, Ok(next));
    assert_eq!((undone, back), (Ok(next + 1), Ok(next + 2)));
    assert_eq!(who(&core, 2), Some(1));
    core.close().await;
}

#[tokio::test]
async fn a_photo_is_one_persons_and_enrolled_once() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let made = core.edit(enrol_new("Eve", &[4, 4])).await.unwrap();
    assert_eq!(refused(&core, enrol_new("eve", &[4])).await, "PHOTOS_KNOWN");
    assert_eq!(refused(&core, enrol_known(3, &[4])).await, "PHOTOS_KNOWN");
    assert_eq!(
        refused(&core, enrol_new("Eve", &[4, 5])).await,
        "NAME_TAKEN"
    );
    let elsewhere = "PHOTO_ENROLLED_ELSEWHERE";
    assert_eq!(refused(&core, enrol_new("Zoe", &[5, 4])).await, elsewhere);
    assert_eq!(refused(&core, enrol_known(1, &[4])).await, elsewhere);
    assert_eq!(
        core.catalog()
            .identities(None, 9, &Default::default())
            .unwrap()
            .1,
        3
    );
    core.edit(enrol_known(3, &[4, 5])).await.unwrap();
    let eve = core.catalog().identity(3).unwrap().unwrap();
    assert_eq!(eve.photo_count, 2);
    // What another edit enrolled is not taken back with it.
    core.edit(undo(made)).await.unwrap();
    let left = core.catalog().identity(3).unwrap().unwrap();
    assert_eq!((left.name.as_str(), left.photo_count), ("", 1));
    core.close().await;
    // A photo that was enrolled again does not come back beside itself.
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let made = core.edit(enrol_new("Eve", &[4])).await.unwrap();
    let undone = core.edit(undo(made)).await.unwrap();
    core.edit(enrol_new("Zoe", &[4])).await.unwrap();
    assert_eq!(refused(&core, undo(undone)).await, "BUILT_UPON");
    core.close().await;
}

#[tokio::test]
async fn photos_that_went_on_with_somebody_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, run) = two_people(&core).await;
    let made = core.edit(enrol_new("Eve", &[4, 5])).await.unwrap();
    let merged = core.edit(merge(3, 1)).await.unwrap();
    assert_eq!(core.catalog().identity(3).unwrap().unwrap().photo_count, 2);
    assert_eq!(refused(&core, undo(made)).await, "BUILT_UPON");
    core.edit(undo(merged)).await.unwrap();
    // One photo is moved; the other alone can be taken back.
    core.edit(move_tracks(&[4], 1)).await.unwrap();
    assert_eq!(refused(&core, undo(made)).await, "BUILT_UPON");
    core.edit(partial_undo(made)).await.unwrap();
    let index = &core.view().index;
    assert_eq!(index.track_faces(TrackId::new(4)).count(), 1);
    assert_eq!(index.track_faces(TrackId::new(5)).count(), 0);
    // Who joined on their account stays, nameless.
    let made = core.edit(enrol_new("Zoe", &[0])).await;
    let zoe = core
        .catalog()
        .identities(None, 9, &Default::default())
        .unwrap()
        .0;
    let zoe = zoe.iter().find(|it| it.name == "Zoe").unwrap().id;
    let seen = exemplar(1, 0.9, &face(0, 0.0));
    let items = vec![closed(track(9, 1, (7, 8), vec![seen]))];
    core.observe(source, run.id, items).await.unwrap();
    core.edit(undo(made.unwrap())).await.unwrap();
    let left = core.catalog().identity(zoe).unwrap().unwrap();
    assert_eq!((left.name.as_str(), left.photo_count), ("", 0));
    core.close().await;
}

#[tokio::test]
async fn facts_hold_for_photos_that_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let made = core.edit(enrol_known(1, &[0])).await.unwrap();
    // The photo and a track of the same person; then that track turns out to be somebody else's.
    core.edit(link(&[4, 1])).await.unwrap();
    let undone = core.edit(undo(made)).await.unwrap();
    core.edit(move_tracks(&[1], 2)).await.unwrap();
    assert_eq!(refused(&core, undo(undone)).await, "FACTS_CONTRADICT");
    core.edit(forget(1)).await.unwrap();
    core.edit(undo(undone)).await.unwrap();
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn embeddings_of_another_contract_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let mut asked = enrol_new("Eve", &[4]);
    if let super::Change::Enrol { contract, .. } = &mut asked.change {
        *contract = "other".to_owned();
    }
    assert_eq!(refused(&core, asked).await, "MODEL_MISMATCH");
    assert_eq!(core.catalog().counts().unwrap().identities, 0);
    core.close().await;
}
