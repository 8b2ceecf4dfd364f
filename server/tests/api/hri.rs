//! HRI mode, from the settings to the reason of a decision.

use crate::support::{Fixture, track};
use rollcall_server::config::Assigner;
use rollcall_server::pb;

#[tokio::test]
async fn a_server_in_hri_mode_says_that_hri_decided() {
    let fixture = Fixture::with(|config| config.assigner = Assigner::Hri).await;
    let source = fixture.api.add_remote("studio feed").await;
    let mut run = fixture.api.run(source.id).await;
    // The third is on screen together with the second, and like them.
    run.track(track(1, 1, 0.0, 0, 2, true)).await;
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    run.track(track(3, 1, 121.0, 3, 5, true)).await;
    run.finish().await;
    for (track_id, identity, reason) in [
        (1, 1, "HRI_BEYOND_THRESHOLD"),
        (2, 2, "HRI_BEYOND_THRESHOLD"),
        (3, 2, "HRI_WITHIN_THRESHOLD"),
    ] {
        let method = "/rollcall.v1.IdentityService/ExplainTrack";
        let request = pb::ExplainTrackRequest { track_id };
        let why: pb::TrackExplanation = fixture.api.call(method, request).await.unwrap();
        assert_eq!(why.sighting.unwrap().identity_id, identity);
        let reasons = why
            .decisions
            .iter()
            .map(|decision| decision.reason.as_str());
        assert_eq!(reasons.collect::<Vec<_>>(), [reason]);
    }
}
