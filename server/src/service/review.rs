//! What waits for people to decide.

use super::identity::Identities;
use crate::core::{Proposed, ReviewItem};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb;

impl Identities {
    pub(crate) async fn review(
        &self,
        request: pb::ListReviewRequest,
    ) -> Result<pb::ListReviewResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let seal = self.0.seal("ListReview");
        let before = seal
            .open(&request.page_token)?
            .map_or(u64::MAX, |[before]| before.cast_unsigned());
        let limit = usize::try_from(size).map_or(usize::MAX, |size| size.saturating_add(1));
        let read = self
            .0
            .read(move |catalog| catalog.review_items(before, limit));
        let (mut items, total_count, sequence) = read.await?;
        let more = cut(&mut items, size);
        let last = items.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.sequence.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListReviewResponse {
            items: items.into_iter().map(shown).collect(),
            next_page_token,
            total_count,
            sequence,
        })
    }
}

fn shown(item: ReviewItem) -> pb::ReviewItem {
    let kind = match item.proposed {
        Proposed::WhichOne => pb::ReviewKind::WhichOne,
        Proposed::OnePerson => pb::ReviewKind::OnePerson,
        Proposed::TwoPeople => pb::ReviewKind::TwoPeople,
    };
    let candidates = item.candidates.into_iter();
    let candidates = candidates.map(|(identity, cosine)| pb::ReviewCandidate {
        identity: Some(identity),
        cosine,
    });
    pb::ReviewItem {
        sequence: item.sequence,
        kind: kind.into(),
        identity: Some(item.identity),
        candidates: candidates.collect(),
        track_ids: item.track_ids,
        cosine: Some(item.cosine).filter(|_| item.proposed == Proposed::TwoPeople),
    }
}
