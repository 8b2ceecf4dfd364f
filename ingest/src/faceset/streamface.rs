//! A channel's folder as streamface keeps it: `features/*.pkl`, `metadata/matches.csv`, `metadata/annotations.json`.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path};

use rollcall_index::{Embedding, vectors::Known};

use super::{FaceSet, FaceSetError, kind_error};
use crate::{
    pickle::{Pickle, Value},
    streamface::{Annotations, pickles, stem, time_of},
    table::{Table, TableError},
};

/// Where features are, the first that has any.
const FEATURES: [&str; 2] = ["features", "temp_features"];
/// Labels, the first that is there.
const LABELS: [&str; 2] = ["annotations_manual.json", "annotations.json"];

/// Whether the folder looks like one.
pub(super) fn is_one(folder: &Path) -> bool {
    FEATURES.iter().any(|name| folder.join(name).is_dir()) && folder.join("metadata").is_dir()
}

/// Every face that has an embedding, named by the stem of its file, in the order of the files' names.
///
/// Faces that `matches.csv` pairs are one track; whom `annotations.json` puts together (label 0 and above) is one identity.
/// Times are those in the names.
pub(super) fn read(folder: &Path) -> Result<FaceSet, FaceSetError> {
    let mut files = Vec::new();
    for name in FEATURES {
        files = pickles(&folder.join(name))?;
        if !files.is_empty() {
            break;
        }
    }
    if files.is_empty() {
        return Err(kind_error(folder, "has no features/*.pkl"));
    }
    let (mut set, mut names) = (FaceSet::default(), Vec::new());
    for file in files {
        read_features(&file, &mut set, &mut names)?;
    }
    let places: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
    tracks(&folder.join("metadata/matches.csv"), &places, &mut set)?;
    if let Some(labels) = LABELS
        .iter()
        .map(|name| folder.join("metadata").join(name))
        .find(|path| path.is_file())
    {
        identities(&labels, &places, &mut set)?;
    }
    Ok(set.with_names(names))
}

/// Adds the faces of one file of features: `{file name: (embedding, ...)}`.
pub(super) fn read_features(
    path: &Path,
    set: &mut FaceSet,
    names: &mut Vec<String>,
) -> Result<(), FaceSetError> {
    let pickle = Pickle::read(path)?;
    let faces = pickle.root().entries();
    let faces = faces.ok_or_else(|| {
        let kind = pickle.root().kind();
        kind_error(
            path,
            format!("holds {kind}; streamface's features are a dictionary by face"),
        )
    })?;
    for (name, face) in faces {
        let (Some(name), Some(values)) = (name.text(), embedding(face)) else {
            let place = names.len();
            return Err(kind_error(
                path,
                format!("entry {place} is no face with an embedding"),
            ));
        };
        let bad = |what: String| kind_error(path, format!("{name}: {what}"));
        let embedding =
            Embedding::normalise(values.to_vec()).map_err(|why| bad(why.to_string()))?;
        if set.is_empty() {
            set.dimension = embedding.dimension();
        } else if set.dimension != embedding.dimension() {
            let (found, expected) = (embedding.dimension(), set.dimension);
            return Err(bad(format!(
                "{found} values, the faces before have {expected}"
            )));
        }
        let stem = stem(name).to_owned();
        set.push(
            &embedding,
            Known {
                time_us: time_of(&stem),
                ..Known::default()
            },
        );
        names.push(stem);
    }
    Ok(())
}

fn embedding<'a>(face: Value<'a>) -> Option<&'a [f32]> {
    let of = |value: Value<'a>| value.array().map(|array| array.values.as_slice());
    of(face).or_else(|| of(*face.items()?.first()?))
}

/// Faces that are paired, directly or through others, are one track.
fn tracks(
    path: &Path,
    places: &HashMap<String, usize>,
    set: &mut FaceSet,
) -> Result<(), FaceSetError> {
    if !path.is_file() {
        return Ok(());
    }
    let file = File::open(path).map_err(|why| kind_error(path, why.to_string()))?;
    let mut first: Vec<usize> = (0..set.len()).collect();
    let bad = |why: TableError| kind_error(path, why.to_string());
    for row in Table::new(BufReader::new(file)).map_err(bad)? {
        let [one, other] = row.and_then(|row| row.two()).map_err(bad)?;
        // Faces that were not analysed have no features.
        if let (Some(one), Some(other)) = (places.get(stem(&one)), places.get(stem(&other))) {
            let (one, other) = (root(&mut first, *one), root(&mut first, *other));
            first[one.max(other)] = one.min(other);
        }
    }
    for place in 0..set.len() {
        let track = root(&mut first, place);
        set.known[place].track = u64::try_from(track).ok();
    }
    Ok(())
}

fn root(first: &mut [usize], mut place: usize) -> usize {
    while first[place] != place {
        first[place] = first[first[place]];
        place = first[place];
    }
    place
}

fn identities(
    path: &Path,
    places: &HashMap<String, usize>,
    set: &mut FaceSet,
) -> Result<(), FaceSetError> {
    let annotations = Annotations::read(path)?;
    for (name, annotation) in annotations.labels {
        if let Some(place) = places.get(&name) {
            // Below 0 it is noise: nobody's.
            set.known[*place].identity = u64::try_from(annotation.label).ok();
        }
    }
    Ok(())
}
