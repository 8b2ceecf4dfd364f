//! Changing the index: operations, checked as a whole before the first takes effect.

use crate::{
    change::Change,
    check::Check,
    embedding::Embedding,
    id::{FaceId, IdentityId, SourceId, TrackId},
    identity_state::IdentityState,
    state::Index,
    store::Damage,
};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Adds a face to an identity, which comes into being with its first face.
    Insert {
        /// The face; must be new.
        face: FaceId,
        /// Whose it is.
        identity: IdentityId,
        /// The track it was seen in.
        track: TrackId,
        /// The source it was seen in.
        source: SourceId,
        /// When it was seen, wall clock, Unix microseconds.
        seen_us: i64,
        /// 0 to 1, higher is better; its weight in the identity's mean (0.01 at least).
        quality: f32,
        /// What the writer says of it (glasses, mask, profile, ...): 16 bits to which the writer
        /// gives meaning.
        attributes: u16,
        /// Its embedding, of the index's dimension.
        embedding: Embedding,
    },
    /// Takes a face out. An identity or track that loses its last face is gone.
    Remove {
        /// The face; must be here.
        face: FaceId,
    },
    /// Moves all faces of a track to an identity, which need not exist yet.
    Assign {
        /// The track; must have a face here.
        track: TrackId,
        /// Whose the faces are from here on.
        identity: IdentityId,
    },
    /// Moves a face to an identity, which need not exist yet: so is an identity split.
    Move {
        /// The face; must be here.
        face: FaceId,
        /// Whose it is from here on.
        identity: IdentityId,
    },
    /// Makes all faces of an identity another's; the first is gone. An identity that exists keeps
    /// its state; one that does not exist yet takes over that of the first: it is renamed.
    ///
    /// Cost: that of the identity with fewer faces, some twenty nanoseconds for each of them, and a
    /// copied page for every 256 of them that was published since it last changed; at most 32 are
    /// moved one by one.
    Merge {
        /// Whose the faces are; must have a face here.
        from: IdentityId,
        /// Whose they are from here on. If it is `from`, nothing happens.
        into: IdentityId,
    },
    /// Says what an identity is, until it is said anew or the identity is gone.
    Mark {
        /// The identity; must have a face here.
        identity: IdentityId,
        /// What it is from here on.
        state: IdentityState,
    },
}

/// Why operations were refused. Nothing of them was applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Sequences only grow: the caller replays an older record.
    #[error("sequence {given} is below {newest}, which the index has already applied")]
    SequenceWentBack {
        /// The sequence given.
        given: u64,
        /// The newest one applied.
        newest: u64,
    },
    /// The face is already here.
    #[error("operation {at}: face {face} is already in the index; remove it first")]
    DuplicateFace {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
    },
    /// There is no such face.
    #[error("operation {at}: face {face} is not in the index")]
    UnknownFace {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
    },
    /// No face of that track is here.
    #[error("operation {at}: track {track} has no face in the index")]
    UnknownTrack {
        /// Position of the operation, from 0.
        at: usize,
        /// The track.
        track: TrackId,
    },
    /// No face of that identity is here.
    #[error("operation {at}: identity {identity} has no face in the index")]
    UnknownIdentity {
        /// Position of the operation, from 0.
        at: usize,
        /// The identity.
        identity: IdentityId,
    },
    /// The embedding comes from another model than the index's.
    #[error(
        "operation {at}: face {face} has an embedding of {found} values, the index holds {expected}; \
         embed it with the model that the index was made with"
    )]
    WrongDimension {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
        /// How many values the embedding has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// A file of the index is not what was written to it. The index has to be made anew.
    #[error("the index is damaged: {0}; it has to be made anew from the log")]
    Damaged(Damage),
    /// The quality is NaN or outside 0 to 1.
    #[error("operation {at}: face {face} has quality {quality}; it must lie between 0 and 1")]
    BadQuality {
        /// Position of the operation, from 0.
        at: usize,
        /// The face.
        face: FaceId,
        /// The quality.
        quality: f32,
    },
}

impl Index {
    /// Applies `operations` in order, all or none, and moves to `sequence`, the log record they
    /// come from (equal to the newest is allowed). Readers see them after the next
    /// [`Index::publish`].
    ///
    /// Cost: some microseconds for each face and each identity touched, plus a copied page of 16
    /// KiB for each of a handful that was published since it last changed; now and then a
    /// millisecond, when a cell of representatives splits. Embeddings of more than a
    /// thousand operations are encoded by rayon's threads; what comes of it does not depend on how
    /// many.
    ///
    /// # Errors
    /// [`ApplyError`], with the index exactly as it was before.
    pub fn apply(&mut self, sequence: u64, operations: &[Operation]) -> Result<(), ApplyError> {
        if sequence < self.state.sequence {
            let newest = self.state.sequence;
            return Err(ApplyError::SequenceWentBack {
                given: sequence,
                newest,
            });
        }
        self.check().map_err(ApplyError::Damaged)?;
        Check::new(&self.state).all(operations)?;
        let mut change = Change::new(&mut self.state);
        change.all(operations);
        change.finish();
        self.state.sequence = sequence;
        Ok(())
    }
}
