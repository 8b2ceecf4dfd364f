//! A video in parts gives what it gives as a whole.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rollcall_ingest::{
    Picture, Rect,
    extract::{
        CutPlan, ExtractHeader, FileFingerprint, FolderSink, SHARD_FILE, ShardInfo, ShardSink,
        ShardSpan, find_shards, merge,
    },
    facerec::{
        self, Extraction, FacerecFolder, FacerecSettings, FacerecWriter, MergeOptions,
        read_trajectories,
    },
    fake::{FAKE_DIMENSION, FakeDetector, FakeEmbedder, paint_face},
    observe::{RunState, WallTime},
    pipeline::{Pipeline, PipelineSettings, Vision},
    shot::CutPlanner,
    source::{Overflow, StopToken, fake::ScriptedSource},
    streamface::Detection,
};
use rollcall_log::{
    FileStorage, Log, LogOptions,
    record::{Body, Record},
};

/// A textured background of its own for each scene, with faces (position, hue) painted on.
fn picture(scene: u16, shift: u16, faces: &[(f32, f32)]) -> Arc<Picture> {
    let mut picture = Picture::filled(320, 180, [90; 3]).unwrap();
    let s = f32::from(scene);
    for (i, pixel) in (0u16..).zip(picture.rgb_mut().chunks_exact_mut(3)) {
        let (x, y) = (f32::from(i % 320 + shift), f32::from(i / 320));
        let wave =
            (x * 0.05 * (1.0 + s) + s * 2.0).sin() * 30.0 + (y * (0.04 + 0.03 * s)).cos() * 40.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "40 to 180"
        )]
        pixel.fill((110.0 + wave) as u8);
    }
    for (x, hue) in faces {
        paint_face(&mut picture, Rect::new(*x, 50.0, 60.0, 60.0), *hue);
    }
    Arc::new(picture)
}

/// Shots of many lengths, one with nobody for ten seconds.
fn film() -> Vec<Arc<Picture>> {
    let shot = |scene: u16, frames: u16, faces: fn(f32) -> Vec<(f32, f32)>| {
        (0..frames).map(move |i| picture(scene, i / 4, &faces(f32::from(i % 60))))
    };
    let mut film: Vec<_> = shot(0, 60, |way| vec![(20.0 + way, 0.0), (200.0, 120.0)]).collect();
    film.extend(shot(1, 43, |_| vec![(120.0, 240.0)]));
    film.extend(shot(2, 260, |_| Vec::new()));
    film.extend(shot(3, 37, |way| vec![(60.0, 0.0), (140.0 + way, 300.0)]));
    film.extend(shot(0, 20, |_| vec![(40.0, 120.0)]));
    film.extend(shot(1, 11, |way| vec![(90.0 + way, 60.0)]));
    film.extend(shot(3, 70, |_| vec![(30.0, 240.0), (210.0, 0.0)]));
    film
}

fn settings() -> PipelineSettings {
    PipelineSettings {
        detect_every: std::num::NonZeroU32::new(3),
        ..PipelineSettings::default()
    }
}

fn header() -> ExtractHeader {
    ExtractHeader {
        uri: "film.mp4".to_owned(),
        contract: "fake".to_owned(),
        dimension: FAKE_DIMENSION,
        pipeline: settings().fingerprint("fake"),
    }
}

/// Extracts part `index` of `n`, or all without a plan, into `out`.
fn extract(film: &[Arc<Picture>], plan: Option<(&CutPlan, u32, u32)>, out: &Path) {
    fs::create_dir_all(out).unwrap();
    let (mut ignore, span) = (|_: &_| (), plan.map(|(plan, index, n)| plan.span(index, n)));
    let clock = Arc::new(|| WallTime::from_unix_micros(1_000_000));
    let mut sink = FolderSink::create(out, &header(), clock, &mut ignore).unwrap();
    let pipeline = Pipeline {
        settings: settings(),
        vision: Vision {
            detector: Box::new(FakeDetector),
            embedder: Box::new(FakeEmbedder),
            classifiers: Vec::new(),
        },
        overflow: Overflow::Wait,
        stop: StopToken::default(),
    };
    let mut source = ScriptedSource::new(film.iter().cloned());
    match span {
        None => drop(pipeline.run(Box::new(source), None, &mut sink).unwrap()),
        Some(span) if span.is_empty() => {}
        Some(span) => {
            source = span
                .resume
                .map(|point| ScriptedSource::new(film.iter().cloned()).resumed(point))
                .unwrap_or(source);
            let mut part = ShardSink::new(&mut sink, span);
            let finished = pipeline
                .run(Box::new(source), span.resume, &mut part)
                .unwrap();
            assert_eq!(part.outcome(finished, out).unwrap().state, RunState::Ended);
        }
    }
    if let (Some((plan, index, n)), Some(span)) = (plan, span) {
        say_which(out, plan, (index, n), span);
    }
}

