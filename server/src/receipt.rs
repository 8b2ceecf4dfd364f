//! An erasure's receipt: what it comes to, so that two people can tell that they speak of the same; and whether it is
//! true.

use crate::check::{CheckError, OpenedLog, view_options};
use crate::core::{OpenError, Opening, keys_left, scope_name, traces, views_left};
use crate::hex::to_hex;
use prost::Message as _;
use rollcall_log::record::{Body, ErasureBegun, Record};
use rollcall_log::{BlobError, LogId, LogReader};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// SHA-256 over the log's id and the records that began and ended an erasure, in 64 hex digits.
pub(crate) fn receipt(log: &LogId, begun: &Record, ended: &Record) -> String {
    let mut hash = Sha256::new();
    hash.update(b"rollcall erasure 1");
    hash.update(log.to_string());
    for record in [begun, ended] {
        let bytes = record.encode_to_vec();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    to_hex(&hash.finalize())
}

/// What `rollcalld erase verify` finds of one erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The record that began it.
    pub erasure: u64,
    /// `identity`, `tracks`, `source` or `retention`.
    pub scope: &'static str,
    /// Sightings and photos that it names.
    pub tracks: usize,
    /// Keys that it was to destroy.
    pub keys: usize,
    /// As the server gives it; `None` while the erasure is not through.
    pub receipt: Option<String>,
    /// What is still there; empty: nothing.
    pub left: Vec<String>,
}

/// Looks for what was erased from a data folder whose server does not run: keys, rows of the catalog, faces of the
/// index; and payloads, where a key is there or there were none yet (without its key a payload cannot be told from
/// others any more).
///
/// # Errors
/// [`CheckError`]: the folder cannot be read, or is in use.
pub fn verify_erasures(data: &Path) -> Result<Vec<Verified>, CheckError> {
    let opened = OpenedLog::of(data)?;
    let log = opened.log.reader();
    let mut begun: BTreeMap<u64, (Record, Option<Record>)> = BTreeMap::new();
    for record in log.read_after(0) {
        let record = record?;
        match &record.body {
            Some(Body::ErasureBegun(_)) => {
                begun.insert(record.sequence, (record, None));
            }
            Some(Body::ErasureEnded(ended)) => {
                if let Some(entry) = begun.get_mut(&ended.erasure) {
                    entry.1 = Some(record);
                }
            }
            Some(_) | None => {}
        }
    }
    let mut all = Vec::with_capacity(begun.len());
    for (begun, ended) in begun.values() {
        all.push(in_log(&log, begun, ended.as_ref())?);
    }
    // It is opened again with the views.
    drop((log, opened.log));
    let truth = Opening::of(data)?.finish(&view_options(data, opened.contract))?;
    for ((begun, _), verified) in begun.values().zip(&mut all) {
        let Some(Body::ErasureBegun(what)) = &begun.body else {
            continue;
        };
        let left = views_left(&truth, what).map_err(OpenError::from)?;
        verified.left.extend(left);
    }
    Ok(all)
}

fn in_log(log: &LogReader, begun: &Record, ended: Option<&Record>) -> Result<Verified, CheckError> {
    let none = ErasureBegun::default();
    let what = match &begun.body {
        Some(Body::ErasureBegun(what)) => what,
        Some(_) | None => &none,
    };
    let mut left = keys_left(log, what);
    // Payloads whose keys are gone cannot be found any more, nor read; others are from before there were keys.
    if left.is_empty() && what.keys.len() >= what.track_ids.len() {
        return Ok(verified(log, (begun, ended), what, left));
    }
    let found = traces(log, what)?;
    for blob in &found.blobs {
        let (segment, offset) = (blob.segment, blob.offset);
        match log.is_overwritten(blob) {
            Ok(true) | Err(BlobError::Missing { .. }) => {}
            Ok(false) => left.push(format!(
                "blob segment {segment}, byte {offset} is still there"
            )),
            Err(error) => left.push(error.to_string()),
        }
    }
    Ok(verified(log, (begun, ended), what, left))
}

fn verified(
    log: &LogReader,
    (begun, ended): (&Record, Option<&Record>),
    what: &ErasureBegun,
    left: Vec<String>,
) -> Verified {
    Verified {
        erasure: begun.sequence,
        scope: scope_name(what.scope()),
        tracks: what.track_ids.len(),
        keys: what.keys.len(),
        receipt: ended.map(|ended| receipt(&log.id(), begun, ended)),
        left,
    }
}
