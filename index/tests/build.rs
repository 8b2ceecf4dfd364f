//! Building many faces at once, beside inserting them a track at a time.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, path::Path};

use rollcall_index::{
    BuildError, Builder, Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, Index,
    MemoryBudget, Operation, Similarity, SourceId, State, TrackId,
};

const DIMENSION: usize = 128;
const CONTRACT: &str = "made up";
const PEOPLE: u64 = 1200;
const FACES_EACH: u64 = 4;
/// How far a face may lie from its person, as a multiple of what is random in a person.
const NOISE: f32 = 0.8;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// About normal.
    fn vector(&mut self) -> Vec<f32> {
        let mut uniform = || f32::from(u16::try_from(self.next() >> 48).unwrap()) / 65536.0 - 0.5;
        let value = |_| (0..4).map(|_| uniform()).sum();
        (0..DIMENSION).map(value).collect()
    }
}

fn face_of(person: u64, random: &mut Random) -> Embedding {
    let centre = Random(person.wrapping_mul(7919)).vector();
    let noise = random.vector();
    let values = centre.iter().zip(noise).map(|(a, b)| a + NOISE * b);
    Embedding::normalise(values.collect()).unwrap()
}

/// The faces as they come: two of a track together, the tracks of a person far apart.
fn faces() -> Vec<Operation> {
    let mut random = Random(1);
    let mut faces = Vec::new();
    for round in 0..FACES_EACH / 2 {
        for person in 0..PEOPLE {
            for of_track in 0..2 {
                faces.push(Operation::Insert {
                    face: FaceId::new((round * PEOPLE + person) * 2 + of_track),
                    identity: IdentityId::new(person),
                    track: TrackId::new(round * PEOPLE + person),
                    source: SourceId::new(person % 5),
                    seen_us: 0,
                    quality: 1.0,
                    attributes: 0,
                    embedding: face_of(person, &mut random),
                });
            }
        }
    }
    faces
}

fn identity_of(operation: &Operation) -> u64 {
    let Operation::Insert { identity, .. } = operation else {
        unreachable!("all are insertions")
    };
    identity.get()
}

/// The share of queries whose person is found in few cells, and of the best ten faces that are
/// found with normal effort.
fn recall(state: &State) -> (f64, f64) {
    let mut random = Random(2);
    let filter = Filter::default();
    let (mut named, mut found, mut queries) = (0.0, 0.0, 0.0);
    for person in (0..PEOPLE).step_by(3) {
        let query = face_of(person, &mut random);
        let floor = Similarity::LEAST;
        let (hits, _) = state
            .who(&query, 1, floor, &filter, Effort::Cells(3))
            .unwrap();
        let (normal, _) = state
            .who(&query, 1, floor, &filter, Effort::Normal)
            .unwrap();
        assert_eq!(normal[0].identity.get(), person);
        named += f64::from(u8::from(hits[0].identity.get() == person));
        let truth = state
            .faces_like(&query, 10, &filter, FaceEffort::Exact)
            .unwrap()
            .0;
        let open = state
            .faces_like(&query, 10, &filter, FaceEffort::NORMAL)
            .unwrap()
            .0;
        let hit = open.iter().filter(|hit| truth.contains(hit)).count();
        found += f64::from(u8::try_from(hit).unwrap()) / 10.0;
        queries += 1.0;
    }
    (named / queries, found / queries)
}

#[test]
fn a_built_index_answers_as_well_as_one_that_grew() {
    let mut operations = faces();
    let mut grown = Index::new(DIMENSION);
    for track in operations.chunks(2) {
        grown.apply(1, track).unwrap();
    }
    operations.sort_by_key(identity_of);
    let mut builder = Builder::new(Index::new(DIMENSION), usize::MAX).unwrap();
    for batch in operations.chunks(1500) {
        builder.add(batch).unwrap();
    }
    let built = builder.finish(1).unwrap();
    assert_eq!(built.newest().sequence(), 1);
    let stats = built.newest().verify().unwrap();
    assert_eq!(stats.faces, grown.newest().verify().unwrap().faces);
    let (grown, built) = (recall(grown.newest()), recall(built.newest()));
    // Cells of the two differ in number and size, so a search of three is not quite the same.
    let margin = 0.01;
    assert!(
        built.0 >= grown.0 - margin && built.1 >= grown.1 - margin,
        "{built:?} {grown:?}"
    );
    assert!(built.0 > 0.5 && built.1 > 0.98, "{built:?}");
}

