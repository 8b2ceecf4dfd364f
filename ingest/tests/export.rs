//! `rollcall-ingest export`: what is written is read again.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rollcall_index::vectors::SideFiles;
use rollcall_ingest::faceset::FaceSet;

fn export(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
    command.arg("export").args(arguments).output().unwrap()
}

fn read(path: &Path) -> FaceSet {
    FaceSet::read(path, "", &SideFiles::default()).unwrap()
}

fn some(folder: &Path) -> String {
    let path = folder.join("faces.jsonl");
    let lines = "{\"embedding\":[0.6,0.8,0],\"identity\":5,\"track\":2,\"source\":1,\"time_us\":-7}\n{\"embedding\":[0,0,1]}\n";
    fs::write(&path, lines).unwrap();
    path.display().to_string()
}

#[test]
fn every_format_that_holds_faces_gives_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let from = some(folder.path());
    let faces = read(Path::new(&from));
    for name in ["a.parquet", "a.jsonl", "a.npy"] {
        let to = folder.path().join(name);
        let done = export(&[&from, to.to_str().unwrap()]);
        assert!(done.status.success(), "{done:?}");
        let again = read(&to);
        for (a, b) in faces.embeddings().iter().zip(again.embeddings()) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
        if name != "a.npy" {
            assert_eq!(faces.known(), again.known(), "{name}");
        }
    }
    let to = folder.path().join("a.csv");
    assert!(export(&[&from, to.to_str().unwrap()]).status.success());
    let expected = "row,name,identity,track,source,time_us\n0,,5,2,1,-7\n1,,,,,\n";
    assert_eq!(fs::read_to_string(to).unwrap(), expected);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 5, "nothing half written is left");
}

#[test]
fn a_channel_goes_to_fiftyone_and_back_to_a_channel() {
    let folder = tempfile::tempdir().unwrap();
    let channel = folder.path().join("channel");
    for part in ["features", "metadata", "faces"] {
        fs::create_dir_all(channel.join(part)).unwrap();
    }
    let stems = [0, 1].map(|face| format!("sky_frame_20230525100138412614_face_{face}"));
    let mut pickle = rollcall_ingest::pickle::PickleWriter::dictionary();
    for (stem, values) in stems.iter().zip([[1.0, 0.0], [0.0, 1.0]]) {
        pickle.text(&format!("{stem}.png"));
        pickle.tuple(|tuple| tuple.array(&values));
    }
    fs::write(channel.join("features/a.pkl"), pickle.finish()).unwrap();
    fs::write(
        channel.join("faces").join(format!("{}.png", stems[0])),
        "picture",
    )
    .unwrap();
    let annotations = format!("{{\"labels\":{{\"{}\":{{\"label\":4}}}}}}", stems[0]);
    fs::write(channel.join("metadata/annotations.json"), annotations).unwrap();
    let from = channel.to_str().unwrap();

    let to = folder.path().join("fiftyone");
    let done = export(&[from, to.to_str().unwrap(), "--as", "fiftyone"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success() && said.contains("1 without a picture"),
        "{said}"
    );
    let labels = fs::read_to_string(to.join("labels.json")).unwrap();
    let expected = format!("{{\"labels\":{{\"{}\":{{\"label\":\"4\"}}}}}}", stems[0]);
    assert_eq!(labels, expected);
    assert!(to.join("data").join(format!("{}.png", stems[0])).is_file());

    let to = folder.path().join("again");
    let done = export(&[from, to.to_str().unwrap(), "--as", "streamface"]);
    assert!(done.status.success(), "{done:?}");
    let (before, after) = (read(&channel), read(&to));
    assert_eq!(before.embeddings(), after.embeddings());
    assert_eq!(before.identities(), after.identities());
    assert_eq!(before.known()[0].identity, after.known()[0].identity);
}

#[test]
fn what_cannot_be_exported_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let from = some(folder.path());
    let check = |arguments: &[&str], expected: &str| {
        let done = export(arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    let place = |name: &str| folder.path().join(name).display().to_string();
    check(
        &[&from, &place("faces.txt")],
        "does not say what it is to be",
    );
    check(&[&from, &from], "is there already; --force");
    check(&[&place("gone.npy"), &place("b.npy")], "gone.npy");
    check(&[&from, &place("c"), "--as", "fiftyone"], "no names");
    let mixed = "{\"embedding\":[1,0]}\n{\"embedding\":[1,0,0]}\n";
    fs::write(folder.path().join("mixed.jsonl"), mixed).unwrap();
    check(&[&place("mixed.jsonl"), &place("d.npy")], "row 1: 3 values");
    fs::write(
        folder.path().join("cut.jsonl"),
        "{\"embedding\":[1,0]}\n{\"embed",
    )
    .unwrap();
    check(&[&place("cut.jsonl"), &place("d.npy")], "line 2");
    let evil = b"\x80\x04cos\nsystem\n(X\x04\0\0\0truetR.";
    fs::write(folder.path().join("evil.pkl"), evil).unwrap();
    check(
        &[&place("evil.pkl"), &place("d.npy")],
        "would run os.system",
    );
    assert!(!Path::new(&place("d.npy")).exists());
}
