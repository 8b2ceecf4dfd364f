//! Folders with right checksums and wild contents: nothing that is in a file may end the program,
//! keep it busy for ever, or make it take memory without bound.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rand::{
    Rng, SeedableRng,
    rngs::SmallRng,
    seq::{IndexedMutRandom, IndexedRandom},
};

use super::{HEADER, MANIFEST, Manifest, manifest_bytes, read_manifest, with_header};
use crate::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, IdentityState, IdentityStates,
    Index, Operation, Similarity, SourceId, State, TrackId,
};

const DIMENSION: usize = 64;
const CONTRACT: &str = "test-model";
/// Rounds, unless the environment says how many.
const ROUNDS: u64 = 400;
const ROUNDS_VARIABLE: &str = "ROLLCALL_FUZZ_ROUNDS";
/// The first round, if not 0: to look at one alone.
const FIRST_VARIABLE: &str = "ROLLCALL_FUZZ_FIRST";
/// A round that takes longer never ends: as a rule it is some milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);
const IDENTITIES: u64 = 330;

/// A checkpoint in memory.
#[derive(Clone)]
struct Folder {
    manifest: Manifest,
    segments: BTreeMap<u64, Vec<u8>>,
}

impl Folder {
    fn read(folder: &Path) -> Self {
        let path = folder.join(MANIFEST);
        let manifest = read_manifest(&path, &fs::read(&path).unwrap()).unwrap();
        let numbers = manifest.segments.iter().map(|segment| segment.0);
        let read = |number| (number, fs::read(file(folder, number)).unwrap());
        let segments = numbers.map(read).collect();
        Self { manifest, segments }
    }

    /// The bytes of a page, if it is within its segment.
    fn page(&mut self, column: usize, page: usize) -> Option<&mut [u8]> {
        let column = self.manifest.columns.get(column)?;
        let (page, words) = (column.pages.get(page)?, column.page_words);
        let segment = self
            .manifest
            .segments
            .get(usize::try_from(page.segment).unwrap())?;
        let start = usize::try_from(page.offset).unwrap();
        let end = start.checked_add(usize::try_from(words).unwrap() * 8)?;
        self.segments.get_mut(&segment.0)?.get_mut(start..end)
    }

    /// Makes every checksum right.
    fn seal(&mut self) {
        for column in 0..self.manifest.columns.len() {
            for page in 0..self.manifest.columns[column].pages.len() {
                let checksum = self.page(column, page).map(|bytes| crc32c::crc32c(bytes));
                let entry = &mut self.manifest.columns[column].pages[page];
                entry.checksum = checksum.unwrap_or(entry.checksum);
            }
        }
    }

    fn write(&self, folder: &Path, manifest: &[u8]) {
        fs::write(folder.join(MANIFEST), manifest).unwrap();
        for (number, bytes) in &self.segments {
            fs::write(file(folder, *number), bytes).unwrap();
        }
    }
}

fn file(folder: &Path, number: u64) -> std::path::PathBuf {
    folder.join(format!("segment-{number:016x}"))
}

fn embedding(person: u64, seed: u64) -> Embedding {
    let (mut a, mut b) = (
        SmallRng::seed_from_u64(person),
        SmallRng::seed_from_u64(!seed),
    );
    let mut value = |_| a.random_range(-1.0f32..1.0) + 0.5 * b.random_range(-1.0f32..1.0);
    Embedding::normalise((0..DIMENSION).map(&mut value).collect()).unwrap()
}

fn insert(face: u64, person: u64) -> Operation {
    Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(person),
        track: TrackId::new(face / 3),
        source: SourceId::new(face % 5),
        seen_us: i64::try_from(face).unwrap(),
        quality: 0.5,
        attributes: u16::try_from(face % 8).unwrap(),
        embedding: embedding(person, face),
    }
}

/// Several checkpoints; two identities with many faces, several cells, and every kind of free list.
fn honest(folder: &Path) -> Folder {
    let mut index = Index::open(folder, CONTRACT, DIMENSION).unwrap();
    let person = |face: u64| match face {
        0..150 => face % 2,
        _ => face % IDENTITIES,
    };
    let many: Vec<_> = (0..900).map(|face| insert(face, person(face))).collect();
    for (sequence, some) in (1..).zip(many.chunks(300)) {
        index.apply(sequence, some).unwrap();
        index.checkpoint().unwrap();
    }
    let gone = (500..700).filter(|face| face % 3 > 0);
    let gone = gone.map(|face| Operation::Remove {
        face: FaceId::new(face),
    });
    index.apply(9, &gone.collect::<Vec<_>>()).unwrap();
    let merged = (20..40).map(|id| Operation::Merge {
        from: IdentityId::new(id),
        into: IdentityId::new(id % 3),
    });
    index.apply(10, &merged.collect::<Vec<_>>()).unwrap();
    index.checkpoint().unwrap();
    index.newest().verify().unwrap();
    Folder::read(folder)
}

