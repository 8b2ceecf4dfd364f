//! From decoded pixels to upright pictures at display aspect ratio.

use std::{cell::RefCell, sync::Arc};

use ffmpeg_next::{
    Rational,
    format::Pixel,
    frame,
    software::scaling::{self, Flags},
};

use super::luma::shrunk_luma;
use crate::{
    number::{round_u32, to_f32},
    observe::{Fault, FaultReason},
    picture::{PICTURE_SIDE_MAX, Picture},
    source::{FrameImage, GreyImage},
};

/// A quarter turn or a mirror image, as the container asks for: where a pixel's right and down
/// neighbours go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation {
    right: (i32, i32),
    down: (i32, i32),
}

impl Orientation {
    pub(super) const UPRIGHT: Self = Self {
        right: (1, 0),
        down: (0, 1),
    };

    /// From a display matrix: nine 32-bit numbers in the machine's byte order. Anything that is not
    /// a multiple of a quarter turn is taken for upright.
    #[expect(
        clippy::host_endian_bytes,
        reason = "FFmpeg's side data is in the machine's order"
    )]
    pub(super) fn from_matrix(bytes: &[u8]) -> Self {
        let mut numbers = bytes
            .chunks_exact(4)
            .map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        let matrix: [i32; 9] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
        let (right, down) = ((matrix[0], matrix[1]), (matrix[3], matrix[4]));
        let unit = |(x, y): (i32, i32)| match (x.signum(), y.signum()) {
            (x, 0) if x != 0 => Some((x, 0)),
            (0, y) if y != 0 => Some((0, y)),
            _ => None,
        };
        match (unit(right), unit(down)) {
            (Some(right), Some(down)) if (right.0 == 0) != (down.0 == 0) => Self { right, down },
            _ => Self::UPRIGHT,
        }
    }

    /// Whether width and height change places.
    pub(super) fn swaps_sides(self) -> bool {
        self.right.0 == 0
    }

    fn apply(self, picture: Picture) -> Picture {
        if self == Self::UPRIGHT {
            return picture;
        }
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let (new_width, new_height) = if self.swaps_sides() {
            (height, width)
        } else {
            (width, height)
        };
        // Where the first pixel goes: at the far end of each axis that runs backwards.
        let origin = |step_right: i32, step_down: i32| {
            let back = |step: i32, length: usize| if step < 0 { length - 1 } else { 0 };
            back(step_right, width) + back(step_down, height)
        };
        let (x0, y0) = (
            origin(self.right.0, self.down.0),
            origin(self.right.1, self.down.1),
        );
        let moved = |start: usize, right: i32, x: usize, down: i32, y: usize| {
            let go = |at: usize, step: i32, by: usize| match step {
                1.. => at + by,
                0 => at,
                ..0 => at - by,
            };
            go(go(start, right, x), down, y)
        };
        let mut rgb = vec![0; picture.rgb().len()];
        for (i, pixel) in picture.rgb().chunks_exact(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let to_x = moved(x0, self.right.0, x, self.down.0, y);
            let to_y = moved(y0, self.right.1, x, self.down.1, y);
            let at = (to_y * new_width + to_x) * 3;
            rgb[at..at + 3].copy_from_slice(pixel);
        }
        let (width, height) = (side(new_width as f64), side(new_height as f64));
        Picture::new(width, height, rgb).expect("turning keeps the number of pixels")
    }
}

/// How the stored pixels are to be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Geometry {
    /// Width of a sample over its height.
    pub(super) aspect: f64,
    pub(super) orientation: Orientation,
}

impl Geometry {
    /// Display size before turning: the height is kept.
    fn stretched(&self, width: u32, height: u32) -> (f64, f64) {
        (f64::from(width) * self.aspect, f64::from(height))
    }

    /// Display size, turned.
    pub(super) fn display(&self, width: u32, height: u32) -> (u32, u32) {
        let (w, h) = self.stretched(width, height);
        if self.orientation.swaps_sides() {
            (side(h), side(w))
        } else {
            (side(w), side(h))
        }
    }
}

/// The aspect of samples: the container's word before the codec's, square if neither is sane.
pub(super) fn sample_aspect(container: Rational, codec: Rational) -> f64 {
    let value = |r: Rational| {
        let (n, d) = (f64::from(r.numerator()), f64::from(r.denominator()));
        (n > 0.0 && d > 0.0 && (0.1..=10.0).contains(&(n / d))).then_some(n / d)
    };
    value(container).or(value(codec)).unwrap_or(1.0)
}

/// Decoded pixels and how to show them.
pub(super) struct DecodedImage {
    pub(super) frame: frame::Video,
    pub(super) geometry: Geometry,
}

impl FrameImage for DecodedImage {
    fn to_picture(&self, side_max: u32) -> Result<Picture, Fault> {
        let (width, height) = self
            .geometry
            .stretched(self.frame.width(), self.frame.height());
        let scale = (f64::from(side_max) / width.max(height)).min(1.0);
        let size = (side(width * scale), side(height * scale));
        let rgb = CONVERTERS.with_borrow_mut(|c| c.rgb.convert(&self.frame, Pixel::RGB24, size))?;
        let bytes = pack(&rgb, size, 3);
        let picture = Picture::new(size.0, size.1, bytes)
            .map_err(|why| Fault::new(FaultReason::Internal, why.to_string()))?;
        Ok(self.geometry.orientation.apply(picture))
    }
}

