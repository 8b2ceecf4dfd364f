//! The services of the API, one file each.

mod admin;
mod alert;
mod alert_check;
mod edit;
mod enrol;
mod explain;
mod facts;
mod follow;
mod identity;
mod ingest;
mod observe_check;
mod privacy;
mod query;
mod recluster;
mod review;
mod scope;
mod search;
mod sighting;
mod source;
mod track_faces;
mod watch;
mod watch_filter;

pub(crate) use admin::Admin;
pub(crate) use alert::Alerts;
pub(crate) use identity::Identities;
pub(crate) use ingest::Ingest;
pub(crate) use observe_check::{Checked, Checker, Unfit};
pub(crate) use privacy::Privacy;
pub(crate) use query::Query;
pub(crate) use search::Search;
pub(crate) use sighting::Sightings;
pub(crate) use source::SourceDoor;
pub(crate) use watch::{Watch, start as watch};

use crate::time::{now_us, timestamp};
use prost_types::Timestamp;

/// The wall clock, for heartbeats.
fn now() -> Timestamp {
    timestamp(now_us())
}
