//! The arrays of a corpus of `benches/index`: numbers at once, vectors a row at a time.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use npyz::{Deserialize, NpyFile};
use rollcall_index::Embedding;

/// All values of an array.
///
/// # Errors
/// If it cannot be read, holds something else, or is empty; with its path.
pub fn array<T: Deserialize>(folder: &Path, name: &str) -> Result<Vec<T>> {
    let path = folder.join(name);
    let read = || -> Result<Vec<T>> {
        let array = NpyFile::new(BufReader::new(File::open(&path)?))?;
        let values = array.into_vec()?;
        ensure!(!values.is_empty(), "it is empty");
        Ok(values)
    };
    read().with_context(|| path.display().to_string())
}

/// `vectors.npy`, rows of float16 that are read as they are needed.
pub struct Vectors {
    file: File,
    /// Where the first one begins in the file.
    begin: u64,
    dimension: usize,
}

impl Vectors {
    /// Opens those of a corpus.
    ///
    /// # Errors
    /// If there are none, or not all that the file says it has.
    pub fn open(folder: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let path = folder.join("vectors.npy");
            let header = NpyFile::new(BufReader::new(File::open(&path)?))?;
            let &[rows, dimension] = header.shape() else {
                anyhow::bail!("it has the shape {:?}, not rows of numbers", header.shape());
            };
            let file = File::open(&path)?;
            let bytes = rows.checked_mul(dimension).and_then(|n| n.checked_mul(2));
            let length = file.metadata()?.len();
            let begin = bytes.and_then(|bytes| length.checked_sub(bytes));
            Ok(Self {
                begin: begin.context("it ends early")?,
                dimension: usize::try_from(dimension)?,
                file,
            })
        };
        open().context("vectors.npy")
    }

    /// How many values each has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The one in a row.
    ///
    /// # Errors
    /// If there is no such row, or it is not a unit vector.
    pub fn embedding(&self, row: usize) -> Result<Embedding> {
        let mut bytes = vec![0; self.dimension * 2];
        let at = self.begin + u64::try_from(row * bytes.len())?;
        self.file.read_exact_at(&mut bytes, at)?;
        Embedding::from_f16_bytes(&bytes).with_context(|| format!("vectors.npy, row {row}"))
    }
}
