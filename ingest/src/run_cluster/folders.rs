//! Labels in the files of the folders that were clustered.

use std::path::Path;

use anyhow::{Context, ensure};
use rollcall_ingest::{
    facerec::{Clusters, FacerecFolder, read_trajectories},
    faceset::FaceSet,
    streamface::{Annotations, stem},
};

use super::{input::table, labels::LabelFile};

/// Writes the label of each face to `out`: in streamface's or facerec's form if it is named as their files are.
pub(super) fn write(
    from: &Path,
    faces: &FaceSet,
    labels: Vec<i64>,
    out: &Path,
) -> anyhow::Result<()> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        "clusters.json" => write_film(from, faces, &labels, out),
        "annotations.json" | "annotations_manual.json" => write_channel(from, faces, &labels, out),
        _ => LabelFile::of(faces, labels).write(out),
    }
}

/// A cluster a trajectory; one without any embedding is a cluster of its own.
fn write_film(from: &Path, faces: &FaceSet, labels: &[i64], out: &Path) -> anyhow::Result<()> {
    let trajectories = from.join("trajectories.jsonl");
    ensure!(
        trajectories.is_file(),
        "{}: has a cluster for each trajectory: cluster a film's folder, or choose another name",
        out.display()
    );
    let folder = FacerecFolder::open(from)?;
    let count = read_trajectories(&trajectories)?.len();
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
        let name = faces.name(row);
        let name = name.with_context(|| {
            format!(
                "{}: its faces have no names; read a channel's folder",
                from.display()
            )
        })?;
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
