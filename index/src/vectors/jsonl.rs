//! A JSON object a line, as facerec's `features.jsonl`: each has an `embedding`, or `embeddings` by
//! model, and a `tag` that begins with the number of the movie, which is taken for the source.
//! `identity`, `track`, `source` and `time_us` may say more.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Deserialize;

use super::{Known, Row};
use crate::Embedding;

/// A line is no longer: 65,536 values of 32 characters.
const LINE_BYTES_MAX: u64 = 2 << 20;

pub(super) struct Jsonl {
    reader: BufReader<File>,
    model: String,
}

#[derive(Deserialize)]
struct Line {
    embedding: Option<Vec<f32>>,
    embeddings: Option<HashMap<String, Vec<f32>>>,
    tag: Option<String>,
    identity: Option<u64>,
    track: Option<u64>,
    source: Option<u64>,
    time_us: Option<i64>,
}

impl Jsonl {
    pub(super) fn open(path: &Path, model: &str) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 20, file),
            model: model.to_owned(),
        })
    }

    /// The next lines, the first of which is row `first`.
    pub(super) fn faces(&mut self, first: usize, most: usize) -> Result<Vec<Row>> {
        let mut lines = Vec::new();
        while lines.len() < most {
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut self.reader, LINE_BYTES_MAX);
            if limited.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            lines.push(line);
        }
        let face = |(number, line): (usize, Vec<u8>)| {
            let row = first + number;
            self.face(row, &line)
                .with_context(|| format!("line {}", row + 1))
        };
        let faces: Vec<Result<Row>> = lines.into_par_iter().enumerate().map(face).collect();
        faces.into_iter().collect()
    }

    fn face(&self, row: usize, line: &[u8]) -> Result<Row> {
        let line: Line = serde_json::from_slice(line).context("not a face, or cut short")?;
        let of_model = || line.embeddings?.remove(&self.model);
        let values = line.embedding.or_else(of_model).with_context(|| {
            format!(
                "neither an \"embedding\" nor one of \"embeddings\" for {}",
                self.model
            )
        })?;
        let movie = |tag: String| tag.split(':').next()?.parse().ok();
        Ok(Row {
            row,
            embedding: Embedding::normalise(values)?,
            known: Known {
                identity: line.identity,
                track: line.track,
                source: line.source.or_else(|| movie(line.tag?)),
                time_us: line.time_us,
            },
        })
    }
}
