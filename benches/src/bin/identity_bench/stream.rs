//! A corpus as a stream: faces in the order in which they come, and what is known of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rollcall_benches::arrays::{Vectors, array};
use serde_json::Value;

/// Faces by row; tracks are numbered from 0.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) vectors: Vectors,
    /// Whom each face shows.
    pub(crate) people: Vec<u64>,
    /// The track of each face.
    pub(crate) tracks: Vec<usize>,
    pub(crate) sources: Vec<u32>,
    pub(crate) times: Vec<i64>,
    /// How many faces each track has.
    pub(crate) lengths: Vec<usize>,
    /// The tracks that each is seen together with, in one frame of one source.
    pub(crate) together: Vec<Vec<usize>>,
    /// The order of the rows, if it is not theirs.
    shuffled: Option<Vec<usize>>,
}

impl Stream {
    /// Reads a folder, and the order of its rows from `shuffled`.
    pub(crate) fn read(folder: &Path, shuffled: Option<&Path>) -> Result<Self> {
        let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("corpus.json"))?)?;
        let name = facts["name"].as_str().context("corpus.json: name")?;
        let people: Vec<u64> = array(folder, "identities.npy")?;
        let sources: Vec<u32> = array(folder, "sources.npy")?;
        let frames: Vec<u32> = array(folder, "frames.npy")?;
        let times: Vec<i64> = array(folder, "times.npy")?;
        let tracks: Result<Vec<usize>> = array::<u64>(folder, "tracks.npy")?
            .iter()
            .map(|track| place(*track, "tracks.npy", 1))
            .collect();
        let tracks = tracks?;
        let faces = people.len();
        for (what, count) in [
            ("sources", sources.len()),
            ("frames", frames.len()),
            ("times", times.len()),
            ("tracks", tracks.len()),
        ] {
            ensure!(count == faces, "{what}.npy: {count} for {faces} faces");
        }
        let count = tracks.iter().max().map_or(0, |most| most + 1);
        ensure!(count <= faces, "tracks.npy: they are numbered from 1 on");
        let mut lengths = vec![0; count];
        tracks.iter().for_each(|track| lengths[*track] += 1);
        Ok(Self {
            name: name.to_owned(),
            vectors: Vectors::open(folder)?,
            together: together(&tracks, &sources, &frames, count),
            shuffled: shuffled.map(|path| order(path, faces)).transpose()?,
            people,
            tracks,
            sources,
            times,
            lengths,
        })
    }

    /// The rows as they come.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> {
        let rows = 0..self.people.len();
        rows.map(|at| self.shuffled.as_ref().map_or(at, |order| order[at]))
    }
}

fn place(number: u64, file: &str, first: u64) -> Result<usize> {
    let place = number.checked_sub(first).map(usize::try_from);
    place
        .and_then(Result::ok)
        .with_context(|| format!("{file}: {number}"))
}

/// A permutation of the rows.
fn order(path: &Path, faces: usize) -> Result<Vec<usize>> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.context("the order's file has no name")?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let order: Result<Vec<usize>> = array::<u64>(folder, name)?
        .iter()
        .map(|row| place(*row, name, 0))
        .collect();
    let order = order?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let each_once = sorted.into_iter().eq(0..faces);
    ensure!(each_once, "{name}: it has not each row once");
    Ok(order)
}

fn together(tracks: &[usize], sources: &[u32], frames: &[u32], count: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..tracks.len()).collect();
    let picture = |row: usize| (sources[row], frames[row]);
    rows.sort_unstable_by_key(|row| picture(*row));
    let mut together = vec![Vec::new(); count];
    for rows in rows.chunk_by(|a, b| picture(*a) == picture(*b)) {
        for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))) {
            if tracks[*a] != tracks[*b] {
                together[tracks[*a]].push(tracks[*b]);
            }
        }
    }
    for others in &mut together {
        others.sort_unstable();
        others.dedup();
        others.shrink_to_fit();
    }
    together
}
