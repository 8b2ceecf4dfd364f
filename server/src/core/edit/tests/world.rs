//! A core and the model beside it, in random steps.

use super::model::{Field, Kind, Model, Side as Party};
use super::track_steps::{TrackStep, track_steps};
use super::{create, enrol_known, enrol_new, merge, partial_undo, reason, undo, update};
use crate::core::contracts::Side;
use crate::core::edit::{Edit, ProfileUpdate};
use crate::core::fill::{Survivors, survivors};
use crate::core::index_folder::INDEX_FOLDER;
use crate::core::marks::Marks;
use crate::core::replay::CATALOG_FILE;
use crate::core::tests::{checkpoint, closed, exemplar, face, open, sightings, source, track};
use crate::core::{Core, FactQuery, IdentityQuery, Observed};
use crate::pb;
use proptest::prelude::*;
use rollcall_index::{IdentityId, TrackId};
use rollcall_log::record::{Body, DecisionKind, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const PEOPLE: usize = 5;

/// One thing that happens. Numbers choose among what there is, and beyond.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody is seen, and gone.
    See {
        person: usize,
        noise: u8,
    },
    /// Somebody comes; badly seen if `poor`, so that the machine may think again.
    Come {
        person: usize,
        poor: bool,
    },
    /// Whoever came first turns out to be this one, and goes.
    Turn {
        person: usize,
    },
    /// The run is cut off and another pipeline reads on: what came after the checkpoint is retracted.
    Again,
    Checkpoint,
    Create {
        name: usize,
    },
    Update {
        id: u64,
        field: Field,
        value: usize,
    },
    Merge {
        from: u64,
        into: u64,
    },
    Enrol {
        /// 0 to 5: which photo; the person on it goes with it.
        photos: Vec<u64>,
        /// Somebody new of this name, or whoever this is.
        name: usize,
        id: Option<u64>,
    },
    Of(TrackStep),
    Undo {
        edit: prop::sample::Index,
        partial: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..60_u64;
    let photos = prop::collection::vec(0..6_u64, 1..4);
    let person = 0..PEOPLE;
    let fields = [
        Field::Name,
        Field::ExternalId,
        Field::Hidden,
        Field::Confirmed,
        Field::Note,
    ];
    prop_oneof![
        4 => (person.clone(), 0..4_u8).prop_map(|(person, noise)| Step::See { person, noise }),
        2 => (0..PEOPLE * 2, any::<bool>()).prop_map(|(person, poor)| Step::Come { person, poor }),
        2 => person.prop_map(|person| Step::Turn { person }),
        1 => Just(Step::Again),
        1 => Just(Step::Checkpoint),
        1 => (0..3_usize).prop_map(|name| Step::Create { name }),
        5 => (id.clone(), prop::sample::select(fields.to_vec()), 0..3_usize)
            .prop_map(|(id, field, value)| Step::Update { id, field, value }),
        5 => (id.clone(), id).prop_map(|(from, into)| Step::Merge { from, into }),
        6 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(edit, partial)| Step::Undo { edit, partial }),
        5 => (photos, 0..3_usize, prop::option::weighted(0.6, 0..60_u64))
            .prop_map(|(photos, name, id)| Step::Enrol { photos, name, id }),
        8 => track_steps().prop_map(Step::Of),
    ]
}

/// "Bob" and "bob" are one name.
pub(super) const NAMES: [&str; 3] = ["", "Bob", "bob"];
const OTHERS: [&str; 3] = ["", "7", "8"];

