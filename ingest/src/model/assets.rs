//! Where the models lie.

use std::path::{Path, PathBuf};

use super::ModelError;

/// The folder that set-up fills: `models/`, `onnxruntime/`, `fixtures/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Finds the assets: `explicit` and nothing else if it is given (callers pass a flag or
    /// `ROLLCALL_ASSETS`); else the first that exists of `.assets` here, `.assets` two folders
    /// above the executable's, `/usr/lib/rollcall`.
    ///
    /// # Errors
    /// [`ModelError::NoAssets`] with the folders looked at: none has a folder `models`.
    pub fn locate(explicit: Option<&Path>) -> Result<Self, ModelError> {
        let tried = match explicit {
            Some(folder) => vec![folder.to_path_buf()],
            None => usual_places(),
        };
        match tried.iter().find(|folder| folder.join("models").is_dir()) {
            Some(folder) => Ok(Self {
                folder: folder.clone(),
            }),
            None => Err(ModelError::NoAssets { tried }),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// ONNX Runtime's shared library.
    #[must_use]
    pub fn runtime_library(&self) -> PathBuf {
        self.folder.join("onnxruntime").join("libonnxruntime.so")
    }

    /// The manifest of the model with this id.
    #[must_use]
    pub fn manifest(&self, id: &str) -> PathBuf {
        self.models().join(format!("{id}.toml"))
    }

    /// The folder of models and manifests.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.folder.join("models")
    }

    /// The folder of test and demo footage.
    #[must_use]
    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("fixtures")
    }
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(".assets")];
    let beside = std::env::current_exe().ok();
    places.extend(
        beside
            .iter()
            .filter_map(|exe| Some(exe.parent()?.join("../../.assets"))),
    );
    places.push(PathBuf::from("/usr/lib/rollcall"));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_folder_is_the_only_one_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let found = Assets::locate(Some(folder.path()));
        let Err(ModelError::NoAssets { tried }) = found else {
            panic!("{found:?}")
        };
        assert_eq!(tried, [folder.path()]);
        std::fs::create_dir(folder.path().join("models")).unwrap();
        let assets = Assets::locate(Some(folder.path())).unwrap();
        assert_eq!(assets.manifest("x"), folder.path().join("models/x.toml"));
    }
}
