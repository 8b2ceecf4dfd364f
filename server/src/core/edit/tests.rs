//! Edits beside a model of plain maps, taken back, and cut off by failing storage.

pub(in crate::core) mod crash;
mod enrol;
mod facts;
mod law;
mod model;
mod model_undo;
mod track_steps;
mod world;

use super::{Change, Edit, Person, Photo, ProfileUpdate, Target};
use crate::core::WriteError;
use crate::core::tests::{CONTRACT, face};
use crate::error::ApiError;
use rollcall_log::record::FaceBox;

pub(in crate::core) fn edit(change: Change) -> Edit {
    Edit {
        change,
        author: "tester".to_owned(),
        reason: "because".to_owned(),
        request_id: String::new(),
    }
}

pub(in crate::core) fn named(name: &str) -> ProfileUpdate {
    ProfileUpdate {
        name: Some(name.to_owned()),
        ..ProfileUpdate::default()
    }
}

pub(in crate::core) fn create(name: &str) -> Edit {
    edit(Change::Create {
        update: named(name),
        allow_duplicate_name: false,
    })
}

pub(in crate::core) fn update(identity_id: u64, update: ProfileUpdate) -> Edit {
    edit(Change::Update {
        identity_id,
        etag: None,
        update,
        allow_duplicate_name: false,
    })
}

pub(in crate::core) fn merge(from: u64, into: u64) -> Edit {
    edit(Change::Merge {
        from,
        into,
        from_etag: None,
        into_etag: None,
    })
}

pub(in crate::core) fn undo(sequence: u64) -> Edit {
    edit(Change::Undo {
        sequence,
        allow_duplicate_name: false,
        partial: false,
    })
}

pub(in crate::core) fn partial_undo(sequence: u64) -> Edit {
    edit(Change::Undo {
        sequence,
        allow_duplicate_name: false,
        partial: true,
    })
}

pub(in crate::core) fn move_tracks(track_ids: &[u64], into: u64) -> Edit {
    edit(Change::Move {
        track_ids: track_ids.to_vec(),
        into: Target::Identity {
            id: into,
            etag: None,
        },
    })
}

pub(in crate::core) fn move_into_new(track_ids: &[u64], name: &str) -> Edit {
    edit(Change::Move {
        track_ids: track_ids.to_vec(),
        into: Target::New {
            name: name.to_owned(),
            allow_duplicate_name: false,
        },
    })
}

pub(in crate::core) fn split(identity_id: u64, track_ids: &[u64], name: &str) -> Edit {
    edit(Change::Split {
        identity_id,
        etag: None,
        track_ids: track_ids.to_vec(),
        name: name.to_owned(),
        allow_duplicate_name: false,
    })
}

pub(in crate::core) fn link(track_ids: &[u64]) -> Edit {
    edit(Change::Link {
        track_ids: track_ids.to_vec(),
        etag: None,
    })
}

pub(in crate::core) fn separate(identity_id: u64, other_identity_id: u64) -> Edit {
    edit(Change::SeparateIdentities {
        identity_id,
        other_identity_id,
        etag: None,
        other_etag: None,
    })
}

pub(in crate::core) fn separate_tracks(track_id: u64, other_track_id: u64) -> Edit {
    edit(Change::SeparateTracks {
        track_id,
        other_track_id,
    })
}

pub(in crate::core) fn reject(identity_id: u64, track_ids: &[u64]) -> Edit {
    edit(Change::Reject {
        identity_id,
        etag: None,
        track_ids: track_ids.to_vec(),
    })
}

/// Photos 0 to 5: of persons 0 to 2, two each.
pub(in crate::core) fn enrol(person: Person, photos: &[u64]) -> Edit {
    let one = |number: &u64| {
        let who = usize::try_from(number / 2).unwrap();
        let noise = if number.is_multiple_of(2) { 0.0 } else { 0.1 };
        Photo {
            key: 1000 + number,
            face: FaceBox::default(),
            landmarks: Vec::new(),
            quality: 0.9,
            embedding: face(who, noise).to_f16_bytes(),
            crop: format!("crop of {number}").into_bytes(),
            loose_crop: format!("loose crop of {number}").into_bytes(),
        }
    };
    edit(Change::Enrol {
        person,
        contract: CONTRACT.to_owned(),
        photos: photos.iter().map(one).collect(),
    })
}

pub(in crate::core) fn enrol_known(id: u64, photos: &[u64]) -> Edit {
    enrol(Person::Known { id, etag: None }, photos)
}

pub(in crate::core) fn enrol_new(name: &str, photos: &[u64]) -> Edit {
    let person = Person::New {
        update: named(name),
        allow_duplicate_name: false,
    };
    enrol(person, photos)
}

pub(in crate::core) fn forget(fact_id: u64) -> Edit {
    edit(Change::Forget { fact_id })
}

fn reason(error: WriteError) -> &'static str {
    ApiError::from(error).reason()
}
