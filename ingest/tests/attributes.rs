//! The classifiers that are shipped, on real faces. Needs what `make setup` prepares.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rollcall_ingest::{
    Assets, Classifiers, ModelError, ModelOptions, Models, PhotoReader, Subnormals,
    align::{in_loose_crop, loose_crop},
    attribute::{KeptFace, Reading},
    crop::{LOOSE_JPEG_QUALITY, to_jpeg},
    photo::{self, PhotoLimits},
};

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    Assets::locate(Some(&folder)).expect("run make setup")
});

fn open(names: &[&str]) -> Result<Classifiers, ModelError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Classifiers::open(&ASSETS, &names, Subnormals::Flush)
}

/// The largest face of a fixture as a track would keep it, and the same in a mirror.
fn kept(fixture: &str) -> [KeptFace; 2] {
    let bytes = std::fs::read(ASSETS.fixtures().join(fixture)).unwrap();
    let whole = photo::decode(&bytes, &PhotoLimits::default()).unwrap();
    let models = Models::open(&ASSETS, &ModelOptions::default()).unwrap();
    let mut reader = PhotoReader::open(&models).unwrap();
    let mut mirrored = whole.clone();
    let row = whole.width() as usize * 3;
    for (to, from) in mirrored
        .rgb_mut()
        .chunks_exact_mut(row)
        .zip(whole.rgb().chunks_exact(row))
    {
        let pixels = from.chunks_exact(3).rev();
        to.chunks_exact_mut(3)
            .zip(pixels)
            .for_each(|(to, from)| to.copy_from_slice(from));
    }
    [whole, mirrored].map(|picture| {
        let face = reader.read(&picture).unwrap()[0].face;
        let size = (picture.width(), picture.height());
        let crop = loose_crop(picture.view(), &face.rect);
        let jpeg = to_jpeg(crop.view(), LOOSE_JPEG_QUALITY);
        KeptFace {
            loose: photo::decode(&jpeg, &PhotoLimits::default()).unwrap(),
            face: in_loose_crop(size, &face),
        }
    })
}

fn read(name: &str, face: &KeptFace) -> Vec<Reading> {
    let mut readers = open(&[name]).unwrap().readers().unwrap();
    let readings = readers[0].read(face).unwrap();
    assert_eq!(readers[0].read(face).unwrap(), readings, "the same again");
    readings.into_iter().map(Option::unwrap).collect()
}

fn number(reading: &Reading) -> f32 {
    match reading {
        Reading::Number(value) => *value,
        Reading::Labels(_) => panic!("{reading:?}"),
    }
}

/// Probability of the label in this place.
fn label(reading: &Reading, at: usize) -> f32 {
    match reading {
        Reading::Labels(values) => values[at],
        Reading::Number(_) => panic!("{reading:?}"),
    }
}

#[test]
fn every_classifier_opens_and_passes_its_self_test() {
    assert_eq!(open(&["all"]).unwrap().manifests().count(), 5);
    assert_eq!(open(&[]).unwrap().names(), "");
    assert!(open(&["shoes"]).is_err());
}

#[test]
fn men_are_told_from_a_woman() {
    // The model is unsure about the astronaut: all that is asked is that she comes last.
    let woman = label(&read("gender", &kept("astronaut.png")[0])[0], 1);
    for fixture in ["obama.jpg", "obama2.jpg", "biden.jpg"] {
        let male = label(&read("gender", &kept(fixture)[0])[0], 1);
        assert!(male > 0.7 && male > woman, "{fixture}: {male}, not {woman}");
    }
}

#[test]
fn ages_are_those_of_grown_people() {
    for fixture in ["obama.jpg", "biden.jpg", "astronaut.png"] {
        let age = number(&read("age", &kept(fixture)[0])[0]);
        assert!((20.0..80.0).contains(&age), "{fixture}: {age}");
    }
}

#[test]
fn open_eyes_are_open_and_a_smile_is_happy() {
    let face = &kept("obama.jpg")[0];
    let (open, happy) = (
        label(&read("eyes", face)[0], 1),
        label(&read("expression", face)[0], 3),
    );
    assert!(open > 0.5, "{open}");
    assert!(happy > 0.7, "{happy}");
}

#[test]
fn a_mirror_turns_yaw_and_roll_around() {
    let [face, mirrored] = kept("obama2.jpg").map(|face| read("pose", &face));
    let [yaw, pitch, roll] = [0, 1, 2].map(|at| (number(&face[at]), number(&mirrored[at])));
    assert!((yaw.0 + yaw.1).abs() < 10.0, "{yaw:?}");
    assert!((pitch.0 - pitch.1).abs() < 10.0, "{pitch:?}");
    assert!((roll.0 + roll.1).abs() < 10.0, "{roll:?}");
}