fn with_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(run)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap());
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

#[test]
fn threads_change_nothing_and_the_budget_is_kept() {
    let build = |threads: usize, given: bool| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let checkpoints = with_threads(threads, || {
            let index = Index::open(path, CONTRACT, DIMENSION).unwrap();
            let mut builder = Builder::new(index, 512 << 10).unwrap();
            for batch in faces().chunks(1500) {
                if given {
                    builder.add(batch).unwrap();
                } else {
                    let threshold = Similarity::new(0.45).unwrap();
                    builder.assign(batch.to_vec(), threshold).unwrap();
                }
            }
            let checkpoints = builder.checkpoints();
            builder.finish(9).unwrap().newest().verify().unwrap();
            checkpoints
        });
        assert!(checkpoints >= 3, "{checkpoints}");
        files(path)
    };
    for given in [true, false] {
        let (one, two) = (build(1, given), build(2, given));
        assert!(one.len() > 3);
        assert_eq!(one, two);
    }
}

#[test]
fn until_it_is_finished_a_folder_is_at_sequence_0() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Index::open(folder.path(), CONTRACT, DIMENSION).unwrap();
    let mut builder = Builder::new(open(), 0).unwrap();
    builder.add(&faces()[..10]).unwrap();
    drop(builder);
    assert_eq!(open().newest().sequence(), 0);
    assert_eq!(open().newest().stats().faces, 10);
    let refused = Builder::new(open(), 0).unwrap_err();
    assert!(
        matches!(refused, BuildError::NotEmpty { faces: 10 }),
        "{refused}"
    );
}

#[test]
fn a_batch_that_is_refused_leaves_what_was_built() {
    let mut builder = Builder::new(Index::new(DIMENSION), usize::MAX).unwrap();
    let operations = faces();
    builder.add(&operations[..10]).unwrap();
    let refused = builder.add(&operations[5..2000]).unwrap_err();
    assert!(matches!(refused, BuildError::Refused(_)), "{refused}");
    assert_eq!(builder.newest().verify().unwrap().faces, 10);
}

#[test]
fn who_is_one_person_is_found_out() {
    let operations = faces();
    let mut builder = Builder::new(Index::new(DIMENSION), usize::MAX).unwrap();
    // The odd batch cuts tracks in two.
    for batch in operations.chunks(777) {
        let threshold = Similarity::new(0.45).unwrap();
        builder.assign(batch.to_vec(), threshold).unwrap();
    }
    let built = builder.finish(1).unwrap();
    let stats = built.newest().verify().unwrap();
    assert_eq!(
        stats.tracks,
        usize::try_from(PEOPLE * FACES_EACH / 2).unwrap()
    );
    let mut people: BTreeMap<u64, u64> = BTreeMap::new();
    let mut wrong = 0;
    for operation in &operations {
        let Operation::Insert { face, identity, .. } = operation else {
            continue;
        };
        let given = built.newest().face(*face).unwrap().identity.get();
        // Numbers are given in the order in which people come.
        assert!((1..=PEOPLE).contains(&given), "{given}");
        wrong += u64::from(*people.entry(given).or_insert(identity.get()) != identity.get());
    }
    assert_eq!(
        (stats.identities, wrong),
        (usize::try_from(PEOPLE).unwrap(), 0)
    );
}

#[test]
fn budgets_are_written_with_units() {
    let budget = |text: &str| text.parse().map(MemoryBudget::bytes);
    assert_eq!(budget("17"), Ok(17));
    assert_eq!(budget("3KiB"), Ok(3 << 10));
    assert_eq!(budget("512MiB"), Ok(512 << 20));
    assert_eq!(budget("1GiB"), Ok(MemoryBudget::default().bytes()));
    for wrong in [
        "",
        "MiB",
        "1.5GiB",
        "1MB",
        "-1",
        "99999999999999999999",
        "99999999999GiB",
    ] {
        assert!(budget(wrong).is_err(), "{wrong}");
    }
}
