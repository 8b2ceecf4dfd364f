//! The faces of a film's actors: out of facerec's three files, or photos in folders.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{FacerecError, files::read_lines, table::columns};
use crate::{
    photo::{PhotoLimits, decode},
    photo_reader::PhotoReader,
};

/// What comes before the id of an actor in `predictions.json`.
const KEY_HEAD: &str = "momaf:elonet_henkilo_";

/// An actor and embeddings of faces of theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorFaces {
    /// As in `predictions.json`.
    pub key: String,
    /// At least one.
    pub vectors: Vec<Vec<f32>>,
}

/// A line of `actor_embeddings.jsonl`.
#[derive(Deserialize)]
struct ImageLine {
    image: String,
    faces: Vec<ImageFace>,
}

#[derive(Deserialize)]
struct ImageFace {
    vector: Vec<f32>,
}

/// The actors of `movie` by `actors.csv` (columns `movie_id` and `id`), the pictures of each by
/// `actor_images.csv` (`actor_id`, `filename`), and the faces in them by `actor_embeddings.jsonl`. Pictures
/// that are listed with more than one actor, or show other than one face, are passed over; so are actors
/// without any.
///
/// # Errors
/// [`FacerecError`], with the line.
pub fn read_actors(
    movie: u64,
    actors: &Path,
    images: &Path,
    embeddings: &Path,
) -> Result<Vec<ActorFaces>, FacerecError> {
    let movie = movie.to_string();
    let of_film: BTreeSet<String> = columns(actors, &["movie_id", "id"])?
        .into_iter()
        .filter(|row| row[0] == movie)
        .map(|mut row| row.swap_remove(1))
        .collect();
    let mut listed: HashMap<String, BTreeSet<String>> = HashMap::new();
    for row in columns(images, &["actor_id", "filename"])? {
        let [actor, image] = <[String; 2]>::try_from(row).unwrap_or_default();
        listed.entry(image).or_default().insert(actor);
    }
    let mut faces: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    read_lines(embeddings, |_, _, line: ImageLine| {
        let actor = listed.get(&line.image).filter(|actors| actors.len() == 1);
        let actor = actor
            .and_then(BTreeSet::first)
            .filter(|actor| of_film.contains(*actor));
        if let (Some(actor), Ok([face])) = (actor, <[ImageFace; 1]>::try_from(line.faces)) {
            faces.entry(actor.clone()).or_default().push(face.vector);
        }
        Ok(())
    })?;
    let key = |id: String| format!("{KEY_HEAD}{id}");
    let faces = faces.into_iter();
    Ok(faces
        .map(|(id, vectors)| ActorFaces {
            key: key(id),
            vectors,
        })
        .collect())
}

