//! Is this face good enough to be searched? Every refusal has a reason that machines can count.

pub use super::landmarks::Pose;
use super::landmarks::are_a_face;
use crate::align::{ALIGNED_SIDE, ARCFACE_TEMPLATE, AlignedCrop, Similarity2};
use crate::geometry::{DetectedFace, Rect};
use crate::picture::PictureRef;

/// What a face must have.
///
/// The defaults were measured on portraits, a talking head of 50 pixels and a street crowd with the
/// default models. Good portraits have a sharpness above 0.24, recognisable faces of the crowd
/// above 0.01; a portrait blurred until 0.008 has a cosine of 0.6 to itself unblurred. Faces with an
/// estimated yaw above 60 degrees were profiles. None of the good faces is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceGates {
    /// Lowest detector score, 0..=1.
    pub score_min: f32,
    /// Shortest side of the box, in picture pixels. Below 24 the embedder sees four invented
    /// pixels for each real one.
    pub side_min: f32,
    /// Lowest [`sharpness`], a ratio without unit.
    pub sharpness_min: f32,
    /// Largest turn to the side, in degrees, as [`Pose`] estimates it.
    pub yaw_max: f32,
    /// Largest nod up or down, in degrees, as [`Pose`] estimates it.
    pub pitch_max: f32,
    /// Largest tilt of the head in the picture's plane, in degrees.
    pub roll_max: f32,
    /// Smallest part of the box that lies inside the picture, 0..=1.
    pub inside_min: f32,
}

impl FaceGates {
    /// Refuses only landmarks that are no face's.
    pub const OPEN: Self = Self {
        score_min: 0.0,
        side_min: 0.0,
        sharpness_min: 0.0,
        yaw_max: 90.0,
        pitch_max: 90.0,
        roll_max: 180.0,
        inside_min: 0.0,
    };
}

impl Default for FaceGates {
    fn default() -> Self {
        Self {
            score_min: 0.5,
            side_min: 24.0,
            sharpness_min: 0.008,
            yaw_max: 60.0,
            pitch_max: 50.0,
            roll_max: 60.0,
            inside_min: 0.75,
        }
    }
}

/// Why a face was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum FaceRejection {
    /// The detector is not sure that it is a face.
    #[error("the detector is not sure that this is a face")]
    LowConfidence,
    /// A side of the box is too short.
    #[error("the face is too small")]
    FaceTooSmall,
    /// There is no fine structure in the face.
    #[error("the face is blurred")]
    Blurred,
    /// The landmarks are no face's: out of order, on one spot, or far outside the box.
    #[error("the landmarks are no face's")]
    BadLandmarks,
    /// A profile, a face seen from far above or below, or a head upside down.
    #[error("the face is turned too far away")]
    ExtremePose,
    /// Too much of the face lies outside the picture.
    #[error("the face lies partly outside the picture")]
    OutOfPicture,
}

impl FaceRejection {
    /// Every reason, in the order in which they are tried.
    pub const ALL: [Self; 6] = [
        Self::LowConfidence,
        Self::OutOfPicture,
        Self::FaceTooSmall,
        Self::BadLandmarks,
        Self::ExtremePose,
        Self::Blurred,
    ];

    /// The name machines know it by, such as `FACE_TOO_SMALL`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::LowConfidence => "LOW_CONFIDENCE",
            Self::FaceTooSmall => "FACE_TOO_SMALL",
            Self::Blurred => "BLURRED",
            Self::BadLandmarks => "BAD_LANDMARKS",
            Self::ExtremePose => "EXTREME_POSE",
            Self::OutOfPicture => "OUT_OF_PICTURE",
        }
    }
}

/// How good a face is for recognising its owner, 0..=1. For ranking faces of one person; it is
/// no probability.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Quality(f32);

impl Quality {
    /// A quality of `value`, moved into 0..=1 (NaN becomes 0).
    #[must_use]
    pub fn new(value: f32) -> Self {
        Self(if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        })
    }

    /// The value, 0..=1.
    #[must_use]
    pub const fn get(self) -> f32 {
        self.0
    }
}

