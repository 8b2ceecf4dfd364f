//! The files of a film's folder, and how they are read and written.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{Feature, PixelBox, SceneChanges, Trajectory, to_line};
use crate::{
    detect::InferError,
    extract::{BatchError, SHARD_FILE},
    files::{beside, rename, sync_tree, write_whole},
    lines::Lines,
    observe::Fault,
};

/// Why a film's folder cannot be read or written. Each begins with a code that stays the same.
#[derive(Debug, thiserror::Error)]
pub enum FacerecError {
    /// A file or folder cannot be read or written.
    #[error("BATCH_IO: {path}: {why}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A line is cut off, or is not what it should be.
    #[error("BATCH_DAMAGED: {path}, line {line}: {why}; make this file again")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// Clusters do not fit the trajectories.
    #[error("CLUSTERS_UNFIT: {path}: {why}; cluster the film again after each merge")]
    Clusters {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Shards do not follow each other.
    #[error("{code}: {path}: {why}")]
    Shards {
        /// `SHARD_MISSING`, `SHARD_DOUBLED` or `SHARD_OF_OTHER_FILE`.
        code: &'static str,
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Embeddings that cannot be compared.
    #[error("SHARD_OF_OTHER_MODEL: {path}: {why}; embed both with one model")]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// Which dimensions.
        why: String,
    },
    /// A table lacks what is needed.
    #[error("BATCH_DAMAGED: {path}: {why}")]
    Table {
        /// The file or folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Parts of one video.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] Fault),
    /// A model failed.
    #[error(transparent)]
    Infer(#[from] InferError),
}

impl FacerecError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |why| Self::Io { path, why }
    }
}

/// The number of the film, by facerec's rule: what a file's name says before its first `-`.
#[must_use]
pub fn movie_of(file: &Path) -> Option<u64> {
    let name = file.file_name()?.to_str()?;
    name.split('-').next()?.trim().parse().ok()
}

/// The folder of a film, `MOVIE-data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacerecFolder {
    root: PathBuf,
    movie: u64,
}

/// The files of one shard.
pub(super) struct ShardFiles {
    /// Its first frame.
    pub(super) begin: u64,
    /// The frame after its last.
    pub(super) end: u64,
    pub(super) trajectories: PathBuf,
    pub(super) features: PathBuf,
    pub(super) scenes: PathBuf,
}

impl FacerecFolder {
    /// The folder of `movie` in `out`.
    #[must_use]
    pub fn of(out: &Path, movie: u64) -> Self {
        Self {
            root: out.join(format!("{movie}-data")),
            movie,
        }
    }

    /// A folder that is there, named `MOVIE-data`.
    ///
    /// # Errors
    /// [`FacerecError::Table`] if its name says otherwise.
    pub fn open(root: &Path) -> Result<Self, FacerecError> {
        let name = root.file_name().and_then(|name| name.to_str());
        let movie = name.and_then(|name| name.strip_suffix("-data")?.parse().ok());
        match movie {
            Some(movie) if root.is_dir() => Ok(Self {
                root: root.to_owned(),
                movie,
            }),
            _ => Err(FacerecError::Table {
                path: root.to_owned(),
                why: "no folder named NUMBER-data".to_owned(),
            }),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The number of the film.
    #[must_use]
    pub fn movie(&self) -> u64 {
        self.movie
    }

    /// A file or folder in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The name of a face, and of its picture.
    #[must_use]
    pub fn tag(&self, frame: u64, face: &PixelBox) -> String {
        let [left, top, right, bottom] = face;
        format!("{}:{frame}:{left}_{top}_{right}_{bottom}", self.movie)
    }

    /// The picture with this name.
    #[must_use]
    pub fn image(&self, tag: &str) -> PathBuf {
        self.root.join(format!("images/{tag}.jpeg"))
    }

    /// Where a shard says which part it is; the last of its files to be written.
    #[must_use]
    pub fn shard_info(&self, index: u32, n: u32) -> PathBuf {
        self.root
            .join(format!("shards/{index:03}-of-{n:03}/{SHARD_FILE}"))
    }

    fn shard_file(&self, kind: &str, (begin, end): (u64, u64), ending: &str) -> PathBuf {
        let name = format!("{kind}/{kind}_{}_{begin}-{end}.{ending}", self.movie);
        self.root.join(name)
    }

    pub(super) fn files_of(&self, (begin, end): (u64, u64)) -> ShardFiles {
        ShardFiles {
            begin,
            end,
            trajectories: self.shard_file("trajectories", (begin, end), "jsonl"),
            features: self.shard_file("features", (begin, end), "jsonl"),
            scenes: self.shard_file("scene_changes", (begin, end), "json"),
        }
    }

    /// The frames of each shard, by the names of the files in `trajectories`, in order.
    pub(super) fn spans(&self) -> Result<Vec<(u64, u64)>, FacerecError> {
        let folder = self.root.join("trajectories");
        let head = format!("trajectories_{}_", self.movie);
        let mut spans = Vec::new();
        for entry in fs::read_dir(&folder).map_err(FacerecError::io(&folder))? {
            let name = entry.map_err(FacerecError::io(&folder))?.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(".jsonl")) else {
                continue;
            };
            let span = name.strip_prefix(&head).and_then(|rest| {
                let (begin, end) = rest.strip_suffix(".jsonl")?.split_once('-')?;
                Some((begin.parse().ok()?, end.parse().ok()?))
            });
            spans.push(span.ok_or_else(|| FacerecError::Shards {
                code: "SHARD_OF_OTHER_FILE",
                path: folder.join(name),
                why: format!("not named {head}BEGIN-END.jsonl"),
            })?);
        }
        spans.sort_unstable();
        Ok(spans)
    }
}

/// Writes the files of one shard: under other names until they are complete.
pub struct FacerecWriter {
    folder: FacerecFolder,
    files: ShardFiles,
    trajectories: Unfinished,
    features: Unfinished,
    cuts: Vec<u64>,
}

impl FacerecWriter {
    /// Begins the files of the frames from `begin` to before `end`; those that are there stay until these
    /// are complete.
    ///
    /// # Errors
    /// [`FacerecError::Io`].
    pub fn create(folder: FacerecFolder, (begin, end): (u64, u64)) -> Result<Self, FacerecError> {
        for name in ["images", "trajectories", "features", "scene_changes"] {
            let path = folder.path(name);
            fs::create_dir_all(&path).map_err(FacerecError::io(&path))?;
        }
        let files = folder.files_of((begin, end));
        // Several shards may be empty at one place, and their files have one name, but not before they have it.
        let open = |path: &Path| {
            if begin == end {
                Unfinished::create_at(path, beside(path))
            } else {
                Unfinished::create(path)
            }
        };
        Ok(Self {
            trajectories: open(&files.trajectories)?,
            features: open(&files.features)?,
            cuts: Vec::new(),
            folder,
            files,
        })
    }

