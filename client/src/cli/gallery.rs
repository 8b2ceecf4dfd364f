//! Photos of people on this machine: a folder a person, or a table.
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::csv;
use super::failure::Failure;

/// What pictures are called.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Somebody, and their photos.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    /// Empty if it is said otherwise who it is.
    pub(crate) name: String,
    pub(crate) external_id: String,
    /// With the face that is meant, where that is said.
    pub(crate) photos: Vec<(PathBuf, Option<u32>)>,
}

/// People with their photos, and how many files were passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gallery {
    pub(crate) people: Vec<Person>,
    pub(crate) passed_over: usize,
}

impl Gallery {
    /// Each folder in `folder` is a person of its name.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, Failure> {
        let mut gallery = Self::default();
        for path in entries(folder)? {
            if is_hidden(&path) {
                gallery.passed_over += 1;
            } else if path.is_dir() {
                let name = path.file_name().and_then(OsStr::to_str);
                let name = name.ok_or_else(|| {
                    wrong(format!(
                        "the name of {} is not UTF-8: rename the folder",
                        path.display()
                    ))
                })?;
                let person = gallery.pictures(&path, name.to_owned())?;
                gallery.people.extend(person);
            } else if is_picture(&path) {
                return Err(wrong(format!(
                    "{} lies in no person's folder: make a folder for each person, named like them, or say \
                     with --into whose pictures these are",
                    path.display()
                )));
            } else {
                gallery.passed_over += 1;
            }
        }
        Ok(gallery)
    }

    /// The pictures in `folder` are one person's, who is named otherwise.
    pub(crate) fn of_one(folder: &Path) -> Result<Self, Failure> {
        let mut gallery = Self::default();
        let person = gallery.pictures(folder, String::new())?;
        gallery.people.extend(person);
        Ok(gallery)
    }

    fn pictures(&mut self, folder: &Path, name: String) -> Result<Option<Person>, Failure> {
        let mut photos = Vec::new();
        for path in entries(folder)? {
            if is_hidden(&path) || path.is_dir() || !is_picture(&path) {
                self.passed_over += 1;
            } else {
                photos.push((path, None));
            }
        }
        let person = Person {
            name,
            photos,
            ..Person::default()
        };
        Ok((!person.photos.is_empty()).then_some(person))
    }

    /// The rows of a table: `name,photo`, and where there are such columns `external_id` and `face`.
    pub(crate) fn of_table(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Failure::file(file, "read", &error))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let at = |line, what: &str| wrong(format!("{}:{line}: {what}", file.display()));
        let rows = csv::rows(&text).map_err(|(line, what)| at(line, what))?;
        let mut rows = rows.into_iter();
        let header = rows.next().map(|(_, fields)| fields).unwrap_or_default();
        let header: Vec<String> = header.iter().map(|it| it.trim().to_lowercase()).collect();
        let columns = Columns::of(&header).map_err(|what| at(1, &what))?;
        let mut people: Vec<Person> = Vec::new();
        let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (line, fields) in rows {
            if fields.len() != header.len() {
                let what = format!("{} fields, the header has {}", fields.len(), header.len());
                return Err(at(line, &what));
            }
            let field = |column: usize| fields[column].trim().to_owned();
            let of = |column: Option<usize>| column.map(field).unwrap_or_default();
            let (name, external_id) = (field(columns.name), of(columns.external_id));
            if name.is_empty() && external_id.is_empty() {
                return Err(at(line, "a name is missing"));
            }
            let photo = field(columns.photo);
            if photo.is_empty() {
                return Err(at(line, "a photo is missing"));
            }
            let photo = folder.join(photo);
            if !photo.is_file() {
                return Err(at(line, &format!("there is no file {}", photo.display())));
            }
            let face = match of(columns.face).as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    at(line, &format!("`{text}` is no number of a face, such as 0"))
                })?),
            };
            let key = (name.clone(), external_id.clone());
            let place = *known.entry(key).or_insert_with(|| {
                people.push(Person {
                    name,
                    external_id,
                    photos: Vec::new(),
                });
                people.len() - 1
            });
            people[place].photos.push((photo, face));
        }
        Ok(Self {
            people,
            passed_over: 0,
        })
    }
}

struct Columns {
    name: usize,
    photo: usize,
    external_id: Option<usize>,
    face: Option<usize>,
}

