//! rollcalld: one writer, a catalog, gRPC and HTTP, live updates.
//!
//! [`core`] holds the truth; everything else is the edge: it checks what comes in, asks the core,
//! and turns the answers into the API of `server/proto`. [`Server`] starts and stops all of it:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use rollcall_server::{Server, Vision, config::Config};
//! let config = Config::default();
//! let vision = Vision::find(&config)?;
//! let server = Server::start(config, vision).await?;
//! println!("listening on {}", server.grpc());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

// The truth and its views.
pub mod core;
pub mod time;

// Settings, and taking everything up and down.
pub mod build;
mod calibration;
mod check;
mod clustering;
pub mod config;
mod disk;
mod doctor;
mod edge;
mod eraser;
mod hex;
mod http;
pub mod offline_index;
mod serve;
mod shutdown;
mod tls;
mod vision;
mod web;

// What calls go through.
pub mod access;
pub mod audit;
mod error;
mod feed;
mod grpc_layer;
mod metrics;
mod migration;
mod page;
mod photo_pool;
mod pool;
mod receipt;
mod repair;
mod service;
mod status;

// Telling of alerts.
mod webhook;

// Sources and their workers.
mod source_uri;
mod sources;
mod supervisor;
mod url_mask;
mod worker;

pub use check::{CheckError, CheckOptions, CheckReport, DAMAGED_SHOWN_MAX, DamagedBlob, check};
pub use doctor::{Finding, Health, doctor};
pub use edge::Collection;
pub use photo_pool::MakeReader;
pub use receipt::{Verified, verify_erasures};
pub use serve::{Server, StartError};
pub use status::DOMAIN;
pub use tls::TlsError;
pub use vision::{InService, LoadModels, LoadedModels, MakeEmbedder, Vision};

/// The public API, generated from `server/proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod pb {
    tonic::include_proto!("rollcall.v1");
}

/// The API's descriptors, for reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rollcall.v1.bin"));

/// The same cases each time, and none written to disk.
#[cfg(test)]
fn test_config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
