//! Capture against real files and servers: clips made by the `ffmpeg` program, a socket that says
//! nothing, a playlist that points where it must not.
#![cfg(feature = "media")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rollcall_ingest::{
    Picture,
    capture::{AccessRules, FileSource, LiveSource, Location, Patience},
    observe::{Fault, FaultReason, FrameNo, MediaInfo, MediaTime, ResumePoint, WallTime},
    source::{CaptureStatus, FrameSource, FrameStamp, Next, StopToken},
};

/// Runs the `ffmpeg` program; `output` comes last.
fn ffmpeg(arguments: &str, output: &Path) -> PathBuf {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-nostdin"])
        .args(arguments.split_whitespace())
        .arg(output)
        .status()
        .expect("the ffmpeg program is installed: run make setup");
    assert!(status.success(), "ffmpeg {arguments}");
    output.to_path_buf()
}

/// Two seconds of a test picture, 50 frames, 160x120, a keyframe every ten.
const CLIP: &str =
    "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -pix_fmt yuv420p -c:v libx264 -g 10 -bf 2";

struct Seen {
    stamps: Vec<FrameStamp>,
    pictures: Vec<Picture>,
    end: Result<Option<FaultReason>, FaultReason>,
    message: String,
    media: Option<MediaInfo>,
    corrupt: u64,
}

impl Seen {
    fn frames(&self) -> usize {
        self.stamps.len()
    }
}

fn source(uri: &str, resume: Option<ResumePoint>) -> Result<FileSource, Fault> {
    let location = Location::check(uri, &AccessRules::default())?;
    let patience = Patience {
        open: Duration::from_secs(30),
        read: Duration::from_secs(30),
    };
    let wall = WallTime::from_unix_micros(1_000_000);
    Ok(FileSource::new(
        location,
        patience,
        false,
        resume,
        wall,
        StopToken::default(),
    ))
}

fn read_from(uri: &str, resume: Option<ResumePoint>) -> Seen {
    let status = CaptureStatus::default();
    let mut seen = Seen {
        stamps: Vec::new(),
        pictures: Vec::new(),
        end: Ok(None),
        message: String::new(),
        media: None,
        corrupt: 0,
    };
    let outcome = source(uri, resume).and_then(|mut source| {
        loop {
            match source.next(&status)? {
                Next::Frame(frame) => {
                    seen.stamps.push(frame.stamp);
                    seen.pictures.push(frame.image.to_picture(1280)?);
                }
                Next::Ended(fault) => return Ok(fault),
            }
        }
    });
    let fault = outcome.as_ref().map_or_else(Some, Option::as_ref);
    seen.message = fault.map_or_else(String::new, |f| f.message.clone());
    seen.end = outcome
        .map(|fault| fault.map(|f| f.reason))
        .map_err(|f| f.reason);
    let facts = status.facts();
    (seen.media, seen.corrupt) = (facts.media, facts.corrupt);
    seen
}

fn read(path: &Path) -> Seen {
    read_from(path.to_str().unwrap(), None)
}

#[test]
fn every_frame_comes_once_with_its_number_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let seen = read(&ffmpeg(CLIP, &folder.path().join("clip.mp4")));
    assert_eq!((seen.frames(), &seen.end), (50, &Ok(None)));
    for (i, stamp) in (0u64..).zip(&seen.stamps) {
        assert_eq!(stamp.number, FrameNo::new(i));
        assert_eq!(stamp.time.micros(), i64::try_from(i).unwrap() * 40_000);
        assert_eq!(stamp.wall.unix_micros(), 1_000_000 + stamp.time.micros());
    }
    let media = seen.media.unwrap();
    assert_eq!(
        (media.width, media.height, media.codec.as_str()),
        (160, 120, "h264")
    );
    assert_eq!(
        (media.frames_per_second, media.duration),
        (25.0, Some(Duration::from_secs(2)))
    );
}

#[test]
fn reading_from_the_middle_gives_the_very_same_frames() {
    let folder = tempfile::tempdir().unwrap();
    let long = "-f lavfi -i testsrc=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -g 25 -bf 2";
    for name in ["clip.mp4", "clip.mkv", "clip.ts"] {
        let clip = ffmpeg(&format!("{long} -c:v libx264"), &folder.path().join(name));
        let whole = read(&clip);
        assert_eq!(whole.frames(), 200, "{name}");
        for at in [0, 1, 60, 137, 199] {
            let stamp = whole.stamps[at];
            let point = ResumePoint {
                time: stamp.time,
                frame: stamp.number,
            };
            let rest = read_from(clip.to_str().unwrap(), Some(point));
            let pairs = |s: &Seen| {
                s.stamps
                    .iter()
                    .map(|s| (s.number, s.time))
                    .collect::<Vec<_>>()
            };
            assert_eq!(pairs(&rest), pairs(&whole)[at..], "{name} from {at}");
            assert!(
                rest.pictures == whole.pictures[at..],
                "{name} from {at}: other pixels"
            );
        }
        let past = ResumePoint {
            time: MediaTime::from_micros(60_000_000),
            frame: FrameNo::new(200),
        };
        assert_eq!(read_from(clip.to_str().unwrap(), Some(past)).frames(), 0);
    }
}

