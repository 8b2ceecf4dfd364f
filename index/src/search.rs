//! Who is this, and which faces look like this? Every vector that may count is looked at.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{
    embedding::{Embedding, Similarity},
    id::{FaceId, IdentityId, SourceId, TrackId},
    kernel,
    state::{Face, Identity, State},
};

/// Which faces count in a search. The default is: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only faces seen in one of these sources; an empty list lets nothing through.
    pub sources: Option<Vec<SourceId>>,
    /// Only faces seen at this moment or later, Unix microseconds.
    pub seen_after_us: Option<i64>,
    /// Only faces seen before this moment, Unix microseconds.
    pub seen_before_us: Option<i64>,
    /// As if this track had never been seen: its faces are no hits, and representatives are
    /// computed without them.
    pub exclude_track: Option<TrackId>,
}

impl Filter {
    /// Whether a face counts.
    fn passes(&self, face: &Face) -> bool {
        self.sources
            .as_ref()
            .is_none_or(|sources| sources.contains(&face.source))
            && self.seen_after_us.is_none_or(|after| face.seen_us >= after)
            && self
                .seen_before_us
                .is_none_or(|before| face.seen_us < before)
            && self.exclude_track != Some(face.track)
    }

    /// Whether faces have to be looked at one by one to know which identities count.
    fn by_face(&self) -> bool {
        self.sources.is_some() || self.seen_after_us.is_some() || self.seen_before_us.is_some()
    }
}

/// An identity found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdentityHit {
    /// The identity.
    pub identity: IdentityId,
    /// Cosine of the query to the identity's representative.
    pub similarity: Similarity,
    /// The most similar of its faces that pass the filter; ties go to the lower id.
    pub best_face: FaceId,
    /// Cosine of the query to that face.
    pub best_face_similarity: Similarity,
}

/// A face found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceHit {
    /// The face.
    pub face: FaceId,
    /// Whose it is.
    pub identity: IdentityId,
    /// The track it was seen in.
    pub track: TrackId,
    /// The source it was seen in.
    pub source: SourceId,
    /// Cosine of the query to the face.
    pub similarity: Similarity,
}

/// Why a search was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The query comes from another model than the index's.
    #[error("the query has {found} values, the index holds embeddings of {expected}")]
    WrongDimension {
        /// How many values the query has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
}

/// The k best of what was offered, best first; ties go to the lower id.
struct Best<Id> {
    k: usize,
    /// The worst of them on top.
    heap: BinaryHeap<Reverse<(Similarity, Reverse<Id>, usize)>>,
}

impl<Id: Ord + Copy> Best<Id> {
    /// Holds at most `k`, out of `of`.
    fn new(k: usize, of: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::with_capacity(k.min(of)),
        }
    }

    fn offer(&mut self, similarity: Similarity, id: Id, slot: usize) {
        let entry = Reverse((similarity, Reverse(id), slot));
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    fn into_slots(self) -> impl Iterator<Item = (Similarity, usize)> {
        let best_first = self.heap.into_sorted_vec().into_iter();
        best_first.map(|Reverse((similarity, _, slot))| (similarity, slot))
    }
}

