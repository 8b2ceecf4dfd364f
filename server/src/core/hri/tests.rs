//! HRI mode beside the plain tree, and the same with restarts as without.

mod migration;
mod restart;

use crate::config::Assigner;
use crate::core::edit::{Change, Edit, Person, Photo, ProfileUpdate, Target};
use crate::core::tests::{
    CONTRACT, DIMENSION, closed, copy, exemplar, face, options, source, track,
};
use crate::core::{Core, CoreMetrics, CoreOptions, Observed, Opening, WriteError};
use crate::pb;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rollcall_index::Embedding;
use rollcall_ingest::cluster::hri::{Hri, Metric};
use rollcall_log::record::{BlobRef, Body, DecisionKind, FaceBox};
use rollcall_log::{FileStorage, Log, LogOptions};
use std::path::Path;
use std::sync::Arc;

/// How a server goes down.
#[derive(Clone, Copy, Debug)]
enum Down {
    Closed,
    /// Its folder as it is at that moment.
    Killed,
    /// And somebody has deleted the catalog.
    WithoutCatalog,
}

/// A core in HRI mode, and a run that sees people.
struct Stage {
    folder: tempfile::TempDir,
    core: Core,
    source: u64,
    run: u64,
    key: u64,
}

fn open(folder: &Path, assigner: Assigner) -> Core {
    let opening = Opening::of(folder).unwrap();
    let mut options = CoreOptions {
        assigner,
        ..options(folder)
    };
    if let Some(contract) = opening.contract().filter(|it| it.id != CONTRACT) {
        options.contract = contract.id.clone();
        options.dimension = contract.dimension;
        options.same_cosine = migration::OTHER_COSINE;
    }
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    Core::start(opening, options, metrics).unwrap()
}

impl Stage {
    async fn new(assigner: Assigner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path(), assigner);
        let source = source(&core, pb::SourceKind::Remote).await;
        let mut stage = Self {
            folder,
            core,
            source,
            run: 0,
            key: 0,
        };
        stage.begin("p").await;
        stage
    }

    async fn begin(&mut self, pipeline: &str) {
        self.core.end_run(self.source, self.run).await;
        let run = self.core.begin_run(self.source, pipeline.to_owned());
        self.run = run.await.unwrap().id;
    }

    /// The same collection, opened anew.
    async fn reopened(self, down: Down, assigner: Assigner) -> Self {
        let folder = match down {
            Down::Closed => {
                self.core.close().await;
                self.folder
            }
            Down::Killed | Down::WithoutCatalog => {
                let folder = tempfile::tempdir().unwrap();
                copy(self.folder.path(), folder.path(), None);
                self.core.close().await;
                folder
            }
        };
        drop(self.core);
        if let Down::WithoutCatalog = down {
            for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
                let _ = std::fs::remove_file(folder.path().join(name));
            }
        }
        let core = open(folder.path(), assigner);
        let mut stage = Self {
            folder,
            core,
            ..self
        };
        stage.begin("p").await;
        stage
    }

    /// Somebody is seen in one observation, and gone.
    async fn see(&mut self, faces: &[(Embedding, f32)]) {
        self.key += 1;
        let exemplars = (1..).zip(faces);
        let exemplars = exemplars.map(|(number, (face, quality))| exemplar(number, *quality, face));
        let at = i64::try_from(self.key).unwrap() * 10;
        let seen = closed(track(self.key, 1, (at, at + 5), exemplars.collect()));
        self.observe(seen).await;
    }

    async fn observe(&self, seen: Observed) {
        let observed = self.core.observe(self.source, self.run, vec![seen]).await;
        observed.unwrap();
    }

    async fn edit(&self, change: Change) -> Result<u64, WriteError> {
        let edit = Edit {
            change,
            author: "tester".to_owned(),
            reason: String::new(),
            request_id: String::new(),
        };
        self.core.edit(edit).await
    }

    /// Whose each track was at its first observation, and why.
    fn decided(&self) -> Vec<Decided> {
        let mut all: Vec<Decided> = Vec::new();
        for record in self.core.log().read_after(0) {
            let Some(Body::TrackObserved(track)) = record.unwrap().body else {
                continue;
            };
            let decision = track.decision.unwrap();
            if decision.previous_identity_id != 0 {
                assert_eq!(decision.reason, "UNCHANGED");
                continue;
            }
            all.push(Decided {
                track: track.track_id,
                kind: decision.kind(),
                identity: decision.identity_id,
                reason: decision.reason,
                cosine: decision.similarity,
            });
        }
        all
    }

    fn last(&self) -> Decided {
        self.decided().pop().unwrap()
    }

    /// Whose the last track was when it came, and why.
    fn last_is(&self, identity: u64, reason: &str) {
        let last = self.last();
        assert_eq!((last.identity, last.reason.as_str()), (identity, reason));
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Decided {
    track: u64,
    kind: DecisionKind,
    identity: u64,
    reason: String,
    cosine: f32,
}

const WITHIN: &str = "HRI_WITHIN_THRESHOLD";
const BEYOND: &str = "HRI_BEYOND_THRESHOLD";

fn good(person: usize) -> Vec<(Embedding, f32)> {
    vec![(face(person, 0.1), 0.8)]
}

fn enrolled(person: Person, photo: u64, face: &Embedding) -> Change {
    let photo = Photo {
        key: 1000 + photo,
        face: FaceBox::default(),
        landmarks: Vec::new(),
        quality: 0.9,
        embedding: face.to_f16_bytes(),
        crop: b"crop".to_vec(),
        loose_crop: b"loose crop".to_vec(),
    };
    Change::Enrol {
        person,
        contract: CONTRACT.to_owned(),
        photos: [photo].into(),
    }
}

/// Faces of people who resemble each other more or less, one to three a track.
fn stream(seed: u64, people: usize, tracks: usize) -> Vec<Vec<(Embedding, f32)>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut values = || -> Vec<f32> {
        let values = std::iter::repeat_with(|| random.random_range(-1.0..1.0));
        values.take(DIMENSION).collect()
    };
    let people: Vec<Vec<f32>> = (0..people).map(|_| values()).collect();
    let mut random = StdRng::seed_from_u64(seed + 1);
    let mut face = |person: usize| {
        let noise = random.random_range(0.3..1.6_f32);
        let values = people[person].iter();
        let values = values.map(|value| value + noise * random.random_range(-1.0..1.0));
        let face = Embedding::normalise(values.collect()).unwrap();
        (face, random.random_range(0.0..1.0))
    };
    let mut random = StdRng::seed_from_u64(seed + 2);
    let track = |_| {
        let person = random.random_range(0..people.len());
        let faces = random.random_range(1..=3);
        (0..faces).map(|_| face(person)).collect()
    };
    (0..tracks).map(track).collect()
}

