//! Photos from outside: bytes in, upright RGB out, or a reason why not.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::picture::{PICTURE_SIDE_MAX, Picture};

/// The formats that are read, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, BMP";

/// How large a photo may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoLimits {
    /// Most bytes of the encoded photo.
    pub bytes_max: usize,
    /// Most pixels, width times height.
    pub pixels_max: u64,
}

impl Default for PhotoLimits {
    /// 16 MiB and 100 megapixels.
    fn default() -> Self {
        Self {
            bytes_max: 16 << 20,
            pixels_max: 100_000_000,
        }
    }
}

/// Why a photo could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhotoError {
    /// There are no bytes.
    #[error("the photo is empty (zero bytes)")]
    Empty,
    /// There are more bytes than are accepted.
    #[error("the photo has {found} bytes; at most {limit} are accepted: send a smaller one")]
    TooLargeBytes {
        /// Its size in bytes.
        found: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// Decoded, it would be too large.
    #[error(
        "the photo has {width}x{height} pixels; at most {limit} pixels, and {PICTURE_SIDE_MAX} a \
         side, are accepted: send a smaller one"
    )]
    TooManyPixels {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The most pixels that are accepted.
        limit: u64,
    },
    /// It is in no known format, or damaged.
    #[error("the photo cannot be read as {format}: {why}")]
    Unreadable {
        /// The format it seems to have, or those that would be read.
        format: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The photo as it is meant to be looked at: EXIF orientation applied, alpha laid over white,
/// greyscale, CMYK and 16-bit brought to 8-bit RGB.
///
/// The format is known by its first bytes, never by a name. Sizes are checked before a pixel is
/// decoded.
///
/// # Errors
/// [`PhotoError`]; a photo that was cut short is refused, not filled with grey.
pub fn decode(bytes: &[u8], limits: &PhotoLimits) -> Result<Picture, PhotoError> {
    if bytes.is_empty() {
        return Err(PhotoError::Empty);
    }
    if bytes.len() > limits.bytes_max {
        return Err(PhotoError::TooLargeBytes {
            found: bytes.len(),
            limit: limits.bytes_max,
        });
    }
    let format = image::guess_format(bytes)
        .ok()
        .filter(|format| format.reading_enabled());
    let Some(format) = format else {
        return Err(PhotoError::Unreadable {
            format: FORMATS.to_owned(),
            why: "its first bytes are none of theirs".to_owned(),
        });
    };
    let unreadable = |why: String| PhotoError::Unreadable {
        format: name(format),
        why,
    };
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(unreadable(
            "it ends before its end marker, so it was cut short".to_owned(),
        ));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(limits.pixels_max.saturating_mul(8).max(64 << 20));
    reader.limits(allowed);
    let mut decoder = reader
        .into_decoder()
        .map_err(|e| unreadable(e.to_string()))?;
    let (width, height) = decoder.dimensions();
    let too_many = PhotoError::TooManyPixels {
        width,
        height,
        limit: limits.pixels_max,
    };
    if u64::from(width) * u64::from(height) > limits.pixels_max
        || width.max(height) > PICTURE_SIDE_MAX
    {
        return Err(too_many);
    }
    // A damaged EXIF block is no reason to refuse the photo.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| {
        if matches!(error, ImageError::Limits(_)) {
            too_many
        } else {
            unreadable(error.to_string())
        }
    })?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    let (width, height) = (image.width(), image.height());
    Picture::new(width, height, to_rgb(image)).map_err(|e| unreadable(e.to_string()))
}

fn to_rgb(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_alpha() {
        return image.into_rgb8().into_raw();
    }
    let over_white = |value: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    };
    image
        .into_rgba8()
        .pixels()
        .flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(|value| over_white(value, p.0[3])))
        .collect()
}

fn name(format: ImageFormat) -> String {
    format!("{format:?}").to_uppercase()
}

