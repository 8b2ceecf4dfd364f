//! Photos of a person: each is kept as a track of no source, with the one face that was meant.

use super::super::apply::{Failure, Truth};
use super::super::catalog::{CatalogWriter, name_key};
use super::super::command::WriteError;
use super::super::writer::Refusal;
use super::ProfileUpdate;
use super::plan::{create, editable};
use rollcall_index::Embedding;
use rollcall_log::record::{Decision, Edited, Exemplar, FaceBox, TrackObserved};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Photos enrolled at a time at most.
pub const PHOTOS_MAX: usize = 100;
/// Why an enrolled photo has its identity, in the words of a decision.
const ENROLLED: &str = "ENROLLED";

/// A photo to be enrolled, as the face in it that is meant.
#[derive(Clone, PartialEq)]
pub struct Photo {
    /// By which the same face of the same photo is known again: [`PhotoDigest::key`].
    pub key: u64,
    /// Where the face is; no frame and no time.
    pub face: FaceBox,
    /// Five points, x then y, fractions of the picture.
    pub landmarks: Vec<f32>,
    /// 0 to 1.
    pub quality: f32,
    /// Binary16, of the contract that the enrolment names.
    pub embedding: Vec<u8>,
    /// Aligned crop, JPEG.
    pub crop: Vec<u8>,
    /// Looser crop, JPEG.
    pub loose_crop: Vec<u8>,
}

/// Pictures of people stay out of what is logged.
impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Photo")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The person whose photos are enrolled.
#[derive(Clone, Debug)]
pub enum Person {
    /// Somebody who is there.
    Known {
        /// Which identity.
        id: u64,
        /// When given, it must still have it.
        etag: Option<String>,
    },
    /// Somebody new.
    New {
        /// What is said of them.
        update: ProfileUpdate,
        /// Another one may bear the same name.
        allow_duplicate_name: bool,
    },
}

/// The bytes of a photo, digested.
#[derive(Clone, Debug)]
pub struct PhotoDigest(Sha256);

impl PhotoDigest {
    /// Of the whole file.
    pub fn of(image: &[u8]) -> Self {
        Self(Sha256::new().chain_update(image))
    }

    /// What tells the face with this number from all others: the log's `track_key`.
    pub fn key(&self, face: u32) -> u64 {
        let digest = self.0.clone().chain_update(face.to_le_bytes()).finalize();
        let first = digest.first_chunk().copied();
        u64::from_le_bytes(first.expect("a SHA-256 has 32 bytes"))
    }
}

/// The photos become the person's. Those that are already are passed over.
pub(super) fn person(
    truth: &Truth,
    person: Person,
    contract: &str,
    photos: &[Photo],
) -> Result<Edited, Refusal> {
    let catalog = &truth.catalog;
    check(catalog, contract, photos)?;
    let mut owners = Vec::with_capacity(photos.len());
    for photo in photos {
        owners.push(catalog.photo(photo.key)?.map(|(_, identity)| identity));
    }
    let (id, mut planned) = match person {
        Person::Known { id, etag } => (editable(catalog, id, etag)?.0, Edited::default()),
        Person::New {
            update,
            allow_duplicate_name,
        } => {
            if let Some(id) = enrolled_as(catalog, &update, &owners)? {
                return Err(WriteError::PhotosKnown { id }.into());
            }
            let planned = create(truth, &update, allow_duplicate_name)?;
            (catalog.ids().identity + 1, planned)
        }
    };
    let (mut track, mut exemplar) = (catalog.ids().track, catalog.ids().exemplar);
    let mut keys = HashSet::new();
    for (number, (photo, owner)) in photos.iter().zip(owners).enumerate() {
        match owner {
            Some(owner) if owner != id => {
                return Err(WriteError::PhotoElsewhere { number, id: owner }.into());
            }
            Some(_) => continue,
            None if !keys.insert(photo.key) => continue,
            None => {}
        }
        track += 1;
        exemplar += 1;
        planned
            .enrolled
            .push(enrolled(photo, id, (track, exemplar)));
    }
    if planned.enrolled.is_empty() {
        return Err(WriteError::PhotosKnown { id }.into());
    }
    Ok(planned)
}

