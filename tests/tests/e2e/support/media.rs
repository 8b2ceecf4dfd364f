//! Clips and pictures made with FFmpeg's program.

use super::programs::bare;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Runs `ffmpeg ARGUMENTS OUT` and returns `OUT`.
pub(crate) fn ffmpeg(arguments: impl IntoIterator<Item = OsString>, out: PathBuf) -> PathBuf {
    let mut command = bare("ffmpeg");
    command
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments)
        .arg(&out);
    let done = command
        .output()
        .expect("ffmpeg is installed by `make setup`");
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    out
}

/// `clip`, sent over and over as a live stream, to whoever calls first.
pub(crate) struct LiveStream {
    sender: Child,
    /// Where it waits for its caller.
    pub(crate) uri: String,
}

impl LiveStream {
    pub(crate) fn start(clip: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("tcp://{}", free.local_addr().unwrap());
        drop(free);
        let mut command = bare("ffmpeg");
        command
            .args([
                "-nostdin",
                "-loglevel",
                "error",
                "-re",
                "-stream_loop",
                "-1",
                "-i",
            ])
            .arg(clip)
            .args(["-c", "copy", "-f", "mpegts"])
            .arg(format!("{uri}?listen=1"));
        let sender = command
            .spawn()
            .expect("ffmpeg is installed by `make setup`");
        Self { sender, uri }
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        let _ = self.sender.kill();
        let _ = self.sender.wait();
    }
}

/// The front part of `clip`, cut off in the middle of its data at this share of its bytes. Its index is at the front, so
/// that a reader can begin.
pub(crate) fn truncated(clip: &Path, percent: usize, folder: &Path) -> PathBuf {
    let whole = ffmpeg(
        super::cli::arguments!["-i", clip, "-c", "copy", "-movflags", "+faststart"],
        folder.join("faststart.mp4"),
    );
    let bytes = std::fs::read(whole).unwrap();
    let path = folder.join("truncated.mp4");
    std::fs::write(&path, &bytes[..bytes.len() * percent / 100]).unwrap();
    path
}

/// Two pictures side by side, the left one larger.
pub(crate) fn side_by_side(left: &Path, right: &Path, out: PathBuf) -> PathBuf {
    let filter = "[0]scale=-2:640[a];[1]scale=-2:400,pad=iw:640:0:120[b];[a][b]hstack";
    let arguments = super::cli::arguments![
        "-i",
        left,
        "-i",
        right,
        "-filter_complex",
        filter,
        "-q:v",
        "2"
    ];
    ffmpeg(arguments, out)
}
