use super::*;

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

#[test]
fn what_is_right_scores_1_whatever_it_is_called() {
    let people = [1, 1, 2, 2, 2, 3];
    let scores = score(&people, &["x", "x", "a", "a", "a", "m"]);
    close(scores.pairwise.f(), 1.0);
    close(scores.bcubed.f(), 1.0);
    close(scores.nmi, 1.0);
    close(scores.fragments_per_person, 1.0);
    assert_eq!((scores.identities, scores.identities_of_note), (3, 0));
}

#[test]
fn a_table_worked_out_by_hand() {
    // Six faces of person 1 and four of person 2. Identity 1 has five of the one and one of the
    // other; identity 2 the last one of 1; identity 3 the three others of 2.
    let people = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2];
    let found = [1, 1, 1, 1, 1, 2, 1, 3, 3, 3];
    let scores = score(&people, &found);
    // Ordered pairs: right 5*4 + 3*2, in identities 6*5 + 3*2, of people 6*5 + 4*3.
    close(scores.pairwise.precision, 26.0 / 36.0);
    close(scores.pairwise.recall, 26.0 / 42.0);
    close(scores.pairwise.f(), 2.0 / 3.0);
    // 25/6 + 1/6 + 1 + 3, and 25/6 + 1/6 + 1/4 + 9/4, of ten.
    close(scores.bcubed.precision, 25.0 / 30.0);
    close(scores.bcubed.recall, 41.0 / 60.0);
    let log = f64::ln;
    let information = 0.5 * log(50.0 / 36.0)
        + 0.1 * log(10.0 / 24.0)
        + 0.1 * log(10.0 / 6.0)
        + 0.3 * log(30.0 / 12.0);
    let of_people = -0.6 * log(0.6) - 0.4 * log(0.4);
    let of_identities = -0.6 * log(0.6) - 0.1 * log(0.1) - 0.3 * log(0.3);
    close(scores.nmi, 2.0 * information / (of_people + of_identities));
    assert_eq!((scores.identities, scores.identities_of_note), (3, 1));
    assert_eq!(scores.people_of_note, 1);
    close(scores.fragments_per_person, 2.0);
}

#[test]
fn the_two_extremes() {
    let people = [1, 1, 1, 2];
    let one = score(&people, &[9; 4]);
    close(one.pairwise.precision, 0.5);
    close(one.pairwise.recall, 1.0);
    close(one.bcubed.precision, 10.0 / 16.0);
    close(one.nmi, 0.0);
    let apart = score(&people, &[1, 2, 3, 4]);
    close(apart.pairwise.precision, 1.0);
    close(apart.pairwise.f(), 0.0);
    close(apart.bcubed.precision, 1.0);
    close(apart.bcubed.recall, 0.5);
    close(apart.fragments_per_person, 2.0);
    close(score(&[1], &[1]).nmi, 1.0);
}

/// Of a table worked out by scikit-learn 1.9.1: `pair_confusion_matrix`, `contingency_matrix`,
/// `normalized_mutual_info_score`, `adjusted_rand_score`.
#[test]
fn as_scikit_learn_has_it() {
    let people = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4];
    let found = [5, 5, 5, 6, 6, 6, 6, 7, 5, 7, 7, 7, 8, 8, 9];
    let scores = score(&people, &found);
    close(scores.pairwise.precision, 10.0 / 19.0);
    close(scores.pairwise.recall, 0.5);
    close(scores.bcubed.precision, 0.7);
    close(scores.bcubed.recall, 0.673_333_333_333_333_3);
    close(scores.nmi, 0.694_100_353_538_921_5);
    close(scores.ari, 0.401_799_100_449_775_1);
    close(scores.purity, 0.8);
    close(scores.inverse_purity, 11.0 / 15.0);
    close(score(&[1, 1], &[2, 3]).ari, 0.0);
    close(score(&[1, 2], &[2, 3]).ari, 1.0);
    close(score(&[1], &[2]).ari, 1.0);
}

#[test]
#[should_panic(expected = "an identity a face")]
fn a_face_without_an_identity_is_refused() {
    let _ = score(&[1, 2], &[1]);
}

#[test]
fn whatever_the_order_the_last_bit_is_the_same() {
    let mut faces: Vec<(u64, u64)> = (0..3000).map(|n| (n * n % 211, n % 97)).collect();
    let scores = |faces: &[(u64, u64)]| {
        let (people, found): (Vec<u64>, Vec<u64>) = faces.iter().copied().unzip();
        score(&people, &found)
    };
    let first = scores(&faces);
    for _ in 0..3 {
        faces.rotate_left(1001);
        faces.swap(5, 1500);
        assert_eq!(scores(&faces), first);
    }
}
