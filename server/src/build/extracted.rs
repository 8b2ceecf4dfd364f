//! A folder that `rollcall-ingest extract` wrote, as a source.

use super::{BuildError, Material};
use crate::core::{NewSource, Observed, shown_attributes as shown};
use crate::pb;
use crate::time::{duration, timestamp};
use rollcall_ingest::extracted::{Extracted, ExtractedError, ExtractedLog, Told, WholeTrack};
use rollcall_log::record::{Exemplar, FaceBox};
use std::path::Path;

/// Faces in an observation at most: what a run may send.
const FACES_MAX: usize = 4096;

/// Opens the folder.
pub(super) fn open(folder: &Path, partial: bool) -> Result<Extracted, BuildError> {
    let one = Extracted::open(folder)?;
    if !partial && !one.ended {
        let what = "the extraction did not come to its end; extract it again, or take what there is with --partial";
        return Err(one.wrong(what.to_owned()).into());
    }
    Ok(one)
}

impl Material for Extracted {
    fn place(&self) -> &Path {
        self.folder()
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

    fn id(&self) -> String {
        self.id.clone()
    }

    fn tracks(&self) -> u64 {
        self.tracks
    }

    fn read(self: Box<Self>, take: &mut dyn FnMut(Observed) -> bool) -> Result<(), BuildError> {
        let (mut end_us, mut more) = (0, true);
        let log = self.log()?;
        log.tell::<BuildError>(|told| {
            more = match told {
                Told::Track(track) => {
                    end_us = end_us.max(track.last.end_us);
                    observations(&log, *track)?.into_iter().all(&mut *take)
                }
                Told::Checkpoint {
                    complete_up_to_us,
                    frame,
                } => take(Observed::Checkpoint(pb::Checkpoint {
                    complete_up_to: Some(duration(complete_up_to_us)),
                    complete_up_to_frame: frame,
                })),
            };
            Ok(more)
        })?;
        if more {
            take(finished(end_us));
        }
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

/// A track's observations: one, unless it has very many faces.
fn observations(of: &ExtractedLog<'_>, track: WholeTrack) -> Result<Vec<Observed>, ExtractedError> {
    let WholeTrack {
        last,
        faces,
        exemplars,
    } = track;
    let exemplars = exemplars.into_values();
    let exemplars: Result<Vec<_>, _> = exemplars.map(|each| exemplar(of, each)).collect();
    // Decided on once, with all that is known.
    let mut exemplars = exemplars?;
    let mut parts: Vec<&[FaceBox]> = faces.chunks(FACES_MAX).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let count = parts.len();
    let observation = |(number, faces): (usize, &[FaceBox])| {
        Observed::Track(pb::TrackObservation {
            track_key: last.track_key,
            revision: u32::try_from(number + 1).unwrap_or(u32::MAX),
            closed: number + 1 == count,
            start: Some(duration(last.start_us)),
            end: Some(duration(last.end_us)),
            start_frame: last.start_frame,
            end_frame: last.end_frame,
            wall_start: Some(timestamp(last.wall_start_us)),
            faces: faces.iter().map(face).collect(),
            exemplars: std::mem::take(&mut exemplars),
            dropped_exemplars: Vec::new(),
            attributes: shown(&last.attributes),
        })
    };
    Ok(parts.into_iter().enumerate().map(observation).collect())
}

fn exemplar(
    of: &ExtractedLog<'_>,
    exemplar: Exemplar,
) -> Result<pb::ObservedExemplar, ExtractedError> {
    Ok(pb::ObservedExemplar {
        number: exemplar.number,
        face: exemplar.face.as_ref().map(face),
        embedding: of.blob(exemplar.embedding.as_ref())?,
        crop: of.blob(exemplar.crop.as_ref())?,
        loose_crop: of.blob(exemplar.loose_crop.as_ref())?,
        quality: exemplar.quality,
        landmarks: exemplar.landmarks,
    })
}

fn face(face: &FaceBox) -> pb::ObservedFace {
    pb::ObservedFace {
        frame: face.frame,
        time: Some(duration(face.time_us)),
        r#box: Some(face.into()),
        confidence: face.confidence,
    }
}
