//! Senders of live streams: sockets that play a script, a folder served over HTTP, `ffmpeg`
//! processes; and what a live source makes of them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rollcall_ingest::{
    capture::{AccessRules, LiveSource, Location, Patience, system_clock},
    observe::{Fault, MediaInfo},
    source::{CaptureFacts, CaptureStatus, FrameSource, FrameStamp, Next, StopToken},
};

/// What is done to a connection; the source is gone when writing fails.
pub type Script = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// Sends `bytes`, as fast as they are taken, and hangs up.
pub fn send(bytes: Vec<u8>) -> Script {
    Box::new(move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

/// Sends `bytes` and then nothing any more, until the source hangs up.
pub fn send_and_freeze(bytes: Vec<u8>) -> Script {
    Box::new(move |stream| {
        let _ = stream.write_all(&bytes);
        let _ = std::io::copy(stream, &mut std::io::sink());
    })
}

/// Sends `first`, then `again` and again, until the source hangs up.
pub fn send_and_repeat(first: Vec<u8>, again: Vec<u8>) -> Script {
    Box::new(move |stream| {
        let mut sent = stream.write_all(&first);
        while sent.is_ok() {
            sent = stream.write_all(&again);
            // As fast as a stream of sound, not as fast as the socket takes it.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    })
}

/// A server on a free port that plays a script a connection, one after the other.
pub fn serve(scripts: Vec<Script>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has one");
    std::thread::spawn(move || {
        for script in scripts {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            script(&mut stream);
        }
    });
    format!("tcp://{address}")
}

/// Serves the files of `folder` over HTTP.
pub fn serve_folder(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has one");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let request = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    let lines = request.lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = lines.first().and_then(|line| line.split(' ').nth(1));
    let name = path.unwrap_or("/").trim_start_matches('/');
    let (status, body) = match std::fs::read(folder.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head = format!("HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

/// A running `ffmpeg`, killed when dropped.
pub struct Sender(Child);

impl Sender {
    pub fn start(arguments: &str) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-nostdin"])
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the ffmpeg program is installed: run make setup"))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody used a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has one")
        .port()
}

/// What a live source gave.
#[derive(Default)]
pub struct Followed {
    pub stamps: Vec<FrameStamp>,
    /// Numbers of the frames after a gap.
    pub gaps: Vec<usize>,
    /// Size of each picture.
    pub sizes: Vec<(u32, u32)>,
    /// Media as reported with each frame.
    pub media: Vec<MediaInfo>,
    pub facts: CaptureFacts,
    pub fault: Option<Fault>,
}

impl Followed {
    pub fn frames(&self) -> usize {
        self.stamps.len()
    }

    /// Numbers go on one by one, and time never stands still or runs back.
    pub fn is_in_order(&self) -> bool {
        let pairs = |w: &[FrameStamp]| {
            w[0].time < w[1].time && w[0].number.next() == w[1].number && w[0].wall <= w[1].wall
        };
        self.stamps.windows(2).all(pairs)
    }
}

/// Patience enough for a busy machine to open a stream; half a second without a picture is too
/// long.
pub const HASTY: Patience = Patience {
    open: Duration::from_secs(30),
    read: Duration::from_millis(500),
};

pub fn live(uri: &str, patience: Patience, stop: &StopToken) -> LiveSource {
    let location = Location::check(uri, &AccessRules::default()).expect("the URL is allowed");
    LiveSource::new(location, patience, system_clock(), stop.clone())
}

/// Follows `uri` until `enough` says so after a frame, or the source gives up, or two minutes are
/// over: then the caller's assertions say what is missing.
pub fn follow(
    uri: &str,
    patience: Patience,
    mut enough: impl FnMut(&Followed) -> bool,
) -> Followed {
    let (stop, status) = (StopToken::default(), CaptureStatus::default());
    let mut source = live(uri, patience, &stop);
    let guard = stop.clone();
    std::thread::spawn(move || {
        guard.wait(Duration::from_secs(120));
        guard.request();
    });
    let mut seen = Followed::default();
    loop {
        match source.next(&status) {
            Ok(Next::Frame(frame)) => {
                if frame.after_gap {
                    seen.gaps.push(seen.stamps.len());
                }
                seen.stamps.push(frame.stamp);
                let picture = frame.image.to_picture(1280).expect("it can be converted");
                seen.sizes.push((picture.width(), picture.height()));
                seen.facts = status.facts();
                seen.media.extend(seen.facts.media.clone());
            }
            Ok(Next::Ended(fault)) => {
                (seen.fault, seen.facts) = (fault, status.facts());
                return seen;
            }
            Err(fault) => seen.fault = Some(fault),
        }
        seen.facts = status.facts();
        if seen.fault.is_some() || enough(&seen) {
            stop.request();
            return seen;
        }
    }
}
