//! `rollcall identity enrol`: photos of people, one person after the other.
use std::path::Path;

use rollcall_client::{Client, Code, Error, pb};
use serde::Serialize;
use serde_json::json;

use super::edit::Editor;
use super::found;
use crate::cli::Outcome;
use crate::cli::args::{Format, IdentityEnrol};
use crate::cli::failure::Failure;
use crate::cli::format::{enum_name, name, printable};
use crate::cli::gallery::{Gallery, Person};
use crate::cli::input::read_photo;
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};

/// Photos in one call at most, as the server's.
const PHOTOS_MAX: usize = 100;
/// Of a message, what is not photos.
const OVERHEAD_BYTES: usize = 64 * 1024;

/// What became of a person's photos: the JSON that docs/cli.md promises.
#[derive(Debug, Default, Serialize)]
struct Enrolled {
    name: Option<String>,
    identity_id: Option<u64>,
    edits: Vec<u64>,
    enrolled: usize,
    known: usize,
    unusable: usize,
    error: Option<String>,
    message: Option<String>,
    photos: Vec<Photo>,
    resembles: Vec<Alike>,
}

#[derive(Debug, Serialize)]
struct Photo {
    photo: String,
    outcome: String,
    rejections: Vec<String>,
    faces: u32,
    unlike: bool,
    cosine_to_others: Option<f32>,
    identity_id: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Alike {
    identity_id: u64,
    name: Option<String>,
    cosine: f32,
}

impl Photo {
    /// One that the server was not shown.
    fn unsent((path, outcome): &(std::path::PathBuf, &'static str)) -> Self {
        Self {
            photo: label(path),
            outcome: (*outcome).to_owned(),
            rejections: Vec::new(),
            faces: 0,
            unlike: false,
            cosine_to_others: None,
            identity_id: None,
        }
    }
}

impl Enrolled {
    /// Whether all that was asked for is done, or would be.
    fn is_done(&self, skip_unusable: bool) -> bool {
        let all = self.unusable == 0 || skip_unusable;
        self.error.is_none() && all && self.enrolled + self.known > 0
    }

    fn take(&mut self, answer: pb::EnrolPersonResponse) {
        if let Some(edit) = &answer.edit {
            self.edits.push(edit.sequence);
        }
        if let Some(identity) = &answer.identity {
            self.identity_id = Some(identity.id);
            self.name = Some(identity.name.clone()).filter(|name| !name.is_empty());
        }
        for photo in answer.photos {
            match photo.outcome() {
                pb::PhotoOutcome::Enrolled => self.enrolled += 1,
                pb::PhotoOutcome::AlreadyEnrolled => self.known += 1,
                pb::PhotoOutcome::Unspecified
                | pb::PhotoOutcome::NoFaceFound
                | pb::PhotoOutcome::SeveralFaces
                | pb::PhotoOutcome::FaceRejected
                | pb::PhotoOutcome::ImageUnreadable
                | pb::PhotoOutcome::FaceIndexOutOfRange
                | pb::PhotoOutcome::EnrolledElsewhere
                | pb::PhotoOutcome::ImageTooLarge => self.unusable += 1,
            }
            self.photos.push(Photo {
                outcome: enum_name(photo.outcome().as_str_name(), "PHOTO_OUTCOME_"),
                photo: photo.label,
                rejections: photo.rejections,
                faces: photo.face_count,
                unlike: photo.unlike,
                cosine_to_others: photo.cosine_to_others,
                identity_id: Some(photo.identity_id).filter(|id| *id != 0),
            });
        }
        for near in answer.resembles {
            let identity = near.identity.unwrap_or_default();
            if self
                .resembles
                .iter()
                .all(|it| it.identity_id != identity.id)
            {
                self.resembles.push(Alike {
                    identity_id: identity.id,
                    name: Some(identity.name).filter(|name| !name.is_empty()),
                    cosine: near.cosine,
                });
            }
        }
    }
}

impl Editor<'_> {
    pub(super) async fn enrol(
        &self,
        command: &IdentityEnrol,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let gallery = match (&command.csv, &command.folder, command.into) {
            (Some(file), _, _) => Gallery::of_table(file)?,
            (None, Some(folder), Some(_)) => Gallery::of_one(folder)?,
            (None, Some(folder), None) => Gallery::of_folder(folder)?,
            (None, None, _) => Gallery::default(),
        };
        if gallery.passed_over > 0 {
            out.note(&format!(
                "{} files and folders passed over: hidden, no pictures, or too deep",
                gallery.passed_over
            ));
        }
        let count = gallery.people.len();
        let mut all = Vec::with_capacity(count);
        let mut ended = None;
        for (number, person) in gallery.people.into_iter().enumerate() {
            let done = match self.one(command, person).await {
                Ok(done) => done,
                Err(failure) => {
                    // What was recorded so far is told all the same.
                    ended = Some(failure);
                    break;
                }
            };
            tell(&done, (number + 1, count), out);
            if out.format == Format::Jsonl {
                out.json_line(&done)?;
            }
            all.push(done);
        }
        match out.format {
            Format::Jsonl => {}
            Format::Json => out.json(&json!({
                "dry_run": command.dry_run,
                "passed_over": gallery.passed_over,
                "people": all,
            }))?,
            Format::Table if all.is_empty() => out.note("there are no photos"),
            Format::Table => out.line(&table(&all, out))?,
        }
        if let Some(failure) = ended {
            return Err(failure);
        }
        let failed = all.iter().filter(|it| !it.is_done(command.skip_unusable));
        match failed.count() {
            0 => Ok(found(!all.is_empty())),
            failed => Err(Failure::Local {
                reason: "NOT_ENROLLED",
                message: format!(
                    "{failed} of {count} people were not enrolled, or not with all their photos; the edits that are told of them \
                     are all that was recorded, and to do it again does no harm: what is enrolled is passed over"
                ),
            }),
        }
    }

