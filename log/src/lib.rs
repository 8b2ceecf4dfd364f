//! The truth of Rollcall: an append-only, checksummed log of records, with erasable blobs beside it.
//!
//! A record says what happened (a source was added, a track observed, an identity named) and gets
//! the next sequence number. Payloads that may have to be forgotten (embeddings, crops) lie apart,
//! as blobs, and the record carries a [`record::BlobRef`] with their digest. Everything else in
//! Rollcall, index and catalog, is a view that can be rebuilt from here.
//!
//! The promise: once [`Log::sync`] has returned a sequence, every record up to it, and every blob
//! such a record refers to, survives a crash and a power cut, or the next [`Log::open`] says what
//! is damaged. `FORMAT.md` describes the bytes, so that a stranger could read them.
//!
//! ```
//! use std::sync::Arc;
//! use rollcall_log::record::{Body, CollectionOpened, Record};
//! use rollcall_log::{Log, LogOptions, MemoryStorage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Arc::new(MemoryStorage::new()); // FileStorage::open(folder)? for real
//! let (mut log, _report) = Log::open(storage, LogOptions::default())?;
//! let opened = CollectionOpened { contract: "demo".into(), dimension: 512 };
//! let sequence = log.append(Record {
//!     time_us: 1_700_000_000_000_000,
//!     author: "system".into(),
//!     body: Some(Body::CollectionOpened(opened)),
//!     ..Record::default()
//! })?;
//! let crop = log.put_blob(b"any bytes")?;
//! assert_eq!(log.reader().read_after(0).count(), 0); // not durable yet
//! log.sync()?;
//! let first = log.reader().read_after(0).next().expect("one record")?;
//! assert_eq!(first.sequence, sequence);
//! assert_eq!(log.reader().blob(&crop)?, b"any bytes");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod blob_tail;
mod blobs;
mod cipher;
mod directory;
mod error;
mod format;
mod id;
mod keys;
mod log;
mod open;
mod pending;
mod reader;
pub mod record;
mod seal;
mod segment;
pub mod storage;
mod walk;

pub use error::{AppendError, BlobError, EraseError, OpenError, ReadError};
pub use format::{BLOB_BYTES_MAX, FORMAT_VERSION, FORMAT_VERSION_FIRST, RECORD_BYTES_MAX};
pub use id::{LogId, LogIdError};
pub use log::{Log, LogOptions, PENDING_RECORD_BYTES_MAX};
pub use open::{OpenReport, TornTail};
pub use reader::{LogReader, LogSize, Records};
pub use storage::{Access, FileStorage, MemoryStorage, Storage, StorageFile, StorageLock};
