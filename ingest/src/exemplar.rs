//! The faces of a track that are kept: few, good, and unlike each other.

use rollcall_index::Embedding;

use crate::{
    align::{AlignedCrop, in_loose_crop},
    crop::{ALIGNED_JPEG_QUALITY, LOOSE_JPEG_QUALITY, to_jpeg},
    geometry::DetectedFace,
    observe::{FractionBox, ObservedExemplar, ObservedFace},
    picture::Picture,
    source::FrameStamp,
};

/// A face in one frame, and what is needed to make an exemplar of it.
#[derive(Clone, Debug)]
pub struct SeenFace {
    /// The frame.
    pub stamp: FrameStamp,
    /// Its rank among the faces of the frame, best score first.
    pub rank: usize,
    /// Box and landmarks, in picture pixels.
    pub face: DetectedFace,
    /// Width and height of that picture.
    pub picture: (u32, u32),
    /// Absent when the face gates refused it, or nobody looked.
    pub good: Option<GoodFace>,
}

/// A face that passed the gates.
#[derive(Clone, Debug)]
pub struct GoodFace {
    /// 0 to 1, higher is better.
    pub quality: f32,
    /// Aligned to the embedder's template.
    pub crop: AlignedCrop,
    /// For people to look at.
    pub loose: Picture,
    /// Absent until the face was embedded.
    pub embedding: Option<Embedding>,
}

impl SeenFace {
    /// The face as it is reported, in fractions of the picture, cut off at its edges.
    #[must_use]
    pub fn observed(&self) -> ObservedFace {
        let (width, height) = (self.picture.0.max(1) as f32, self.picture.1.max(1) as f32);
        let rect = self.face.rect;
        let (left, right) = (fraction(rect.x, width), fraction(rect.right(), width));
        let (top, bottom) = (fraction(rect.y, height), fraction(rect.bottom(), height));
        ObservedFace {
            frame: self.stamp.number,
            time: self.stamp.time,
            rect: FractionBox {
                x: left,
                y: top,
                width: right - left,
                height: bottom - top,
            },
            confidence: self.face.score,
        }
    }

    /// The embedding, once there is one.
    #[must_use]
    pub fn embedding(&self) -> Option<&Embedding> {
        self.good.as_ref()?.embedding.as_ref()
    }

    fn landmark_fractions(&self) -> [f32; 10] {
        let (width, height) = (self.picture.0.max(1) as f32, self.picture.1.max(1) as f32);
        let mut values = [0.0; 10];
        for (pair, point) in values.chunks_exact_mut(2).zip(self.face.landmarks) {
            pair[0] = fraction(point.x, width);
            pair[1] = fraction(point.y, height);
        }
        values
    }
}

fn fraction(value: f32, whole: f32) -> f32 {
    (value / whole).clamp(0.0, 1.0)
}

/// When a face becomes an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExemplarRules {
    /// Most exemplars a track keeps.
    pub count_max: usize,
    /// Faces more alike than this (cosine) are one pose: only the better one is kept.
    pub duplicate_from: f32,
    /// How much better a face must be to take another one's place.
    pub gain_min: f32,
}

impl Default for ExemplarRules {
    fn default() -> Self {
        Self {
            count_max: 5,
            duplicate_from: 0.9,
            gain_min: 0.03,
        }
    }
}

