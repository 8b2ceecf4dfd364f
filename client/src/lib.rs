//! Typed async client of a Rollcall server: search by picture or embedding, identities, sources,
//! sightings, and the stream of events.
//!
//! Requests and answers are the messages of the public API (`server/proto`), re-exported as
//! [`pb`]; this crate adds what a caller would otherwise write by hand: one connection for every
//! service, deadlines, [typed errors](Error), retries of reads while the server is not there,
//! request ids, paging, and a [`Watch`] that survives restarts without losing an event.
//!
//! ```no_run
//! use rollcall_client::{Client, ClientOptions, pb};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:50551", ClientOptions::default()).await?;
//! let image = std::fs::read("photo.jpg")?;
//! let answer =
//!     client.search_image(pb::SearchImageRequest { image, ..Default::default() }).await?;
//! for hit in &answer.hits {
//!     let identity = hit.identity.clone().unwrap_or_default();
//!     println!("identity {} ({}): cosine {:.3}", identity.id, identity.name, hit.cosine);
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod client;
mod error;
mod options;
mod pages;
mod photo;
mod random;
pub mod time;
mod watch;

/// The messages of the API `rollcall.v1`, as generated from `server/proto`, and the bare gRPC
/// clients beneath [`Client`].
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod pb {
    tonic::include_proto!("rollcall.v1");
}

pub use client::Client;
pub use error::{Error, ServerError, code_name};
pub use options::{ClientOptions, Key, Tls};
pub use pages::{Identities, Review, Sightings, Sources};
pub use photo::{IMAGE_BYTES_MAX, PhotoFault, check_photo};
pub use tonic::Code;
pub use watch::{Follow, TrackFaces, Watch, WatchFrom, WatchItem, WatchOptions};
