use super::*;
use crate::{
    crop::to_jpeg,
    fake::embedding_of,
    geometry::{DetectedFace, Point, Rect},
    model::ClassifierManifest,
    observe::{FractionBox, FrameNo, MediaTime, ObservedFace, WallTime},
    picture::Picture,
};

/// Reads the age off the red of the crop, and calls whoever is green female; a blue crop says
/// nothing.
struct Colours(Vec<AttributeSpec>);

impl Colours {
    fn new() -> Self {
        let age = include_str!("../../../models/ssrnet-age.toml");
        let gender = include_str!("../../../models/ssrnet-gender.toml");
        let specs = [age, gender].map(|text| ClassifierManifest::parse(text).unwrap());
        Self(
            specs
                .into_iter()
                .flat_map(|m| m.output.attributes)
                .collect(),
        )
    }
}

impl Classifier for Colours {
    fn attributes(&self) -> &[AttributeSpec] {
        &self.0
    }

    fn read(&mut self, face: &KeptFace) -> Result<Vec<Option<Reading>>, InferError> {
        let [red, green, blue] = face.loose.view().pixel(4, 4).unwrap();
        if blue > 100 {
            return Ok(vec![None, None]);
        }
        // JPEG moves colours a little.
        let (age, male) = (
            (f32::from(red) / 10.0).round(),
            f32::from(u8::from(green < 100)),
        );
        Ok(vec![
            Some(Reading::Number(age)),
            Some(Reading::Labels(vec![1.0 - male, male])),
        ])
    }
}

fn exemplar(number: u32, quality: f32, color: [u8; 3]) -> ObservedExemplar {
    let loose = Picture::filled(16, 16, color).unwrap();
    let face = DetectedFace {
        rect: Rect::new(3.0, 3.0, 10.0, 10.0),
        landmarks: [Point::new(8.0, 8.0); 5],
        score: 0.9,
    };
    let rect = FractionBox {
        x: 0.1,
        y: 0.1,
        width: 0.2,
        height: 0.2,
    };
    ObservedExemplar {
        number,
        face: ObservedFace {
            frame: FrameNo::new(1),
            time: MediaTime::ZERO,
            rect,
            confidence: 0.9,
        },
        landmarks: [0.2; 10],
        in_loose_crop: face,
        quality,
        embedding: embedding_of(0.0).unwrap(),
        crop: Vec::new(),
        loose_crop: to_jpeg(loose.view(), 95),
    }
}

fn track(exemplars: Vec<ObservedExemplar>, dropped: &[u32], closed: bool) -> TrackObservation {
    TrackObservation {
        key: TrackKey::of(FrameNo::new(7), 0),
        revision: 1,
        closed,
        start: MediaTime::ZERO,
        end: MediaTime::ZERO,
        start_frame: FrameNo::new(0),
        end_frame: FrameNo::new(0),
        wall_start: WallTime::default(),
        faces: Vec::new(),
        exemplars,
        dropped_exemplars: dropped.to_vec(),
        attributes: Vec::new(),
    }
}

fn filled(attributes: &mut TrackAttributes, mut track: TrackObservation) -> Vec<Attribute> {
    attributes.fill(&mut track).unwrap();
    track.attributes
}

fn near(found: &Attribute, label: &str, value: f32, spread: f32, faces: u32) {
    assert_eq!(
        (found.label.as_str(), found.faces),
        (label, faces),
        "{found:?}"
    );
    let close = |a: f32, b: f32| (a - b).abs() < 1e-3;
    assert!(
        close(found.value, value) && close(found.spread, spread),
        "{found:?}"
    );
}

#[test]
fn better_faces_count_for_more() {
    let mut attributes = TrackAttributes::new(vec![Box::new(Colours::new())]);
    let faces = vec![
        exemplar(1, 0.75, [200, 0, 0]),
        exemplar(2, 0.25, [240, 200, 0]),
    ];
    let found = filled(&mut attributes, track(faces, &[], false));
    assert_eq!(
        (found[0].name.as_str(), found[0].unit.as_str()),
        ("age", "years")
    );
    // 20 and 24, three to one: 21, and sqrt(0.75 * 1 + 0.25 * 9).
    near(&found[0], "", 21.0, 3f32.sqrt(), 2);
    near(&found[1], "male", 0.75, 0.1875f32.sqrt(), 2);
}

#[test]
fn a_track_says_what_its_exemplars_say_now() {
    let mut attributes = TrackAttributes::new(vec![Box::new(Colours::new())]);
    let one = |number, red| vec![exemplar(number, 0.5, [red, 0, 0])];
    let found = filled(&mut attributes, track(one(1, 200), &[], false));
    near(&found[0], "", 20.0, 0.0, 1);
    assert_eq!(filled(&mut attributes, track(Vec::new(), &[], false)), []);
    let found = filled(&mut attributes, track(one(2, 100), &[1], false));
    near(&found[0], "", 10.0, 0.0, 1);
    let found = filled(&mut attributes, track(one(3, 200), &[], true));
    near(&found[0], "", 15.0, 5.0, 2);
    assert!(attributes.tracks.is_empty(), "a closed track is forgotten");
}

#[test]
fn a_face_that_says_nothing_counts_for_nothing() {
    let mut attributes = TrackAttributes::new(vec![Box::new(Colours::new())]);
    let mut broken = exemplar(3, 0.9, [200, 0, 0]);
    broken.loose_crop.truncate(40);
    let mute = exemplar(1, 0.9, [0, 0, 255]);
    let found = filled(
        &mut attributes,
        track(vec![mute.clone(), broken], &[], false),
    );
    assert_eq!(found, []);
    let faces = vec![mute, exemplar(2, 0.0, [200, 200, 0])];
    let found = filled(&mut attributes, track(faces, &[], false));
    near(&found[0], "", 20.0, 0.0, 1);
    near(&found[1], "female", 1.0, 0.0, 1);
}

#[test]
fn without_classifiers_nothing_is_read() {
    let mut attributes = TrackAttributes::default();
    let faces = vec![exemplar(1, 0.5, [200, 0, 0])];
    assert_eq!(filled(&mut attributes, track(faces, &[], false)), []);
    assert!(attributes.tracks.is_empty());
}
