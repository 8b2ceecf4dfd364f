//! Labels in the files of the folders that were clustered.

use std::path::Path;

use anyhow::{Context, ensure};
use rollcall_ingest::{
    facerec::{Clusters, FacerecFolder, read_trajectories},
    faceset::FaceSet,
    streamface::{Annotations, stem},
};

use super::{input::table, labels::LabelFile};

/// The form of a file of labels, by its name.
enum Form {
    /// As the extension says.
    Labels,
    /// facerec's.
    Film,
    /// streamface's.
    Channel,
}

impl Form {
    fn of(out: &Path) -> Self {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        match name.as_ref() {
            "clusters.json" => Self::Film,
            "annotations.json" | "annotations_manual.json" => Self::Channel,
            _ => Self::Labels,
        }
    }
}

/// Refuses what [`write`] cannot write, before hours are spent on labels.
pub(super) fn check(from: &Path, faces: &FaceSet, out: &Path) -> anyhow::Result<()> {
    check_place(out)?;
    match Form::of(out) {
        Form::Labels => {}
        Form::Film => drop(film(from, out)?),
        Form::Channel => {
            // The features were read a moment ago; an earlier file was not.
            if out.is_file() {
                Annotations::read(out)?;
            }
            name_of(from, faces, 0)?;
        }
    }
    Ok(())
}

/// Refuses a file in a folder that is not there.
pub(super) fn check_place(out: &Path) -> anyhow::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    ensure!(
        folder.is_none_or(Path::is_dir),
        "{}: there is no such folder to write to; make it first",
        out.display()
    );
    Ok(())
}

/// Writes the label of each face to `out`: in streamface's or facerec's form if it is named as their files are.
pub(super) fn write(
    from: &Path,
    faces: &FaceSet,
    labels: Vec<i64>,
    out: &Path,
) -> anyhow::Result<()> {
    match Form::of(out) {
        Form::Labels => LabelFile::of(faces, labels).write(out),
        Form::Film => write_film(from, faces, &labels, out),
        Form::Channel => write_channel(from, faces, &labels, out),
    }
}

/// The film's folder, and how many trajectories it has.
fn film(from: &Path, out: &Path) -> anyhow::Result<(FacerecFolder, usize)> {
    let trajectories = from.join("trajectories.jsonl");
    ensure!(
        trajectories.is_file(),
        "{}: has a cluster for each trajectory: cluster a film's folder, or choose another name",
        out.display()
    );
    let folder = FacerecFolder::open(from)?;
    let count = read_trajectories(&trajectories)?.len();
    Ok((folder, count))
}

/// A cluster a trajectory; one without any embedding is a cluster of its own.
fn write_film(from: &Path, faces: &FaceSet, labels: &[i64], out: &Path) -> anyhow::Result<()> {
    let (folder, count) = film(from, out)?;
    let mut of_each: Vec<i64> = (0..count)
        .map(|alone| -1 - i64::try_from(alone).unwrap_or(i64::MAX - 1))
        .collect();
    for (known, label) in faces.known().iter().zip(labels) {
        let track = known.track.and_then(|track| usize::try_from(track).ok());
        if let Some(of) = track.and_then(|track| of_each.get_mut(track)) {
            *of = *label;
        }
    }
    Clusters::from_labels(&of_each, folder.movie()).write(out)?;
    Ok(())
}

fn name_of<'a>(from: &Path, faces: &'a FaceSet, row: usize) -> anyhow::Result<&'a str> {
    faces.name(row).with_context(|| {
        format!(
            "{}: its faces have no names; read a channel's folder",
            from.display()
        )
    })
}

/// The labels beside what the features say of each face; what an earlier file says of faces beside labels stays. Its
/// labels do not, nor pairs to be ignored: they are about other numbers.
fn write_channel(from: &Path, faces: &FaceSet, labels: &[i64], out: &Path) -> anyhow::Result<()> {
    let mut annotations = if out.is_file() {
        Annotations::read(out)?
    } else {
        Annotations::of_features(from)?
    };
    annotations.ignore.clear();
    annotations
        .labels
        .values_mut()
        .for_each(|face| face.label = -1);
    for (row, label) in labels.iter().enumerate() {
        let name = name_of(from, faces, row)?;
        annotations.labels.entry(name.to_owned()).or_default().label = *label;
    }
    annotations.write(out)?;
    Ok(())
}

/// Pairs of a channel's `matches.csv` of which both have features, by their rows.
pub(super) fn matches(from: &Path, faces: &FaceSet) -> anyhow::Result<Vec<(u32, u32)>> {
    let path = from.join("metadata/matches.csv");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let rows = (0u32..).zip(0..faces.len());
    let rows: std::collections::HashMap<&str, u32> = rows
        .filter_map(|(row, at)| Some((faces.name(at)?, row)))
        .collect();
    let row = |name: &str| rows.get(stem(name)).copied();
    let pairs = table(&path)?;
    Ok(pairs
        .iter()
        .filter_map(|(_, [one, other])| row(one).zip(row(other)))
        .collect())
}
