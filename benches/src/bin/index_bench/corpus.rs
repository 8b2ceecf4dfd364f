//! A corpus of `benches/index`: what is in its folder, a face at a time.

use std::error::Error;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rollcall_benches::arrays::{Vectors, array};
use rollcall_index::{Embedding, FaceId, IdentityId, Operation, SourceId, TrackId, Truth};
use serde_json::Value;

/// The corpus but for the vectors, which are read as they are needed.
pub(crate) struct Corpus {
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) identities: Vec<u64>,
    pub(crate) tracks: Vec<u64>,
    pub(crate) queries: Vec<Embedding>,
    /// Whose each query is; -1: nobody's here.
    pub(crate) meant: Vec<i64>,
    /// The faces most similar to each query, best first.
    pub(crate) truth: Vec<Vec<i64>>,
    pub(crate) dimension: usize,
    sources: Vec<u32>,
    times: Vec<i64>,
    vectors: Vectors,
}

impl Corpus {
    /// Reads a folder, and of its queries about `queries_max`.
    pub(crate) fn read(folder: &Path, queries_max: Option<usize>) -> Result<Self> {
        let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("corpus.json"))?)?;
        let name = facts["name"].as_str().context("corpus.json: name")?;
        let queries: Vec<f32> = array(folder, "queries.npy")?;
        let meant: Vec<i64> = array(folder, "query_identities.npy")?;
        let truth: Vec<i64> = array(folder, "truth_faces.npy")?;
        let identities: Vec<u64> = array(folder, "identities.npy")?;
        let (dimension, best) = (queries.len() / meant.len(), truth.len() / meant.len());
        // Known and unknown queries may be sorted: they are taken evenly.
        let step = queries_max.map_or(1, |most| (meant.len() / most.max(1)).max(1));
        let queries = queries.chunks(dimension).step_by(step);
        let queries: Result<_, _> = queries
            .map(|values| Embedding::normalise(values.to_vec()))
            .collect();
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            tracks: array(folder, "tracks.npy")?,
            queries: queries?,
            meant: meant.into_iter().step_by(step).collect(),
            truth: truth
                .chunks(best)
                .step_by(step)
                .map(<[i64]>::to_vec)
                .collect(),
            dimension,
            sources: array(folder, "sources.npy")?,
            times: array(folder, "times.npy")?,
            vectors: Vectors::open(folder)?,
            identities,
        })
    }

    /// How many faces there are.
    pub(crate) fn faces(&self) -> usize {
        self.identities.len()
    }

    /// The embedding of the face in a row.
    pub(crate) fn embedding(&self, row: usize) -> Result<Embedding> {
        self.vectors.embedding(row)
    }

    /// What inserts the face in a row under an identity.
    pub(crate) fn insert(
        &self,
        row: usize,
        identity: u64,
        embedding: Embedding,
    ) -> Result<Operation> {
        Ok(Operation::Insert {
            face: FaceId::new(u64::try_from(row)?),
            identity: IdentityId::new(identity),
            track: TrackId::new(self.tracks[row]),
            source: SourceId::new(u64::from(self.sources[row])),
            seen_us: self.times[row],
            quality: 1.0,
            attributes: 0,
            embedding,
        })
    }

    /// The rows with those of a track beside each other, tracks in the order in which they end.
    /// `chunk_by` [`Self::same_track`] tells them apart.
    pub(crate) fn in_tracks(&self, mut rows: Vec<usize>) -> Vec<usize> {
        let tracks = self.tracks.iter().max().map_or(0, |most| index(*most) + 1);
        let mut ends = vec![0; tracks];
        for row in &rows {
            let end: &mut usize = &mut ends[index(self.tracks[*row])];
            *end = (*end).max(*row);
        }
        rows.sort_unstable_by_key(|row| (ends[index(self.tracks[*row])], *row));
        rows
    }

    /// Whether two faces are of one track.
    pub(crate) fn same_track(&self, a: usize, b: usize) -> bool {
        self.tracks[a] == self.tracks[b]
    }

    /// The queries in an order that mixes known and unknown ones from its beginning.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> {
        let count = self.queries.len();
        // A step that shares no divisor with the count visits every query once.
        let mut step = count * 618 / 1000 + 1;
        while gcd(step, count) != 1 {
            step += 1;
        }
        (0..count).map(move |number| number * step % count)
    }
}

/// Face `i` is row `i`.
impl Truth for Corpus {
    fn embedding(&self, face: FaceId) -> Result<Option<Embedding>, Box<dyn Error + Send + Sync>> {
        Ok(Some(Corpus::embedding(self, index(face.get()))?))
    }
}

/// A number of the corpus as a place in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("tracks and faces are numbered as they begin")
}

/// The greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