#[test]
fn what_is_no_video_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let check = |path: &Path, reason: FaultReason| {
        let seen = read(path);
        assert_eq!(
            (seen.frames(), seen.end),
            (0, Err(reason)),
            "{}",
            seen.message
        );
        assert!(
            seen.message
                .contains(path.file_name().unwrap().to_str().unwrap())
        );
    };
    check(&folder.path().join("gone.mp4"), FaultReason::FileNotFound);
    check(
        &make("text.mp4", "Call me Ishmael. ".repeat(500).as_bytes()),
        FaultReason::NotAVideo,
    );
    check(&make("zero.mp4", b""), FaultReason::NotAVideo);
    check(
        &make(
            "noise.mp4",
            &(0..9000u32).map(|i| (i * i >> 3) as u8).collect::<Vec<_>>(),
        ),
        FaultReason::NotAVideo,
    );
    check(
        &make("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"),
        FaultReason::NotAVideo,
    );
    check(
        &make("list.mp4", b"ffconcat version 1.0\nfile /etc/hostname\n"),
        FaultReason::NotAVideo,
    );
    let sound = "-f lavfi -i sine=duration=1 -c:a aac";
    check(
        &ffmpeg(sound, &folder.path().join("sound.m4a")),
        FaultReason::NoPictureStream,
    );
}

#[test]
fn a_cut_off_file_gives_what_it_has_and_says_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let cut = |from: &Path, name: &str, share: f64| {
        let bytes = std::fs::read(from).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
        path
    };
    let long =
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -c:v libx264 -g 25";
    let clips = [("a.mp4", "-movflags +faststart"), ("b.mkv", "")];
    for (name, flags) in clips {
        let clip = ffmpeg(&format!("{long} {flags}"), &folder.path().join(name));
        assert_eq!(read(&clip).end, Ok(None), "{name}");
        let seen = read(&cut(&clip, &format!("cut-{name}"), 0.6));
        assert_eq!(
            seen.end,
            Ok(Some(FaultReason::Truncated)),
            "{name}: {}",
            seen.message
        );
        assert!(
            (60..180).contains(&seen.frames()),
            "{name}: {}",
            seen.frames()
        );
        assert!(seen.message.contains("of 8.0"), "{}", seen.message);
    }
    // Without its index at the end nothing can be read, and the message says so.
    let clip = ffmpeg(long, &folder.path().join("c.mp4"));
    let seen = read(&cut(&clip, "cut-c.mp4", 0.6));
    assert_eq!(seen.end, Err(FaultReason::NotAVideo));
    assert!(seen.message.contains("moov"), "{}", seen.message);
}

#[test]
fn damage_in_the_middle_costs_frames_not_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -c:v libx264 -g 25",
        &folder.path().join("clip.ts"),
    );
    let mut bytes = std::fs::read(&clip).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4000]
        .iter_mut()
        .for_each(|b| *b ^= 0x5a);
    std::fs::write(&clip, bytes).unwrap();
    let seen = read(&clip);
    assert!(seen.end.is_ok(), "{}", seen.message);
    assert!(
        (100..200).contains(&seen.frames()) || seen.corrupt > 0,
        "{}",
        seen.frames()
    );
    assert!(seen.stamps.windows(2).all(|w| w[0].time < w[1].time));
}

#[test]
fn pictures_come_at_display_aspect_and_upright() {
    let folder = tempfile::tempdir().unwrap();
    let wide = ffmpeg(
        &format!("{CLIP} -vf setsar=2"),
        &folder.path().join("wide.mp4"),
    );
    let seen = read(&wide);
    let media = seen.media.as_ref().unwrap();
    assert_eq!((media.width, media.height), (320, 120));
    assert_eq!(
        (seen.pictures[0].width(), seen.pictures[0].height()),
        (320, 120)
    );

    let plain = ffmpeg(CLIP, &folder.path().join("plain.mp4"));
    let before = read(&plain).pictures.remove(0);
    let turned = folder.path().join("turned.mp4");
    ffmpeg(
        &format!("-i {} -c copy -metadata:s:v:0 rotate=90", plain.display()),
        &turned,
    );
    let seen = read(&turned);
    let after = &seen.pictures[0];
    assert_eq!((after.width(), after.height()), (120, 160));
    assert_eq!(
        seen.media.as_ref().map(|m| (m.width, m.height)),
        Some((120, 160))
    );
    // The program turns pictures by itself when it decodes: it is the judge.
    let judged = folder.path().join("judged.rgb");
    ffmpeg(
        &format!(
            "-i {} -frames:v 1 -f rawvideo -pix_fmt rgb24",
            turned.display()
        ),
        &judged,
    );
    let judged = Picture::new(120, 160, std::fs::read(judged).unwrap()).unwrap();
    assert!(
        difference(after, &judged) < 4.0,
        "{}",
        difference(after, &judged)
    );
    assert_ne!(before.rgb(), after.rgb());
}

fn difference(a: &Picture, b: &Picture) -> f64 {
    let sum: u64 = a
        .rgb()
        .iter()
        .zip(b.rgb())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.rgb().len() as f64
}