/// The exemplars of one track.
///
/// Of all sets of at most [`ExemplarRules::count_max`] faces that are unlike each other
/// (cosine below [`ExemplarRules::duplicate_from`]), it aims at the one whose qualities sum up to
/// most, seeing each face once. Where faces fall into groups that are alike within and unlike
/// between, it misses that by at most `gain_min` a face; where likeness is no such neat thing, the
/// faces kept are unlike each other all the same.
#[derive(Clone, Debug)]
pub struct ExemplarSet {
    rules: ExemplarRules,
    kept: Vec<Kept>,
    last_number: u32,
    dropped: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Kept {
    exemplar: ObservedExemplar,
    sent: bool,
}

impl ExemplarSet {
    /// No exemplars yet.
    #[must_use]
    pub fn new(rules: ExemplarRules) -> Self {
        Self {
            rules,
            kept: Vec::new(),
            last_number: 0,
            dropped: Vec::new(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether a face of this quality might be kept, were it unlike the others.
    #[must_use]
    pub fn might_take(&self, quality: f32) -> bool {
        self.kept.len() < self.rules.count_max || quality > self.lowest() + self.rules.gain_min
    }

    /// Whether there is room without giving one up.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.kept.len() < self.rules.count_max
    }

    /// Cosine to the most similar exemplar; `None` when there is none.
    #[must_use]
    pub fn similarity(&self, embedding: &Embedding) -> Option<f32> {
        let all = self
            .kept
            .iter()
            .map(|k| k.exemplar.embedding.dot(embedding).get());
        all.max_by(f32::total_cmp)
    }

    /// Keeps `face` if it adds something; true if it was kept. A face without an embedding is not.
    pub fn offer(&mut self, face: &SeenFace) -> bool {
        let Some(GoodFace {
            quality,
            embedding: Some(embedding),
            ..
        }) = &face.good
        else {
            return false;
        };
        let mut rivals: Vec<usize> = (0..self.kept.len())
            .filter(|at| {
                let kept = &self.kept[*at].exemplar.embedding;
                kept.dot(embedding).get() >= self.rules.duplicate_from
            })
            .collect();
        if rivals.is_empty() && !self.has_room() {
            rivals.extend(self.worst());
        }
        // All that it resembles must be worse: those kept stay unlike each other.
        let beaten = |at: &usize| *quality > self.kept[*at].exemplar.quality + self.rules.gain_min;
        if !rivals.iter().all(beaten) {
            return false;
        }
        for at in rivals.into_iter().rev() {
            let old = self.kept.remove(at);
            if old.sent {
                self.dropped.push(old.exemplar.number);
            }
        }
        self.last_number += 1;
        self.kept.extend(make(face, self.last_number));
        true
    }

    /// Whether something changed since the last [`ExemplarSet::take_changes`].
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.dropped.is_empty() || self.kept.iter().any(|k| !k.sent)
    }

    /// Exemplars not taken yet, and the numbers of taken ones that were given up.
    pub fn take_changes(&mut self) -> (Vec<ObservedExemplar>, Vec<u32>) {
        let mut new = Vec::new();
        for kept in self.kept.iter_mut().filter(|k| !k.sent) {
            kept.sent = true;
            new.push(kept.exemplar.clone());
            // They are written down elsewhere now; only the embedding is needed here.
            kept.exemplar.crop = Vec::new();
            kept.exemplar.loose_crop = Vec::new();
        }
        (new, std::mem::take(&mut self.dropped))
    }

    fn worst(&self) -> Option<usize> {
        let qualities = self.kept.iter().map(|k| k.exemplar.quality).enumerate();
        qualities
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(at, _)| at)
    }

