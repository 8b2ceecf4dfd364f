//! What is taken out of an index is in none of its files once they are written anew: its 8-bit codes and its 1-bit
//! sketches are found before, and not after.

use std::{fs, path::Path};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    Embedding, FaceId, IdentityId, Index, Operation, SourceId, TrackId, code::Code, kernel::BLOCK,
};

const DIMENSION: usize = 64;
const IDENTITIES: u64 = 40;
const FACES: u64 = 60;

fn face(random: &mut SmallRng, person: &[f32]) -> Embedding {
    let values = person
        .iter()
        .map(|value| value + random.random_range(-0.4..0.4));
    Embedding::normalise(values.collect()).unwrap()
}

fn filled(folder: &Path) -> Index {
    let mut random = SmallRng::seed_from_u64(5);
    let mut index = Index::open(folder, "test", DIMENSION).unwrap();
    for identity in 1..=IDENTITIES {
        let person: Vec<f32> = (0..DIMENSION)
            .map(|_| random.random_range(-1.0..1.0))
            .collect();
        let faces = (0..FACES).map(|number| Operation::Insert {
            face: FaceId::new(identity * 1000 + number),
            identity: IdentityId::new(identity),
            track: TrackId::new(identity * 100 + number / 10),
            source: SourceId::new(1),
            seen_us: i64::try_from(number).unwrap(),
            quality: 0.5,
            attributes: 0,
            embedding: face(&mut random, &person),
        });
        let faces: Vec<_> = faces.collect();
        index.apply(identity, &faces).unwrap();
        if identity % 10 == 0 {
            index.checkpoint().unwrap();
        }
    }
    index
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

/// Whether the codes, or the sketches, of a face are in a file. Sketches lie interleaved, 32 of a block.
fn found(files: &[Vec<u8>], code: &Code) -> (bool, bool) {
    let values: &[u8] = bytemuck::cast_slice(&code.values);
    let codes = |bytes: &Vec<u8>| bytes.windows(values.len()).any(|part| part == values);
    let sketch = |bytes: &Vec<u8>| {
        (0..bytes.len()).any(|start| {
            [0, 4].into_iter().any(|shift| {
                code.nibbles.iter().enumerate().all(|(group, nibble)| {
                    let byte = bytes.get(start + group * BLOCK / 2);
                    byte.is_some_and(|byte| byte >> shift & 15 == *nibble)
                })
            })
        })
    };
    (files.iter().any(codes), files.iter().any(sketch))
}

#[test]
fn what_is_taken_out_is_in_no_file_once_they_are_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = filled(folder.path());
    // A whole identity, and a track of another.
    let state = index.newest();
    let mut doomed: Vec<FaceId> = state
        .identity_faces(IdentityId::new(7))
        .map(|it| it.face)
        .collect();
    doomed.extend(state.track_faces(TrackId::new(1203)).map(|it| it.face));
    let code = |face: FaceId| {
        let slot = state.faces.slot(face).unwrap();
        state.faces.plane.code(slot as usize)
    };
    let codes: Vec<Code> = doomed.iter().map(|face| code(*face)).collect();
    let kept = code(FaceId::new(1201 * 10 + 1));
    assert_eq!(doomed.len(), 70);
    let before = files(folder.path());
    for code in codes.iter().step_by(9) {
        assert_eq!(found(&before, code), (true, true));
    }
    let removed = doomed.iter().map(|face| Operation::Remove { face: *face });
    let removed: Vec<_> = removed.collect();
    index.apply(IDENTITIES + 1, &removed).unwrap();
    // A checkpoint leaves earlier files, which have the pages as they were.
    index.checkpoint().unwrap();
    assert!(
        codes
            .iter()
            .step_by(9)
            .any(|code| found(&files(folder.path()), code).0)
    );
    let done = index.rewrite().unwrap();
    assert_eq!(done.segments, 1);
    let after = files(folder.path());
    for code in &codes {
        assert!(!found(&after, code).0);
    }
    for code in codes.iter().step_by(9) {
        assert!(!found(&after, code).1);
    }
    assert_eq!(found(&after, &kept), (true, true));
    assert!(index.newest().representative(IdentityId::new(7)).is_none());
    index.newest().verify().unwrap();
    drop(index);
    let mut index = Index::open(folder.path(), "test", DIMENSION).unwrap();
    index.check().unwrap();
    assert_eq!(index.newest().sequence(), IDENTITIES + 1);
    index.newest().verify().unwrap();
}
