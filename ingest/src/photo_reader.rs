//! From a photo to the faces in it, each with its quality or the reason why it is refused.

use rollcall_index::Embedding;

use crate::align::{AlignedCrop, align};
use crate::detect::{DetectSize, Detector, InferError, suppress};
use crate::embed::Embedder;
use crate::gate::face::{FaceGates, FaceRejection, Quality, judge};
use crate::geometry::DetectedFace;
use crate::model::{ModelError, Models};
use crate::picture::{Picture, PictureRef};
use crate::resize::resize;

/// The size at which every photo is looked at first, in pixels. Enough for a portrait.
const SIZE_PORTRAIT: u32 = 320;
/// A lone face of at least this side, in pixels at the first size, needs no second look: from 20
/// pixels on its embedding is as good as at twice the size (64 photos, mean cosine to the face
/// undiminished 0.948 and 0.955 at 25 pixels, 0.973 and 0.977 at 60), with a margin of two.
const LONE_SIDE_MIN: f32 = 40.0;
/// The size for several faces, or smaller ones, in pixels.
const SIZE_GROUP: u32 = 640;
/// The size for faces too small to be found at the first, in pixels.
const SIZE_LARGE: u32 = 1280;
/// Faces found twice, at two sizes, overlap by more than this (IoU).
const SAME_FACE_IOU: f32 = 0.3;
/// The grey laid around a photo that a face fills.
const PADDING: [u8; 3] = [114, 114, 114];

/// A face of a photo and what the gates say of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhotoFace {
    /// Where it is.
    pub face: DetectedFace,
    /// How good it is, or why it cannot be searched.
    pub quality: Result<Quality, FaceRejection>,
}

/// Reads photos: a detector, an embedder and gates. One belongs to one thread at a time.
pub struct PhotoReader {
    detector: Box<dyn Detector>,
    embedder: Box<dyn Embedder>,
    gates: FaceGates,
}

impl PhotoReader {
    /// A reader with a detector and an embedder of its own.
    #[must_use]
    pub fn new(detector: Box<dyn Detector>, embedder: Box<dyn Embedder>, gates: FaceGates) -> Self {
        Self {
            detector,
            embedder,
            gates,
        }
    }

    /// A reader with new sessions of `models` and the default gates.
    ///
    /// # Errors
    /// [`ModelError`] when a session cannot be made.
    pub fn open(models: &Models) -> Result<Self, ModelError> {
        Ok(Self::new(
            models.detector()?,
            models.embedder()?,
            FaceGates::default(),
        ))
    }

    /// The faces of `picture`, those that pass first, the larger box before the smaller.
    ///
    /// The photo is looked at with its longest side at 320 pixels. Unless that shows one face, it
    /// passes and is at least 1/8 of the longest side, the photo is looked at again at 640 pixels:
    /// beside one large face, faces smaller than 1/27 of the longest side are not found. Only when
    /// no face passes at 640 either it is looked at twice more: surrounded by grey, because a
    /// detector misses a face that fills the picture, and at up to 1280 pixels for small faces. A
    /// face found more than once counts once.
    ///
    /// Cost: one detection at 320 pixels for a portrait, five times that for several faces, up to 25
    /// times that where nothing passes.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run; a photo without a face is no error.
    pub fn read(&mut self, picture: &Picture) -> Result<Vec<PhotoFace>, InferError> {
        let view = picture.view();
        let mut faces = self.look(view, SIZE_PORTRAIT)?;
        if !is_portrait(view, &faces) {
            faces = self.look(view, SIZE_GROUP)?;
        }
        if !faces.iter().any(|face| face.quality.is_ok()) {
            let mut all: Vec<DetectedFace> = faces.iter().map(|face| face.face).collect();
            all.extend(self.detect_padded(view)?);
            let large = SIZE_LARGE.min(view.width().max(view.height()).saturating_mul(2));
            if large > SIZE_GROUP {
                let size = DetectSize::longest_side(large);
                all.extend(self.detector.detect(view, size)?);
            }
            // Judged before suppression: a view of a face that passes beats one that does not.
            faces = self.judge_all(view, all);
            let (passed, refused): (Vec<_>, Vec<_>) =
                faces.iter().partition(|face| face.quality.is_ok());
            let mut kept = merge(passed);
            for face in merge(refused) {
                let known = |k: &PhotoFace| k.face.rect.iou(&face.face.rect) > SAME_FACE_IOU;
                if !kept.iter().any(known) {
                    kept.push(face);
                }
            }
            faces = kept;
        }
        faces.sort_by(|a, b| {
            let key = |f: &PhotoFace| (f.quality.is_ok(), f.face.rect.area());
            let ((a_passes, a_area), (b_passes, b_area)) = (key(a), key(b));
            b_passes.cmp(&a_passes).then(b_area.total_cmp(&a_area))
        });
        Ok(faces)
    }

