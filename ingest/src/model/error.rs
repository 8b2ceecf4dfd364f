//! Why a model cannot be used, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::detect::InferError;

/// Why the models could not be opened. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No assets folder was found.
    #[error(
        "no assets folder with models (looked at {}): run `make setup`, or name the folder with \
         ROLLCALL_ASSETS", tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoAssets {
        /// The folders looked at, in order.
        tried: Vec<PathBuf>,
    },
    /// A file of the assets is not there.
    #[error("{}: no such file: run `make setup`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file of the assets cannot be read.
    #[error("{}: cannot be read ({why}): check its permissions, or run `make setup`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// ONNX Runtime cannot be loaded.
    #[error("{}: ONNX Runtime cannot be loaded ({why}): run `make setup`", path.display())]
    Runtime {
        /// The shared library.
        path: PathBuf,
        /// What the loader says.
        why: String,
    },
    /// A manifest is not one.
    #[error("{}: not a usable manifest ({why}): correct it, or run `make setup`", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The model file is not the one the manifest speaks of.
    #[error(
        "{}: wrong file: SHA-256 is {found}, the manifest says {expected}: run `make setup`, or \
         write a manifest for this file", path.display()
    )]
    WrongHash {
        /// The model file.
        path: PathBuf,
        /// The hash in the manifest, 64 hex digits.
        expected: String,
        /// The hash of the file, 64 hex digits.
        found: String,
    },
    /// The model's inputs or outputs are not those of the manifest.
    #[error(
        "model {model}: {tensor} is {found}, the manifest needs {expected}: correct the manifest, \
         or prepare the model as `make setup` does"
    )]
    WrongShape {
        /// The model's id.
        model: String,
        /// The input or output in question.
        tensor: String,
        /// What the manifest asks for.
        expected: String,
        /// What the model has.
        found: String,
    },
    /// ONNX Runtime does not accept the model.
    #[error("model {model}: ONNX Runtime does not accept it ({why}): run `make setup`")]
    Load {
        /// The model's id.
        model: String,
        /// What ONNX Runtime says.
        why: String,
    },
    /// The model gives other answers here than where its manifest was made.
    #[error(
        "model {model}: self-test failed: output {output} has cosine {cosine} to the expected \
         values, at least {needed} is needed: the runtime or the CPU computes something else; run \
         `make setup`, and report this if it stays"
    )]
    SelfTest {
        /// The model's id.
        model: String,
        /// The output in question.
        output: String,
        /// Its cosine to the expected values, -1..=1.
        cosine: f32,
        /// The least that is accepted.
        needed: f32,
    },
    /// There is no classifier of that name.
    #[error(
        "no classifier gives `{name}` (there are: {}): correct the name, or add a manifest",
        known.join(", ")
    )]
    NoClassifier {
        /// As asked for.
        name: String,
        /// The tasks there are.
        known: Vec<String>,
    },
    /// Two classifiers would give the same attribute.
    #[error("models {first} and {second} both give `{attribute}`: ask for one of them by its id")]
    SeveralClassifiers {
        /// The attribute.
        attribute: String,
        /// One model's id.
        first: String,
        /// The other's.
        second: String,
    },
    /// The model did not run.
    #[error("{0}: run `make setup`")]
    Infer(#[from] InferError),
}

impl ModelError {
    /// What an error on reading the file at `path` comes to.
    pub(crate) fn of_file(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Unreadable {
                path,
                why: error.to_string(),
            }
        }
    }
}
