//! Scaling of pictures: bilinear or Lanczos, with the triangle as wide as the shrinking, so that every source
//! pixel counts (what Pillow does, not what `OpenCV` does).

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::picture::{Picture, PictureRef};

/// `picture` stretched to `width` x `height` pixels (each at least 1).
///
/// Cost: proportional to the larger of the two pictures' areas; SIMD where the CPU has it.
pub(crate) fn resize(picture: PictureRef<'_>, width: u32, height: u32) -> Picture {
    resize_by(picture, width, height, FilterType::Bilinear)
}

/// The same with the Lanczos filter of three lobes: what Pillow calls `LANCZOS`.
pub(crate) fn resize_lanczos(picture: PictureRef<'_>, width: u32, height: u32) -> Picture {
    resize_by(picture, width, height, FilterType::Lanczos3)
}

fn resize_by(picture: PictureRef<'_>, width: u32, height: u32, filter: FilterType) -> Picture {
    let (width, height) = (width.max(1), height.max(1));
    if (width, height) == (picture.width(), picture.height()) {
        return picture.to_picture();
    }
    let source: TypedImageRef<'_, U8x3> =
        TypedImageRef::from_buffer(picture.width(), picture.height(), picture.rgb())
            .expect("a picture has three bytes a pixel");
    let mut scaled = Picture::filled(width, height, [0; 3]).expect("the caller checked the sizes");
    let mut target: TypedImage<'_, U8x3> = TypedImage::from_buffer(width, height, scaled.rgb_mut())
        .expect("a picture has three bytes a pixel");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    // Typed: the untyped call would bring in code for every pixel format, most of this crate's compile time.
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("neither picture is empty");
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_every_pixel() {
        let board = (0..64 * 64).flat_map(|i| [if (i + i / 64) % 2 == 0 { 0u8 } else { 200 }; 3]);
        let picture = Picture::new(64, 64, board.collect()).unwrap();
        let small = resize(picture.view(), 8, 8);
        assert!(
            small.rgb().iter().all(|v| (96..=104).contains(v)),
            "{:?}",
            small.rgb()
        );
    }

    #[test]
    fn one_colour_stays_itself_at_any_size() {
        let picture = Picture::filled(37, 11, [1, 128, 255]).unwrap();
        for (width, height) in [(1, 1), (300, 2), (37, 11), (18, 64)] {
            let other = resize(picture.view(), width, height);
            assert_eq!((other.width(), other.height()), (width, height));
            assert!(other.rgb().chunks(3).all(|pixel| pixel == [1, 128, 255]));
        }
    }
}
