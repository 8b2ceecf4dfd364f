//! Every kind of source, read from a real server of its kind on this machine.
#![cfg(all(feature = "media", target_os = "linux"))]

mod clips;
mod local;

use std::{fs, path::PathBuf, sync::atomic::AtomicU32, time::Duration};

use clips::{ffmpeg, read_from};
use local::{Server, free_port};
use rollcall_ingest::{
    capture::{AccessRules, LiveSource, Location, Patience, system_clock},
    observe::{Fault, FaultReason},
    source::{CaptureStatus, FrameSource, FrameStamp, Next, StopToken},
};

/// Pictures of the clip, 25 a second, without pictures that refer to later ones.
const FRAMES: usize = 150;
const CLIP: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=6 -pix_fmt yuv420p \
    -c:v libx264 -preset veryfast -g 12 -bf 0 -movflags +faststart";
/// So many pictures of a live stream are looked at.
const LOOK: usize = 30;

struct Place {
    folder: tempfile::TempDir,
    clip: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clip = ffmpeg(CLIP, &folder.path().join("clip.mp4"));
    Place { folder, clip }
}

/// Follows `uri` as a live source for `count` pictures; returns their stamps and how many came
/// after a gap. The pictures are those of the clip.
fn follow(uri: &str, rules: &AccessRules, count: usize) -> Result<(Vec<FrameStamp>, usize), Fault> {
    let location = Location::check(uri, rules)?;
    let patience = Patience {
        open: Duration::from_secs(30),
        read: Duration::from_secs(30),
    };
    let stop = StopToken::default();
    let mut source = LiveSource::new(location, patience, system_clock(), stop);
    let status = CaptureStatus::default();
    let (mut stamps, mut gaps) = (Vec::new(), 0);
    while stamps.len() < count {
        match source.next(&status)? {
            Next::Frame(frame) => {
                // The first picture of an RTSP stream may come without a time.
                gaps += usize::from(frame.after_gap && stamps.len() != 1);
                stamps.push(frame.stamp);
            }
            Next::Ended(_) => panic!("{uri} ended"),
        }
    }
    let media = status.facts().media.expect("an open stream is known");
    assert_eq!((media.width, media.height), (320, 240), "{uri}");
    Ok((stamps, gaps))
}

/// A live stream as it should be: every picture later than the last, most of them a 25th of a
/// second.
fn assert_live(uri: &str) {
    let (stamps, gaps) =
        follow(uri, &AccessRules::default(), LOOK).unwrap_or_else(|fault| panic!("{uri}: {fault}"));
    assert_eq!(gaps, 0, "{uri}");
    let mut steps: Vec<i64> = stamps
        .windows(2)
        .map(|pair| pair[1].time.micros() - pair[0].time.micros())
        .collect();
    assert!(steps.iter().all(|step| *step > 0), "{uri}: {steps:?}");
    steps.sort_unstable();
    let middle = steps[steps.len() / 2];
    assert!((39_000..=41_000).contains(&middle), "{uri}: {steps:?}");
}

/// A source with an end: every picture of the clip, at its time.
fn assert_whole(uri: &str) {
    let seen = read_from(uri, None);
    assert_eq!(
        (seen.frames(), seen.end),
        (FRAMES, Ok(None)),
        "{uri}: {}",
        seen.message
    );
    for (i, stamp) in (0i64..).zip(&seen.stamps) {
        let off = (stamp.time.micros() - i * 40_000).abs();
        assert!(off <= 1000, "{uri}: picture {i} at {}", stamp.time);
    }
    let picture = &seen.pictures[FRAMES - 1];
    assert_eq!((picture.width(), picture.height()), (320, 240), "{uri}");
}

#[test]
fn rtsp_comes_over_tcp_and_over_udp_where_tcp_is_refused_or_udp_asked_for() {
    let place = place();
    let Some(server) = local::rtsp(&place.clip) else {
        return;
    };
    let at = |mount: &str| format!("rtsp://127.0.0.1:{}/{mount}", server.port);
    assert_live(&at("tcp"));
    assert_live(&at("udp"));
    assert_live(&at("both#transport=udp"));
    assert_live(&at("both#transport=tcp"));
    // Asked for one transport, the other is not tried.
    for mount in ["tcp#transport=udp", "udp#transport=tcp"] {
        let seen = read_from(&at(mount), None);
        assert_eq!(
            seen.end,
            Err(FaultReason::ConnectFailed),
            "{mount}: {}",
            seen.message
        );
    }
}

#[test]
fn rtmp() {
    let place = place();
    let Some((_server, port)) = local::nginx(place.folder.path()) else {
        return;
    };
    let uri = format!("rtmp://127.0.0.1:{port}/live/camera");
    let _sender = local::send(&place.clip, "-f flv", &uri);
    assert_live(&uri);
}

