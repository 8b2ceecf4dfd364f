use super::*;
use crate::faceset::FaceSet;
use rollcall_index::{Embedding, vectors::Known};

fn people(faces: &[(i64, f32)]) -> People {
    let vector = |angle: &f32| [angle.to_radians().cos(), angle.to_radians().sin()];
    People {
        values: faces.iter().flat_map(|(_, angle)| vector(angle)).collect(),
        dimension: 2,
        labels: faces.iter().map(|(label, _)| *label).collect(),
    }
}

#[test]
fn rates_worked_out_by_hand() {
    let gallery = people(&[(2, 90.0), (1, 0.0), (2, 110.0), (1, 20.0), (3, 180.0)]);
    // 5 degrees from the mate; 40, where person 2 is at 30; two strangers at 30 and 45.
    let searches = people(&[(1, 25.0), (1, 60.0), (9, 140.0), (-1, 225.0)]);
    let found = identify(&gallery, &searches, &[0.5, 0.001], 1).unwrap();
    assert_eq!(
        (found.mated, found.unmated, found.gallery_people),
        (2, 2, 3)
    );
    let cosine = |angle: f32| f64::from(angle.to_radians().cos());
    assert_eq!(found.by_faces.ranks[0].share, 0.5);
    assert_eq!(found.by_faces.ranks[1].share, 1.0);
    let point = found.by_faces.at_fpir[0].point.unwrap();
    assert!((point.threshold - cosine(45.0)).abs() < 1e-4, "{point:?}");
    assert_eq!((point.fpir, point.fnir, point.fnir_rank_1), (0.5, 0.0, 0.5));
    let few = &found.by_faces.at_fpir[1];
    assert!(
        few.point.is_none() && few.note.contains("1000 at least"),
        "{}",
        few.note
    );
    // The mean of person 2 is at 100 degrees, 40 from both.
    let point = found.by_means.at_fpir[0].point.unwrap();
    assert!((point.threshold - cosine(45.0)).abs() < 1e-4, "{point:?}");
    let strange = people(&[(8, 1.0)]);
    assert!(matches!(
        identify(&gallery, &strange, &[], 1),
        Err(EvaluateError::TooFew(_))
    ));
    let wide = People {
        dimension: 1,
        ..strange
    };
    assert!(matches!(
        identify(&gallery, &wide, &[], 1),
        Err(EvaluateError::Dimensions { .. })
    ));
}

#[test]
fn a_split_keeps_tracks_together_and_leaves_people_out() {
    let mut faces = FaceSet::new(2);
    let mut labels = Vec::new();
    for row in 0..400_u64 {
        let known = Known {
            track: Some(row / 4),
            ..Known::default()
        };
        let value = row as f32;
        faces.push(&Embedding::normalise(vec![1.0, value]).unwrap(), known);
        labels.push(Some(i64::try_from(row / 40).unwrap()));
    }
    let (gallery, searches) = split(&faces, &labels, Split::default());
    let known: std::collections::BTreeSet<i64> = gallery.labels.iter().copied().collect();
    assert_eq!(
        (known.len(), gallery.labels.len(), searches.labels.len()),
        (7, 140, 260)
    );
    let again = split(&faces, &labels, Split::default());
    assert_eq!(again.0.labels, gallery.labels);
    let track = |values: &[f32]| (values[1] / values[0]).round();
    let of = |people: &People| -> std::collections::BTreeSet<u32> {
        people
            .values
            .chunks(2)
            .map(|row| crate::number::round_u32(track(row)) / 4)
            .collect()
    };
    assert!(of(&gallery).is_disjoint(&of(&searches)));
}

#[test]
fn two_runs_agree_to_the_last_bit() {
    let run = || {
        let searches = (0..5000_i64).map(|n| (n * n % 301 - 3, n % 7 == 0));
        share_of(searches)
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}