/// Judges a face of `picture`; `crop` is the same face, aligned.
///
/// The quality is `score * min(1, side / 112)^1/2 * min(1, sharpness / 0.5)^1/4 * (cos(yaw) cos(pitch))^1/2`: it
/// never falls when any of them improves and the rest stays. Size counts until the crop no longer
/// invents pixels; sharpness counts little, since it also measures beards and light.
///
/// Cost: two passes over the crop, some 50 microseconds.
///
/// # Errors
/// The first reason of [`FaceRejection::ALL`] that applies.
pub fn judge(
    picture: PictureRef<'_>,
    face: &DetectedFace,
    crop: &AlignedCrop,
    gates: &FaceGates,
) -> Result<Quality, FaceRejection> {
    let measures = measure(picture, face, crop);
    // Written so that a NaN is a refusal.
    let refusals = [
        (face.score >= gates.score_min, FaceRejection::LowConfidence),
        (
            measures.inside >= gates.inside_min,
            FaceRejection::OutOfPicture,
        ),
        (measures.side >= gates.side_min, FaceRejection::FaceTooSmall),
        (are_a_face(face), FaceRejection::BadLandmarks),
        (
            measures.pose.is_some_and(|p| within(p, gates)),
            FaceRejection::ExtremePose,
        ),
        (
            measures.sharpness >= gates.sharpness_min,
            FaceRejection::Blurred,
        ),
    ];
    if let Some((_, reason)) = refusals.iter().find(|(passes, _)| !passes) {
        return Err(*reason);
    }
    let facing = measures.pose.map_or(0.0, Pose::facing);
    let size = (measures.side / ALIGNED_SIDE as f32).min(1.0).sqrt();
    let sharp = (measures.sharpness / 0.5).min(1.0).powf(0.25);
    Ok(Quality::new(face.score * size * sharp * facing.sqrt()))
}

fn within(pose: Pose, gates: &FaceGates) -> bool {
    pose.yaw <= gates.yaw_max
        && pose.pitch.abs() <= gates.pitch_max
        && pose.roll.abs() <= gates.roll_max
}

/// What the gates look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceMeasures {
    /// The shorter side of the box, in picture pixels.
    pub side: f32,
    /// The part of the box that lies inside the picture, 0..=1; 0 when an eye, the nose or a mouth
    /// corner lies outside.
    pub inside: f32,
    /// [`sharpness`] of the crop.
    pub sharpness: f32,
    /// The head's pose; `None` when the landmarks are no face's.
    pub pose: Option<Pose>,
}

/// Measures a face of `picture`; `crop` is the same face, aligned.
#[must_use]
pub fn measure(picture: PictureRef<'_>, face: &DetectedFace, crop: &AlignedCrop) -> FaceMeasures {
    let frame = Rect::new(0.0, 0.0, picture.width() as f32, picture.height() as f32);
    let landmarks_inside = face
        .landmarks
        .iter()
        .all(|p| p.x >= 0.0 && p.y >= 0.0 && p.x <= frame.width && p.y <= frame.height);
    let inside = if landmarks_inside && face.rect.area() > 0.0 {
        face.rect.intersection(&frame).area() / face.rect.area()
    } else {
        0.0
    };
    let enlarged = Similarity2::fit(&face.landmarks, &ARCFACE_TEMPLATE).map_or(1.0, |f| f.scale());
    FaceMeasures {
        side: face.rect.width.min(face.rect.height),
        inside,
        sharpness: sharpness(crop, enlarged),
        pose: Pose::of(&face.landmarks),
    }
}

/// The variance of the Laplacian over the variance of the brightness, in the middle of the crop.
///
/// The quotient does not change with contrast, so that a dark face is not taken for a blurred one.
/// `enlarged` is by how much alignment enlarged the face: the Laplacian is taken over that many
/// pixels, or every small face would seem blurred. 0 for a crop of one colour.
#[must_use]
pub fn sharpness(crop: &AlignedCrop, enlarged: f32) -> f32 {
    let side = ALIGNED_SIDE as usize;
    let gray: Vec<f32> = crop.rgb().chunks_exact(3).map(luma).collect();
    let step = crate::number::round_u32(enlarged).clamp(1, 6) as usize;
    // From the brows to the chin, ear to ear, with no background and no black border.
    let (rows, columns) = (32..100, 28..84);
    let (mut bright, mut edges) = (Moments::default(), Moments::default());
    for y in rows {
        for x in columns.clone() {
            let at = y * side + x;
            let around =
                gray[at - step] + gray[at + step] + gray[at - step * side] + gray[at + step * side];
            bright.add(gray[at]);
            edges.add(around - 4.0 * gray[at]);
        }
    }
    let variance = bright.variance();
    // Less than one level of brightness: nothing but rounding.
    if variance > 1.0 {
        edges.variance() / variance
    } else {
        0.0
    }
}

