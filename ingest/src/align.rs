//! Alignment: a similarity transform takes the five landmarks onto the ArcFace template.
//!
//! The transform is the least-squares one of Umeyama, "Least-Squares Estimation of Transformation
//! Parameters Between Two Point Patterns", IEEE PAMI 13(4), 1991. In the plane and without
//! reflection it is a regression of complex numbers, so no singular value decomposition is needed.

use crate::geometry::{DetectedFace, Point, Rect};
use crate::number::{floor_u32, round_u8};
use crate::picture::{Picture, PictureError, PictureRef};
use crate::resize;

/// Width and height of an aligned crop, in pixels.
pub const ALIGNED_SIDE: u32 = 112;
/// Bytes of an aligned crop: three a pixel.
pub const ALIGNED_BYTES: usize = 112 * 112 * 3;
/// The longest side of a loose crop, in pixels.
pub const LOOSE_SIDE_MAX: u32 = 256;
/// How many times the longer side of the face's box a loose crop is wide.
pub const LOOSE_FACTOR: f32 = 1.6;

/// Where ArcFace wants the landmarks of a 112x112 crop, as indices of pixel centres: eye, eye,
/// nose, mouth corner, mouth corner. `InsightFace` and `OpenCV` share it.
pub const ARCFACE_TEMPLATE: [Point; 5] = [
    Point::new(38.2946, 51.6963),
    Point::new(73.5318, 51.5014),
    Point::new(56.0252, 71.7366),
    Point::new(41.5493, 92.3655),
    Point::new(70.7299, 92.2041),
];

/// A face turned and scaled onto the template: 112x112 pixels of packed RGB24.
#[derive(Clone, PartialEq, Eq)]
pub struct AlignedCrop(Picture);

impl AlignedCrop {
    /// An aligned crop from packed RGB24 bytes.
    ///
    /// # Errors
    /// [`PictureError::Length`] unless there are [`ALIGNED_BYTES`] bytes.
    pub fn from_rgb(rgb: Vec<u8>) -> Result<Self, PictureError> {
        Picture::new(ALIGNED_SIDE, ALIGNED_SIDE, rgb).map(Self)
    }

    /// A picture of 112x112 pixels, such as a decoded crop that was kept; `None` for one of another size.
    #[must_use]
    pub fn from_picture(picture: Picture) -> Option<Self> {
        let sides = (picture.width(), picture.height());
        (sides == (ALIGNED_SIDE, ALIGNED_SIDE)).then_some(Self(picture))
    }

    /// The bytes: `(y * 112 + x) * 3` is where pixel (x, y) begins.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        self.0.rgb()
    }

    /// The crop as a picture.
    #[must_use]
    pub fn picture(&self) -> &Picture {
        &self.0
    }
}

impl std::fmt::Debug for AlignedCrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlignedCrop")
    }
}

/// Turns, scales and moves the plane: `x' = a x - b y + tx`, `y' = b x + a y + ty`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity2 {
    /// Scale times the cosine of the angle.
    pub a: f32,
    /// Scale times the sine of the angle.
    pub b: f32,
    /// Movement to the right, in pixels.
    pub tx: f32,
    /// Movement down, in pixels.
    pub ty: f32,
}

impl Similarity2 {
    /// Leaves every point where it is.
    pub const IDENTITY: Self = Self {
        a: 1.0,
        b: 0.0,
        tx: 0.0,
        ty: 0.0,
    };