/// Says that the folder holds part `index` of `n`.
fn say_which(out: &Path, plan: &CutPlan, (index, n): (u32, u32), span: ShardSpan) {
    let info = ShardInfo::new((index, n), span, plan.file.clone(), &header());
    info.write(&out.join(SHARD_FILE)).unwrap();
}

fn plan(film: &[Arc<Picture>]) -> CutPlan {
    let mut source = ScriptedSource::new(film.iter().cloned());
    let file = FileFingerprint {
        bytes: 1,
        sha256: "00".to_owned(),
    };
    let rules = CutPlan::rules_of(&settings());
    CutPlan::make(&mut source, CutPlanner::new(settings().cuts), file, rules).unwrap()
}

/// Every file of the crops and `tracks.jsonl`, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let crops = fs::read_dir(folder.join("crops")).unwrap();
    let paths = crops
        .map(|entry| entry.unwrap().path())
        .chain([folder.join("tracks.jsonl")]);
    paths
        .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
        .collect()
}

/// The records of a log, but for the times at which they were made, and the pictures for where they lie.
fn records(folder: &Path) -> Vec<String> {
    let storage = FileStorage::open(folder.join("log")).unwrap();
    let (log, report) = Log::open(Arc::new(storage), LogOptions::default()).unwrap();
    assert!(report.torn.is_none());
    let reader = log.reader();
    let text = |record: Record| {
        let mut pictures = Vec::new();
        let mut body = record.body.unwrap();
        if let Body::TrackObserved(track) = &mut body {
            track.wall_start_us = 0;
            for exemplar in &mut track.exemplars {
                let blobs = [
                    &mut exemplar.embedding,
                    &mut exemplar.crop,
                    &mut exemplar.loose_crop,
                ];
                pictures.extend(blobs.map(|blob| reader.blob(&blob.take().unwrap()).unwrap()));
            }
        }
        format!(
            "{} {} {body:?} {pictures:?}",
            record.sequence, record.author
        )
    };
    reader
        .read_after(0)
        .map(|record| text(record.unwrap()))
        .collect()
}

#[test]
fn any_number_of_shards_gives_the_same_tracks() {
    let (folder, film) = (tempfile::tempdir().unwrap(), film());
    let whole = folder.path().join("whole");
    extract(&film, None, &whole);
    let (expected, expected_records) = (files(&whole), records(&whole));
    assert!(
        expected.len() == 10 && expected_records.len() > 15,
        "{}",
        expected.len()
    );
    let plan = plan(&film);
    let cuts: Vec<u64> = plan.cuts.iter().map(|cut| cut.frame).collect();
    assert_eq!(cuts, [60, 103, 363, 400, 420, 431]);
    for n in 1..=16 {
        let mut parts = Vec::new();
        for index in 0..n {
            let span = plan.span(index, n);
            let name = format!("{}-{}-{index}", span.begin, span.end);
            // The same part is seen the same: where another division has it, it is taken over.
            let name = if span.is_empty() {
                name
            } else {
                format!("{}-{}", span.begin, span.end)
            };
            let part = folder.path().join(name);
            if !part.exists() {
                extract(&film, Some((&plan, index, n)), &part);
            }
            say_which(&part, &plan, (index, n), span);
            parts.push(part);
        }
        let merged = folder.path().join(format!("merged-{n}"));
        let shards = find_shards(&parts).unwrap();
        let counts = merge(&shards, &merged).unwrap();
        assert_eq!(counts.shards, n);
        assert_eq!(counts.tracks, 9, "{n} shards");
        assert!(files(&merged) == expected, "{n} shards give other files");
        assert_eq!(records(&merged), expected_records, "{n} shards");
    }
}

