//! A part of a film, frame by frame, into the files of a shard.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    FacerecError, FacerecWriter, Feature, Keypoints, PixelBox, Trajectory,
    picture::face_picture,
    search::{Search, Searched},
    tracker::{SortRules, SortTracker, Track},
};
use crate::{
    align::{AlignedCrop, align},
    detect::{DetectSizes, Detector},
    embed::Embedder,
    extract::{CutPlan, ShardSpan},
    geometry::{DetectedFace, Point},
    observe::{Fault, FaultReason},
    picture::{PICTURE_SIDE_MAX, Picture},
    resize::resize,
    source::{CaptureStatus, Feed, Frame, FrameSource, Overflow, StopToken, Taken},
};

/// Frames that may wait between the two threads.
const QUEUE_FRAMES: usize = 4;
const VERSION: u32 = 2;

/// What facerec's `extract.py` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct FacerecSettings {
    /// Faces of every n-th frame are embedded, and their pictures kept.
    pub save_every: u64,
    /// Every n-th frame is searched whole, as are those whose faces are embedded and the ends of shots;
    /// between, faces are looked for where they should be. 1: every frame, as facerec does.
    pub search_every: u64,
    /// Faces whose shorter side is less, in pixels, are not seen.
    pub min_face_size: f32,
    /// Least IoU of a box and the one foreseen for the frame.
    pub iou_threshold: f32,
    /// Detections in a row that make a trajectory.
    pub min_trajectory: u64,
    /// Frames in a row that a face may be missed in.
    pub max_trajectory_age: u64,
    /// How large the detector sees the picture.
    pub detect_sizes: DetectSizes,
    /// Width and height at which the film is to be shown, in place of what the file says.
    pub display: Option<(u32, u32)>,
}

impl Default for FacerecSettings {
    fn default() -> Self {
        Self {
            save_every: 5,
            search_every: 5,
            min_face_size: 0.0,
            iou_threshold: 0.5,
            min_trajectory: 3,
            max_trajectory_age: 5,
            detect_sizes: DetectSizes::default(),
            display: None,
        }
    }
}

impl FacerecSettings {
    /// A short hash of everything that shapes the files: these settings, and `models` by name.
    #[must_use]
    pub fn fingerprint(&self, models: &str) -> String {
        let text = format!("{VERSION}\n{models}\n{self:?}");
        let hash = Sha256::digest(text.as_bytes());
        let hex: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("facerec{VERSION}-{hex}")
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FacerecSummary {
    /// Frames.
    pub frames: u64,
    /// Of these, searched whole.
    pub searched: u64,
    /// Cuts.
    pub cuts: u64,
    /// Trajectories.
    pub trajectories: u64,
    /// Faces embedded.
    pub features: u64,
}

/// Finds, follows and embeds the faces of a film as facerec does: in every frame, by its tracker and its
/// rule for shots; with our detector and embedder, and with fewer searches ([`FacerecSettings::search_every`]).
pub struct Extraction {
    settings: FacerecSettings,
    detector: Box<dyn Detector>,
    embedder: Box<dyn Embedder>,
}

impl Extraction {
    /// With these models.
    #[must_use]
    pub fn new(
        settings: FacerecSettings,
        detector: Box<dyn Detector>,
        embedder: Box<dyn Embedder>,
    ) -> Self {
        Self {
            settings,
            detector,
            embedder,
        }
    }

    /// Reads `source`, which begins where the part does and gives every frame, and writes what is in it.
    /// Cuts are those of the plan, which knows what is before the part.
    ///
    /// Returns what was found and the fault by which the source ended early, if it did so at the end of
    /// the film. A part that ends early, and a stop, are errors: nothing complete is written.
    ///
    /// # Errors
    /// [`FacerecError`].
    pub fn run(
        self,
        source: &mut dyn FrameSource,
        (plan, span): (&CutPlan, ShardSpan),
        writer: FacerecWriter,
        stop: &StopToken,
    ) -> Result<(FacerecSummary, Option<Fault>), FacerecError> {
        let feed = Feed::new(QUEUE_FRAMES, Overflow::Wait, CaptureStatus::default());
        let mut film = Film::new(self, plan, writer);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| feed.fill_from(source, stop));
            let outcome = film.read(&feed, span);
            feed.close();
            stop_reader(stop, &outcome);
            drop(reader.join());
            let fault = outcome?;
            if stop.is_requested() {
                let what = "the run was stopped; nothing was written but pictures";
                return Err(Fault::new(FaultReason::Truncated, what).into());
            }
            Ok((film.finish()?, fault))
        })
    }
}

