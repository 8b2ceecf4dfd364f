//! A migration whose server is killed after any of its records: opened again it is where it was, and ends
//! where it would have ended.

use super::{Asked, OTHER_DIMENSION, embedded, exemplar, start};
use crate::core::contracts::Side;
use crate::core::edit::{Change, Edit, ProfileUpdate};
use crate::core::fill::survivors;
use crate::core::migrate::Step;
use crate::core::tests::{DIMENSION, closed, copy, identities, options, sightings, source, track};
use crate::core::{Contracts, Core, CoreMetrics, CoreOptions, Opening, Phase};
use crate::error::ApiError;
use crate::pb;
use rollcall_index::{FaceId, TrackId};
use std::path::Path;
use std::sync::Arc;

/// One thing that happens; each is a record.
#[derive(Clone, Copy, Debug)]
enum Act {
    See(u8),
    /// Without a picture.
    SeeOnly(u8),
    Name(u64, &'static str),
    Hide(u64),
    Merge(u64, u64),
    Start,
    Embed(u32),
    Switch,
    RollBack,
    Cancel,
    Finish,
}

/// A core in a folder that may be copied at any time, as if its server were killed then.
struct Stage {
    folder: tempfile::TempDir,
    core: Core,
    source: u64,
    run: u64,
    key: u64,
}

fn open(folder: &Path) -> Core {
    let opening = Opening::of(folder).unwrap();
    let mut options = options(folder);
    if let Some(contract) = opening.contract() {
        options = CoreOptions {
            contract: contract.id.clone(),
            dimension: contract.dimension,
            ..options
        };
    }
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    Core::start(opening, options, metrics).unwrap()
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        let source = source(&core, pb::SourceKind::Remote).await;
        let run = core.begin_run(source, "p".to_owned()).await.unwrap().id;
        Self {
            folder,
            core,
            source,
            run,
            key: 0,
        }
    }

    /// As another process finds it after the first was killed, and after somebody has deleted views of the log:
    /// those whose name begins like that.
    async fn killed(&self, deleted: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path(), deleted);
        if deleted != Some("index") {
            assert_found(folder.path());
        }
        let core = open(folder.path());
        let run = core
            .begin_run(self.source, "p".to_owned())
            .await
            .unwrap()
            .id;
        Self {
            folder,
            core,
            source: self.source,
            run,
            key: self.key,
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::See(person) => self.see(person, true).await,
            Act::SeeOnly(person) => self.see(person, false).await,
            Act::Name(identity_id, name) => {
                let update = ProfileUpdate {
                    name: Some(name.to_owned()),
                    ..ProfileUpdate::default()
                };
                self.update(identity_id, update).await;
            }
            Act::Hide(identity_id) => {
                let update = ProfileUpdate {
                    hidden: Some(true),
                    ..ProfileUpdate::default()
                };
                self.update(identity_id, update).await;
            }
            Act::Merge(from, into) => {
                self.edit(Change::Merge {
                    from,
                    into,
                    from_etag: None,
                    into_etag: None,
                })
                .await;
            }
            Act::Start => self.step(start(true)).await,
            Act::Embed(limit) => {
                let (number, contracts) = self.migration();
                let dimension = contracts.other().unwrap().dimension;
                let pending = self.core.catalog().pending(number, limit).unwrap();
                let exemplars = embedded(&self.core.log(), dimension, pending);
                self.step(Step::Reembedded { number, exemplars }).await;
            }
            Act::Switch => {
                self.step(Step::Hold(true)).await;
                let number = self.migration().0;
                self.step(Step::Switch { number }).await;
                // Runs of the old contract are over.
                let run = self.core.begin_run(self.source, "p".to_owned()).await;
                self.run = run.unwrap().id;
            }
            Act::RollBack => {
                let (allow_loss, asked) = (true, Asked::default());
                self.step(Step::RollBack { allow_loss, asked }).await;
            }
            Act::Cancel => self.step(Step::Cancel(Asked::default())).await,
            Act::Finish => self.step(Step::Finish(Asked::default())).await,
        }
    }

    fn migration(&self) -> (u64, Arc<Contracts>) {
        let contracts = Arc::clone(&self.core.view().contracts);
        (contracts.migrating().unwrap().number, contracts)
    }

    async fn step(&self, step: Step) {
        self.core.migrate(step).await.unwrap();
    }

    async fn edit(&self, change: Change) {
        let edit = Edit {
            change,
            author: "tester".to_owned(),
            reason: String::new(),
            request_id: String::new(),
        };
        self.core.edit(edit).await.unwrap();
    }

    async fn update(&self, identity_id: u64, update: ProfileUpdate) {
        self.edit(Change::Update {
            identity_id,
            etag: None,
            update,
            allow_duplicate_name: false,
        })
        .await;
    }

    async fn see(&mut self, person: u8, pictured: bool) {
        self.key += 1;
        let at = i64::try_from(self.key).unwrap() * 10;
        let dimension = self.core.view().index.dimension();
        let seen = exemplar(1, dimension, (person, pictured));
        let seen = closed(track(self.key, 1, (at, at), vec![seen]));
        let observed = self.core.observe(self.source, self.run, vec![seen]).await;
        observed.unwrap();
    }

    /// All that can be asked, but for sequences.
    fn told(&self) -> String {
        let view = self.core.view();
        view.index.verify().unwrap();
        let people = identities(&self.core).into_iter().map(|identity| {
            let (tracks, faces) = (identity.track_count, identity.exemplar_count);
            format!("{} {:?} {tracks} {faces}\n", identity.id, identity.name)
        });
        let mut told: String = people.collect();
        for sighting in sightings(&self.core) {
            let (track, identity) = (sighting.track_id, sighting.identity_id);
            told += &format!("track {track} of {identity}:");
            for face in view.index.track_faces(TrackId::new(track)) {
                let embedding = face.embedding();
                let values = embedding.as_slice();
                let most = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]));
                let state = view.index.identity_state(face.identity);
                told += &format!(
                    " {} of {} on {} at {} {most:?} {state:?}",
                    face.face, face.identity, face.source, face.seen_us
                );
            }
            told += "\n";
        }
        let contracts = &view.contracts;
        let phase = contracts.migrating().map(|on| on.phase);
        let (of, other) = (&contracts.in_service().id, contracts.other());
        let other = other.map(|other| &other.id);
        told + &format!("{of} {other:?} {phase:?} {:?}\n", view.progress)
    }
}

