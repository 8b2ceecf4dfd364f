//! The API over a real connection: a server with fake models on a free port, observations of a
//! remote source.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "helpers of tests, used by tests alone"
)]

mod access;
mod alerts;
mod clustering;
mod confidence;
mod edits;
mod endpoint;
mod enrol;
mod errors;
mod facts;
mod hri;
mod http;
mod live;
mod migration;
mod offline_index;
mod page;
mod people;
mod privacy;
mod repair;
mod review;
mod sources;
mod support;
mod track_faces;
mod watchers;
mod webhooks;
