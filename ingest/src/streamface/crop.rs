use crate::{
    geometry::{DetectedFace, Point, Rect},
    picture::{Picture, PictureRef},
    resize::resize_lanczos,
};

/// Width and height of an aligned face, in pixels.
pub const ALIGNED_FACE_SIDE: u32 = 128;
/// The longest side of a loose face, in pixels.
pub const FACE_SIDE_MAX: u32 = 256;

/// A face in whole pixels of its frame, cut off at the frame's edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFace {
    /// Left edge.
    pub x: i64,
    /// Top edge.
    pub y: i64,
    /// Width.
    pub width: i64,
    /// Height.
    pub height: i64,
    /// Eyes, nose and mouth corners, x and y, the viewer's left before the right.
    pub landmarks: [(i64, i64); 5],
}

impl PixelFace {
    /// A detected face, fractions of pixels dropped.
    #[must_use]
    pub fn of(face: &DetectedFace, frame: PictureRef<'_>) -> Self {
        let whole = Rect::new(0.0, 0.0, frame.width() as f32, frame.height() as f32);
        let inside = face.rect.intersection(&whole);
        let (x, y) = (truncated(inside.x), truncated(inside.y));
        let pixel = |point: &Point| (truncated(point.x), truncated(point.y));
        Self {
            x,
            y,
            width: truncated(inside.right()) - x,
            height: truncated(inside.bottom()) - y,
            landmarks: face.landmarks.each_ref().map(pixel),
        }
    }

    /// The loose face: a square of twice the box's longer side around the box's middle, black
    /// outside the frame, scaled down (Lanczos) to [`FACE_SIDE_MAX`] if it is larger and never up.
    /// `None` for an empty box.
    #[must_use]
    pub fn loose(&self, frame: PictureRef<'_>) -> Option<Picture> {
        let half = self.width.max(self.height);
        let (x, y) = (self.x + self.width / 2, self.y + self.height / 2);
        let square = cut(frame, (x - half, y - half), (2 * half, 2 * half))?;
        if square.width() > FACE_SIDE_MAX {
            Some(resize_lanczos(square.view(), FACE_SIDE_MAX, FACE_SIDE_MAX))
        } else {
            Some(square)
        }
    }

    /// The aligned face: the box and 30 % more on each side, turned about its middle until the eyes
    /// are level, the 30 % cut off again, stretched (Lanczos) to 128x128. Eyes further apart in
    /// height than in width are left as they are. `None` for an empty box.
    #[must_use]
    pub fn aligned(&self, frame: PictureRef<'_>) -> Option<Picture> {
        let (more_x, more_y) = (self.width * 3 / 10, self.height * 3 / 10);
        let corner = (self.x - more_x, self.y - more_y);
        let size = (self.width + 2 * more_x, self.height + 2 * more_y);
        let mut wide = cut(frame, corner, size)?;
        let [left, right, ..] = self.landmarks;
        let (dx, dy) = ((right.0 - left.0).abs(), right.1 - left.1);
        if dx > dy.abs() {
            wide = turned(wide.view(), (dy as f64 / dx as f64).atan());
        }
        let face = cut(wide.view(), (more_x, more_y), (self.width, self.height))?;
        Some(resize_lanczos(
            face.view(),
            ALIGNED_FACE_SIDE,
            ALIGNED_FACE_SIDE,
        ))
    }
}

/// Part of a picture; black where it reaches past the edges. `None` if it has no pixel.
fn cut(picture: PictureRef<'_>, corner: (i64, i64), size: (i64, i64)) -> Option<Picture> {
    let size = (u32::try_from(size.0).ok()?, u32::try_from(size.1).ok()?);
    picture.part(corner, size)
}

/// The picture turned counterclockwise by `angle` (radians) about its middle, nearest neighbours,
/// black where nothing comes from: as Pillow does it, in 16-bit fixed point.
fn turned(picture: PictureRef<'_>, angle: f64) -> Picture {
    let round15 = |value: f64| (value * 1e15).round() / 1e15;
    let (cos, sin) = (round15(angle.cos()), round15(angle.sin()));
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
    let (step_x, step_y) = (fixed(cos), fixed(sin));
    // Where the middle of the first pixel of the first row comes from.
    let mut row_x = fixed(cx - cos * cx + sin * cy + cos * 0.5 - sin * 0.5);
    let mut row_y = fixed(cy - sin * cx - cos * cy + sin * 0.5 + cos * 0.5);
    let mut rgb = Vec::with_capacity(picture.rgb().len());
    for _ in 0..height {
        let (mut x, mut y) = (row_x, row_y);
        for _ in 0..width {
            let at = |value: i64| u32::try_from(value >> 16).ok();
            let pixel = at(x).zip(at(y)).and_then(|(x, y)| picture.pixel(x, y));
            rgb.extend(pixel.unwrap_or_default());
            x += step_x;
            y += step_y;
        }
        row_x -= fixed(sin);
        row_y += step_x;
    }
    Picture::new(picture.width(), picture.height(), rgb).expect("a pixel for each pixel")
}

/// In 65536ths, rounded to the nearest. Coordinates of pictures fit.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, and no coordinate is near the limits"
)]
fn fixed(value: f64) -> i64 {
    (value * 65536.0 + 0.5).floor() as i64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "dropping the fraction is the meaning wanted"
)]
fn truncated(value: f32) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests;
