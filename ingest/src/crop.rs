//! Pictures as JPEG, the form in which faces are kept and shown, and as PNG.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::picture::PictureRef;

/// The quality aligned crops are kept with, 1..=100: they may be embedded again by a later model.
pub const ALIGNED_JPEG_QUALITY: u8 = 90;
/// The quality loose crops are kept with, 1..=100: they are for people to look at.
pub const LOOSE_JPEG_QUALITY: u8 = 85;

/// `picture` as a baseline JPEG of this `quality` (moved into 1..=100).
#[must_use]
pub fn to_jpeg(picture: PictureRef<'_>, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .encode(
            picture.rgb(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .expect("a picture's sides fit in a JPEG and memory does not refuse writes");
    bytes
}

/// `picture` as a PNG, 8 bits a channel, RGB.
#[must_use]
pub fn to_png(picture: PictureRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            picture.rgb(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .expect("a picture's sides fit in a PNG and memory does not refuse writes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photo::{self, PhotoLimits};
    use crate::picture::Picture;

    #[test]
    fn what_is_written_can_be_read() {
        let picture = Picture::filled(112, 90, [200, 100, 50]).unwrap();
        let bytes = to_jpeg(picture.view(), ALIGNED_JPEG_QUALITY);
        let back = photo::decode(&bytes, &PhotoLimits::default()).unwrap();
        assert_eq!((back.width(), back.height()), (112, 90));
        let near = back
            .rgb()
            .iter()
            .zip(picture.rgb())
            .all(|(a, b)| a.abs_diff(*b) <= 3);
        assert!(near);
        let back = photo::decode(&to_png(picture.view()), &PhotoLimits::default()).unwrap();
        assert_eq!(back, picture);
    }
}