fn luma(pixel: &[u8]) -> f32 {
    0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2])
}

#[derive(Default)]
struct Moments {
    count: f32,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f32) {
        self.count += 1.0;
        self.sum += f64::from(value);
        self.squares += f64::from(value) * f64::from(value);
    }

    fn variance(&self) -> f32 {
        let count = f64::from(self.count);
        let mean = self.sum / count;
        crate::number::to_f32((self.squares / count - mean * mean).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::align;
    use crate::detect::{DetectSize, Detector};
    use crate::fake::{FakeDetector, paint_blurred_face, paint_face};
    use crate::geometry::Point;
    use crate::picture::Picture;

    /// The verdict on a painted face, changed by `change` before it is judged.
    fn check(
        rect: Rect,
        blurred: bool,
        change: impl Fn(&mut DetectedFace),
    ) -> Result<Quality, FaceRejection> {
        let mut picture = Picture::filled(400, 300, [90, 90, 90]).unwrap();
        let paint = if blurred {
            paint_blurred_face
        } else {
            paint_face
        };
        paint(&mut picture, rect, 200.0);
        let faces = FakeDetector
            .detect(picture.view(), DetectSize::default())
            .unwrap();
        let mut face = faces[0];
        change(&mut face);
        let crop = align(picture.view(), &face.landmarks);
        judge(picture.view(), &face, &crop, &FaceGates::default())
    }

    const GOOD: Rect = Rect::new(100.0, 100.0, 120.0, 120.0);

    #[test]
    fn every_reason_is_given() {
        assert!(check(GOOD, false, |_| ()).is_ok());
        assert_eq!(
            check(GOOD, false, |f| f.score = 0.3),
            Err(FaceRejection::LowConfidence)
        );
        assert_eq!(
            check(GOOD, false, |f| f.score = f32::NAN),
            Err(FaceRejection::LowConfidence)
        );
        assert_eq!(
            check(Rect::new(50.0, 50.0, 20.0, 20.0), false, |_| ()),
            Err(FaceRejection::FaceTooSmall)
        );
        assert_eq!(check(GOOD, true, |_| ()), Err(FaceRejection::Blurred));
        let half_out = |f: &mut DetectedFace| f.rect.x = -60.0;
        assert_eq!(
            check(GOOD, false, half_out),
            Err(FaceRejection::OutOfPicture)
        );
        let profile = |f: &mut DetectedFace| f.landmarks[2].x = f.landmarks[1].x + 30.0;
        assert_eq!(check(GOOD, false, profile), Err(FaceRejection::ExtremePose));
        let upside_down = |f: &mut DetectedFace| {
            f.landmarks = f.landmarks.map(|p| Point::new(320.0 - p.x, 320.0 - p.y));
        };
        assert_eq!(
            check(GOOD, false, upside_down),
            Err(FaceRejection::ExtremePose)
        );
        let nowhere = |f: &mut DetectedFace| f.landmarks = [Point::new(120.0, 120.0); 5];
        assert_eq!(
            check(GOOD, false, nowhere),
            Err(FaceRejection::BadLandmarks)
        );
        let from_below = |f: &mut DetectedFace| f.landmarks[2].y = f.landmarks[0].y + 2.0;
        assert_eq!(
            check(GOOD, false, from_below),
            Err(FaceRejection::ExtremePose)
        );
    }

    #[test]
    fn quality_grows_with_size_and_score() {
        let of = |side: f32, score: f32| {
            check(Rect::new(40.0, 40.0, side, side), false, |f| {
                f.score = score
            })
            .unwrap()
            .get()
        };
        assert!(of(112.0, 0.9) > of(56.0, 0.9));
        assert!(of(56.0, 0.9) > of(28.0, 0.9));
        assert!(of(112.0, 0.9) > of(112.0, 0.6));
        assert!((0.0..=1.0).contains(&of(200.0, 1.0)));
    }

    #[test]
    fn codes_are_distinct() {
        let codes: std::collections::BTreeSet<_> = FaceRejection::ALL
            .iter()
            .map(|reason| reason.code())
            .collect();
        assert_eq!(codes.len(), FaceRejection::ALL.len());
    }
}