/// Whether the marker that ends a JPEG is reached. Decoders fill what is missing with grey and say
/// nothing; half a face would then be searched.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    // After the start marker: segments, each `FF marker length(2) ...`; coded data runs on after a
    // scan's header until a marker that is neither a stuffed zero nor a restart.
    let mut at = 2;
    loop {
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| *b == 0xFF))
        else {
            return false;
        };
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xD9) => return true,
            // Fill byte: look at it again as the start of a marker.
            Some(0xFF) => {}
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            Some(_) => {
                let Some(length) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, Rgb, Rgba};
    use proptest::prelude::*;

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// 8x4: left half red, right half blue.
    fn two_colors() -> DynamicImage {
        DynamicImage::ImageRgb8(ImageBuffer::from_fn(8, 4, |x, _| {
            if x < 4 {
                Rgb([250, 0, 0])
            } else {
                Rgb([0, 0, 250])
            }
        }))
    }

    fn check(bytes: &[u8]) -> Result<Picture, PhotoError> {
        decode(bytes, &PhotoLimits::default())
    }

    #[test]
    fn formats_are_read() {
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
            let picture = check(&encode(&two_colors(), format)).unwrap();
            assert_eq!(picture.view().pixel(0, 0), Some([250, 0, 0]), "{format:?}");
            assert_eq!(picture.view().pixel(7, 3), Some([0, 0, 250]), "{format:?}");
        }
        let picture = check(&encode(&two_colors(), ImageFormat::Jpeg)).unwrap();
        assert!(picture.view().pixel(0, 0).unwrap()[0] > 150);
    }

    #[test]
    fn grey_alpha_and_sixteen_bits_become_rgb() {
        let grey = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(3, 2, Luma([0x8000])));
        let picture = check(&encode(&grey, ImageFormat::Png)).unwrap();
        assert_eq!(picture.view().pixel(2, 1), Some([128, 128, 128]));
        let clear = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(3, 2, Rgba([10, 20, 30, 0])));
        let picture = check(&encode(&clear, ImageFormat::Png)).unwrap();
        assert_eq!(picture.view().pixel(0, 0), Some([255, 255, 255]));
        let grey_jpeg = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(16, 16, Luma([77])));
        let picture = check(&encode(&grey_jpeg, ImageFormat::Jpeg)).unwrap();
        let [r, g, b] = picture.view().pixel(8, 8).unwrap();
        assert!(r == g && g == b && r.abs_diff(77) < 3);
    }

    #[test]
    fn cmyk_becomes_rgb() {
        let picture = check(include_bytes!("../tests/data/cmyk-red.jpg")).unwrap();
        let [r, g, b] = picture.view().pixel(8, 8).unwrap();
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
    }

    #[test]
    fn exif_orientation_is_honoured() {
        // Orientation 6: the camera was turned; the viewer turns a quarter clockwise.
        let jpeg = encode(&two_colors(), ImageFormat::Jpeg);
        let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = vec![0xFF, 0xD8, 0xFF, 0xE1];
        turned.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
        turned.extend(exif);
        turned.extend(&jpeg[2..]);
        let picture = check(&turned).unwrap();
        assert_eq!((picture.width(), picture.height()), (4, 8));
        let (top, bottom) = (picture.view().pixel(1, 0), picture.view().pixel(1, 7));
        assert!(
            top.unwrap()[0] > 150 && bottom.unwrap()[2] > 150,
            "{top:?} {bottom:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(check(&[]), Err(PhotoError::Empty));
        let limits = PhotoLimits {
            bytes_max: 10,
            pixels_max: 31,
        };
        assert_eq!(
            decode(&[0; 11], &limits),
            Err(PhotoError::TooLargeBytes {
                found: 11,
                limit: 10
            })
        );
        let limits = PhotoLimits {
            bytes_max: 1 << 20,
            ..limits
        };
        assert_eq!(
            decode(&encode(&two_colors(), ImageFormat::Png), &limits),
            Err(PhotoError::TooManyPixels {
                width: 8,
                height: 4,
                limit: 31
            })
        );
        for text in [
            &b"hello, I am no picture"[..],
            b"GIF89a\x01\0\x01\0",
            b"%PDF-1.7",
            b"\xFF\xD8",
        ] {
            assert!(
                matches!(check(text), Err(PhotoError::Unreadable { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_photo_cut_short_is_refused_wherever_it_was_cut() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Bmp,
        ] {
            let whole = encode(&two_colors(), format);
            // PNG decoders may do without the last, empty chunk.
            let spare = if format == ImageFormat::Png { 12 } else { 0 };
            for length in 1..whole.len() - spare {
                assert!(
                    check(&whole[..length]).is_err(),
                    "{format:?} cut to {length}"
                );
            }
        }
    }

    #[test]
    fn bytes_after_the_end_of_a_jpeg_do_no_harm() {
        let mut bytes = encode(&two_colors(), ImageFormat::Jpeg);
        bytes.extend(b"trailer \xFF\xFF");
        assert!(check(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(
            at in 0usize..400, value: u8, format in 0usize..4,
        ) {
            let format = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp]
                [format];
            let mut bytes = encode(&two_colors(), format);
            let at = at % bytes.len();
            bytes[at] = value;
            let limits = PhotoLimits { pixels_max: 1 << 20, ..PhotoLimits::default() };
            let _ = decode(&bytes, &limits);
        }
    }
}
