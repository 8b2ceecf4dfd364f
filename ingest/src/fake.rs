//! Fakes for tests: faces that are coloured, checkered rectangles, a detector that finds them and
//! an embedder that tells them apart by hue.
//!
//! No model and no asset is needed. The faces survive video compression: what is looked for is
//! strong colour on a grey background, and a person is a hue.

use rollcall_index::Embedding;

use crate::align::{ARCFACE_TEMPLATE, AlignedCrop};
use crate::detect::{DetectSize, Detector, InferError};
use crate::embed::Embedder;
use crate::geometry::{DetectedFace, Point, Rect};
use crate::number::{floor_u32, round_u8};
use crate::picture::{Picture, PictureRef};

/// How many values the fake embedder's embeddings have.
pub const FAKE_DIMENSION: usize = 64;
/// How many values those of the other one have.
pub const OTHER_DIMENSION: usize = 96;
/// Faces narrower or lower than this many pixels are not found.
const SIDE_MIN: u32 = 8;
/// A pixel this saturated belongs to a face.
const SATURATION_MIN: f32 = 0.3;
/// Pixels further apart in hue than this, in degrees, belong to two faces.
const HUE_GAP_MAX: f32 = 25.0;
/// Width of the bump by which a hue is written into an embedding, in degrees.
const HUE_BUMP: f32 = 12.0;
/// The checkerboard on a face has this many fields a side.
const FIELDS: f32 = 14.0;

/// Paints a face of the person with this `hue` (degrees, 0..360) over `rect`, cut off at the
/// picture's edge. People 60 degrees apart are strangers (cosine below 0.01); within 5 degrees the
/// cosine is above 0.95. The checkerboard makes the face pass the sharpness gate.
pub fn paint_face(picture: &mut Picture, rect: Rect, hue: f32) {
    let bright = color_of(hue, 240.0);
    let dark = color_of(hue, 130.0);
    paint(picture, rect, |x, y| {
        let (column, row) = (floor_u32(x * FIELDS), floor_u32(y * FIELDS));
        if (column + row) % 2 == 0 {
            bright
        } else {
            dark
        }
    });
}

/// Paints a face without any structure, which the sharpness gate refuses.
pub fn paint_blurred_face(picture: &mut Picture, rect: Rect, hue: f32) {
    let color = color_of(hue, 200.0);
    paint(picture, rect, |_, _| color);
}

/// Calls `color` with the position inside `rect` (0..1 each) for each pixel of it.
fn paint(picture: &mut Picture, rect: Rect, color: impl Fn(f32, f32) -> [u8; 3]) {
    let (width, height) = (picture.width(), picture.height());
    let (left, right) = (
        floor_u32(rect.x.round()),
        floor_u32(rect.right().round()).min(width),
    );
    let (top, bottom) = (
        floor_u32(rect.y.round()),
        floor_u32(rect.bottom().round()).min(height),
    );
    let rgb = picture.rgb_mut();
    for y in top..bottom {
        for x in left..right {
            let at = (y as usize * width as usize + x as usize) * 3;
            let inside = (
                ((x as f32 + 0.5 - rect.x) / rect.width).clamp(0.0, 1.0),
                ((y as f32 + 0.5 - rect.y) / rect.height).clamp(0.0, 1.0),
            );
            rgb[at..at + 3].copy_from_slice(&color(inside.0, inside.1));
        }
    }
}

/// Finds painted faces: connected areas of strong colour of one hue.
///
/// The box is the area's; the landmarks are where the template has them, so that the aligned crop
/// of a square face is the face itself. The score grows with the saturation, 0.5..=1. A face as
/// small as 8 pixels a side at the picture's own size is found, whatever the [`DetectSize`].
#[derive(Clone, Debug, Default)]
pub struct FakeDetector;

impl Detector for FakeDetector {
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        _input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        let (width, height) = (picture.width(), picture.height());
        let hues: Vec<Option<(f32, f32)>> = picture
            .rgb()
            .chunks_exact(3)
            .map(|p| hue_of([p[0], p[1], p[2]]))
            .collect();
        let mut seen = vec![false; hues.len()];
        let mut faces = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let start = y as usize * width as usize + x as usize;
                if seen[start] || hues[start].is_none() {
                    continue;
                }
                let area = grow(&hues, &mut seen, (x, y), (width, height));
                faces.extend(area.face());
            }
        }
        faces.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(faces)
    }
}