/// Who has all the photos already, and the name or, without one, the external id that somebody new would have.
fn enrolled_as(
    catalog: &CatalogWriter,
    update: &ProfileUpdate,
    owners: &[Option<u64>],
) -> Result<Option<u64>, Refusal> {
    let Some(id) = owners.first().copied().flatten() else {
        return Ok(None);
    };
    let all = owners.iter().all(|owner| *owner == Some(id));
    let profile = catalog.profile(id)?.unwrap_or_default();
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (name, external_id) = (given(&update.name), given(&update.external_id));
    let same = match name_key(&name).as_str() {
        "" => !external_id.is_empty() && external_id == profile.external_id,
        key => key == name_key(&profile.name),
    };
    Ok((all && same).then_some(id))
}

fn check(catalog: &CatalogWriter, contract: &str, photos: &[Photo]) -> Result<(), Refusal> {
    let expected = &catalog.contracts().in_service().id;
    if contract != expected {
        return Err(WriteError::ContractGone {
            found: contract.to_owned(),
            expected: expected.clone(),
        }
        .into());
    }
    if photos.len() > PHOTOS_MAX {
        let count = photos.len();
        let what = format!("{count} photos are more than can be enrolled at a time: {PHOTOS_MAX}");
        return Err(WriteError::EditTooLarge { what }.into());
    }
    let dimension = catalog.contracts().in_service().dimension;
    for (number, photo) in photos.iter().enumerate() {
        let what = match Embedding::from_f16_bytes(&photo.embedding) {
            Ok(embedding) if embedding.dimension() == dimension => continue,
            Ok(other) => format!("{} values, not {dimension}", other.dimension()),
            Err(error) => error.to_string(),
        };
        let what = format!("photo {number}: {what}");
        return Err(WriteError::Embedding { what }.into());
    }
    Ok(())
}

/// The record of a photo, all but what lies in blobs.
fn enrolled(photo: &Photo, identity_id: u64, (track_id, exemplar_id): (u64, u64)) -> TrackObserved {
    TrackObserved {
        track_id,
        track_key: photo.key,
        revision: 1,
        closed: true,
        boxes: vec![photo.face],
        exemplars: vec![Exemplar {
            exemplar_id,
            face: Some(photo.face),
            landmarks: photo.landmarks.clone(),
            quality: photo.quality,
            number: 1,
            ..Exemplar::default()
        }],
        decision: Some(Decision {
            identity_id,
            reason: ENROLLED.to_owned(),
            ..Decision::default()
        }),
        best_exemplar_id: exemplar_id,
        exemplar_count: 1,
        ..TrackObserved::default()
    }
}

/// Puts what is enrolled by a planned edit into the blobs, or finds it there, and returns its embeddings.
pub(super) fn store(
    truth: &mut Truth,
    planned: &mut Edited,
    photos: &[Photo],
) -> Result<Vec<Embedding>, Refusal> {
    // What was gathered is readable only once it is written.
    let comes_back = |it: &TrackObserved| it.exemplars.iter().any(|it| it.embedding.is_some());
    if planned.enrolled.iter().any(comes_back)
        && truth.log.durable_sequence() < truth.log.appended_sequence()
    {
        truth.log.sync().map_err(Failure::Log)?;
    }
    let photos: HashMap<u64, &Photo> = photos.iter().map(|it| (it.key, it)).collect();
    let mut embeddings = Vec::new();
    for track in &mut planned.enrolled {
        let photo = photos.get(&track.track_key);
        if track.key == 0 && photo.is_some() {
            track.key = truth.log.new_key().map_err(Failure::Log)?;
        }
        let key = track.key;
        for exemplar in &mut track.exemplars {
            let bytes = match (&exemplar.embedding, photo) {
                (Some(reference), _) => truth.log.reader().blob(reference).map_err(|error| {
                    let id = exemplar.exemplar_id;
                    let what = format!("exemplar {id}, which would be back: {error}");
                    WriteError::Embedding { what }
                })?,
                (None, Some(photo)) => {
                    let mut blob =
                        |bytes: &[u8]| truth.log.put_sealed(key, bytes).map_err(Failure::Log);
                    exemplar.embedding = Some(blob(&photo.embedding)?);
                    exemplar.crop = Some(blob(&photo.crop)?);
                    exemplar.loose_crop = Some(blob(&photo.loose_crop)?);
                    photo.embedding.clone()
                }
                (None, None) => continue,
            };
            let unfit = |error: rollcall_index::EmbeddingError| WriteError::Embedding {
                what: error.to_string(),
            };
            embeddings.push(Embedding::from_f16_bytes(&bytes).map_err(unfit)?);
        }
    }
    Ok(embeddings)
}