/// What the plain tree makes of it; identities are numbered as they are founded.
fn plain(stream: &[Vec<(Embedding, f32)>]) -> Vec<(u64, bool)> {
    let mut tree = Hri::new(Metric::Cosine, 1.0 - f64::from(0.4_f32));
    let one = |faces: &Vec<(Embedding, f32)>| {
        let stored = |(face, quality): &(Embedding, f32)| {
            let stored = Embedding::from_f16_bytes(&face.to_f16_bytes());
            (stored.unwrap(), *quality)
        };
        let faces: Vec<_> = faces.iter().map(stored).collect();
        let mean = Embedding::mean(faces.iter().map(|(face, quality)| (face, *quality)));
        let before = tree.labels();
        let label = tree.insert(mean.unwrap().as_slice());
        let identity = u64::try_from(label.0).unwrap() + 1;
        (identity, label.0 == before)
    };
    stream.iter().map(one).collect()
}

#[tokio::test]
async fn hri_decides_as_the_published_tree_does() {
    let stream = stream(7, 40, 400);
    let mut stage = Stage::new(Assigner::Hri).await;
    for faces in &stream {
        stage.see(faces).await;
    }
    let expected = plain(&stream);
    let founded = expected.iter().filter(|(_, founds)| *founds).count();
    assert!((60..300).contains(&founded), "{founded}");
    let decided = stage.decided();
    assert_eq!(decided.len(), expected.len());
    for (found, (identity, founds)) in decided.into_iter().zip(expected) {
        let (kind, reason) = if founds {
            (DecisionKind::New, BEYOND)
        } else {
            (DecisionKind::Join, WITHIN)
        };
        assert_eq!((found.identity, found.kind), (identity, kind), "{found:?}");
        assert_eq!(found.reason, reason);
        assert_eq!(found.cosine >= 0.4, !founds, "{found:?}");
    }
    stage.core.view().index.verify().unwrap();
    stage.core.close().await;
}