    /// The similarity that takes `from` nearest to `to`, in the sense of least squares.
    ///
    /// `None` when all points of `from` coincide (or nearly), or a coordinate is not finite.
    #[must_use]
    pub fn fit(from: &[Point; 5], to: &[Point; 5]) -> Option<Self> {
        let mean = |points: &[Point; 5]| {
            let sum = points.iter().fold((0f64, 0f64), |s, p| {
                (s.0 + f64::from(p.x), s.1 + f64::from(p.y))
            });
            (sum.0 / 5.0, sum.1 / 5.0)
        };
        let (from_mean, to_mean) = (mean(from), mean(to));
        let (mut real, mut imaginary, mut spread) = (0f64, 0f64, 0f64);
        for (p, q) in from.iter().zip(to) {
            let (px, py) = (f64::from(p.x) - from_mean.0, f64::from(p.y) - from_mean.1);
            let (qx, qy) = (f64::from(q.x) - to_mean.0, f64::from(q.y) - to_mean.1);
            real += px * qx + py * qy;
            imaginary += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (real / spread, imaginary / spread);
        let tx = to_mean.0 - (a * from_mean.0 - b * from_mean.1);
        let ty = to_mean.1 - (b * from_mean.0 + a * from_mean.1);
        let fit = Self {
            a: crate::number::to_f32(a),
            b: crate::number::to_f32(b),
            tx: crate::number::to_f32(tx),
            ty: crate::number::to_f32(ty),
        };
        let usable = spread > 1e-6 && fit.scale() > 1e-6;
        (usable && [fit.a, fit.b, fit.tx, fit.ty].iter().all(|v| v.is_finite())).then_some(fit)
    }

    /// Where `point` goes.
    #[must_use]
    pub fn apply(&self, point: Point) -> Point {
        Point::new(
            self.a * point.x - self.b * point.y + self.tx,
            self.b * point.x + self.a * point.y + self.ty,
        )
    }

    /// The transform that undoes this one. Its scale must not be zero ([`Similarity2::fit`] never
    /// gives such a one).
    #[must_use]
    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        Self {
            a,
            b,
            tx: -(a * self.tx - b * self.ty),
            ty: -(b * self.tx + a * self.ty),
        }
    }

    /// By how much lengths grow.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.a.hypot(self.b)
    }
}

/// The face of `picture` whose landmarks (in picture pixels) are given, aligned to the template.
///
/// Bilinear; what lies outside the picture is black. A face that is shrunk to less than half is
/// averaged over several samples a pixel, or thin structures would flicker from frame to frame.
/// Landmarks that determine no transform (all in one place, or not finite) give a black crop, which
/// every gate refuses.
///
/// Cost: about 12,500 samples, times the square of the shrinking where that is above 2.
#[must_use]
pub fn align(picture: PictureRef<'_>, landmarks: &[Point; 5]) -> AlignedCrop {
    // Landmarks count from the corner of the first pixel, the template from its centre.
    let centered = landmarks.map(|p| Point::new(p.x - 0.5, p.y - 0.5));
    let rgb = match Similarity2::fit(&centered, &ARCFACE_TEMPLATE) {
        Some(fit) => warp(picture, &fit, ALIGNED_SIDE),
        None => vec![0; ALIGNED_BYTES],
    };
    AlignedCrop::from_rgb(rgb).expect("the warp gives a square of the aligned side")
}

/// The square of `side` pixels, packed RGB, that `transform` (indices of pixel centres) takes
/// `picture` onto.
pub(crate) fn warp(picture: PictureRef<'_>, transform: &Similarity2, side: u32) -> Vec<u8> {
    let back = transform.inverse();
    // One sample a pixel up to a shrinking of 2, where bilinear still touches every source pixel.
    let samples = floor_u32(back.scale()).clamp(1, 8);
    let step = 1.0 / samples as f32;
    let weight = 1.0 / (samples * samples) as f32;
    let mut rgb = Vec::with_capacity(side as usize * side as usize * 3);
    for v in 0..side {
        for u in 0..side {
            let mut sum = [0f32; 3];
            for j in 0..samples {
                for i in 0..samples {
                    let at = Point::new(
                        u as f32 + (i as f32 + 0.5) * step - 0.5,
                        v as f32 + (j as f32 + 0.5) * step - 0.5,
                    );
                    let color = bilinear(picture, back.apply(at));
                    for (total, value) in sum.iter_mut().zip(color) {
                        *total += value;
                    }
                }
            }
            rgb.extend(sum.map(|value| round_u8(value * weight)));
        }
    }
    rgb
}