    fn lowest(&self) -> f32 {
        self.worst()
            .map_or(0.0, |at| self.kept[at].exemplar.quality)
    }
}

fn make(face: &SeenFace, number: u32) -> Option<Kept> {
    let good = face.good.as_ref()?;
    let exemplar = ObservedExemplar {
        number,
        face: face.observed(),
        landmarks: face.landmark_fractions(),
        in_loose_crop: in_loose_crop(face.picture, &face.face),
        quality: good.quality,
        embedding: good.embedding.clone()?,
        crop: to_jpeg(good.crop.picture().view(), ALIGNED_JPEG_QUALITY),
        loose_crop: to_jpeg(good.loose.view(), LOOSE_JPEG_QUALITY),
    };
    Some(Kept {
        exemplar,
        sent: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fake::embedding_of,
        geometry::{Point, Rect},
        observe::{FrameNo, MediaTime, WallTime},
    };

    fn face(hue: f32, quality: f32) -> SeenFace {
        let crop = AlignedCrop::from_rgb(vec![100; 112 * 112 * 3]).unwrap();
        let loose = Picture::filled(16, 16, [80; 3]).unwrap();
        let embedding = Some(embedding_of(hue).unwrap());
        SeenFace {
            stamp: FrameStamp {
                number: FrameNo::new(3),
                time: MediaTime::from_micros(120_000),
                wall: WallTime::default(),
            },
            rank: 0,
            face: DetectedFace {
                rect: Rect::new(-10.0, 10.0, 40.0, 60.0),
                landmarks: [Point::new(5.0, 20.0); 5],
                score: 0.9,
            },
            picture: (100, 100),
            good: Some(GoodFace {
                quality,
                crop,
                loose,
                embedding,
            }),
        }
    }

    #[test]
    fn few_and_unlike_each_other() {
        let mut set = ExemplarSet::new(ExemplarRules {
            count_max: 2,
            ..Default::default()
        });
        assert!(set.offer(&face(0.0, 0.5)));
        assert!(!set.offer(&face(1.0, 0.51)), "the same pose, hardly better");
        assert!(set.offer(&face(60.0, 0.6)));
        assert!(!set.offer(&face(120.0, 0.5)), "no room for a worse one");
        let (new, dropped) = set.take_changes();
        assert_eq!(new.iter().map(|e| e.number).collect::<Vec<_>>(), [1, 2]);
        assert!(dropped.is_empty() && !set.has_changes());

        assert!(set.offer(&face(120.0, 0.9)), "better than the worst");
        let (new, dropped) = set.take_changes();
        assert_eq!((new[0].number, dropped.as_slice()), (3, &[1][..]));
        assert_eq!(set.similarity(&embedding_of(120.0).unwrap()), Some(1.0));
    }

    /// The greatest sum of qualities of at most `count_max` faces unlike each other.
    fn best_sum(faces: &[SeenFace], rules: ExemplarRules) -> f32 {
        let sum = |subset: u32| {
            let chosen: Vec<&SeenFace> = (0..)
                .zip(faces)
                .filter(|(i, _)| subset >> i & 1 == 1)
                .map(|(_, face)| face)
                .collect();
            let alike = |(i, a): (usize, &&SeenFace)| {
                let with = |b: &&SeenFace| a.embedding().unwrap().dot(b.embedding().unwrap()).get();
                chosen[i + 1..]
                    .iter()
                    .any(|b| with(b) >= rules.duplicate_from)
            };
            let allowed = chosen.len() <= rules.count_max && !chosen.iter().enumerate().any(alike);
            let quality = |face: &&SeenFace| face.good.as_ref().unwrap().quality;
            allowed.then(|| chosen.iter().map(quality).sum::<f32>())
        };
        (0..1u32 << faces.len()).filter_map(sum).fold(0.0, f32::max)
    }

    fn kept(faces: &[SeenFace], rules: ExemplarRules) -> Vec<ObservedExemplar> {
        let mut set = ExemplarSet::new(rules);
        for face in faces {
            set.offer(face);
        }
        set.take_changes().0
    }

    proptest::proptest! {
        #[test]
        fn what_is_kept_is_the_best_that_could_be(
            seen in proptest::collection::vec((0u8..6, 1u8..100), 1..9),
            count_max in 1usize..5,
            gain_percent in 0u8..5,
        ) {
            let faces: Vec<SeenFace> = seen
                .iter()
                .map(|(group, quality)| face(60.0 * f32::from(*group), f32::from(*quality) / 100.0))
                .collect();
            let rules = ExemplarRules {
                count_max,
                gain_min: f32::from(gain_percent) / 100.0,
                ..Default::default()
            };
            let sum: f32 = kept(&faces, rules).iter().map(|e| e.quality).sum();
            let missed = best_sum(&faces, rules) - sum;
            let allowed = rules.gain_min * count_max as f32 + 1e-4;
            proptest::prop_assert!((-1e-4..=allowed).contains(&missed), "{missed} of {seen:?}");
        }

        #[test]
        fn what_is_kept_is_unlike(
            seen in proptest::collection::vec((0.0f32..360.0, 0.0f32..1.0), 1..30),
        ) {
            let faces: Vec<SeenFace> = seen.iter().map(|(hue, quality)| face(*hue, *quality)).collect();
            let rules = ExemplarRules::default();
            let kept = kept(&faces, rules);
            proptest::prop_assert!((1..=rules.count_max).contains(&kept.len()));
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[i + 1..] {
                    let cosine = a.embedding.dot(&b.embedding).get();
                    proptest::prop_assert!(cosine < rules.duplicate_from, "{cosine}");
                }
            }
        }
    }

    #[test]
    fn what_comes_and_goes_unsent_is_never_mentioned() {
        let mut set = ExemplarSet::new(ExemplarRules::default());
        set.offer(&face(0.0, 0.5));
        set.offer(&face(0.0, 0.7));
        let (new, dropped) = set.take_changes();
        assert_eq!((new.len(), new[0].number, dropped.len()), (1, 2, 0));
    }

    #[test]
    fn boxes_are_fractions_within_the_picture() {
        let rect = face(0.0, 0.5).observed().rect;
        assert_eq!((rect.x, rect.y), (0.0, 0.1));
        assert!((rect.width - 0.3).abs() < 1e-6 && (rect.height - 0.6).abs() < 1e-6);
    }
}
