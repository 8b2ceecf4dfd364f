//! `rollcall-ingest dataset`: channels put together, people who are there twice, labels that are not to be learned from.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rollcall_ingest::{pickle::PickleWriter, streamface::Annotations};

fn dataset(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
    command.arg("dataset").args(arguments).output().unwrap()
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn stem(channel: &str, person: usize, face: usize) -> String {
    format!("{channel}_frame_20230525{face:06}000000_face_{person}")
}

/// A channel with people of so many faces, `people` being where in space they are and who: its features, table of faces and
/// labels (the place in the list).
fn channel(folder: &Path, name: &str, people: &[(usize, usize)]) -> PathBuf {
    let channel = folder.join(name);
    for part in ["features", "metadata", "faces"] {
        fs::create_dir_all(channel.join(part)).unwrap();
    }
    let mut pickle = PickleWriter::dictionary();
    let mut table =
        "name,confidence,box,left_eye,right_eye,nose,mouth_left,mouth_right,image,face,crop\n"
            .to_owned();
    let mut labels = Vec::new();
    for (label, (axis, faces)) in people.iter().enumerate() {
        for face in 0..*faces {
            let stem = stem(name, label, face);
            let mut values = [0.0_f32; 8];
            values[*axis] = 1.0;
            values[4 + face % 4] = 0.3;
            pickle.text(&format!("{stem}.png"));
            pickle.tuple(|tuple| tuple.array(&values));
            let points = ",\"(3, 3)\"".repeat(5);
            let _ = writeln!(
                table,
                "{stem}.png,0.99,\"[1, 2, 30, 40]\"{points},\"(360, 640, 3)\",\"(80, 80, 3)\",\"(128, 128, 3)\""
            );
            fs::write(channel.join("faces").join(format!("{stem}.png")), "picture").unwrap();
            labels.push(format!("\"{stem}\":{{\"label\":{label}}}"));
        }
    }
    fs::write(channel.join("features/a.pkl"), pickle.finish()).unwrap();
    fs::write(channel.join("metadata/detections.csv"), table).unwrap();
    let labels = format!("{{\"labels\":{{{}}}}}", labels.join(","));
    fs::write(channel.join("metadata/annotations.json"), labels).unwrap();
    channel
}

/// Faces of each class, by the channel in their names.
fn classes(path: &Path) -> BTreeMap<(u64, String), usize> {
    let mut counts = BTreeMap::new();
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let class = columns.iter().position(|name| *name == "class").unwrap();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), columns.len());
        let channel = cells[0].split('_').next().unwrap().to_owned();
        *counts
            .entry((cells[class].parse().unwrap(), channel))
            .or_default() += 1;
    }
    counts
}

fn expected(of: &[(u64, &str, usize)]) -> BTreeMap<(u64, String), usize> {
    let of = of.iter();
    of.map(|(class, channel, faces)| ((*class, (*channel).to_owned()), *faces))
        .collect()
}

#[test]
fn channels_are_combined_and_people_of_two_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Axis 1 is seen by both channels.
    let sky = channel(at, "sky", &[(0, 12), (1, 60)]);
    let rt = channel(at, "rt", &[(1, 7), (2, 110), (3, 12)]);
    let out = at.join("all");
    let done = dataset(&["combine", &text(&sky), &text(&rt), "--out", &text(&out)]);
    assert!(done.status.success(), "{}", said(&done));
    let whole = expected(&[
        (0, "rt", 110),
        (1, "sky", 60),
        (2, "sky", 12),
        (3, "rt", 12),
        (4, "rt", 7),
    ]);
    assert_eq!(classes(&out.join("dataset.csv")), whole);
    let fifty = expected(&[(0, "rt", 110), (1, "sky", 60)]);
    assert_eq!(classes(&out.join("dataset50.csv")), fifty);
    assert_eq!(
        classes(&out.join("dataset100.csv")),
        expected(&[(0, "rt", 110)])
    );
    let which = fs::read_to_string(out.join("classes.csv")).unwrap();
    assert!(
        which.contains(&format!("2,{},0,12\n", sky.display())),
        "{which}"
    );
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        4,
        "nothing else is left"
    );

    // A dataset that is there is taken as it is, and again.
    let made = text(&out.join("dataset.csv"));
    let again = at.join("again");
    assert!(
        dataset(&["combine", &made, "--out", &text(&again)])
            .status
            .success()
    );
    let same =
        |name: &str| fs::read(out.join(name)).unwrap() == fs::read(again.join(name)).unwrap();
    assert!(FILES.iter().all(|name| same(name)));

    let done = dataset(&["deduplicate", &made, &text(&sky), &text(&rt)]);
    assert!(
        said(&done).contains("1 of 5 classes (7 faces)"),
        "{}",
        said(&done)
    );
    let mut kept = whole.clone();
    kept.remove(&(4, "rt".to_owned()));
    assert_eq!(classes(&out.join("dataset_processed.csv")), kept);
    let merged = out.join("merged.csv");
    let arguments = [
        "deduplicate",
        &made,
        &text(&sky),
        &text(&rt),
        "--merge",
        "--out",
    ];
    let done = dataset(&[&arguments[..], &[&text(&merged)]].concat());
    assert!(done.status.success(), "{}", said(&done));
    kept.insert((1, "rt".to_owned()), 7);
    assert_eq!(classes(&merged), kept);
}

const FILES: [&str; 3] = ["dataset.csv", "dataset50.csv", "dataset100.csv"];

