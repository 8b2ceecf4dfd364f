//! Sources made in memory, for tests.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{CaptureStatus, Frame, FrameImage, FrameSource, FrameStamp, GreyImage, Next};
use crate::{
    number::round_u8,
    observe::{Fault, FrameNo, MediaInfo, MediaTime, ResumePoint, RunState, WallTime},
    picture::{Picture, PictureRef},
};

/// Gives pictures prepared beforehand, 25 a second.
pub struct ScriptedSource {
    pictures: VecDeque<(FrameNo, Arc<Picture>)>,
    end: Option<Fault>,
}

/// Microseconds from one scripted frame to the next.
const FRAME_US: i64 = 40_000;

impl ScriptedSource {
    /// Gives `pictures`, then ends.
    #[must_use]
    pub fn new(pictures: impl IntoIterator<Item = Arc<Picture>>) -> Self {
        let pictures = (0..).map(FrameNo::new).zip(pictures).collect();
        Self {
            pictures,
            end: None,
        }
    }

    /// Gives `count` small grey pictures.
    ///
    /// # Panics
    /// Never: the picture's size is right.
    #[must_use]
    pub fn uniform(count: usize) -> Self {
        let grey = Picture::filled(16, 9, [90; 3]).expect("16x9 is a valid size");
        Self::new(std::iter::repeat_n(Arc::new(grey), count))
    }

    /// Leaves out everything before `resume`.
    #[must_use]
    pub fn resumed(mut self, resume: ResumePoint) -> Self {
        self.pictures.retain(|(number, _)| *number >= resume.frame);
        self
    }

    /// Ends early, with `fault`.
    #[must_use]
    pub fn ending_in(mut self, fault: Fault) -> Self {
        self.end = Some(fault);
        self
    }
}

impl FrameSource for ScriptedSource {
    fn next(&mut self, status: &CaptureStatus) -> Result<Next, Fault> {
        let Some((number, picture)) = self.pictures.pop_front() else {
            return Ok(Next::Ended(self.end.take()));
        };
        status.update(|facts| {
            facts.state = RunState::Running;
            facts.decoded += 1;
            facts.media.get_or_insert_with(|| MediaInfo {
                container: "scripted".to_owned(),
                codec: "rgb".to_owned(),
                width: picture.width(),
                height: picture.height(),
                frames_per_second: 25.0,
                duration: None,
            });
        });
        let time = MediaTime::from_micros(number.signed() * FRAME_US);
        let stamp = FrameStamp {
            number,
            time,
            wall: WallTime::from_unix_micros(time.micros()),
        };
        let grey = Arc::new(shrink(picture.view()));
        Ok(Next::Frame(Frame {
            stamp,
            after_gap: false,
            grey,
            image: Box::new(picture),
        }))
    }
}

/// Time from one scripted frame to the next.
#[must_use]
pub fn frame_time() -> Duration {
    Duration::from_micros(FRAME_US.unsigned_abs())
}

impl FrameImage for Arc<Picture> {
    fn to_picture(&self, _side_max: u32) -> Result<Picture, Fault> {
        Ok(Picture::clone(self))
    }
}

/// A grey copy at most [`GreyImage::WIDTH`] pixels wide, by averaging whole blocks.
fn shrink(picture: PictureRef<'_>) -> GreyImage {
    let step = picture.width().div_ceil(GreyImage::WIDTH).max(1);
    let (width, height) = (
        (picture.width() / step).max(1),
        (picture.height() / step).max(1),
    );
    let mut pixels = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        for x in 0..width {
            let mut sum = 0.0;
            for (dy, dx) in (0..step).flat_map(|dy| (0..step).map(move |dx| (dy, dx))) {
                let [r, g, b] = picture
                    .pixel(x * step + dx, y * step + dy)
                    .unwrap_or([0; 3]);
                sum += 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
            }
            pixels.push(round_u8(sum / (step * step) as f32));
        }
    }
    GreyImage::new(width as usize, height as usize, pixels)
        .expect("the loops give width times height pixels")
}
