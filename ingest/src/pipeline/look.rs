//! Looking for faces in one frame, if its turn has come.

use std::time::Instant;

use rollcall_index::Embedding;

use super::{PipelineSettings, Vision, schedule::Schedule};
use crate::{
    align::{AlignedCrop, align, loose_crop},
    detect::{Detector, InferError},
    embed::Embedder,
    exemplar::{GoodFace, SeenFace},
    gate::{
        face::judge,
        frame::{FrameGate, FrameRejection},
        streamface,
    },
    geometry::DetectedFace,
    observe::{Counters, Fault},
    picture::Picture,
    source::{FrameImage, FrameStamp, GreyImage},
};
use std::{sync::Arc, time::Duration};

/// Decides which frames are looked at, and looks.
pub(super) struct Looker<'a> {
    settings: &'a PipelineSettings,
    detector: Box<dyn Detector>,
    gate: FrameGate,
    /// In place of `gate`.
    streamface: Option<streamface::FrameGate>,
    schedule: Schedule,
    /// What was seen last, for frames that look the same.
    last: Vec<SeenFace>,
}

impl<'a> Looker<'a> {
    pub(super) fn new(settings: &'a PipelineSettings, detector: Box<dyn Detector>) -> Self {
        Self {
            settings,
            detector,
            gate: FrameGate::new(settings.frame_gates),
            streamface: streamface_gate(settings),
            schedule: Schedule::new(settings),
            last: Vec::new(),
        }
    }

    /// Sets the frame rate, on which the schedule depends.
    pub(super) fn set_rate(&mut self, frames_per_second: f64) {
        self.schedule.set_rate(frames_per_second);
    }

    /// Most frames from one look to the next.
    pub(super) fn longest_wait(&self) -> u64 {
        self.schedule.longest()
    }

    /// The next frame is the first of a shot.
    pub(super) fn restart(&mut self) {
        self.gate = FrameGate::new(self.settings.frame_gates);
        self.streamface = streamface_gate(self.settings);
        self.schedule.restart();
        self.last.clear();
    }

    /// The faces of the frame; `None` if nobody looked, or nothing could be seen.
    pub(super) fn look(
        &mut self,
        stamp: FrameStamp,
        grey: &Arc<GreyImage>,
        image: &dyn FrameImage,
        counters: &mut Counters,
    ) -> Result<Option<Vec<SeenFace>>, InferError> {
        if !self.schedule.turn(stamp.number, grey) {
            return Ok(None);
        }
        let seen = self.look_at(stamp, grey, image, counters)?;
        self.schedule.saw(seen.as_deref());
        Ok(seen)
    }

    fn look_at(
        &mut self,
        stamp: FrameStamp,
        grey: &Arc<GreyImage>,
        image: &dyn FrameImage,
        counters: &mut Counters,
    ) -> Result<Option<Vec<SeenFace>>, InferError> {
        let begun = Instant::now();
        let rejection = match &self.streamface {
            Some(_) => None,
            None => self.gate.judge(grey),
        };
        counters.spend("gate", begun.elapsed());
        if let Some(reason) = rejection {
            counters.reject_frame(reason.code());
            return Ok(self.see_without_looking(reason, stamp));
        }
        let begun = Instant::now();
        let picture = match image.to_picture(self.settings.picture_side_max) {
            Ok(picture) => picture,
            Err(fault) => {
                self.skip(&fault, stamp, counters);
                return Ok(None);
            }
        };
        counters.spend("scale", begun.elapsed());
        if let Some(gate) = &mut self.streamface {
            let begun = Instant::now();
            let (_, rejection) = gate.judge(picture.view());
            counters.spend("gate", begun.elapsed());
            if let Some(reason) = rejection {
                counters.reject_frame(reason.code());
                // These gates say nothing of the faces: they may well be there.
                return Ok(None);
            }
        }
        let begun = Instant::now();
        let sizes = self.schedule.sizes();
        let found = self.detector.detect_at(picture.view(), &sizes)?;
        counters.frames_detected += 1;
        counters.faces_detected += u64::try_from(found.len()).unwrap_or(u64::MAX);
        counters.spend("detect", begun.elapsed());
        let begun = Instant::now();
        let seen = found
            .iter()
            .map(|face| (*face, covered(face, &found)))
            .enumerate()
            .map(|(rank, face)| self.see(stamp, rank, face, &picture, counters))
            .collect::<Vec<_>>();
        counters.spend("align", begun.elapsed());
        self.last = seen
            .iter()
            .map(|face| SeenFace {
                good: None,
                ..face.clone()
            })
            .collect();
        Ok(Some(seen))
    }

