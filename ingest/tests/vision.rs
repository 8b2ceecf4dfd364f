//! The vision half over the real models and the fixture photos.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rollcall_index::Embedding;
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{
    Assets, DetectSize, ModelError, ModelOptions, Models, PhotoReader, Picture, Provider,
    Subnormals, align,
};

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    Assets::locate(Some(&folder)).expect("run make setup")
});

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    Models::open(&ASSETS, &ModelOptions::default()).expect("the models open; run make setup")
});

fn read(path: &Path) -> Picture {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path:?}: {e}: run make setup"));
    photo::decode(&bytes, &PhotoLimits::default()).unwrap()
}

fn fixture(name: &str) -> Picture {
    read(&ASSETS.fixtures().join(name))
}

/// The embedding of the first face of `picture`, which must pass the gates.
fn embedding(reader: &mut PhotoReader, picture: &Picture) -> Embedding {
    let faces = reader.read(picture).unwrap();
    assert!(
        faces.first().is_some_and(|face| face.quality.is_ok()),
        "{faces:?}"
    );
    reader.embed(picture, &[&faces[0].face]).unwrap().remove(0)
}

/// The part of `picture` at (`left`, `top`).
fn cut(picture: &Picture, left: u32, top: u32, width: u32, height: u32) -> Picture {
    let line = |y: u32| {
        let start = ((top + y) * picture.width() + left) as usize * 3;
        picture.rgb()[start..start + width as usize * 3]
            .iter()
            .copied()
    };
    Picture::new(width, height, (0..height).flat_map(line).collect()).unwrap()
}

/// `picture` shrunk to one pixel of each square of `by`, averaged.
fn shrink(picture: &Picture, by: u32) -> Picture {
    let (width, height) = (picture.width() / by, picture.height() / by);
    let value = |x: u32, y: u32, c: usize| {
        let mut sum = 0u32;
        for dy in 0..by {
            for dx in 0..by {
                let at = ((y * by + dy) * picture.width() + x * by + dx) as usize * 3 + c;
                sum += u32::from(picture.rgb()[at]);
            }
        }
        u8::try_from(sum / (by * by)).unwrap()
    };
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend([0, 1, 2].map(|c| value(x, y, c)));
        }
    }
    Picture::new(width, height, rgb).unwrap()
}

/// `inner` on a grey canvas, at (`left`, `top`).
fn place(inner: &Picture, width: u32, height: u32, left: u32, top: u32) -> Picture {
    let mut canvas = Picture::filled(width, height, [100, 100, 100]).unwrap();
    for y in 0..inner.height() {
        let to = ((top + y) * width + left) as usize * 3;
        let from = (y * inner.width()) as usize * 3;
        let bytes = inner.width() as usize * 3;
        canvas.rgb_mut()[to..to + bytes].copy_from_slice(&inner.rgb()[from..from + bytes]);
    }
    canvas
}

#[test]
fn one_person_is_one_person_and_others_are_others() {
    let mut reader = PhotoReader::open(&MODELS).unwrap();
    let people = [
        (1, "obama.jpg"),
        (1, "obama2.jpg"),
        (1, "obama3.jpg"),
        (2, "biden.jpg"),
        (3, "astronaut.png"),
    ];
    let embeddings =
        people.map(|(person, name)| (person, name, embedding(&mut reader, &fixture(name))));
    for (i, (person, name, a)) in embeddings.iter().enumerate() {
        for (other_person, other_name, b) in &embeddings[i + 1..] {
            let cosine = a.dot(b).get();
            if person == other_person {
                assert!(cosine > 0.4, "{name} {other_name}: {cosine}");
            } else {
                assert!(cosine < 0.3, "{name} {other_name}: {cosine}");
            }
        }
    }
}

#[test]
fn the_contract_is_that_of_the_manifest() {
    let contract = MODELS.contract();
    assert_eq!(contract.dimension(), 512);
    assert!(contract.id().starts_with("rc1-") && contract.id().len() == 4 + 64);
    assert_eq!(MODELS.embedder().unwrap().dimension(), 512);
    assert!((0.2..0.7).contains(&MODELS.same_cosine()));
}

#[test]
fn a_photo_without_people_has_no_face_that_passes() {
    let faces = PhotoReader::open(&MODELS)
        .unwrap()
        .read(&fixture("coffee.png"))
        .unwrap();
    assert!(faces.iter().all(|face| face.quality.is_err()), "{faces:?}");
}

#[test]
fn the_talking_head_passes_the_gates() {
    let picture = read(&ASSETS.folder().join("demo/query-carphone.jpg"));
    embedding(&mut PhotoReader::open(&MODELS).unwrap(), &picture);
}

#[test]
fn a_face_that_fills_the_photo_is_found() {
    let mut reader = PhotoReader::open(&MODELS).unwrap();
    let picture = fixture("obama.jpg");
    let whole = embedding(&mut reader, &picture);
    let rect = reader.read(&picture).unwrap()[0].face.rect;
    let at = |value: f32| value.max(0.0).round().to_string().parse::<u32>().unwrap();
    let close = cut(
        &picture,
        at(rect.x),
        at(rect.y),
        at(rect.width),
        at(rect.height),
    );
    assert!(embedding(&mut reader, &close).dot(&whole).get() > 0.6);
}

