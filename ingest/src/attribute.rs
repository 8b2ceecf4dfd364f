//! What a face says beside whose it is: age, gender, expression, pose, whether eyes are open.
//!
//! Optional. Classifiers look at exemplars only, never at every face; what they read is put
//! together per track. Nothing here classifies race or ethnicity.

mod classifier;
mod reading;
mod tracks;

pub(crate) use classifier::OnnxClassifier;
pub use reading::{Reading, expectation, softmax, ssrnet};
pub use tracks::TrackAttributes;

use crate::{detect::InferError, geometry::DetectedFace, model::AttributeSpec, picture::Picture};

/// An attribute of a track, put together from its exemplars.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name, as in the model's manifest: `age`.
    pub name: String,
    /// Which one it is: `male`. Empty if the attribute is a number.
    pub label: String,
    /// The number; of a label its probability, 0 to 1. A mean over faces, weighted by their
    /// quality.
    pub value: f32,
    /// The standard deviation over faces of what is averaged; 0 for one face.
    pub spread: f32,
    /// How many faces it was read off.
    pub faces: u32,
    /// Of a number: `years`. May be empty.
    pub unit: String,
}

/// A face as it is kept: all that classifiers may look at.
#[derive(Clone, Debug)]
pub struct KeptFace {
    /// The loose crop.
    pub loose: Picture,
    /// Box and landmarks, in pixels of the crop.
    pub face: DetectedFace,
}

/// Reads attributes off faces: one model. One belongs to one thread at a time.
pub trait Classifier: Send {
    /// What it gives, in this order.
    fn attributes(&self) -> &[AttributeSpec];

    /// What it reads off `face`, one reading an attribute, in their order; `None` where the model
    /// gives nothing usable (not finite, the wrong size). The same face gives the same, to the bit.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run.
    fn read(&mut self, face: &KeptFace) -> Result<Vec<Option<Reading>>, InferError>;
}
