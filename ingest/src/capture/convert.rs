//! From decoded pixels to upright pictures at display aspect ratio.

use std::{cell::RefCell, sync::Arc};

use ffmpeg_next::{
    Rational,
    format::Pixel,
    frame,
    software::scaling::{self, Flags},
};

use super::{
    colour::{Colour, to_sdr, to_sdr_grey},
    luma::shrunk_luma,
    orientation::Orientation,
    raw,
};
use crate::{
    number::{round_u32, to_f32},
    observe::{Fault, FaultReason},
    picture::{PICTURE_SIDE_MAX, Picture},
    source::{FrameImage, GreyImage},
};

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
        let colour = Colour::of(&self.frame);
        let field = first_field(&self.frame);
        let frame = field.as_ref().unwrap_or(&self.frame);
        let rgb =
            CONVERTERS.with_borrow_mut(|c| c.rgb.convert(frame, colour, Pixel::RGB24, size))?;
        let mut bytes = pack(&rgb, size, 3);
        to_sdr(&mut bytes, colour.transfer);
        let picture = Picture::new(size.0, size.1, bytes)
            .map_err(|why| Fault::new(FaultReason::Internal, why.to_string()))?;
        Ok(self.geometry.orientation.apply(picture))
    }
}

/// Of an interlaced frame, the field that was taken first, as a frame of half the height; `None`
/// if the frame says that it was taken at once, or is stored in a way that nobody interlaces.
///
/// The other field shows what was there a fiftieth of a second later: together they make combs of
/// whatever moves. Lines between those of the field are left to the scaler, which mostly has to
/// make the picture smaller anyway.
fn first_field(frame: &frame::Video) -> Option<frame::Video> {
    let height = frame.height() / 2;
    // Rows that run upwards in memory have strides below zero.
    let sane = |plane: usize| i32::try_from(frame.stride(plane)).is_ok();
    let planar = frame.planes() == 3 && (0..3).all(sane);
    if !frame.is_interlaced() || !planar || height < 2 {
        return None;
    }
    let mut field = frame::Video::new(frame.format(), frame.width(), height);
    let skipped = usize::from(!frame.is_top_first());
    for plane in 0..3 {
        let (from, to) = (frame.stride(plane), field.stride(plane));
        let rows = frame.data(plane).chunks_exact(from);
        let rows = rows.skip(skipped).step_by(2);
        for (there, here) in field.data_mut(plane).chunks_exact_mut(to).zip(rows) {
            let bytes = from.min(to);
            there[..bytes].copy_from_slice(&here[..bytes]);
        }
    }
    Some(field)
}

/// A small grey copy of the stored picture, not turned, both fields in one: shot measures do not
/// mind.
pub(super) fn grey(frame: &frame::Video, geometry: &Geometry) -> Result<Arc<GreyImage>, Fault> {
    let (width, height) = geometry.stretched(frame.width(), frame.height());
    let rows = round_u32(to_f32(f64::from(GreyImage::WIDTH) * height / width)).clamp(16, 480);
    let size = (GreyImage::WIDTH, rows);
    let colour = Colour::of(frame);
    let mut pixels = match shrunk_luma(frame, colour.full_range, size) {
        Some(pixels) => pixels,
        None => {
            let small = CONVERTERS
                .with_borrow_mut(|c| c.grey.convert(frame, colour, Pixel::GRAY8, size))?;
            pack(&small, size, 1)
        }
    };
    to_sdr_grey(&mut pixels, colour.transfer);
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
struct Converter(Option<(scaling::Context, Colour)>);

impl Converter {
    fn convert(
        &mut self,
        frame: &frame::Video,
        colour: Colour,
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
        let fits = |(c, of): &(scaling::Context, Colour)| {
            let (i, o) = (c.input(), c.output());
            *of == colour
                && (i.format, i.width, i.height) == input
                && (o.format, o.width, o.height) == (format, size.0, size.1)
        };
        if !self.0.as_ref().is_some_and(fits) {
            let shrinks = size.0 < input.1 || size.1 < input.2;
            let flags = if shrinks { Flags::AREA } else { Flags::BICUBIC };
            let context =
                scaling::Context::get(input.0, input.1, input.2, format, size.0, size.1, flags);
            let mut context = context.map_err(failed)?;
            raw::set_colour(&mut context, colour.matrix, colour.full_range);
            self.0 = Some((context, colour));
        }
        let mut output = frame::Video::empty();
        if let Some((context, _)) = &mut self.0 {
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