    /// What a frame shows that nobody looks at.
    fn see_without_looking(
        &mut self,
        reason: FrameRejection,
        stamp: FrameStamp,
    ) -> Option<Vec<SeenFace>> {
        match reason {
            // The same picture, the same faces.
            FrameRejection::NearIdentical => Some(
                self.last
                    .iter()
                    .map(|face| SeenFace {
                        stamp,
                        ..face.clone()
                    })
                    .collect(),
            ),
            FrameRejection::Empty => Some(Vec::new()),
            // Nothing can be said about the faces: they may well be there.
            FrameRejection::Blurred | FrameRejection::Corrupt => None,
        }
    }

    fn skip(&mut self, fault: &Fault, stamp: FrameStamp, counters: &mut Counters) {
        tracing::warn!(frame = stamp.number.get(), %fault, "a frame could not be converted");
        counters.reject_frame(FrameRejection::Corrupt.code());
    }

    fn see(
        &self,
        stamp: FrameStamp,
        rank: usize,
        (face, covered): (DetectedFace, f32),
        picture: &Picture,
        counters: &mut Counters,
    ) -> SeenFace {
        let view = picture.view();
        let crop = align(view, &face.landmarks);
        let refused = self
            .settings
            .streamface
            .and_then(|s| s.faces.judge(view, &face));
        let judged = match refused {
            Some(reason) => Err(reason),
            None => judge(view, &face, &crop, &self.settings.face_gates),
        };
        let good = match judged {
            Ok(quality) => {
                let loose = loose_crop(view, &face.rect);
                Some(GoodFace {
                    quality: quality.get() * (1.0 - covered),
                    crop,
                    loose,
                    embedding: None,
                })
            }
            Err(reason) => {
                counters.reject_face(reason.code());
                None
            }
        };
        SeenFace {
            stamp,
            rank,
            face,
            picture: (picture.width(), picture.height()),
            good,
        }
    }
}

/// The share of the face's box, 0 to 1, that the box of a larger one of `all` covers: who is nearer
/// to the camera stands in front.
fn covered(face: &DetectedFace, all: &[DetectedFace]) -> f32 {
    let area = face.rect.area();
    let larger = all.iter().filter(|other| other.rect.area() > area);
    let shares = larger.map(|other| face.rect.intersection(&other.rect).area() / area);
    shares.fold(0.0, f32::max).clamp(0.0, 1.0)
}

fn streamface_gate(settings: &PipelineSettings) -> Option<streamface::FrameGate> {
    settings
        .streamface
        .map(|gates| streamface::FrameGate::new(gates.frames))
}

/// An embedder that counts what it does.
pub(super) struct TimedEmbedder {
    inner: Box<dyn Embedder>,
    spent: Duration,
    faces: u64,
}

impl TimedEmbedder {
    pub(super) fn new(inner: Box<dyn Embedder>) -> Self {
        Self {
            inner,
            spent: Duration::ZERO,
            faces: 0,
        }
    }

    /// Time spent and faces embedded since the last call.
    pub(super) fn take(&mut self) -> (Duration, u64) {
        (
            std::mem::take(&mut self.spent),
            std::mem::take(&mut self.faces),
        )
    }
}

impl Embedder for TimedEmbedder {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        let begun = Instant::now();
        let embeddings = self.inner.embed(crops);
        self.spent += begun.elapsed();
        self.faces += u64::try_from(crops.len()).unwrap_or(u64::MAX);
        embeddings
    }

    fn dimension(&self) -> usize {
        self.inner.dimension()
    }
}

/// The looker and the embedder of a run's models.
pub(super) fn split(settings: &PipelineSettings, vision: Vision) -> (Looker<'_>, TimedEmbedder) {
    (
        Looker::new(settings, vision.detector),
        TimedEmbedder::new(vision.embedder),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Point, Rect};

    #[test]
    fn whoever_is_nearer_covers_whoever_is_behind() {
        let face = |x: f32, side: f32| DetectedFace {
            rect: Rect::new(x, 0.0, side, side),
            landmarks: [Point::default(); 5],
            score: 0.9,
        };
        let all = [
            face(0.0, 100.0),
            face(80.0, 40.0),
            face(300.0, 60.0),
            face(10.0, 0.0),
        ];
        let shares = [0, 1, 2, 3].map(|i: usize| covered(&all[i], &all));
        assert_eq!(shares, [0.0, 0.5, 0.0, 0.0]);
    }
}
