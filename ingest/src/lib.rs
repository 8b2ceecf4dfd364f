//! From pictures to track observations: decode, detect, track, align, embed, decide.
//!
//! The vision half (photos, models, faces) needs neither FFmpeg nor a network; capture sits behind
//! the feature `media`, the worker's client behind `worker`.

// Vision: what is in one picture.
pub mod align;
pub mod attribute;
pub mod crop;
pub mod detect;
pub mod embed;
pub mod fake;
mod flush;
pub mod gate;
pub mod geometry;
pub mod model;
mod number;
pub mod photo;
mod photo_reader;
pub mod picture;
mod provider;
mod resize;
mod runtime;
mod tensor;

pub use align::AlignedCrop;
pub use attribute::Classifier;
pub use detect::{DetectSize, DetectSizes, Detector, InferError};
pub use embed::Embedder;
pub use gate::face::{FaceGates, FaceRejection, Quality};
pub use geometry::{DetectedFace, Point, Rect};
pub use model::{Assets, Classifiers, Contract, ModelError, ModelOptions, Models, Subnormals};
pub use photo_reader::{PhotoFace, PhotoReader};
pub use picture::{Picture, PictureRef};
pub use provider::Provider;

// Media: what happens in a source.
#[cfg(feature = "media")]
pub mod capture;
pub mod exemplar;
pub mod extract;
pub mod facerec;
pub mod files;
mod lines;
pub mod observe;
pub mod pipeline;
pub mod shot;
pub mod source;
pub mod streamface;
pub mod track;
#[cfg(all(feature = "media", feature = "worker"))]
pub mod worker;

// Identity: who a track is.
pub mod cluster;

// Faces without a server: files and folders, clustering, evaluation.
pub mod evaluate;
pub mod extracted;
pub mod faceset;
pub mod pickle;
mod random;
pub mod table;