#[test]
fn files_over_http_with_and_without_ranges() {
    let place = place();
    let own = |server: &Server, name: &str| format!("http://127.0.0.1:{}/{name}", server.port);
    let plain = local::plain_http(place.folder.path());
    assert_whole(&own(&plain, "clip.mp4"));
    if let Some((ranges, _)) = local::nginx(place.folder.path()) {
        assert_whole(&own(&ranges, "clip.mp4"));
        // An index at the end takes a jump there and back.
        let late = place.folder.path().join("late.mp4");
        ffmpeg(&format!("-i {} -c copy", place.clip.display()), &late);
        assert_whole(&own(&ranges, "late.mp4"));
    }
    let gone = read_from(&own(&plain, "gone.mp4"), None);
    assert_eq!(
        gone.end,
        Err(FaultReason::ConnectFailed),
        "{}",
        gone.message
    );
    assert!(gone.message.contains("404"), "{}", gone.message);
}

#[test]
fn hls_with_an_end_and_live() {
    let place = place();
    let folder = place.folder.path();
    let server = local::plain_http(folder);
    let at = |name: &str| format!("http://127.0.0.1:{}/{name}", server.port);
    let options = "-c copy -f hls -hls_time 0.96 -hls_list_size 0";
    ffmpeg(
        &format!("-i {} {options}", place.clip.display()),
        &folder.join("whole.m3u8"),
    );
    assert_whole(&at("whole.m3u8"));
    let _sender = local::hls_live(&place.clip, folder);
    assert_live(&at("live/list.m3u8"));
}

#[test]
fn transport_streams_over_udp_and_tcp() {
    let place = place();
    let port = free_port();
    let uri = format!("udp://127.0.0.1:{port}");
    let _udp = local::send(&place.clip, "-f mpegts", &format!("{uri}?pkt_size=1316"));
    assert_live(&uri);

    let port = free_port();
    let _tcp = local::offer(
        &place.clip,
        "tcp",
        port,
        &format!("tcp://127.0.0.1:{port}?listen=1"),
    );
    assert_live(&format!("tcp://127.0.0.1:{port}"));

    let whole = local::offer_once(&place.clip, free_port());
    assert_whole(&format!("tcp://127.0.0.1:{}", whole.port));
}

#[test]
fn srt() {
    let place = place();
    let listed = std::process::Command::new("ffmpeg")
        .arg("-protocols")
        .output()
        .unwrap();
    let known = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .any(|line| line.trim() == "srt");
    if !local::has("FFmpeg with SRT", known) {
        return;
    }
    let port = free_port();
    let target = format!("srt://127.0.0.1:{port}?mode=listener&latency=120000");
    let _server = local::offer(&place.clip, "udp", port, &target);
    assert_live(&format!("srt://127.0.0.1:{port}"));
}

#[test]
fn a_page_is_resolved_again_each_time_it_is_opened() {
    let place = place();
    let folder = place.folder.path();
    let server = local::plain_http(folder);
    fs::create_dir(folder.join("2")).unwrap();
    fs::copy(&place.clip, folder.join("2/clip.mp4")).unwrap();
    // An address that is good for one visit: the next is another.
    let text = format!(
        "#!/bin/sh\ntest \"$1\" = http://site.example/live || exit 9\necho x >> {0}/calls\n\
         test \"$(wc -l < {0}/calls)\" = 1 && echo http://127.0.0.1:{1}/clip.mp4 || \
         echo http://127.0.0.1:{1}/2/clip.mp4\n",
        folder.display(),
        server.port
    );
    let program = local::script(folder, &text);
    let rules = AccessRules {
        resolver_command: vec![program.to_str().unwrap().to_owned(), "{url}".to_owned()],
        ..AccessRules::default()
    };
    let (stamps, gaps) = follow("page+http://site.example/live", &rules, FRAMES + 10).unwrap();
    assert_eq!((stamps.len(), gaps), (FRAMES + 10, 1));
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2);
}

#[test]
fn a_protocol_that_ffmpeg_lacks_is_said_to_be_missing() {
    let rules = AccessRules {
        protocols: vec!["nosuch".to_owned()],
        ..AccessRules::default()
    };
    let fault = follow("nosuch://127.0.0.1/x", &rules, 1).unwrap_err();
    assert_eq!(fault.reason, FaultReason::ProtocolNotAllowed);
    assert!(fault.message.contains("built without 'nosuch'"), "{fault}");
}

#[test]
fn a_connection_that_breaks_off_within_a_file_goes_on_where_it_was() {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let place = place();
    let bytes = fs::read(&place.clip).unwrap();
    let port = local::broken_http(bytes, &CONNECTIONS);
    assert_whole(&format!("http://127.0.0.1:{port}/clip.mp4"));
    assert!(CONNECTIONS.load(std::sync::atomic::Ordering::SeqCst) > 1);
}
