//! Detectors of every family: those that set-up installs on photos, the others as tiny models with
//! the names and shapes of the real ones, from manifest to boxes.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod onnx;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{
    Assets, DetectSize, DetectSizes, DetectedFace, Detector, ModelError, ModelOptions, Models,
    Picture, Point, Rect, align,
};
use sha2::{Digest, Sha256};

use onnx::{Constant, constant_model};

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    Assets::locate(Some(&folder)).expect("run make setup")
});

fn open(assets: &Assets, detector: &str) -> Result<Models, ModelError> {
    let options = ModelOptions {
        detector: detector.to_owned(),
        ..ModelOptions::default()
    };
    Models::open(assets, &options)
}

fn fixture(name: &str) -> Picture {
    let path = ASSETS.fixtures().join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}: run make setup"));
    photo::decode(&bytes, &PhotoLimits::default()).unwrap()
}

/// The best face of `picture`.
fn best(detector: &mut dyn Detector, picture: &Picture) -> DetectedFace {
    let faces = detector
        .detect(picture.view(), DetectSize::default())
        .unwrap();
    *faces.first().expect("a face")
}

/// A detector finds the same face as `CenterFace`, and its landmarks lead to the same person.
fn check_on_photos(detector: &str) {
    let known = open(&ASSETS, "centerface").unwrap();
    let models = open(&ASSETS, detector).unwrap();
    let mut embedder = models.embedder().unwrap();
    for name in ["obama.jpg", "biden.jpg"] {
        let picture = fixture(name);
        let wanted = best(known.detector().unwrap().as_mut(), &picture);
        let found = best(models.detector().unwrap().as_mut(), &picture);
        assert!(
            found.rect.iou(&wanted.rect) > 0.5,
            "{name}: {found:?} {wanted:?}"
        );
        for (a, b) in found.landmarks.iter().zip(wanted.landmarks) {
            let off = a.distance(b) / wanted.rect.width;
            assert!(off < 0.12, "{name}: {a:?} {b:?} {off}");
        }
        let crops = [found, wanted].map(|face| align::align(picture.view(), &face.landmarks));
        let embeddings = embedder.embed(&crops).unwrap();
        let cosine = embeddings[0].dot(&embeddings[1]).get();
        assert!(cosine > 0.7, "{name}: {cosine}");
    }
}

#[test]
fn yunet_finds_the_faces_of_the_photos() {
    check_on_photos("yunet-2023mar");
}

#[test]
fn ultralight_finds_them_and_the_landmark_model_marks_them() {
    check_on_photos("ultralight-rfb-320");
}

#[test]
fn a_face_seen_at_several_sizes_counts_once() {
    let picture = fixture("obama.jpg");
    for id in ["centerface", "yunet-2023mar", "ultralight-rfb-320"] {
        let mut detector = open(&ASSETS, id).unwrap().detector().unwrap();
        let sizes = DetectSizes::new(&[320, 640]).unwrap();
        let faces = detector.detect_at(picture.view(), &sizes).unwrap();
        assert_eq!(faces.len(), 1, "{id}: {faces:?}");
        let alone: Vec<DetectedFace> = sizes
            .iter()
            .flat_map(|size| detector.detect(picture.view(), size).unwrap())
            .collect();
        assert!(alone.contains(&faces[0]), "{id}: {faces:?} {alone:?}");
        let best = alone.iter().map(|face| face.score).fold(0.0, f32::max);
        assert_eq!(faces[0].score, best, "{id}");
    }
}

#[test]
fn the_key_of_a_detector_follows_model_and_manifest() {
    let keys = ["centerface", "yunet-2023mar", "ultralight-rfb-320"]
        .map(|id| open(&ASSETS, id).unwrap().detector_key());
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    let folder = assets_with(|models| {
        let path = models.join("centerface.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("score = 0.5", "score = 0.6")).unwrap();
    });
    let assets = Assets::locate(Some(folder.path())).unwrap();
    assert_ne!(open(&assets, "centerface").unwrap().detector_key(), keys[0]);
}

/// A copy of the assets: manifests copied, the rest linked, then changed.
fn assets_with(change: impl Fn(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    for entry in std::fs::read_dir(ASSETS.models()).unwrap() {
        let path = entry.unwrap().path();
        let target = models.join(path.file_name().unwrap());
        if path.extension().is_some_and(|e| e == "toml") {
            std::fs::copy(&path, target).unwrap();
        } else {
            symlink(path.canonicalize().unwrap(), target).unwrap();
        }
    }
    let runtime = ASSETS.folder().join("onnxruntime");
    symlink(
        runtime.canonicalize().unwrap(),
        folder.path().join("onnxruntime"),
    )
    .unwrap();
    change(&models);
    folder
}

/// A tiny model and the manifest for it: 64x32 pixels, letterboxed.
struct Tiny<'a> {
    decoder: &'a str,
    outputs: Vec<Constant<'a>>,
    /// More lines of `[output]`.
    more: &'a str,
}

impl Tiny<'_> {
    fn write(&self, models: &Path) {
        let bytes = constant_model("input.1", &[1, 3, 32, 64], &self.outputs);
        let hash = Sha256::digest(&bytes)
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
        std::fs::write(models.join("tiny.onnx"), bytes).unwrap();
        let names: Vec<&str> = self.outputs.iter().map(|(name, _, _)| *name).collect();
        let expected: Vec<&Vec<f32>> = self.outputs.iter().map(|(_, _, values)| values).collect();
        let strides = vec![1; names.len()];
        let manifest = format!(
            "[model]\nid = \"tiny\"\nkind = \"detector\"\nfile = \"tiny.onnx\"\n\
             sha256 = \"{hash}\"\nversion = \"1\"\nsource = \"a test\"\n\
             [licence]\nspdx = \"Apache-2.0\"\ntraining_data = \"none\"\nnotice = \"none\"\n\
             [input]\nname = \"input.1\"\nchannels = \"RGB\"\nmean = [127.5, 127.5, 127.5]\n\
             std = [128.0, 128.0, 128.0]\ngeometry = \"letterbox\"\nsize = [64, 32]\n\
             [output]\ndecoder = \"{}\"\nnames = {names:?}\n{}\n\
             [decision]\nscore = 0.5\nnms = 0.4\n\
             [self_test]\npattern = \"lcg-1\"\nwidth = 64\nheight = 32\nstrides = {strides:?}\n\
             min_cosine = 0.999\nexpected = {expected:?}\n",
            self.decoder, self.more
        );
        std::fs::write(models.join("tiny.toml"), manifest).unwrap();
    }

    fn detector(&self) -> Result<Box<dyn Detector>, ModelError> {
        let folder = assets_with(|models| self.write(models));
        open(&Assets::locate(Some(folder.path())).unwrap(), "tiny")?.detector()
    }
}

