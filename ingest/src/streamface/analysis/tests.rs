//! A channel with painted faces, through the stages.

use super::*;
use crate::{
    faceset::FaceSet,
    fake::{FAKE_DIMENSION, FakeDetector, FakeEmbedder, paint_face},
    gate::streamface::FaceThresholds,
    geometry::Rect,
    picture::Picture,
    streamface::{FaceExtractor, FaceRules},
};
use rollcall_index::vectors::SideFiles;

const STAMPS: [&str; 2] = ["20230525100138412614", "20230525100138912614"];

/// Two frames with the same two people.
fn channel() -> (tempfile::TempDir, ChannelFolder) {
    let folder = tempfile::tempdir().unwrap();
    let channel = ChannelFolder::open(folder.path()).unwrap();
    let rules = FaceRules {
        thresholds: FaceThresholds {
            score: 0.5,
            ..FaceThresholds::default()
        },
        ..FaceRules::default()
    };
    let detector = Box::new(FakeDetector);
    let mut faces = FaceExtractor::open(channel.clone(), detector, rules, false).unwrap();
    let mut picture = Picture::filled(640, 360, [128; 3]).unwrap();
    paint_face(&mut picture, Rect::new(60.0, 80.0, 120.0, 120.0), 10.0);
    paint_face(&mut picture, Rect::new(400.0, 100.0, 120.0, 120.0), 190.0);
    for stamp in STAMPS {
        faces
            .search(&format!("sky_frame_{stamp}.png"), picture.view())
            .unwrap();
    }
    assert_eq!(faces.counts().kept, 4);
    (folder, channel)
}

fn analyser(folder: &ChannelFolder, restart: bool) -> FaceAnalyser {
    FaceAnalyser::open(folder.clone(), Box::new(FakeEmbedder), Vec::new(), restart).unwrap()
}

#[test]
fn faces_become_features_that_are_read_again() {
    let (folder, channel) = channel();
    let mut stage = analyser(&channel, false);
    assert_eq!(stage.waiting(), 4);
    assert_eq!(stage.next(3).unwrap().unwrap().faces, 3);
    // Broken off here, the next run goes on.
    let mut stage = analyser(&channel, false);
    assert_eq!(stage.waiting(), 1);
    assert_eq!(stage.next(3).unwrap().unwrap().faces, 1);
    assert_eq!(stage.next(3).unwrap(), None);

    let set = FaceSet::read(folder.path(), "", &SideFiles::default()).unwrap();
    assert_eq!((set.len(), set.dimension()), (4, FAKE_DIMENSION));
    let cosine = |a: usize, b: usize| -> f32 {
        set.embedding(a)
            .iter()
            .zip(set.embedding(b))
            .map(|(a, b)| a * b)
            .sum()
    };
    assert!(
        cosine(0, 2) > 0.95 && cosine(0, 1) < 0.1,
        "{} {}",
        cosine(0, 2),
        cosine(0, 1)
    );
    assert_eq!(set.tracks(), [0, 1, 0, 1], "by matches.csv");
    let times: Vec<_> = set
        .known()
        .iter()
        .map(|known| known.time_us.unwrap())
        .collect();
    assert_eq!(times[2] - times[0], 500_000);
}

#[test]
fn a_face_that_cannot_be_read_is_told_and_passed_over() {
    let (_folder, channel) = channel();
    let name = format!("sky_frame_{}_face_1.png", STAMPS[0]);
    std::fs::write(channel.part("faces").join(&name), "no picture").unwrap();
    let done = analyser(&channel, false).next(10).unwrap().unwrap();
    assert_eq!((done.faces, done.unreadable.len()), (3, 1));
    assert!(done.unreadable[0].contains(&name), "{done:?}");
    // It waits for another attempt; what was done is done again only when asked.
    assert_eq!(analyser(&channel, false).waiting(), 1);
    assert_eq!(analyser(&channel, true).waiting(), 4);
}
