//! Folders as facerec writes them, for its users and for video-labeler.
//!
//! All of a film lies in one folder, `MOVIE-data`: trajectories (a face followed through a shot, a box a
//! frame), features (an embedding for every fifth frame of each), scene changes, pictures of the faces,
//! clusters of trajectories, and predictions of who each cluster shows. [`Extraction`] makes the first four
//! of a part of the film, [`merge()`] puts parts together, [`predict`] names clusters. Keys, their order and
//! the way numbers are written are facerec's; what is on purpose done otherwise is in `docs/batch.md`.

mod actors;
mod clusters;
mod extraction;
mod features;
mod files;
mod json;
mod merge;
mod picture;
mod predictions;
mod scenes;
mod search;
mod table;
mod tracker;
mod trajectories;

pub use actors::{ActorFaces, read_actors, read_gallery};
pub use clusters::Clusters;
pub use extraction::{Extraction, FacerecSettings, FacerecSummary};
pub use features::{Feature, FeatureLine, Keypoints, read_features};
pub use files::{FacerecError, FacerecFolder, FacerecWriter, movie_of};
pub use json::to_line;
pub use merge::{MergeOptions, MergedFilm, merge};
pub use predictions::{PredictRules, Predictions, predict};
pub use scenes::SceneChanges;
pub use table::display_size;
pub use trajectories::{PixelBox, Trajectory, read_trajectories};
