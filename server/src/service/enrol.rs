//! Photos of a person, looked at and enrolled: the part of `IdentityService` that sees pictures.

use super::edit::{Said, answer, checked_external_id, checked_name, given, unfit_field};
use super::identity::Identities;
use crate::core::{
    Change, Core, PHOTOS_MAX, Person, Photo, PhotoDigest, ProfileUpdate, WriteError, name_key,
};
use crate::edge::check_contract;
use crate::error::ApiError;
use crate::pb::{self, PhotoOutcome};
use crate::photo_pool::{PhotoAnswer, Wanted};
use crate::vision::LoadedModels;
use rollcall_index::{Effort, Embedding, Filter, Similarity};
use rollcall_ingest::photo::PhotoError;
use rollcall_log::record::{Body, FaceBox};
use std::collections::HashSet;
use std::sync::Arc;

/// People that an answer says the photos resemble, at most.
const RESEMBLED: usize = 5;

/// What was asked for, checked.
struct Asked {
    /// Who it is, as they are now; `None`: somebody new.
    known: Option<pb::Identity>,
    name: String,
    external_id: String,
    person: Person,
}

/// A photo that was looked at.
#[derive(Default)]
struct Looked {
    result: pb::PhotoResult,
    /// If it can be used, or is used already.
    face: Option<(Photo, Embedding)>,
}

impl Looked {
    fn is_fresh(&self) -> bool {
        self.result.outcome() == PhotoOutcome::Enrolled
    }
}