pub(super) struct World {
    folder: tempfile::TempDir,
    core: Core,
    pub(super) model: Model,
    source: u64,
    run: u64,
    runs: u32,
    /// Track keys given out; also the clock in seconds.
    key: u64,
    open: Vec<(u64, i64)>,
    /// The record up to which the model is told.
    sequence: u64,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        let source = source(&core, pb::SourceKind::File).await;
        let run = core.begin_run(source, "p0".to_owned()).await.unwrap().id;
        Self {
            folder,
            core,
            model: Model::default(),
            source,
            run,
            runs: 0,
            key: 0,
            open: Vec::new(),
            sequence: 0,
        }
    }

    fn records(&self, after: u64) -> Vec<Record> {
        let records = self.core.log().read_after(after);
        records.map(Result::unwrap).collect()
    }

    async fn observe(&mut self, items: Vec<Observed>) {
        let observed = self.core.observe(self.source, self.run, items).await;
        observed.unwrap();
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::See { person, noise } => {
                let noise = f32::from(*noise) / 8.0;
                let seen = exemplar(1, 0.8, &face(*person, noise));
                let (key, at) = self.next();
                self.observe(vec![closed(track(key, 1, (at, at), vec![seen]))])
                    .await;
            }
            Step::Come { person, poor } => {
                let quality = if *poor { 0.15 } else { 0.8 };
                let seen = exemplar(1, quality, &face(*person, 0.0));
                let (key, at) = self.next();
                let came = track(key, 1, (at, at), vec![seen]);
                self.observe(vec![Observed::Track(came)]).await;
                self.open.push((key, at));
            }
            Step::Turn { person } if !self.open.is_empty() => {
                let (key, at) = self.open.remove(0);
                let seen = exemplar(2, 0.9, &face(*person, 0.05));
                let mut turned = track(key, 2, (at, at + 1), vec![seen]);
                turned.dropped_exemplars = vec![1];
                self.observe(vec![closed(turned)]).await;
            }
            Step::Turn { .. } => {}
            Step::Again => {
                self.core.end_run(self.source, self.run).await;
                self.runs += 1;
                let pipeline = format!("p{}", self.runs);
                let run = self.core.begin_run(self.source, pipeline).await;
                self.run = run.unwrap().id;
                self.open.clear();
            }
            Step::Checkpoint if self.open.is_empty() => {
                let (_, at) = self.next();
                self.observe(vec![checkpoint(at)]).await;
            }
            Step::Checkpoint => {}
            Step::Create { name } => {
                self.edit(create(NAMES[*name]), |model, sequence| {
                    model.create(sequence, NAMES[*name])
                })
                .await;
            }
            Step::Update { id, field, value } => {
                let (told, value) = said(*field, *value);
                // One id beyond what there is, and 0, are unknown.
                let id = id % (self.model.last + 2);
                self.edit(update(id, told), |model, sequence| {
                    model.update(sequence, id, *field, value)
                })
                .await;
            }
            Step::Merge { from, into } => {
                let last = self.model.last;
                let (from, into) = (from % (last + 2), into % (last + 2));
                let unknown = [from, into].iter().any(|id| *id == 0 || *id > last);
                self.edit(merge(from, into), |model, sequence| match unknown {
                    true => Err("IDENTITY_NOT_FOUND"),
                    false => model.merge(sequence, from, into),
                })
                .await;
            }
            Step::Enrol { photos, name, id } => {
                let id = id.map(|id| id % (self.model.last + 2));
                let asked = match id {
                    Some(id) => enrol_known(id, photos),
                    None => enrol_new(NAMES[*name], photos),
                };
                self.edit(asked, |model, sequence| {
                    model.enrol(sequence, id.ok_or(NAMES[*name]), photos)
                })
                .await;
            }
            Step::Of(step) => self.step_of_tracks(step).await,
            Step::Undo { edit, partial } => {
                let edits = self.model.edits();
                let edit = if edits.is_empty() {
                    1
                } else {
                    *edit.get(&edits)
                };
                let asked = if *partial {
                    partial_undo(edit)
                } else {
                    undo(edit)
                };
                self.edit(asked, |model, sequence| {
                    model.undo(sequence, edit, *partial)
                })
                .await;
            }
        }
        for record in self.records(self.sequence) {
            self.model.observed(&record);
            self.sequence = record.sequence;
        }
    }

    fn next(&mut self) -> (u64, i64) {
        self.key += 1;
        (self.key, i64::try_from(self.key).unwrap() * 10)
    }

    /// Both make the edit, or both refuse it for the same reason.
    pub(super) async fn edit(
        &mut self,
        edit: Edit,
        expected: impl FnOnce(&mut Model, u64) -> Result<(), &'static str>,
    ) {
        let told = format!("{edit:?}");
        let done = self.core.edit(edit).await.map_err(reason);
        let sequence = *done.as_ref().unwrap_or(&0);
        let expected = expected(&mut self.model, sequence);
        assert_eq!(done.map(|_| ()), expected, "{told}\n{:#?}", self.model);
    }

    /// Catalog, index, and the replay of the log are what the model is.
    fn check(&self) {
        let (core, model) = (&self.core, &self.model);
        let seen = sightings(core);
        let tracks: BTreeMap<u64, u64> = seen.iter().map(|s| (s.track_id, s.identity_id)).collect();
        let is_photo = |track: &u64| model.photos.values().any(|photo| photo == track);
        let mut in_sight = model.tracks.clone();
        in_sight.retain(|track, _| !is_photo(track));
        assert_eq!(tracks, in_sight);
        for id in 1..=model.last {
            let root = model.resolve(id);
            let shown = core.catalog().identity(id).unwrap().unwrap();
            assert_eq!(shown.id, root);
            let note = shown.metadata.get("note").map_or("", String::as_str);
            let says = [
                (Field::Name, shown.name.as_str()),
                (Field::ExternalId, &shown.external_id),
                (Field::Note, note),
            ];
            for (field, value) in says {
                assert_eq!(value, model.get(root, field), "{field:?} of {root}");
            }
            let hidden = shown.state() == pb::IdentityState::Hidden;
            assert_eq!(hidden, !model.get(root, Field::Hidden).is_empty());
            assert_eq!(
                shown.confirmed,
                !model.get(root, Field::Confirmed).is_empty()
            );
            let mut own = model.tracks_of(root);
            let all = own.len();
            own.retain(|track| !is_photo(track));
            let photos = (all - own.len()) as u64;
            assert_eq!(shown.track_count, own.len() as u64, "tracks of {root}");
            assert_eq!(shown.photo_count, photos, "photos of {root}");
            assert_eq!(shown.first_seen.is_some(), !own.is_empty());
            let exemplars = seen.iter().filter(|s| own.contains(&s.track_id));
            let exemplars: u32 = exemplars.map(|s| s.exemplar_count).sum();
            assert_eq!(shown.exemplar_count, u64::from(exemplars) + photos);
        }
        self.check_lists();
        self.check_facts();
        self.check_index();
    }

    /// The same facts hold, and nothing that was seen or edited has broken one.
    fn check_facts(&self) {
        let query = FactQuery {
            limit: 10_000,
            ..FactQuery::default()
        };
        let facts = self.core.catalog().facts(&query).unwrap();
        let side = |track, identity| match track {
            0 => Party::Identity(identity),
            track => Party::Track(track),
        };
        let facts = facts.iter().map(|fact| {
            let kind = match fact.kind() {
                pb::FactKind::OnePerson => Kind::One,
                pb::FactKind::TwoPeople => Kind::Two,
                pb::FactKind::Placed => Kind::Placed,
                pb::FactKind::Unspecified => panic!("{fact:?}"),
            };
            let one = side(fact.track_id, fact.identity_id);
            let other = side(fact.other_track_id, fact.other_identity_id);
            (fact.id, (kind, one, other))
        });
        assert_eq!(facts.collect::<BTreeMap<_, _>>(), self.model.facts);
        assert_eq!(self.model.broken(), [0; 0], "{:#?}", self.model);
    }

    fn check_lists(&self) {
        let model = &self.model;
        let listed = |include_hidden| {
            let query = IdentityQuery {
                include_hidden,
                ..IdentityQuery::default()
            };
            let (listed, total, _) = self.core.catalog().identities(None, 1000, &query).unwrap();
            assert_eq!(total, listed.len() as u64);
            listed.iter().map(|identity| identity.id).collect()
        };
        let said = [Field::Name, Field::ExternalId, Field::Confirmed];
        let says = |id: &u64| said.iter().any(|field| !model.get(*id, *field).is_empty());
        let root = |id: &u64| model.resolve(*id) == *id;
        let all = (1..=model.last).filter(|id| says(id) || !model.tracks_of(*id).is_empty());
        let all: Vec<u64> = all.filter(root).collect();
        let shown = all.iter().copied();
        let shown: Vec<u64> = shown
            .filter(|id| model.get(*id, Field::Hidden).is_empty())
            .collect();
        assert_eq!((listed(true), listed(false)), (all, shown));
        self.check_review();
    }

    /// What waits for review is what the log's decisions left open, as long as nobody has said anything.
    fn check_review(&self) {
        let model = &self.model;
        let mut open = Vec::new();
        for record in self.records(0) {
            let Some(Body::TrackObserved(track)) = record.body else {
                continue;
            };
            let decision = track.decision.unwrap_or_default();
            if decision.kind() == DecisionKind::Ambiguous {
                let several = decision.candidates.iter();
                let several: Vec<u64> = several.map(|it| it.identity_id).collect();
                assert!(several.len() > 1);
                open.push((decision.identity_id, several));
            }
        }
        let said = [Field::Name, Field::ExternalId, Field::Confirmed];
        let nothing_said = |id: u64| {
            model.resolve(id) == id && said.iter().all(|field| model.get(id, *field).is_empty())
        };
        let there = |id: u64| {
            let hidden = !model.get(id, Field::Hidden).is_empty();
            !hidden && !model.tracks_of(id).is_empty()
        };
        let mut waiting = BTreeSet::new();
        for (id, several) in open {
            if !nothing_said(id) || !there(id) {
                continue;
            }
            let several = several.iter().map(|candidate| model.resolve(*candidate));
            let several = several.filter(|candidate| {
                *candidate != id && there(*candidate) && !model.are_told_apart(id, *candidate)
            });
            waiting.extend(several.map(|candidate| (id, candidate)));
        }
        let (items, total, _) = self.core.catalog().review_items(u64::MAX, 1000).unwrap();
        assert_eq!(total, items.len() as u64);
        let shown = items.iter().flat_map(|item| {
            let candidates = item.candidates.iter();
            candidates.map(|(candidate, _)| (item.identity.id, candidate.id))
        });
        let pair = |(one, other): (u64, u64)| (one.min(other), one.max(other));
        let shown: Vec<(u64, u64)> = shown.map(pair).collect();
        let once: BTreeSet<(u64, u64)> = shown.iter().copied().collect();
        assert_eq!(once.len(), shown.len(), "a pair waits once");
        assert_eq!(once, waiting.into_iter().map(pair).collect());
    }

    fn check_index(&self) {
        let (view, model) = (self.core.view(), &self.model);
        view.index.verify().unwrap();
        let marks = |id: u64| Marks {
            hidden: !model.get(id, Field::Hidden).is_empty(),
            named: !model.get(id, Field::Name).is_empty(),
        };
        let mut faces = 0;
        for (track, identity) in &model.tracks {
            for face in view.index.track_faces(TrackId::new(*track)) {
                assert_eq!(face.identity.get(), *identity, "a face of track {track}");
                faces += 1;
            }
            if let Some(state) = view.index.identity_state(IdentityId::new(*identity)) {
                assert_eq!(
                    Marks::in_index(state),
                    marks(*identity),
                    "identity {identity}"
                );
            }
        }
        assert_eq!(view.index.stats().faces, faces);
        let replayed = survivors(&self.core.log(), view.sequence, Side::InService).unwrap();
        let Survivors {
            faces: survived,
            marks: marked,
        } = replayed;
        assert_eq!(survived.len(), faces);
        for face in survived {
            let entry = view.index.face(rollcall_index::FaceId::new(face.face));
            assert_eq!(entry.unwrap().identity.get(), face.identity);
        }
        let any_hidden = (1..=model.last).any(|id| marks(id).hidden);
        let said = (1..=model.last).map(|id| (id, marks(id)));
        let said = said.filter(|(_, marks)| *marks != Marks::default());
        assert_eq!(marked, said.collect());
        assert_eq!(view.any_hidden, any_hidden);
    }

    async fn reopen(mut self, delete: Option<&str>) -> Self {
        self.core.close().await;
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        match delete {
            Some(INDEX_FOLDER) => std::fs::remove_dir_all(path(INDEX_FOLDER)).unwrap(),
            Some(name) => std::fs::remove_file(path(name)).unwrap(),
            None => {}
        }
        // The log's lock goes with the last handle.
        drop(self.core);
        self.core = open(self.folder.path());
        self
    }
}

