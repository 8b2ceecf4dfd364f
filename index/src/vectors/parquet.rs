//! Parquet: a column `embedding` of lists of floats, and, if they are there, columns of integers
//! `identity`, `track`, `source` and `time_us`. Uncompressed, or by Snappy or Zstandard.

use std::{fs::File, path::Path};

use anyhow::{Context, Result, bail, ensure};
use parquet::{
    basic::Type,
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    file::reader::{FileReader, SerializedFileReader},
    schema::types::ColumnDescriptor,
};
use rayon::prelude::*;

use super::{Known, Row};
use crate::Embedding;

const EMBEDDING: &str = "embedding";
/// In the order of [`Known`].
const FACTS: [&str; 4] = ["identity", "track", "source", "time_us"];

pub(super) struct Parquet {
    file: SerializedFileReader<File>,
    /// The leaf of the lists.
    embedding: usize,
    /// Definition level of a value that is there.
    defined: i16,
    facts: [Option<usize>; FACTS.len()],
    next_group: usize,
    group: Option<Group>,
}

/// Columns of the row group that is being read.
struct Group {
    left: usize,
    embedding: ColumnReader,
    facts: [Option<ColumnReader>; FACTS.len()],
}

impl Parquet {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::read_schema(path).with_context(|| path.display().to_string())
    }

    fn read_schema(path: &Path) -> Result<Self> {
        let file = SerializedFileReader::new(File::open(path)?)
            .context("not a Parquet file, or cut short")?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let leaf = |name: &str| {
            let named = |column: &ColumnDescriptor| {
                column
                    .path()
                    .parts()
                    .first()
                    .is_some_and(|part| part == name)
            };
            (0..schema.num_columns()).find(|leaf| named(&schema.column(*leaf)))
        };
        let embedding = leaf(EMBEDDING).context("there is no column \"embedding\"")?;
        let values = schema.column(embedding);
        ensure!(
            values.max_rep_level() == 1
                && matches!(values.physical_type(), Type::FLOAT | Type::DOUBLE),
            "column \"embedding\" holds {} (depth {}); lists of floats or doubles are read",
            values.physical_type(),
            values.max_rep_level()
        );
        let mut facts = [None; FACTS.len()];
        for (fact, name) in facts.iter_mut().zip(FACTS) {
            *fact = leaf(name);
            if let Some(leaf) = *fact {
                let column = schema.column(leaf);
                ensure!(
                    column.max_rep_level() == 0
                        && matches!(column.physical_type(), Type::INT32 | Type::INT64),
                    "column \"{name}\" holds {}; integers are read",
                    column.physical_type()
                );
            }
        }
        Ok(Self {
            file,
            embedding,
            defined: values.max_def_level(),
            facts,
            next_group: 0,
            group: None,
        })
    }

    /// Rows by the file's own account.
    pub(super) fn rows(&self) -> Option<usize> {
        usize::try_from(self.file.metadata().file_metadata().num_rows()).ok()
    }

    /// The next rows, the first of which is `first`.
    pub(super) fn faces(&mut self, first: usize, most: usize) -> Result<Vec<Row>> {
        while self.group.as_ref().is_none_or(|group| group.left == 0) {
            if self.next_group == self.file.num_row_groups() {
                return Ok(Vec::new());
            }
            self.group = Some(self.open_group(self.next_group)?);
            self.next_group += 1;
        }
        let group = self.group.as_mut().context("a group is open")?;
        let rows = most.min(group.left);
        group.left -= rows;
        let vectors = vectors(&mut group.embedding, rows, self.defined, first)?;
        let mut facts = vec![Known::default(); rows];
        for (number, column) in group.facts.iter_mut().enumerate() {
            let Some(column) = column else { continue };
            for (row, value) in integers(column, rows)?.into_iter().enumerate() {
                let place = || format!("row {}: {} {value:?}", first + row, FACTS[number]);
                let unsigned = || value.map(u64::try_from).transpose().with_context(place);
                let facts = &mut facts[row];
                match number {
                    0 => facts.identity = unsigned()?,
                    1 => facts.track = unsigned()?,
                    2 => facts.source = unsigned()?,
                    _ => facts.time_us = value,
                }
            }
        }
        let face = |(number, (values, known)): (usize, (Vec<f32>, Known))| {
            let row = first + number;
            let embedding = Embedding::normalise(values).with_context(|| format!("row {row}"))?;
            Ok(Row {
                row,
                embedding,
                known,
            })
        };
        let faces: Vec<Result<Row>> = vectors
            .into_par_iter()
            .zip(facts)
            .enumerate()
            .map(face)
            .collect();
        faces.into_iter().collect()
    }

    fn open_group(&self, number: usize) -> Result<Group> {
        let group = self.file.get_row_group(number)?;
        let mut facts = [const { None }; FACTS.len()];
        for (fact, leaf) in facts.iter_mut().zip(self.facts) {
            *fact = leaf.map(|leaf| group.get_column_reader(leaf)).transpose()?;
        }
        Ok(Group {
            left: usize::try_from(group.metadata().num_rows())?,
            embedding: group.get_column_reader(self.embedding)?,
            facts,
        })
    }
}