/// Whatever went wrong, the reader must not wait for more of a slow source.
fn stop_reader<T>(stop: &StopToken, outcome: &Result<T, FacerecError>) {
    if outcome.is_err() {
        stop.request();
    }
}

/// A face that waits until its track is believed.
struct Kept {
    frame: u64,
    face: PixelBox,
    keypoints: Keypoints,
    crop: AlignedCrop,
    jpeg: Vec<u8>,
}

struct Film<'a> {
    settings: FacerecSettings,
    rules: SortRules,
    search: Search,
    embedder: Box<dyn Embedder>,
    plan: &'a CutPlan,
    tracker: SortTracker<Kept>,
    /// Of the display picture.
    size: (u32, u32),
    /// Trajectories that are over; written in the order in which they began.
    ended: Vec<Trajectory>,
    /// Faces that are embedded; written in the order of their frames.
    ready: Vec<(Feature, Vec<u8>)>,
    writer: FacerecWriter,
    found: FacerecSummary,
}

impl<'a> Film<'a> {
    fn new(extraction: Extraction, plan: &'a CutPlan, writer: FacerecWriter) -> Self {
        let settings = extraction.settings;
        let rules = SortRules {
            iou_min: settings.iou_threshold,
            hits_min: settings.min_trajectory,
            age_max: settings.max_trajectory_age,
        };
        Self {
            rules,
            search: Search::new(
                extraction.detector,
                settings.detect_sizes.clone(),
                settings.search_every > 1,
            ),
            embedder: extraction.embedder,
            plan,
            tracker: SortTracker::new(rules),
            size: (0, 0),
            ended: Vec::new(),
            ready: Vec::new(),
            writer,
            found: FacerecSummary::default(),
            settings,
        }
    }

    /// Reads to the end of the part, or of the film.
    fn read(&mut self, feed: &Feed, span: ShardSpan) -> Result<Option<Fault>, FacerecError> {
        let end = (!span.is_last).then_some(span.end);
        let early = |why: Option<Fault>| {
            why.unwrap_or_else(|| {
                let what = "the video ended before this part of it did, or the run was stopped";
                Fault::new(FaultReason::Truncated, what)
            })
        };
        loop {
            match feed.take(Duration::from_secs(1)) {
                Taken::Frame(frame) if end.is_some_and(|end| frame.stamp.number >= end) => {
                    return Ok(None);
                }
                Taken::Frame(frame) => self.push(&frame)?,
                Taken::Nothing => {}
                Taken::Ended(Err(fault)) => return Err(fault.into()),
                Taken::Ended(Ok(fault)) if end.is_some() => return Err(early(fault).into()),
                Taken::Ended(Ok(fault)) => return Ok(fault),
            }
        }
    }

    fn push(&mut self, frame: &Frame) -> Result<(), FacerecError> {
        let number = frame.stamp.number.get();
        if self.plan.has_cut(number) {
            self.writer.cut(number);
            self.found.cuts += 1;
            self.close_shot()?;
        }
        let picture = self.picture(frame)?;
        let settings = &self.settings;
        let is_nth = |n: u64| number.is_multiple_of(n.max(1));
        let whole = is_nth(settings.search_every)
            || is_nth(settings.save_every)
            || self.plan.has_cut(number + 1);
        let searched = self.search.next(number, picture, whole)?;
        self.follow_all(searched)
    }

    fn follow_all(&mut self, searched: Vec<Searched>) -> Result<(), FacerecError> {
        searched
            .into_iter()
            .try_for_each(|frame| self.follow(frame))
    }

    fn follow(&mut self, frame: Searched) -> Result<(), FacerecError> {
        let Searched {
            number,
            picture,
            faces,
        } = frame;
        self.size = (picture.width(), picture.height());
        let least = self.settings.min_face_size;
        let large = |face: &DetectedFace| face.rect.width.min(face.rect.height) >= least;
        let faces: Vec<_> = faces.into_iter().filter(large).collect();
        self.found.frames += 1;
        let saved = number.is_multiple_of(self.settings.save_every.max(1));
        let over = self.tracker.next(number, &faces, self.size, |face, here| {
            saved.then(|| Kept {
                frame: number,
                face: here,
                keypoints: keypoints(&face.landmarks),
                crop: align(picture.view(), &face.landmarks),
                jpeg: face_picture(picture.view(), &here),
            })
        });
        self.end(over)?;
        self.embed_believed()?;
        if self.tracker.is_idle() {
            self.write_trajectories()?;
        }
        let decided = self.tracker.undecided_since().unwrap_or(number + 1);
        self.write_features(decided)
    }