/// Fails the test unless both indexes can be brought up to the log from what is in their folders.
fn assert_found(data: &Path) {
    let opening = Opening::of(data).unwrap();
    for side in [Side::InService, Side::Other] {
        let (Some(found), log) = opening.index_found(side) else {
            continue;
        };
        let index = found.unwrap();
        let state = index.newest();
        state.verify().unwrap();
        let faces = survivors(&log, state.sequence(), side).unwrap().faces;
        assert_eq!(state.stats().faces, faces.len());
        for face in faces {
            let entry = state.face(FaceId::new(face.face)).unwrap();
            assert_eq!(entry.identity.get(), face.identity);
        }
    }
}

/// Whatever happens, killed after it, with or without its views: it is where it was, and ends where it would have.
async fn check(acts: &[Act], ends: Phase) {
    let mut undisturbed = Stage::new().await;
    for act in acts {
        undisturbed.act(*act).await;
    }
    let end = undisturbed.told();
    let view = undisturbed.core.view();
    assert_eq!(view.contracts.migration().unwrap().phase, ends);
    let mut stage = Stage::new().await;
    for (number, act) in acts.iter().enumerate() {
        stage.act(*act).await;
        for deleted in [None, Some("catalog"), Some("index")] {
            let mut again = stage.killed(deleted).await;
            let what = format!("after {act:?}, number {number}, without {deleted:?}");
            assert_eq!(again.told(), stage.told(), "{what}");
            for act in &acts[number + 1..] {
                again.act(*act).await;
            }
            assert_eq!(again.told(), end, "killed {what}");
            again.core.close().await;
        }
    }
    stage.core.close().await;
    undisturbed.core.close().await;
}

/// Three people in four tracks; of the third there is no picture.
const BEFORE: [Act; 5] = [
    Act::See(1),
    Act::See(2),
    Act::SeeOnly(3),
    Act::See(1),
    Act::Name(1, "Ada"),
];

#[tokio::test]
async fn a_migration_that_switches_and_is_finished() {
    let during = [
        Act::Hide(2),
        Act::Start,
        Act::Embed(2),
        Act::See(4),
        Act::Merge(2, 1),
        Act::See(1),
        Act::Embed(100),
        Act::Switch,
        Act::See(1),
        Act::See(5),
        Act::Finish,
        Act::See(2),
    ];
    check(&[&BEFORE[..], &during].concat(), Phase::Done).await;
}

#[tokio::test]
async fn a_migration_that_switches_and_is_rolled_back() {
    let during = [
        Act::Start,
        Act::Embed(100),
        Act::Switch,
        Act::See(4),
        Act::SeeOnly(5),
        Act::Merge(4, 2),
        Act::See(1),
        Act::RollBack,
        Act::Embed(1),
        Act::See(2),
        Act::Embed(100),
        Act::Switch,
        Act::See(1),
    ];
    check(&[&BEFORE[..], &during].concat(), Phase::RolledBack).await;
}

