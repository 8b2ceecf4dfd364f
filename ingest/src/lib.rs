//! From pictures to track observations: decode, detect, track, align, embed, decide.
//!
//! The vision half (photos, models, faces) needs neither FFmpeg nor a network; capture sits behind
//! the feature `media`, the worker's client behind `worker`.

// Vision: what is in one picture.
pub mod align;
pub mod crop;
pub mod detect;
pub mod embed;
pub mod fake;
pub mod gate;
pub mod geometry;
mod number;
pub mod photo;
pub mod picture;
mod resize;

pub use align::AlignedCrop;
pub use detect::{DetectSize, Detector, InferError};
pub use embed::Embedder;
pub use geometry::{DetectedFace, Point, Rect};
pub use picture::{Picture, PictureRef};

// Media: what happens in a source.
pub mod observe;
