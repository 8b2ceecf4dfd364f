//! Building an index from many faces at once, within a memory budget.

use std::{collections::HashMap, str::FromStr};

use rayon::prelude::*;

use crate::{
    apply::{ApplyError, Operation},
    embedding::{Embedding, Similarity},
    filter::Filter,
    id::{IdentityId, TrackId},
    search::{Effort, SearchError},
    state::{Index, State},
    store::StoreError,
};

/// Tracks that are searched for side by side, and so do not see each other in the index.
const ASSIGNED_AT_ONCE: usize = 256;

/// Why an index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It is not empty: what is half built could not be told from what was there before.
    #[error("the index already has {faces} faces; build into an empty one")]
    NotEmpty {
        /// How many.
        faces: usize,
    },
    /// A face was refused.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// An identity for a face could not be looked for.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The files could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much memory a [`Builder`] may take for what is not in files yet; 1 GiB by default. Written
/// as a whole number of bytes, or of KiB, MiB or GiB: `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget(usize);

impl MemoryBudget {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(1 << 30)
    }
}

impl FromStr for MemoryBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: usize = match &text[digits.len()..] {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            unit => return Err(format!("{unit:?} is no unit; KiB, MiB and GiB are")),
        };
        let number: usize = digits.parse().map_err(|_| "not a whole number")?;
        let bytes = number.checked_mul(unit);
        bytes.map(Self).ok_or_else(|| "too large".to_owned())
    }
}

/// Fills an empty [`Index`] with many faces: in batches, encoded by all of rayon's threads, written
/// to its folder whenever what is new exceeds a budget. What comes of it depends on the batches
/// and their order, never on the number of threads.
///
/// Batches of some ten thousand faces, ordered by identity, are fastest: the faces of an identity
/// then lie together, and its representative is made once.
///
/// Until [`Self::finish`] the folder, if there is one, is at sequence 0: whoever opens it knows that
/// it is not complete.
#[derive(Debug)]
pub struct Builder {
    index: Index,
    budget_bytes: usize,
    next_identity: u64,
    checkpoints: usize,
}

impl Builder {
    /// Fills `index`, with at most about `budget_bytes` of memory for what is not yet in its folder:
    /// a batch is finished before it is written. Without a folder everything stays in memory.
    ///
    /// # Errors
    /// [`BuildError::NotEmpty`].
    pub fn new(index: Index, budget_bytes: usize) -> Result<Self, BuildError> {
        match index.newest().stats().faces {
            0 => Ok(Self {
                index,
                budget_bytes,
                next_identity: 1,
                checkpoints: 0,
            }),
            faces => Err(BuildError::NotEmpty { faces }),
        }
    }

    /// Applies a batch, all or none.
    ///
    /// # Errors
    /// [`BuildError::Refused`], with nothing of the batch applied; [`BuildError::Store`].
    pub fn add(&mut self, operations: &[Operation]) -> Result<(), BuildError> {
        self.index.apply(0, operations)?;
        for operation in operations {
            if let Operation::Insert { identity, .. } = operation {
                self.next_identity = self.next_identity.max(identity.get().saturating_add(1));
            }
        }
        self.make_room(0)
    }

    /// Applies a batch of insertions whose identities are not known, and chooses those (what they
    /// say is overwritten). The faces of a track are taken together, by their mean: whose track it
    /// is already, or who is most similar, if that is at least `threshold`, or else somebody new,
    /// who gets the next number: from 1, and above those that [`Self::add`] was given.
    ///
    /// Tracks are taken in the order of their first faces. Some hundreds are searched for at once;
    /// those among them that belong to somebody new are compared with each other too. Other
    /// operations take effect before the insertions.
    ///
    /// # Errors
    /// As [`Self::add`], and [`BuildError::Search`]. What was assigned before stays.
    pub fn assign(
        &mut self,
        operations: Vec<Operation>,
        threshold: Similarity,
    ) -> Result<(), BuildError> {
        let (tracks, others) = by_track(operations);
        self.index.apply(0, &others)?;
        let mut tracks = tracks.into_iter().peekable();
        while tracks.peek().is_some() {
            let some: Vec<_> = tracks.by_ref().take(ASSIGNED_AT_ONCE).collect();
            let means: Vec<_> = some.iter().map(|track| track.mean.clone()).collect();
            let (state, all) = (self.index.newest(), Filter::default());
            let found = state.who_batch(&means, 1, threshold, &all, Effort::Normal)?;
            let owner =
                |track: &Track| state.track_faces(track.id).next().map(|face| face.identity);
            let owners: Vec<_> = some.iter().map(owner).collect();
            let mut newcomers = Newcomers::new(self.next_identity, threshold);
            let mut inserts = Vec::new();
            for ((track, owner), (hits, _)) in some.into_iter().zip(owners).zip(found) {
                let near = hits.first().map(|hit| (hit.similarity, hit.identity));
                let identity = owner.unwrap_or_else(|| newcomers.resolve(&track.mean, near));
                inserts.extend(track.inserts(identity));
            }
            self.next_identity = newcomers.next_identity();
            self.index.apply(0, &inserts)?;
        }
        self.make_room(0)
    }

