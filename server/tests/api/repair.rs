//! Identities looked at again, and what waits for people.

use crate::edits::{UNDO, UPDATE, merge, rename, undo};
use crate::http::get;
use crate::page::client::Page;
use crate::support::{Api, Fixture, config, start, track, vision};
use rollcall_index::Embedding;
use rollcall_server::config::RepairMode;
use rollcall_server::pb;
use std::time::Duration;

/// A face of which so much is the person's, so much the light's, and the rest its own.
fn face(person: f32, light: f32, own: usize) -> Vec<u8> {
    let mut values = vec![0.0; 64];
    values[0] = person;
    values[1] = light;
    values[own] = (1.0 - person * person - light * light).max(0.0).sqrt();
    Embedding::normalise(values).unwrap().to_f16_bytes()
}

fn seen(key: u64, revision: u32, from: i64, face: Vec<u8>, closed: bool) -> pb::TrackObservation {
    let mut seen = track(key, 1, 0.0, from, from + 2, closed);
    seen.revision = revision;
    seen.exemplars[0].number = revision;
    seen.exemplars[0].embedding = face;
    seen
}

/// Identities 1 and 2 are one person. The tracks of the second began in such a light that nobody could tell.
async fn two_of_one(api: &Api) {
    let source = api.add_remote("studio").await;
    let mut run = api.run(source.id).await;
    for key in 1..=3 {
        let own = usize::try_from(key).unwrap() + 9;
        let from = 10 * i64::try_from(key).unwrap();
        run.track(seen(key, 1, from, face(0.97, 0.0, own), true))
            .await;
    }
    let dark = [(4, 40, 20), (5, 50, 21)];
    for (key, from, own) in dark {
        run.track(seen(key, 1, from, face(0.35, 0.9, own), false))
            .await;
    }
    for (key, from, own) in dark {
        run.track(seen(key, 2, from, face(0.97, 0.0, own + 10), true))
            .await;
    }
    run.finish().await;
}

/// That collection, and a server that looks again.
async fn looked_at(mode: RepairMode, before: impl AsyncFnOnce(&Fixture)) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(folder.path());
    let first = Fixture::on(folder, settings.clone()).await;
    two_of_one(&first.api).await;
    assert_eq!(first.identity(1).await.track_count, 3);
    assert_eq!(first.identity(2).await.track_count, 2);
    before(&first).await;
    let Fixture { folder, server, .. } = first;
    server.stop().await;
    settings.repair.mode = mode;
    settings.repair.share_percent = 100;
    let server = start(&settings, vision()).await.unwrap();
    let api = Api::connect(&server).await;
    Fixture {
        folder,
        server,
        api,
    }
}

impl Fixture {
    /// How often it was looked, with this outcome or any.
    async fn looks(&self, outcome: &str) -> u64 {
        let text = get(self.server.http(), "/metrics").await;
        let lines = text.lines().filter(|line| {
            line.starts_with("rollcall_repair_looks_total") && line.contains(outcome)
        });
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    }

