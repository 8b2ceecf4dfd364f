//! Everybody clustered anew, through the API.

use crate::edits::{UNDO, UPDATE, rename, undo};
use crate::support::{Fixture, reason, track};
use rollcall_server::pb::{self, ClusterChangeKind};

const CLUSTER: &str = "/rollcall.v1.IdentityService/ClusterIdentities";

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

/// What came early was put to several identities that are one person: 1, 3 and 4 lie between hues 0 and 18.
async fn fragments() -> Fixture {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("one").await;
    let mut run = fixture.api.run(source.id).await;
    for (key, hue) in (1..).zip([0.0, 120.0, 18.0, 1.0, 9.0]) {
        let from = 10 * i64::try_from(key).unwrap();
        run.track(track(key, 1, hue, from, from + 2, true)).await;
    }
    run.finish().await;
    fixture
}

fn merges(answer: &pb::ClusterIdentitiesResponse) -> Vec<(u64, u64)> {
    let merges = answer
        .changes
        .iter()
        .filter(|it| it.kind() == ClusterChangeKind::Merge);
    merges
        .map(|it| (it.identity_id, it.other_identity_id))
        .collect()
}

#[tokio::test]
async fn clustering_says_what_it_would_change_and_changes_it_when_told_to() {
    let fixture = fragments().await;
    let found = fixture.cluster(0).await.unwrap();
    let pairs = merges(&found);
    assert!(
        !pairs.is_empty() && pairs.len() == found.changes.len(),
        "{found:?}"
    );
    assert_eq!(found.tracks, 5);
    let (gone, stays) = pairs[0];
    assert_eq!(fixture.identity(gone).await.id, gone, "nothing was changed");

    let refused = fixture.cluster(found.sequence + 1).await.unwrap_err();
    assert_eq!(reason(&refused), "CLUSTERING_OUTDATED");
    let made = fixture.cluster(found.sequence).await.unwrap();
    let edit = made.changes[0].edit_sequence;
    assert!(
        edit > found.sequence && made.changes[0].refused.is_empty(),
        "{made:?}"
    );
    assert_eq!(
        fixture.identity(gone).await.id,
        fixture.identity(stays).await.id
    );
    // It was made: another time it would be made of something else.
    let refused = fixture.cluster(found.sequence).await.unwrap_err();
    assert_eq!(reason(&refused), "CLUSTERING_OUTDATED");
    assert_eq!(merges(&fixture.cluster(0).await.unwrap()), []);

    // Who was taken apart by somebody is not put together again.
    fixture.made(UNDO, undo(edit)).await;
    assert_eq!(fixture.identity(gone).await.id, gone);
    let again = fixture.cluster(0).await.unwrap();
    assert!(!merges(&again).contains(&(gone, stays)), "{again:?}");
}

#[tokio::test]
async fn clustering_leaves_alone_what_people_have_said() {
    let fixture = fragments().await;
    let found = fixture.cluster(0).await.unwrap();
    let (gone, stays) = merges(&found)[0];
    // Edited in between.
    fixture.made(UPDATE, rename(gone, "Grace")).await;
    let made = fixture.cluster(found.sequence).await.unwrap();
    let change = &made.changes[0];
    assert_eq!(change.edit_sequence, 0);
    assert!(
        change.refused.contains("was changed in between"),
        "{change:?}"
    );
    // One name goes along; two do not.
    fixture.made(UPDATE, rename(stays, "Ada")).await;
    let found = fixture.cluster(0).await.unwrap();
    let conflict = |it: &pb::ClusterChange| it.kind() == ClusterChangeKind::Conflict;
    assert!(found.changes.iter().any(conflict), "{found:?}");
    fixture.cluster(found.sequence).await.unwrap();
    assert_eq!(
        (
            fixture.identity(gone).await.id,
            fixture.identity(stays).await.id
        ),
        (gone, stays)
    );
}
