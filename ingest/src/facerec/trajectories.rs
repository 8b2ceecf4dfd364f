use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FacerecError, files::read_lines};

/// Left, top, right and bottom edge, in pixels of the display picture.
pub type PixelBox = [i64; 4];

/// A line of `trajectories.jsonl`: a face followed through a shot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Its first frame.
    pub start: u64,
    /// How many frames it lasts.
    pub len: u64,
    /// A box a frame.
    pub bbs: Vec<PixelBox>,
    /// Whether the face was detected there, or its box foreseen.
    pub detected: Vec<bool>,
    /// Width of the display picture, in pixels.
    pub w: u32,
    /// Its height.
    pub h: u32,
    /// `face`.
    #[serde(default = "face")]
    pub object_type: String,
    /// The number of its line from 0; absent in the file of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The film; absent in the file of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub movie_id: Option<u64>,
}

fn face() -> String {
    "face".to_owned()
}

impl Trajectory {
    /// The frame after its last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// The box in a frame, if it lasts until there.
    #[must_use]
    pub fn box_at(&self, frame: u64) -> Option<&PixelBox> {
        let at = usize::try_from(frame.checked_sub(self.start)?).ok()?;
        self.bbs.get(at)
    }

    fn fits(&self) -> Result<(), String> {
        let frames = u64::try_from(self.bbs.len()).ok();
        if self.start.checked_add(self.len).is_none() {
            return Err(format!("start is {}, beyond every film", self.start));
        }
        if self.len == 0 || frames != Some(self.len) || self.detected.len() != self.bbs.len() {
            return Err(format!(
                "len is {}, with {} boxes and {} of \"detected\"",
                self.len,
                self.bbs.len(),
                self.detected.len()
            ));
        }
        Ok(())
    }
}

/// Intersection over union of two boxes, 0..=1.
pub(super) fn iou(a: &PixelBox, b: &PixelBox) -> f64 {
    let side = |low: i64, high: i64| high.saturating_sub(low).max(0) as f64;
    let area = |b: &PixelBox| side(b[0], b[2]) * side(b[1], b[3]);
    let shared = side(a[0].max(b[0]), a[2].min(b[2])) * side(a[1].max(b[1]), a[3].min(b[3]));
    let all = area(a) + area(b) - shared;
    if all > 0.0 { shared / all } else { 0.0 }
}

/// Reads `trajectories.jsonl`, of a film or of a shard.
///
/// # Errors
/// [`FacerecError`], with the line.
pub fn read_trajectories(path: &Path) -> Result<Vec<Trajectory>, FacerecError> {
    let mut trajectories = Vec::new();
    read_lines(path, |_, _, trajectory: Trajectory| {
        trajectory.fits()?;
        trajectories.push(trajectory);
        Ok(())
    })?;
    Ok(trajectories)
}
