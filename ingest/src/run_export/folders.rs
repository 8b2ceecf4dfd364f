//! Faces as folders that other programs open.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rollcall_ingest::{
    extracted::Extracted,
    faceset::FaceSet,
    pickle::PickleWriter,
    streamface::{Annotation, Annotations},
};
use serde_json::{Map, json};

use super::detections::{self, FrameSize};

/// Faces of a file of features.
const FEATURES: usize = 4096;
/// Where faces' pictures lie in what was read, and how their names end.
const PICTURES: [(&str, &str); 5] = [
    ("faces", "png"),
    ("faces", "jpg"),
    ("crops", "jpg"),
    ("images", "jpeg"),
    ("aligned_faces", "png"),
];

/// `data/` with a picture a face, and `labels.json` with the class of each; faces without a picture are left out and
/// counted.
pub(super) fn write_fiftyone(faces: &FaceSet, from: &Path, to: &Path) -> anyhow::Result<()> {
    let named = names(faces, from)?;
    let folder = beside(to);
    whole(&folder, to, || {
        fs::create_dir_all(folder.join("data"))?;
        let (mut labels, mut missing) = (Map::new(), 0);
        for (row, name) in named.iter().enumerate() {
            let Some(picture) = picture(from, name) else {
                missing += 1;
                continue;
            };
            place(
                &picture,
                &folder
                    .join("data")
                    .join(picture.file_name().unwrap_or_default()),
            )?;
            let identity = faces.known()[row].identity;
            let label =
                identity.map_or_else(|| "noise".to_owned(), |identity| identity.to_string());
            labels.insert((*name).to_owned(), json!({"label": label}));
        }
        let count = labels.len();
        if count == 0 {
            bail!("{}: no pictures of faces are there", from.display());
        }
        let text = serde_json::to_vec(&json!({ "labels": labels }))?;
        fs::write(folder.join("labels.json"), text)?;
        Ok(format!(
            "{count} faces, {missing} without a picture left out"
        ))
    })
}

/// `features/`, `metadata/annotations.json`, `metadata/matches.csv`, `metadata/detections.csv` where it is known where faces
/// were, and `faces/` where there are pictures.
pub(super) fn write_streamface(
    faces: &FaceSet,
    from: &Path,
    to: &Path,
    frame_size: Option<FrameSize>,
) -> anyhow::Result<()> {
    let named = names(faces, from)?;
    let folder = beside(to);
    whole(&folder, to, || {
        for part in ["features", "metadata", "faces"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mut files = Vec::with_capacity(named.len());
        for name in &named {
            let picture = picture(from, name);
            let extension = picture.as_deref().and_then(Path::extension);
            let extension = extension.map_or("png".into(), |extension| extension.to_string_lossy());
            let file = format!("{name}.{extension}");
            if let Some(picture) = &picture {
                place(picture, &folder.join("faces").join(&file))?;
            }
            files.push(file);
        }
        let rows: Vec<usize> = (0..faces.len()).collect();
        for rows in rows.chunks(FEATURES) {
            let path = folder
                .join("features")
                .join(format!("{}.pkl", named[rows[0]]));
            fs::write(path, features(faces, &files, rows))?;
        }
        annotations(faces, &named).write(&folder.join("metadata/annotations.json"))?;
        fs::write(folder.join("metadata/matches.csv"), matches(faces, &files))?;
        let table = if Extracted::is_one(from) {
            detections::of_extraction(from, &files, &folder.join("faces"), frame_size)?
        } else {
            detections::of_channel(from, &named, &files)?
        };
        let mut said = format!("{} faces", faces.len());
        match table {
            Some(table) => fs::write(folder.join("metadata/detections.csv"), table)?,
            None if Extracted::is_one(from) => {
                said += ", without detections.csv: say how large the video's frames are with --frame-size";
            }
            None => {}
        }
        Ok(said)
    })
}

/// The name under which a folder is written until it is whole.
fn beside(to: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".part");
    to.with_file_name(name)
}

/// Puts a folder in its place once it is whole.
fn whole(
    folder: &Path,
    to: &Path,
    fill: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    // What an export that was broken off has left is none of ours any more: pictures in it may be the originals' own files.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let filled = fill().and_then(|said| {
        fs::rename(folder, to)?;
        Ok(said)
    });
    if filled.is_err() {
        let _ = fs::remove_dir_all(folder);
    }
    let said = filled.with_context(|| to.display().to_string())?;
    eprintln!("{said}; written to {}", to.display());
    Ok(())
}

fn names<'a>(faces: &'a FaceSet, from: &Path) -> anyhow::Result<Vec<&'a str>> {
    let names: Option<Vec<&str>> = (0..faces.len()).map(|row| faces.name(row)).collect();
    let names = names.filter(|names| !names.is_empty());
    names.with_context(|| format!("{}: its faces have no names; read a folder", from.display()))
}

fn picture(from: &Path, name: &str) -> Option<PathBuf> {
    let mut paths = PICTURES
        .iter()
        .map(|(folder, extension)| from.join(folder).join(format!("{name}.{extension}")));
    paths.find(|path| path.is_file())
}

/// Another name for the same file, or a copy on another disk. What is there already stays: to copy over another name of
/// the same file would empty it.
fn place(picture: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::hard_link(picture, to).is_ok() || to.exists() {
        return Ok(());
    }
    let mut copy = fs::File::create_new(to)?;
    std::io::copy(&mut fs::File::open(picture)?, &mut copy)?;
    Ok(())
}

fn features(faces: &FaceSet, files: &[String], rows: &[usize]) -> Vec<u8> {
    let mut pickle = PickleWriter::dictionary();
    for row in rows {
        pickle.text(&files[*row]);
        pickle.tuple(|tuple| {
            tuple.array(faces.embedding(*row));
            tuple.groups([]);
            tuple.numbers([]);
            tuple.number(f64::NAN);
            tuple.numbers([]);
        });
    }
    pickle.finish()
}

fn annotations(faces: &FaceSet, names: &[&str]) -> Annotations {
    let label = |(row, name): (usize, &&str)| {
        let identity = faces.known()[row].identity;
        let label = identity.map_or(-1, |identity| i64::try_from(identity).unwrap_or(i64::MAX));
        let annotation = Annotation {
            label,
            other: Map::new(),
        };
        ((*name).to_owned(), annotation)
    };
    Annotations {
        labels: names
            .iter()
            .enumerate()
            .map(label)
            .collect::<BTreeMap<_, _>>(),
        ..Annotations::default()
    }
}

/// Each face of a track beside the one before it.
fn matches(faces: &FaceSet, files: &[String]) -> String {
    let mut last: HashMap<u64, usize> = HashMap::new();
    let mut text = "Face 1,Face 2\n".to_owned();
    for (row, known) in faces.known().iter().enumerate() {
        let Some(track) = known.track else { continue };
        if let Some(before) = last.insert(track, row) {
            text += &format!("{},{}\n", files[row], files[before]);
        }
    }
    text
}
