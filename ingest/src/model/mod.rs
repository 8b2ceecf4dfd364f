//! The models: found, checked against their manifests, and opened.

mod assets;
mod classifier;
mod classifiers;
mod contract;
mod error;
mod manifest;
mod open;
mod self_test;

pub use assets::Assets;
pub use classifier::{
    AttributeSpec, ClassifierChannels, ClassifierInput, ClassifierManifest, ClassifierOutput,
    FaceCrop, NoDecision, ReadingKind,
};
pub use classifiers::Classifiers;
pub use contract::{Contract, PREPROCESSING_VERSION};
pub use error::ModelError;
pub use manifest::{
    Align, Channels, Decoder, DetectorDecision, DetectorInput, DetectorManifest, DetectorOutput,
    EmbedderDecision, EmbedderInput, EmbedderManifest, EmbedderOutput, Geometry, Kind,
    LandmarkInput, LandmarkManifest, LandmarkOutput, Licence, Manifest, ModelSection, Pattern,
    SelfTest,
};
pub use open::{ModelOptions, Models};

pub use crate::runtime::Subnormals;