/// A connected area of one hue.
struct Area {
    min: (u32, u32),
    max: (u32, u32),
    pixels: u32,
    saturation: f32,
}

impl Area {
    fn face(&self) -> Option<DetectedFace> {
        let (width, height) = (self.max.0 - self.min.0 + 1, self.max.1 - self.min.1 + 1);
        let filled = self.pixels as f32 / (width * height) as f32;
        if width < SIDE_MIN || height < SIDE_MIN || filled < 0.6 {
            return None;
        }
        let rect = Rect::new(
            self.min.0 as f32,
            self.min.1 as f32,
            width as f32,
            height as f32,
        );
        let landmarks = ARCFACE_TEMPLATE.map(|p| {
            Point::new(
                rect.x + (p.x + 0.5) / 112.0 * rect.width,
                rect.y + (p.y + 0.5) / 112.0 * rect.height,
            )
        });
        let score = 0.5 + 0.5 * (self.saturation / self.pixels as f32).clamp(0.0, 1.0);
        Some(DetectedFace {
            rect,
            landmarks,
            score,
        })
    }
}

fn grow(
    hues: &[Option<(f32, f32)>],
    seen: &mut [bool],
    start: (u32, u32),
    (width, height): (u32, u32),
) -> Area {
    let at = |(x, y): (u32, u32)| y as usize * width as usize + x as usize;
    let own = hues[at(start)].map_or(0.0, |h| h.0);
    let mut area = Area {
        min: start,
        max: start,
        pixels: 0,
        saturation: 0.0,
    };
    let mut open = vec![start];
    seen[at(start)] = true;
    while let Some((x, y)) = open.pop() {
        area.min = (area.min.0.min(x), area.min.1.min(y));
        area.max = (area.max.0.max(x), area.max.1.max(y));
        area.pixels += 1;
        area.saturation += hues[at((x, y))].map_or(0.0, |h| h.1);
        let near = [
            (x.wrapping_sub(1), y),
            (x + 1, y),
            (x, y.wrapping_sub(1)),
            (x, y + 1),
        ];
        for next in near.into_iter().filter(|n| n.0 < width && n.1 < height) {
            let alike = hues[at(next)].is_some_and(|h| hue_gap(h.0, own) <= HUE_GAP_MAX);
            if alike && !seen[at(next)] {
                seen[at(next)] = true;
                open.push(next);
            }
        }
    }
    area
}

/// Embeds an aligned crop by the mean hue of its middle.
#[derive(Clone, Debug, Default)]
pub struct FakeEmbedder;

impl Embedder for FakeEmbedder {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        crops
            .iter()
            .map(|crop| embedding_of(middle_hue(crop)))
            .collect()
    }

    fn dimension(&self) -> usize {
        FAKE_DIMENSION
    }
}

/// Another model: it tells the same people apart, by embeddings of [`OTHER_DIMENSION`] values that have
/// nothing to do with those of [`FakeEmbedder`].
#[derive(Clone, Debug, Default)]
pub struct OtherEmbedder;

impl Embedder for OtherEmbedder {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        let of = |crop: &AlignedCrop| other_embedding_of(middle_hue(crop));
        crops.iter().map(of).collect()
    }

    fn dimension(&self) -> usize {
        OTHER_DIMENSION
    }
}

/// The embedding the fake embedder gives a person of this `hue` (degrees).
///
/// # Errors
/// [`InferError::Output`] when `hue` is not finite.
pub fn embedding_of(hue: f32) -> Result<Embedding, InferError> {
    bump(hue, FAKE_DIMENSION)
}

/// The embedding the other one gives.
///
/// # Errors
/// As [`embedding_of`].
pub fn other_embedding_of(hue: f32) -> Result<Embedding, InferError> {
    bump(180.0 - hue, OTHER_DIMENSION)
}

/// A hue among `dimension` places around the circle.
fn bump(hue: f32, dimension: usize) -> Result<Embedding, InferError> {
    let step = 360.0 / dimension as f32;
    let values = (0..dimension)
        .map(|i| {
            let gap = hue_gap(hue, i as f32 * step) / HUE_BUMP;
            (-gap * gap).exp()
        })
        .collect();
    Embedding::normalise(values).map_err(|why| InferError::Output {
        model: "fake".into(),
        why: why.to_string(),
    })
}

