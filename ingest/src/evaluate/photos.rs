//! A gallery of photos: a folder for each person, photos of them in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rollcall_index::vectors::Known;

use super::{
    EvaluateError,
    labels::{Words, numbered},
};
use crate::{
    faceset::FaceSet,
    photo::{PhotoLimits, decode},
    photo_reader::PhotoReader,
};

/// Endings of files that are taken for photos.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// Whether the folder has folders with photos.
///
/// # Errors
/// [`EvaluateError::Io`].
pub fn is_one(folder: &Path) -> Result<bool, EvaluateError> {
    for person in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        if sorted(&person)?.iter().any(|path| is_photo(path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a folder of photos: faces, named `PERSON/PHOTO`, and the person of each, whose label is the
/// folder's name.
///
/// # Errors
/// [`EvaluateError::Photo`] if a photo shows no usable face or several, [`EvaluateError::Format`] if
/// it cannot be read at all, [`EvaluateError::TooFew`] if there are no photos.
pub fn read(
    folder: &Path,
    reader: &mut PhotoReader,
) -> Result<(FaceSet, Vec<i64>, Words), EvaluateError> {
    let mut faces = FaceSet::new(reader.dimension());
    let (mut names, mut people) = (Vec::new(), Vec::new());
    for person in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        for photo in sorted(&person)?.into_iter().filter(|path| is_photo(path)) {
            let embedding = face_of(&photo, reader)?;
            faces.push(&embedding, Known::default());
            names.push(name_under(folder, &photo));
            people.push(name_under(folder, &person));
        }
    }
    if faces.is_empty() {
        let why = format!(
            "{}: no photos in its folders, of which each person has one",
            folder.display()
        );
        return Err(EvaluateError::TooFew(why));
    }
    let (labels, words) = numbered(people.iter().map(String::as_str));
    Ok((faces.with_names(names), labels, words))
}

fn face_of(
    path: &Path,
    reader: &mut PhotoReader,
) -> Result<rollcall_index::Embedding, EvaluateError> {
    let bytes = fs::read(path).map_err(EvaluateError::io(path))?;
    let bad = |why: String| EvaluateError::format(path, why);
    let picture = decode(&bytes, &PhotoLimits::default()).map_err(|why| bad(why.to_string()))?;
    let faces = reader.read(&picture).map_err(|why| bad(why.to_string()))?;
    let mut usable = faces.iter().filter(|face| face.quality.is_ok());
    let (Some(face), None) = (usable.next(), usable.next()) else {
        return Err(EvaluateError::Photo {
            photo: path.display().to_string(),
            faces: faces.iter().filter(|face| face.quality.is_ok()).count(),
        });
    };
    let embeddings = reader.embed(&picture, &[&face.face]);
    let embeddings = embeddings.map_err(|why| bad(why.to_string()))?;
    let embedding = embeddings.into_iter().next();
    embedding.ok_or_else(|| bad("the embedder gave nothing".into()))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, EvaluateError> {
    let failed = |why| EvaluateError::io(folder)(why);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

fn name_under(folder: &Path, photo: &Path) -> String {
    photo
        .strip_prefix(folder)
        .unwrap_or(photo)
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crop::to_png,
        fake::{FakeDetector, FakeEmbedder, paint_face},
        gate::face::FaceGates,
        geometry::Rect,
        picture::Picture,
    };

    fn photo(path: &Path, hues: &[f32]) {
        let mut picture = Picture::filled(400, 200, [128; 3]).unwrap();
        for (at, hue) in hues.iter().enumerate() {
            let rect = Rect {
                x: 20.0 + 200.0 * at as f32,
                y: 30.0,
                width: 120.0,
                height: 140.0,
            };
            paint_face(&mut picture, rect, *hue);
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, to_png(picture.view())).unwrap();
    }

    #[test]
    fn a_photo_shows_one_face() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (detector, embedder) = (Box::new(FakeDetector), Box::new(FakeEmbedder));
        let mut reader = PhotoReader::new(detector, embedder, FaceGates::default());
        let why = read(folder.path(), &mut reader).unwrap_err().to_string();
        assert!(why.starts_with("TOO_FEW: "), "{why}");
        assert!(!is_one(folder.path()).unwrap());
        photo(&at("zoe/1.png"), &[10.0]);
        photo(&at("ann/a.png"), &[120.0]);
        photo(&at("ann/b.png"), &[122.0]);
        fs::write(at("ann/notes.txt"), "x").unwrap();
        assert!(is_one(folder.path()).unwrap());
        let (faces, labels, words) = read(folder.path(), &mut reader).unwrap();
        let people: Vec<&str> = labels.iter().map(|label| words[label].as_str()).collect();
        assert_eq!(people, ["ann", "ann", "zoe"]);
        assert_eq!(faces.name(2), Some("zoe/1.png"));
        let mut fails = |hues: &[f32], why: &str| {
            photo(&at("zoe/2.png"), hues);
            let found = read(folder.path(), &mut reader).unwrap_err().to_string();
            assert!(
                found.starts_with(why) && found.contains("zoe/2.png: shows"),
                "{found}"
            );
        };
        fails(&[], "NO_FACE_FOUND");
        fails(&[10.0, 80.0], "SEVERAL_FACES");
        fs::write(at("zoe/2.png"), "no picture").unwrap();
        let why = read(folder.path(), &mut reader).unwrap_err().to_string();
        assert!(
            why.starts_with("BAD_FORMAT") && why.contains("zoe/2.png"),
            "{why}"
        );
    }
}
