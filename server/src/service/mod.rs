//! The services of the API, one file each.

mod admin;
mod follow;
mod identity;
mod ingest;
mod observe_check;
mod query;
mod search;
mod sighting;
mod source;
mod watch;

pub use admin::Admin;
pub use identity::Identities;
pub use ingest::Ingest;
pub use search::Search;
pub use sighting::Sightings;
pub use source::SourceDoor;
pub use watch::Watch;

use crate::time::{now_us, timestamp};
use prost_types::Timestamp;

/// The wall clock, for heartbeats.
fn now() -> Timestamp {
    timestamp(now_us())
}