#[test]
fn an_extraction_goes_to_streamface_with_where_its_faces_were() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("film"), folder.path().join("channel"));
    extract(&film(), None, &from);
    let export = |to: &Path, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
        command.arg("export").arg(&from).arg(to);
        command.args(["--as", "streamface"]).args(more);
        command.output().unwrap()
    };
    let bare = folder.path().join("bare");
    let said = export(&bare, &[]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("--frame-size"));
    assert!(!bare.join("metadata/detections.csv").exists());
    let wrong = export(&folder.path().join("wrong"), &["--frame-size", "320"]);
    assert_eq!(wrong.status.code(), Some(2));

    let done = export(&to, &["--frame-size", "320x180"]);
    assert!(done.status.success(), "{done:?}");
    let faces = Detection::read_all(&to.join("metadata/detections.csv")).unwrap();
    let names: Vec<String> = fs::read_dir(to.join("faces"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(faces.len(), names.len());
    for face in &faces {
        assert!(names.contains(&face.name), "{face:?}");
        assert_eq!(face.frame_size, Some([180, 320]));
        let at = face.face;
        assert!((48..=52).contains(&at.y), "painted at 50: {face:?}");
        assert!(
            (57..=62).contains(&at.width) && (57..=62).contains(&at.height),
            "{face:?}"
        );
        for (x, y) in at.landmarks {
            assert!((at.x..at.x + at.width).contains(&x), "{face:?}");
            assert!((at.y..at.y + at.height).contains(&y), "{face:?}");
        }
    }

    // From there on it stays with the channel.
    let again = folder.path().join("again");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
    command
        .arg("export")
        .arg(&to)
        .arg(&again)
        .args(["--as", "streamface"]);
    assert!(command.output().unwrap().status.success());
    let table = |folder: &Path| fs::read(folder.join("metadata/detections.csv")).unwrap();
    assert_eq!(table(&again), table(&to));
}

#[test]
fn a_damaged_shard_is_refused_with_its_line() {
    let (folder, film) = (tempfile::tempdir().unwrap(), film());
    let plan = plan(&film);
    for index in 0..2 {
        extract(
            &film,
            Some((&plan, index, 2)),
            &ShardInfo::folder(folder.path(), index, 2),
        );
    }
    let shards = find_shards(&[folder.path().to_owned()]).unwrap();
    let lines = shards[1].0.join("tracks.jsonl");
    let text = fs::read_to_string(&lines).unwrap();
    let said = |text: &str| {
        fs::write(&lines, text).unwrap();
        let out = tempfile::tempdir().unwrap();
        merge(&shards, out.path()).unwrap_err().to_string()
    };
    let cut = said(&text[..text.len() - 20]);
    let last = format!("tracks.jsonl, line {}", text.lines().count());
    assert!(
        cut.starts_with("BATCH_DAMAGED") && cut.contains(&last),
        "{cut}"
    );
    let short = said(text.split_once('\n').unwrap().1);
    assert!(short.contains("the log has"), "{short}");

    fs::remove_file(shards[1].0.join(SHARD_FILE)).unwrap();
    let missing = find_shards(&[folder.path().to_owned()])
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("SHARD_MISSING") && missing.contains("shard-001-of-002"),
        "{missing}"
    );
    let alone = find_shards(&[shards[1].0.clone()]).unwrap_err().to_string();
    assert!(alone.starts_with("SHARD_INCOMPLETE"), "{alone}");
    let empty = tempfile::tempdir().unwrap();
    let begun = ShardInfo::folder(empty.path(), 0, 2);
    fs::create_dir(&begun).unwrap();
    for alone in [
        find_shards(std::slice::from_ref(&begun)).unwrap_err(),
        ShardInfo::read(&begun.join(SHARD_FILE)).unwrap_err(),
    ] {
        let said = alone.to_string();
        let why = "shard-000-of-002: there is no shard.json";
        assert!(
            said.starts_with("SHARD_INCOMPLETE") && said.contains(why),
            "{said}"
        );
    }
    fs::remove_dir(&begun).unwrap();
    let none = find_shards(&[empty.path().to_owned()])
        .unwrap_err()
        .to_string();
    assert!(none.starts_with("SHARD_MISSING"), "{none}");
}

