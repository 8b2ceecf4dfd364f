//! Faces and pairs of faces, out of files.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rollcall_index::vectors::{Array, SideFiles};
use rollcall_ingest::faceset::FaceSet;

/// What is read.
#[derive(Args)]
pub(crate) struct Faces {
    /// Faces: .npy, .jsonl (facerec's features.jsonl is one), .parquet, .pkl; an extracted folder, a film's of facerec's, a
    /// channel's of streamface's, or the data folder of a server that does not run.
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// Among the embeddings of a .jsonl file that has several: those of this model.
    #[arg(long, value_name = "NAME", default_value = "")]
    model: String,
    /// The track of each face (.npy of integers): faces of a track are one person.
    #[arg(long, value_name = "FILE")]
    tracks: Option<PathBuf>,
    /// Whose each face is (.npy of integers): the clustering is compared with it.
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// The source of each face (.npy of integers).
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// When each face was seen, in Unix microseconds (.npy of integers).
    #[arg(long, value_name = "FILE")]
    times: Option<PathBuf>,
}

impl Faces {
    /// A file without others beside it.
    pub(crate) fn of(from: PathBuf, model: String) -> Self {
        Self {
            from,
            model,
            tracks: None,
            identities: None,
            sources: None,
            times: None,
        }
    }

    /// The file or folder.
    pub(crate) fn path(&self) -> &Path {
        &self.from
    }

    /// All faces. What goes with them is read afterwards: embeddings then come in the file's order, which is faster than
    /// in that of identities and takes half the memory.
    pub(crate) fn read(&self) -> anyhow::Result<FaceSet> {
        let mut faces = FaceSet::read(&self.from, &self.model, &SideFiles::default())?;
        ensure!(
            u32::try_from(faces.len()).is_ok(),
            "{}: {} faces; fewer than 2^32 can be clustered",
            self.from.display(),
            faces.len()
        );
        let numbers = |path: &Option<PathBuf>| -> anyhow::Result<Option<Vec<u64>>> {
            let Some(path) = path else { return Ok(None) };
            let numbers = Array::read_integers(path)?;
            check_rows(path, numbers.len(), faces.len())?;
            Ok(Some(numbers))
        };
        let (tracks, identities) = (numbers(&self.tracks)?, numbers(&self.identities)?);
        let sources = numbers(&self.sources)?;
        let times: Option<Vec<i64>> = match &self.times {
            Some(path) => Some(Array::read_integers(path)?),
            None => None,
        };
        if let (Some(path), Some(times)) = (&self.times, &times) {
            check_rows(path, times.len(), faces.len())?;
        }
        for (row, known) in faces.known_mut().iter_mut().enumerate() {
            let at = |numbers: &Option<Vec<u64>>| numbers.as_ref().map(|numbers| numbers[row]);
            known.track = at(&tracks).or(known.track);
            known.identity = at(&identities).or(known.identity);
            known.source = at(&sources).or(known.source);
            known.time_us = times.as_ref().map(|times| times[row]).or(known.time_us);
        }
        Ok(faces)
    }
}

pub(crate) fn check_rows(path: &Path, found: usize, faces: usize) -> anyhow::Result<()> {
    ensure!(
        found == faces,
        "{}: has {found} rows, there are {faces} vectors",
        path.display()
    );
    Ok(())
}

/// Pairs of faces, each by its name or its row: a table with two columns and a line of their names.
pub(crate) fn pairs(path: &Path, faces: &FaceSet) -> anyhow::Result<Vec<(u32, u32)>> {
    let names = (0u32..).take(faces.len()).filter_map(|row| {
        let name = faces.name(usize::try_from(row).ok()?)?;
        Some((stem(name).to_owned(), row))
    });
    let names: HashMap<String, u32> = names.collect();
    let row = |field: &str| {
        if names.is_empty() {
            let row: u32 = field.parse().ok()?;
            return (usize::try_from(row).ok()? < faces.len()).then_some(row);
        }
        names.get(stem(field)).copied()
    };
    let mut found = Vec::new();
    for (line, fields) in table(path)? {
        for field in &fields {
            if row(field).is_none() {
                bail!(
                    "{}: line {line}: {field:?} is none of the {} faces",
                    path.display(),
                    faces.len()
                );
            }
        }
        found.extend(row(&fields[0]).zip(row(&fields[1])));
    }
    Ok(found)
}

/// The lines of a table with two columns, after the first, with their numbers.
pub(crate) fn table(path: &Path) -> anyhow::Result<Vec<(usize, [String; 2])>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text
        .lines()
        .enumerate()
        .skip(1)
        .filter(|(_, line)| !line.trim().is_empty());
    let row = |(at, line): (usize, &str)| {
        let fields: Vec<&str> = line.split(',').collect();
        let [one, other] = fields[..] else {
            bail!(
                "{}: line {}: has {} columns, two are wanted",
                path.display(),
                at + 1,
                fields.len()
            );
        };
        let field = |text: &str| text.trim().trim_matches('"').to_owned();
        Ok((at + 1, [field(one), field(other)]))
    };
    lines.map(row).collect()
}

/// A name without its extension, as faces are listed in annotations.
pub(super) fn stem(name: &str) -> &str {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or(name)
}