/// A number that is wild, or nearly right.
fn wild(random: &mut SmallRng, was: u64) -> u64 {
    match random.random_range(0..8) {
        0 => was ^ 1 << random.random_range(0..32),
        1 => u64::from(random.random::<u32>()),
        2 => 0,
        3 => u64::from(u32::MAX),
        4 => was.wrapping_add(1),
        5 => was.wrapping_sub(1),
        6 => u64::MAX >> random.random_range(0..64),
        _ => random.random_range(0..64),
    }
}

/// Changes four bytes of a page; most often of its first rows, as the others are not in use.
fn change_page(random: &mut SmallRng, folder: &mut Folder) {
    let column = random.random_range(0..folder.manifest.columns.len());
    let pages = folder.manifest.columns[column].pages.len();
    let page = random.random_range(0..pages.max(1));
    let Some(bytes) = folder.page(column, page).filter(|bytes| !bytes.is_empty()) else {
        return;
    };
    let (words, _) = bytes.as_chunks_mut::<4>();
    let range = (words.len() >> random.random_range(0..8)).max(1);
    let (at, other) = (random.random_range(0..range), random.random_range(0..range));
    if random.random_range(0..3) == 0 {
        // What is right elsewhere leads lists in circles.
        words[at] = words[other];
    } else {
        let was = u32::from_le_bytes(words[at]);
        let new = wild(random, u64::from(was)).to_le_bytes();
        words[at] = [new[0], new[1], new[2], new[3]];
    }
}

fn change_manifest(random: &mut SmallRng, folder: &mut Folder) {
    let manifest = &mut folder.manifest;
    let columns = manifest.columns.len();
    let column = random.random_range(0..columns);
    let other = random.random_range(0..columns);
    let pages = manifest.columns[column].pages.len().max(1);
    let page = random.random_range(0..pages);
    match random.random_range(0..24) {
        0 => manifest.columns.swap(column, other),
        1 => manifest.columns[column].page_words = random.random_range(0..5000),
        2 => drop(manifest.columns[column].pages.pop()),
        3 => {
            let again = manifest.columns[column].pages.choose(random).copied();
            manifest.columns[column].pages.extend(again);
        }
        4 => {
            let stranger = manifest.columns[other].pages.choose(random).copied();
            let page = manifest.columns[column].pages.get_mut(page);
            page.zip(stranger)
                .into_iter()
                .for_each(|(page, other)| *page = other);
        }
        5 => {
            if let Some(page) = manifest.columns[column].pages.get_mut(page) {
                page.offset = wild(random, page.offset);
            }
        }
        6 => {
            if let Some(page) = manifest.columns[column].pages.get_mut(page) {
                page.segment = u32::try_from(wild(random, u64::from(page.segment)) & 7).unwrap();
            }
        }
        7 => manifest.next_segment = wild(random, manifest.next_segment),
        8 => {
            if let Some(segment) = manifest.segments.choose_mut(random) {
                segment.1 = wild(random, segment.1);
            }
        }
        9 => {
            let again = manifest.segments.choose(random).copied();
            manifest.segments.extend(again);
        }
        10 => drop(manifest.columns.pop()),
        11 => manifest
            .numbers
            .truncate(random.random_range(0..manifest.numbers.len())),
        12 => manifest.sequence = wild(random, manifest.sequence),
        _ => {
            let at = random.random_range(0..manifest.numbers.len());
            manifest.numbers[at] = wild(random, manifest.numbers[at]);
        }
    }
}

/// A filter, as narrow as it may be.
fn filter(random: &mut SmallRng) -> Filter {
    let one = SourceId::new(random.random_range(0..6));
    let state = IdentityState::new(random.random_range(0..8)).unwrap();
    let track = TrackId::new(random.random_range(0..300));
    Filter {
        sources: random.random::<bool>().then(|| vec![one]),
        seen_after_us: random.random::<bool>().then_some(600),
        attributes_all: random.random_range(0..2),
        states: random
            .random_bool(0.2)
            .then(|| IdentityStates::from_iter([state])),
        exclude_track: random.random::<bool>().then_some(track),
        ..Filter::default()
    }
}

/// Asks everything there is to ask; what the answers are does not matter.
fn ask(random: &mut SmallRng, state: &State) {
    let person = random.random_range(0..IDENTITIES + 1);
    let query = embedding(person, 12_345);
    let (filter, open) = (filter(random), Filter::default());
    let floor = Similarity::new(0.3).unwrap();
    for filter in [&open, &filter] {
        for effort in [
            Effort::Cells(2),
            Effort::Normal,
            Effort::Certified,
            Effort::Exact,
        ] {
            let _ = state.who(&query, 5, floor, filter, effort);
        }
        for effort in [FaceEffort::NORMAL, FaceEffort::Certified, FaceEffort::Exact] {
            let _ = state.faces_like(&query, 5, filter, effort);
        }
        let _ = state.faces_above(&query, floor, usize::MAX, filter);
        let _ = state.search_identities(&query, usize::MAX, filter);
    }
    let queries = [query.clone(), embedding(1, 1)];
    let _ = state.who_batch(&queries, 3, floor, &filter, Effort::Normal);
    let _ = state.faces_batch(&queries, 3, &filter, FaceEffort::NORMAL);
    for id in [0, 1, person] {
        let identity = IdentityId::new(id);
        let _ = state.best_face(&query, identity, &filter);
        let _ = state.identity_similarity(&query, identity, filter.exclude_track);
        let _ = state.identity_state(identity);
        let seen = state.representative(identity);
        let _ = seen.map(|seen| seen.dot(&query));
        for face in state.identity_faces(identity) {
            let _ = (face.embedding().dot(&query), state.face(face.face));
        }
        let _ = state.track_faces(TrackId::new(id)).count();
    }
    let _ = (state.stats(), state.cell_fill().count(), state.verify());
}