    /// One embedding for each of `faces`, which are faces of `picture`, in their order.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run.
    pub fn embed(
        &mut self,
        picture: &Picture,
        faces: &[&DetectedFace],
    ) -> Result<Vec<Embedding>, InferError> {
        let crops: Vec<AlignedCrop> = faces
            .iter()
            .map(|face| align(picture.view(), &face.landmarks))
            .collect();
        self.embedder.embed(&crops)
    }

    /// How many values an embedding has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.embedder.dimension()
    }

    /// The faces of `picture`, seen with its longest side at `size` pixels.
    fn look(&mut self, picture: PictureRef<'_>, size: u32) -> Result<Vec<PhotoFace>, InferError> {
        let faces = self
            .detector
            .detect(picture, DetectSize::longest_side(size))?;
        Ok(self.judge_all(picture, faces))
    }

    fn judge_all(&self, picture: PictureRef<'_>, faces: Vec<DetectedFace>) -> Vec<PhotoFace> {
        let judged = |face: DetectedFace| {
            let crop = align(picture, &face.landmarks);
            PhotoFace {
                face,
                quality: judge(picture, &face, &crop, &self.gates),
            }
        };
        faces.into_iter().map(judged).collect()
    }

    /// The faces of `picture` seen with grey around it, in pixels of `picture`.
    fn detect_padded(&mut self, picture: PictureRef<'_>) -> Result<Vec<DetectedFace>, InferError> {
        let longest = picture.width().max(picture.height());
        let small = |side: u32| {
            let scaled = u64::from(side) * u64::from(SIZE_GROUP / 2) / u64::from(longest);
            u32::try_from(scaled).unwrap_or(SIZE_GROUP).max(1)
        };
        let inner = resize(picture, small(picture.width()), small(picture.height()));
        let (left, top) = (inner.width() / 2, inner.height() / 2);
        let canvas = surround(&inner, left, top);
        let size = DetectSize::longest_side(SIZE_GROUP);
        let faces = self.detector.detect(canvas.view(), size)?;
        let by_x = picture.width() as f32 / inner.width() as f32;
        let by_y = picture.height() as f32 / inner.height() as f32;
        let back = |face: DetectedFace| {
            face.mapped(by_x, by_y, -(left as f32) * by_x, -(top as f32) * by_y)
        };
        Ok(faces.into_iter().map(back).collect())
    }
}

/// Are `faces`, seen in `picture` at [`SIZE_PORTRAIT`], one that passes and is large?
fn is_portrait(picture: PictureRef<'_>, faces: &[PhotoFace]) -> bool {
    let [one] = faces else { return false };
    let longest = picture.width().max(picture.height()) as f32;
    let rect = one.face.rect;
    let side = rect.width.min(rect.height) * SIZE_PORTRAIT as f32 / longest;
    one.quality.is_ok() && side >= LONE_SIDE_MIN
}

/// `inner` with `left` columns and `top` rows of grey on either side.
fn surround(inner: &Picture, left: u32, top: u32) -> Picture {
    let (width, height) = (inner.width() + 2 * left, inner.height() + 2 * top);
    let mut canvas = Picture::filled(width, height, PADDING)
        .expect("a small picture twice as large is still a picture");
    let row_bytes = inner.width() as usize * 3;
    let start = (top as usize * width as usize + left as usize) * 3;
    let rows = canvas.rgb_mut()[start..].chunks_mut(width as usize * 3);
    for (row, source) in rows.zip(inner.rgb().chunks_exact(row_bytes)) {
        row[..row_bytes].copy_from_slice(source);
    }
    canvas
}

