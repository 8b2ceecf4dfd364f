use super::*;
use crate::facerec::PixelBox;
use std::path::PathBuf;

fn face(x: i64) -> PixelBox {
    [x, 10, x + 60, 80]
}

fn trajectory(start: u64, xs: &[i64]) -> Trajectory {
    Trajectory {
        start,
        len: xs.len() as u64,
        bbs: xs.iter().map(|x| face(*x)).collect(),
        detected: vec![true; xs.len()],
        w: 640,
        h: 360,
        object_type: "face".to_owned(),
        index: None,
        movie_id: None,
    }
}

fn feature(folder: &FacerecFolder, frame: u64, x: i64, values: usize) -> String {
    let tag = folder.tag(frame, &face(x));
    fs::create_dir_all(folder.path("images")).unwrap();
    fs::write(folder.image(&tag), "x").unwrap();
    let vector = vec![0.5; values];
    format!(
        "{{\"frame\":{frame},\"tag\":\"{tag}\",\"embedding\":{vector:?},\"box\":{:?},\"w\":640,\"h\":360}}\n",
        face(x)
    )
}

/// Two shards of a film as facerec writes them: the first runs on for five frames.
fn film(folder: &FacerecFolder) {
    let shard = |span: (u64, u64), trajectories: &[Trajectory], features: String, cuts: &str| {
        let files = folder.files_of(span);
        for path in [&files.trajectories, &files.features, &files.scenes] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let lines: Vec<_> = trajectories.iter().map(|t| to_line(t) + "\n").collect();
        fs::write(files.trajectories, lines.concat()).unwrap();
        fs::write(files.features, features).unwrap();
        fs::write(files.scenes, format!("{{\"frame_indices\":[{cuts}]}}")).unwrap();
    };
    let first = [
        trajectory(0, &[100; 8]),
        trajectory(8, &[103; 4]),
        trajectory(13, &[300; 10]),
        trajectory(21, &[500; 4]),
    ];
    let features =
        feature(folder, 0, 100, 2) + &feature(folder, 15, 300, 2) + &feature(folder, 20, 300, 2);
    shard((0, 20), &first, features, "12");
    let second = [
        trajectory(20, &[301; 9]),
        trajectory(21, &[500; 6]),
        trajectory(30, &[301; 3]),
    ];
    let features =
        feature(folder, 20, 300, 2) + &feature(folder, 25, 301, 2) + &feature(folder, 25, 500, 2);
    shard((20, 40), &second, features, "30");
}

#[test]
fn facerecs_own_shards_are_joined_and_nothing_is_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    let folder = FacerecFolder::of(folder.path(), 7);
    film(&folder);
    let merged = merge(&folder, &MergeOptions::default()).unwrap();
    let expected = MergedFilm {
        shards: 2,
        cuts: 2,
        trajectories: 3,
        left_out: 1,
        features: 5,
    };
    assert_eq!(merged, expected);
    let trajectories = read_trajectories(&folder.path("trajectories.jsonl")).unwrap();
    let spans: Vec<_> = trajectories
        .iter()
        .map(|t| (t.index, t.start, t.len))
        .collect();
    // Chained within the shard; over its end, where the cut at 12 lies before; seen twice after the end.
    assert_eq!(
        spans,
        [(Some(0), 0, 12), (Some(1), 13, 16), (Some(2), 21, 6)]
    );
    assert_eq!(trajectories[1].bbs[6..8], [face(300), face(301)]);
    let mut frames = Vec::new();
    read_features(&folder.path("features.jsonl"), |_, line| {
        frames.push(line.frame);
        Ok(())
    })
    .unwrap();
    assert_eq!(frames, [0, 15, 20, 25, 25]);
    let scenes = fs::read_to_string(folder.path("scene_changes.json")).unwrap();
    assert_eq!(scenes, r#"{"frame_indices":[12,30],"movie_id":7}"#);
    let line = fs::read_to_string(folder.path("trajectories.jsonl")).unwrap();
    let line = line.lines().next().unwrap();
    assert!(
        line.starts_with(r#"{"start":0,"len":12,"bbs":[[100,10,160,80],"#),
        "{line}"
    );
    let tail = r#""w":640,"h":360,"object_type":"face","index":0,"movie_id":7}"#;
    assert!(line.ends_with(tail), "{line}");
}

#[test]
fn small_faces_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = FacerecFolder::of(folder.path(), 7);
    film(&folder);
    let options = MergeOptions {
        min_face_size: 61,
        ..MergeOptions::default()
    };
    assert_eq!(merge(&folder, &options).unwrap().trajectories, 0);
}