impl Identities {
    pub(crate) async fn enrol(
        &self,
        mut request: pb::EnrolPersonRequest,
    ) -> Result<pb::EnrolPersonResponse, ApiError> {
        let photos = std::mem::take(&mut request.photos);
        if photos.is_empty() || photos.len() > PHOTOS_MAX {
            let what = format!("has {} entries; 1 to {PHOTOS_MAX} may be", photos.len());
            return Err(unfit_field("photos", &what));
        }
        let asked = self.asked(&request).await?;
        let said = Said::new(
            std::mem::take(&mut request.author),
            std::mem::take(&mut request.reason),
            std::mem::take(&mut request.request_id),
        );
        let (looked, models) = self.look(photos, &asked).await?;
        let (mut looked, usable) = compared(looked, models.collection.same_cosine);
        let resembles = self.resembled(&usable, &models, asked.known.as_ref());
        let resembles = resembles.await?;
        let good = looked.iter().all(|it| it.face.is_some());
        let may = (good || request.skip_unusable) && !usable.is_empty();
        let mut identity = asked.known.clone();
        let mut edit = None;
        if may && request.validate_only {
            if let Some(bearer) = self.would_clash(&asked, &request, &looked).await? {
                identity = Some(self.get(bearer).await?);
            }
        } else if may {
            let photos = looked
                .iter()
                .filter_map(|it| Some(it.face.as_ref()?.0.clone()));
            let change = Change::Enrol {
                person: asked.person,
                contract: models.collection.contract.clone(),
                photos: photos.collect(),
            };
            match self.0.core.edit(said.edit(change)?).await {
                Ok(sequence) => {
                    let read = move |core: &Core| made(core, sequence);
                    let (answer, keys) = self.0.blocking(read).await?;
                    mark(&mut looked, &keys);
                    let mut people = answer.identities.into_iter();
                    identity = people.next();
                    edit = answer.edit;
                }
                Err(WriteError::PhotosKnown { id }) => {
                    mark(&mut looked, &HashSet::new());
                    identity = Some(self.get(id).await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(pb::EnrolPersonResponse {
            edit,
            identity,
            photos: looked.into_iter().map(|it| it.result).collect(),
            resembles,
        })
    }

    async fn asked(&self, request: &pb::EnrolPersonRequest) -> Result<Asked, ApiError> {
        let id = request.identity_id;
        let name = checked_name(&request.name)?;
        let external_id = checked_external_id(&request.external_id)?;
        let says = !name.is_empty() || !external_id.is_empty();
        if id == 0 && !says {
            let what = "is missing: say who it is, or give a new person's name or external id";
            return Err(unfit_field("identity_id", what));
        }
        if id != 0 && says {
            let what = "is given, and so is a new person's name or external id: give one of them";
            return Err(unfit_field("identity_id", what));
        }
        if id == 0 && !request.etag.is_empty() {
            return Err(unfit_field("etag", "is given, but no identity_id"));
        }
        let etag = given(request.etag.clone());
        let known = match id {
            0 => None,
            id => Some(self.get(id).await?),
        };
        let person = match id {
            0 => Person::New {
                update: ProfileUpdate {
                    name: Some(name.clone()),
                    external_id: Some(external_id.clone()),
                    ..ProfileUpdate::default()
                },
                allow_duplicate_name: request.allow_duplicate_name,
            },
            id => Person::Known { id, etag },
        };
        Ok(Asked {
            known,
            name,
            external_id,
            person,
        })
    }

    /// Looks at each photo, by the models of one contract.
    async fn look(
        &self,
        photos: Vec<pb::EnrolPhoto>,
        asked: &Asked,
    ) -> Result<(Vec<Looked>, Arc<LoadedModels>), ApiError> {
        let mut models = self.0.in_service();
        let mut keys = HashSet::new();
        let mut all = Vec::with_capacity(photos.len());
        for (number, photo) in photos.into_iter().enumerate() {
            let digest = PhotoDigest::of(&photo.image);
            let wanted = Wanted::Portrait(photo.face_index);
            let place = self.0.pool.admit()?;
            let answer = self.0.pool.photo(photo.image, wanted).await;
            drop(place);
            let mut looked = match answer {
                Ok(answer) => {
                    if number > 0 {
                        let contract = &models.collection.contract;
                        check_contract(&answer.models.collection.contract, contract)?;
                    }
                    models = Arc::clone(&answer.models);
                    self.judged(answer, &digest, asked).await?
                }
                Err(error) => Looked {
                    result: refused(error)?,
                    face: None,
                },
            };
            if let Some((photo, _)) = &looked.face
                && !keys.insert(photo.key)
            {
                looked.result.set_outcome(PhotoOutcome::AlreadyEnrolled);
            }
            looked.result.label = photo.label;
            all.push(looked);
        }
        Ok((all, models))
    }

    /// A photo with a face that can be used: whose is it?
    async fn judged(
        &self,
        answer: PhotoAnswer,
        digest: &PhotoDigest,
        asked: &Asked,
    ) -> Result<Looked, ApiError> {
        let mut result = pb::PhotoResult {
            face_count: u32::try_from(answer.faces.len()).unwrap_or(u32::MAX),
            ..pb::PhotoResult::default()
        };
        let embedded = answer.embedded.into_iter().next();
        let (Some((number, embedding)), Some(portrait)) = (embedded, answer.portrait) else {
            return Err(ApiError::Internal("a face was asked for and none given"));
        };
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let face = answer.faces.get(at).cloned().unwrap_or_default();
        let area = face.r#box.unwrap_or_default();
        let key = digest.key(number);
        let owner = self.0.read(move |catalog| {
            let owner = catalog.photo_owner(key)?;
            owner.map_or(Ok(None), |id| catalog.identity(id))
        });
        let owner = owner.await?;
        result.identity_id = owner.as_ref().map_or(0, |owner| owner.id);
        let outcome = match owner {
            None => PhotoOutcome::Enrolled,
            Some(owner) if asked.is(&owner) => PhotoOutcome::AlreadyEnrolled,
            Some(_) => PhotoOutcome::EnrolledElsewhere,
        };
        result.set_outcome(outcome);
        let photo = Photo {
            key,
            face: FaceBox {
                x: area.x,
                y: area.y,
                width: area.width,
                height: area.height,
                confidence: face.confidence,
                ..FaceBox::default()
            },
            landmarks: portrait.landmarks,
            quality: face.quality,
            embedding: embedding.to_f16_bytes(),
            crop: portrait.crop,
            loose_crop: portrait.loose_crop,
        };
        let usable = outcome != PhotoOutcome::EnrolledElsewhere;
        Ok(Looked {
            result,
            face: usable.then_some((photo, embedding)),
        })
    }

    /// Others whom the photos resemble as one person's do.
    async fn resembled(
        &self,
        faces: &[Embedding],
        models: &LoadedModels,
        known: Option<&pb::Identity>,
    ) -> Result<Vec<pb::NearIdentity>, ApiError> {
        let Some(mean) = Embedding::mean(faces.iter().map(|face| (face, 1.0))) else {
            return Ok(Vec::new());
        };
        let (core, view) = (self.0.core.clone(), self.0.core.view());
        check_contract(&models.collection.contract, &view.contract().id)?;
        let floor = Similarity::new(models.collection.same_cosine);
        let floor = floor.unwrap_or(Similarity::LEAST);
        let own = known.map_or(0, |identity| identity.id);
        let find = move || {
            let filter = Filter::default();
            let most = RESEMBLED + 1;
            let (hits, _) = view
                .index
                .who(&mean, most, floor, &filter, Effort::Normal)?;
            let mut told = Vec::new();
            // Somebody less similar may be among them, if nobody is above the floor.
            for hit in hits.into_iter().filter(|hit| hit.similarity >= floor) {
                let identity = core.catalog().identity(hit.identity.get())?;
                if identity.as_ref().is_none_or(|identity| identity.id == own) {
                    continue;
                }
                told.push(pb::NearIdentity {
                    identity,
                    cosine: hit.similarity.get(),
                    barred: false,
                });
            }
            told.truncate(RESEMBLED);
            Ok(told)
        };
        self.0.pool.run(find).await
    }

    /// Refuses a new person whose name or external id is somebody's; who it is, if the photos are all theirs.
    async fn would_clash(
        &self,
        asked: &Asked,
        request: &pb::EnrolPersonRequest,
        looked: &[Looked],
    ) -> Result<Option<u64>, ApiError> {
        if let Some(known) = &asked.known {
            let stale = !request.etag.is_empty() && request.etag != known.etag;
            let (id, current) = (known.id, known.etag.clone());
            return match stale {
                true => Err(WriteError::EtagMismatch { id, current }.into()),
                false => Ok(None),
            };
        }
        let (name, external_id) = (asked.name.clone(), asked.external_id.clone());
        let read = move |core: &Core| Ok(core.catalog().bearers(&name, &external_id)?);
        let (named, bearer) = self.0.blocking(read).await?;
        let named = named.filter(|_| !request.allow_duplicate_name);
        let known = !looked.iter().any(Looked::is_fresh);
        match (named, bearer) {
            (Some(id), _) | (None, Some(id)) if known => Ok(Some(id)),
            (Some(id), _) => {
                let name = asked.name.clone();
                Err(WriteError::NameTaken { name, id }.into())
            }
            (None, Some(id)) => {
                let external_id = asked.external_id.clone();
                Err(WriteError::ExternalIdTaken { external_id, id }.into())
            }
            (None, None) => Ok(None),
        }
    }
}

impl Asked {
    /// Whether the photos are said to be this one's.
    fn is(&self, owner: &pb::Identity) -> bool {
        match &self.known {
            Some(known) => known.id == owner.id,
            None if self.name.is_empty() => self.external_id == owner.external_id,
            None => name_key(&self.name) == name_key(&owner.name),
        }
    }
}

/// Why a photo cannot be used, if that is the photo's fault.
fn refused(error: ApiError) -> Result<pb::PhotoResult, ApiError> {
    let mut faces = 0;
    let mut rejections = Vec::new();
    let outcome = if let ApiError::Photo(error) = &error {
        match error {
            PhotoError::Empty | PhotoError::Unreadable { .. } => PhotoOutcome::ImageUnreadable,
            PhotoError::TooLargeBytes { .. } | PhotoError::TooManyPixels { .. } => {
                PhotoOutcome::ImageTooLarge
            }
        }
    } else if matches!(error, ApiError::NoFaceFound) {
        PhotoOutcome::NoFaceFound
    } else if let ApiError::SeveralFaces { count } = error {
        faces = count;
        PhotoOutcome::SeveralFaces
    } else if let ApiError::FaceIndexOutOfRange { count, .. } = error {
        faces = count;
        PhotoOutcome::FaceIndexOutOfRange
    } else if let ApiError::FaceRejected { reasons } = &error {
        faces = reasons.len();
        rejections = reasons.iter().map(|it| (*it).to_owned()).collect();
        PhotoOutcome::FaceRejected
    } else {
        return Err(error);
    };
    Ok(pb::PhotoResult {
        outcome: outcome.into(),
        face_count: u32::try_from(faces).unwrap_or(u32::MAX),
        rejections,
        ..pb::PhotoResult::default()
    })
}

/// The photos with what each has in common with the others, and the faces of those that can be used.
fn compared(mut looked: Vec<Looked>, same_cosine: f32) -> (Vec<Looked>, Vec<Embedding>) {
    let faces = looked
        .iter()
        .filter_map(|it| Some(it.face.as_ref()?.1.clone()));
    let faces: Vec<Embedding> = faces.collect();
    let own = looked.iter_mut().filter(|it| it.face.is_some());
    for (number, it) in own.enumerate() {
        let others = faces
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        let mean = Embedding::mean(others.map(|(_, face)| (face, 1.0)));
        let cosine = mean.map(|mean| mean.dot(&faces[number]).get());
        it.result.cosine_to_others = cosine;
        it.result.unlike = cosine.is_some_and(|cosine| cosine < same_cosine);
    }
    (looked, faces)
}

/// An edit that enrolled somebody, and the keys of its photos.
fn made(core: &Core, sequence: u64) -> Result<(pb::EditResponse, HashSet<u64>), ApiError> {
    let record = core.log().record(sequence)?.and_then(|record| record.body);
    let Some(Body::Edited(edited)) = record else {
        return Err(ApiError::Internal("an edit is not in the log"));
    };
    let keys = edited.enrolled.iter().map(|photo| photo.track_key);
    Ok((answer(core, sequence)?, keys.collect()))
}

/// What became of the photos of an enrolment that recorded these.
fn mark(looked: &mut [Looked], keys: &HashSet<u64>) {
    let mut first = HashSet::new();
    for it in looked {
        let Some((photo, _)) = &it.face else { continue };
        let recorded = keys.contains(&photo.key) && first.insert(photo.key);
        it.result.set_outcome(match recorded {
            true => PhotoOutcome::Enrolled,
            false => PhotoOutcome::AlreadyEnrolled,
        });
    }
}
