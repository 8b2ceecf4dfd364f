//! A folder of each format version, kept for good: this build reads and writes the newest, to the
//! byte, and refuses the others.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rollcall_index::{
    Embedding, FaceId, Filter, IdentityId, IdentityState, Index, Operation, SourceId, StoreError,
    TrackId,
};

const DIMENSION: usize = 8;
const CONTRACT: &str = "fixture";

/// What this build writes. In `v2`, of an earlier one, what was moved or taken out of a tail is still in its old place.
const WRITTEN: &str = "v2-zeroed";

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
}

/// A copy of a fixture.
fn copy(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&fixture(version)) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Person 1 has two kinds of faces, which lie along axes 0 and 4; others one each.
fn insert(face: u64) -> Operation {
    let identity = if face % 5 < 3 { 1 } else { face % 5 };
    let kind = match identity {
        1 => face % 2 * 4,
        other => 2 * other - 3,
    };
    let mut values = vec![0.0; DIMENSION];
    values[usize::try_from(kind).unwrap()] = 1.0;
    values[7] = f32::from(u8::try_from(face % 7).unwrap()) / 32.0;
    Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(identity),
        track: TrackId::new(face / 3),
        source: SourceId::new(face % 3),
        seen_us: 1_700_000_000_000_000 + i64::try_from(face).unwrap(),
        quality: 0.5,
        attributes: u16::try_from(face % 4).unwrap(),
        embedding: Embedding::normalise(values).unwrap(),
    }
}

/// The same operations each time, and two checkpoints. Tails are of 10 and 3 slots in the end, two
/// of them not full.
fn write(folder: &Path) {
    let mut index = Index::open(folder, CONTRACT, DIMENSION).unwrap();
    for face in 1..=175 {
        index.apply(face, &[insert(face)]).unwrap();
    }
    index.checkpoint().unwrap();
    let operations = [
        Operation::Remove {
            face: FaceId::new(8),
        },
        Operation::Mark {
            identity: IdentityId::new(3),
            state: IdentityState::new(2).unwrap(),
        },
    ];
    index.apply(176, &operations).unwrap();
    index.checkpoint().unwrap();
}

/// What is in a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut files: Vec<_> = named
        .filter(|(name, _)| name != "lock")
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn version_1_is_refused() {
    let folder = copy("v1");
    let refused = Index::open(folder.path(), CONTRACT, DIMENSION).unwrap_err();
    assert!(matches!(refused, StoreError::Version { found: 1, .. }));
    let words = refused.to_string();
    assert!(
        words.contains("format version 1, this build reads version 2"),
        "{words}"
    );
}

#[test]
fn version_2_is_read() {
    read("v2");
    read(WRITTEN);
}

fn read(version: &str) {
    let folder = copy(version);
    let mut index = Index::open(folder.path(), CONTRACT, DIMENSION).unwrap();
    index.check().unwrap();
    let state = index.newest();
    let stats = state.verify().unwrap();
    assert_eq!((stats.faces, stats.identities), (174, 3));
    assert_eq!(state.sequence(), 176);
    for (axis, identity) in [(0, 1), (4, 1), (3, 3)] {
        let mut values = vec![0.0; DIMENSION];
        values[axis] = 1.0;
        let query = Embedding::normalise(values).unwrap();
        let hits = state.search_identities(&query, 1, &Filter::default());
        let hit = hits.unwrap()[0];
        assert_eq!(hit.identity, IdentityId::new(identity));
        assert!(hit.similarity.get() > 0.98);
        assert_eq!(hit.state.get(), if identity == 3 { 2 } else { 0 });
    }
    index.apply(177, &[insert(500)]).unwrap();
    index.checkpoint().unwrap();
}

/// A change of the format comes with a new version, its text in `FORMAT.md` and its fixture.
#[test]
fn version_2_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let written = files(folder.path());
    if !fixture(WRITTEN).exists() {
        // Only whoever makes a new version gets here: the fixture is in the repository.
        fs::create_dir_all(fixture(WRITTEN)).unwrap();
        for (name, bytes) in &written {
            fs::write(fixture(WRITTEN).join(name), bytes).unwrap();
        }
    }
    let kept = files(&fixture(WRITTEN));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&written), names(&kept));
    for (new, old) in written.iter().zip(&kept) {
        assert!(new.1 == old.1, "{} is not what it was", new.0);
    }
}