#[tokio::test]
async fn hri_decides_once_and_looks_at_nothing_but_the_mean() {
    let mut stage = Stage::new(Assigner::Hri).await;
    stage.see(&good(0)).await;
    stage.see(&good(1)).await;
    // A poor face opens an identity at once.
    let first = exemplar(1, 0.05, &face(5, 0.0));
    stage
        .observe(Observed::Track(track(50, 1, (900, 910), vec![first])))
        .await;
    stage.last_is(3, BEYOND);
    // It turns out to be somebody else's: it stays.
    let better = exemplar(2, 0.9, &face(1, 0.1));
    let mut next = track(50, 2, (900, 920), vec![better]);
    next.dropped_exemplars = vec![1];
    stage.observe(closed(next)).await;
    let people = crate::core::tests::identities(&stage.core);
    let tracks: Vec<_> = people.iter().map(|it| (it.id, it.track_count)).collect();
    assert_eq!(tracks, [(1, 1), (2, 1), (3, 1)]);
    // Two on screen at the same time, alike: one person.
    for key in [51, 52] {
        let seen = vec![exemplar(1, 0.5, &face(0, 0.2))];
        stage.observe(closed(track(key, 1, (950, 960), seen))).await;
        stage.last_is(1, WITHIN);
    }
    stage.core.close().await;
}

#[tokio::test]
async fn an_endnode_of_hri_stands_for_whom_people_say() {
    let mut stage = Stage::new(Assigner::Hri).await;
    for person in [0, 1, 0] {
        stage.see(&good(person)).await;
    }
    // Merged: the other one, until that is undone.
    let merge = Change::Merge {
        from: 1,
        into: 2,
        from_etag: None,
        into_etag: None,
    };
    let merged = stage.edit(merge).await.unwrap();
    stage.see(&good(0)).await;
    stage.last_is(2, WITHIN);
    let undo = Change::Undo {
        sequence: merged,
        allow_duplicate_name: false,
        partial: true,
    };
    stage.edit(undo).await.unwrap();
    stage.see(&good(0)).await;
    stage.last_is(1, WITHIN);
    // The founder was somebody else: those who are left are still whom it was given.
    let move_to = |track_ids: Vec<u64>| Change::Move {
        track_ids,
        into: Target::Identity { id: 2, etag: None },
    };
    stage.edit(move_to(vec![1])).await.unwrap();
    stage.see(&good(0)).await;
    stage.last_is(1, WITHIN);
    // Nobody is left: it follows the founder.
    stage.edit(move_to(vec![3, 5, 6])).await.unwrap();
    stage.see(&good(0)).await;
    stage.last_is(2, WITHIN);
    let stage = stage.reopened(Down::Killed, Assigner::Hri).await;
    let mut stage = stage;
    stage.see(&good(0)).await;
    stage.last_is(2, WITHIN);
    stage.core.close().await;
}

#[tokio::test]
async fn hri_knows_whom_people_enrolled_and_whom_the_other_rule_decided() {
    let mut stage = Stage::new(Assigner::Evidence).await;
    stage.see(&good(3)).await;
    let update = ProfileUpdate {
        name: Some("Somebody".to_owned()),
        ..ProfileUpdate::default()
    };
    let person = Person::New {
        update,
        allow_duplicate_name: false,
    };
    let enrol = enrolled(person, 4, &face(4, 0.1));
    stage.edit(enrol).await.unwrap();
    let mut stage = stage.reopened(Down::Closed, Assigner::Hri).await;
    stage.see(&good(3)).await;
    stage.last_is(1, WITHIN);
    stage.see(&good(4)).await;
    stage.last_is(2, WITHIN);
    stage.see(&good(5)).await;
    stage.last_is(3, BEYOND);
    // And the other way round.
    let mut stage = stage.reopened(Down::Closed, Assigner::Evidence).await;
    stage.see(&good(5)).await;
    stage.last_is(3, "ABOVE_THRESHOLD");
    stage.core.close().await;
}

#[tokio::test]
async fn what_was_erased_is_not_in_the_tree_of_hri_from_the_next_start_on() {
    let mut stage = Stage::new(Assigner::Hri).await;
    for person in [0, 1] {
        stage.see(&good(person)).await;
    }
    let embedding = |record: rollcall_log::record::Record| -> Option<BlobRef> {
        match record.body {
            Some(Body::TrackObserved(track)) => track.exemplars[0].embedding.clone(),
            _ => None,
        }
    };
    let records = stage.core.log().read_after(0).map(Result::unwrap);
    let first = records.filter_map(embedding).next().unwrap();
    stage.core.close().await;
    let Stage {
        folder,
        core,
        source,
        key,
        ..
    } = stage;
    drop(core);
    let storage = Arc::new(FileStorage::open(folder.path().join("log")).unwrap());
    let (mut log, _) = Log::open(storage, LogOptions::default()).unwrap();
    log.erase_blobs(std::slice::from_ref(&first)).unwrap();
    drop(log);
    let core = open(folder.path(), Assigner::Hri);
    let mut stage = Stage {
        folder,
        core,
        source,
        run: 0,
        key,
    };
    stage.begin("p").await;
    stage.see(&good(1)).await;
    stage.last_is(2, WITHIN);
    stage.see(&good(0)).await;
    stage.last_is(3, BEYOND);
    stage.core.close().await;
}
