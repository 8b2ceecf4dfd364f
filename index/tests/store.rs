//! The index in a folder: what a checkpoint promises, and what happens when a disk does not keep
//! its promises.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rollcall_index::{
    Disk, DiskFile, Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, IdentityState,
    Index, Operation, RealDisk, SearchError, Similarity, SourceId, State, StoreError, TrackId,
};

const DIMENSION: usize = 64;
const CONTRACT: &str = "test-model";

/// A fixed sequence of directions (a linear congruential generator), in groups that lie together.
fn embedding(person: u64, seed: u64) -> Embedding {
    let numbers = |seed: u64| {
        let mut state = seed.wrapping_mul(77_777_777).wrapping_add(1);
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
        })
    };
    let values = numbers(person).zip(numbers(seed)).map(|(a, b)| a + 0.5 * b);
    Embedding::normalise(values.take(DIMENSION).collect()).unwrap()
}

/// Step n adds faces, moves a track, merges and splits, and takes away an older face.
fn step(n: u64) -> Vec<Operation> {
    let person = n * 7 % 400;
    let mut operations: Vec<Operation> = (0..3)
        .map(|k| Operation::Insert {
            face: FaceId::new(n * 3 + k),
            identity: IdentityId::new(person),
            track: TrackId::new(n),
            source: SourceId::new(n % 2),
            seen_us: i64::try_from(n).unwrap(),
            quality: 0.5,
            attributes: 0,
            embedding: embedding(person, n * 3 + k),
        })
        .collect();
    if n.is_multiple_of(5) {
        let (track, identity) = (TrackId::new(n), IdentityId::new(n % 11));
        operations.push(Operation::Assign { track, identity });
        let state = IdentityState::new(u8::try_from(n % 8).unwrap()).unwrap();
        operations.push(Operation::Mark { identity, state });
        if n.is_multiple_of(20) {
            let into = IdentityId::new(n % 7);
            operations.push(Operation::Merge {
                from: identity,
                into,
            });
            let face = FaceId::new(n * 3);
            operations.push(Operation::Move { face, identity });
        }
    }
    if n > 100 && n.is_multiple_of(2) {
        operations.push(Operation::Remove {
            face: FaceId::new((n - 100) * 3),
        });
    }
    operations
}

/// What a reader can see of a state, in words.
fn digest(state: &State) -> String {
    let stats = state.verify().unwrap();
    let query = embedding(35, 12_345);
    let filter = Filter::default();
    let identities = state.search_identities(&query, 5, &filter).unwrap();
    let faces = state.search_faces(&query, 5, &filter).unwrap();
    let known = (0..400).map(|id| state.identity_state(IdentityId::new(id)));
    let states: Vec<_> = known.map(|state| state.map(IdentityState::get)).collect();
    let sequence = state.sequence();
    format!("{sequence} {stats:?} {identities:?} {faces:?} {states:?}")
}

fn open(folder: &Path) -> Index {
    Index::open(folder, CONTRACT, DIMENSION).unwrap()
}

#[test]
fn what_was_checkpointed_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut alone = Index::new(DIMENSION);
    let mut index = open(folder.path());
    for n in 1..=600 {
        index.apply(n, &step(n)).unwrap();
        alone.apply(n, &step(n)).unwrap();
        if n % 90 == 0 {
            let snapshot = index.publish();
            let before = digest(&snapshot);
            let done = index.checkpoint().unwrap();
            assert!(done.pages > 0 && done.segments > 0, "{done:?}");
            assert_eq!(index.checkpoint().unwrap().pages, 0);
            assert_eq!(digest(index.newest()), digest(alone.newest()));
            if n % 180 == 0 {
                drop(index);
                index = open(folder.path());
                assert_eq!(digest(index.newest()), digest(alone.newest()));
            }
            // A reader's state outlives the files it lies in.
            assert_eq!(digest(&snapshot), before);
        }
    }
    // What was not checkpointed is not there.
    drop(index);
    assert_eq!(open(folder.path()).newest().sequence(), 540);
}

