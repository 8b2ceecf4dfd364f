//! NumPy's files: a header, then the numbers.

use std::{
    collections::HashMap,
    error::Error,
    fs::File,
    io::{BufReader, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use npyz::{DType, NpyHeader, Order};
use rayon::prelude::*;

use super::{Known, Row, VectorFileError};
use crate::{Embedding, FaceId, Truth};

/// An array of one or two dimensions. Rows are read as they are needed: what the page cache holds of
/// the file is not this process's memory.
#[derive(Debug)]
pub struct Array {
    path: PathBuf,
    file: File,
    /// Where the numbers begin.
    start: u64,
    shape: Vec<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F16,
    F32,
    I32,
    U32,
    I64,
    U64,
}

impl Kind {
    fn of(dtype: &str) -> Option<Self> {
        Some(match dtype {
            "<f2" => Self::F16,
            "<f4" => Self::F32,
            "<i4" => Self::I32,
            "<u4" => Self::U32,
            "<i8" => Self::I64,
            "<u8" => Self::U64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::I64 | Self::U64 => 8,
        }
    }
}

impl Array {
    /// Reads the header, and compares it with the length of the file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::read_header(path).with_context(|| path.display().to_string())
    }

    /// Reads all of a file of integers, one a row.
    ///
    /// # Errors
    /// [`VectorFileError`]: not such a file, or a number that does not fit `T`.
    pub fn read_integers<T: TryFrom<i128>>(path: &Path) -> Result<Vec<T>, VectorFileError> {
        let read = || Self::open(path)?.integers();
        read().map_err(VectorFileError)
    }

    fn read_header(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let mut reader = BufReader::new(&file);
        let header = NpyHeader::from_reader(&mut reader).context("not a .npy file")?;
        let start = reader.stream_position()?;
        let dtype = match header.dtype() {
            DType::Plain(dtype) => dtype.to_string(),
            DType::Array(..) | DType::Record(_) => header.dtype().descr(),
        };
        let kind = Kind::of(dtype.trim_matches('\''));
        let kind = kind.with_context(|| {
            format!("its values are {dtype}; float16, float32, and integers of 32 or 64 bits are read (little-endian)")
        })?;
        let shape = header.shape().iter().map(|length| usize::try_from(*length));
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        ensure!(
            header.order() == Order::C || shape.len() == 1,
            "its values are in Fortran order; save it with numpy.ascontiguousarray"
        );
        let values = shape
            .iter()
            .try_fold(kind.bytes(), |a, b| a.checked_mul(*b));
        let expected = values.and_then(|bytes| u64::try_from(bytes).ok()?.checked_add(start));
        let found = file.metadata()?.len();
        match expected {
            Some(expected) if expected <= found => {}
            _ => bail!("cut short: {found} bytes; its header says {dtype} of shape {shape:?}"),
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            start,
            shape,
            kind,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Opens an array of vectors, one a row.
    ///
    /// # Errors
    /// [`VectorFileError`]: not such a file.
    pub fn open_vectors(path: &Path) -> Result<Self, VectorFileError> {
        let open = || {
            let array = Self::open(path)?;
            array.check_vectors()?;
            Ok(array)
        };
        open().map_err(VectorFileError)
    }

    /// Refuses what is not a vector a row.
    fn check_vectors(&self) -> Result<()> {
        let (path, shape) = (self.path.display(), &self.shape);
        ensure!(
            shape.len() == 2 && shape[1] > 0,
            "{path}: its shape is {shape:?}; a vector a row is wanted"
        );
        ensure!(
            matches!(self.kind, Kind::F16 | Kind::F32),
            "{path}: holds {:?}; vectors are float16 or float32",
            self.kind
        );
        Ok(())
    }

    /// All numbers of an array of one dimension.
    pub(super) fn integers<T: TryFrom<i128>>(&self) -> Result<Vec<T>> {
        let (path, shape) = (self.path.display(), &self.shape);
        ensure!(
            shape.len() == 1,
            "{path}: its shape is {shape:?}; a number a row is wanted"
        );
        let mut bytes = vec![0; self.rows() * self.kind.bytes()];
        self.file
            .read_exact_at(&mut bytes, self.start)
            .with_context(|| path.to_string())?;
        let words = || bytes.as_chunks::<4>().0.iter();
        let doubles = || bytes.as_chunks::<8>().0.iter();
        let numbers: Vec<i128> = match self.kind {
            Kind::I32 => words().map(|b| i32::from_le_bytes(*b).into()).collect(),
            Kind::U32 => words().map(|b| u32::from_le_bytes(*b).into()).collect(),
            Kind::I64 => doubles().map(|b| i64::from_le_bytes(*b).into()).collect(),
            Kind::U64 => doubles().map(|b| u64::from_le_bytes(*b).into()).collect(),
            Kind::F16 | Kind::F32 => bail!("{path}: holds {:?}; integers are wanted", self.kind),
        };
        let number = |(row, number): (usize, i128)| {
            T::try_from(number)
                .map_err(|_| anyhow::anyhow!("{path}: row {row}: {number} is out of range"))
        };
        numbers.into_iter().enumerate().map(number).collect()
    }

    /// The embeddings of these rows, in their order.
    pub(super) fn faces(&self, rows: &[u32]) -> Result<Vec<Row>> {
        let faces: Vec<Result<Row>> = rows.par_iter().map(|row| self.face(*row)).collect();
        // Of several bad rows the first is named, whichever thread was faster.
        faces.into_iter().collect()
    }

    fn face(&self, row: u32) -> Result<Row> {
        let row_bytes = self.shape[1] * self.kind.bytes();
        let mut bytes = vec![0; row_bytes];
        let offset = self.start + u64::from(row) * u64::try_from(row_bytes)?;
        self.file.read_exact_at(&mut bytes, offset)?;
        let values = if self.kind == Kind::F16 {
            let halves = bytes.as_chunks::<2>().0.iter();
            halves.map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        } else {
            let floats = bytes.as_chunks::<4>().0.iter();
            floats.map(|b| f32::from_le_bytes(*b)).collect()
        };
        let embedding = Embedding::normalise(values).with_context(|| format!("row {row}"))?;
        Ok(Row {
            row: usize::try_from(row)?,
            embedding,
            known: Known::default(),
        })
    }
}

/// The vectors of an index's faces: face n is row n.
impl Truth for Array {
    fn embedding(&self, face: FaceId) -> Result<Option<Embedding>, Box<dyn Error + Send + Sync>> {
        let row = u32::try_from(face.get()).ok();
        let row = row.filter(|row| usize::try_from(*row).is_ok_and(|row| row < self.rows()));
        let (path, rows) = (self.path.display(), self.rows());
        let row = row.with_context(|| format!("{path}: has {rows} rows, counted from 0"))?;
        let face = self.face(row).with_context(|| path.to_string())?;
        Ok(Some(face.embedding))
    }
}

/// The order in which rows are best read: an identity's together; if those are not known, a track's
/// together, in the order in which tracks begin; or else as they are.
pub(super) fn order(
    rows: usize,
    identities: Option<&[u64]>,
    tracks: Option<&[u64]>,
) -> Result<Vec<u32>> {
    let rows = u32::try_from(rows).context("more than 2^32 - 1 vectors")?;
    let mut order: Vec<u32> = (0..rows).collect();
    if let Some(identities) = identities {
        order.par_sort_by_key(|row| identities[*row as usize]);
    } else if let Some(tracks) = tracks {
        let mut begins: HashMap<u64, u32> = HashMap::new();
        let begins: Vec<u32> = (0..rows)
            .zip(tracks)
            .map(|(row, track)| *begins.entry(*track).or_insert(row))
            .collect();
        order.par_sort_by_key(|row| begins[*row as usize]);
    }
    Ok(order)
}