    /// What the server refuses of one person does not keep it from the others.
    async fn one(&self, command: &IdentityEnrol, person: Person) -> Result<Enrolled, Failure> {
        let name = Some(person.name.clone()).filter(|name| !name.is_empty());
        let mut done = Enrolled {
            name,
            ..Enrolled::default()
        };
        match self.all_photos(command, person, &mut done).await {
            Err(Failure::Client(error)) if is_about_one(&error) => {
                done.error = Some(error.reason().to_owned());
                done.message = Some(error.to_string());
                Ok(done)
            }
            Err(failure) => Err(failure),
            Ok(()) => Ok(done),
        }
    }

    async fn all_photos(
        &self,
        command: &IdentityEnrol,
        person: Person,
        done: &mut Enrolled,
    ) -> Result<(), Failure> {
        let mut request = pb::EnrolPersonRequest {
            identity_id: command.into.unwrap_or(0),
            name: person.name,
            external_id: person.external_id,
            allow_duplicate_name: command.allow_duplicate_name,
            skip_unusable: command.skip_unusable,
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        if command.add {
            let bearer = bearer(self.client, &request.name).await?;
            known(&mut request, bearer.unwrap_or(0));
        }
        let (calls, unsent) = in_calls(person.photos);
        // Of several calls the later ones must not find what would have kept the first from being made.
        let only_look = command.dry_run || !(unsent.is_empty() || command.skip_unusable);
        let looks = match (only_look, calls.len()) {
            (true, _) => vec![true],
            (false, 0 | 1) => vec![false],
            (false, _) => vec![true, false],
        };
        for only_look in looks {
            *done = Enrolled {
                name: done.name.take(),
                ..Enrolled::default()
            };
            done.unusable = unsent.len();
            done.photos.extend(unsent.iter().map(Photo::unsent));
            for photos in &calls {
                request.photos = read(photos).await?;
                request.validate_only = only_look;
                let answer = self.client.enrol_person(request.clone()).await?;
                done.take(answer);
                if !only_look {
                    known(&mut request, done.identity_id.unwrap_or(0));
                }
            }
            if done.unusable > 0 && !command.skip_unusable {
                break;
            }
        }
        Ok(())
    }
}

type Photos = Vec<(std::path::PathBuf, Option<u32>)>;

/// The photos in as many calls as they need, and those that cannot be sent, each with its outcome.
fn in_calls(photos: Photos) -> (Vec<Photos>, Vec<(std::path::PathBuf, &'static str)>) {
    let most = rollcall_client::IMAGE_BYTES_MAX - OVERHEAD_BYTES;
    let (mut calls, mut unsent) = (Vec::<Photos>::new(), Vec::new());
    let mut bytes = 0;
    for (path, face) in photos {
        // Opened as well: what may not be read is told of like what is no picture.
        let size = std::fs::File::open(&path).and_then(|file| file.metadata());
        let Ok(size) = size.map(|it| usize::try_from(it.len()).unwrap_or(usize::MAX)) else {
            unsent.push((path, "image_unreadable"));
            continue;
        };
        if size > most {
            unsent.push((path, "image_too_large"));
            continue;
        }
        bytes += size;
        let fits = |last: &&mut Photos| bytes <= most && last.len() < PHOTOS_MAX;
        match calls.last_mut().filter(fits) {
            Some(last) => last.push((path, face)),
            None => {
                bytes = size;
                calls.push(vec![(path, face)]);
            }
        }
    }
    (calls, unsent)
}

async fn read(photos: &Photos) -> Result<Vec<pb::EnrolPhoto>, Failure> {
    let mut all = Vec::with_capacity(photos.len());
    for (path, face_index) in photos {
        all.push(pb::EnrolPhoto {
            // An empty file is told of with the others.
            image: match std::fs::metadata(path).is_ok_and(|it| it.len() == 0) {
                true => Vec::new(),
                false => read_photo(path).await?,
            },
            label: label(path),
            face_index: *face_index,
        });
    }
    Ok(all)
}

fn label(path: &Path) -> String {
    path.display().to_string()
}

/// From here on it is about somebody who is there.
fn known(request: &mut pb::EnrolPersonRequest, id: u64) {
    if id != 0 {
        request.identity_id = id;
        request.name.clear();
        request.external_id.clear();
    }
}

/// Whoever bears the name, but for case.
async fn bearer(client: &Client, wanted: &str) -> Result<Option<u64>, Failure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let key = |name: &str| name.trim().to_lowercase();
    let request = pb::ListIdentitiesRequest {
        name_contains: wanted.to_owned(),
        include_hidden: true,
        ..Default::default()
    };
    let found = client.all_identities(request, usize::MAX).await?;
    let mut same = found.items.iter().filter(|it| key(&it.name) == key(wanted));
    match (same.next(), same.next()) {
        (Some(one), Some(other)) => Err(Failure::Local {
            reason: "NAME_TAKEN",
            message: format!(
                "identities {} and {} are both named {wanted:?}: say with --into whose photos these are",
                one.id, other.id
            ),
        }),
        (one, _) => Ok(one.map(|it| it.id)),
    }
}

/// Whether the next person may fare better.
fn is_about_one(error: &Error) -> bool {
    error.server().is_some_and(|server| {
        [
            Code::AlreadyExists,
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::NotFound,
            Code::Aborted,
        ]
        .contains(&server.code)
    })
}

/// Progress, and what people should look at.
fn tell(done: &Enrolled, (number, count): (usize, usize), out: &Out) {
    let who = name(done.name.as_deref().unwrap_or_default());
    let (new, known, unusable) = (done.enrolled, done.known, done.unusable);
    out.note(&format!(
        "{number} of {count}: {who}: {new} photos new, {known} known, {unusable} not usable"
    ));
    if let Some(message) = &done.message {
        let reason = done.error.as_deref().unwrap_or_default();
        out.warn(&format!(
            "{who}: {} [{}]",
            printable(message),
            printable(reason)
        ));
    }
    for photo in &done.photos {
        let file = printable(&photo.photo);
        if let Some(what) = trouble(photo) {
            out.warn(&format!("{file}: {what}"));
        }
        if let (true, Some(cosine)) = (photo.unlike, photo.cosine_to_others) {
            out.warn(&format!(
                "{file}: does not look like the others (cosine {cosine:.2}): the same person?"
            ));
        }
    }
    for alike in &done.resembles {
        let other = name(alike.name.as_deref().unwrap_or_default());
        let (id, cosine) = (alike.identity_id, alike.cosine);
        out.warn(&format!(
            "{who} looks like identity {id}, {other} (cosine {cosine:.2}): if they are one person, merge them"
        ));
    }
}

/// Why a photo was not taken, in words.
fn trouble(photo: &Photo) -> Option<String> {
    let what = match photo.outcome.as_str() {
        "enrolled" | "already_enrolled" => return None,
        "no_face_found" => "no face found".to_owned(),
        "several_faces" => format!(
            "{} faces: cut the picture, or say which one is meant in the column `face` of a table",
            photo.faces
        ),
        "face_rejected" => format!(
            "no face can be used: {}",
            printable(
                &photo
                    .rejections
                    .join(", ")
                    .to_ascii_lowercase()
                    .replace('_', " ")
            )
        ),
        "enrolled_elsewhere" => format!(
            "is a photo of identity {} already",
            photo.identity_id.unwrap_or(0)
        ),
        other => other.replace('_', " "),
    };
    Some(what)
}

fn table(all: &[Enrolled], out: &Out) -> String {
    let mut table = Table::new(&[
        ("IDENTITY", Side::Right),
        ("NAME", Side::Left),
        ("NEW", Side::Right),
        ("KNOWN", Side::Right),
        ("NOT USABLE", Side::Right),
        ("EDIT", Side::Left),
    ]);
    for done in all {
        let edits: Vec<String> = done.edits.iter().map(u64::to_string).collect();
        table.row([
            done.identity_id.map_or("-".to_owned(), |id| id.to_string()),
            name(done.name.as_deref().unwrap_or_default()),
            done.enrolled.to_string(),
            done.known.to_string(),
            done.unusable.to_string(),
            match &done.error {
                Some(error) => printable(error),
                None if edits.is_empty() => "-".to_owned(),
                None => edits.join(" "),
            },
        ]);
    }
    table.render(out.style)
}
