//! Sources that cannot be read, or not to their end.

use crate::support::cli::{Answer, arguments, rollcall};
use crate::support::http::Files;
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{media, scratch, turn};
use std::path::{Path, PathBuf};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_cannot_be_read_say_why() {
    let _turn = turn().await;
    let folder = scratch();
    let server = Setup::new(&folder.path().join("data")).start().await;
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let clip = std::fs::read(Truth::small().clip).unwrap();
    let sound = media::ffmpeg(
        arguments!["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"],
        folder.path().join("sound.mp4"),
    );
    let cases: [(PathBuf, &str); 5] = [
        (folder.path().join("missing.mp4"), "FILE_NOT_FOUND"),
        (
            file("text.mp4", b"this is a text, whatever its name says\n"),
            "NOT_A_VIDEO",
        ),
        (file("empty.mp4", b""), "NOT_A_VIDEO"),
        // Cut off before its index.
        (file("headless.mp4", &clip[..1000]), "NOT_A_VIDEO"),
        (sound, "NO_PICTURE_STREAM"),
    ];
    for (path, reason) in &cases {
        let added = rollcall(&server, arguments!["source", "add", path, "--wait"]).await;
        let added = added.expect_error(reason);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(added.err.contains(name), "names the file: {added:?}");
    }
    let no_videos = folder.path().join("texts");
    std::fs::create_dir(&no_videos).unwrap();
    std::fs::write(no_videos.join("a.txt"), b"text").unwrap();
    let refused = rollcall(&server, arguments!["source", "add", &no_videos]).await;
    let refused = refused.expect_error("FILE_NOT_FOUND");
    assert!(refused.err.contains("1 files"), "{refused:?}");
    for uri in ["gopher://127.0.0.1/clip.mp4", "concat:a.mp4|b.mp4"] {
        rollcall(&server, ["source", "add", uri])
            .await
            .expect_error("PROTOCOL_NOT_ALLOWED");
    }
    let failed = rollcall(&server, ["source", "list"]).await.expect(0).json();
    let failed = failed["sources"].as_array().unwrap();
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(
        failed.iter().all(|source| source["state"] == "failed"),
        "{failed:?}"
    );
    // A failed source is no obstacle to the next attempt.
    let again = rollcall(&server, arguments!["source", "add", &cases[1].0, "--wait"]).await;
    again.expect_error("NOT_A_VIDEO");
    rollcall(&server, ["source", "stop", "999"])
        .await
        .expect_error("SOURCE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_truncated_video_everything_readable_is_kept() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let server = Setup::new(&folder.path().join("data")).start().await;
    let clip = media::truncated(&truth.clip, 70, folder.path());
    let added: Answer = rollcall(&server, arguments!["source", "add", &clip, "--wait"]).await;
    assert!(added.err.contains("[TRUNCATED]"), "{added:?}");
    let source = added.expect(0).json();
    assert_eq!(
        (source["state"].as_str(), source["error"]["reason"].as_str()),
        (Some("ended"), Some("TRUNCATED"))
    );
    let broke_s = source["error"]["position_s"].as_f64().unwrap();
    assert!(
        broke_s > 3.0 && broke_s < truth.duration_s - 1.0,
        "{source}"
    );
    let gone = truth.gone_by(broke_s);
    assert!(
        gone.len() >= 2,
        "two people are there before {broke_s} s: {gone:?}"
    );
    for person in gone {
        let picture = truth.picture_of(person);
        let answer = rollcall(&server, arguments!["search", picture])
            .await
            .expect(0)
            .json();
        assert_eq!(answer["verdict"], "found", "{person}: {answer}");
    }
    let sightings = rollcall(&server, ["sightings"]).await.expect(0).json();
    for sighting in sightings["sightings"].as_array().unwrap() {
        assert_eq!(sighting["open"], false, "{sighting}");
        assert!(
            sighting["end_s"].as_f64().unwrap() <= broke_s + 0.05,
            "{sighting} after {broke_s}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_only_under_the_roots() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    for folder in [&inside, &outside] {
        std::fs::create_dir(folder).unwrap();
        std::fs::copy(&truth.clip, folder.join("clip.mp4")).unwrap();
    }
    std::os::unix::fs::symlink(outside.join("clip.mp4"), inside.join("link.mp4")).unwrap();
    let data = folder.path().join("data");
    let server = Setup::new(&data)
        .set("ingest.file_roots", inside.to_str().unwrap())
        .start()
        .await;
    for path in [
        outside.join("clip.mp4"),
        inside.join("link.mp4"),
        inside.join("../outside/clip.mp4"),
    ] {
        let added = rollcall(&server, arguments!["source", "add", &path]).await;
        added.expect_error("FILE_OUTSIDE_ROOTS");
    }
    let clip = inside.join("clip.mp4");
    rollcall(&server, arguments!["source", "add", &clip, "--wait"])
        .await
        .expect(0);
    let twice = rollcall(&server, arguments!["source", "add", &clip]).await;
    twice.expect_error("SOURCE_EXISTS");
}

/// A transport stream, as playlists have them: only the protocol can be the reason to refuse it.
fn stream(truth: &Truth, folder: &Path) -> PathBuf {
    let copy = arguments![
        "-i",
        &truth.clip,
        "-t",
        "3",
        "-c",
        "copy",
        "-bsf:v",
        "h264_mp4toannexb"
    ];
    media::ffmpeg(copy, folder.join("secret.ts"))
}

fn playlist(segment: &str) -> Vec<u8> {
    let lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        "#EXT-X-TARGETDURATION:3",
        "#EXTINF:3.0,",
    ];
    format!("{}\n{segment}\n#EXT-X-ENDLIST\n", lines.join("\n")).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_from_the_network_cannot_point_at_a_local_file() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let server = Setup::new(&folder.path().join("data")).start().await;
    let secret = stream(&truth, folder.path());
    let path = secret.to_str().unwrap();
    let files = Files::serve([
        ("/url.m3u8", playlist(&format!("file://{path}"))),
        ("/path.m3u8", playlist(path)),
        ("/url.mp4", playlist(&format!("file://{path}"))),
        ("/good.m3u8", playlist("good.ts")),
        ("/good.ts", std::fs::read(&secret).unwrap()),
    ])
    .await;
    for name in ["/url.m3u8", "/url.mp4"] {
        let url = files.url(name);
        let added = rollcall(&server, ["source", "add", url.as_str(), "--wait"]).await;
        added.expect_error("PROTOCOL_NOT_ALLOWED");
        assert!(
            files.asked().iter().any(|asked| asked == name),
            "{name} was not even read"
        );
    }
    // A bare path is one on the playlist's own server, which does not have it.
    let url = files.url("/path.m3u8");
    let added = rollcall(&server, ["source", "add", url.as_str()])
        .await
        .expect(0)
        .json();
    let id = added["id"].to_string();
    crate::support::until("the server to be asked for the segment", async || {
        files
            .asked()
            .iter()
            .any(|asked| asked == path)
            .then_some(())
    })
    .await;
    rollcall(&server, ["source", "stop", &id]).await.expect(0);
    let status = rollcall(&server, ["status"]).await.expect(0).json();
    assert_eq!(status["tracks"], 0, "nobody was seen: {status}");
    // The same material, when the playlist's server has it, is read.
    let url = files.url("/good.m3u8");
    rollcall(&server, ["source", "add", url.as_str()])
        .await
        .expect(0);
    crate::support::until("the good playlist to be read", async || {
        let status = rollcall(&server, ["status"]).await.expect(0).json();
        status["tracks"].as_u64().filter(|tracks| *tracks > 0)
    })
    .await;
}
