//! Everybody clustered anew, through the API.

use crate::edits::{MERGE, UNDO, UPDATE, merge, rename, undo};
use crate::support::{Fixture, reason, track};
use rollcall_server::pb::{self, ClusterChangeKind};

const CLUSTER: &str = "/rollcall.v1.IdentityService/ClusterIdentities";
const SPLIT: &str = "/rollcall.v1.IdentityService/SplitIdentity";

impl Fixture {
    async fn cluster(&self, apply: u64) -> Result<pb::ClusterIdentitiesResponse, tonic::Status> {
        let request = pb::ClusterIdentitiesRequest {
            apply,
            author: "Ada".to_owned(),
            reason: String::new(),
        };
        self.api.call(CLUSTER, request).await
    }
}

/// Two people with three tracks each: identities 1 and 2. A track of the first was made identity 3 by mistake.
async fn a_mistake() -> Fixture {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("one").await;
    let mut run = fixture.api.run(source.id).await;
    for (key, hue) in (1..).zip([0.0, 120.0, 0.5, 120.5, 1.0, 121.0]) {
        let from = 10 * i64::try_from(key).unwrap();
        run.track(track(key, 1, hue, from, from + 2, true)).await;
    }
    run.finish().await;
    let mistake = pb::SplitIdentityRequest {
        identity_id: 1,
        track_ids: vec![5],
        ..Default::default()
    };
    fixture.made(SPLIT, mistake).await;
    fixture
}

fn told(answer: &pb::ClusterIdentitiesResponse) -> Vec<(ClusterChangeKind, u64, u64, u64)> {
    let changes = answer.changes.iter();
    changes
        .map(|it| {
            (
                it.kind(),
                it.identity_id,
                it.other_identity_id,
                it.track_count,
            )
        })
        .collect()
}

#[tokio::test]
async fn clustering_says_what_it_would_change_and_changes_it_when_told_to() {
    let fixture = a_mistake().await;
    let found = fixture.cluster(0).await.unwrap();
    assert_eq!(told(&found), [(ClusterChangeKind::Merge, 3, 1, 1)]);
    assert_eq!(
        (
            found.tracks,
            found.identities_before,
            found.identities_after
        ),
        (6, 3, 2)
    );
    assert_eq!(found.changes[0].track_ids, [5]);
    assert_eq!(fixture.identity(3).await.id, 3, "nothing was changed");

    let refused = fixture.cluster(found.sequence + 1).await.unwrap_err();
    assert_eq!(reason(&refused), "CLUSTERING_OUTDATED");
    let made = fixture.cluster(found.sequence).await.unwrap();
    let edit = made.changes[0].edit_sequence;
    assert!(
        edit > found.sequence && made.changes[0].refused.is_empty(),
        "{made:?}"
    );
    assert_eq!(fixture.identity(3).await.id, 1);
    // It was made: another time it would be made of something else.
    let refused = fixture.cluster(found.sequence).await.unwrap_err();
    assert_eq!(reason(&refused), "CLUSTERING_OUTDATED");
    let again = fixture.cluster(0).await.unwrap();
    assert!(again.changes.is_empty(), "{again:?}");

    fixture.made(UNDO, undo(edit)).await;
    assert_eq!(fixture.identity(3).await.id, 3);
}

#[tokio::test]
async fn clustering_leaves_alone_what_people_have_said() {
    let fixture = a_mistake().await;
    // One name goes along; two do not.
    fixture.made(UPDATE, rename(3, "Grace")).await;
    let found = fixture.cluster(0).await.unwrap();
    assert_eq!(told(&found), [(ClusterChangeKind::Merge, 1, 3, 2)]);
    fixture.made(UPDATE, rename(1, "Ada")).await;
    let made = fixture.cluster(found.sequence).await.unwrap();
    let change = &made.changes[0];
    assert_eq!(change.edit_sequence, 0);
    assert!(
        change.refused.contains("was changed in between"),
        "{change:?}"
    );
    let found = fixture.cluster(0).await.unwrap();
    assert_eq!(found.changes.len(), 1);
    assert_eq!(found.changes[0].kind(), ClusterChangeKind::Conflict);
    let made = fixture.cluster(found.sequence).await.unwrap();
    assert_eq!(made.changes[0].edit_sequence, 0);
    assert_eq!(
        (fixture.identity(1).await.id, fixture.identity(3).await.id),
        (1, 3)
    );
}

#[tokio::test]
async fn clustering_takes_two_people_apart_that_are_one_identity() {
    let fixture = a_mistake().await;
    // Whoever is there already gets the tracks.
    fixture.made(MERGE, merge(2, 1)).await;
    let found = fixture.cluster(0).await.unwrap();
    assert_eq!(told(&found), [(ClusterChangeKind::Move, 1, 3, 2)]);
    // Else somebody new.
    fixture.made(MERGE, merge(3, 1)).await;
    let found = fixture.cluster(0).await.unwrap();
    assert_eq!(told(&found), [(ClusterChangeKind::Split, 1, 0, 3)]);
    let made = fixture.cluster(found.sequence).await.unwrap();
    assert!(made.changes[0].edit_sequence != 0, "{made:?}");
    let again = fixture.cluster(0).await.unwrap();
    assert!(again.changes.is_empty(), "{again:?}");
    assert_eq!(again.identities_before, 2);
}
