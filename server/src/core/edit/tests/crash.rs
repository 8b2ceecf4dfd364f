//! Edits on storage that fails at each of their writes: all of an edit is there afterwards, or nothing.

use super::{
    create, enrol_known, enrol_new, forget, link, merge, move_tracks, named, partial_undo, reject,
    separate, split, undo, update,
};
use crate::core::alert::Watchlist;
use crate::core::apply::Truth;
use crate::core::catalog::CatalogWriter;
use crate::core::contracts::Side;
use crate::core::edit::{Edit, carry_out};
use crate::core::fill::{fill_index, survivors};
use crate::core::tests::{CONTRACT, DIMENSION, face};
use crate::core::writer::{Refusal, record};
use rollcall_index::{Index, MemoryBudget};
use rollcall_log::record::{
    Body, CollectionOpened, Decision, DecisionKind, Exemplar, TrackObserved,
};
use rollcall_log::storage::{Fault, Survival};
use rollcall_log::{Log, LogOptions, MemoryStorage};
use std::sync::Arc;

/// The log in `storage` with its views, made anew.
pub(in crate::core) fn truth(storage: &MemoryStorage) -> (Truth, tempfile::TempDir) {
    let (log, _) = Log::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog");
    let (id, durable) = (log.id().to_string(), log.durable_sequence());
    let (mut catalog, _) = CatalogWriter::open(&path, &id, log.epoch(), durable).unwrap();
    for record in log.reader().read_after(0) {
        catalog.apply(&record.unwrap()).unwrap();
    }
    catalog.commit(durable).unwrap();
    let (index, budget) = (Index::new(DIMENSION), MemoryBudget::default());
    let index = fill_index(
        index,
        (&log.reader(), Side::InService),
        budget,
        &mut |_, _| {},
    )
    .unwrap();
    let alerts = Watchlist::load(&catalog, &log.reader()).unwrap();
    let truth = Truth {
        log,
        index,
        other: None,
        catalog,
        alerts,
        hri: None,
        uncommitted: Vec::new(),
    };
    (truth, folder)
}

/// Two people: one in tracks 1 and 2, the other in track 3.
fn seen() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let (mut truth, _folder) = truth(&storage);
    let opened = Body::CollectionOpened(CollectionOpened {
        contract: CONTRACT.to_owned(),
        dimension: u32::try_from(DIMENSION).unwrap(),
    });
    truth.write(record("", "", opened), Vec::new()).unwrap();
    for (track, identity) in [(1, 1), (2, 1), (3, 2)] {
        let embedding = face(usize::try_from(identity).unwrap(), 0.1);
        let blob = truth.log.put_blob(&embedding.to_f16_bytes()).unwrap();
        let observed = TrackObserved {
            track_id: track,
            track_key: track,
            source_id: 1,
            revision: 1,
            exemplars: vec![Exemplar {
                exemplar_id: track,
                quality: 0.5,
                embedding: Some(blob),
                ..Exemplar::default()
            }],
            exemplar_count: 1,
            decision: Some(Decision {
                identity_id: identity,
                kind: DecisionKind::New.into(),
                ..Decision::default()
            }),
            ..TrackObserved::default()
        };
        let body = Body::TrackObserved(observed);
        truth.write(record("", "", body), vec![embedding]).unwrap();
    }
    truth.log.sync().unwrap();
    storage
}

/// Makes the edits, each with a sync of its own, as far as the storage lets it.
fn make(truth: &mut Truth, edits: &[Edit]) -> bool {
    edits.iter().all(|edit| {
        let made = carry_out(truth, edit.clone());
        assert!(!matches!(made, Err(Refusal::Command(_))), "{edit:?}");
        made.is_ok() && truth.log.sync().is_ok()
    })
}

/// All that the records say: of people, of tracks, of faces.
fn state(truth: &Truth) -> String {
    let catalog = &truth.catalog;
    let people = (1..=4).map(|id| {
        let (profile, tracks) = (catalog.profile(id), catalog.tracks_of(id));
        format!("{profile:?} {tracks:?} {:?}\n", catalog.absorber(id))
    });
    let facts =
        (1..=4).map(|id| format!("{:?}\n", catalog.fact(id).map(|it| it.map(|it| it.fact))));
    let sequence = truth.log.durable_sequence();
    let faces = survivors(&truth.log.reader(), sequence, Side::InService)
        .unwrap()
        .faces;
    let faces = faces
        .iter()
        .map(|face| format!("{}:{} ", face.face, face.identity));
    people.chain(facts).chain(faces).collect()
}

/// The edit, on top of the ones before it, is there whole or not at all, whichever of its writes fails,
/// and whatever of them survives.
fn all_or_nothing(before: &[Edit], edit: Edit) {
    let without = seen();
    assert!(make(&mut truth(&without).0, before));
    let with = seen();
    assert!(make(&mut truth(&with).0, before));
    assert!(make(&mut truth(&with).0, std::slice::from_ref(&edit)));
    let expected = [state(&truth(&without).0), state(&truth(&with).0)];
    assert_ne!(expected[0], expected[1]);
    for survival in [Survival::Dropped, Survival::Torn, Survival::Kept] {
        let mut seen_states = [false; 2];
        for operations in 0.. {
            let storage = seen();
            let (mut truth_now, _folder) = truth(&storage);
            assert!(make(&mut truth_now, before));
            storage.fail_after(operations, Fault::Dead);
            let made = make(&mut truth_now, std::slice::from_ref(&edit));
            drop(truth_now);
            storage.cut_power(survival, operations);
            let (reopened, _folder) = truth(&storage);
            let found = state(&reopened);
            let which = expected.iter().position(|state| *state == found);
            let which = which.unwrap_or_else(|| panic!("{edit:?}, write {operations}:\n{found}"));
            assert!(which == 1 || !made, "acknowledged and gone: {edit:?}");
            seen_states[which] = true;
            reopened.index.newest().verify().unwrap();
            if made {
                break;
            }
        }
        assert_eq!(seen_states, [true; 2], "{survival:?}");
    }
}

#[test]
fn an_edit_cut_off_by_the_storage_is_there_whole_or_not_at_all() {
    all_or_nothing(&[], create("Eve"));
    all_or_nothing(&[], update(1, named("Ada")));
    all_or_nothing(&[update(1, named("Ada"))], merge(1, 2));
    // The records before it: one that opens the collection, three of tracks, the name.
    all_or_nothing(&[update(1, named("Ada")), merge(1, 2)], undo(6));
    all_or_nothing(&[], move_tracks(&[1, 2], 2));
    all_or_nothing(&[], split(1, &[2], "Eve"));
    all_or_nothing(&[], link(&[3, 1]));
    all_or_nothing(&[], separate(1, 2));
    all_or_nothing(&[], reject(1, &[1, 2]));
    all_or_nothing(&[separate(1, 2)], forget(1));
    all_or_nothing(&[reject(1, &[1, 2])], undo(5));
    all_or_nothing(&[], enrol_new("Eve", &[4, 5]));
    all_or_nothing(&[], enrol_known(1, &[0]));
    all_or_nothing(&[enrol_new("Eve", &[4, 5])], undo(5));
    all_or_nothing(&[enrol_new("Eve", &[4, 5]), undo(5)], undo(6));
    let since = [split(1, &[1, 2], "Eve"), move_tracks(&[2], 2)];
    all_or_nothing(&since, partial_undo(5));
}