/// A change of one field, and the value in the model's words.
fn said(field: Field, value: usize) -> (ProfileUpdate, &'static str) {
    let mut update = ProfileUpdate::default();
    let switch = ["", "yes", "yes"][value];
    match field {
        Field::Name => {
            update.name = Some(NAMES[value].to_owned());
            return (update, NAMES[value]);
        }
        Field::ExternalId => update.external_id = Some(OTHERS[value].to_owned()),
        Field::Note if value == 0 => update.remove_metadata = vec!["note".to_owned()],
        Field::Note => {
            let note = ("note".to_owned(), OTHERS[value].to_owned());
            update.set_metadata = BTreeMap::from([note]);
        }
        Field::Hidden => {
            update.hidden = Some(value > 0);
            return (update, switch);
        }
        Field::Confirmed => {
            update.confirmed = Some(value > 0);
            return (update, switch);
        }
        Field::PartOf => unreachable!("is no field of a profile"),
    }
    (update, OTHERS[value])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..crate::test_config() })]
    /// Whatever is seen, edited and undone in whatever order: catalog, index and replays agree with the
    /// model after each step, and again when opened from what was kept, or from the log alone.
    #[test]
    fn edits_do_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.step(step).await;
                world.check();
            }
            for delete in [None, Some(CATALOG_FILE), Some(INDEX_FOLDER)] {
                world = world.reopen(delete).await;
                world.check();
            }
            world.core.close().await;
        });
    }
}
