use proptest::prelude::*;

use super::*;

/// Identity 0 stands for none.
fn check(labels: &[u32], identities: &[u64], named: &[u64]) -> Diff {
    let identities: Vec<Option<u64>> = identities
        .iter()
        .map(|id| (*id > 0).then_some(*id))
        .collect();
    diff(labels, &identities, &named.iter().copied().collect())
}

#[test]
fn nothing_changes_where_clusters_are_the_identities() {
    let diff = check(&[4, 4, 1], &[7, 7, 9], &[7]);
    let counts = Counts {
        faces: 3,
        clusters: 2,
        identities_before: 2,
        identities_after: 2,
        ..Counts::default()
    };
    assert_eq!(
        diff,
        Diff {
            counts,
            ..Diff::default()
        }
    );
    assert_eq!(check(&[], &[], &[]), Diff::default());
}

#[test]
fn created_grown_merged_split_and_moved() {
    //                 grown        merged       created  split in two     moved
    let labels = [
        0, 0, 0, /**/ 1, 1, 1, /**/ 2, 2, /**/ 3, 3, 4, /**/ 5, 5, 5, 6, 6,
    ];
    let people = [
        1, 1, 0, /**/ 2, 2, 3, /**/ 0, 0, /**/ 4, 4, 4, /**/ 5, 5, 6, 6, 6,
    ];
    let diff = check(&labels, &people, &[]);
    assert_eq!(
        diff.grown,
        [Grown {
            identity: 1,
            cluster: 0,
            faces: 1,
            examples: vec![2]
        }]
    );
    assert_eq!(
        diff.merged,
        [Merged {
            identity: 3,
            into: 2,
            cluster: 1,
            faces: 1,
            examples: vec![5]
        }]
    );
    let created = |cluster, faces, split_from, examples| Created {
        cluster,
        faces,
        split_from,
        examples,
    };
    assert_eq!(
        diff.created,
        [
            created(2, 2, None, vec![6, 7]),
            created(4, 1, Some(4), vec![10])
        ]
    );
    assert_eq!(
        diff.moved,
        [Moved {
            from: 6,
            to: 5,
            cluster: 5,
            faces: 1,
            examples: vec![13]
        }]
    );
    let part = |cluster, faces, identity, examples| Part {
        cluster,
        faces,
        identity,
        examples,
    };
    let parts = vec![part(3, 2, Some(4), vec![8, 9]), part(4, 1, None, vec![10])];
    assert_eq!(diff.split[0], Split { identity: 4, parts });
    assert_eq!((diff.split[1].identity, diff.split.len()), (6, 2));
    let counts = &diff.counts;
    assert_eq!(
        (
            counts.created,
            counts.grown,
            counts.merged,
            counts.split,
            counts.moved
        ),
        (2, 1, 1, 2, 1)
    );
    assert_eq!(
        (
            counts.faces_changed,
            counts.identities_before,
            counts.identities_after
        ),
        (6, 6, 7)
    );
    let text = serde_json::to_string(&diff).unwrap();
    assert_eq!(serde_json::from_str::<Diff>(&text).unwrap(), diff);
}

#[test]
fn a_name_stays_with_who_has_it() {
    // The named one is the smaller part of the cluster, and keeps it.
    let diff = check(&[0, 0, 0, 0], &[1, 1, 1, 2], &[2]);
    assert_eq!(
        diff.merged,
        [Merged {
            identity: 1,
            into: 2,
            cluster: 0,
            faces: 3,
            examples: vec![0, 1, 2]
        }]
    );
    // Two names in one cluster: nothing is done, not even about the third.
    let diff = check(&[0, 0, 0, 0, 1], &[1, 1, 2, 3, 3], &[1, 2]);
    assert_eq!(
        diff.conflicts,
        [Conflict {
            cluster: 0,
            named: vec![(1, 2), (2, 1)],
            examples: vec![0, 1, 2]
        }]
    );
    assert!(diff.merged.is_empty() && diff.moved.is_empty() && diff.created.is_empty());
    assert_eq!(
        (
            diff.counts.conflicts,
            diff.counts.identities_after,
            diff.counts.faces_changed
        ),
        (1, 3, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_with_a_name_is_merged_away_and_identities_add_up(
        faces in prop::collection::vec((0u32..6, 0u64..7), 0..60),
        named in prop::collection::hash_set(1u64..7, 0..7),
    ) {
        let (labels, identities): (Vec<u32>, Vec<u64>) = faces.into_iter().unzip();
        let named: Vec<u64> = named.into_iter().collect();
        let diff = check(&labels, &identities, &named);
        for merged in &diff.merged {
            prop_assert!(!named.contains(&merged.identity));
        }
        // What the faces would have afterwards, by the changes alone.
        let blocked: Vec<u32> = diff.conflicts.iter().map(|conflict| conflict.cluster).collect();
        let mut after: Vec<String> = Vec::new();
        let mut changed = 0;
        for (label, identity) in labels.iter().zip(&identities) {
            let created = diff.created.iter().any(|created| created.cluster == *label);
            let grown = diff.grown.iter().find(|grown| grown.cluster == *label && *identity == 0);
            let merged = diff.merged.iter().find(|merged| merged.cluster == *label && merged.identity == *identity);
            let moved = diff.moved.iter().find(|moved| moved.cluster == *label && moved.from == *identity);
            let to = grown.map(|one| one.identity).or(merged.map(|one| one.into)).or(moved.map(|one| one.to));
            changed += u64::from(created || to.is_some());
            after.push(match to {
                _ if created => format!("new {label}"),
                Some(to) => to.to_string(),
                None if *identity == 0 => format!("none in {label}"),
                None => identity.to_string(),
            });
        }
        prop_assert_eq!(changed, diff.counts.faces_changed);
        // Outside conflicts each cluster is one identity then.
        for (one, of_one) in labels.iter().zip(&after) {
            for (other, of_other) in labels.iter().zip(&after) {
                if one == other && !blocked.contains(one) {
                    prop_assert_eq!(of_one, of_other);
                }
            }
        }
        let left: HashSet<&String> = after.iter().filter(|who| !who.starts_with("none")).collect();
        prop_assert_eq!(left.len() as u64, diff.counts.identities_after);
    }
}
