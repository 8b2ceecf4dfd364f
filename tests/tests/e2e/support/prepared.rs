//! A collection with the small clip in it, made once and copied for each test that only needs to have one.

use super::programs::{assets, program};
use super::server::Setup;
use super::truth::Truth;
use super::{cli, scratch};
use cli::arguments;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

/// Copies the prepared collection into `folder` and returns the copy: a data folder in which source 1 is the small clip,
/// read to its end. The first test that asks makes it; it is made again when a program or the clip has changed.
pub(crate) async fn collection(folder: &Path) -> PathBuf {
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prepared");
    fs::create_dir_all(&store).unwrap();
    let lock = File::create(store.join("LOCK")).unwrap();
    // Tests run in processes of their own, or in threads: this holds for both.
    lock.lock().unwrap();
    let made = store.join(fingerprint());
    if !made.is_dir() {
        for old in fs::read_dir(&store)
            .unwrap()
            .flatten()
            .filter(|old| old.path().is_dir())
        {
            fs::remove_dir_all(old.path()).unwrap();
        }
        let part = scratch();
        let data = part.path().join("data");
        make(&data).await;
        copy(&data, &store.join("part"));
        fs::rename(store.join("part"), &made).unwrap();
    }
    let data = folder.join("data");
    copy(&made, &data);
    data
}

async fn make(data: &Path) {
    let mut server = Setup::new(data).start().await;
    let clip = Truth::small().clip;
    cli::rollcall(&server, arguments!["source", "add", &clip, "--wait"])
        .await
        .expect(0);
    assert_eq!(server.terminate().await, Some(0));
}

fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    let programs = ["rollcalld", "rollcall-ingest"].map(program);
    let models = ["models/centerface.toml", "models/mobilefacenet.toml"].map(|m| assets().join(m));
    for path in programs
        .into_iter()
        .chain(models)
        .chain([Truth::small().clip])
    {
        let meta = fs::metadata(&path).unwrap();
        (path, meta.len(), meta.modified().unwrap()).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
