//! Faces and pairs of faces, out of files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{bail, ensure};
use clap::Args;
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::{
    faceset::FaceSet,
    streamface::stem,
    table::{Table, TableError},
};

/// What is read.
#[derive(Args)]
pub(crate) struct Faces {
    /// Faces: .npy, .jsonl (facerec's features.jsonl is one), .parquet, .pkl; an extracted folder, a film's of facerec's, a
    /// channel's of streamface's, or the data folder of a server that does not run.
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// Among the embeddings of a .jsonl file, or a film's, that has several: those of this model.
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

    /// All faces.
    pub(crate) fn read(&self) -> anyhow::Result<FaceSet> {
        let sides = SideFiles {
            identities: self.identities.clone(),
            tracks: self.tracks.clone(),
            sources: self.sources.clone(),
            times: self.times.clone(),
        };
        let faces = FaceSet::read(&self.from, &self.model, &sides)?;
        ensure!(
            u32::try_from(faces.len()).is_ok(),
            "{}: {} faces; fewer than 2^32 can be clustered",
            self.from.display(),
            faces.len()
        );
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
pub(crate) fn table(path: &Path) -> Result<Vec<(usize, [String; 2])>, TableError> {
    let rows = Table::open(path)?.map(|row| {
        let row = row?;
        Ok((row.line, row.two()?))
    });
    rows.collect()
}
