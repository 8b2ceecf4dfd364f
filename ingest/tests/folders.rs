//! Folders as streamface and facerec keep them, through the commands: labels come back in their own files.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use rollcall_index::vectors::SideFiles;
use rollcall_ingest::{
    facerec::Clusters, faceset::FaceSet, pickle::PickleWriter, streamface::Annotations,
};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
    command.args(arguments).output().unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Person 0 or 1, seen for the n-th time.
fn face(person: usize, time: usize) -> [f32; 6] {
    let mut values = [0.0; 6];
    values[person] = 1.0;
    values[2 + time] = 0.2;
    values
}

fn stem(person: usize, time: usize) -> String {
    format!("sky_frame_2023052510013{time}412614_face_{person}")
}

/// Two people in three frames.
fn channel(folder: &Path) {
    for part in ["features", "metadata"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let mut pickle = PickleWriter::dictionary();
    for time in 0..3 {
        for person in 0..2 {
            pickle.text(&format!("{}.png", stem(person, time)));
            pickle.tuple(|tuple| {
                tuple.array(&face(person, time));
                tuple.groups([
                    ("gender", vec![("Female", 0.25)]),
                    ("race", vec![("x", 1.0)]),
                ]);
                tuple.numbers([("happy", 0.5)]);
                tuple.number(f64::NAN);
                tuple.numbers([("yaw", 1.5)]);
            });
        }
    }
    fs::write(folder.join("features/a.pkl"), pickle.finish()).unwrap();
}

#[test]
fn a_channel_is_clustered_into_its_annotations() {
    let folder = tempfile::tempdir().unwrap();
    channel(folder.path());
    let from = text(folder.path());
    let out = folder.path().join("metadata/annotations.json");
    let cluster = || {
        run(&[
            "cluster",
            &from,
            "--method",
            "streamface",
            "--out",
            &text(&out),
        ])
    };
    let done = cluster();
    assert!(done.status.success(), "{done:?}");
    let mut annotations = Annotations::read(&out).unwrap();
    assert_eq!(annotations.labels.len(), 6);
    let labels = |annotations: &Annotations, person: usize| {
        (0..3)
            .map(|time| annotations.labels[&stem(person, time)].label)
            .collect::<Vec<_>>()
    };
    assert_eq!(labels(&annotations, 0), [0, 0, 0]);
    assert_eq!(labels(&annotations, 1), [1, 1, 1]);
    let said = &annotations.labels[&stem(0, 0)].other;
    assert_eq!(said["mask"], serde_json::Value::Null);
    let attributes = serde_json::json!({
        "gender": {"Female": 0.25}, "expression": {"happy": 0.5}, "pose": {"yaw": 1.5},
    });
    assert_eq!(said["attributes"], attributes);

    // What else is said of faces stays; what was about the numbers of before does not.
    annotations.ignore.push("0,1".to_owned());
    annotations.labels.get_mut(&stem(0, 0)).unwrap().label = 7;
    let said = serde_json::json!("seen");
    annotations
        .labels
        .get_mut(&stem(0, 0))
        .unwrap()
        .other
        .insert("note".to_owned(), said);
    annotations.write(&out).unwrap();
    assert!(cluster().status.success());
    let again = Annotations::read(&out).unwrap();
    assert_eq!(labels(&again, 0), [0, 0, 0]);
    assert_eq!(again.labels[&stem(0, 0)].other["note"], "seen");
    assert!(again.ignore.is_empty());
    let faces = FaceSet::read(folder.path(), "", &SideFiles::default()).unwrap();
    assert_eq!(faces.identities().unwrap(), [0, 1, 0, 1, 0, 1]);
}

/// Four trajectories, two of each person, and one without a face that was embedded.
fn film(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let (mut features, mut trajectories) = (String::new(), String::new());
    for index in 0..5 {
        let frame = 10 * index;
        let _ = writeln!(
            trajectories,
            "{{\"start\":{frame},\"len\":1,\"bbs\":[[1,2,30,40]],\"detected\":[true],\"w\":640,\"h\":360,\"object_type\":\"face\",\"index\":{index},\"movie_id\":7}}"
        );
        if index < 4 {
            let values = face(index % 2, index / 2)
                .map(|value| value.to_string())
                .join(",");
            let _ = writeln!(
                features,
                "{{\"frame\":{frame},\"tag\":\"7:{frame}:1_2_30_40\",\"embedding\":[{values}],\"box\":[1,2,30,40]}}"
            );
        }
    }
    fs::write(folder.join("features.jsonl"), features).unwrap();
    fs::write(folder.join("trajectories.jsonl"), trajectories).unwrap();
}

#[test]
fn a_film_is_clustered_a_trajectory_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let film_folder = folder.path().join("7-data");
    film(&film_folder);
    let from = text(&film_folder);
    let faces = FaceSet::read(&film_folder, "", &SideFiles::default()).unwrap();
    assert_eq!(faces.tracks(), [0, 1, 2, 3]);
    assert_eq!(
        (faces.name(1), faces.known()[1].source),
        (Some("7:10:1_2_30_40"), Some(7))
    );

    let out = film_folder.join("clusters.json");
    let sizes = ["--size", "2", "--min-size", "1", "--max-size", "2"];
    let command = [
        "cluster",
        &from,
        "--method",
        "facerec",
        "--out",
        &text(&out),
    ]
    .map(str::to_owned);
    let command: Vec<&str> = command.iter().map(String::as_str).chain(sizes).collect();
    let done = run(&command);
    assert!(done.status.success(), "{done:?}");
    let written = Clusters::read(&out, 5).unwrap();
    assert_eq!(
        (written.clusters, written.movie_id),
        (vec![0, 1, 0, 1, 2], 7)
    );
    let faces = FaceSet::read(&film_folder, "", &SideFiles::default()).unwrap();
    assert_eq!(faces.identities().unwrap(), [0, 1, 0, 1]);

    let elsewhere = folder.path().join("clusters.json");
    let vectors = text(&film_folder.join("features.jsonl"));
    let refused = run(&["cluster", &vectors, "--out", &text(&elsewhere)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("cluster a film's folder"), "{said}");
    assert!(!elsewhere.exists());
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_clustered() {
    let folder = tempfile::tempdir().unwrap();
    let film_folder = folder.path().join("7-data");
    film(&film_folder);
    fs::write(
        folder.path().join("annotations.json"),
        "{\"labels\": {\"x\": {}}}",
    )
    .unwrap();
    let plain = folder.path().join("plain.jsonl");
    fs::write(&plain, "{\"embedding\":[1,0]}\n{\"embedding\":[0,1]}\n").unwrap();
    let check = |from: &Path, out: &str, why: &str| {
        // Labels of this method would be refused too: nothing comes to that.
        let (from, out) = (text(from), text(&folder.path().join(out)));
        let method = ["--method", "facerec", "--min-size", "30"];
        let refused = run(&[&["cluster", &from, "--out", &out][..], &method].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2));
        assert!(said.contains(why), "{said}");
    };
    check(&plain, "clusters.json", "cluster a film's folder");
    check(&plain, "annotations_manual.json", "its faces have no names");
    check(&film_folder, "annotations.json", "missing field `label`");
    check(
        &film_folder,
        "gone/labels.npy",
        "no such folder to write to",
    );
    check(&film_folder, "7-data/clusters.json", "none can be so");
}

#[test]
fn a_channel_becomes_the_table_that_its_users_train_on() {
    let folder = tempfile::tempdir().unwrap();
    channel(folder.path());
    let mut rows =
        "name,confidence,box,left_eye,right_eye,nose,mouth_left,mouth_right,image,face,crop\n"
            .to_owned();
    for time in 0..3 {
        for person in 0..2 {
            let _ = writeln!(
                rows,
                "{}.png,0.99,\"[10, 20, 30, 40]\",\"(1, 2)\",\"(1, 2)\",\"(1, 2)\",\"(1, 2)\",\"(1, 2)\",\"(360, 640, 3)\",\"(80, 80, 3)\",\"(128, 128, 3)\"",
                stem(person, time)
            );
        }
    }
    fs::write(folder.path().join("metadata/detections.csv"), rows).unwrap();
    let from = text(folder.path());
    let to = folder.path().join("dataset.csv");
    let export = || run(&["export", &from, &text(&to), "--as", "dataset"]);
    let said = String::from_utf8_lossy(&export().stderr).into_owned();
    assert!(said.contains("cluster them first"), "{said}");
    let annotations = text(&folder.path().join("metadata/annotations.json"));
    let clustered = run(&[
        "cluster",
        &from,
        "--method",
        "streamface",
        "--out",
        &annotations,
    ]);
    assert!(clustered.status.success(), "{clustered:?}");
    let done = export();
    assert!(done.status.success(), "{done:?}");
    let table = fs::read_to_string(&to).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 7);
    // Faces of one person: cosine 1 / 1.04; to the other person: 0.04 / 1.04 if seen together, else 0.
    let first: Vec<&str> = lines[1].split(',').collect();
    assert_eq!(
        first[..8],
        [
            &*format!("{}.png", stem(0, 0)),
            "sky",
            "2023-05-25 10:01:30",
            "360",
            "640",
            "40",
            "30",
            "1200"
        ]
    );
    let number = |at: usize| first[at].parse::<f64>().unwrap();
    assert!((number(9) - (1.0 - 1.0 / 1.04)).abs() < 1e-5, "{first:?}");
    assert!(
        (number(10) - (1.0 - 0.04 / 1.04 / 3.0)).abs() < 1e-5,
        "{first:?}"
    );
    assert_eq!(
        first[11..],
        ["0", "", "Female", "", "", "happy", "1.5", "", ""]
    );
}