/// Operations that may be refused, but only as a whole.
fn change(random: &mut SmallRng, index: &mut Index) {
    let mut operations = Vec::new();
    let everybody = random.random_range(0..4) == 0;
    for at in 0..if everybody { IDENTITIES } else { 30 } {
        let id = if everybody {
            at
        } else {
            random.random_range(0..IDENTITIES)
        };
        let identity = IdentityId::new(id);
        let faces = index
            .newest()
            .identity_faces(identity)
            .map(|face| face.face);
        let faces: Vec<FaceId> = faces.collect();
        let into = IdentityId::new(random.random_range(0..IDENTITIES));
        match random.random_range(0..if everybody { 2 } else { 6 }) {
            0 | 1 => operations.extend(faces.into_iter().map(|face| Operation::Remove { face })),
            2 => operations.extend((0..40).map(|face| insert(5000 + at * 40 + face, id))),
            3 => operations.push(Operation::Merge {
                from: identity,
                into,
            }),
            4 => operations.extend(faces.first().map(|face| Operation::Move {
                face: *face,
                identity: into,
            })),
            _ => operations.push(Operation::Assign {
                track: TrackId::new(random.random_range(0..300)),
                identity: into,
            }),
        }
    }
    let sequence = index.newest().sequence();
    // One that is refused takes the whole batch with it: each is tried alone.
    for operation in operations {
        let _ = index.apply(sequence, &[operation]);
    }
    index
        .newest()
        .check_tables()
        .expect("what was sound stays so");
}

/// What has become of a folder; in this order, the positions of a count.
#[derive(Clone, Copy)]
enum End {
    Refused,
    Damaged,
    Changed,
}

fn round(number: u64, honest: &Folder) -> End {
    let mut random = SmallRng::seed_from_u64(number);
    let mut folder = honest.clone();
    for _ in 0..random.random_range(1..4) {
        if random.random_range(0..3) == 0 {
            change_manifest(&mut random, &mut folder);
        } else {
            change_page(&mut random, &mut folder);
        }
    }
    folder.seal();
    let mut manifest = manifest_bytes(&folder.manifest).unwrap();
    if random.random_range(0..20) == 0 {
        let mut body = manifest.split_off(HEADER);
        let at = random.random_range(0..body.len());
        body[at] ^= 1 << random.random_range(0..8);
        manifest = with_header(&body);
    }
    let place = tempfile::tempdir().unwrap();
    folder.write(place.path(), &manifest);
    let Ok(mut index) = Index::open(place.path(), CONTRACT, DIMENSION) else {
        return End::Refused;
    };
    let bytes: usize = folder.segments.values().map(Vec::len).sum();
    assert!(index.newest().stats().bytes <= bytes);
    ask(&mut random, &index.publish());
    if index.check().is_err() {
        assert!(index.apply(u64::MAX, &[insert(1 << 40, 1)]).is_err());
        return End::Damaged;
    }
    ask(&mut random, index.newest());
    change(&mut random, &mut index);
    ask(&mut random, index.newest());
    index.checkpoint().unwrap();
    drop(index);
    let mut again = Index::open(place.path(), CONTRACT, DIMENSION).unwrap();
    again.check().expect("what was sound stays so");
    End::Changed
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_folder_makes_it_panic_or_hang() {
    let place = tempfile::tempdir().unwrap();
    let honest = honest(place.path());
    let first = number(FIRST_VARIABLE).unwrap_or(0);
    let rounds = number(ROUNDS_VARIABLE).unwrap_or(ROUNDS);
    let (begins, begun) = mpsc::channel();
    let worker = thread::spawn(move || {
        let mut ends = [0; 3];
        for number in first..first + rounds {
            begins.send(number).unwrap();
            ends[round(number, &honest) as usize] += 1;
        }
        ends
    });
    let mut last = first;
    loop {
        match begun.recv_timeout(PATIENCE) {
            Ok(number) => last = number,
            Err(RecvTimeoutError::Timeout) => panic!("round {last} does not end"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let ends = worker.join();
    let ends = ends.unwrap_or_else(|_| panic!("round {last} panicked"));
    eprintln!("refused, damaged, changed: {ends:?} of {rounds} rounds");
    assert!(rounds < ROUNDS || ends.iter().all(|count| *count > 0));
}
