//! A folder that `rollcall-ingest extract` wrote: its log, track by track.

use super::{BuildError, Material};
use crate::core::{NewSource, Observed};
use crate::pb;
use crate::time::{duration, timestamp};
use rollcall_log::record::{
    Attribute, BlobRef, Body, Exemplar, FaceBox, Record, SourceState, TrackObserved,
};
use rollcall_log::{FileStorage, Log, LogOptions, LogReader};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Faces in an observation at most: what a run may send.
const FACES_MAX: usize = 4096;
const LOG: &str = "log";
const LINES: &str = "tracks.jsonl";

/// An extracted folder.
pub(super) struct Extracted {
    folder: PathBuf,
    log: Log,
    uri: String,
    name: String,
    contract: String,
    dimension: usize,
    pipeline: String,
    tracks: u64,
}

impl Extracted {
    /// Whether the folder looks like one.
    pub(super) fn is_one(folder: &Path) -> bool {
        folder.join(LOG).is_dir() && folder.join(LINES).is_file()
    }

    /// Reads how it begins and how it ends.
    pub(super) fn open(folder: &Path, partial: bool) -> Result<Self, BuildError> {
        let of_log = |source| BuildError::Log {
            path: folder.to_owned(),
            source,
        };
        let storage = FileStorage::open(folder.join(LOG)).map_err(of_log)?;
        let (log, _) = Log::open(Arc::new(storage), LogOptions::default()).map_err(of_log)?;
        let mut one = Self {
            folder: folder.to_owned(),
            log,
            uri: String::new(),
            name: String::new(),
            contract: String::new(),
            dimension: 0,
            pipeline: String::new(),
            tracks: count_lines(&folder.join(LINES))?,
        };
        let mut state = None;
        for record in one.log.reader().read_after(0) {
            match record.map_err(|why| one.wrong(why.to_string()))?.body {
                Some(Body::CollectionOpened(opened)) => {
                    one.dimension = usize::try_from(opened.dimension).unwrap_or(usize::MAX);
                    one.contract = opened.contract;
                }
                Some(Body::SourceAdded(source)) => (one.uri, one.name) = (source.uri, source.name),
                Some(Body::SourceRunStarted(run)) => one.pipeline = run.pipeline,
                Some(Body::SourceStateChanged(change)) => state = Some(change.state()),
                _ => {}
            }
        }
        if one.contract.is_empty() || one.uri.is_empty() {
            return Err(one.wrong("its log does not begin as an extraction's does".to_owned()));
        }
        if !partial && state != Some(SourceState::Ended) {
            let what = "the extraction did not come to its end; extract it again, or take what there is with --partial";
            return Err(one.wrong(what.to_owned()));
        }
        // The name under which a server would know the file.
        if let Ok(path) = Path::new(&one.uri).canonicalize() {
            one.uri = path.display().to_string();
        }
        Ok(one)
    }

    fn wrong(&self, what: String) -> BuildError {
        BuildError::Extraction {
            path: self.folder.clone(),
            what,
        }
    }

    /// All observations of a track that is complete.
    fn observations(&self, log: &LogReader, track: Open) -> Result<Vec<Observed>, BuildError> {
        let last = track.last;
        let mut exemplars = Vec::new();
        for exemplar in track.exemplars.into_values() {
            exemplars.push(self.exemplar(log, exemplar)?);
        }
        let mut parts: Vec<Vec<pb::ObservedFace>> = track
            .faces
            .chunks(FACES_MAX)
            .map(|part| part.iter().map(face).collect())
            .collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let count = parts.len();
        let mut observations = Vec::with_capacity(count);
        for (number, faces) in parts.into_iter().enumerate() {
            observations.push(Observed::Track(pb::TrackObservation {
                track_key: last.track_key,
                revision: u32::try_from(number + 1).unwrap_or(u32::MAX),
                closed: number + 1 == count,
                start: Some(duration(last.start_us)),
                end: Some(duration(last.end_us)),
                start_frame: last.start_frame,
                end_frame: last.end_frame,
                wall_start: Some(timestamp(last.wall_start_us)),
                faces,
                // Decided on once, with all that is known.
                exemplars: std::mem::take(&mut exemplars),
                dropped_exemplars: Vec::new(),
                attributes: last.attributes.iter().map(attribute).collect(),
            }));
        }
        Ok(observations)
    }

