//! Building an index from many faces at once, within a memory budget.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::{
    apply::{ApplyError, Operation},
    embedding::{Embedding, Similarity},
    id::{IdentityId, TrackId},
    search::SearchError,
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
        self.make_room(0)
    }

    /// Applies a batch of insertions whose identities are not known, and chooses those (what they
    /// say is overwritten). The faces of a track are taken together, by their mean: whose track it
    /// is already, or who is most similar, if that is at least `threshold`, or else somebody new,
    /// who gets the next number, from 1.
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
            let known = some
                .par_iter()
                .map(|track| track.owner(self.index.newest(), threshold))
                .collect::<Result<Vec<_>, _>>()?;
            let mut newcomers = Newcomers::new(self.next_identity, threshold);
            let mut inserts = Vec::new();
            for (track, known) in some.into_iter().zip(known) {
                let identity = newcomers.resolve(&track, known);
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

/// Where a track belongs by what is in the index.
enum Owner {
    /// It is theirs already.
    Sure(IdentityId),
    /// They are most similar.
    Nearest(Similarity, IdentityId),
    Nobody,
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
        inserts.iter().filter_map(|operation| match operation {
            Operation::Insert {
                embedding, quality, ..
            } => Some((embedding, *quality)),
            Operation::Remove { .. } | Operation::Assign { .. } => None,
        })
    };
    let best = || faces().reduce(|best, next| if next.1 > best.1 { next } else { best });
    Embedding::mean(faces()).unwrap_or_else(|| best().expect("a track has an insertion").0.clone())
}

impl Track {
    fn owner(&self, state: &State, threshold: Similarity) -> Result<Owner, SearchError> {
        if let Some(face) = state.track_faces(self.id).next() {
            return Ok(Owner::Sure(face.identity));
        }
        let nearest = state.joins(&self.mean, threshold)?;
        Ok(nearest.map_or(Owner::Nobody, |(similarity, identity)| {
            Owner::Nearest(similarity, identity)
        }))
    }

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

    /// Whose the track is, be it somebody new.
    fn resolve(&mut self, track: &Track, known: Owner) -> IdentityId {
        let known = match known {
            Owner::Sure(identity) => return identity,
            Owner::Nearest(similarity, identity) => Some((similarity, identity)),
            Owner::Nobody => None,
        };
        let ids = (self.first..).map(IdentityId::new);
        let new = self.means.iter().map(|mean| mean.dot(&track.mean)).zip(ids);
        let near = new.filter(|(similarity, _)| *similarity >= self.threshold);
        // Of those equally similar, the first: numbers grow.
        let best = known
            .into_iter()
            .chain(near)
            .reduce(|a, b| if b.0 > a.0 { b } else { a });
        if let Some((_, identity)) = best {
            return identity;
        }
        let identity = IdentityId::new(self.next_identity());
        self.means.push(track.mean.clone());
        identity
    }
}
