//! Migrations among whatever else happens: both indexes are what the log says after each step.

use super::{Asked, OTHER_DIMENSION, embedded, exemplar, start};
use crate::core::alert::Watchlist;
use crate::core::apply::Truth;
use crate::core::catalog::CatalogWriter;
use crate::core::contracts::Side;
use crate::core::edit::{self, Change, Edit, ProfileUpdate};
use crate::core::fill::{fill_index, survivors};
use crate::core::marks::Marks;
use crate::core::migrate::{Step, carry_out};
use crate::core::observe::Runs;
use crate::core::tests::{DIMENSION, closed, options, track};
use crate::core::writer::{Refusal, record};
use crate::core::{Catalog, CoreMetrics, CoreOptions, Observed};
use proptest::prelude::*;
use rollcall_index::{FaceId, Index, MemoryBudget};
use rollcall_log::record::{Body, CollectionOpened, SourceAdded, SourceKind};
use rollcall_log::{Log, LogOptions, MemoryStorage};
use std::sync::Arc;

/// One thing that happens; what cannot be is refused.
#[derive(Clone, Debug)]
enum Event {
    Seen(Seen),
    Migrate(Move),
    /// Everything is seen again by another pipeline.
    Again,
    Hide(u64, bool),
    Merge(u64, u64),
    Undo(prop::sample::Index),
    /// The server is killed, and its views are lost.
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Seen {
    /// Somebody is there, with or without a picture, and gone.
    Once(u8, bool),
    /// Somebody comes.
    Come(u8),
    /// Whoever came first turns out to be this one, and goes.
    Turn(u8),
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Start,
    Embed(u8),
    Switch,
    Cancel,
    RollBack,
    Finish,
}

fn event() -> impl Strategy<Value = Event> {
    let (person, id) = (0..5_u8, 1..8_u64);
    prop_oneof![
        4 => (person.clone(), prop::bool::weighted(0.8))
            .prop_map(|(person, pictured)| Event::Seen(Seen::Once(person, pictured))),
        2 => person.clone().prop_map(|person| Event::Seen(Seen::Come(person))),
        2 => person.prop_map(|person| Event::Seen(Seen::Turn(person))),
        1 => Just(Event::Again),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, hidden)| Event::Hide(id, hidden)),
        2 => (id.clone(), id).prop_map(|(from, into)| Event::Merge(from, into)),
        1 => any::<prop::sample::Index>().prop_map(Event::Undo),
        3 => Just(Event::Migrate(Move::Start)),
        6 => (1..4_u8).prop_map(|limit| Event::Migrate(Move::Embed(limit))),
        4 => Just(Event::Migrate(Move::Switch)),
        1 => Just(Event::Migrate(Move::Cancel)),
        2 => Just(Event::Migrate(Move::RollBack)),
        1 => Just(Event::Migrate(Move::Finish)),
        1 => Just(Event::Reopen),
    ]
}

struct World {
    storage: MemoryStorage,
    /// `None` while the log is let go of.
    truth: Option<Truth>,
    catalog: tempfile::TempDir,
    runs: Runs,
    options: CoreOptions,
    run: u64,
    pipelines: u32,
    key: u64,
    open: Vec<(u64, i64)>,
    edits: Vec<u64>,
}

/// The log in `storage` with its views, made anew.
fn truth(storage: &MemoryStorage) -> (Truth, tempfile::TempDir) {
    let (log, _) = Log::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog");
    let (id, durable) = (log.id().to_string(), log.durable_sequence());
    let (mut catalog, _) = CatalogWriter::open(&path, &id, log.epoch(), durable).unwrap();
    for record in log.reader().read_after(0) {
        catalog.apply(&record.unwrap()).unwrap();
    }
    catalog.commit(durable).unwrap();
    let index = |side| {
        let dimension = catalog.contracts().side(side)?.dimension;
        let (from, budget) = ((&log.reader(), side), MemoryBudget::default());
        let filled = fill_index(Index::new(dimension), from, budget, &mut |_, _| {});
        Some(filled.unwrap())
    };
    let alerts = Watchlist::load(&catalog, &log.reader()).unwrap();
    let truth = Truth {
        index: index(Side::InService).unwrap(),
        other: index(Side::Other),
        log,
        catalog,
        alerts,
        hri: None,
        uncommitted: Vec::new(),
    };
    (truth, folder)
}

