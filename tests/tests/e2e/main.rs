//! End to end, through public interfaces only: the programs `rollcalld`, `rollcall-ingest` and `rollcall` as users start
//! them, the gRPC API by way of the client library and of a client written by others, HTTP, and the log's files.
//!
//! Inference is real. Most tests use the small demo clip (14 s, three people) that set-up composes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod alerts;
mod bad_photo;
mod bad_start;
mod bad_video;
mod clip;
mod edits;
mod extract;
mod full_disk;
mod keys;
mod kill;
mod killed_edits;
mod metrics;
mod migration;
mod python;
mod restart;
mod tls;
mod watch;
