//! Files of embeddings, and what goes with them, read in batches: `.npy`, `.jsonl` (facerec's
//! `features.jsonl` is one) and `.parquet`, as `docs/index-tool.md` describes them.

mod jsonl;
mod npy;
mod parquet;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::Embedding;
use jsonl::Jsonl;
pub use npy::Array;
use parquet::Parquet;

/// Why a file of vectors, or one that goes with it, cannot be read: which file, which row or line,
/// what is wrong.
#[derive(Debug)]
pub struct VectorFileError(anyhow::Error);

impl std::error::Error for VectorFileError {}

impl fmt::Display for VectorFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// What goes with the vectors, as arrays of their own: one number for each vector.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct SideFiles {
    /// Whose each face is (.npy of integers); without it, identities are chosen while building.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub identities: Option<PathBuf>,
    /// The track of each face (.npy of integers); without it, each is a track of its own.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub tracks: Option<PathBuf>,
    /// The source of each face (.npy of integers); without it, source 0.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub sources: Option<PathBuf>,
    /// When each face was seen, in Unix microseconds (.npy of integers); without it, 0.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub times: Option<PathBuf>,
}

/// What is known of a face beside its embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whose it is.
    pub identity: Option<u64>,
    /// The track it is of.
    pub track: Option<u64>,
    /// The source it was seen in.
    pub source: Option<u64>,
    /// When it was seen, in Unix microseconds.
    pub time_us: Option<i64>,
}

/// A row of the file.
#[derive(Clone, Debug)]
pub struct Row {
    /// From 0.
    pub row: usize,
    /// Of length 1, whatever the file has.
    pub embedding: Embedding,
    /// What else is known.
    pub known: Known,
}

/// A side array and where it comes from.
struct Side<T>(PathBuf, Vec<T>);

impl<T: Copy + TryFrom<i128>> Side<T> {
    fn read(path: Option<&PathBuf>) -> Result<Option<Self>> {
        let read = |path: &PathBuf| Ok(Self(path.clone(), Array::open(path)?.integers()?));
        path.map(read).transpose()
    }

    fn get(&self, row: usize) -> Result<T> {
        let Self(path, numbers) = self;
        let number = numbers.get(row).copied();
        number.with_context(|| {
            let rows = numbers.len();
            format!(
                "{}: has {rows} rows, there are more vectors",
                path.display()
            )
        })
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        let Self(path, numbers) = self;
        let found = numbers.len();
        ensure!(
            found == rows,
            "{}: has {found} rows, there are {rows} vectors",
            path.display()
        );
        Ok(())
    }
}

/// All of them that were given.
struct Sides {
    identities: Option<Side<u64>>,
    tracks: Option<Side<u64>>,
    sources: Option<Side<u64>>,
    times: Option<Side<i64>>,
}

impl Sides {
    fn read(files: &SideFiles) -> Result<Self> {
        Ok(Self {
            identities: Side::read(files.identities.as_ref())?,
            tracks: Side::read(files.tracks.as_ref())?,
            sources: Side::read(files.sources.as_ref())?,
            times: Side::read(files.times.as_ref())?,
        })
    }

    /// Puts what they say in the place of what the file itself says.
    fn complete(&self, row: usize, known: &mut Known) -> Result<()> {
        let put = |side: &Option<Side<u64>>, fact: &mut Option<u64>| -> Result<()> {
            if let Some(side) = side {
                *fact = Some(side.get(row)?);
            }
            Ok(())
        };
        put(&self.identities, &mut known.identity)?;
        put(&self.tracks, &mut known.track)?;
        put(&self.sources, &mut known.source)?;
        if let Some(side) = &self.times {
            known.time_us = Some(side.get(row)?);
        }
        Ok(())
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        let numbers = [&self.identities, &self.tracks, &self.sources];
        numbers
            .into_iter()
            .flatten()
            .try_for_each(|side| side.check_rows(rows))?;
        self.times.iter().try_for_each(|side| side.check_rows(rows))
    }
}

enum Vectors {
    Npy {
        array: Array,
        /// The order in which rows are read: of an identity, or a track, together.
        order: Vec<u32>,
    },
    Jsonl(Jsonl),
    Parquet(Box<Parquet>),
}

/// A file of embeddings with its side arrays.
pub struct VectorFile {
    path: PathBuf,
    vectors: Vectors,
    sides: Sides,
    dimension: Option<usize>,
    read: usize,
}

impl VectorFile {
    /// Opens the file, of the format that its name says. `model` chooses among the embeddings of a
    /// .jsonl file that has several.
    ///
    /// # Errors
    /// [`VectorFileError`]: of no such format, cut short, or side files of another length.
    pub fn open(path: &Path, model: &str, files: &SideFiles) -> Result<Self, VectorFileError> {
        Self::open_any(path, model, files).map_err(VectorFileError)
    }

    fn open_any(path: &Path, model: &str, files: &SideFiles) -> Result<Self> {
        let sides = Sides::read(files)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let vectors = match extension {
            Some("npy") => {
                let array = Array::open_vectors(path)?;
                sides.check_rows(array.rows())?;
                let order = npy::order(
                    array.rows(),
                    sides.identities.as_ref().map(|side| &side.1[..]),
                    sides.tracks.as_ref().map(|side| &side.1[..]),
                )?;
                Vectors::Npy { array, order }
            }
            Some("jsonl") => Vectors::Jsonl(Jsonl::open(path, model)?),
            Some("parquet") => Vectors::Parquet(Box::new(Parquet::open(path)?)),
            _ => bail!("{}: neither .npy, .jsonl nor .parquet", path.display()),
        };
        Ok(Self {
            path: path.to_owned(),
            vectors,
            sides,
            dimension: None,
            read: 0,
        })
    }

    /// How many rows there are, if that is known before they are read.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        match &self.vectors {
            Vectors::Npy { array, .. } => Some(array.rows()),
            Vectors::Jsonl(_) => None,
            Vectors::Parquet(file) => file.rows(),
        }
    }

    /// The next rows, at most `most`; none at the end. All embeddings have the same dimension. Those
    /// of a .npy file come identity by identity, or track by track, where these are known.
    ///
    /// # Errors
    /// [`VectorFileError`]: a row that is no embedding (NaN, infinity, length 0), or of another
    /// dimension.
    pub fn batch(&mut self, most: usize) -> Result<Vec<Row>, VectorFileError> {
        self.next(most).map_err(VectorFileError)
    }

    fn next(&mut self, most: usize) -> Result<Vec<Row>> {
        let mut faces = match &mut self.vectors {
            Vectors::Npy { array, order } => {
                let rest = &order[self.read..];
                array.faces(&rest[..most.min(rest.len())])
            }
            Vectors::Jsonl(file) => file.faces(self.read, most),
            Vectors::Parquet(file) => file.faces(self.read, most),
        }
        .with_context(|| self.path.display().to_string())?;
        self.read += faces.len();
        if faces.is_empty() {
            let place = self.path.display();
            ensure!(self.read > 0, "{place}: holds no vectors");
            self.sides.check_rows(self.read)?;
        }
        for Row {
            row,
            embedding,
            known,
        } in &mut faces
        {
            let found = embedding.dimension();
            let expected = *self.dimension.get_or_insert(found);
            let place = self.path.display();
            ensure!(
                found == expected,
                "{place}: row {row}: {found} values, the rows before have {expected}"
            );
            self.sides.complete(*row, known)?;
        }
        Ok(faces)
    }
}