/// The files of a film in `n` shards, merged.
fn film_of(film: &[Arc<Picture>], plan: &CutPlan, n: u32) -> BTreeMap<String, Vec<u8>> {
    let out = tempfile::tempdir().unwrap();
    let folder = FacerecFolder::of(out.path(), 7);
    for index in 0..n {
        let span = plan.span(index, n);
        let writer = FacerecWriter::create(folder.clone(), (span.begin.get(), span.end.get()));
        if span.is_empty() {
            writer.unwrap().finish().unwrap();
        } else {
            let (detector, embedder) = (Box::new(FakeDetector), Box::new(FakeEmbedder));
            let extraction = Extraction::new(FacerecSettings::default(), detector, embedder);
            let mut source = ScriptedSource::new(film.iter().cloned());
            if let Some(point) = span.resume {
                source = source.resumed(point);
            }
            let stop = StopToken::default();
            let run = extraction.run(&mut source, (plan, span), writer.unwrap(), &stop);
            assert_eq!(run.unwrap().1, None);
        }
        let info = ShardInfo::new((index, n), span, plan.file.clone(), &header());
        let path = folder.shard_info(index, n);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        info.write(&path).unwrap();
    }
    let merged = facerec::merge(&folder, &MergeOptions::default()).unwrap();
    assert_eq!((merged.shards >= 1, merged.left_out), (true, 0));
    let trajectories = read_trajectories(&folder.path("trajectories.jsonl")).unwrap();
    assert_eq!(trajectories.len(), 9);
    let images = fs::read_dir(folder.path("images")).unwrap();
    let merged = ["trajectories.jsonl", "features.jsonl", "scene_changes.json"];
    let paths = images.map(|entry| entry.unwrap().path());
    let paths = paths.chain(merged.map(|name| folder.path(name)));
    paths
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn any_number_of_shards_gives_the_same_film() {
    // Every frame is searched: half of them are enough.
    let film: Vec<_> = film()
        .into_iter()
        .enumerate()
        .filter(|(i, _)| i % 2 == 0)
        .map(|(_, p)| p)
        .collect();
    let plan = plan(&film);
    let whole = film_of(&film, &plan, 1);
    let text = String::from_utf8(whole["scene_changes.json"].clone()).unwrap();
    let cuts: Vec<_> = plan.cuts.iter().map(|cut| cut.frame.to_string()).collect();
    assert_eq!(
        text,
        format!("{{\"frame_indices\":[{}],\"movie_id\":7}}", cuts.join(","))
    );
    for n in 2..=16 {
        assert!(film_of(&film, &plan, n) == whole, "{n} shards");
    }
}

/// Two people in three trajectories, and tables that know three actors.
fn labelled_film(root: &Path) -> PathBuf {
    let folder = root.join("7-data");
    fs::create_dir(&folder).unwrap();
    let trajectory = |index: u32, start: u32| {
        format!(
            "{{\"start\":{start},\"len\":1,\"bbs\":[[0,0,60,60]],\"detected\":[true],\"w\":64,\"h\":64,\
             \"object_type\":\"face\",\"index\":{index},\"movie_id\":7}}\n"
        )
    };
    let trajectories: String = (0..3).map(|index| trajectory(index, 10 * index)).collect();
    let feature = |frame: u32, vector: &str| {
        format!(
            "{{\"frame\":{frame},\"tag\":\"7:{frame}:0_0_60_60\",\"embedding\":{vector},\"box\":[0,0,60,60]}}\n"
        )
    };
    let features =
        feature(0, "[1.0,0.0,0.0]") + &feature(10, "[0.0,1.0,0.1]") + &feature(20, "[0.9,0.1,0.0]");
    let image = |name: &str, vector: &str| {
        format!("{{\"image\":\"{name}\",\"n\":1,\"faces\":[{{\"vector\":{vector}}}]}}\n")
    };
    let embeddings =
        image("a", "[1.0,0.0,0.0]") + &image("b", "[0.0,1.0,0.0]") + &image("c", "[0.0,0.0,1.0]");
    let files = [
        ("7-data/trajectories.jsonl", trajectories.as_str()),
        ("7-data/features.jsonl", &features),
        (
            "7-data/clusters.json",
            "{\"clusters\":[0,1,0],\"movie_id\":7}",
        ),
        (
            "actors.csv",
            "movie_id,id,name\n7,1,A\n7,2,B\n7,3,C\n8,4,D\n",
        ),
        (
            "images.csv",
            "index,actor_id,movie_id,filename,n_detections\n0,1,7,a,1\n1,2,7,b,1\n2,3,7,c,1\n",
        ),
        ("embeddings.jsonl", &embeddings),
    ];
    for (name, text) in files {
        fs::write(root.join(name), text).unwrap();
    }
    folder
}

#[test]
fn clusters_are_named_by_tables_of_actors() {
    let root = tempfile::tempdir().unwrap();
    let folder = labelled_film(root.path());
    let classify = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
            .arg("classify")
            .arg(&folder)
            .arg("--actors")
            .arg(root.path().join("actors.csv"))
            .arg("--actor-images")
            .arg(root.path().join("images.csv"))
            .arg("--actor-embeddings")
            .arg(root.path().join("embeddings.jsonl"))
            .output()
            .unwrap()
    };
    let done = classify();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let written = fs::read_to_string(folder.join("predictions.json")).unwrap();
    let head = "{\"movie_id\":7,\"predictions\":";
    let names = "{\"0\":{\"momaf:elonet_henkilo_1\":1.0},\"1\":{\"momaf:elonet_henkilo_2\":1.0}}}";
    assert_eq!(written, format!("{head}{names}"));

    fs::write(
        folder.join("clusters.json"),
        "{\"clusters\":[0,1],\"movie_id\":7}",
    )
    .unwrap();
    let refused = classify();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(
        told.contains("CLUSTERS_UNFIT") && told.contains("2 clusters for 3"),
        "{told}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("predictions.json")).unwrap(),
        written
    );
}
