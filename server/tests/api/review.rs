//! What waits for people, through the API.

use crate::edits::{UPDATE, merge, rename, two_people};
use crate::support::{Fixture, reason, track};
use rollcall_server::pb::{self, ReviewKind};

const REVIEW: &str = "/rollcall.v1.IdentityService/ListReview";

impl Fixture {
    /// A page of what waits.
    pub(crate) async fn review(&self, page_size: i32, page_token: &str) -> pb::ListReviewResponse {
        let request = pb::ListReviewRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        self.api.call(REVIEW, request).await.unwrap()
    }

    /// A source in which these are seen one after another.
    async fn seen(&self, source: &str, hues: &[f32]) {
        let source = self.api.add_remote(source).await;
        let mut run = self.api.run(source.id).await;
        for (key, hue) in (1..).zip(hues) {
            let from = 10 * i64::try_from(key).unwrap();
            run.track(track(key, 1, *hue, from, from + 2, true)).await;
        }
        run.finish().await;
    }
}

/// Identity 4 may be 1 or 3, identity 7 may be 5 or 6.
async fn two_waiting() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.seen("one", &[0.0, 120.0, 18.0, 1.0, 9.0]).await;
    fixture.seen("two", &[200.0, 218.0, 201.0, 209.0]).await;
    fixture
}

fn ids(item: &pb::ReviewItem) -> (u64, Vec<u64>) {
    let candidates = item.candidates.iter();
    let candidates = candidates.map(|it| it.identity.as_ref().unwrap().id);
    let mut candidates: Vec<u64> = candidates.collect();
    candidates.sort_unstable();
    (item.identity.as_ref().unwrap().id, candidates)
}

#[tokio::test]
async fn review_of_what_could_be_several_comes_newest_first_and_page_by_page() {
    let fixture = two_waiting().await;
    let all = fixture.review(0, "").await;
    assert_eq!(all.total_count, 2);
    assert!(all.next_page_token.is_empty() && all.sequence > 0);
    let waiting: Vec<_> = all.items.iter().map(ids).collect();
    assert_eq!(waiting, [(7, vec![5, 6]), (4, vec![1, 3])]);
    for item in &all.items {
        assert_eq!(item.kind(), ReviewKind::WhichOne);
        assert_eq!((&item.track_ids[..], item.cosine), (&[][..], None));
        let cosines: Vec<f32> = item.candidates.iter().map(|it| it.cosine).collect();
        assert!(cosines.is_sorted_by(|a, b| a >= b), "{cosines:?}");
        assert!(
            cosines.iter().all(|it| (0.0..=1.0).contains(it)),
            "{cosines:?}"
        );
    }

    let first = fixture.review(1, "").await;
    assert_eq!((&first.items[..], first.total_count), (&all.items[..1], 2));
    let last = fixture.review(1, &first.next_page_token).await;
    assert_eq!((&last.items[..], last.total_count), (&all.items[1..], 2));
    assert!(last.next_page_token.is_empty());

    // What is answered between two pages drops out.
    let into = ids(&all.items[1]).1[0];
    let request = merge(4, into);
    fixture
        .made("/rollcall.v1.IdentityService/MergeIdentities", request)
        .await;
    let last = fixture.review(1, &first.next_page_token).await;
    assert_eq!((last.items.len(), last.total_count), (0, 1));
    fixture.made(UPDATE, rename(7, "Ada")).await;
    let none = fixture.review(0, "").await;
    assert_eq!((none.items.len(), none.total_count), (0, 0));
}

#[tokio::test]
async fn review_refuses_pages_that_are_none() {
    let fixture = two_people().await;
    for (page_size, page_token, expected) in [
        (-1, "", "INVALID_PAGE_SIZE"),
        (1, "x", "INVALID_PAGE_TOKEN"),
    ] {
        let request = pb::ListReviewRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let refused = fixture
            .api
            .call::<_, pb::ListReviewResponse>(REVIEW, request)
            .await;
        assert_eq!(reason(&refused.unwrap_err()), expected);
    }
}