#[test]
fn shards_that_do_not_follow_each_other_are_refused() {
    let check = |change: &dyn Fn(&FacerecFolder), code: &str, what: &str| {
        let folder = tempfile::tempdir().unwrap();
        let folder = FacerecFolder::of(folder.path(), 7);
        film(&folder);
        change(&folder);
        let said = merge(&folder, &MergeOptions::default())
            .unwrap_err()
            .to_string();
        assert!(said.starts_with(code) && said.contains(what), "{said}");
        assert!(!folder.path("trajectories.jsonl").exists());
    };
    let remove = |path: PathBuf| fs::remove_file(path).unwrap();
    check(
        &|f| remove(f.files_of((0, 20)).trajectories),
        "SHARD_MISSING",
        "0-20",
    );
    check(
        &|f| remove(f.files_of((20, 40)).features),
        "SHARD_MISSING",
        "features_7_20-40",
    );
    let double = |f: &FacerecFolder| {
        fs::copy(
            f.files_of((20, 40)).trajectories,
            f.files_of((10, 40)).trajectories,
        )
        .unwrap();
    };
    check(&|f| double(f), "SHARD_DOUBLED", "10-40");
    let cut = |f: &FacerecFolder| {
        let path = f.files_of((20, 40)).trajectories;
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 30]).unwrap();
    };
    check(&|f| cut(f), "BATCH_DAMAGED", "line 3");
    let other = |f: &FacerecFolder| {
        fs::write(f.files_of((20, 40)).features, feature(f, 25, 301, 3)).unwrap();
    };
    check(&|f| other(f), "SHARD_OF_OTHER_MODEL", "3 values");
    let foreign = |f: &FacerecFolder| {
        fs::write(f.path("trajectories/trajectories_8_0-20.jsonl"), "").unwrap()
    };
    check(&|f| foreign(f), "SHARD_OF_OTHER_FILE", "trajectories_8");
}

#[test]
fn a_shard_without_its_last_file_is_not_complete() {
    let folder = tempfile::tempdir().unwrap();
    let folder = FacerecFolder::of(folder.path(), 7);
    film(&folder);
    fs::create_dir_all(folder.path("shards/000-of-001")).unwrap();
    let said = merge(&folder, &MergeOptions::default()).unwrap_err();
    let said = said.to_string();
    let expected = "there is no shard.json, which is written last; make this part again";
    assert!(
        said.starts_with("SHARD_INCOMPLETE: ")
            && said.contains("000-of-001")
            && said.ends_with(expected),
        "{said}"
    );
}

/// As [`chain`] and [`join_shard`], each with all.
fn with_all(
    film: &mut Vec<Trajectory>,
    mut found: Vec<Trajectory>,
    begin: u64,
    cuts: &BTreeSet<u64>,
    options: &MergeOptions,
) {
    let best = |all: &[Trajectory], next: &Trajectory, within: bool| {
        let mut best = (options.iou_threshold, None);
        for (at, earlier) in all.iter().enumerate() {
            let last = match within {
                true if earlier.end() == next.start => earlier.bbs.last(),
                true => None,
                false => earlier.box_at(next.start),
            };
            let overlap = last.map_or(0.0, |last| iou(last, &next.bbs[0]));
            if overlap > best.0 {
                best = (overlap, Some(at));
            }
        }
        best.1.filter(|_| !cuts.contains(&next.start))
    };
    found.sort_by_key(|trajectory| trajectory.start);
    let mut chained = Vec::new();
    for next in found {
        match best(&chained, &next, true) {
            Some(at) => append(&mut chained[at], next),
            None => chained.push(next),
        }
    }
    film.retain(|earlier| earlier.start < begin);
    let before = film.len();
    for next in chained {
        let early = begin > 0 && next.start < begin + options.overlap;
        match best(&film[..before], &next, false).filter(|_| early) {
            Some(at) => append(&mut film[at], next),
            None => film.push(next),
        }
    }
}

#[test]
fn those_that_are_looked_at_are_those_that_can_be_joined() {
    let mut random = crate::random::Random::new(7);
    let mut joined = 0;
    for _ in 0..300 {
        let options = MergeOptions {
            iou_threshold: 0.3,
            overlap: 1 + random.below(8) as u64,
            ..MergeOptions::default()
        };
        let cuts = BTreeSet::from([random.below(60) as u64]);
        let (mut film, mut expected, mut all) = (Vec::new(), Vec::new(), 0);
        for shard in 0..3 {
            let begin = 20 * shard;
            let mut found = Vec::new();
            for _ in 0..random.below(30) {
                let start = begin + random.below(24) as u64;
                let x = 20 * random.below(5) as i64;
                found.push(trajectory(start, &vec![x; 1 + random.below(9)]));
            }
            all += found.len();
            with_all(&mut expected, found.clone(), begin, &cuts, &options);
            let chained = chain(found, &cuts, &options);
            join_shard(&mut film, chained, begin, (&cuts, &options));
            assert_eq!(film, expected);
        }
        joined += all - film.len();
    }
    assert!(joined > 1000, "{joined}");
}

#[test]
fn two_empty_shards_of_one_span_do_not_write_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = FacerecFolder::of(folder.path(), 7);
    let create = || crate::facerec::FacerecWriter::create(folder.clone(), (20, 20)).unwrap();
    let (one, other) = (create(), create());
    one.finish().unwrap();
    other.finish().unwrap();
    let names = fs::read_dir(folder.path("trajectories")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["trajectories_7_20-20.jsonl"]);
    assert_eq!(folder.spans().unwrap(), [(20, 20)]);
}
