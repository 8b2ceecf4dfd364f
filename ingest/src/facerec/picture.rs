//! The picture of a face that is shown to people.

use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

use super::PixelBox;
use crate::{
    crop::to_jpeg,
    number::{round_u32, to_f32},
    picture::{Picture, PictureRef},
    resize::resize,
};

/// The longest side, in pixels.
const SIDE_MAX: u32 = 160;
/// Around the box, in parts of its shorter side.
const PADDING: f64 = 0.1;
const QUALITY: u8 = 65;

/// The face in `face`, a tenth of the box's shorter side wider on each side, at most 160 pixels a side,
/// as JPEG; grey where the picture has no colour.
pub(super) fn face_picture(picture: PictureRef<'_>, face: &PixelBox) -> Vec<u8> {
    let crop = shrink(cut(picture, face));
    let is_grey = crop.rgb().chunks_exact(3).all(|p| p[0] == p[1]);
    if !is_grey {
        return to_jpeg(crop.view(), QUALITY);
    }
    let grey: Vec<u8> = crop.rgb().chunks_exact(3).map(|p| p[0]).collect();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .write_image(&grey, crop.width(), crop.height(), ExtendedColorType::L8)
        .expect("a small picture fits in a JPEG and memory does not refuse writes");
    bytes
}

fn cut(picture: PictureRef<'_>, face: &PixelBox) -> Picture {
    let shorter = (face[2] - face[0]).min(face[3] - face[1]);
    let pad = i64::from(round_u32(to_f32(shorter as f64 * PADDING)));
    let clip = |value: i64, side: u32| u32::try_from(value.clamp(0, i64::from(side))).unwrap_or(0);
    let (width, height) = (picture.width(), picture.height());
    let (left, top) = (
        clip(face[0] - pad, width - 1),
        clip(face[1] - pad, height - 1),
    );
    let (right, bottom) = (clip(face[2] + pad, width), clip(face[3] + pad, height));
    let (wide, high) = (
        right.saturating_sub(left).max(1),
        bottom.saturating_sub(top).max(1),
    );
    let part = picture.part((i64::from(left), i64::from(top)), (wide, high));
    part.expect("a part of a picture is a picture")
}

fn shrink(crop: Picture) -> Picture {
    let longest = crop.width().max(crop.height());
    if longest <= SIDE_MAX {
        return crop;
    }
    let side = |side: u32| (side * SIDE_MAX + longest / 2) / longest;
    resize(
        crop.view(),
        side(crop.width()).max(1),
        side(crop.height()).max(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photo::{PhotoLimits, decode};

    #[test]
    fn faces_are_cut_with_some_room_and_kept_small() {
        let picture = Picture::filled(640, 360, [200, 100, 50]).unwrap();
        let size = |face: PixelBox| {
            let bytes = face_picture(picture.view(), &face);
            let back = decode(&bytes, &PhotoLimits::default()).unwrap();
            (back.width(), back.height())
        };
        assert_eq!(size([100, 100, 150, 160]), (60, 70));
        assert_eq!(size([0, 0, 50, 60]), (55, 65), "cut off at the edge");
        assert_eq!(size([300, 10, 500, 350]), (107, 160));
        assert_eq!(
            size([640, 360, 640, 360]),
            (1, 1),
            "nothing of it is in the picture"
        );
    }

    #[test]
    fn what_has_no_colour_is_kept_grey() {
        let components = |color| {
            let picture = Picture::filled(64, 64, color).unwrap();
            let jpeg = face_picture(picture.view(), &[10, 10, 40, 40]);
            let frame = jpeg
                .windows(2)
                .position(|pair| pair == [0xff, 0xc0])
                .unwrap();
            jpeg[frame + 9]
        };
        assert_eq!((components([90; 3]), components([90, 91, 90])), (1, 3));
    }
}
