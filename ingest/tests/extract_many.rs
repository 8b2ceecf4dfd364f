//! `extract` of standard input, of folders and of several files.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![cfg(all(feature = "media", feature = "worker"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod clips;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clips::{CLIP, ffmpeg};

/// Exit code and standard error of `extract ARGUMENTS`, with few and small pictures looked at.
fn extract(arguments: &[&Path], stdin: Stdio) -> (i32, String) {
    let assets = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    let done = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .arg("extract")
        .args(arguments)
        .args(["--every", "25", "--detect-size", "64", "--assets"])
        .arg(assets)
        .stdin(stdin)
        .output()
        .unwrap();
    let code = done.status.code().unwrap();
    (code, String::from_utf8(done.stderr).unwrap())
}

fn piped(file: &Path) -> Stdio {
    let cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn();
    cat.unwrap().stdout.unwrap().into()
}

#[test]
fn standard_input_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (dash, into) = (Path::new("-"), Path::new("--out"));
    let clip = ffmpeg(CLIP, &at("clip.ts"));
    let (code, said) = extract(&[dash, into, &at("ts")], piped(&clip));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("50 frames"), "{said}");
    let early = ffmpeg(&format!("{CLIP} -movflags +faststart"), &at("early.mp4"));
    let (code, said) = extract(&[dash, into, &at("mp4")], piped(&early));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("50 frames"), "{said}");
    // An index at the end is out of reach in a pipe.
    let large = CLIP.replace("testsrc=size=160x120", "testsrc2=size=640x480");
    let late = ffmpeg(&large, &at("late.mp4"));
    let (code, said) = extract(&[dash, into, &at("late")], piped(&late));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("standard input") && said.contains("faststart"),
        "{said}"
    );
    let (code, said) = extract(&[dash, into, &at("none")], Stdio::null());
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_folder_is_extracted_video_by_video_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("in/sub")).unwrap();
    ffmpeg(CLIP, &at("in/a.mp4"));
    fs::copy(at("in/a.mp4"), at("in/sub/b.mp4")).unwrap();
    fs::write(at("in/bad.mp4"), "this is no video").unwrap();
    fs::write(at("in/notes.txt"), "nor is this").unwrap();
    let go = || extract(&[&at("in"), Path::new("--out"), &at("out")], Stdio::null());
    let (code, said) = go();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("3 videos, 1 other files passed over"),
        "{said}"
    );
    assert!(
        said.contains("3 videos: 2 extracted, 0 were done before, 1 failed"),
        "{said}"
    );
    assert!(
        said.contains("NOT_A_VIDEO") && said.contains("bad.mp4"),
        "{said}"
    );
    for done in ["out/a.mp4/tracks.jsonl", "out/sub/b.mp4/log"] {
        assert!(at(done).exists(), "{done}");
    }
    assert!(!at("out/bad.mp4").exists() && !at("out/bad.mp4.unfinished").exists());

    fs::copy(at("in/a.mp4"), at("in/bad.mp4")).unwrap();
    let (code, said) = go();
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("3 videos: 1 extracted, 2 were done before, 0 failed"),
        "{said}"
    );
}