    fn picture(&self, frame: &Frame) -> Result<Picture, FacerecError> {
        let picture = frame.image.to_picture(PICTURE_SIDE_MAX)?;
        let Some((width, height)) = self.settings.display else {
            return Ok(picture);
        };
        // The height is kept.
        let side = f64::from(picture.height()) * f64::from(width) / f64::from(height.max(1));
        let side = crate::number::round_u32(crate::number::to_f32(side)).clamp(1, PICTURE_SIDE_MAX);
        Ok(resize(picture.view(), side, picture.height()))
    }

    /// Embeds what was kept of tracks that are believed by now.
    fn embed_believed(&mut self) -> Result<(), FacerecError> {
        let mut kept = Vec::new();
        for track in self.tracker.tracks_mut() {
            if track.is_believed(&self.rules) {
                kept.append(&mut track.kept);
            }
        }
        self.embed(kept)
    }

    fn embed(&mut self, kept: Vec<Kept>) -> Result<(), FacerecError> {
        let crops: Vec<AlignedCrop> = kept.iter().map(|face| face.crop.clone()).collect();
        if crops.is_empty() {
            return Ok(());
        }
        let embeddings = self.embedder.embed(&crops)?;
        for (face, embedding) in kept.into_iter().zip(embeddings) {
            let feature = Feature {
                frame: face.frame,
                tag: self.writer.tag(face.frame, &face.face),
                embedding: embedding.as_slice().to_vec(),
                face: face.face,
                keypoints: face.keypoints,
                w: self.size.0,
                h: self.size.1,
            };
            self.ready.push((feature, face.jpeg));
        }
        Ok(())
    }

    fn end(&mut self, over: Vec<Track<Kept>>) -> Result<(), FacerecError> {
        for mut track in over {
            self.embed(std::mem::take(&mut track.kept))?;
            self.ended.push(Trajectory {
                start: track.start,
                len: u64::try_from(track.boxes.len()).unwrap_or(u64::MAX),
                bbs: track.boxes,
                detected: track.detected,
                w: self.size.0,
                h: self.size.1,
                object_type: "face".to_owned(),
                index: None,
                movie_id: None,
            });
        }
        Ok(())
    }

    /// All tracks end, and everything that waits is written.
    fn close_shot(&mut self) -> Result<(), FacerecError> {
        let searched = self.search.end_shot()?;
        self.follow_all(searched)?;
        let over = self.tracker.close_all();
        self.end(over)?;
        self.write_trajectories()?;
        self.write_features(u64::MAX)
    }

    fn write_trajectories(&mut self) -> Result<(), FacerecError> {
        // Stable: of those that began together, the one that ended first.
        self.ended.sort_by_key(|trajectory| trajectory.start);
        for trajectory in std::mem::take(&mut self.ended) {
            self.writer.trajectory(&trajectory)?;
            self.found.trajectories += 1;
        }
        Ok(())
    }

    /// Writes the faces of frames before `decided`: none of those is missing.
    fn write_features(&mut self, decided: u64) -> Result<(), FacerecError> {
        self.ready.sort_by_key(|(face, _)| (face.frame, face.face));
        let count = self
            .ready
            .partition_point(|(feature, _)| feature.frame < decided);
        for (feature, jpeg) in self.ready.drain(..count) {
            self.writer.feature(&feature, &jpeg)?;
            self.found.features += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<FacerecSummary, FacerecError> {
        self.close_shot()?;
        self.writer.finish()?;
        self.found.searched = self.search.looks().whole;
        Ok(self.found)
    }
}

fn keypoints(landmarks: &[Point; 5]) -> Keypoints {
    let pixel = |value: f32| i64::from(crate::number::round_u32(value));
    let [left_eye, right_eye, nose, mouth_left, mouth_right] =
        landmarks.map(|point| [pixel(point.x), pixel(point.y)]);
    Keypoints {
        left_eye,
        right_eye,
        nose,
        mouth_left,
        mouth_right,
    }
}
