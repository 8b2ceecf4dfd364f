//! Edits beside a model of plain maps, taken back, and cut off by failing storage.

pub(in crate::core) mod crash;
mod law;
mod model;
mod world;

use super::{Change, Edit, ProfileUpdate};
use crate::core::WriteError;
use crate::error::ApiError;

fn edit(change: Change) -> Edit {
    Edit {
        change,
        author: "tester".to_owned(),
        reason: "because".to_owned(),
        request_id: String::new(),
    }
}

fn named(name: &str) -> ProfileUpdate {
    ProfileUpdate {
        name: Some(name.to_owned()),
        ..ProfileUpdate::default()
    }
}

fn create(name: &str) -> Edit {
    edit(Change::Create {
        update: named(name),
        allow_duplicate_name: false,
    })
}

fn update(identity_id: u64, update: ProfileUpdate) -> Edit {
    edit(Change::Update {
        identity_id,
        etag: None,
        update,
        allow_duplicate_name: false,
    })
}

fn merge(from: u64, into: u64) -> Edit {
    edit(Change::Merge {
        from,
        into,
        from_etag: None,
        into_etag: None,
    })
}

fn undo(sequence: u64) -> Edit {
    edit(Change::Undo {
        sequence,
        allow_duplicate_name: false,
    })
}

fn reason(error: WriteError) -> &'static str {
    ApiError::from(error).reason()
}
