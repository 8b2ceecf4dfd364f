//! The API over a real connection: a server with fake models on a free port, observations of a
//! remote source.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "helpers of tests, used by tests alone"
)]

mod edits;
mod errors;
mod facts;
mod http;
mod live;
mod offline_index;
mod people;
mod sources;
mod support;