/// Levels and values of as many records.
struct Records<T> {
    defined: Vec<i16>,
    repeated: Vec<i16>,
    values: Vec<T>,
}

fn records<T: DataType>(column: &mut ColumnReaderImpl<T>, rows: usize) -> Result<Records<T::T>> {
    let mut records = Records {
        defined: Vec::new(),
        repeated: Vec::new(),
        values: Vec::new(),
    };
    let mut read = 0;
    while read < rows {
        let (defined, repeated) = (&mut records.defined, &mut records.repeated);
        let (more, _, _) = column.read_records(
            rows - read,
            Some(defined),
            Some(repeated),
            &mut records.values,
        )?;
        ensure!(more > 0, "a column ends before its row group does");
        read += more;
    }
    Ok(records)
}

/// The lists, all of whose values are there.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types are refused"
)]
fn vectors(
    column: &mut ColumnReader,
    rows: usize,
    defined: i16,
    first: usize,
) -> Result<Vec<Vec<f32>>> {
    let Records {
        defined: levels,
        repeated,
        values,
    } = match column {
        ColumnReader::FloatColumnReader(column) => records(column, rows)?,
        ColumnReader::DoubleColumnReader(column) => {
            let doubles = records(column, rows)?;
            #[expect(clippy::cast_possible_truncation, reason = "infinity is refused later")]
            let values = doubles.values.iter().map(|value| *value as f32).collect();
            Records {
                defined: doubles.defined,
                repeated: doubles.repeated,
                values,
            }
        }
        _ => bail!("column \"embedding\" holds no floats"),
    };
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(rows);
    let mut values = values.into_iter();
    for (place, repeated) in repeated.iter().enumerate() {
        if *repeated == 0 {
            vectors.push(Vec::with_capacity(vectors.last().map_or(0, Vec::len)));
        }
        let row = first + vectors.len().saturating_sub(1);
        // A file may say that every value is there by giving no levels.
        let there = levels.get(place).is_none_or(|level| *level == defined);
        let value = if there { values.next() } else { None };
        let value =
            value.with_context(|| format!("row {row}: its embedding is empty, or has a null"))?;
        vectors.last_mut().context("a list begins")?.push(value);
    }
    ensure!(
        vectors.len() == rows,
        "column \"embedding\" has {} rows of {rows}",
        vectors.len()
    );
    Ok(vectors)
}

/// Integers, or null.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types are refused"
)]
fn integers(column: &mut ColumnReader, rows: usize) -> Result<Vec<Option<i64>>> {
    let (levels, values): (Vec<i16>, Vec<i64>) = match column {
        ColumnReader::Int64ColumnReader(column) => {
            let records = records(column, rows)?;
            (records.defined, records.values)
        }
        ColumnReader::Int32ColumnReader(column) => {
            let records = records(column, rows)?;
            (
                records.defined,
                records.values.into_iter().map(i64::from).collect(),
            )
        }
        _ => bail!("a column holds no integers"),
    };
    let mut values = values.into_iter();
    let value = |row: usize| match levels.get(row) {
        Some(0) => None,
        _ => values.next(),
    };
    Ok((0..rows).map(value).collect())
}