#[tokio::test]
async fn a_migration_that_is_cancelled_and_one_after_it() {
    let during = [
        Act::Start,
        Act::Embed(2),
        Act::Cancel,
        Act::See(4),
        Act::Start,
        Act::Embed(2),
        Act::Embed(100),
        Act::Switch,
    ];
    check(&[&BEFORE[..], &during].concat(), Phase::Switched).await;
}

#[tokio::test]
async fn steps_out_of_turn_are_refused() {
    let mut stage = Stage::new().await;
    let refused = async |stage: &Stage, step| {
        let error = stage.core.migrate(step).await.unwrap_err();
        ApiError::from(error).reason()
    };
    let asked = Asked::default;
    let roll_back = || Step::RollBack {
        allow_loss: false,
        asked: asked(),
    };
    for step in [Step::Cancel(asked()), Step::Finish(asked()), roll_back()] {
        assert_eq!(refused(&stage, step).await, "MIGRATION_NOT_FOUND");
    }
    stage.act(Act::See(1)).await;
    stage.step(start(false)).await;
    let number = stage.migration().0;
    assert_eq!(refused(&stage, start(false)).await, "MIGRATION_RUNNING");
    // Asked again, it may be allowed to lose people; that is the same migration.
    stage.step(start(true)).await;
    assert_eq!(stage.migration().0, number);
    assert!(stage.migration().1.migrating().unwrap().allow_loss);
    assert_eq!(refused(&stage, start(true)).await, "MIGRATION_RUNNING");
    for step in [Step::Finish(asked()), roll_back(), Step::Switch { number }] {
        assert_eq!(refused(&stage, step).await, "MIGRATION_STATE");
    }
    let exemplars = vec![super::Reembedding {
        exemplar: 1,
        embedding: Some(super::under(DIMENSION, 1).to_f16_bytes()),
    }];
    let wrong = Step::Reembedded { number, exemplars };
    assert_eq!(refused(&stage, wrong).await, "INVALID_EMBEDDING");
    assert_eq!(stage.core.catalog().pending(number, 9).unwrap().len(), 1);
    stage.act(Act::Embed(9)).await;
    assert_eq!(stage.core.catalog().pending(number, 9).unwrap(), []);
    switch_and_turn_back(&mut stage, number).await;
    for step in [Step::Cancel(asked()), Step::Finish(asked()), roll_back()] {
        assert_eq!(refused(&stage, step).await, "MIGRATION_STATE");
    }
    stage.step(Step::Switch { number }).await;
    assert_eq!(stage.core.view().index.dimension(), DIMENSION);
    stage.core.close().await;
}

/// Nothing is observed while runs are held, and nothing of the old contract after the switch.
async fn switch_and_turn_back(stage: &mut Stage, number: u64) {
    let reason = |error| ApiError::from(error).reason();
    let seen = exemplar(1, DIMENSION, (1, true));
    let seen = || closed(track(9, 1, (1, 1), vec![seen.clone()]));
    stage.step(Step::Hold(true)).await;
    let (source, run) = (stage.source, stage.run);
    let held = stage.core.observe(source, run, vec![seen()]).await;
    assert_eq!(reason(held.unwrap_err()), "MIGRATION_SWITCHING");
    let held = stage.core.begin_run(source, "p".to_owned()).await;
    assert_eq!(reason(held.unwrap_err()), "MIGRATION_SWITCHING");
    stage.step(Step::Switch { number }).await;
    assert_eq!(stage.core.view().index.dimension(), OTHER_DIMENSION);
    let old = stage.core.observe(source, run, vec![seen()]).await;
    assert_eq!(reason(old.unwrap_err()), "PROTOCOL_VIOLATION");
    let run = stage.core.begin_run(source, "p".to_owned()).await;
    let old = stage
        .core
        .observe(source, run.unwrap().id, vec![seen()])
        .await;
    assert_eq!(reason(old.unwrap_err()), "INVALID_EMBEDDING");
    let cancelled = stage.core.migrate(Step::Cancel(Asked::default())).await;
    assert_eq!(reason(cancelled.unwrap_err()), "MIGRATION_STATE");
    stage.act(Act::RollBack).await;
}

#[tokio::test]
async fn a_step_asked_for_twice_is_taken_once() {
    let mut stage = Stage::new().await;
    stage.act(Act::See(1)).await;
    let asked = || Asked {
        request_id: "r".to_owned(),
        ..Asked::default()
    };
    let Step::Start(new, _) = start(false) else {
        unreachable!()
    };
    let begin = || Step::Start(new.clone(), asked());
    let first = stage.core.migrate(begin()).await.unwrap();
    assert_eq!(stage.core.migrate(begin()).await.unwrap(), first);
    let other = stage.core.migrate(Step::Cancel(asked())).await.unwrap_err();
    assert_eq!(ApiError::from(other).reason(), "REQUEST_ID_REUSED");
    stage.core.close().await;
}