/// A small grey copy of the stored picture, not turned: shot measures do not mind.
pub(super) fn grey(frame: &frame::Video, geometry: &Geometry) -> Result<Arc<GreyImage>, Fault> {
    let (width, height) = geometry.stretched(frame.width(), frame.height());
    let rows = round_u32(to_f32(f64::from(GreyImage::WIDTH) * height / width)).clamp(16, 480);
    let size = (GreyImage::WIDTH, rows);
    let pixels = match shrunk_luma(frame, size.0, size.1) {
        Some(pixels) => pixels,
        None => {
            let small =
                CONVERTERS.with_borrow_mut(|c| c.grey.convert(frame, Pixel::GRAY8, size))?;
            pack(&small, size, 1)
        }
    };
    GreyImage::new(size.0 as usize, size.1 as usize, pixels)
        .map(Arc::new)
        .ok_or_else(|| Fault::new(FaultReason::Internal, "the grey copy has the wrong size"))
}

thread_local! {
    /// FFmpeg's scalers belong to one thread, and are costly to make.
    static CONVERTERS: RefCell<Converters> = RefCell::new(Converters::default());
}

#[derive(Default)]
struct Converters {
    grey: Converter,
    rgb: Converter,
}

#[derive(Default)]
struct Converter(Option<scaling::Context>);

impl Converter {
    fn convert(
        &mut self,
        frame: &frame::Video,
        format: Pixel,
        size: (u32, u32),
    ) -> Result<frame::Video, Fault> {
        let failed = |why: ffmpeg_next::Error| {
            let what = format!(
                "pixels of format {:?} cannot be converted: {why}",
                frame.format()
            );
            Fault::new(FaultReason::NotAVideo, what)
        };
        let input = (frame.format(), frame.width(), frame.height());
        let fits = |c: &scaling::Context| {
            let (i, o) = (c.input(), c.output());
            (i.format, i.width, i.height) == input
                && (o.format, o.width, o.height) == (format, size.0, size.1)
        };
        if !self.0.as_ref().is_some_and(fits) {
            let shrinks = size.0 < input.1 || size.1 < input.2;
            let flags = if shrinks { Flags::AREA } else { Flags::BICUBIC };
            let context =
                scaling::Context::get(input.0, input.1, input.2, format, size.0, size.1, flags);
            self.0 = Some(context.map_err(failed)?);
        }
        let mut output = frame::Video::empty();
        if let Some(context) = &mut self.0 {
            context.run(frame, &mut output).map_err(failed)?;
        }
        Ok(output)
    }
}

/// Rows without the padding between them.
fn pack(frame: &frame::Video, (width, height): (u32, u32), channels: usize) -> Vec<u8> {
    let row = width as usize * channels;
    let rows = frame
        .data(0)
        .chunks(frame.stride(0).max(1))
        .take(height as usize);
    let mut packed = Vec::with_capacity(row * height as usize);
    for line in rows {
        packed.extend_from_slice(&line[..row.min(line.len())]);
    }
    packed
}

/// A side of a picture in whole pixels.
fn side(value: f64) -> u32 {
    round_u32(to_f32(value)).clamp(1, PICTURE_SIDE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3x2 picture whose pixels are 0..6, and what becomes of it.
    fn check(matrix: [i32; 4], size: (u32, u32), expected: &[u8]) {
        let one = 1 << 16;
        let numbers = [
            matrix[0] * one,
            matrix[1] * one,
            0,
            matrix[2] * one,
            matrix[3] * one,
            0,
            0,
            0,
            1 << 30,
        ];
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|n: &i32| {
                if cfg!(target_endian = "big") {
                    n.to_be_bytes()
                } else {
                    n.to_le_bytes()
                }
            })
            .collect();
        let picture = Picture::new(3, 2, (0..6).flat_map(|v| [v; 3]).collect()).unwrap();
        let turned = Orientation::from_matrix(&bytes).apply(picture);
        assert_eq!((turned.width(), turned.height()), size);
        let values: Vec<u8> = turned.rgb().chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(values, expected, "{matrix:?}");
    }

    #[test]
    fn pictures_are_turned_as_the_container_asks() {
        check([1, 0, 0, 1], (3, 2), &[0, 1, 2, 3, 4, 5]);
        // A quarter turn clockwise: the first row becomes the last column.
        check([0, 1, -1, 0], (2, 3), &[3, 0, 4, 1, 5, 2]);
        check([-1, 0, 0, -1], (3, 2), &[5, 4, 3, 2, 1, 0]);
        check([0, -1, 1, 0], (2, 3), &[2, 5, 1, 4, 0, 3]);
        check([-1, 0, 0, 1], (3, 2), &[2, 1, 0, 5, 4, 3]);
        check([0, 0, 0, 0], (3, 2), &[0, 1, 2, 3, 4, 5]);
        assert_eq!(Orientation::from_matrix(&[1, 2, 3]), Orientation::UPRIGHT);
    }

    #[test]
    fn sample_aspects_are_taken_with_care() {
        let r = Rational::new;
        assert_eq!(sample_aspect(r(2, 1), r(1, 1)), 2.0);
        assert_eq!(sample_aspect(r(0, 1), r(4, 3)), 4.0 / 3.0);
        assert_eq!(sample_aspect(r(0, 0), r(5000, 1)), 1.0);
        let wide = Geometry {
            aspect: 2.0,
            orientation: Orientation::UPRIGHT,
        };
        assert_eq!(wide.display(320, 240), (640, 240));
    }
}
