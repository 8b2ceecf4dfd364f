//! Random comings and goings, edits and changes of rules: what is raised is what the model says, and a catalog
//! made anew says the same.

use super::model::{expected, found};
use super::{SECOND, add, alerts, change, rule, seen};
use crate::core::replay::CATALOG_FILE;
use crate::core::tests::{exemplar, face, open};
use crate::core::{Change, Core, Edit, Observed, ProfileUpdate, RuleUpdate};
use crate::pb;
use proptest::prelude::*;
use rollcall_log::record::{AlertRule, Record, UnknownPeople};

const PEOPLE: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody comes, so much later (or earlier), for so long.
    Come {
        person: usize,
        later_s: i64,
        length_s: i64,
        faces: usize,
        source: usize,
        closed: bool,
    },
    /// Who came first and is still there is seen again, as this person.
    Go {
        person: usize,
        length_s: i64,
    },
    Name {
        id: u64,
    },
    Merge {
        from: u64,
        into: u64,
    },
    Undo {
        edit: prop::sample::Index,
    },
    Switch {
        rule: u64,
        enabled: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let come = (
        0..PEOPLE,
        -3..25_i64,
        0..6_i64,
        0..4_usize,
        0..2_usize,
        any::<bool>(),
    );
    let come = come.prop_map(
        |(person, later_s, length_s, faces, source, closed)| Step::Come {
            person,
            later_s,
            length_s,
            faces,
            source,
            closed,
        },
    );
    let id = 1..6_u64;
    prop_oneof![
        12 => come,
        4 => (0..PEOPLE, 0..9_i64).prop_map(|(person, length_s)| Step::Go { person, length_s }),
        1 => id.clone().prop_map(|id| Step::Name { id }),
        2 => (id.clone(), id).prop_map(|(from, into)| Step::Merge { from, into }),
        1 => any::<prop::sample::Index>().prop_map(|edit| Step::Undo { edit }),
        1 => (1..4_u64, any::<bool>()).prop_map(|(rule, enabled)| Step::Switch { rule, enabled }),
    ]
}

struct World {
    core: Core,
    sources: [(u64, u64); 2],
    now_s: i64,
    key: u64,
    /// Source, key, revision and start of those who are there.
    open: Vec<(usize, u64, u32, i64)>,
    edits: Vec<u64>,
}

fn edit(change: Change) -> Edit {
    Edit {
        change,
        author: String::new(),
        reason: String::new(),
        request_id: String::new(),
    }
}

impl World {
    async fn new(folder: &std::path::Path) -> Self {
        let core = open(folder);
        let mut sources = [(0, 0); 2];
        for (place, kind) in sources
            .iter_mut()
            .zip([pb::SourceKind::Remote, pb::SourceKind::Live])
        {
            let new = crate::core::NewSource {
                uri: format!("{kind:?}"),
                name: String::new(),
                kind,
                realtime: false,
                author: String::new(),
                request_id: String::new(),
            };
            let id = core.add_source(new).await.unwrap();
            *place = (id, core.begin_run(id, "p".into()).await.unwrap().id);
        }
        let mut world = Self {
            core,
            sources,
            now_s: 0,
            key: 0,
            open: Vec::new(),
            edits: Vec::new(),
        };
        for person in 0..PEOPLE {
            world.come(person, (0, 1), 3, 0, true).await;
        }
        let strangers = AlertRule {
            unknown_people: Some(UnknownPeople::default()),
            confirm_us: 2 * SECOND,
            ..rule(&[])
        };
        add(&world.core, rule(&[1, 2])).await;
        add(&world.core, strangers).await;
        let picky = AlertRule {
            live_only: true,
            confirm_faces: 3,
            cool_down_us: 0,
            min_cosine: Some(0.995),
            ..rule(&[1, 3])
        };
        add(&world.core, picky).await;
        world
    }

    async fn observe(&self, source: usize, item: Observed) {
        let (id, run) = self.sources[source];
        self.core.observe(id, run, vec![item]).await.unwrap();
    }

    async fn come(
        &mut self,
        person: usize,
        span: (i64, i64),
        faces: usize,
        source: usize,
        closed: bool,
    ) {
        self.key += 1;
        let mut track = seen((self.key, 1), person, span, faces);
        track.exemplars = vec![exemplar(
            1,
            0.9,
            &face(person, 0.02 * (self.key % 9) as f32),
        )];
        track.closed = closed;
        if !closed {
            self.open.push((source, self.key, 1, span.0));
        }
        self.observe(source, Observed::Track(track)).await;
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Come {
                person,
                later_s,
                length_s,
                faces,
                source,
                closed,
            } => {
                self.now_s = (self.now_s + later_s).max(0);
                let span = (self.now_s, self.now_s + length_s);
                self.come(*person, span, *faces, *source, *closed).await;
            }
            Step::Go { .. } if self.open.is_empty() => {}
            Step::Go { person, length_s } => {
                let (source, key, revision, start) = self.open.remove(0);
                let mut track = seen(
                    (key, revision + 1),
                    *person,
                    (start, start + 5 + length_s),
                    2,
                );
                track.exemplars = vec![exemplar(2, 0.9, &face(*person, 0.05))];
                track.dropped_exemplars = vec![1];
                track.closed = true;
                self.observe(source, Observed::Track(track)).await;
            }
            Step::Name { id } => {
                let update = ProfileUpdate {
                    name: Some("Ada".to_owned()),
                    ..ProfileUpdate::default()
                };
                self.edit(Change::Update {
                    identity_id: *id,
                    etag: None,
                    update,
                    allow_duplicate_name: true,
                })
                .await;
            }
            Step::Merge { from, into } => {
                self.edit(Change::Merge {
                    from: *from,
                    into: *into,
                    from_etag: None,
                    into_etag: None,
                })
                .await;
            }
            Step::Undo { .. } if self.edits.is_empty() => {}
            Step::Undo { edit } => {
                let sequence = *edit.get(&self.edits);
                self.edit(Change::Undo {
                    sequence,
                    allow_duplicate_name: true,
                    partial: false,
                })
                .await;
            }
            Step::Switch { rule, enabled } => {
                let update = RuleUpdate {
                    enabled: Some(*enabled),
                    ..RuleUpdate::default()
                };
                change(&self.core, *rule, update).await;
            }
        }
    }

    /// Makes an edit, if it is one that can be made.
    async fn edit(&mut self, change: Change) {
        self.edits.extend(self.core.edit(edit(change)).await.ok());
    }

    fn records(&self) -> Vec<Record> {
        let records = self.core.log().read_after(0);
        records.map(Result::unwrap).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..crate::test_config() })]
    #[test]
    fn what_is_raised_is_what_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut world = World::new(folder.path()).await;
            for step in &steps {
                world.step(step).await;
            }
            let records = world.records();
            assert_eq!(found(&records), expected(&records));
            let (listed, rules) = (alerts(&world.core), world.core.catalog().alert_rules(0, 9).unwrap());
            world.core.close().await;
            drop(world);
            std::fs::remove_file(folder.path().join(CATALOG_FILE)).unwrap();
            let again = open(folder.path());
            assert_eq!(alerts(&again), listed);
            assert_eq!(again.catalog().alert_rules(0, 9).unwrap(), rules);
            again.close().await;
        });
    }
}