    async fn until(&self, outcome: &str, count: u64) {
        let wait = async {
            while self.looks(outcome).await < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(waited.is_ok(), "{count} x {outcome}");
    }

    /// Somebody is seen again, and that is looked at.
    async fn seen_again(&self, number: u64) {
        let before = self.looks("").await;
        let source = self.api.add_remote(&format!("again {number}")).await;
        let mut run = self.api.run(source.id).await;
        let own = usize::try_from(number).unwrap() + 40;
        run.track(seen(1, 1, 0, face(0.98, 0.0, own), true)).await;
        run.finish().await;
        self.until("", before + 1).await;
    }

    async fn newest_edit(&self) -> Option<pb::Edit> {
        let listed = self.edits(pb::ListEditsRequest::default()).await;
        listed.edits.into_iter().next()
    }
}

#[tokio::test]
async fn two_parts_of_one_person_grow_together_and_stay_two_when_that_is_undone() {
    let fixture = looked_at(RepairMode::Merge, async |_| ()).await;
    fixture.until("merged", 1).await;
    assert_eq!(fixture.identity(2).await.id, 1);
    assert_eq!(fixture.identity(1).await.track_count, 5);
    let edit = fixture.newest_edit().await.unwrap();
    assert_eq!(edit.author, "system");
    assert!(edit.reason.contains("nats of evidence"), "{}", edit.reason);
    fixture.made(UNDO, undo(edit.sequence)).await;
    for number in 0..3 {
        fixture.seen_again(number).await;
    }
    assert_eq!(fixture.looks("merged").await, 1, "somebody has said no");
    assert_eq!(fixture.identity(2).await.id, 2);
    Page::of(&fixture)
        .get("/review")
        .await
        .holds("Nothing waits.");
}

#[tokio::test]
async fn of_two_names_one_is_never_taken_away() {
    let names = async |fixture: &Fixture| {
        fixture.made(UPDATE, rename(1, "Ada")).await;
        fixture.made(UPDATE, rename(2, "Eve")).await;
    };
    let fixture = looked_at(RepairMode::Merge, names).await;
    fixture.until("merge_proposed", 1).await;
    let page = Page::of(&fixture);
    page.get("/review")
        .await
        .holds("1 waiting")
        .holds("these may be one person")
        .holds("Ada")
        .holds("Eve");
    fixture.seen_again(0).await;
    assert_eq!(fixture.looks("merge_proposed").await, 1, "it waits already");
    let review = fixture.review(0, "").await;
    let item = review.items.first().unwrap();
    assert_eq!(item.kind(), pb::ReviewKind::OnePerson);
    assert_eq!(item.identity.as_ref().unwrap().name, "Eve");
    let ada = item.candidates.first().unwrap();
    assert_eq!(ada.identity.as_ref().unwrap().name, "Ada");
    assert!(ada.cosine > 0.5, "{}", ada.cosine);
    assert_eq!(
        (item.candidates.len(), item.track_ids.len(), item.cosine),
        (1, 0, None)
    );
    let fields = [("other", "1"), ("back", "/review")];
    page.post("/people/2/separate", &fields).await.done();
    page.get("/review").await.holds("Nothing waits.");
    assert!(fixture.review(0, "").await.items.is_empty());
    assert_eq!(fixture.looks("merged").await, 0);
}

#[tokio::test]
async fn what_was_confirmed_is_left_and_one_name_stays() {
    let confirmed = async |fixture: &Fixture| {
        let request = pb::UpdateIdentityRequest {
            identity_id: 1,
            confirmed: Some(true),
            ..Default::default()
        };
        fixture.made(UPDATE, request).await;
    };
    let fixture = looked_at(RepairMode::Merge, confirmed).await;
    fixture.until("merge_proposed", 1).await;
    assert_eq!(fixture.identity(2).await.id, 2);

    let named = async |fixture: &Fixture| {
        fixture.made(UPDATE, rename(2, "Eve")).await;
    };
    let fixture = looked_at(RepairMode::Merge, named).await;
    fixture.until("merged", 1).await;
    // The one with the name stays, although it is the smaller.
    assert_eq!(fixture.identity(1).await.name, "Eve");
    assert_eq!(fixture.identity(1).await.id, 2);
}

#[tokio::test]
async fn a_server_may_propose_alone() {
    let fixture = looked_at(RepairMode::Propose, async |_| ()).await;
    fixture.until("merge_proposed", 1).await;
    assert_eq!(fixture.identity(2).await.id, 2);
    let page = Page::of(&fixture);
    let review = page.get("/review").await;
    review.holds("1 waiting").holds("name=\"into\" value=\"1\"");
    page.post("/people/2/merge", &[("into", "1"), ("back", "/review")])
        .await
        .done();
    page.get("/review").await.holds("Nothing waits.");
}

#[tokio::test]
async fn two_people_in_one_are_proposed_to_be_split() {
    let strangers = async |fixture: &Fixture| {
        let source = fixture.api.add_remote("street").await;
        let mut run = fixture.api.run(source.id).await;
        for key in 1..=2 {
            let own = usize::try_from(key).unwrap() + 50;
            let from = 10 * i64::try_from(key).unwrap();
            let mut stranger = face(0.0, 0.0, own);
            let mut values = vec![0.0; 64];
            values[60] = 0.9;
            values[own] = 0.43;
            stranger.clone_from(&Embedding::normalise(values).unwrap().to_f16_bytes());
            run.track(seen(key, 1, from, stranger, true)).await;
        }
        run.finish().await;
        assert_eq!(fixture.identity(3).await.track_count, 2);
        fixture
            .made("/rollcall.v1.IdentityService/MergeIdentities", merge(3, 1))
            .await;
    };
    let fixture = looked_at(RepairMode::Propose, strangers).await;
    fixture.until("split_proposed", 1).await;
    let page = Page::of(&fixture);
    let review = page.get("/review").await;
    review
        .holds("this may be two people")
        .holds("action=\"/people/1/split\"")
        .holds("name=\"track\" value=\"6\"")
        .holds("name=\"track\" value=\"7\"");
    let listed = fixture.review(0, "").await.items;
    let two = listed
        .iter()
        .find(|it| it.kind() == pb::ReviewKind::TwoPeople);
    let two = two.unwrap();
    assert_eq!(two.identity.as_ref().unwrap().id, 1);
    assert_eq!((&two.track_ids[..], two.candidates.len()), (&[6, 7][..], 0));
    assert!(two.cosine.unwrap() < 0.3, "{:?}", two.cosine);
    let fields = [("track", "6"), ("track", "7"), ("back", "/review")];
    page.post("/people/1/split", &fields).await.done();
    assert_eq!(fixture.identity(1).await.track_count, 3);
    assert!(!page.get("/review").await.text().contains("two people"));
}