/// Merging changes what no checkpoint since the faces were inserted has written anew.
#[test]
fn what_was_merged_after_a_checkpoint_is_merged_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut alone = Index::new(DIMENSION);
    let mut index = open(folder.path());
    let faces = |person: u64, count: u64| {
        (0..count).map(move |face| Operation::Insert {
            face: FaceId::new(person * 1000 + face),
            identity: IdentityId::new(person),
            track: TrackId::new(person * 1000 + face / 8),
            source: SourceId::new(1),
            seen_us: 0,
            quality: 0.5,
            attributes: 3,
            embedding: embedding(person, face),
        })
    };
    let inserted: Vec<Operation> = faces(1, 500)
        .chain(faces(2, 300))
        .chain(faces(3, 7))
        .collect();
    let mut sequence = 0;
    let mut step = |operations: &[Operation]| {
        sequence += 1;
        index.apply(sequence, operations).unwrap();
        alone.apply(sequence, operations).unwrap();
        index.checkpoint().unwrap();
        let found = digest(open_again(&mut index, folder.path()).newest());
        assert_eq!(found, digest(alone.newest()));
    };
    step(&inserted);
    for (from, into) in [(1, 2), (2, 3), (3, 9)] {
        let (from, into) = (IdentityId::new(from), IdentityId::new(into));
        step(&[Operation::Merge { from, into }]);
    }
}

/// Closes the index and opens what is in its folder.
fn open_again<'a>(index: &'a mut Index, folder: &Path) -> &'a Index {
    *index = Index::new(DIMENSION);
    *index = open(folder);
    index
}

#[test]
fn files_do_not_grow_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = open(folder.path());
    let mut most = 0;
    for n in 1..=400 {
        // The same few faces, again and again.
        let face = FaceId::new(n % 40);
        let mut operations = Vec::new();
        if n > 40 {
            operations.push(Operation::Remove { face });
        }
        operations.push(Operation::Insert {
            face,
            identity: IdentityId::new(n % 7),
            track: TrackId::new(n),
            source: SourceId::new(1),
            seen_us: 0,
            quality: 1.0,
            attributes: 0,
            embedding: embedding(n % 7, n),
        });
        index.apply(n, &operations).unwrap();
        let done = index.checkpoint().unwrap();
        if n > 50 {
            most = most.max(done.file_bytes);
        }
    }
    let bytes = u64::try_from(index.newest().stats().bytes).unwrap();
    assert!(most <= bytes * 3, "{most} bytes in files for {bytes}");
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert!(files < 40, "{files} files");
}

#[test]
fn a_folder_of_another_kind_is_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = open(folder.path());
    index.apply(1, &step(1)).unwrap();
    index.checkpoint().unwrap();
    let refuse = |contract: &str, dimension: usize| {
        Index::open(folder.path(), contract, dimension).unwrap_err()
    };
    assert!(matches!(
        refuse(CONTRACT, DIMENSION),
        StoreError::InUse { .. }
    ));
    drop(index);
    let other = refuse("another-model", DIMENSION).to_string();
    assert!(
        other.contains("test-model of 64 values, not for another-model"),
        "{other}"
    );
    assert!(matches!(
        refuse(CONTRACT, 63),
        StoreError::OtherContract { .. }
    ));
    let manifest = folder.path().join("manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[8] = 9;
    fs::write(&manifest, &bytes).unwrap();
    let version = refuse(CONTRACT, DIMENSION).to_string();
    assert!(
        version.contains("format version 9, this build reads version 2"),
        "{version}"
    );
}

/// A disk that fails from the n-th operation on: what is being written then is cut in half, and
/// what was not synced is gone.
#[derive(Debug)]
struct Failing {
    left: Arc<AtomicUsize>,
    unsynced: Arc<Mutex<Vec<PathBuf>>>,
}

impl Failing {
    fn new(operations: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(operations)),
            unsynced: Arc::default(),
        }
    }

    fn step(&self) -> io::Result<()> {
        let one = |left: usize| left.checked_sub(1);
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one)
        {
            Ok(_) => Ok(()),
            Err(_) => {
                for path in self.unsynced.lock().unwrap().drain(..) {
                    let _ = fs::write(path, []);
                }
                Err(io::Error::other("the disk is gone"))
            }
        }
    }
}

struct FailingFile {
    file: fs::File,
    path: PathBuf,
    disk: Failing,
}

