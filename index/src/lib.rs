//! The person index: who is this, and where was this person seen?
//!
//! A view of the log's faces: a tree whose inner nodes are cells of people and whose leaves are the
//! faces of one person, in memory or in a folder of mapped files (`FORMAT.md`). One writer applies
//! [`Operation`]s to an [`Index`], checkpoints it into its folder, and publishes immutable
//! [`Snapshot`]s; any number of threads search those without a lock. What is wrong with a folder
//! can be mended by making it anew: from the log, or, many faces at once, with a [`Builder`]. This
//! crate knows no video, no network and no async.
//!
//! ```
//! use rollcall_index::{Embedding, FaceId, Filter, IdentityId, Index, Operation, SourceId, TrackId};
//!
//! let mut index = Index::new(3);
//! let seen = Embedding::normalise(vec![1.0, 0.1, 0.0])?;
//! index.apply(1, &[Operation::Insert {
//!     face: FaceId::new(1),
//!     identity: IdentityId::new(1),
//!     track: TrackId::new(1),
//!     source: SourceId::new(1),
//!     seen_us: 1_700_000_000_000_000,
//!     quality: 0.9,
//!     attributes: 0,
//!     embedding: seen,
//! }])?;
//!
//! let snapshot = index.publish();
//! let query = Embedding::normalise(vec![1.0, 0.0, 0.0])?;
//! let hits = snapshot.search_identities(&query, 5, &Filter::default())?;
//! assert_eq!(hits[0].identity, IdentityId::new(1));
//! assert!(hits[0].similarity.get() > 0.99);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod arena;
mod basis;
mod blocks;
mod build;
mod cells;
mod change;
mod check;
mod code;
mod column;
mod embedding;
mod faces;
mod facts;
mod filter;
mod id;
mod identity_state;
mod kernel;
mod modes;
mod people;
mod plane;
mod rotate;
mod search;
mod slots;
mod sound;
mod state;
mod store;
mod two_means;
#[cfg(feature = "vectors")]
pub mod vectors;
mod verify;

pub use apply::{ApplyError, Operation};
pub use basis::{Basis, Cohort, Standing};
pub use build::{BuildError, Builder, MemoryBudget};
pub use embedding::{Embedding, EmbeddingError, Similarity};
pub use facts::{Facts, Spread};
pub use filter::Filter;
pub use id::{FaceId, IdentityId, SourceId, TrackId};
pub use identity_state::{IdentityState, IdentityStates};
pub use kernel::instructions;
pub use search::{
    Effort, ExactError, FaceEffort, FaceHit, IdentityHit, SURE, SearchError, Truth, Work,
};
pub use state::{FaceEntry, Index, Snapshot, State, Stats};
pub use store::{Checkpoint, Damage, Disk, DiskFile, RealDisk, StoreError};
pub use verify::VerifyError;
