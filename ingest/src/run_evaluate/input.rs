//! Faces and labels, as options name them.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::{
    Assets, ModelOptions, Models, PhotoReader,
    evaluate::{
        EvaluateError,
        labels::{Labels, Words, names_of_jsonl, read_names},
        photos,
    },
    faceset::FaceSet,
};

/// Which faces.
#[derive(Args)]
pub(crate) struct Input {
    /// Embeddings (.npy, .jsonl, .parquet, .pkl); an extracted folder, a film's of facerec's, a channel's of streamface's, the
    /// data folder of a server that does not run; or a folder of photos, in which each person has a folder.
    #[arg(value_name = "FACES")]
    pub(crate) faces: PathBuf,
    /// Among the embeddings of a .jsonl file, or a film's, that has several: those of this model.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) model: String,
    /// Whom each face shows: .npy, .csv (name,label), or .json (streamface's annotations, facerec's
    /// clusters, names and labels). Below 0: noise.
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// The same as .npy of whole numbers from 0.
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    pub(crate) identities: Option<PathBuf>,
    /// The track of each face: .npy of integers.
    #[arg(long, value_name = "FILE")]
    pub(crate) tracks: Option<PathBuf>,
    /// The name of each face, one a line; a .jsonl file may have them itself (`name` or `tag`).
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) photos: PhotoOptions,
}

/// What reads photos.
#[derive(Args, Clone)]
pub(crate) struct PhotoOptions {
    /// Of photos: folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// Of photos: the id of the detector.
    #[arg(long, value_name = "ID", default_value_t = ModelOptions::default().detector)]
    detector: String,
    /// Of photos: the id of the embedder.
    #[arg(long, value_name = "ID", default_value_t = ModelOptions::default().embedder)]
    embedder: String,
}

/// Faces and whom they show.
pub(crate) struct Labelled {
    pub(crate) faces: FaceSet,
    pub(crate) labels: Option<Vec<Option<i64>>>,
    /// What labels are called, where they are words.
    pub(crate) words: Words,
}

impl Input {
    /// Photos lie in folders that say whom they show; there is nothing to add.
    fn refuse_beside_photos(&self) -> anyhow::Result<()> {
        let given = [
            ("--model", !self.model.is_empty()),
            ("--labels", self.labels.is_some()),
            ("--identities", self.identities.is_some()),
            ("--tracks", self.tracks.is_some()),
            ("--names", self.names.is_some()),
        ];
        for (option, is_given) in given {
            if is_given {
                bail!(
                    "{option}: {} is a folder of photos, whose folders and names say whom they show; leave {option} out",
                    self.faces.display()
                );
            }
        }
        Ok(())
    }

    pub(crate) fn read(&self) -> anyhow::Result<Labelled> {
        if is_photos(&self.faces)? {
            self.refuse_beside_photos()?;
            return self.photos.read(&self.faces);
        }
        let sides = SideFiles {
            identities: self.identities.clone(),
            tracks: self.tracks.clone(),
            ..SideFiles::default()
        };
        let faces = FaceSet::read(&self.faces, &self.model, &sides).map_err(|why| {
            let why = EvaluateError::from(why);
            if self.faces.is_dir() && !FaceSet::is_folder(&self.faces) {
                anyhow!("{why}; nor has it folders of photos, one a person")
            } else {
                why.into()
            }
        })?;
        let faces = match &self.names {
            Some(path) => {
                let names = read_names(path, faces.len())?;
                faces.with_names(names)
            }
            None => named_by_itself(&self.faces, faces)?,
        };
        let (labels, words) = match &self.labels {
            Some(path) => {
                let file = Labels::read(path)?;
                (Some(file.of_faces(path, &faces)?), file.words())
            }
            None => (known_identities(&faces), Words::new()),
        };
        Ok(Labelled {
            faces,
            labels,
            words,
        })
    }
}

/// Whether the faces are to be found in photos.
pub(super) fn is_photos(path: &Path) -> Result<bool, EvaluateError> {
    Ok(path.is_dir() && !FaceSet::is_folder(path) && photos::is_one(path)?)
}

fn named_by_itself(path: &Path, faces: FaceSet) -> anyhow::Result<FaceSet> {
    let has_none = path
        .extension()
        .is_none_or(|extension| extension != "jsonl");
    if has_none || faces.name(0).is_some() {
        return Ok(faces);
    }
    let names = names_of_jsonl(path)?;
    let names = names.filter(|names| names.len() == faces.len());
    Ok(match names {
        Some(names) => faces.with_names(names),
        None => faces,
    })
}

/// What the features say themselves; `None` if they say nothing of anybody.
fn known_identities(faces: &FaceSet) -> Option<Vec<Option<i64>>> {
    let of = |identity: Option<u64>| identity.and_then(|identity| i64::try_from(identity).ok());
    let labels: Vec<Option<i64>> = faces
        .known()
        .iter()
        .map(|known| of(known.identity))
        .collect();
    labels.iter().any(Option::is_some).then_some(labels)
}

impl Labelled {
    /// What a label is called.
    pub(crate) fn called(&self, label: i64) -> String {
        let word = self.words.get(&label).cloned();
        word.unwrap_or_else(|| label.to_string())
    }

    /// The labels, which must be there.
    pub(crate) fn labels(&self) -> Result<&[Option<i64>], EvaluateError> {
        self.labels.as_deref().ok_or(EvaluateError::NoLabels)
    }
}

impl PhotoOptions {
    /// Reads a folder of photos.
    pub(crate) fn read(&self, folder: &Path) -> anyhow::Result<Labelled> {
        let options = ModelOptions {
            detector: self.detector.clone(),
            embedder: self.embedder.clone(),
            ..ModelOptions::default()
        };
        let assets = Assets::locate(self.assets.as_deref()).context("photos need models")?;
        let models = Models::open(&assets, &options)?;
        let mut reader = PhotoReader::open(&models)?;
        let (faces, labels, words) = photos::read(folder, &mut reader)?;
        let labels = Some(labels.into_iter().map(Some).collect());
        Ok(Labelled {
            faces,
            labels,
            words,
        })
    }
}