#[test]
fn what_cannot_be_combined_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let file = |name: &str, content: &str| {
        fs::write(at.join(name), content).unwrap();
        text(&at.join(name))
    };
    let good = file("good.csv", "filename,class\na_1.png,0\nb_1.png,-3\n");
    let check = |arguments: &[&str], expected: &str| {
        let done = dataset(arguments);
        assert_eq!(done.status.code(), Some(2), "{}", said(&done));
        assert!(said(&done).contains(expected), "{}", said(&done));
    };
    let out = text(&at.join("out"));
    let combine =
        |file: &str, expected: &str| check(&["combine", &good, file, "--out", &out], expected);
    combine(
        &file("x.csv", "filename,class\na,1\nb,x\n"),
        "x.csv: line 3: class \"x\"",
    );
    combine(
        &file("y.csv", "filename,class\na,1,2\n"),
        "y.csv: line 2: 3 cells",
    );
    combine(
        &file("z.csv", "filename\na\n"),
        "z.csv: line 1: there is no column class",
    );
    combine(
        &file("w.csv", "class,filename\n"),
        "w.csv: line 1: its columns",
    );
    combine(&good, "again");
    combine(&text(&at.join("gone.csv")), "gone.csv");
    assert_eq!(fs::read_dir(at.join("out")).unwrap().count(), 0);

    let sky = channel(at, "sky", &[(0, 2)]);
    let sky = text(&sky);
    check(
        &["deduplicate", &good, &sky],
        "good.csv: line 3: class -3 is noise",
    );
    // The same names in another channel, and a channel given as its dataset too.
    let there = format!("filename,class\n{}.png,0\n", stem("sky", 0, 0));
    fs::create_dir(at.join("other")).unwrap();
    let other = text(&channel(&at.join("other"), "sky", &[(1, 2)]));
    check(
        &["deduplicate", &file("both.csv", &there), &sky, &other],
        "which of them the dataset means",
    );
    check(
        &["deduplicate", &good, &sky, "--threshold", "1"],
        "0 to below 1",
    );
    file("sky/metadata/dataset.csv", &there);
    check(
        &[
            "combine",
            &sky,
            &format!("{sky}/metadata/dataset.csv"),
            "--out",
            &out,
        ],
        "again",
    );
    let strange = file("strange.csv", "filename,class\nsky_1.png,0\n");
    check(
        &["deduplicate", &strange, &sky],
        "strange.csv: line 2: none of the channels",
    );
    let twice = file("twice.csv", "filename,class\na.png,0\na.png,1\n");
    check(
        &["deduplicate", &twice, &sky],
        "twice.csv: line 3: a is on line 2 already",
    );
    file("dataset50.csv", "theirs");
    check(
        &["combine", &good, "--out", &text(at)],
        "is there already; --force",
    );
}

#[test]
fn infrequent_and_noisy_labels_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let sky = channel(folder.path(), "sky", &[(0, 3), (1, 12), (2, 4), (3, 11)]);
    let labels = sky.join("metadata/annotations.json");
    let out = sky.join("metadata/annotations_manual.json");
    let done = dataset(&["remove-infrequent", &text(&labels), "--out", &text(&out)]);
    assert!(
        said(&done).contains("2 labels of fewer than 10 faces, 7 faces"),
        "{}",
        said(&done)
    );
    let now = Annotations::read(&out).unwrap();
    let of = |person: usize| now.labels[&stem("sky", person, 0)].label;
    assert_eq!([0, 1, 2, 3].map(of), [-4, 1, -2, 3]);

    let done = dataset(&["remove-noisy", &text(&sky)]);
    assert!(done.status.success(), "{}", said(&done));
    let left = Annotations::read(&sky.join("metadata/annotations_manual_new.json")).unwrap();
    assert_eq!(left.labels.len(), 23);
    let count = |part: &str| fs::read_dir(sky.join(part)).unwrap().count();
    assert_eq!((count("faces"), count("noisy_faces")), (23, 7));
    assert_eq!(
        Annotations::read(&out).unwrap(),
        now,
        "the labels of before stay"
    );
    // Once more it finds the pictures where they are.
    let done = dataset(&["remove-noisy", &text(&sky), "--force"]);
    assert!(
        said(&done).contains("(0 have no picture)"),
        "{}",
        said(&done)
    );
    assert_eq!((count("faces"), count("noisy_faces")), (23, 7));

    // A picture that was made again is no second one, and another is not thrown away.
    let noisy = stem("sky", 0, 0) + ".png";
    fs::write(sky.join("faces").join(&noisy), "picture").unwrap();
    let done = dataset(&["remove-noisy", &text(&sky), "--force"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!((count("faces"), count("noisy_faces")), (23, 7));
    fs::write(sky.join("faces").join(&noisy), "another").unwrap();
    let done = dataset(&["remove-noisy", &text(&sky), "--force"]);
    assert!(
        said(&done).contains("is another picture"),
        "{}",
        said(&done)
    );
    assert_eq!((count("faces"), count("noisy_faces")), (24, 7));

    // Names that lead elsewhere are refused before anything is moved.
    fs::write(&out, "{\"labels\":{\"../features/a\":{\"label\":-1}}}").unwrap();
    let done = dataset(&["remove-noisy", &text(&sky), "--force"]);
    assert!(
        said(&done).contains("is no name of a file"),
        "{}",
        said(&done)
    );
}
