use super::*;
use rollcall_index::{Embedding, vectors::Known};

/// Faces at these angles, two a track, named after people as LFW and YTF name them.
fn faces(angles: &[(&str, f32)]) -> FaceSet {
    let mut faces = FaceSet::new(2);
    for (at, (_, angle)) in angles.iter().enumerate() {
        let known = Known {
            track: Some(at as u64 / 2),
            ..Known::default()
        };
        let angle = angle.to_radians();
        faces.push(
            &Embedding::normalise(vec![angle.cos(), angle.sin()]).unwrap(),
            known,
        );
    }
    faces.with_names(angles.iter().map(|(name, _)| (*name).to_owned()).collect())
}

fn read_text(name: &str, text: &str, side: Side) -> Result<Vec<Pair>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let faces = faces(&[
        ("v/A/0/A_0001.jpg", 0.0),
        ("v/A/0/A_0002.jpg", 20.0),
        ("v/B/1/B_0001.jpg", 90.0),
        ("v/B/1/B_0003.jpg", 70.0),
    ]);
    read(&path, &faces, side, 10).map_err(|why| why.to_string())
}

#[test]
fn lfw_and_tables_and_templates() {
    let lfw = read_text(
        "pairs.txt",
        "2\t1\nA\t1\t2\nA\t1\tB\t1\nB\t1\t3\nA\t2\tB\t3\n",
        Side::Face,
    )
    .unwrap();
    let expected = [
        (20.0_f32, true, 0),
        (90.0, false, 0),
        (20.0, true, 1),
        (50.0, false, 1),
    ];
    for (pair, (angle, same, fold)) in lfw.iter().zip(expected) {
        assert!((pair.cosine - angle.to_radians().cos()).abs() < 1e-5);
        assert_eq!((pair.same, pair.fold), (same, fold));
    }
    let table = read_text(
        "p.csv",
        "a,b,same,fold\n0,3,false,7\nA_0001,A_0002.jpg,1,8\n",
        Side::Face,
    )
    .unwrap();
    assert!((table[0].cosine - 70_f32.to_radians().cos()).abs() < 1e-5);
    assert_eq!((table[1].same, table[1].fold), (true, 8));
    let of_tracks = read_text("p.csv", "a,b,same\n0,1,0\nv/A/0,v/B/1,0\n", Side::Template).unwrap();
    for pair in of_tracks {
        assert!(
            (pair.cosine - 70_f32.to_radians().cos()).abs() < 1e-5,
            "{pair:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let fails = |name: &str, text: &str, why: &str| {
        let found = read_text(name, text, Side::Face).unwrap_err();
        assert!(found.contains(why), "{found}");
    };
    fails("pairs.txt", "a b c", "line 1: neither LFW's");
    fails("pairs.txt", "10 300\nA 1\n", "line 2: three fields or four");
    fails("pairs.txt", "10 300\nA 1 9\n", "UNKNOWN_FACE");
    fails("pairs.txt", "10 300\nA 1 x\n", "line 2: a picture's number");
    fails("p.csv", "a,b\n", "line 1: there is no column same or");
    fails("p.csv", "a,b,same\n0,1,maybe\n", "line 2: same is 1 or 0");
    fails(
        "p.csv",
        "a,b,same\n0,9,1\n",
        "9 (line 2) is not among the 4 faces",
    );
    fails("p.csv", "a,b,same\n", "holds no pairs");
}

#[test]
fn each_fold_by_the_best_of_the_others() {
    let pair = |fold: usize, cosine: f32, same: bool| Pair { cosine, same, fold };
    let mut pairs = Vec::new();
    for fold in 0..10 {
        pairs.extend([
            pair(fold, 0.8, true),
            pair(fold, 0.1, false),
            pair(fold, 0.2, false),
        ]);
    }
    pairs.push(pair(3, 0.3, true));
    let found = protocol(&pairs, 1e-3).unwrap();
    assert_eq!(
        (found.same, found.different, found.folds.len()),
        (11, 20, 10)
    );
    // Without fold 3 the best threshold is half way from 0.2 to 0.8; with it, from 0.2 to 0.3.
    assert!((found.folds[3].threshold - 0.5).abs() < 1e-6);
    assert!((found.folds[4].threshold - 0.25).abs() < 1e-6);
    assert_eq!(found.folds[3].accuracy, 0.75);
    assert!((found.accuracy.mean - 0.975).abs() < 1e-12);
    assert!((found.accuracy.sd - 0.075).abs() < 1e-12);
    assert!((found.tar.mean - 0.95).abs() < 1e-12 && found.far.mean == 0.0);
    assert!(found.note.contains("a fold has 2 pairs"));
    assert!(protocol(&pairs[..3], 1e-3).is_err());
}