/// `faces` without doubles, the better score kept.
fn merge(faces: Vec<PhotoFace>) -> Vec<PhotoFace> {
    let kept = suppress(faces.iter().map(|face| face.face).collect(), SAME_FACE_IOU);
    kept.iter()
        .filter_map(|k| faces.iter().find(|face| face.face == *k).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeDetector, FakeEmbedder, paint_blurred_face, paint_face};
    use crate::geometry::Rect;

    fn reader() -> PhotoReader {
        PhotoReader::new(
            Box::new(FakeDetector),
            Box::new(FakeEmbedder),
            FaceGates::default(),
        )
    }

    #[test]
    fn the_largest_face_that_passes_comes_first() {
        let mut picture = Picture::filled(640, 360, [90, 90, 90]).unwrap();
        paint_face(&mut picture, Rect::new(20.0, 20.0, 60.0, 60.0), 0.0);
        paint_face(&mut picture, Rect::new(150.0, 20.0, 100.0, 100.0), 120.0);
        paint_blurred_face(&mut picture, Rect::new(300.0, 20.0, 300.0, 300.0), 240.0);
        let faces = reader().read(&picture).unwrap();
        let widths: Vec<f32> = faces.iter().map(|f| f.face.rect.width).collect();
        assert_eq!(widths, [100.0, 60.0, 300.0]);
        assert_eq!(faces[2].quality, Err(FaceRejection::Blurred));
        let both = reader()
            .embed(&picture, &[&faces[0].face, &faces[1].face])
            .unwrap();
        assert!(both[0].dot(&both[1]).get() < 0.01);
    }

    #[test]
    fn a_face_that_never_passes_is_listed_once_with_its_reason() {
        let mut picture = Picture::filled(640, 360, [90, 90, 90]).unwrap();
        paint_blurred_face(&mut picture, Rect::new(100.0, 100.0, 120.0, 120.0), 30.0);
        let faces = reader().read(&picture).unwrap();
        assert_eq!(faces.len(), 1, "{faces:?}");
        assert_eq!(faces[0].quality, Err(FaceRejection::Blurred));
        assert!(
            faces[0]
                .face
                .rect
                .iou(&Rect::new(100.0, 100.0, 120.0, 120.0))
                > 0.8
        );
    }

    /// Counts the looks of the detector it wraps.
    struct Counted(FakeDetector, std::sync::Arc<std::sync::Mutex<Vec<u32>>>);

    impl Detector for Counted {
        fn detect(
            &mut self,
            picture: PictureRef<'_>,
            input: DetectSize,
        ) -> Result<Vec<DetectedFace>, InferError> {
            self.1.lock().unwrap().push(input.get());
            self.0.detect(picture, input)
        }
    }

    #[test]
    fn one_large_face_needs_one_look_and_several_need_two() {
        let mut picture = Picture::filled(640, 360, [90, 90, 90]).unwrap();
        let sizes = std::sync::Arc::default();
        let detector = Counted(FakeDetector, std::sync::Arc::clone(&sizes));
        let mut reader = PhotoReader::new(
            Box::new(detector),
            Box::new(FakeEmbedder),
            FaceGates::default(),
        );
        let mut looks = |picture: &Picture| {
            sizes.lock().unwrap().clear();
            let faces = reader.read(picture).unwrap().len();
            (faces, sizes.lock().unwrap().clone())
        };
        paint_face(&mut picture, Rect::new(150.0, 20.0, 100.0, 100.0), 120.0);
        assert_eq!(looks(&picture), (1, vec![320]));
        paint_face(&mut picture, Rect::new(400.0, 20.0, 60.0, 60.0), 0.0);
        assert_eq!(looks(&picture), (2, vec![320, 640]));
        let mut small = Picture::filled(640, 360, [90, 90, 90]).unwrap();
        paint_face(&mut small, Rect::new(400.0, 20.0, 60.0, 60.0), 0.0);
        assert_eq!(looks(&small), (1, vec![320, 640]));
    }

    #[test]
    fn a_photo_without_a_face_has_none() {
        let picture = Picture::filled(100, 80, [90, 90, 90]).unwrap();
        assert_eq!(reader().read(&picture).unwrap(), []);
    }
}