impl Columns {
    fn of(header: &[String]) -> Result<Self, String> {
        let known = ["name", "photo", "external_id", "face"];
        if let Some(other) = header.iter().find(|it| !known.contains(&it.as_str())) {
            return Err(format!(
                "`{other}` is no column: the first line names them, out of {}",
                known.join(", ")
            ));
        }
        let find = |wanted: &str| header.iter().position(|it| it == wanted);
        let needed = |wanted: &str| find(wanted).ok_or(format!("there is no column `{wanted}`"));
        Ok(Self {
            name: needed("name")?,
            photo: needed("photo")?,
            external_id: find("external_id"),
            face: find("face"),
        })
    }
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            all.push(entry?.path());
        }
        all.sort();
        Ok(all)
    };
    list().map_err(|error| Failure::file(folder, "read", &error))
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_encoded_bytes);
    name.is_some_and(|name| name.starts_with(b"."))
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|it| PICTURES.contains(&it.to_ascii_lowercase().as_str()))
}

fn wrong(message: String) -> Failure {
    Failure::Local {
        reason: "INVALID_ARGUMENT",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        folder
    }

    fn told(gallery: &Gallery) -> Vec<String> {
        let people = gallery.people.iter();
        let one = |person: &Person| {
            let photos = person.photos.iter().map(|(path, face)| {
                let name = path.file_name().unwrap().to_str().unwrap();
                face.map_or(name.to_owned(), |face| format!("{name}#{face}"))
            });
            let photos = photos.collect::<Vec<_>>().join(" ");
            format!("{}/{}: {photos}", person.name, person.external_id)
        };
        people.map(one).collect()
    }

    #[test]
    fn each_folder_is_a_person() {
        let files = ["Eve/b.JPG", "Eve/a.webp", "Eve/.hidden.jpg", "Ada/1.png"];
        let others = ["Eve/notes.txt", "Eve/old/c.jpg", ".git/x.jpg", "read.me"];
        let all = folder(&[&files[..], &others].concat());
        let gallery = Gallery::of_folder(all.path()).unwrap();
        assert_eq!(told(&gallery), ["Ada/: 1.png", "Eve/: a.webp b.JPG"]);
        assert_eq!(gallery.passed_over, 5);
        let one = Gallery::of_one(&all.path().join("Eve")).unwrap();
        assert_eq!(told(&one), ["/: a.webp b.JPG"]);
        let loose = folder(&["Ada/1.png", "2.png"]);
        let refused = Gallery::of_folder(loose.path()).unwrap_err().to_string();
        assert!(
            refused.contains("2.png") && refused.contains("--into"),
            "{refused}"
        );
        let nobody = Gallery::of_folder(folder(&[]).path()).unwrap();
        assert_eq!(nobody, Gallery::default());
    }

    #[test]
    fn each_row_of_a_table_is_a_photo() {
        let all = folder(&["a.jpg", "b.jpg"]);
        let table = all.path().join("people.csv");
        let read = |text: &str| {
            std::fs::write(&table, text).unwrap();
            Gallery::of_table(&table)
        };
        let text = "photo,Name,external_id,face\na.jpg,\"Lovelace, Ada\",7,1\n\
                    b.jpg,Bob,,\nb.jpg,\"Lovelace, Ada\",7,0\n";
        let gallery = read(text).unwrap();
        let expected = ["Lovelace, Ada/7: a.jpg#1 b.jpg#0", "Bob/: b.jpg"];
        assert_eq!(told(&gallery), expected);
        let wrong = [
            ("", ":1: there is no column `name`"),
            ("name\nAda\n", ":1: there is no column `photo`"),
            ("name,photo,age\n", ":1: `age` is no column"),
            ("name,photo\nAda\n", ":2: 1 fields, the header has 2"),
            ("name,photo\n,a.jpg\n", ":2: a name is missing"),
            ("name,photo\nAda,\n", ":2: a photo is missing"),
            ("name,photo\n\nAda,c.jpg\n", ":3: there is no file"),
            ("name,photo,face\nAda,a.jpg,x\n", ":2: `x` is no number"),
            ("name,photo\n\"Ada,a.jpg\n", ":2: a quote is never closed"),
        ];
        for (text, expected) in wrong {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{text:?}: {refused}");
        }
    }
}
