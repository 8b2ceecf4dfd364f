//! How a picture is fitted into a network's input, and how faces find their way back.

use super::DetectSize;
use super::decode::Canvas;
use crate::geometry::DetectedFace;
use crate::model::{DetectorInput, Geometry};
use crate::number::round_u32;
use crate::picture::{Picture, PictureRef};
use crate::resize::resize;

/// A picture's place on a canvas: at the top left, the rest black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// The network's input.
    pub(super) canvas: Canvas,
    /// The part that the picture fills, in pixels.
    inner: Canvas,
}

impl Fit {
    /// For a picture of `width` x `height` pixels: its longest side as asked, the aspect kept, then
    /// each side stretched or filled up to a multiple; a network of one size sees it at that size,
    /// whatever is asked.
    pub(super) fn of(width: u32, height: u32, asked: DetectSize, how: &DetectorInput) -> Self {
        let (width, height) = (width.max(1) as f32, height.max(1) as f32);
        let factor = match how.size {
            Some([w, h]) => (w as f32 / width).min(h as f32 / height),
            None => asked.get() as f32 / width.max(height),
        };
        let mut inner = Canvas {
            width: round_u32(width * factor).max(1),
            height: round_u32(height * factor).max(1),
        };
        let canvas = match how.size {
            Some([width, height]) => Canvas { width, height },
            None => Canvas {
                width: inner.width.next_multiple_of(how.multiple),
                height: inner.height.next_multiple_of(how.multiple),
            },
        };
        if how.geometry == Geometry::Stretch {
            inner = canvas;
        }
        inner.width = inner.width.min(canvas.width);
        inner.height = inner.height.min(canvas.height);
        Self { canvas, inner }
    }

    /// `picture` on its canvas.
    pub(super) fn place(&self, picture: PictureRef<'_>) -> Picture {
        let scaled = resize(picture, self.inner.width, self.inner.height);
        if self.inner == self.canvas {
            return scaled;
        }
        let canvas = (self.canvas.width, self.canvas.height);
        let placed = scaled.view().part((0, 0), canvas);
        placed.expect("a canvas is at most as large as the largest detector input")
    }

    /// `face`, found on the canvas, in pixels of the picture of `width` x `height`.
    pub(super) fn back(&self, face: DetectedFace, width: u32, height: u32) -> DetectedFace {
        let by_x = width as f32 / self.inner.width as f32;
        let by_y = height as f32 / self.inner.height as f32;
        face.mapped(by_x, by_y, 0.0, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Point, Rect};
    use crate::model::Channels;

    fn how(geometry: Geometry, multiple: u32, size: Option<[u32; 2]>) -> DetectorInput {
        DetectorInput {
            name: "input".into(),
            channels: Channels::Rgb,
            mean: [0.0; 3],
            std: [1.0; 3],
            geometry,
            multiple,
            size,
        }
    }

    fn check(
        how: &DetectorInput,
        picture: (u32, u32),
        asked: u32,
        canvas: (u32, u32),
        inner: (u32, u32),
    ) {
        let fit = Fit::of(picture.0, picture.1, DetectSize::longest_side(asked), how);
        assert_eq!((fit.canvas.width, fit.canvas.height), canvas, "{picture:?}");
        assert_eq!((fit.inner.width, fit.inner.height), inner, "{picture:?}");
    }

    #[test]
    fn stretched_sizes_keep_the_aspect_nearly_and_are_multiples() {
        let how = how(Geometry::Stretch, 32, None);
        check(&how, (1920, 1080), 640, (640, 384), (640, 384));
        check(&how, (176, 144), 320, (320, 288), (320, 288));
        check(&how, (360, 640), 640, (384, 640), (384, 640));
        check(&how, (60_000, 1), 640, (640, 32), (640, 32));
        check(&how, (1, 1), 100, (128, 128), (128, 128));
    }

    #[test]
    fn letterboxed_sizes_keep_the_aspect_and_are_filled_up() {
        let open = how(Geometry::Letterbox, 32, None);
        check(&open, (1920, 1080), 640, (640, 384), (640, 360));
        check(&open, (60_000, 1), 640, (640, 32), (640, 1));
        let fixed = how(Geometry::Letterbox, 1, Some([320, 240]));
        check(&fixed, (1920, 1080), 1280, (320, 240), (320, 180));
        check(&fixed, (100, 400), 1280, (320, 240), (60, 240));
        let stretched = how(Geometry::Stretch, 1, Some([320, 240]));
        check(&stretched, (100, 400), 1280, (320, 240), (320, 240));
    }

    #[test]
    fn a_letterboxed_picture_lies_at_the_top_left_and_faces_come_back_to_it() {
        let picture = Picture::filled(20, 10, [9, 8, 7]).unwrap();
        let fit = Fit::of(
            20,
            10,
            DetectSize::longest_side(40),
            &how(Geometry::Letterbox, 32, None),
        );
        let placed = fit.place(picture.view());
        assert_eq!((placed.width(), placed.height()), (64, 32));
        for (x, y, wanted) in [
            (0, 0, [9, 8, 7]),
            (39, 19, [9, 8, 7]),
            (40, 0, [0; 3]),
            (0, 20, [0; 3]),
        ] {
            assert_eq!(placed.view().pixel(x, y), Some(wanted), "{x} {y}");
        }
        let face = DetectedFace {
            rect: Rect::new(10.0, 4.0, 8.0, 8.0),
            landmarks: [Point::new(12.0, 6.0); 5],
            score: 0.5,
        };
        let back = fit.back(face, 20, 10);
        assert_eq!(back.rect, Rect::new(5.0, 2.0, 4.0, 4.0));
        assert_eq!(back.landmarks[0], Point::new(6.0, 3.0));
    }
}