impl Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.step() {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for FailingFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.step()?;
        self.disk
            .unsynced
            .lock()
            .unwrap()
            .retain(|path| *path != self.path);
        Ok(())
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        self.unsynced.lock().unwrap().push(path.to_owned());
        Ok(Box::new(FailingFile {
            file: fs::File::create(path)?,
            path: path.to_owned(),
            disk: Failing {
                left: Arc::clone(&self.left),
                unsynced: Arc::clone(&self.unsynced),
            },
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.rename(from, to)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.step()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove(path)
    }
}

/// Whatever operation of the disk fails, the folder holds the last checkpoint or the one that
/// failed, whole.
#[test]
fn a_checkpoint_is_there_whole_or_not_at_all() {
    let states: Vec<String> = [20, 40, 60]
        .iter()
        .map(|last| {
            let mut alone = Index::new(DIMENSION);
            (1..=*last).for_each(|n| alone.apply(n, &step(n)).unwrap());
            digest(alone.newest())
        })
        .collect();
    let mut finished = false;
    let mut operations = 0;
    while !finished {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Failing::new(operations));
        let mut index = Index::open_on(disk, folder.path(), CONTRACT, DIMENSION).unwrap();
        let mut done = 0;
        finished = true;
        for n in 1..=60 {
            index.apply(n, &step(n)).unwrap();
            if n % 20 == 0 {
                match index.checkpoint() {
                    Ok(_) => done = n,
                    Err(error) => {
                        assert!(error.to_string().contains("the disk is gone"), "{error}");
                        // What is in memory is none the worse.
                        index.newest().verify().unwrap();
                        finished = false;
                        break;
                    }
                }
            }
        }
        drop(index);
        let again = open(folder.path());
        let found = again.newest().sequence();
        assert!(
            found == done || found == done + 20,
            "{found}, {done} was done"
        );
        if found > 0 {
            let number = usize::try_from(found / 20).unwrap() - 1;
            assert_eq!(
                digest(again.newest()),
                states[number],
                "at operation {operations}"
            );
        }
        operations += 1 + operations / 40;
    }
}

/// A flipped bit is found or does no harm: no answer is wrong, nothing panics.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = open(folder.path());
    for n in 1..=300 {
        index.apply(n, &step(n)).unwrap();
    }
    index.checkpoint().unwrap();
    let whole = digest(index.newest());
    drop(index);
    let files: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lock"))
        .collect();
    let mut noticed = 0;
    for path in &files {
        let bytes = fs::read(path).unwrap();
        for turn in 0..40 {
            let mut bytes = bytes.clone();
            let at = (turn * 7_919_111 + 13) % bytes.len();
            bytes[at] ^= 1 << (turn % 8);
            fs::write(path, &bytes).unwrap();
            noticed += usize::from(!look(folder.path(), &whole));
            bytes.truncate(at);
            fs::write(path, &bytes).unwrap();
            assert!(
                !look(folder.path(), &whole),
                "{} cut at {at}",
                path.display()
            );
        }
        fs::write(path, &bytes).unwrap();
    }
    assert!(noticed > 60, "{noticed}");
    assert!(look(folder.path(), &whole));
}

#[test]
fn damaged_pages_have_no_facts() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = open(folder.path());
    for n in 1..=300 {
        index.apply(n, &step(n)).unwrap();
    }
    index.checkpoint().unwrap();
    let whole = index.facts().unwrap();
    drop(index);
    assert_eq!(open(folder.path()).facts().unwrap(), whole);
    let segment = folder.path().join("segment-0000000000000001");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, bytes.iter().map(|byte| !byte).collect::<Vec<_>>()).unwrap();
    let refused = open(folder.path()).facts().unwrap_err();
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
}

/// Is the index whole? Panics on a wrong answer.
fn look(folder: &Path, whole: &str) -> bool {
    let Ok(mut index) = Index::open(folder, CONTRACT, DIMENSION) else {
        return false;
    };
    let state = index.newest();
    let query = embedding(35, 12_345);
    let faces = state.faces_like(&query, 5, &Filter::default(), FaceEffort::NORMAL);
    let people = state.who(
        &query,
        5,
        Similarity::LEAST,
        &Filter::default(),
        Effort::Normal,
    );
    // A filter leads through identities and faces that a search without one does not touch.
    let filter = Filter {
        sources: Some(vec![SourceId::new(1)]),
        states: Some((1..8).filter_map(IdentityState::new).collect()),
        ..Filter::default()
    };
    let few = state.search_identities(&query, 5, &filter);
    for error in [faces.err(), people.err(), few.err()].into_iter().flatten() {
        assert!(matches!(error, SearchError::Damaged(_)), "{error}");
    }
    if state.verify().is_ok() {
        assert_eq!(digest(state), whole);
        return true;
    }
    // Nothing is written over what can no longer be trusted.
    let applied = index.apply(301, &step(301));
    assert!(applied.is_err() || index.checkpoint().is_err());
    false
}
