//! The log from outside: what it promises, under every failure that its storage can show.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

mod damage;
mod faults;
mod files;
mod fixture;
mod limits;
mod model;
mod readers;

use std::sync::Arc;

use rollcall_log::record::{BlobRef, Body, Exemplar, IdentityRenamed, Record, TrackObserved};
use rollcall_log::{Log, LogId, LogOptions, LogReader, MemoryStorage, OpenError, OpenReport};

/// Small enough for a few commits to fill several segments.
pub(crate) const SMALL: LogOptions = LogOptions {
    segment_bytes_max: 700,
    blob_segment_bytes_max: 900,
};

pub(crate) const ID: LogId = LogId::from_bytes(*b"a log for tests.");

pub(crate) fn open(storage: &MemoryStorage) -> Result<(Log, OpenReport), OpenError> {
    Log::open_or_create_as(Arc::new(storage.clone()), SMALL, ID)
}

/// A record of about `bytes` bytes.
pub(crate) fn named(name: &str, bytes: usize) -> Record {
    let body = IdentityRenamed {
        identity_id: 7,
        name: name.to_owned() + &"x".repeat(bytes),
    };
    Record {
        time_us: 1_700_000_000_000_000,
        author: "system".to_owned(),
        body: Some(Body::IdentityRenamed(body)),
        ..Record::default()
    }
}

/// A record that refers to blobs.
pub(crate) fn observed(key: u64, blobs: &[BlobRef]) -> Record {
    let exemplar = |blob: &BlobRef| Exemplar {
        crop: Some(blob.clone()),
        ..Exemplar::default()
    };
    let exemplars = blobs.iter().map(exemplar).collect();
    let track = TrackObserved {
        track_key: key,
        exemplars,
        ..TrackObserved::default()
    };
    Record {
        body: Some(Body::TrackObserved(track)),
        ..Record::default()
    }
}

/// The blobs that a record refers to.
pub(crate) fn blobs_of(record: &Record) -> Vec<BlobRef> {
    match &record.body {
        Some(Body::TrackObserved(track)) => track
            .exemplars
            .iter()
            .filter_map(|exemplar| exemplar.crop.clone())
            .collect(),
        _ => Vec::new(),
    }
}

/// Every durable record, checked to be numbered without a gap.
pub(crate) fn all(reader: &LogReader) -> Vec<Record> {
    let records: Vec<Record> = reader.read_after(0).map(Result::unwrap).collect();
    assert_eq!(records.len() as u64, reader.durable_sequence());
    for (record, sequence) in records.iter().zip(1..) {
        assert_eq!(record.sequence, sequence);
    }
    records
}