/// The colour of `picture` at `at` (indices of pixel centres), with black around it.
fn bilinear(picture: PictureRef<'_>, at: Point) -> [f32; 3] {
    let (width, height) = (picture.width(), picture.height());
    let inside = at.x > -1.0 && at.y > -1.0 && at.x < width as f32 && at.y < height as f32;
    if !inside {
        return [0.0; 3];
    }
    // Shifted by one so that the column left of the picture is number 0.
    let (column, row) = (floor_u32(at.x + 1.0), floor_u32(at.y + 1.0));
    let (fx, fy) = (at.x + 1.0 - column as f32, at.y + 1.0 - row as f32);
    if column >= 1 && row >= 1 && column < width && row < height {
        // All four neighbours lie in the picture: two slices, no test a pixel.
        let row_bytes = width as usize * 3;
        let start = (row as usize - 1) * row_bytes + (column as usize - 1) * 3;
        let upper = &picture.rgb()[start..start + 6];
        let lower = &picture.rgb()[start + row_bytes..start + row_bytes + 6];
        return [0, 1, 2].map(|c| {
            let mix = |row: &[u8]| f32::from(row[c]) * (1.0 - fx) + f32::from(row[c + 3]) * fx;
            mix(upper) * (1.0 - fy) + mix(lower) * fy
        });
    }
    let neighbour = |dx: u32, dy: u32| {
        let (x, y) = ((column + dx).checked_sub(1), (row + dy).checked_sub(1));
        x.zip(y)
            .and_then(|(x, y)| picture.pixel(x, y))
            .unwrap_or([0; 3])
    };
    let (upper, lower) = (
        [neighbour(0, 0), neighbour(1, 0)],
        [neighbour(0, 1), neighbour(1, 1)],
    );
    [0, 1, 2].map(|c| {
        let mix =
            |row: &[[u8; 3]; 2]| f32::from(row[0][c]) * (1.0 - fx) + f32::from(row[1][c]) * fx;
        mix(&upper) * (1.0 - fy) + mix(&lower) * fy
    })
}

/// A looser square around a face, for people to look at: [`LOOSE_FACTOR`] times the longer side of
/// `rect`, moved (and, where it must be, shrunk) to lie inside the picture, at most
/// [`LOOSE_SIDE_MAX`] pixels wide.
#[must_use]
pub fn loose_crop(picture: PictureRef<'_>, rect: &Rect) -> Picture {
    let (left, top, side) = loose_square((picture.width(), picture.height()), rect);
    let square = picture.part((i64::from(left), i64::from(top)), (side, side));
    let square = square.expect("a square cut from a picture is a picture");
    if side > LOOSE_SIDE_MAX {
        resize::resize(square.view(), LOOSE_SIDE_MAX, LOOSE_SIDE_MAX)
    } else {
        square
    }
}

/// `face` of a picture of `size` as it lies in its [`loose_crop`], in pixels of that.
#[must_use]
pub fn in_loose_crop(size: (u32, u32), face: &DetectedFace) -> DetectedFace {
    let (left, top, side) = loose_square(size, &face.rect);
    let by = side.min(LOOSE_SIDE_MAX) as f32 / side as f32;
    face.mapped(by, by, -(left as f32) * by, -(top as f32) * by)
}

