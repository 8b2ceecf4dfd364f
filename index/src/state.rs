//! The index and its snapshots: what is stored, and how a reader gets at it.

use std::{ops::Deref, sync::Arc};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::{
    embedding::{Embedding, WEIGHT_MIN},
    id::{FaceId, IdentityId, SourceId, TrackId},
    table::Table,
};

/// Faces by id, with their slots; kept in order of id.
pub(crate) type Members = RedBlackTreeMapSync<FaceId, usize>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Face {
    pub(crate) face: FaceId,
    pub(crate) identity: IdentityId,
    pub(crate) identity_slot: usize,
    pub(crate) track: TrackId,
    pub(crate) source: SourceId,
    pub(crate) seen_us: i64,
    pub(crate) quality: f32,
}

impl Face {
    /// What the face counts in its identity's mean.
    pub(crate) fn weight(&self) -> f64 {
        f64::from(self.quality.max(WEIGHT_MIN))
    }
}

/// A person's faces and their weighted sum. The representative, the sum's direction, is the vector
/// of the same row.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) identity: IdentityId,
    pub(crate) members: Members,
    pub(crate) sum: Arc<Vec<f64>>,
    pub(crate) weight: f64,
}

/// One state of the index, at one sequence of the log.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) sequence: u64,
    pub(crate) dimension: usize,
    pub(crate) faces: Table<Face>,
    pub(crate) identities: Table<Identity>,
    pub(crate) face_slots: HashTrieMapSync<FaceId, usize>,
    pub(crate) identity_slots: HashTrieMapSync<IdentityId, usize>,
    pub(crate) tracks: HashTrieMapSync<TrackId, Members>,
}

/// How much a [`State`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// People with at least one face.
    pub identities: usize,
    /// Faces.
    pub faces: usize,
    /// Tracks with at least one face.
    pub tracks: usize,
    /// Memory of vectors and records, in bytes, free rows included; maps come on top.
    pub bytes: usize,
}

/// A face as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceEntry<'a> {
    /// The face.
    pub face: FaceId,
    /// Whose it is.
    pub identity: IdentityId,
    /// The track it was seen in.
    pub track: TrackId,
    /// The source it was seen in.
    pub source: SourceId,
    /// When it was seen, wall clock, Unix microseconds.
    pub seen_us: i64,
    /// 0 to 1, higher is better.
    pub quality: f32,
    vector: &'a [f32],
}

impl<'a> FaceEntry<'a> {
    /// The values of its embedding; their squares sum to 1.
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.vector
    }

    /// A copy of its embedding.
    #[must_use]
    pub fn embedding(&self) -> Embedding {
        Embedding::from_unit(self.vector)
    }
}

impl State {
    pub(crate) fn new(dimension: usize) -> Self {
        Self {
            sequence: 0,
            dimension,
            faces: Table::new(dimension),
            identities: Table::new(dimension),
            face_slots: HashTrieMapSync::new_sync(),
            identity_slots: HashTrieMapSync::new_sync(),
            tracks: HashTrieMapSync::new_sync(),
        }
    }

    /// The log's sequence up to which operations were applied; 0: none yet.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many values an embedding here has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How much is stored. Cost: constant.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let sums = self.identities.len() * self.dimension * size_of::<f64>();
        Stats {
            identities: self.identities.len(),
            faces: self.faces.len(),
            tracks: self.tracks.size(),
            bytes: self.faces.bytes() + self.identities.bytes() + sums,
        }
    }

    /// The face, if it is here. Cost: one look-up.
    #[must_use]
    pub fn face(&self, face: FaceId) -> Option<FaceEntry<'_>> {
        self.entry(*self.face_slots.get(&face)?)
    }

    /// The identity's faces, lowest id first; none if there is no such identity.
    pub fn identity_faces(&self, identity: IdentityId) -> impl Iterator<Item = FaceEntry<'_>> {
        self.entries(self.identity(identity).map(|identity| &identity.members))
    }

    /// The track's faces, lowest id first; none if there is no such track.
    pub fn track_faces(&self, track: TrackId) -> impl Iterator<Item = FaceEntry<'_>> {
        self.entries(self.tracks.get(&track))
    }

    /// Where the identity lies in the space of faces: the mean of its faces weighted by quality,
    /// scaled to length 1. `None` if there is no such identity.
    ///
    /// Faces that cancel each other out have no mean; the best one (ties: lowest id) stands in.
    #[must_use]
    pub fn representative(&self, identity: IdentityId) -> Option<Embedding> {
        let slot = *self.identity_slots.get(&identity)?;
        Some(Embedding::from_unit(self.identities.vector(slot)))
    }

    pub(crate) fn identity(&self, identity: IdentityId) -> Option<&Identity> {
        self.identities.get(*self.identity_slots.get(&identity)?)
    }

    pub(crate) fn entry(&self, slot: usize) -> Option<FaceEntry<'_>> {
        let record = self.faces.get(slot)?;
        Some(FaceEntry {
            face: record.face,
            identity: record.identity,
            track: record.track,
            source: record.source,
            seen_us: record.seen_us,
            quality: record.quality,
            vector: self.faces.vector(slot),
        })
    }

    fn entries<'a>(&'a self, members: Option<&'a Members>) -> impl Iterator<Item = FaceEntry<'a>> {
        let slots = members.into_iter().flat_map(Members::values);
        slots.filter_map(|slot| self.entry(*slot))
    }

    /// The direction of `sum`, or, where it has none, of the best of `members`; `None` if there is
    /// none of those either.
    pub(crate) fn direction(
        &self,
        sum: &[f64],
        weight: f64,
        members: impl Iterator<Item = usize>,
    ) -> Option<Embedding> {
        Embedding::from_sum(sum, weight).or_else(|| {
            let faces = members.filter_map(|slot| self.entry(slot));
            let best = faces.max_by(|a, b| {
                a.quality
                    .total_cmp(&b.quality)
                    .then_with(|| b.face.cmp(&a.face))
            });
            best.map(|face| face.embedding())
        })
    }
}

/// An immutable state of the index, shared by any number of threads. Derefs to [`State`].
#[derive(Debug)]
pub struct Snapshot(State);

impl Deref for Snapshot {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// The writer's end of the index: its newest state, and the door to publish it.
///
/// Starts empty; the caller replays its log into it.
#[derive(Debug)]
pub struct Index {
    pub(crate) state: State,
}

impl Index {
    /// An empty index for embeddings of `dimension` values.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            state: State::new(dimension),
        }
    }

    /// The newest state, published or not.
    #[must_use]
    pub fn newest(&self) -> &State {
        &self.state
    }

    /// An immutable copy of the newest state.
    ///
    /// Cost: two reference counts for every 64 faces and every 64 identities; no vector is copied
    /// now. The first change to a chunk after this copies that chunk (128 KiB at 512 values).
    #[must_use]
    pub fn publish(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot(self.state.clone()))
    }
}