impl World {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let (mut log, _) = Log::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
        let opened = Body::CollectionOpened(CollectionOpened {
            contract: "test".to_owned(),
            dimension: u32::try_from(DIMENSION).unwrap(),
        });
        let source = Body::SourceAdded(SourceAdded {
            source_id: 1,
            kind: SourceKind::File.into(),
            ..SourceAdded::default()
        });
        for body in [opened, source] {
            log.append(record("", "", body)).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        let (truth, catalog) = truth(&storage);
        let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
        let mut world = Self {
            storage,
            truth: Some(truth),
            options: options(catalog.path()),
            catalog,
            runs: Runs::new(0.4, DIMENSION, metrics, Arc::default()),
            run: 0,
            pipelines: 0,
            key: 0,
            open: Vec::new(),
            edits: Vec::new(),
        };
        world.begin_run();
        world
    }

    fn truth(&mut self) -> &mut Truth {
        self.truth.as_mut().unwrap()
    }

    fn reader(&self) -> Catalog {
        Catalog::open(&self.catalog.path().join("catalog")).unwrap()
    }

    fn begin_run(&mut self) {
        let pipeline = format!("p{}", self.pipelines);
        let truth = self.truth.as_mut().unwrap();
        self.runs.end(1, self.run);
        self.run = self.runs.begin(truth, 1, pipeline).ok().unwrap().id;
        self.open.clear();
    }

    fn observe(&mut self, observed: Observed) {
        let truth = self.truth.as_mut().unwrap();
        let done = self.runs.observe(truth, 1, self.run, vec![observed]);
        assert!(done.is_ok());
    }

    fn next(&mut self) -> (u64, i64) {
        self.key += 1;
        (self.key, i64::try_from(self.key).unwrap() * 10)
    }

    fn edit(&mut self, change: Change) {
        let edit = Edit {
            change,
            author: String::new(),
            reason: String::new(),
            request_id: String::new(),
        };
        match edit::carry_out(self.truth(), edit) {
            Ok(sequence) => self.edits.push(sequence),
            Err(Refusal::Command(_)) => {}
            Err(Refusal::Writer(failure)) => panic!("{failure}"),
        }
    }

    fn step(&mut self, step: Step) -> bool {
        let truth = self.truth.as_mut().unwrap();
        match carry_out(truth, &mut self.runs, &mut self.options, step) {
            Ok(_) => true,
            Err(Refusal::Command(_)) => false,
            Err(Refusal::Writer(failure)) => panic!("{failure}"),
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Seen(seen) => self.seen(*seen),
            Event::Migrate(step) => self.migrate(*step),
            Event::Again => {
                self.pipelines += 1;
                self.begin_run();
            }
            Event::Hide(identity_id, hidden) => self.edit(Change::Update {
                identity_id: *identity_id,
                etag: None,
                update: ProfileUpdate {
                    hidden: Some(*hidden),
                    ..ProfileUpdate::default()
                },
                allow_duplicate_name: false,
            }),
            Event::Merge(from, into) => self.edit(Change::Merge {
                from: *from,
                into: *into,
                from_etag: None,
                into_etag: None,
            }),
            Event::Undo(_) if self.edits.is_empty() => {}
            Event::Undo(edit) => self.edit(Change::Undo {
                sequence: *edit.get(&self.edits),
                allow_duplicate_name: false,
                partial: false,
            }),
            Event::Reopen => {
                self.truth = None;
                let (truth, catalog) = truth(&self.storage);
                (self.truth, self.catalog) = (Some(truth), catalog);
            }
        }
        let truth = self.truth();
        let sequence = truth.log.sync().unwrap();
        truth.catalog.commit(sequence).unwrap();
        truth.uncommitted.clear();
    }

