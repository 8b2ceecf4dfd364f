//! Capture over the network: a server that hangs up, one that says nothing, a playlist that points
//! where it must not.
#![cfg(feature = "media")]

mod clips;

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use clips::{CLIP, ffmpeg, read_from};
use rollcall_ingest::{
    capture::{AccessRules, FileSource, LiveSource, Location, Patience},
    observe::{FaultReason, WallTime},
    source::{CaptureStatus, FrameSource, Next, StopToken},
};

/// A web server on a free port that answers every request with `body`.
fn serve(body: Vec<u8>, times: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().take(times).flatten() {
            answer(stream, &body);
        }
    });
    (format!("http://{address}"), thread)
}

fn answer(mut stream: TcpStream, body: &[u8]) {
    let request = BufReader::new(
        stream
            .try_clone()
            .expect("a socket can be read and written"),
    );
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
