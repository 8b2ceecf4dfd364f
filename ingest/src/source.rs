//! Where frames come from: the seam between the pipeline and whatever reads video.
//!
//! [`FrameSource`] is pulled by a thread of its own; `capture` (feature `media`) implements it with
//! FFmpeg, [`fake`] with pictures made in memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    observe::{Fault, FrameNo, MediaInfo, MediaTime, RunState, WallTime},
    picture::Picture,
};

pub mod fake;
mod feed;
mod grey;
mod stop;

pub use feed::{Feed, Overflow, Taken};
pub use grey::GreyImage;
pub use stop::StopToken;

/// Which pictures of a source are decoded. In files each has the number that it has among all; in
/// streams those that are given are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DecodeMode {
    /// Every one.
    #[default]
    All,
    /// Those that others refer to: mostly a third or a half where a codec has frames that none
    /// refers to, and all of them elsewhere.
    Referenced,
    /// Those the codec marks as key frames, which refer to no other.
    KeyFrames,
}

impl DecodeMode {
    /// How many times longer than usual a live source may be without a picture, or its clock may
    /// go on from one picture to the next.
    #[cfg(feature = "media")]
    pub(crate) const fn patience_factor(self) -> u32 {
        match self {
            Self::All | Self::Referenced => 1,
            // Broadcasters send a key frame every 0.5 to 10 s, some surveillance cameras one in 30 s.
            Self::KeyFrames => 6,
        }
    }
}

/// Which frame, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameStamp {
    /// Its number in the source.
    pub number: FrameNo,
    /// Stream time.
    pub time: MediaTime,
    /// Wall clock.
    pub wall: WallTime,
}

/// A frame whose pixels are converted only if somebody looks at them.
pub struct Frame {
    /// Which frame, and when.
    pub stamp: FrameStamp,
    /// Frames before this one are missing (a stream was opened again): nothing spans the gap.
    pub after_gap: bool,
    /// A small grey copy, for gates and shot boundaries.
    pub grey: Arc<GreyImage>,
    /// The picture itself.
    pub image: Box<dyn FrameImage>,
}

/// Pixels that can be turned into a picture.
pub trait FrameImage: Send {
    /// The picture at display aspect ratio, upright, scaled down so that its longest side is at
    /// most `side_max` pixels.
    ///
    /// # Errors
    /// A [`Fault`] when the pixels cannot be converted.
    fn to_picture(&self, side_max: u32) -> Result<Picture, Fault>;
}

/// What a source gives when asked for more.
pub enum Next {
    /// The next frame.
    Frame(Frame),
    /// There is no more; the fault says so if the end came early.
    Ended(Option<Fault>),
}

/// Gives frames in order. Lives on a thread of its own.
pub trait FrameSource: Send {
    /// The next frame; the first call opens the source. Blocks until there is one.
    ///
    /// State, media and counts go to `status` while it waits. Returns soon after a stop was
    /// requested, with whatever is at hand.
    ///
    /// # Errors
    /// The [`Fault`] that keeps the source from being read any further.
    fn next(&mut self, status: &CaptureStatus) -> Result<Next, Fault>;
}

/// How capture is doing, shared by the thread that reads and the thread that reports.
#[derive(Clone, Debug, Default)]
pub struct CaptureStatus(Arc<Mutex<CaptureFacts>>);

/// What capture has done so far.
#[derive(Clone, Debug, Default)]
pub struct CaptureFacts {
    /// Connecting, running or stalled.
    pub state: RunState,
    /// Known once the source is open.
    pub media: Option<MediaInfo>,
    /// The latest trouble, while it lasts.
    pub fault: Option<Fault>,
    /// Pictures out of the decoder.
    pub decoded: u64,
    /// Pictures skipped to stay current.
    pub dropped: u64,
    /// Pictures the decoder could not make whole.
    pub corrupt: u64,
    /// How often a stream broke off and was to be opened again.
    pub reconnects: u64,
    /// Wall time spent reading and decoding.
    pub decode: Duration,
    /// Wall time spent on the small grey copies.
    pub shrink: Duration,
}

impl CaptureStatus {
    /// The facts as they are now.
    #[must_use]
    pub fn facts(&self) -> CaptureFacts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the facts.
    pub fn update(&self, change: impl FnOnce(&mut CaptureFacts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