impl State {
    /// The `k` identities whose representatives are most similar to `query`, most similar first;
    /// ties go to the lower id. Fewer if there are fewer; none for `k` = 0.
    ///
    /// An identity counts if at least one of its faces passes `filter`. Its representative is the
    /// mean of all its faces, those that do not pass included, except the excluded track's.
    ///
    /// Cost: one dot product per identity, one look at every face if `filter` names sources or
    /// times, and one dot product per passing face of each hit.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn search_identities(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<IdentityHit>, SearchError> {
        self.check(query)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let counting = filter.by_face().then(|| self.counting(filter));
        let without = self.without_track(filter.exclude_track);
        let mut best = Best::new(k, self.identities.len());
        for (slot, identity, representative) in self.identities.iter() {
            if counting.as_ref().is_some_and(|counting| !counting[slot]) {
                continue;
            }
            let similarity = match without.get(&slot) {
                None => Similarity::from_dot(kernel::dot(query.as_slice(), representative)),
                Some(Some(rest)) => query.dot(rest),
                Some(None) => continue,
            };
            best.offer(similarity, identity.identity, slot);
        }
        let hits = best.into_slots().filter_map(|(similarity, slot)| {
            let identity = self.identities.get(slot)?;
            let (best_face_similarity, best_face) = self.best_face(query, identity, filter)?;
            let identity = identity.identity;
            Some(IdentityHit {
                identity,
                similarity,
                best_face,
                best_face_similarity,
            })
        });
        Ok(hits.collect())
    }

    /// The `k` faces most similar to `query` among those that pass `filter`, most similar first;
    /// ties go to the lower id. Fewer if there are fewer; none for `k` = 0.
    ///
    /// Cost: one dot product per passing face.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn search_faces(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<FaceHit>, SearchError> {
        self.check(query)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let mut best = Best::new(k, self.faces.len());
        for (slot, face, vector) in self.faces.iter() {
            if filter.passes(face) {
                let similarity = Similarity::from_dot(kernel::dot(query.as_slice(), vector));
                best.offer(similarity, face.face, slot);
            }
        }
        let hits = best.into_slots().filter_map(|(similarity, slot)| {
            let &Face {
                face,
                identity,
                track,
                source,
                ..
            } = self.faces.get(slot)?;
            Some(FaceHit {
                face,
                identity,
                track,
                source,
                similarity,
            })
        });
        Ok(hits.collect())
    }

    /// Cosine of `query` to one identity's representative, computed without `exclude_track` if
    /// given. `None` if there is no such identity, or no face of it outside that track.
    ///
    /// Cost: one dot product, and a pass over each face of the identity in the excluded track.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn identity_similarity(
        &self,
        query: &Embedding,
        identity: IdentityId,
        exclude_track: Option<TrackId>,
    ) -> Result<Option<Similarity>, SearchError> {
        self.check(query)?;
        let Some(slot) = self.identity_slots.get(&identity) else {
            return Ok(None);
        };
        let similarity = match self.without_track(exclude_track).get(slot) {
            None => {
                let representative = self.identities.vector(*slot);
                Some(Similarity::from_dot(kernel::dot(
                    query.as_slice(),
                    representative,
                )))
            }
            Some(rest) => rest.as_ref().map(|rest| query.dot(rest)),
        };
        Ok(similarity)
    }

    fn check(&self, query: &Embedding) -> Result<(), SearchError> {
        let (found, expected) = (query.dimension(), self.dimension);
        if found == expected {
            Ok(())
        } else {
            Err(SearchError::WrongDimension { found, expected })
        }
    }

    /// For each identity slot, whether a face of it passes.
    fn counting(&self, filter: &Filter) -> Vec<bool> {
        let mut counting = vec![false; self.identities.slots()];
        for (_, face, _) in self.faces.iter() {
            if filter.passes(face) {
                counting[face.identity_slot] = true;
            }
        }
        counting
    }

    /// The representatives, without the track, of the identities that have faces of it; `None` for
    /// those that have no other.
    fn without_track(&self, track: Option<TrackId>) -> BTreeMap<usize, Option<Embedding>> {
        let mut slots: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for slot in track
            .and_then(|track| self.tracks.get(&track))
            .into_iter()
            .flatten()
        {
            if let Some(face) = self.faces.get(*slot.1) {
                slots.entry(face.identity_slot).or_default().push(*slot.1);
            }
        }
        let rest = |(at, gone): (usize, Vec<usize>)| {
            Some((at, self.rest(self.identities.get(at)?, &gone, track?)))
        };
        slots.into_iter().filter_map(rest).collect()
    }

    /// The identity's representative without the faces in `gone`, which are all it has of `track`.
    fn rest(&self, identity: &Identity, gone: &[usize], track: TrackId) -> Option<Embedding> {
        if identity.members.size() == gone.len() {
            return None;
        }
        let mut sum = identity.sum.as_ref().clone();
        let mut total = identity.weight;
        for slot in gone {
            let weight = self.faces.get(*slot)?.weight();
            total -= weight;
            for (sum, value) in sum.iter_mut().zip(self.faces.vector(*slot)) {
                *sum -= f64::from(*value) * weight;
            }
        }
        let stays = |slot: &usize| {
            self.faces
                .get(*slot)
                .is_some_and(|face| face.track != track)
        };
        self.direction(
            &sum,
            total,
            identity.members.values().copied().filter(stays),
        )
    }

    fn best_face(
        &self,
        query: &Embedding,
        identity: &Identity,
        filter: &Filter,
    ) -> Option<(Similarity, FaceId)> {
        let passing = identity.members.iter().filter_map(|(face, slot)| {
            let record = self.faces.get(*slot)?;
            filter.passes(record).then(|| {
                let dot = kernel::dot(query.as_slice(), self.faces.vector(*slot));
                (Similarity::from_dot(dot), Reverse(*face))
            })
        });
        passing
            .max()
            .map(|(similarity, Reverse(face))| (similarity, face))
    }
}
