//! The index, made from the log alone.

use super::apply::seen_us;
use super::replay::{OpenError, embedding_of};
use rayon::prelude::*;
use rollcall_index::{
    Builder, FaceId, IdentityId, Index, MemoryBudget, Operation, SourceId, TrackId,
};
use rollcall_log::record::{BlobRef, Body};
use rollcall_log::{LogReader, ReadError};
use std::collections::{BTreeMap, HashMap};

/// Faces given to the index at once: enough for all threads to encode them.
pub(crate) const FACES_AT_ONCE: usize = 8192;

/// A face that is still there.
pub(crate) struct Survivor {
    pub(crate) face: u64,
    pub(crate) identity: u64,
    track: u64,
    source: u64,
    seen_us: i64,
    quality: f32,
    embedding: BlobRef,
}

impl Survivor {
    /// What inserts it into an index. Cost: its embedding is read.
    pub(crate) fn insert(&self, log: &LogReader) -> Result<Operation, OpenError> {
        Ok(Operation::Insert {
            face: FaceId::new(self.face),
            identity: IdentityId::new(self.identity),
            track: TrackId::new(self.track),
            source: SourceId::new(self.source),
            seen_us: self.seen_us,
            quality: self.quality,
            attributes: 0,
            embedding: embedding_of(log, self.face, &self.embedding)?,
        })
    }
}

/// The faces that are still there after record `sequence`, by identity, then by id.
pub(crate) fn survivors(log: &LogReader, sequence: u64) -> Result<Vec<Survivor>, ReadError> {
    let mut faces: BTreeMap<u64, Survivor> = BTreeMap::new();
    let mut tracks: HashMap<u64, (u64, Vec<u64>)> = HashMap::new();
    for record in log.read_after(0) {
        let record = record?;
        if record.sequence > sequence {
            break;
        }
        match record.body {
            Some(Body::TrackObserved(track)) => {
                for dropped in &track.dropped_exemplar_ids {
                    faces.remove(dropped);
                }
                let entry = tracks.entry(track.track_id).or_default();
                entry.0 = track.decision.as_ref().map_or(entry.0, |d| d.identity_id);
                for exemplar in &track.exemplars {
                    let Some(embedding) = exemplar.embedding.clone() else {
                        continue;
                    };
                    let time_us = exemplar.face.map_or(track.start_us, |f| f.time_us);
                    entry.1.push(exemplar.exemplar_id);
                    let survivor = Survivor {
                        face: exemplar.exemplar_id,
                        identity: 0,
                        track: track.track_id,
                        source: track.source_id,
                        seen_us: seen_us(&track, time_us),
                        quality: exemplar.quality,
                        embedding,
                    };
                    faces.insert(survivor.face, survivor);
                }
            }
            Some(Body::TrackRetracted(track)) => {
                for face in tracks.remove(&track.track_id).unwrap_or_default().1 {
                    faces.remove(&face);
                }
            }
            _ => {}
        }
    }
    let mut faces: Vec<Survivor> = faces.into_values().collect();
    // Whose a track is may have changed since a face of it was seen.
    for face in &mut faces {
        face.identity = tracks.get(&face.track).map_or(0, |track| track.0);
    }
    faces.sort_unstable_by_key(|face| (face.identity, face.face));
    Ok(faces)
}

/// Fills an empty index from the log, and makes it durable: first who is still there and whose each
/// track is, then one read an embedding. `progress` gets how many faces are done, and of how many.
pub(crate) fn fill_index(
    index: Index,
    log: &LogReader,
    budget: MemoryBudget,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Index, OpenError> {
    let sequence = log.durable_sequence();
    let faces = survivors(log, sequence)?;
    let mut builder = Builder::new(index, budget.bytes())?;
    let mut done = 0;
    // An identity's faces together: they then lie together, and are summed up once.
    for some in faces.chunks(FACES_AT_ONCE) {
        let inserts: Result<Vec<_>, _> = some.par_iter().map(|face| face.insert(log)).collect();
        builder.add(&inserts?)?;
        done += some.len();
        progress(done, faces.len());
    }
    Ok(builder.finish(sequence)?)
}
