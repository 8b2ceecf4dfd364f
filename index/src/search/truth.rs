//! Which faces are like this, by the embeddings themselves?
//!
//! An 8-bit code says the cosine of a face but for an error that is known. The search by codes gives
//! every face that may be a hit within that error; their embeddings decide.

use std::error::Error;

use super::{Best, DEVIATIONS, FaceEffort, FaceHit, Search, SearchError, Work, faces};
use crate::{
    blocks::at,
    embedding::{Embedding, Similarity},
    filter::Filter,
    id::FaceId,
    plane::Estimate,
    state::State,
};

/// Where the embeddings are that faces were inserted with.
pub trait Truth {
    /// The face's embedding, as it was inserted or rounded to 16 bits; `None` if it is not there any
    /// more: such a face is compared by its code.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the search ends with it.
    fn embedding(&self, face: FaceId) -> Result<Option<Embedding>, Box<dyn Error + Send + Sync>>;
}

/// Why a search that asks the truth was refused.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// As without it.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The truth failed.
    #[error("face {face}: its embedding cannot be read: {source}")]
    Unreadable {
        /// Which face.
        face: u64,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The truth is that of another index.
    #[error(
        "face {face}: its embedding is not the one that was inserted into the index; ask with the \
         embeddings that the index was made of"
    )]
    OtherEmbedding {
        /// Which face.
        face: u64,
    },
}

/// Faces that may be hits by their codes.
pub(super) struct Rivals {
    /// Codes are taken to be off by as much as they can be, not by as much as they are.
    certain: bool,
    /// Each with the most that its cosine may be.
    entries: Vec<Estimate>,
}

impl State {
    /// As [`State::faces_like`], with the cosines of the embeddings in `truth` and in their order:
    /// near-duplicates that codes cannot tell apart are.
    ///
    /// Every face whose code says that it may be a hit is compared by its embedding. With
    /// [`FaceEffort::Exact`] codes are taken to be off by as much as they can be, and the answer is
    /// that of comparing all embeddings. With the others they are taken to be off by 4.5 standard
    /// deviations, which one in 300,000 exceeds; hits that the effort itself overlooks stay so.
    ///
    /// There is no such search for people: representatives are means of what codes say.
    ///
    /// Cost: that of [`State::faces_like`], and the embeddings of `k` faces and of those about as
    /// similar as the last of them: less than 0.004 below it, with [`FaceEffort::Exact`] some 0.03
    /// (512 values).
    ///
    /// # Errors
    /// [`ExactError`].
    pub fn faces_exactly(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
        effort: FaceEffort,
        truth: &dyn Truth,
    ) -> Result<(Vec<FaceHit>, Work), ExactError> {
        self.check(query)?;
        if k == 0 {
            return Ok(self.sound(Default::default())?);
        }
        let mut search = Search::new(self, query, filter);
        search.rivals = Some(Rivals {
            certain: effort == FaceEffort::Exact,
            entries: Vec::new(),
        });
        faces::faces(self, std::slice::from_mut(&mut search), k, effort);
        self.sound(())?;
        let best = search.decide(query, k, truth)?;
        let hits = best
            .into_slots()
            .map(|(similarity, slot)| self.face_hit(slot, similarity));
        Ok(self.sound((hits.collect(), search.work))?)
    }
}

impl Search<'_> {
    /// What a face counts with whose code has this cosine. Where the truth decides, that is the least
    /// that its own cosine may be, and the face is kept if the most that it may be reaches `bar`, the
    /// least that k others have.
    #[inline]
    pub(super) fn rival(&mut self, slot: u32, by_code: Similarity, bar: f32) -> Similarity {
        let Some(rivals) = &mut self.rivals else {
            return by_code;
        };
        let (_, step) = self.state.faces.plane.values(at(slot));
        // A damaged code may have no step.
        let step = step.max(0.0);
        let error = if rivals.certain {
            self.probe.error_max(step)
        } else {
            DEVIATIONS * self.probe.error_deviation(step)
        };
        let most = by_code.get() + error;
        if most >= bar {
            rivals.entries.push(Estimate(most, slot));
        }
        Similarity::from_dot(by_code.get() - error)
    }

    /// The best of the rivals by their embeddings.
    fn decide(
        &mut self,
        query: &Embedding,
        k: usize,
        truth: &dyn Truth,
    ) -> Result<Best<u64>, ExactError> {
        let mut rivals = self.rivals.take().map_or(Vec::new(), |all| all.entries);
        rivals.sort_unstable_by(|a, b| b.cmp(a));
        let mut best = Best::new(k, rivals.len());
        for Estimate(most, slot) in rivals {
            if most < best.bar() {
                break;
            }
            let face = self.state.faces.get(slot).face;
            let similarity = self.by_truth(query, slot, face, truth)?;
            best.offer(similarity, face, slot);
        }
        Ok(best)
    }

    fn by_truth(
        &mut self,
        query: &Embedding,
        slot: u32,
        face: u64,
        truth: &dyn Truth,
    ) -> Result<Similarity, ExactError> {
        let plane = &self.state.faces.plane;
        let by_code = Similarity::from_dot(plane.cosine(&self.probe, at(slot)));
        let embedding = truth
            .embedding(FaceId::new(face))
            .map_err(|source| ExactError::Unreadable { face, source })?;
        let Some(embedding) = embedding else {
            return Ok(by_code);
        };
        self.work.embeddings += 1;
        if embedding.dimension() != query.dimension() {
            return Err(ExactError::OtherEmbedding { face });
        }
        let similarity = embedding.dot(query);
        let (_, step) = plane.values(at(slot));
        if (similarity.get() - by_code.get()).abs() > self.probe.error_max(step) {
            return Err(ExactError::OtherEmbedding { face });
        }
        Ok(similarity)
    }
}