/// The faces in photos, a folder an actor; names of files that begin with a dot are passed over, and so are photos
/// that cannot be read or show other than one good face, which `skipped` is told. A folder whose name is a number is that
/// actor's id, another one's name is the key as it is.
///
/// # Errors
/// [`FacerecError`] if a folder cannot be read, or a model fails.
pub fn read_gallery(
    gallery: &Path,
    reader: &mut PhotoReader,
    mut skipped: impl FnMut(&Path, &str),
) -> Result<Vec<ActorFaces>, FacerecError> {
    let mut actors = Vec::new();
    for folder in entries(gallery)?.into_iter().filter(|path| path.is_dir()) {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_id = name.bytes().all(|byte| byte.is_ascii_digit());
        let key = if is_id {
            format!("{KEY_HEAD}{name}")
        } else {
            name
        };
        let mut vectors = Vec::new();
        for path in entries(&folder)? {
            let bytes = fs::read(&path).map_err(FacerecError::io(&path))?;
            match decode(&bytes, &PhotoLimits::default()) {
                Err(why) => skipped(&path, &why.to_string()),
                Ok(photo) => {
                    let found = reader.read(&photo)?;
                    let good: Vec<_> = found.iter().filter(|f| f.quality.is_ok()).collect();
                    let [face] = good.as_slice() else {
                        skipped(&path, &format!("{} good faces", good.len()));
                        continue;
                    };
                    let embeddings = reader.embed(&photo, &[&face.face])?;
                    vectors.extend(embeddings.iter().map(|e| e.as_slice().to_vec()));
                }
            }
        }
        if !vectors.is_empty() {
            actors.push(ActorFaces { key, vectors });
        }
    }
    if actors.is_empty() {
        return Err(FacerecError::Table {
            path: gallery.to_owned(),
            why: "no folder in it holds a photo with one good face".to_owned(),
        });
    }
    Ok(actors)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, FacerecError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(FacerecError::io(folder))? {
        let entry = entry.map_err(FacerecError::io(folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
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

    fn files(
        folder: &Path,
        actors: &str,
        images: &str,
        embeddings: &str,
    ) -> Result<Vec<ActorFaces>, FacerecError> {
        let at = |name: &str| folder.join(name);
        fs::write(at("a.csv"), actors).unwrap();
        fs::write(at("i.csv"), images).unwrap();
        fs::write(at("e.jsonl"), embeddings).unwrap();
        read_actors(7, &at("a.csv"), &at("i.csv"), &at("e.jsonl"))
    }

    const ACTORS: &str = "movie_id,id,name,role\r\n7,11,\"Doe, Jane\",\"a \"\"b\"\"\nc\"\r\n7,12,X,r\r\n8,13,Y,r\r\n7,11,\"Doe, Jane\",other\r\n";
    const IMAGES: &str = "index,actor_id,movie_id,filename,n_detections\n0,11,7,a.jpg,1\n1,12,7,b.jpg,1\n2,12,7,both.jpg,1\n3,11,7,both.jpg,1\n4,13,8,y.jpg,1\n";

    #[test]
    fn actors_of_the_film_with_faces_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let embeddings = "{\"image\":\"a.jpg\",\"n\":1,\"faces\":[{\"vector\":[1.0,0.0],\"box\":[1]}]}\n\
             {\"image\":\"both.jpg\",\"n\":1,\"faces\":[{\"vector\":[0.0,1.0]}]}\n\
             {\"image\":\"b.jpg\",\"n\":2,\"faces\":[{\"vector\":[0.0,1.0]},{\"vector\":[0.0,2.0]}]}\n\
             {\"image\":\"y.jpg\",\"n\":1,\"faces\":[{\"vector\":[0.0,1.0]}]}\n\
             {\"image\":\"a.jpg\",\"n\":1,\"faces\":[{\"vector\":[0.5,0.0]}]}\n";
        let found = files(folder.path(), ACTORS, IMAGES, embeddings).unwrap();
        let expected = ActorFaces {
            key: "momaf:elonet_henkilo_11".to_owned(),
            vectors: vec![vec![1.0, 0.0], vec![0.5, 0.0]],
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn tables_that_lack_something_say_what_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let said = |actors: &str, embeddings: &str| {
            files(folder.path(), actors, IMAGES, embeddings)
                .unwrap_err()
                .to_string()
        };
        assert!(said("movie,id\n7,1\n", "").contains("no column movie_id"));
        let short = said("movie_id,name,id\n7,\"x\ny\",1\n7,x\n", "");
        assert!(
            short.contains("a.csv: line 4") && short.contains("has 2 fields"),
            "{short}"
        );
        assert!(said(ACTORS, "{\"image\":\"a.jpg\",\"fa").contains("e.jsonl, line 1"));
    }

    #[test]
    fn a_folder_of_photos_is_an_actor() {
        let folder = tempfile::tempdir().unwrap();
        let photo = |path: &str, hues: &[f32]| {
            let mut picture = Picture::filled(320, 160, [90; 3]).unwrap();
            for (x, hue) in (0u8..).zip(hues) {
                paint_face(
                    &mut picture,
                    Rect::new(20.0 + 150.0 * f32::from(x), 30.0, 100.0, 100.0),
                    *hue,
                );
            }
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, to_png(picture.view())).unwrap();
        };
        photo("11/a.png", &[0.0]);
        photo("11/two.png", &[0.0, 120.0]);
        photo("Jane Doe/b.png", &[120.0]);
        photo("nobody/none.png", &[]);
        fs::write(folder.path().join("11/notes.txt"), "x").unwrap();
        let mut reader = PhotoReader::new(
            Box::new(FakeDetector),
            Box::new(FakeEmbedder),
            FaceGates::default(),
        );
        let mut skipped = Vec::new();
        let found = read_gallery(folder.path(), &mut reader, |path, _| {
            skipped.push(path.file_name().unwrap().to_owned());
        });
        let found = found.unwrap();
        let keys: Vec<_> = found
            .iter()
            .map(|a| (a.key.as_str(), a.vectors.len()))
            .collect();
        assert_eq!(keys, [("momaf:elonet_henkilo_11", 1), ("Jane Doe", 1)]);
        assert_eq!(skipped, ["notes.txt", "two.png", "none.png"]);
    }
}