    /// Writes what is new to files if `more` bytes beside it would exceed the budget.
    fn make_room(&mut self, more: usize) -> Result<(), BuildError> {
        if self.index.fresh_bytes() + more > self.budget_bytes {
            self.index.checkpoint()?;
            self.checkpoints += 1;
        }
        Ok(())
    }

    /// What was built so far.
    #[must_use]
    pub fn newest(&self) -> &State {
        self.index.newest()
    }

    /// How often memory was written to files to keep to the budget.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.checkpoints
    }

    /// The index, complete, at the log's `sequence` that it was built up to, and checkpointed. Its
    /// upper levels are put right as a whole before.
    ///
    /// Cost: about that of inserting the representative of each identity again.
    ///
    /// # Errors
    /// [`BuildError::Store`]; [`BuildError::Refused`] if a file is damaged.
    pub fn finish(mut self, sequence: u64) -> Result<Index, BuildError> {
        self.make_room(self.index.newest().cells_bytes())?;
        self.index.settle();
        self.index.apply(sequence, &[])?;
        self.index.checkpoint()?;
        Ok(self.index)
    }
}

/// Faces of one track that are to be inserted.
struct Track {
    id: TrackId,
    mean: Embedding,
    inserts: Vec<Operation>,
}

/// Insertions by track, in the order of the first of each, and all other operations.
fn by_track(operations: Vec<Operation>) -> (Vec<Track>, Vec<Operation>) {
    let mut places: HashMap<TrackId, usize> = HashMap::new();
    let mut tracks: Vec<(TrackId, Vec<Operation>)> = Vec::new();
    let mut others = Vec::new();
    for operation in operations {
        let Operation::Insert { track, .. } = operation else {
            others.push(operation);
            continue;
        };
        let place = *places.entry(track).or_insert(tracks.len());
        if place == tracks.len() {
            tracks.push((track, Vec::new()));
        }
        tracks[place].1.push(operation);
    }
    let whole = tracks.into_par_iter().map(|(id, inserts)| Track {
        id,
        mean: mean(&inserts),
        inserts,
    });
    (whole.collect(), others)
}

/// The mean of the faces, or the best of them if they cancel each other out.
fn mean(inserts: &[Operation]) -> Embedding {
    let faces = || {
        inserts.iter().filter_map(|operation| {
            let Operation::Insert {
                embedding, quality, ..
            } = operation
            else {
                return None;
            };
            Some((embedding, *quality))
        })
    };
    let best = || faces().reduce(|best, next| if next.1 > best.1 { next } else { best });
    Embedding::mean(faces()).unwrap_or_else(|| best().expect("a track has an insertion").0.clone())
}

impl Track {
    fn inserts(self, owner: IdentityId) -> impl Iterator<Item = Operation> {
        self.inserts.into_iter().map(move |mut operation| {
            if let Operation::Insert { identity, .. } = &mut operation {
                *identity = owner;
            }
            operation
        })
    }
}

/// People who are not in the index yet: where the first track of each lies.
struct Newcomers {
    threshold: Similarity,
    first: u64,
    means: Vec<Embedding>,
}

impl Newcomers {
    fn new(first: u64, threshold: Similarity) -> Self {
        Self {
            threshold,
            first,
            means: Vec::new(),
        }
    }

    fn next_identity(&self) -> u64 {
        self.first + u64::try_from(self.means.len()).unwrap_or(u64::MAX)
    }

    /// Whose a track with this mean is, be it somebody new; `near` is who is most similar in the
    /// index.
    fn resolve(&mut self, mean: &Embedding, near: Option<(Similarity, IdentityId)>) -> IdentityId {
        let ids = (self.first..).map(IdentityId::new);
        let new = self.means.iter().map(|other| other.dot(mean)).zip(ids);
        let all = near.into_iter().chain(new);
        let close = all.filter(|(similarity, _)| *similarity >= self.threshold);
        // Of those equally similar, the first: numbers grow.
        let best = close.reduce(|a, b| if b.0 > a.0 { b } else { a });
        if let Some((_, identity)) = best {
            return identity;
        }
        let identity = IdentityId::new(self.next_identity());
        self.means.push(mean.clone());
        identity
    }
}