    fn seen(&mut self, seen: Seen) {
        let dimension = self.truth().index.newest().dimension();
        let face = |number, person, pictured| exemplar(number, dimension, (person, pictured));
        match seen {
            Seen::Once(person, pictured) => {
                let (key, at) = self.next();
                let seen = vec![face(1, person, pictured)];
                self.observe(closed(track(key, 1, (at, at), seen)));
            }
            Seen::Come(person) => {
                let (key, at) = self.next();
                let seen = vec![face(1, person, true), face(2, person, true)];
                self.observe(Observed::Track(track(key, 1, (at, at), seen)));
                self.open.push((key, at));
            }
            Seen::Turn(_) if self.open.is_empty() => {}
            Seen::Turn(person) => {
                let (key, at) = self.open.remove(0);
                let mut turned = track(key, 2, (at, at + 1), vec![face(3, person, true)]);
                turned.dropped_exemplars = vec![1, 2];
                self.observe(closed(turned));
            }
        }
    }

    fn migrate(&mut self, step: Move) {
        match step {
            Move::Start => {
                // There and back again: a migration goes to whichever is not in service.
                let mut step = start(true);
                let in_service = self.truth().catalog.contracts().in_service().id.clone();
                if let Step::Start(new, _) = &mut step
                    && new.to.contract == in_service
                {
                    let new = &mut **new;
                    std::mem::swap(&mut new.from, &mut new.to);
                }
                self.step(step);
            }
            Move::Embed(limit) => self.embed(u32::from(limit)),
            Move::Switch => {
                self.embed(1000);
                let on = self.truth().catalog.contracts().migrating().cloned();
                let number = on.map_or(0, |on| on.number);
                if self.step(Step::Switch { number }) {
                    self.begin_run();
                }
            }
            Move::Cancel => {
                self.step(Step::Cancel(Asked::default()));
            }
            Move::RollBack => {
                let (allow_loss, asked) = (true, Asked::default());
                self.step(Step::RollBack { allow_loss, asked });
            }
            Move::Finish => {
                self.step(Step::Finish(Asked::default()));
            }
        }
    }

    fn embed(&mut self, limit: u32) {
        let contracts = Arc::clone(self.truth().catalog.contracts());
        let Some(on) = contracts.migrating().filter(|on| on.phase.embeds()) else {
            return;
        };
        let (number, dimension) = (on.number, contracts.other().unwrap().dimension);
        let pending = self.reader().pending(number, limit).unwrap();
        let log = self.truth().log.reader();
        let exemplars = embedded(&log, dimension, pending);
        assert!(self.step(Step::Reembedded { number, exemplars }));
    }

    /// Both indexes, and the counts, are what the log says.
    fn check(&self) {
        let truth = self.truth.as_ref().unwrap();
        let contracts = truth.catalog.contracts();
        let other = contracts.other().map(|_| truth.other.as_ref().unwrap());
        let sides = [(Side::InService, Some(&truth.index)), (Side::Other, other)];
        for (side, index) in sides {
            let Some(index) = index else { continue };
            let state = index.newest();
            state.verify().unwrap();
            assert_eq!(state.dimension(), contracts.side(side).unwrap().dimension);
            let log = truth.log.reader();
            let expected = survivors(&log, truth.log.durable_sequence(), side).unwrap();
            assert_eq!(state.stats().faces, expected.faces.len(), "{side:?}");
            for face in expected.faces {
                let entry = state.face(FaceId::new(face.face)).unwrap();
                assert_eq!(entry.identity.get(), face.identity, "{side:?}");
                let marks = state.identity_state(entry.identity).map(Marks::in_index);
                let said = expected.marks.get(&face.identity).copied();
                assert_eq!(marks, Some(said.unwrap_or_default()), "{side:?}");
            }
        }
        let (catalog, progress) = (self.reader(), truth.catalog.progress());
        assert_eq!(progress.total, catalog.counts().unwrap().exemplars);
        if let Some(on) = contracts.migrating() {
            let pending = catalog.pending(on.number, 10_000).unwrap().len();
            assert_eq!(progress.total - progress.done, pending as u64);
            let lost = |back| catalog.lost_by(on.number, back).unwrap().exemplars;
            assert_eq!(progress.lost, lost(false) + lost(true));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..crate::test_config() })]
    /// Whatever is seen, edited, embedded again and switched, in whatever order.
    #[test]
    fn both_indexes_are_what_the_log_says(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
            world.check();
        }
        let dimension = world.truth().index.newest().dimension();
        prop_assert!([DIMENSION, OTHER_DIMENSION].contains(&dimension));
    }
}