/// `size` values, `small` but for those at `at`.
fn values(size: usize, small: f32, at: usize, given: &[f32]) -> Vec<f32> {
    let mut values = vec![small; size];
    values[at..at + given.len()].copy_from_slice(given);
    values
}

/// SCRFD with two strides, one face a cell, named as InsightFace exports it.
fn scrfd() -> Tiny<'static> {
    let points = [0.5, 0.5, 1.5, 0.5, 1.0, 1.0, 0.5, 1.5, 1.5, 1.5];
    Tiny {
        decoder: "scrfd",
        outputs: vec![
            ("443", vec![1, 32, 1], values(32, 0.01, 0, &[])),
            ("468", vec![1, 8, 1], values(8, 0.01, 5, &[0.9])),
            ("446", vec![1, 32, 4], values(128, 1.0, 0, &[])),
            (
                "471",
                vec![1, 8, 4],
                values(32, 1.0, 20, &[0.5, 0.5, 1.0, 0.75]),
            ),
            ("449", vec![1, 32, 10], values(320, 1.0, 0, &[])),
            ("474", vec![1, 8, 10], values(80, 1.0, 50, &points)),
        ],
        more: "strides = [8, 16]",
    }
}

#[test]
fn scrfd_from_manifest_to_box() {
    let mut detector = scrfd().detector().unwrap();
    // Twice the network's width: what it finds counts double. Cell (1, 1) of stride 16.
    let picture = Picture::filled(128, 64, [50; 3]).unwrap();
    let faces = detector
        .detect(picture.view(), DetectSize::default())
        .unwrap();
    assert_eq!(faces.len(), 1, "{faces:?}");
    assert_eq!(faces[0].rect, Rect::new(16.0, 16.0, 48.0, 40.0));
    assert_eq!(faces[0].landmarks[0], Point::new(48.0, 48.0));
    assert_eq!(faces[0].score, 0.9);
    // One size is all it has, however many are asked for.
    let sizes = DetectSizes::new(&[64, 640]).unwrap();
    assert_eq!(detector.detect_at(picture.view(), &sizes).unwrap(), faces);
}

#[test]
fn retinaface_from_manifest_to_box() {
    let tiny = Tiny {
        decoder: "retinaface",
        outputs: vec![
            (
                "loc",
                vec![1, 16, 4],
                values(64, 0.01, 20, &[1.0, 0.0, 0.0, 0.0]),
            ),
            ("conf", vec![1, 16, 2], values(32, 0.01, 10, &[0.2, 0.8])),
            ("landms", vec![1, 16, 10], values(160, 0.01, 50, &[0.0; 10])),
        ],
        more: "strides = [16]\nanchors = [[10.0, 20.0]]",
    };
    let mut detector = tiny.detector().unwrap();
    let picture = Picture::filled(64, 32, [50; 3]).unwrap();
    let faces = detector
        .detect(picture.view(), DetectSize::default())
        .unwrap();
    assert_eq!(faces.len(), 1, "{faces:?}");
    // Anchor 5: the second of cell (0, 2), 20 pixels around (40, 8), moved by 0.1 of it.
    assert_eq!(faces[0].rect, Rect::new(32.0, -2.0, 20.0, 20.0));
    assert_eq!(faces[0].landmarks[4], Point::new(40.0, 8.0));
}

#[test]
fn a_manifest_that_does_not_fit_the_model_is_refused() {
    let check = |tiny: Tiny<'_>, says: &[&str]| {
        let why = tiny.detector().err().unwrap().to_string();
        for part in says {
            assert!(why.contains(part), "{part}: {why}");
        }
    };
    let mut missing_cells = scrfd();
    missing_cells.more = "strides = [8, 32]";
    check(
        missing_cells,
        &[
            "model tiny: 468",
            "f32 [1, 8, 1]",
            "f32 [1, 2, 1]",
            "decoder scrfd",
        ],
    );
    let mut other_kind = scrfd();
    other_kind.outputs.swap(0, 2);
    check(other_kind, &["model tiny: 446", "f32 [1, 32, 4]"]);
    let mut no_landmarks = scrfd();
    no_landmarks.outputs.truncate(4);
    check(
        no_landmarks,
        &["output.landmarks is missing", "landmarks-68"],
    );
    let mut other_family = scrfd();
    other_family.decoder = "yunet";
    check(other_family, &["decoder yunet needs"]);
}
