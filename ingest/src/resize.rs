//! Scaling of pictures: bilinear, with the triangle as wide as the shrinking, so that every source
//! pixel counts (what Pillow calls `BILINEAR`, not what `OpenCV` does).

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};

use crate::picture::{Picture, PictureRef};

/// `picture` stretched to `width` x `height` pixels (each at least 1).
///
/// Cost: proportional to the larger of the two pictures' areas; SIMD where the CPU has it.
pub(crate) fn resize(picture: PictureRef<'_>, width: u32, height: u32) -> Picture {
    let (width, height) = (width.max(1), height.max(1));
    if (width, height) == (picture.width(), picture.height()) {
        return picture.to_picture();
    }
    let source = images::ImageRef::new(
        picture.width(),
        picture.height(),
        picture.rgb(),
        PixelType::U8x3,
    )
    .expect("a picture has three bytes a pixel");
    let mut target = images::Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .expect("both sides are three bytes a pixel and not empty");
    Picture::new(width, height, target.into_vec()).expect("the sizes were checked by the caller")
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
