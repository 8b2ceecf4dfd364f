//! The page in a real browser, as a person uses it: `browser.cjs` does that.

use super::a_collection;
use crate::support::{Fixture, photo, track};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// What the browser may take, machine under load included.
const LONGEST: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_at_the_keyboard() {
    let fixture = Fixture::start().await;
    let source = a_collection(&fixture).await;
    let other = fixture.api.add_remote("live feed").await;
    assert_ne!(source, other.id);
    let photo_file = fixture.folder.path().join("photo.jpg");
    std::fs::write(&photo_file, photo(&[120.0, 240.0])).unwrap();
    let mut browser = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/page/browser.cjs"))
        .arg(assets().join("node_modules/playwright-core"))
        .arg(chromium())
        .arg(format!("http://{}", fixture.server.http()))
        .arg(&photo_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs: make setup");
    let mut lines = BufReader::new(browser.stdout.take().unwrap()).lines();
    // Open to the end: a run that breaks off would close its tracks.
    let mut run = fixture.api.run(other.id).await;
    let session = async {
        let mut key = 6;
        while let Some(line) = lines.next_line().await.unwrap() {
            assert_eq!(line, "feed");
            run.track(track(key, 1, 120.0, 60, 62, false)).await;
            key += 1;
        }
        browser.wait().await.unwrap()
    };
    let status = tokio::time::timeout(LONGEST, session).await;
    assert!(status.expect("the browser comes to an end").success());
}

/// The assets folder that set-up fills.
fn assets() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets");
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(default, PathBuf::from);
    let folder = folder.canonicalize().expect("the assets: make setup");
    let driver = folder.join("node_modules/playwright-core/package.json");
    assert!(driver.is_file(), "{}: make setup", driver.display());
    folder
}

/// The browser, under the name that its package gives it.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"].into_iter();
    let mut files = names.flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files
        .find(|file| file.is_file())
        .expect("chromium is not on the path: make setup")
}