/// Left and top edge and side, in pixels, of a loose crop before it is shrunk.
fn loose_square((width, height): (u32, u32), rect: &Rect) -> (u32, u32, u32) {
    let room = width.min(height).max(1);
    let wanted = LOOSE_FACTOR * rect.width.max(rect.height);
    let side = floor_u32(wanted.ceil()).clamp(1, room);
    let middle = rect.center();
    let left = floor_u32(middle.x - side as f32 / 2.0).min(width.saturating_sub(side));
    let top = floor_u32(middle.y - side as f32 / 2.0).min(height.saturating_sub(side));
    (left, top, side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32) -> Picture {
        let mut state = 7u32;
        let bytes = (0..width * height * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        Picture::new(width, height, bytes.collect()).unwrap()
    }

    #[test]
    fn landmarks_on_the_template_reproduce_the_pixels() {
        let picture = noise(112, 112);
        let landmarks = ARCFACE_TEMPLATE.map(|p| Point::new(p.x + 0.5, p.y + 0.5));
        assert_eq!(align(picture.view(), &landmarks).rgb(), picture.rgb());
    }

    #[test]
    fn a_whole_pixel_shift_moves_the_pixels_and_leaves_a_black_border() {
        let picture = noise(112, 112);
        let landmarks = ARCFACE_TEMPLATE.map(|p| Point::new(p.x + 0.5 - 10.0, p.y + 0.5 - 3.0));
        let crop = align(picture.view(), &landmarks);
        let crop = crop.picture().view();
        assert_eq!(crop.pixel(10, 3), picture.view().pixel(0, 0));
        assert_eq!(crop.pixel(60, 50), picture.view().pixel(50, 47));
        assert_eq!(crop.pixel(5, 50), Some([0; 3]));
    }

    #[test]
    fn landmarks_in_one_place_or_not_finite_give_a_black_crop() {
        let picture = noise(20, 20);
        for at in [
            Point::new(5.0, 5.0),
            Point::new(f32::NAN, 1.0),
            Point::new(1.0, f32::INFINITY),
        ] {
            assert!(
                align(picture.view(), &[at; 5])
                    .rgb()
                    .iter()
                    .all(|byte| *byte == 0)
            );
        }
    }

    #[test]
    fn shrinking_averages_instead_of_picking() {
        // A fine checkerboard becomes even grey when the face is shrunk eightfold.
        let side = 112 * 8;
        let board = (0..side * side)
            .flat_map(|i| {
                [if (i % side + i / side) % 2 == 0 {
                    0u8
                } else {
                    255
                }; 3]
            })
            .collect();
        let picture = Picture::new(side, side, board).unwrap();
        let landmarks = ARCFACE_TEMPLATE.map(|p| Point::new((p.x + 0.5) * 8.0, (p.y + 0.5) * 8.0));
        let crop = align(picture.view(), &landmarks);
        let middle = crop.picture().view().pixel(56, 56).unwrap();
        assert!((100..=155).contains(&middle[0]), "{middle:?}");
    }

    #[test]
    fn loose_crops_stay_inside_and_small() {
        let picture = noise(300, 200);
        for (rect, side) in [
            (Rect::new(100.0, 50.0, 50.0, 60.0), 96),
            (Rect::new(-40.0, -40.0, 60.0, 60.0), 96),
            (Rect::new(280.0, 190.0, 60.0, 60.0), 96),
            (Rect::new(0.0, 0.0, 5000.0, 5000.0), 200),
            (Rect::new(f32::NAN, 0.0, 10.0, 10.0), 16),
            (Rect::new(1.0, 1.0, 0.0, 0.0), 1),
        ] {
            let crop = loose_crop(picture.view(), &rect);
            assert_eq!((crop.width(), crop.height()), (side, side), "{rect:?}");
        }
        let large = noise(900, 700);
        let crop = loose_crop(large.view(), &Rect::new(100.0, 100.0, 400.0, 400.0));
        assert_eq!(
            (crop.width(), crop.height()),
            (LOOSE_SIDE_MAX, LOOSE_SIDE_MAX)
        );
    }

    #[test]
    fn a_face_is_where_it_lies_in_its_loose_crop() {
        // A red pixel at the nose is found again, in a crop shrunk by nearly two and moved.
        let mut picture = Picture::filled(900, 700, [10; 3]).unwrap();
        let nose = Point::new(151.0, 121.0);
        for y in 118..124 {
            for x in 148..154 {
                let at = (y * 900 + x) * 3;
                picture.rgb_mut()[at..at + 3].copy_from_slice(&[255, 0, 0]);
            }
        }
        let face = DetectedFace {
            rect: Rect::new(10.0, 20.0, 280.0, 300.0),
            landmarks: [nose; 5],
            score: 0.9,
        };
        let crop = loose_crop(picture.view(), &face.rect);
        let there = in_loose_crop((900, 700), &face);
        let at = there.landmarks[0];
        let pixel = crop.view().pixel(floor_u32(at.x), floor_u32(at.y)).unwrap();
        assert!(pixel[0] > 200 && pixel[1] < 60, "{at:?}: {pixel:?}");
        assert!((there.rect.height - 300.0 * 256.0 / 480.0).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn fit_recovers_a_known_similarity(
            scale in 0.05f32..20.0, angle in -3.1f32..3.1, tx in -500f32..500.0, ty in -500f32..500.0,
        ) {
            let known =
                Similarity2 { a: scale * angle.cos(), b: scale * angle.sin(), tx, ty };
            let moved = ARCFACE_TEMPLATE.map(|p| known.apply(p));
            let found = Similarity2::fit(&ARCFACE_TEMPLATE, &moved).unwrap();
            let size = scale.max(1.0);
            prop_assert!((found.a - known.a).abs() < 1e-4 * size);
            prop_assert!((found.b - known.b).abs() < 1e-4 * size);
            for p in ARCFACE_TEMPLATE {
                prop_assert!(found.apply(p).distance(known.apply(p)) < 2e-3 * size);
            }
        }

        #[test]
        fn inverse_undoes(
            scale in 0.05f32..20.0, angle in -3.1f32..3.1, tx in -50f32..50.0, ty in -50f32..50.0,
        ) {
            let there = Similarity2 { a: scale * angle.cos(), b: scale * angle.sin(), tx, ty };
            let back = there.inverse();
            let p = Point::new(30.0, 70.0);
            prop_assert!(back.apply(there.apply(p)).distance(p) < 2e-2);
        }
    }
}
