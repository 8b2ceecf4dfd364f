//! The library and the command line against a server that plays a part.
#![allow(missing_docs, clippy::unwrap_used)]

mod fake;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

use rollcall_client::{
    Client, ClientOptions, Code, Error, Tls, WatchFrom, WatchItem, WatchOptions, pb,
};
use serde_json::Value;

async fn connect(endpoint: &str) -> Client {
    Client::connect(endpoint, ClientOptions::default())
        .await
        .unwrap()
}

/// Runs `rollcall` with an environment of its own; the fake runs on another thread meanwhile.
async fn rollcall(endpoint: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command
        .env_clear()
        .env("ROLLCALL_ENDPOINT", endpoint)
        .args(args)
        .stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn photo(folder: &tempfile::TempDir, content: &[u8]) -> String {
    let path = folder.path().join("photo.jpg");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_tried_again_and_mutations_are_not() {
    let (fake, endpoint) = fake::start().await;
    let client = connect(&endpoint).await;
    assert_eq!(client.status().await.unwrap().identities, 3);
    assert_eq!(fake.0.status_calls.load(Ordering::SeqCst), 3);

    fake.0.status_calls.store(0, Ordering::SeqCst);
    let options = ClientOptions {
        read_retries: 1,
        ..Default::default()
    };
    let error = Client::connect(&endpoint, options)
        .await
        .unwrap()
        .status()
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::Unavailable, "INDEX_LOADING")
    );
    assert_eq!(error.server().unwrap().metadata["seen_by"], "the fake");

    let request = pb::RenameIdentityRequest {
        identity_id: 1,
        ..Default::default()
    };
    let stale = pb::RenameIdentityRequest {
        etag: "stale".to_owned(),
        ..request.clone()
    };
    assert_eq!(
        client.rename_identity(stale).await.unwrap_err().reason(),
        "ETAG_MISMATCH"
    );
    client.rename_identity(request).await.unwrap();
    let renames = fake.0.renames.lock().unwrap();
    assert_eq!(renames.len(), 2);
    assert_eq!(renames[0].request_id.len(), 36);
    assert_ne!(renames[0].request_id, renames[1].request_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_turned_up_to_the_limit() {
    let (_fake, endpoint) = fake::start().await;
    let client = connect(&endpoint).await;
    for (limit, expected) in [(usize::MAX, 5), (5, 5), (3, 3), (2, 2), (1, 1)] {
        let found = client
            .all_identities(Default::default(), limit)
            .await
            .unwrap();
        let ids: Vec<u64> = found.items.iter().map(|identity| identity.id).collect();
        assert_eq!(ids, (1..=expected).collect::<Vec<_>>(), "limit {limit}");
        assert_eq!(found.total, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_the_last_event_it_returned() {
    let (fake, endpoint) = fake::start().await;
    let client = connect(&endpoint).await;
    let options = WatchOptions {
        from: WatchFrom::Start,
        ..Default::default()
    };
    let mut watch = client.watch(options).await.unwrap();
    let (mut sequences, mut lost) = (Vec::new(), 0);
    let error = loop {
        match watch.next().await {
            Ok(WatchItem::Event(event)) if event.sequence > 0 => sequences.push(event.sequence),
            Ok(WatchItem::Event(_)) => {}
            Ok(WatchItem::Reconnecting { error, attempt, .. }) => {
                assert!(matches!(error, Error::StreamEnded { .. }), "{error:?}");
                assert_eq!(attempt, 0);
                lost += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!((sequences, lost), (vec![1, 2, 3, 4], 2));
    assert_eq!(error.reason(), "CURSOR_EXPIRED");
    assert_eq!(watch.cursor(), Some("4"));
    let watches = fake.0.watches.lock().unwrap();
    let asked: Vec<_> = watches
        .iter()
        .map(|w| (w.from_start, w.cursor.as_str()))
        .collect();
    assert_eq!(asked, [(true, ""), (false, "2"), (false, "4")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_lead_nowhere() {
    for wrong in ["localhost:50551", "http://", "http://a b", ""] {
        let error = Client::connect(wrong, ClientOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Endpoint { .. }),
            "{wrong}: {error:?}"
        );
    }
    // A certificate is not shown in the clear.
    let tls = Tls {
        ca: Some(b"a certificate".to_vec()),
        identity: None,
    };
    let options = ClientOptions {
        tls,
        ..ClientOptions::default()
    };
    let error = Client::connect("http://127.0.0.1:1", options).await;
    assert!(matches!(error, Err(Error::Endpoint { .. })), "{error:?}");
    let output = rollcall("http://127.0.0.1:1", &["status"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "rollcall: cannot reach a Rollcall server at http://127.0.0.1:1: Connection refused; \
         start one with `rollcalld serve`, or name another with --endpoint or ROLLCALL_ENDPOINT \
         [UNAVAILABLE]\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_answers_with_its_exit_code() {
    let (_fake, endpoint) = fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ada = photo(&folder, b"ada");
    let output = rollcall(&endpoint, &["search", &ada]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer = json(&output);
    assert_eq!(answer["verdict"], "found");
    assert_eq!(answer["hits"][0]["identity"]["name"], "Ada Lovelace");
    assert_eq!(answer["hits"][0]["sightings"][0]["start_s"], 12.48);

    let output = rollcall(&endpoint, &["search", &ada, "--format", "table", "-q"]).await;
    assert_eq!(
        text(&output.stdout),
        "Ada Lovelace   identity 1   cosine 0.742\n  \
         SOURCE         FROM         TO  WALL CLOCK\n  \
         clip.mp4  00:12.480  01:15.480  2023-11-14 22:13:20Z\n"
    );
    assert_eq!(text(&output.stderr), "");

    let stranger = photo(&folder, b"stranger");
    let output = rollcall(&endpoint, &["search", &stranger, "--format", "table"]).await;
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), String::new())
    );
    assert!(text(&output.stderr).starts_with("nobody above the threshold, "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_cannot_be_says_why() {
    let (_fake, endpoint) = fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let check = async |path: &str, expected: &str| {
        let output = rollcall(&endpoint, &["search", path]).await;
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert_eq!(text(&output.stdout), "");
        assert_eq!(text(&output.stderr), format!("rollcall: {expected}\n"));
    };
    let path = photo(&folder, b"wall");
    check(&path, &format!("no face found in {path} [NO_FACE_FOUND]")).await;
    photo(&folder, b"text");
    check(
        &path,
        &format!("{path}: this is no picture [IMAGE_UNREADABLE]"),
    )
    .await;
    photo(&folder, b"");
    check(
        &path,
        &format!("{path}: the picture is empty (0 bytes) [IMAGE_UNREADABLE]"),
    )
    .await;
    let missing = format!("{path}.gone");
    let why = "No such file or directory [FILE_NOT_FOUND]";
    check(&missing, &format!("cannot read {missing}: {why}")).await;
    std::fs::File::create(&path)
        .unwrap()
        .set_len(20_000_000)
        .unwrap();
    let why = "the picture has 20000000 bytes, more than 16777216 (16 MiB): scale it down";
    check(&path, &format!("{path}: {why} [IMAGE_TOO_LARGE]")).await;

    std::fs::write(&path, "[1, 2]").unwrap();
    let output = rollcall(&endpoint, &["search", "--embedding", &path]).await;
    assert_eq!(
        text(&output.stderr),
        "rollcall: 2 values, not 512 [MODEL_MISMATCH]\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn following_prints_the_past_and_then_the_present() {
    let (_fake, endpoint) = fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ada = photo(&folder, b"ada");
    let output = rollcall(&endpoint, &["search", &ada, "--follow"]).await;
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&"past".into(), &"live".into())
    );
    assert_eq!(lines[1]["sighting"]["track_id"], 8);
    // The fake hangs up, which a server does only when it goes.
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("ended the stream [UNAVAILABLE]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_waited_for_to_its_end() {
    let (fake, endpoint) = fake::start().await;
    let add = async |uri: &str| rollcall(&endpoint, &["source", "add", uri, "--wait"]).await;
    let output = add("/clip.mp4").await;
    assert_eq!(
        (output.status.code(), json(&output)["state"].clone()),
        (Some(0), "ended".into())
    );
    let told = text(&output.stderr);
    assert!(told.contains("(clip): running at 00:03.480\n"), "{told}");
    assert!(told.contains("(clip): ended at 00:03.480\n"), "{told}");

    let output = add("/TRUNCATED.mp4").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("warning: source 14 (clip): the file is not"));
    assert!(text(&output.stderr).contains("[TRUNCATED]"));

    let output = add("FILE_NOT_FOUND.mp4").await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json(&output)["error"]["reason"], "FILE_NOT_FOUND");
    assert!(text(&output.stderr).ends_with("is not as it should be [FILE_NOT_FOUND]\n"));
    let adds = fake.0.adds.lock().unwrap();
    assert!(Path::new(&adds[2].uri).is_absolute() && adds[2].request_id.len() == 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_of_a_folder_becomes_a_source() {
    let (fake, endpoint) = fake::start().await;
    let add = [
        "source",
        "add",
        "/srv/folder",
        "rtsp://camera/1",
        "--kind",
        "live",
        "-v",
    ];
    let output = rollcall(&endpoint, &add).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    let told = text(&output.stderr);
    assert!(
        told.contains("2 sources added; 1 were sources already; 1 files skipped"),
        "{told}"
    );
    assert!(
        told.contains("skipped /srv/folder/notes.txt: not named like a video"),
        "{told}"
    );
    let adds: Vec<_> = fake.0.adds.lock().unwrap().clone();
    let uris: Vec<_> = adds.iter().map(|add| add.uri.as_str()).collect();
    assert_eq!(
        uris,
        [
            "/srv/folder/a.mp4",
            "/srv/folder/SOURCE_EXISTS.mp4",
            "rtsp://camera/1"
        ]
    );
    assert!(
        adds.iter()
            .all(|add| add.kind == i32::from(pb::SourceKind::Live))
    );

    let named = rollcall(&endpoint, &["source", "add", "/srv/folder", "--name", "x"]).await;
    assert_eq!(named.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_people_and_pictures() {
    let (fake, endpoint) = fake::start().await;
    let output = rollcall(&endpoint, &["identity", "list"]).await;
    assert_eq!(text(&output.stdout).lines().count(), 5);
    let output = rollcall(&endpoint, &["identity", "list", "--format", "json"]).await;
    assert_eq!(json(&output)["identities"][1]["name"], Value::Null);
    assert_eq!(json(&output)["total"], 5);
    let output = rollcall(&endpoint, &["identity", "list", "--name", "zoe"]).await;
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), String::new())
    );
    let output = rollcall(&endpoint, &["identity", "show", "77"]).await;
    let expected = "rollcall: no identity 77; `rollcall identity list` shows who is known \
                    [IDENTITY_NOT_FOUND]\n";
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(2), expected.to_owned())
    );

    let rename = ["identity", "rename", "2", "Grace", "--author", "ops"];
    assert_eq!(json(&rollcall(&endpoint, &rename).await)["name"], "Grace");
    assert_eq!(fake.0.renames.lock().unwrap()[0].author, "ops");

    let output = rollcall(&endpoint, &["sightings", "--format", "table"]).await;
    assert!(
        text(&output.stdout).contains("1  clip.mp4  00:12.480  01:15.480"),
        "{output:?}"
    );
    let output = rollcall(&endpoint, &["source", "list"]).await;
    assert_eq!(output.status.code(), Some(1));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("face.jpg");
    let args = ["thumbnail", "--identity", "1", "-o", path.to_str().unwrap()];
    assert_eq!(rollcall(&endpoint, &args).await.status.code(), Some(0));
    assert_eq!(std::fs::read(path).unwrap(), b"\xff\xd8jpeg");
    let output = rollcall(&endpoint, &["thumbnail", "--track", "1", "-o", "-"]).await;
    assert_eq!(output.stdout, b"\xff\xd8jpeg");
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_go_to_standard_output_or_a_file() {
    let (fake, endpoint) = fake::start().await;
    let export = async |args: &[&str]| {
        let args = [&["export", "timeline", "--source", "3"], args].concat();
        rollcall(&endpoint, &args).await
    };
    let output = export(&["--as", "webvtt"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let cue = "00:00:12.480 --> 00:01:15.520\n<v Ada Lovelace>Ada Lovelace</v>\n";
    assert_eq!(
        text(&output.stdout),
        format!("WEBVTT\n\n4\n{cue}\n5\n{cue}")
    );
    let output = export(&["--as", "csv", "--join", "1s"]).await;
    assert_eq!(
        text(&output.stdout).lines().nth(1),
        Some("1,Ada Lovelace,4 5,3,12.480000,75.480000,0,0,2023-11-14T22:13:20Z,0")
    );
    assert_eq!(text(&output.stdout).lines().count(), 2);

    let folder = tempfile::tempdir().unwrap();
    for form in ["csv", "webvtt", "ass", "edl", "otio", "eaf"] {
        let path = folder.path().join(form);
        let printed = export(&["--as", form, "--author", "ops"]).await;
        let args = [
            "--as",
            form,
            "-o",
            path.to_str().unwrap(),
            "--author",
            "ops",
        ];
        let written = export(&args).await;
        assert_eq!(text(&written.stdout), "");
        assert!(text(&written.stderr).contains("2 sightings at 25 frames"));
        // ELAN's documents bear the time at which they were made.
        if form != "eaf" {
            assert_eq!(std::fs::read(&path).unwrap(), printed.stdout);
        }
        assert!(!printed.stdout.is_empty());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);

    let nobody = export(&["--as", "webvtt", "--identity", "2"]).await;
    assert_eq!(
        (nobody.status.code(), text(&nobody.stdout)),
        (Some(1), "WEBVTT\n".to_owned())
    );
    let asked = fake.0.faces.lock().unwrap();
    assert_eq!(asked[0].source_id, 3);
    assert_eq!(asked[0].start.as_ref().unwrap().seconds, 12);
    assert_eq!(asked[0].end.as_ref().unwrap().seconds, 75);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_has_the_boxes_that_the_server_gives() {
    let (_fake, endpoint) = fake::start().await;
    let overlay = async |source| {
        let args = ["export", "timeline", "--as", "ass", "--source", source];
        rollcall(&endpoint, &args).await
    };
    let output = overlay("3").await;
    let written = text(&output.stdout);
    let events: Vec<&str> = written
        .lines()
        .filter(|it| it.contains("Box,identity"))
        .collect();
    assert_eq!(events.len(), 2, "{written}");
    assert!(events[0].starts_with("Dialogue: 0,0:00:12.48,0:00:13.48,Box,identity 1,"));
    assert!(
        events[0].contains("\\move(480,540,960,540)"),
        "{}",
        events[0]
    );
    assert!(events[1].contains("0:00:13.48,0:00:14.48"), "{}", events[1]);
    // Track 5 has no boxes.
    assert_eq!(written.matches(",Caption,identity").count(), 1);

    let old = overlay("9").await;
    assert_eq!(old.status.code(), Some(0));
    assert!(text(&old.stderr).contains("too old to give boxes"));
    assert_eq!(text(&old.stdout).matches(",Caption,identity").count(), 2);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_drawn_on_by_ffmpeg_or_not_there_at_all() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_fake, endpoint) = fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (clip, made) = (place("clip.mp4"), place("out put.mkv"));
    std::fs::write(&clip, b"a video").unwrap();
    let script = |name: &str, text: &str| {
        let path = place(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let good = script(
        "good",
        "for last; do :; done; { echo \"$@\"; cat overlay.ass; } > \"$last\"",
    );
    let bad = script(
        "bad",
        "echo half > video.mkv; echo No such filter >&2; exit 8",
    );
    let run = async |ffmpeg: &str, output: &str| {
        let args = [
            "export", "video", "--source", "3", "--video", &clip, "-o", output, "--ffmpeg", ffmpeg,
        ];
        rollcall(&endpoint, &args).await
    };
    let output = run(&bad, &made).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).ends_with("exit status: 8: No such filter [FFMPEG_FAILED]\n"),
        "{output:?}"
    );
    let missing = run(&place("none"), &made).await;
    assert!(
        text(&missing.stderr).ends_with("[FFMPEG_NOT_FOUND]\n"),
        "{missing:?}"
    );
    let same = run(&good, &clip).await;
    assert!(text(&same.stderr).contains("over itself"), "{same:?}");
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["bad", "clip.mp4", "good"]);

    let output = run(&good, &made).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(names(), ["bad", "clip.mp4", "good", "out put.mkv"]);
    let written = std::fs::read_to_string(&made).unwrap();
    assert!(
        written.contains(" -vf ass=overlay.ass video.mkv\n[Script Info]\n"),
        "{written}"
    );
    assert!(
        written.contains("clip.mp4 -map 0:v:0 -map 0:a?"),
        "{written}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_survives_the_server_and_ends_when_told() {
    let (_fake, endpoint) = fake::start().await;
    let output = rollcall(&endpoint, &["watch", "--from-start", "--limit", "3"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    let seen = "sighting_started";
    assert_eq!(events, ["started", seen, seen, "started", seen]);
    assert_eq!(lines[4]["cursor"], "3");
    assert_eq!(lines[4]["sighting"]["source_name"], "clip.mp4");
    assert!(text(&output.stderr).contains("reconnecting from the last event"));
    let output = rollcall(&endpoint, &["watch", "--cursor", "9"]).await;
    assert_eq!(
        text(&output.stderr),
        "rollcall: of another log; begin afresh with --from-start [CURSOR_EXPIRED]\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_help_need_no_server() {
    let output = rollcall("http://127.0.0.1:1", &["completions", "bash"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("complete -F _rollcall"));
    let help = text(&rollcall("http://127.0.0.1:1", &["--help"]).await.stdout);
    for part in [
        "Exit codes:",
        "[env: ROLLCALL_ENDPOINT=",
        "completions",
        "130",
    ] {
        assert!(help.contains(part), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_is_no_error() {
    let (_fake, endpoint) = fake::start().await;
    let status = tokio::task::spawn_blocking(move || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command
            .env_clear()
            .env("ROLLCALL_ENDPOINT", endpoint)
            .args(["identity", "list"]);
        command.stdout(writer).output().unwrap()
    });
    let output = status.await.unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_asked_for_and_told() {
    let (fake, endpoint) = fake::start().await;
    let run =
        async |line: &[&str]| rollcall(&endpoint, &[line, &["--author", "ada"]].concat()).await;
    let why = ["--reason", "the same glasses"];

    let create = ["identity", "create", "Ada", "--external-id", "7", "--meta"];
    let output = run(&[&create[..], &["team=red", "--format", "json"], &why].concat()).await;
    let answer = json(&output);
    assert_eq!(answer["edit"]["id"], 57);
    assert_eq!(
        answer["edit"]["profiles"][0]["after"]["name"],
        "Ada Lovelace"
    );
    assert_eq!(answer["identities"][0]["id"], 1);
    let asked = fake.0.creates.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.name, asked.external_id, asked.reason, asked.author),
        (
            "Ada".into(),
            "7".into(),
            "the same glasses".into(),
            "ada".into()
        )
    );
    assert_eq!(
        (&*asked.metadata["team"], asked.request_id.len()),
        ("red", 36)
    );

    let set = [
        "identity",
        "set",
        "1",
        "--confirm",
        "--show",
        "--unset",
        "team",
    ];
    assert!(run(&set).await.status.success());
    let asked = fake.0.updates.lock().unwrap()[0].clone();
    assert_eq!((asked.confirmed, asked.hidden), (Some(true), Some(false)));
    assert_eq!((asked.name, asked.external_id), (None, None));
    assert_eq!(asked.remove_metadata, ["team"]);
    for wrong in [&set[..3], &["identity", "set", "1", "--hide", "--show"]] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }

    let merge = ["identity", "merge", "2", "1", "--into-etag", "e1"];
    let output = run(&[&merge[..], &["--format", "table"]].concat()).await;
    assert_eq!(
        text(&output.stdout),
        "edit 57  2 merged into 1; 3 tracks; 1: (unnamed) is Ada Lovelace\n\
         identity 1  Ada Lovelace, 2 tracks\n"
    );
    let asked = fake.0.merges.lock().unwrap()[0].clone();
    let ids = (asked.from_identity_id, asked.into_identity_id);
    assert_eq!((ids, &*asked.into_etag), ((2, 1), "e1"));

    assert!(run(&["identity", "undo", "57"]).await.status.success());
    let output = run(&["identity", "undo", "1"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("identity history") && said.contains("[EDIT_NOT_FOUND]"),
        "{said}"
    );

    let output = run(&["identity", "history", "1", "--format", "json"]).await;
    let edits = json(&output)["edits"].clone();
    let ids: Vec<_> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].clone())
        .collect();
    assert_eq!(ids, [57, 56, 55]);
    let table = ["identity", "history", "--limit", "1", "--format", "table"];
    let output = run(&table).await;
    assert!(
        text(&output.stdout).contains("the same glasses"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn top_looks_as_often_as_it_is_told() {
    let (_fake, endpoint) = fake::start().await;
    let output = rollcall(&endpoint, &["top", "-n", "2", "--every", "1ms"]).await;
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["status"]["identities"], 3);
    assert_eq!(lines[0]["newest"].as_array().unwrap().len(), 2);
    let rates = [0, 1].map(|look: usize| lines[look]["records_per_second"].clone());
    assert!(rates[0].is_null() && rates[1].is_number(), "{rates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_rules_are_made_changed_and_told() {
    use pb::create_alert_rule_request::Watches;
    let (fake, endpoint) = fake::start().await;
    let run = async |line: &[&str]| rollcall(&endpoint, line).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret\nnot this\n").unwrap();
    let key = key.to_str().unwrap();

    let add = [
        "alert",
        "add",
        "on air",
        "--identity",
        "1",
        "--identity",
        "2",
    ];
    let hook = [
        "--webhook",
        "https://example.org/hook",
        "--secret-file",
        key,
    ];
    let output = run(&[&add[..], &hook, &["--absence", "1m", "--left"]].concat()).await;
    assert_eq!(json(&output)["identity_ids"], serde_json::json!([1, 2]));
    assert!(!text(&output.stdout).contains("s3cret"));
    let asked = fake.0.rules.lock().unwrap()[0].clone();
    let Some(Watches::Identities(identities)) = asked.watches else {
        panic!("{asked:?}")
    };
    assert_eq!(identities.identity_ids, [1, 2]);
    let settings = asked.settings.unwrap();
    assert_eq!(settings.absence.unwrap().seconds, 60);
    assert_eq!((settings.tell_left, settings.cool_down), (Some(true), None));
    assert_eq!(asked.webhook.unwrap().secret.as_deref(), Some("s3cret"));
    assert_eq!(asked.request_id.len(), 36);

    let picture = photo(&folder, b"ada");
    assert!(
        run(&["alert", "add", "ada", "--photo", &picture])
            .await
            .status
            .success()
    );
    let asked = fake.0.rules.lock().unwrap()[1].watches.clone();
    assert!(matches!(asked, Some(Watches::Photos(photos)) if photos.images == [b"ada"]));

    let set = [
        "alert",
        "set",
        "1",
        "--disable",
        "--all-sources",
        "--left=false",
    ];
    assert!(
        run(&[&set[..], &["--webhook", ""]].concat())
            .await
            .status
            .success()
    );
    let asked = fake.0.rule_updates.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.enabled, asked.name, asked.identities),
        (Some(false), None, None)
    );
    let settings = asked.settings.unwrap();
    assert_eq!(settings.tell_left, Some(false));
    assert_eq!(settings.sources, Some(pb::SourceList::default()));
    let webhook = asked.webhook.unwrap();
    assert_eq!((&*webhook.url, webhook.secret), ("", None));

    let output = run(&["alert", "list", "--format", "table"]).await;
    let told = text(&output.stdout);
    assert!(
        told.contains("identities 1, 2") && told.contains("(gone)"),
        "{told}"
    );
    assert!(run(&["alert", "remove", "1"]).await.status.success());
    let output = run(&["alert", "show", "7"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("[ALERT_RULE_NOT_FOUND]"));

    let output = run(&["alert", "history", "1", "--format", "json"]).await;
    assert_eq!(json(&output)["alerts"][0]["identity_name"], "Ada Lovelace");
    let output = run(&["alert", "history", "2"]).await;
    assert_eq!(output.status.code(), Some(1), "nothing was raised");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_asked_for_told_and_waited_for() {
    let (fake, endpoint) = fake::start().await;
    let run =
        async |line: &[&str]| rollcall(&endpoint, &[&["admin", "migrate"], line].concat()).await;
    let output = run(&["start", "new", "--dry-run", "--format", "json"]).await;
    let told = json(&output);
    assert_eq!(
        (
            &told["number"],
            &told["identities_lost"],
            &told["disk_bytes"]
        ),
        (&Value::Null, &2.into(), &2048.into())
    );
    let output = run(&[
        "start",
        "new",
        "--allow-loss",
        "--wait",
        "--reason",
        "better",
    ])
    .await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["state"], "switched");
    let asked = fake.0.migrations.lock().unwrap()[1].clone();
    assert!(asked.allow_loss && !asked.dry_run && asked.request_id.len() == 36);
    assert_eq!((&*asked.embedder, &*asked.reason), ("new", "better"));

    let output = run(&["status", "--format", "table"]).await;
    let table = text(&output.stdout);
    assert!(table.contains("new 1, 512 dimensions"), "{table}");
    assert!(table.contains("4 of 10, 1 lost"), "{table}");
    let output = run(&["rollback"]).await;
    let said = text(&output.stderr);
    assert!(
        said.contains("gets no farther: wrong file [MODEL_UNUSABLE]"),
        "{said}"
    );
    assert_eq!(json(&run(&["finish"]).await)["state"], "done");
    for (line, reason) in [
        (&["cancel"][..], "[MIGRATION_STATE]"),
        (&["start", "gone"], "[MODEL_NOT_FOUND]"),
    ] {
        let output = run(line).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(reason), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_who_is_said_and_explained() {
    let (fake, endpoint) = fake::start().await;
    let run = async |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let author = ["--author", "ada", "--reason", "glasses"];
        rollcall(
            &endpoint,
            &[&["identity"], &words[..], &author[..]].concat(),
        )
        .await
    };
    let output = run("move 4 5 --into 1 --into-etag e1 --format table").await;
    assert_eq!(
        text(&output.stdout),
        "edit 57  track 4 from 2 to 1; track 4 and identity 2 are two people\n\
         identity 1  Ada Lovelace, 2 tracks\n"
    );
    let told = text(&output.stderr);
    assert!(told.contains("1 tracks had joined or been moved"), "{told}");
    assert!(
        told.contains("identity 1: external id was changed"),
        "{told}"
    );
    let asked = fake.0.moves.lock().unwrap()[0].clone();
    assert_eq!(
        (&asked.track_ids[..], asked.into_identity_id),
        (&[4, 5][..], 1)
    );
    assert_eq!(
        (&*asked.into_etag, &*asked.author, &*asked.reason),
        ("e1", "ada", "glasses")
    );
    assert_eq!(asked.request_id.len(), 36);
    assert!(run("move 4 --new --name Eve").await.status.success());
    let asked = fake.0.moves.lock().unwrap()[1].clone();
    assert_eq!((asked.into_identity_id, &*asked.name), (0, "Eve"));

    let answer = json(&run("split 2 4 5 --name Eve --etag e2").await);
    assert_eq!(answer["edit"]["moves"][0]["track_ids"][0], 4);
    assert_eq!(answer["edit"]["facts"][0]["fact"]["kind"], "two_people");
    assert_eq!(answer["edit"]["parts_left"][0]["part"], "EXTERNAL_ID");
    let asked = fake.0.splits.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.identity_id, &*asked.name, &*asked.etag),
        (2, "Eve", "e2")
    );
    assert_eq!(asked.track_ids, [4, 5]);

    assert!(run("link 4 5 6").await.status.success());
    assert_eq!(fake.0.links.lock().unwrap()[0].track_ids, [4, 5, 6]);
    assert!(run("separate 1 2").await.status.success());
    assert!(run("separate 4 5 --tracks").await.status.success());
    let asked = fake.0.separations.lock().unwrap().clone();
    let ids = |it: &pb::SeparateRequest| {
        let identities = (it.identity_id, it.other_identity_id);
        (identities, (it.track_id, it.other_track_id))
    };
    assert_eq!(ids(&asked[0]), ((1, 2), (0, 0)));
    assert_eq!(ids(&asked[1]), ((0, 0), (4, 5)));
    assert!(run("reject 2 4").await.status.success());
    let asked = fake.0.rejections.lock().unwrap()[0].clone();
    assert_eq!((asked.identity_id, &asked.track_ids[..]), (2, &[4][..]));
    assert!(run("forget 1").await.status.success());
    let said = text(&run("forget 7").await.stderr);
    assert!(
        said.contains("identity facts` shows them [FACT_NOT_FOUND]"),
        "{said}"
    );
    assert!(run("undo 57 --partial").await.status.success());
    assert!(fake.0.undoings.lock().unwrap()[0].partial);
    for wrong in [
        "move 4",
        "move --into 1",
        "move 4 --into 1 --new",
        "move 4 --into 1 --name Eve",
        "split 1",
        "link 4",
        "reject 1",
        "separate 1",
    ] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong}");
    }

    let facts = |args: &[&'static str]| [&["identity", "facts"], args].concat();
    let output = rollcall(&endpoint, &facts(&["--format", "json"])).await;
    let listed = json(&output)["facts"].clone();
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&1.into(), &2.into()));
    assert_eq!(listed[0]["other_identity_id"], 2);
    let table = facts(&["--track", "4", "--format", "table"]);
    let output = rollcall(&endpoint, &table).await;
    assert_eq!(
        text(&output.stdout),
        "FACT  EDIT  WHAT\n   2    57  track 4 and identity 2 are two people\n"
    );

    let explain = ["identity", "explain", "4"];
    let why = json(&rollcall(&endpoint, &explain).await);
    assert_eq!(why["decisions"][0]["reason"], "ABOVE_THRESHOLD");
    assert_eq!(why["nearest"][0]["barred"], true);
    let table = [&explain[..], &["--format", "table"]].concat();
    let told = text(&rollcall(&endpoint, &table).await.stdout);
    for part in [
        "track 4 is of identity 1, cosine 0.700",
        "join: identity 2, similar enough, and clearly more so than to anybody else, cosine 0.610; \
         next: identity 1, cosine 0.410",
        "edit 57 by ada: track 4 from 2 to 1",
        "track 4 and identity 2 are two people",
        "cosine 0.450 to identity 2 (unnamed), which it is not",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_review_is_told_with_its_answers() {
    let (fake, endpoint) = fake::start().await;
    let run =
        async |line: &[&str]| rollcall(&endpoint, &[&["identity", "review"], line].concat()).await;
    let output = run(&["--format", "table"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "\
TO DECIDE                                                              ANSWER: rollcall identity ..
7 may be two people: 2 of 2 tracks are unlike the rest (cosine 0.120)  split 7 41 42 | set 7 --confirm
7 and 1 Ada Lovelace (cosine 0.500) may be one person                  merge 7 1 | separate 7 1
7 may be 1 Ada Lovelace (cosine 0.430) or 12 (0.410)                   merge 7 1 | separate 7 1 | merge 7 12 | separate 7 12
"
    );
    assert_eq!(text(&output.stderr), "");

    let listed = json(&run(&["--format", "json"]).await);
    assert_eq!(
        (&listed["total"], &listed["sequence"]),
        (&3.into(), &60.into())
    );
    let items = listed["items"].as_array().unwrap();
    let kinds: Vec<_> = items
        .iter()
        .map(|item| item["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["two_people", "one_person", "which_one"]);
    assert_eq!(items[0]["track_ids"], serde_json::json!([41, 42]));
    assert_eq!(items[0]["candidates"], serde_json::json!([]));
    assert_eq!(items[1]["cosine"], serde_json::Value::Null);
    assert_eq!(items[2]["sequence"], 10);
    assert_eq!(items[2]["identity"]["id"], 7);
    assert_eq!(
        items[2]["candidates"][0]["identity"]["name"],
        "Ada Lovelace"
    );

    let output = run(&["--limit", "2", "--format", "jsonl"]).await;
    assert_eq!(text(&output.stdout).lines().count(), 2);
    let said = text(&output.stderr);
    assert!(said.contains("2 of 3; --limit 0 shows all"), "{said}");

    fake.0.nothing_waits.store(true, Ordering::SeqCst);
    let output = run(&["--format", "table"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("nothing waits to be decided"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_are_enrolled_person_by_person() {
    let (fake, endpoint) = fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, content) in [("Ada/1.jpg", "1"), ("Ada/2.png", "1"), ("Eve/1.jpg", "2")] {
        let path = path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    let run = async |line: &[&str]| {
        let line = [&["identity", "enrol"], line, &["--author", "ada"]].concat();
        rollcall(&endpoint, &line).await
    };
    let asked = || std::mem::take(&mut *fake.0.enrolments.lock().unwrap());
    let all = path("");

    // Eve's photo shows two: she is not enrolled, Ada is, and the command says so.
    let output = run(&[&all, "--format", "json"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = json(&output);
    let (ada, eve) = (&told["people"][0], &told["people"][1]);
    assert_eq!(
        (&ada["identity_id"], &ada["enrolled"]),
        (&4.into(), &2.into())
    );
    assert_eq!(ada["edits"], serde_json::json!([57]));
    assert_eq!(ada["resembles"][0]["identity_id"], 1);
    assert_eq!(
        (&eve["identity_id"], &eve["unusable"]),
        (&Value::Null, &1.into())
    );
    assert_eq!(eve["photos"][0]["outcome"], "several_faces");
    let said = text(&output.stderr);
    for expected in ["2 of 2: Eve", "2 faces", "1 of 2 people", "[NOT_ENROLLED]"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let calls = asked();
    let names: Vec<&str> = calls.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Ada", "Eve"]);
    assert_eq!((calls[0].photos.len(), calls[0].request_id.len()), (2, 36));
    assert!(
        calls
            .iter()
            .all(|it| it.author == "ada" && !it.validate_only)
    );

    // A table says which face is meant.
    let table = path("people.csv");
    std::fs::write(
        &table,
        "name,photo,face\nEve,Eve/1.jpg,1\nTaken,Ada/1.jpg,\n",
    )
    .unwrap();
    let output = run(&["--csv", &table, "--format", "table"]).await;
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("Eve") && shown.contains("NAME_TAKEN"),
        "{shown}"
    );
    assert_eq!(asked()[0].photos[0].face_index, Some(1));

    let output = run(&[&path("Eve"), "--into", "3", "--dry-run"]).await;
    assert_eq!(output.status.code(), Some(2));
    let calls = asked();
    assert_eq!((calls[0].identity_id, &*calls[0].name), (3, ""));
    assert!(calls[0].validate_only);

    // More than fits one message: all of it is looked at before any of it is recorded.
    std::fs::write(path("Ada/3.jpg"), vec![b'x'; 9 << 20]).unwrap();
    std::fs::write(path("Ada/4.jpg"), vec![b'x'; 9 << 20]).unwrap();
    let output = run(&[&path("Ada"), "--into", "4"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let looks: Vec<_> = asked()
        .iter()
        .map(|it| (it.validate_only, it.photos.len()))
        .collect();
    assert_eq!(looks, [(true, 3), (true, 1), (false, 3), (false, 1)]);

    let output = run(&[&path("Ada")]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--into"), "{output:?}");
    for wrong in [&[][..], &[&all, "--csv", &table]] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clustering_would_change_is_told_and_applied_by_its_sequence() {
    let (_fake, endpoint) = fake::start().await;
    let run =
        async |line: &[&str]| rollcall(&endpoint, &[&["identity", "cluster"], line].concat()).await;
    let told = json(&run(&["--format", "json"]).await);
    assert_eq!(told["identities_after"], 4);
    let merge = serde_json::json!({
        "kind": "merge", "identity": 3, "other_identity": 1, "tracks": 2, "track_examples": [5, 6],
    });
    assert_eq!(told["changes"][0], merge);
    let table = run(&["--format", "table"]).await;
    let rows = text(&table.stdout);
    assert!(rows.contains("identity 3 becomes part of 1"), "{rows}");
    assert!(text(&table.stderr).contains("--apply 7"), "{table:?}");
    let made = run(&["--apply", "7", "--format", "table"]).await;
    assert!(text(&made.stdout).contains("edit 58"), "{made:?}");
    assert!(text(&made.stderr).contains("1 changes made"), "{made:?}");
    let late = run(&["--apply", "6"]).await;
    assert_eq!(late.status.code(), Some(2));
    assert!(
        text(&late.stderr).contains("CLUSTERING_OUTDATED"),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_asked_about_and_waited_for() {
    let (fake, endpoint) = fake::start().await;
    // Nobody to ask: it must have been said.
    let unsure = rollcall(&endpoint, &["erase", "person", "7"]).await;
    assert_eq!(unsure.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unsure.stderr).contains("[NOT_CONFIRMED]"));
    assert!(fake.0.erasures.lock().unwrap().is_empty());
    let args = [
        "erase", "person", "7", "--yes", "--reason", "a letter", "--format", "json",
    ];
    let done = rollcall(&endpoint, &args).await;
    assert_eq!(done.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (&told["id"], &told["state"], &told["tracks"]),
        (&40.into(), &"done".into(), &12.into())
    );
    let args = [
        "erase",
        "source",
        "3",
        "--since",
        "2026-01-31",
        "-y",
        "--no-wait",
    ];
    let begun = rollcall(&endpoint, &args).await;
    assert!(String::from_utf8_lossy(&begun.stdout).contains("\"running\""));
    let args = ["erase", "sightings", "--face", "5", "--yes"];
    assert_eq!(rollcall(&endpoint, &args).await.status.code(), Some(0));
    {
        let asked = fake.0.erasures.lock().unwrap();
        assert_eq!(
            (asked[0].reason.as_str(), asked[0].request_id.len()),
            ("a letter", 36)
        );
        let Some(pb::erase_request::What::Source(source)) = &asked[1].what else {
            panic!("{asked:?}");
        };
        assert!(source.source_id == 3 && source.from.is_some() && source.to.is_none());
        let Some(pb::erase_request::What::Tracks(tracks)) = &asked[2].what else {
            panic!("{asked:?}");
        };
        assert_eq!(
            (tracks.track_ids.len(), tracks.exemplar_ids.as_slice()),
            (0, &[5][..])
        );
    }
    let list = rollcall(&endpoint, &["erase", "list", "--format", "table"]).await;
    assert!(String::from_utf8_lossy(&list.stdout).contains("somebody"));
    let missing = rollcall(&endpoint, &["erase", "show", "41"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("[ERASURE_NOT_FOUND]"));
    let both = ["erase", "sightings", "4", "--face", "5", "--yes"];
    assert_eq!(rollcall(&endpoint, &both).await.status.code(), Some(2));
}