    pub(super) fn tag(&self, frame: u64, face: &PixelBox) -> String {
        self.folder.tag(frame, face)
    }

    /// The frame begins a shot.
    pub(super) fn cut(&mut self, frame: u64) {
        self.cuts.push(frame);
    }

    pub(super) fn trajectory(&mut self, trajectory: &Trajectory) -> Result<(), FacerecError> {
        self.trajectories.line(&to_line(trajectory))
    }

    /// Writes a face and its picture.
    pub(super) fn feature(&mut self, feature: &Feature, jpeg: &[u8]) -> Result<(), FacerecError> {
        let image = self.folder.image(&feature.tag);
        let beside = unfinished(&image);
        fs::write(&beside, jpeg)
            .and_then(|()| fs::rename(&beside, &image))
            .map_err(FacerecError::io(&image))?;
        self.features.line(&to_line(feature))
    }

    /// Everything was written: the files get their names.
    ///
    /// # Errors
    /// [`FacerecError::Io`].
    pub fn finish(self) -> Result<(), FacerecError> {
        let scenes = SceneChanges {
            frame_indices: self.cuts,
            movie_id: None,
        };
        // The pictures too are on the disk before the files that speak of them.
        let images = self.folder.path("images");
        sync_tree(&images).map_err(FacerecError::io(&images))?;
        let path = &self.files.scenes;
        write_whole(path, to_line(&scenes).as_bytes()).map_err(FacerecError::io(path))?;
        self.features.complete()?;
        self.trajectories.complete()
    }
}

/// A file of lines that has another name until it is complete.
pub(super) struct Unfinished {
    file: BufWriter<File>,
    /// Its name until then.
    beside: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// Begins the file that is to be `path`, in place of one that was begun before.
    pub(super) fn create(path: &Path) -> Result<Self, FacerecError> {
        Self::create_at(path, unfinished(path))
    }

    fn create_at(path: &Path, beside: PathBuf) -> Result<Self, FacerecError> {
        let file = File::create(&beside).map_err(FacerecError::io(&beside))?;
        Ok(Self {
            file: BufWriter::new(file),
            beside,
            path: path.to_owned(),
        })
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), FacerecError> {
        writeln!(self.file, "{text}").map_err(FacerecError::io(&self.path))
    }

    /// Gives it its name.
    pub(super) fn complete(self) -> Result<(), FacerecError> {
        let file = self.file.into_inner();
        file.map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| rename(&self.beside, &self.path))
            .map_err(FacerecError::io(self.path))
    }
}

/// The name of a file until it is complete.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}

/// Hands each line to `take`, with its number from 1 and its text.
pub(super) fn read_lines<T: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(usize, &str, T) -> Result<(), String>,
) -> Result<(), FacerecError> {
    let wrong = |(line, why)| FacerecError::Line {
        path: path.to_owned(),
        line,
        why,
    };
    for line in Lines::open(path).map_err(FacerecError::io(path))? {
        let (number, text) = line.map_err(wrong)?;
        let wrong = |why| wrong((number, why));
        let value = serde_json::from_str(&text).map_err(|why| wrong(why.to_string()))?;
        take(number, &text, value).map_err(wrong)?;
    }
    Ok(())
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FacerecError> {
    let bytes = fs::read(path).map_err(FacerecError::io(path))?;
    serde_json::from_slice(&bytes).map_err(|why| FacerecError::Line {
        path: path.to_owned(),
        line: why.line(),
        why: why.to_string(),
    })
}
