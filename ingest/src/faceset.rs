//! Faces in rows: their embeddings and what is known of each, out of files that other programs write as well.

mod extracted;
mod facerec;
mod index;
mod streamface;

use std::path::{Path, PathBuf};

use rollcall_index::{
    Embedding,
    vectors::{Array, Known, SideFiles, VectorFile, VectorFileError},
};

use crate::{
    extracted::{Extracted, ExtractedError},
    facerec::FacerecError,
    pickle::PickleFileError,
    streamface::ChannelError,
};

/// Rows read at once.
const BATCH: usize = 8192;

/// Why faces cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FaceSetError {
    /// A file of vectors, or one that goes with it.
    #[error(transparent)]
    Vectors(#[from] VectorFileError),
    /// A pickle.
    #[error(transparent)]
    Pickle(#[from] PickleFileError),
    /// An extracted folder.
    #[error(transparent)]
    Extracted(#[from] ExtractedError),
    /// A channel's folder.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A film's folder.
    #[error(transparent)]
    Facerec(#[from] FacerecError),
    /// It is of no kind that is read, or not what its kind should be.
    #[error("{path}: {why}", path = path.display())]
    Kind {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn kind_error(path: &Path, why: impl Into<String>) -> FaceSetError {
    FaceSetError::Kind {
        path: path.to_owned(),
        why: why.into(),
    }
}

fn check_rows(path: &Path, found: usize, faces: usize) -> Result<(), FaceSetError> {
    if found == faces {
        return Ok(());
    }
    let why = format!("has {found} rows, there are {faces} vectors");
    Err(kind_error(path, why))
}

/// Whether the faces may have several embeddings, each with the name of a model.
fn has_models(path: &Path) -> bool {
    if path.is_dir() {
        return facerec::is_one(path);
    }
    path.extension()
        .is_some_and(|extension| extension == "jsonl")
}

pub(crate) const MISSING: &str = "there is no such file or folder";
/// What a folder must be.
const KINDS: &str = "neither an extracted folder (log/, tracks.jsonl), a data or index folder (index/manifest), a film of facerec's \
     (features.jsonl), nor a channel of streamface's (features/, metadata/)";

/// Folders that hold faces.
enum Folder {
    Extracted,
    Index(PathBuf),
    Facerec,
    Streamface,
}

impl Folder {
    fn of(path: &Path) -> Option<Self> {
        if Extracted::is_one(path) {
            Some(Self::Extracted)
        } else if let Some(folder) = index::place(path) {
            Some(Self::Index(folder))
        } else if facerec::is_one(path) {
            Some(Self::Facerec)
        } else {
            streamface::is_one(path).then_some(Self::Streamface)
        }
    }
}

/// Faces in rows, each an embedding of one dimension and length 1.
#[derive(Clone, Debug, Default)]
pub struct FaceSet {
    dimension: usize,
    values: Vec<f32>,
    known: Vec<Known>,
    /// Empty, or one a row.
    names: Vec<String>,
}

impl FaceSet {
    /// No faces yet, of embeddings with so many values.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            ..Self::default()
        }
    }

    /// Appends a face.
    ///
    /// # Panics
    /// If the embedding has another dimension.
    pub fn push(&mut self, embedding: &Embedding, known: Known) {
        assert_eq!(embedding.dimension(), self.dimension, "one dimension");
        self.values.extend_from_slice(embedding.as_slice());
        self.known.push(known);
    }

    /// Gives each row a name, such as a file's stem.
    ///
    /// # Panics
    /// If there are more or fewer names than rows.
    #[must_use]
    pub fn with_names(mut self, names: Vec<String>) -> Self {
        assert_eq!(names.len(), self.len(), "a name a row");
        self.names = names;
        self
    }

    /// How many faces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Values of an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The embedding of a row, of length 1.
    ///
    /// # Panics
    /// Beyond the last row.
    #[must_use]
    pub fn embedding(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..][..self.dimension]
    }

    /// All embeddings, row after row.
    #[must_use]
    pub fn embeddings(&self) -> &[f32] {
        &self.values
    }

    /// What else is known of each row.
    #[must_use]
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// The same, to be changed.
    pub fn known_mut(&mut self) -> &mut [Known] {
        &mut self.known
    }

    /// The name of a row, if rows have names.
    #[must_use]
    pub fn name(&self, row: usize) -> Option<&str> {
        self.names.get(row).map(String::as_str)
    }

    /// Whose each row is, if that is known of all.
    #[must_use]
    pub fn identities(&self) -> Option<Vec<u64>> {
        self.known.iter().map(|known| known.identity).collect()
    }

    /// The track of each row; where it is unknown, a track of its own, numbered above all others.
    #[must_use]
    pub fn tracks(&self) -> Vec<u64> {
        let last = self.known.iter().filter_map(|known| known.track).max();
        let mut next = last.map_or(0, |last| last.saturating_add(1));
        let own = self.known.iter().map(|known| {
            known.track.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        });
        own.collect()
    }

    /// Reads all faces of
    /// - a file of vectors: `.npy`, `.jsonl` or `.parquet`, with its side files;
    /// - streamface's features: a `.pkl` file, or a channel's folder with its matches and annotations;
    /// - a film's folder of facerec's, with its trajectories and clusters;
    /// - a folder that `rollcall-ingest extract` wrote;
    /// - an index folder, or the data folder of a server that does not run: whoever a search can find.
    ///
    /// `model` chooses among the embeddings of a `.jsonl` file or of a film that has several; empty: nothing is chosen.
    ///
    /// # Errors
    /// [`FaceSetError`]: which file, which row, what is wrong.
    pub fn read(path: &Path, model: &str, sides: &SideFiles) -> Result<Self, FaceSetError> {
        let found = path.try_exists();
        if !found.map_err(|why| kind_error(path, why.to_string()))? {
            return Err(kind_error(path, MISSING));
        }
        if !model.is_empty() && !has_models(path) {
            let why = format!("has one embedding a face; there is no model {model} to choose");
            return Err(kind_error(path, why));
        }
        let set = if path.is_dir() {
            match Folder::of(path) {
                Some(Folder::Extracted) => extracted::read(path)?,
                Some(Folder::Index(folder)) => index::read(&folder)?,
                Some(Folder::Facerec) => facerec::read(path, model)?,
                Some(Folder::Streamface) => streamface::read(path)?,
                None => return Err(kind_error(path, KINDS)),
            }
        } else if path.extension().is_some_and(|extension| extension == "pkl") {
            let (mut set, mut names) = (Self::default(), Vec::new());
            streamface::read_features(path, &mut set, &mut names)?;
            set.with_names(names)
        } else {
            Self::read_vectors(path, model)?
        };
        if set.is_empty() {
            return Err(kind_error(path, "holds no faces"));
        }
        set.with_sides(sides)
    }

    /// Whether `path` is a folder that [`Self::read`] reads.
    #[must_use]
    pub fn is_folder(path: &Path) -> bool {
        path.is_dir() && Folder::of(path).is_some()
    }

    /// What side files say, in the place of what is known.
    fn with_sides(mut self, sides: &SideFiles) -> Result<Self, FaceSetError> {
        let faces = self.len();
        let numbers = |path: &Option<PathBuf>| -> Result<Option<Vec<u64>>, FaceSetError> {
            let Some(path) = path else { return Ok(None) };
            let numbers = Array::read_integers(path)?;
            check_rows(path, numbers.len(), faces)?;
            Ok(Some(numbers))
        };
        // Below 0 is nobody's, as streamface has it.
        let identities: Option<Vec<i128>> = sides
            .identities
            .as_deref()
            .map(Array::read_integers)
            .transpose()?;
        if let (Some(path), Some(identities)) = (&sides.identities, &identities) {
            check_rows(path, identities.len(), faces)?;
        }
        let (tracks, sources) = (numbers(&sides.tracks)?, numbers(&sides.sources)?);
        let times: Option<Vec<i64>> = sides
            .times
            .as_deref()
            .map(Array::read_integers)
            .transpose()?;
        if let (Some(path), Some(times)) = (&sides.times, &times) {
            check_rows(path, times.len(), faces)?;
        }
        for (row, known) in self.known.iter_mut().enumerate() {
            let at = |numbers: &Option<Vec<u64>>| numbers.as_ref().map(|numbers| numbers[row]);
            if let Some(identities) = &identities {
                known.identity = u64::try_from(identities[row]).ok();
            }
            known.track = at(&tracks).or(known.track);
            known.source = at(&sources).or(known.source);
            known.time_us = times.as_ref().map(|times| times[row]).or(known.time_us);
        }
        Ok(self)
    }

    /// Side files are read by [`Self::with_sides`], not here: so embeddings come in the file's order, which is faster than in
    /// that of identities.
    fn read_vectors(path: &Path, model: &str) -> Result<Self, FaceSetError> {
        let mut file = VectorFile::open(path, model, &SideFiles::default())?;
        let mut set = Self::default();
        loop {
            let batch = file.batch(BATCH)?;
            let Some(first) = batch.first() else {
                return Ok(set);
            };
            set.dimension = first.embedding.dimension();
            for row in batch {
                set.push(&row.embedding, row.known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder as _;

    use super::*;

    #[test]
    fn rows_come_in_the_files_order_whatever_order_they_are_read_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        std::fs::write(
            &path,
            "{\"embedding\":[3,4],\"tag\":\"7:0:1_2_3_4\"}\n{\"embedding\":[1,0],\"identity\":5,\"track\":2}\n",
        )
        .unwrap();
        let set = FaceSet::read(&path, "", &SideFiles::default()).unwrap();
        assert_eq!((set.len(), set.dimension()), (2, 2));
        assert!((set.embedding(0)[0] - 0.6).abs() < 1e-6);
        assert_eq!(set.known()[0].source, Some(7));
        assert_eq!(set.identities(), None);
        assert_eq!(set.tracks(), [3, 2]);

        // A row's place does not depend on whose it is.
        let whose = folder.path().join("whose.npy");
        let labelled = |labels: [i64; 2]| {
            let file = std::fs::File::create(&whose).unwrap();
            let options = npyz::WriteOptions::new().default_dtype().shape(&[2]);
            let mut writer = options.writer(file).begin_nd().unwrap();
            writer.extend(labels).unwrap();
            writer.finish().unwrap();
            let sides = SideFiles {
                identities: Some(whose.clone()),
                ..SideFiles::default()
            };
            FaceSet::read(&path, "", &sides).unwrap()
        };
        let named = labelled([9, 4]);
        assert_eq!(named.embeddings(), set.embeddings());
        assert_eq!(named.identities(), Some(vec![9, 4]));
        assert_eq!(named.known()[1].track, Some(2));
        // Below 0 it is nobody's, whatever the file itself says.
        let identities = labelled([4, -1]).known().to_vec();
        let identities: Vec<_> = identities.iter().map(|known| known.identity).collect();
        assert_eq!(identities, [Some(4), None]);
    }

    fn channel(matches: &str, annotations: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("features/a.pkl", &crate::pickle::tests::two_faces());
        write("metadata/matches.csv", matches.as_bytes());
        write("metadata/annotations.json", annotations.as_bytes());
        folder
    }

    const ONE: &str = "sky_frame_20230525100138412614_face_0";
    const OTHER: &str = "sky_frame_20230525100138412614_face_1";

    #[test]
    fn a_channel_is_read_with_its_matches_and_labels() {
        let matches = format!("Face 1,Face 2\n{OTHER}.png,{ONE}.png\n{ONE}.png,gone.png\n");
        let annotations =
            format!("{{\"labels\":{{\"{ONE}\":{{\"label\":7}},\"{OTHER}\":{{\"label\":-1}}}}}}");
        let folder = channel(&matches, &annotations);
        let set = FaceSet::read(folder.path(), "", &SideFiles::default()).unwrap();
        assert_eq!((set.len(), set.dimension()), (2, 3));
        assert_eq!(set.name(1), Some(OTHER));
        assert_eq!(set.tracks(), [0, 0]);
        let identities: Vec<_> = set.known().iter().map(|known| known.identity).collect();
        assert_eq!(identities, [Some(7), None]);
        // 2023-05-25T10:01:38.412614Z
        assert_eq!(set.known()[0].time_us, Some(1_685_008_898_412_614));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let check = |folder: &Path, said: &str| {
            let error = FaceSet::read(folder, "", &SideFiles::default()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        };
        let folder = channel("Face 1,Face 2\nalone\n", "{\"labels\":{}}");
        check(folder.path(), "line 2: has 1 columns, two are wanted");
        let folder = channel("Face 1,Face 2\n", "{\"labels\":{\"x\":{}}}");
        check(folder.path(), "missing field `label`");
        std::fs::write(
            folder.path().join("features/a.pkl"),
            b"\x80\x04cos\nsystem\n.",
        )
        .unwrap();
        check(folder.path(), "would run os.system");
        let empty = tempfile::tempdir().unwrap();
        check(empty.path(), "neither an extracted folder");
        check(&empty.path().join("gone.npy"), MISSING);
        check(&empty.path().join("gone"), MISSING);
    }

    #[test]
    fn a_model_is_chosen_where_there_are_several_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let line = |frame: u64, of_models: &str| {
            format!(
                "{{\"frame\":{frame},\"tag\":\"7:{frame}:1_2_3_4\",\"box\":[1,2,3,4],{of_models}}}\n"
            )
        };
        let write = |lines: [&str; 2]| {
            let text = line(1, lines[0]) + &line(2, lines[1]);
            std::fs::write(folder.path().join("features.jsonl"), text).unwrap();
        };
        let read = |model| FaceSet::read(folder.path(), model, &SideFiles::default());
        let two = "\"embeddings\":{\"a\":[1,0],\"b\":[0,1]}";
        write([two, two]);
        assert_eq!(read("").unwrap().embedding(1), [1.0, 0.0]);
        assert_eq!(read("b").unwrap().embedding(1), [0.0, 1.0]);
        let fails = |model, said: &str| {
            let error = read(model).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        };
        fails("c", "line 1: no embedding of model c; there are a, b");
        let one = "\"embedding\":[1,0]";
        write([one, one]);
        assert_eq!(read("").unwrap().len(), 2);
        fails("a", "line 1: one embedding, of no named model");
        write([two, one]);
        fails("a", "line 2: one embedding, of no named model");

        let channel = channel("Face 1,Face 2\n", "{\"labels\":{}}");
        let error = FaceSet::read(channel.path(), "a", &SideFiles::default()).unwrap_err();
        let said = "has one embedding a face; there is no model a to choose";
        assert!(error.to_string().contains(said), "{error}");
    }
}