#[test]
fn a_small_face_in_a_large_photo_is_found() {
    let mut reader = PhotoReader::open(&MODELS).unwrap();
    let picture = fixture("obama.jpg");
    let face = reader.read(&picture).unwrap()[0].face.rect;
    let by = at_least_one(face.width / 30.0);
    let small = shrink(&picture, by);
    let scene = place(&small, 2400, 1800, 1500, 1000);
    let faces = reader.read(&scene).unwrap();
    let expected = face
        .scaled(1.0 / by as f32, 1.0 / by as f32)
        .moved(1500.0, 1000.0);
    assert!(
        faces.iter().any(|f| f.face.rect.iou(&expected) > 0.5),
        "{faces:?}, expected {expected:?}"
    );
}

fn at_least_one(value: f32) -> u32 {
    value.round().max(1.0).to_string().parse().unwrap()
}

#[test]
fn coordinates_are_the_pictures_own_at_any_size() {
    let picture = fixture("biden.jpg");
    let mut detector = MODELS.detector().unwrap();
    let large = detector
        .detect(picture.view(), DetectSize::longest_side(640))
        .unwrap()[0];
    let small = detector
        .detect(picture.view(), DetectSize::longest_side(320))
        .unwrap()[0];
    assert!(large.rect.iou(&small.rect) > 0.75, "{large:?} {small:?}");
    let half = shrink(&picture, 2);
    let halved = detector
        .detect(half.view(), DetectSize::longest_side(640))
        .unwrap()[0];
    assert!(
        halved.rect.scaled(2.0, 2.0).iou(&large.rect) > 0.9,
        "{halved:?} {large:?}"
    );
}

#[test]
fn two_sessions_give_the_same_bits_and_batches_nearly_so() {
    let picture = fixture("obama.jpg");
    let size = DetectSize::default();
    let once = MODELS
        .detector()
        .unwrap()
        .detect(picture.view(), size)
        .unwrap();
    let again = MODELS
        .detector()
        .unwrap()
        .detect(picture.view(), size)
        .unwrap();
    assert_eq!(once, again);
    let crop = align::align(picture.view(), &once[0].landmarks);
    let crops = vec![crop; 19];
    let together = MODELS.embedder().unwrap().embed(&crops).unwrap();
    let alone = MODELS
        .embedder()
        .unwrap()
        .embed(&crops[..1])
        .unwrap()
        .remove(0);
    let repeated = MODELS.embedder().unwrap().embed(&crops).unwrap();
    assert_eq!(together.len(), 19);
    for (a, b) in together.iter().zip(&repeated) {
        assert_eq!(a.as_slice(), b.as_slice());
        assert!(a.dot(&alone).get() > 0.9999);
    }
    assert!(MODELS.embedder().unwrap().embed(&[]).unwrap().is_empty());
}

#[test]
fn flushing_subnormals_changes_no_answer() {
    let options = ModelOptions {
        subnormals: Subnormals::Keep,
        ..ModelOptions::default()
    };
    let keeping = Models::open(&ASSETS, &options).unwrap();
    let picture = fixture("biden.jpg");
    let flushed = embedding(&mut PhotoReader::open(&MODELS).unwrap(), &picture);
    let kept = embedding(&mut PhotoReader::open(&keeping).unwrap(), &picture);
    assert!(flushed.dot(&kept).get() > 0.9999);
    assert_eq!(keeping.contract(), MODELS.contract());
}

#[test]
fn a_provider_that_is_not_there_leaves_the_work_to_the_cpu() {
    assert_eq!(MODELS.fallback(), None);
    for (provider, name) in [(Provider::Cuda, "CUDA"), (Provider::Openvino, "OpenVINO")] {
        let options = ModelOptions {
            provider,
            ..ModelOptions::default()
        };
        let models = Models::open(&ASSETS, &options).unwrap();
        let why = models.fallback().unwrap();
        assert!(
            why.starts_with(name) && why.contains("the CPU does"),
            "{why}"
        );
        let picture = fixture("biden.jpg");
        let here = embedding(&mut PhotoReader::open(&models).unwrap(), &picture);
        let cpu = embedding(&mut PhotoReader::open(&MODELS).unwrap(), &picture);
        assert_eq!(here.as_slice(), cpu.as_slice());
    }
}

#[test]
fn threads_that_share_the_work_change_no_answer() {
    let options = ModelOptions {
        threads: 2,
        ..ModelOptions::default()
    };
    let models = Models::open(&ASSETS, &options).unwrap();
    let picture = fixture("biden.jpg");
    let two = embedding(&mut PhotoReader::open(&models).unwrap(), &picture);
    let one = embedding(&mut PhotoReader::open(&MODELS).unwrap(), &picture);
    assert!(two.dot(&one).get() > 0.9999);
}