#[test]
fn large_pictures_are_scaled_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        "-f lavfi -i testsrc=size=1920x1080:rate=25:duration=0.2 -pix_fmt yuv420p",
        &folder.path().join("large.mp4"),
    );
    let seen = read(&clip);
    assert_eq!(
        (seen.pictures[0].width(), seen.pictures[0].height()),
        (1280, 720)
    );
    assert_eq!(seen.media.map(|m| (m.width, m.height)), Some((1920, 1080)));
}

/// A web server on a free port that answers every request with `body`.
fn serve(body: Vec<u8>, times: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().take(times).flatten() {
            answer(stream, &body);
        }
    });
    (format!("http://{address}"), thread)
}

fn answer(mut stream: TcpStream, body: &[u8]) {
    let request = BufReader::new(stream.try_clone().unwrap());
    let _ = request
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .count();
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

#[test]
fn a_playlist_from_the_net_must_not_point_at_a_local_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = ffmpeg(CLIP, &folder.path().join("secret.ts"));
    for target in [
        format!("file://{}", secret.display()),
        secret.display().to_string(),
    ] {
        let playlist =
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n");
        let (url, _thread) = serve(playlist.into_bytes(), 20);
        let seen = read_from(&format!("{url}/live.m3u8"), None);
        assert_eq!(seen.frames(), 0, "{target}");
        if target.starts_with("file:") {
            let end = seen.end;
            assert_eq!(
                end,
                Err(FaultReason::ProtocolNotAllowed),
                "{}",
                seen.message
            );
        } else {
            // A bare path is looked for on the server it came from, and is no video there.
            assert!(seen.end.is_err(), "{}", seen.message);
        }
    }
}

#[test]
fn a_video_from_the_net_is_read_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(CLIP, &folder.path().join("clip.ts"));
    let (url, _thread) = serve(std::fs::read(clip).unwrap(), 8);
    let seen = read_from(&format!("{url}/clip.ts?token=hunter2"), None);
    assert_eq!(
        (seen.frames(), seen.end),
        (50, Ok(None)),
        "{}",
        seen.message
    );
}

#[test]
fn who_does_not_answer_is_given_up_and_credentials_are_not_told() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let uri = format!("http://me:hunter2@{address}/clip.mp4?key=hunter2");
    let location = Location::check(&uri, &AccessRules::default()).unwrap();
    let patience = Patience {
        open: Duration::from_millis(200),
        read: Duration::from_millis(200),
    };
    let stop = StopToken::default();
    let mut source = FileSource::new(location, patience, false, None, WallTime::default(), stop);
    let fault = source.next(&CaptureStatus::default()).err().unwrap();
    assert_eq!(fault.reason, FaultReason::ConnectFailed);
    assert!(!fault.message.contains("hunter2"), "{}", fault.message);

    drop(silent);
    let seen = read_from(&uri, None);
    assert_eq!(
        seen.end,
        Err(FaultReason::ConnectFailed),
        "{}",
        seen.message
    );
    assert!(!seen.message.contains("hunter2"), "{}", seen.message);
}

#[test]
fn a_stream_that_breaks_off_is_opened_again_and_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(CLIP, &folder.path().join("clip.ts"));
    let (url, _thread) = serve(std::fs::read(clip).unwrap(), 8);
    let location = Location::check(&format!("{url}/live.ts"), &AccessRules::default()).unwrap();
    let stop = StopToken::default();
    // A clock that stands still: time goes on all the same.
    let clock = Arc::new(|| WallTime::from_unix_micros(5_000_000));
    let patience = Patience {
        open: Duration::from_secs(30),
        read: Duration::from_secs(30),
    };
    let mut source = LiveSource::new(location, patience, clock, stop.clone());
    let status = CaptureStatus::default();
    let (mut stamps, mut gaps) = (Vec::new(), 0);
    while gaps == 0 || stamps.len() < 60 {
        let Ok(Next::Frame(frame)) = source.next(&status) else {
            panic!("the stream ended")
        };
        gaps += usize::from(frame.after_gap);
        stamps.push(frame.stamp);
    }
    assert_eq!(gaps, 1);
    assert!(
        stamps
            .windows(2)
            .all(|w| w[0].time < w[1].time && w[0].number.next() == w[1].number)
    );
    stop.request();
    let rest = std::iter::from_fn(|| match source.next(&status) {
        Ok(Next::Frame(_)) => Some(()),
        _ => None,
    });
    assert!(
        rest.count() < 100,
        "a stop is honoured at the latest when the connection ends"
    );
}

#[test]
fn a_stream_that_may_not_be_opened_is_not_tried_again() {
    let (url, _thread) = serve(b"this is no video at all".repeat(100).to_vec(), 8);
    let location = Location::check(&url, &AccessRules::default()).unwrap();
    let clock = Arc::new(WallTime::default);
    let mut source = LiveSource::new(location, Patience::default(), clock, StopToken::default());
    let fault = source.next(&CaptureStatus::default()).err().unwrap();
    assert_eq!(fault.reason, FaultReason::NotAVideo);
}