fn middle_hue(crop: &AlignedCrop) -> f32 {
    let mut sum = [0u32; 3];
    for y in 28..84 {
        for x in 28..84 {
            let pixel = crop.picture().view().pixel(x, y).unwrap_or([0; 3]);
            for (total, value) in sum.iter_mut().zip(pixel) {
                *total += u32::from(value);
            }
        }
    }
    let mean = sum.map(|total| round_u8(total as f32 / (56.0 * 56.0)));
    hue_of(mean).map_or(0.0, |(hue, _)| hue)
}

/// Hue in degrees and saturation of a colour that is saturated enough to be a face's.
fn hue_of([r, g, b]: [u8; 3]) -> Option<(f32, f32)> {
    let (r, g, b) = (f32::from(r), f32::from(g), f32::from(b));
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let spread = high - low;
    if high < 40.0 || spread / high < SATURATION_MIN {
        return None;
    }
    let sixth = if high == r {
        ((g - b) / spread).rem_euclid(6.0)
    } else if high == g {
        (b - r) / spread + 2.0
    } else {
        (r - g) / spread + 4.0
    };
    Some((sixth * 60.0, spread / high))
}

/// The fully saturated colour of this hue (degrees) and brightness (0..=255).
fn color_of(hue: f32, value: f32) -> [u8; 3] {
    let sixth = hue.rem_euclid(360.0) / 60.0;
    let channel = |offset: f32| {
        let k = (offset + sixth) % 6.0;
        round_u8(value * (1.0 - k.min(4.0 - k).clamp(0.0, 1.0)))
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// The shorter way around the circle of hues, 0..=180 degrees.
fn hue_gap(a: f32, b: f32) -> f32 {
    let gap = (a - b).rem_euclid(360.0);
    gap.min(360.0 - gap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::align;

    fn scene(faces: &[(Rect, f32)]) -> Picture {
        let mut picture = Picture::filled(320, 180, [90, 90, 90]).unwrap();
        for (rect, hue) in faces {
            paint_face(&mut picture, *rect, *hue);
        }
        picture
    }

    #[test]
    fn painted_faces_are_found_where_they_are() {
        let rects = [
            Rect::new(10.0, 20.0, 60.0, 60.0),
            Rect::new(200.0, 90.0, 40.0, 48.0),
        ];
        let picture = scene(&[(rects[0], 0.0), (rects[1], 120.0)]);
        let mut faces = FakeDetector
            .detect(picture.view(), DetectSize::default())
            .unwrap();
        faces.sort_by(|a, b| a.rect.x.total_cmp(&b.rect.x));
        let found: Vec<Rect> = faces.iter().map(|face| face.rect).collect();
        assert_eq!(found, rects);
        assert!(faces.iter().all(|face| face.score > 0.9));
    }

    #[test]
    fn touching_faces_of_two_people_are_two_faces() {
        let picture = scene(&[
            (Rect::new(10.0, 20.0, 40.0, 40.0), 0.0),
            (Rect::new(50.0, 20.0, 40.0, 40.0), 200.0),
        ]);
        assert_eq!(
            FakeDetector
                .detect(picture.view(), DetectSize::default())
                .unwrap()
                .len(),
            2
        );
        assert!(
            FakeDetector
                .detect(scene(&[]).view(), DetectSize::default())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn one_person_stays_themselves_and_strangers_are_strangers() {
        let embed = |rect: Rect, hue: f32| {
            let picture = scene(&[(rect, hue)]);
            let faces = FakeDetector
                .detect(picture.view(), DetectSize::default())
                .unwrap();
            let crop = align(picture.view(), &faces[0].landmarks);
            FakeEmbedder.embed(&[crop]).unwrap().remove(0)
        };
        let small = embed(Rect::new(10.0, 20.0, 30.0, 30.0), 0.0);
        let large = embed(Rect::new(100.0, 20.0, 120.0, 110.0), 0.0);
        let other = embed(Rect::new(10.0, 20.0, 30.0, 30.0), 60.0);
        assert_eq!(small.dimension(), FAKE_DIMENSION);
        assert!(small.dot(&large).get() > 0.95);
        assert!(small.dot(&other).get() < 0.01);
    }
}