#[test]
fn a_face_cut_by_the_edge_is_recognised_while_its_landmarks_are_in_the_picture() {
    let mut reader = PhotoReader::open(&MODELS).unwrap();
    let part = embedding(&mut reader, &fixture("obama_partial_face.jpg"));
    assert!(
        part.dot(&embedding(&mut reader, &fixture("obama.jpg")))
            .get()
            > 0.4
    );
    assert!(
        part.dot(&embedding(&mut reader, &fixture("biden.jpg")))
            .get()
            < 0.3
    );
}

#[test]
fn a_face_half_outside_the_picture_is_refused() {
    let mut reader = PhotoReader::open(&MODELS).unwrap();
    let picture = fixture("biden.jpg");
    let rect = reader.read(&picture).unwrap()[0].face.rect;
    let left = at_least_one(rect.x + 0.65 * rect.width);
    let half = cut(&picture, left, 0, picture.width() - left, picture.height());
    let faces = reader.read(&half).unwrap();
    assert!(faces.iter().all(|face| face.quality.is_err()), "{faces:?}");
}

/// A copy of the assets in which files may be changed: models and manifests copied, runtime linked.
fn copy_of_assets(change: impl Fn(&Path)) -> Result<Models, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    for entry in std::fs::read_dir(ASSETS.models()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, models.join(path.file_name().unwrap())).unwrap();
        }
    }
    symlink(
        ASSETS.folder().join("onnxruntime"),
        folder.path().join("onnxruntime"),
    )
    .unwrap();
    change(folder.path());
    Models::open(
        &Assets::locate(Some(folder.path())).unwrap(),
        &ModelOptions::default(),
    )
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{path:?} has no {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn an_unchanged_copy_opens() {
    assert_eq!(
        copy_of_assets(|_| ()).unwrap().contract(),
        MODELS.contract()
    );
}

#[test]
fn a_changed_model_file_is_refused_by_its_hash() {
    let result = copy_of_assets(|folder| {
        let path = folder.join("models/mobilefacenet.onnx");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    });
    let Err(ModelError::WrongHash {
        expected, found, ..
    }) = &result
    else {
        panic!("{result:?}")
    };
    assert_ne!(expected, found);
    assert!(result.unwrap_err().to_string().contains("make setup"));
}

#[test]
fn missing_files_are_named() {
    for name in [
        "models/centerface.onnx",
        "models/mobilefacenet.toml",
        "onnxruntime",
    ] {
        let result = copy_of_assets(|folder| std::fs::remove_file(folder.join(name)).unwrap());
        let Err(ModelError::Missing { path }) = &result else {
            panic!("{name}: {result:?}")
        };
        assert!(path.to_string_lossy().contains(name), "{path:?}");
        assert!(result.unwrap_err().to_string().contains("make setup"));
    }
}

#[test]
fn a_library_that_is_none_is_refused() {
    let result = copy_of_assets(|folder| {
        let library = folder.join("onnxruntime");
        std::fs::remove_file(&library).unwrap();
        std::fs::create_dir(&library).unwrap();
        std::fs::write(library.join("libonnxruntime.so"), "no library").unwrap();
    });
    assert!(
        matches!(result, Err(ModelError::Runtime { .. })),
        "{result:?}"
    );
}

#[test]
fn a_model_of_another_shape_is_refused() {
    let detector = std::fs::read_to_string(ASSETS.manifest("centerface")).unwrap();
    let hash_of = |text: &str| {
        let start = text.find("sha256 = \"").unwrap() + 10;
        text[start..start + 64].to_owned()
    };
    let result = copy_of_assets(|folder| {
        let path = folder.join("models/mobilefacenet.toml");
        let own = std::fs::read_to_string(&path).unwrap();
        edit(&path, &hash_of(&own), &hash_of(&detector));
        edit(&path, "\"mobilefacenet.onnx\"", "\"centerface.onnx\"");
    });
    let Err(ModelError::WrongShape { model, tensor, .. }) = &result else {
        panic!("{result:?}")
    };
    assert_eq!(
        (model.as_str(), tensor.as_str()),
        ("mobilefacenet", "input")
    );
}

#[test]
fn a_model_that_computes_something_else_fails_its_self_test() {
    let result = copy_of_assets(|folder| {
        // Channels swapped: the model runs, and every embedding would be a little wrong.
        edit(
            &folder.join("models/mobilefacenet.toml"),
            "\"BGR\"",
            "\"RGB\"",
        );
    });
    let Err(ModelError::SelfTest {
        model,
        cosine,
        needed,
        ..
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!(model, "mobilefacenet");
    assert!(cosine < needed);
}

#[test]
fn a_misspelt_key_is_named() {
    let result = copy_of_assets(|folder| {
        edit(
            &folder.join("models/centerface.toml"),
            "score = ",
            "scroe = ",
        );
    });
    let Err(ModelError::Manifest { why, .. }) = result else {
        panic!("{result:?}")
    };
    assert!(why.contains("scroe"), "{why}");
}