    fn exemplar(
        &self,
        log: &LogReader,
        exemplar: Exemplar,
    ) -> Result<pb::ObservedExemplar, BuildError> {
        let blob = |reference: &Option<BlobRef>| match reference {
            None => Ok(Vec::new()),
            Some(reference) => log
                .blob(reference)
                .map_err(|why| self.wrong(format!("exemplar {}: {why}", exemplar.exemplar_id))),
        };
        Ok(pb::ObservedExemplar {
            number: exemplar.number,
            face: exemplar.face.as_ref().map(face),
            embedding: blob(&exemplar.embedding)?,
            crop: blob(&exemplar.crop)?,
            loose_crop: blob(&exemplar.loose_crop)?,
            quality: exemplar.quality,
            landmarks: exemplar.landmarks,
        })
    }
}

impl Material for Extracted {
    fn place(&self) -> &Path {
        &self.folder
    }

    fn source(&self) -> NewSource {
        NewSource {
            uri: self.uri.clone(),
            name: self.name.clone(),
            kind: pb::SourceKind::File,
            realtime: false,
            author: String::new(),
            request_id: String::new(),
        }
    }

    fn contract(&self) -> (&str, usize) {
        (&self.contract, self.dimension)
    }

    fn pipeline(&self) -> String {
        self.pipeline.clone()
    }

    fn tracks(&self) -> u64 {
        self.tracks
    }

    fn read(self: Box<Self>, take: &mut dyn FnMut(Observed) -> bool) -> Result<(), BuildError> {
        let log = self.log.reader();
        let mut open: HashMap<u64, Open> = HashMap::new();
        let mut position_us = 0;
        for record in log.read_after(0) {
            let Record { body, .. } = record.map_err(|why| self.wrong(why.to_string()))?;
            let more = match body {
                Some(Body::TrackObserved(track)) => {
                    position_us = position_us.max(track.end_us);
                    let (id, closed) = (track.track_id, track.closed);
                    match open.remove(&id) {
                        Some(mut known) => {
                            known.grow(track);
                            open.insert(id, known);
                        }
                        None => drop(open.insert(id, Open::new(track))),
                    }
                    let done = closed.then(|| open.remove(&id)).flatten();
                    let done = done
                        .map(|track| self.observations(&log, track))
                        .transpose()?;
                    done.into_iter().flatten().all(&mut *take)
                }
                Some(Body::SourceProgress(progress)) => {
                    take(Observed::Checkpoint(pb::Checkpoint {
                        complete_up_to: Some(duration(progress.complete_up_to_us)),
                        complete_up_to_frame: progress.complete_up_to_frame,
                    }))
                }
                _ => true,
            };
            if !more {
                return Ok(());
            }
        }
        let mut rest: Vec<Open> = open.into_values().collect();
        rest.sort_by_key(|track| track.last.track_id);
        for track in rest {
            if !self.observations(&log, track)?.into_iter().all(&mut *take) {
                return Ok(());
            }
        }
        take(finished(position_us));
        Ok(())
    }
}

/// The end of a source.
pub(super) fn finished(position_us: i64) -> Observed {
    Observed::Finished(pb::Finished {
        state: pb::SourceState::Ended.into(),
        error: None,
        position: Some(duration(position_us)),
    })
}

/// A track as its records so far have it.
struct Open {
    last: TrackObserved,
    faces: Vec<FaceBox>,
    /// By number.
    exemplars: BTreeMap<u32, Exemplar>,
}

impl Open {
    fn new(track: TrackObserved) -> Self {
        let mut open = Self {
            last: TrackObserved::default(),
            faces: Vec::new(),
            exemplars: BTreeMap::new(),
        };
        open.grow(track);
        open
    }

    fn grow(&mut self, mut track: TrackObserved) {
        self.faces.append(&mut track.boxes);
        let dropped = std::mem::take(&mut track.dropped_exemplar_ids);
        self.exemplars
            .retain(|_, exemplar| !dropped.contains(&exemplar.exemplar_id));
        for exemplar in track.exemplars.drain(..) {
            self.exemplars.insert(exemplar.number, exemplar);
        }
        self.last = track;
    }
}

fn face(face: &FaceBox) -> pb::ObservedFace {
    pb::ObservedFace {
        frame: face.frame,
        time: Some(duration(face.time_us)),
        r#box: Some(pb::Box {
            x: face.x,
            y: face.y,
            width: face.width,
            height: face.height,
        }),
        confidence: face.confidence,
    }
}

fn attribute(attribute: &Attribute) -> pb::Attribute {
    pb::Attribute {
        name: attribute.name.clone(),
        label: attribute.label.clone(),
        value: attribute.value,
        spread: attribute.spread,
        faces: attribute.faces,
        unit: attribute.unit.clone(),
    }
}

fn count_lines(path: &Path) -> Result<u64, BuildError> {
    let failed = |source| BuildError::Io {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf().map_err(failed)?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        let here = buffer.iter().filter(|byte| **byte == b'\n').count();
        lines += u64::try_from(here).unwrap_or(0);
        let length = buffer.len();
        reader.consume(length);
    }
}
