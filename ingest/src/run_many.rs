//! Several videos in one `extract`: which they are, where each goes, and how to go on after a break.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use rollcall_ingest::{
    extract::prepare_folder,
    files::{find_files, rename_folder},
    observe::mask_credentials,
    source::StopToken,
};

/// A video and the folder that is to be its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Video {
    file: String,
    out: PathBuf,
}

/// What `files` stand for; `None` if that is one file or URL, which needs no folder of its own.
pub(crate) fn plan(files: &[String], out: &Path) -> anyhow::Result<Option<Vec<Video>>> {
    let mut videos = BTreeMap::new();
    let mut add = |file: String, name: &Path| {
        let into = out.join(name);
        match videos.insert(into.clone(), file.clone()) {
            Some(other) if other != file => bail!(
                "{other} and {file} would both go to {}; extract them one after the other",
                into.display()
            ),
            _ => Ok(()),
        }
    };
    for file in files {
        if let Some(found) = find_files(file)? {
            eprintln!(
                "{file}: {} videos, {} other files passed over",
                found.files.len(),
                found.skipped.len()
            );
            for path in found.files {
                let name = path.strip_prefix(&found.base).unwrap_or(&path).to_owned();
                let text = path.to_str().with_context(|| {
                    format!("{}: the name is not UTF-8; rename it", path.display())
                })?;
                add(text.to_owned(), &name)?;
            }
        } else if files.len() == 1 {
            return Ok(None);
        } else {
            add(file.clone(), &name_of(file)?)?;
        }
    }
    if videos.is_empty() {
        bail!("no videos found");
    }
    let videos = videos.into_iter().map(|(out, file)| Video { file, out });
    Ok(Some(videos.collect()))
}

/// The last part of a path or of a URL's path.
fn name_of(file: &str) -> anyhow::Result<PathBuf> {
    let path = match file.split_once("://") {
        Some((_, rest)) => rest.split(['?', '#']).next().unwrap_or(rest),
        None => file,
    };
    let name = Path::new(path).file_name().filter(|name| *name != "-");
    name.map(PathBuf::from).with_context(|| {
        let file = mask_credentials(file);
        format!("'{file}' has no name that a folder could bear; extract it alone")
    })
}

/// Extracts each by `one`, which is given a video and an empty folder. A folder gets its name once
/// it is complete, so what has its name is done and passed over, unless `force` is set.
///
/// # Errors
/// In the end, if there were videos that failed; at once, if a stop was requested.
pub(crate) fn run(
    videos: &[Video],
    force: bool,
    stop: &StopToken,
    mut one: impl FnMut(&str, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut done, mut before, mut failed) = (0, 0, 0);
    for (number, Video { file, out }) in (1..).zip(videos) {
        if out.exists() && !force {
            before += 1;
            continue;
        }
        let shown = mask_credentials(file);
        eprintln!("[{number}/{}] {shown}", videos.len());
        let unfinished = unfinished(out);
        prepare_folder(&unfinished, true)?;
        let outcome = one(file, &unfinished);
        if stop.is_requested() {
            bail!(
                "stopped; {done} of {} videos were extracted, {before} before that; \
                   the same command goes on with the rest",
                videos.len()
            );
        }
        match outcome {
            Ok(()) => {
                replace(&unfinished, out)?;
                done += 1;
            }
            Err(why) => {
                eprintln!("rollcall-ingest: {}", mask_credentials(&format!("{why:#}")));
                remove(&unfinished)?;
                failed += 1;
            }
        }
    }
    let all = videos.len();
    eprintln!("{all} videos: {done} extracted, {before} were done before, {failed} failed");
    if failed > 0 {
        bail!("{failed} of {all} videos failed; the same command tries them again");
    }
    Ok(())
}

/// The name of a folder until it is complete.
pub(crate) fn unfinished(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    out.with_file_name(name)
}

pub(crate) fn replace(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        remove(to)?;
    }
    rename_folder(from, to)
        .with_context(|| format!("{} cannot be named {}", from.display(), to.display()))
}

/// Removes an extraction, and nothing else.
fn remove(folder: &Path) -> anyhow::Result<()> {
    prepare_folder(folder, true)?;
    fs::remove_dir(folder).with_context(|| format!("{} cannot be removed", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    #[test]
    fn each_video_has_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(at("sub")).unwrap();
        for name in ["a.mp4", "sub/a.mp4", "notes.txt"] {
            fs::write(at(name), "x").unwrap();
        }
        let out = Path::new("out");
        let outs = |files: &[&str]| {
            let videos = plan(&owned(files), out).unwrap().unwrap();
            videos
                .into_iter()
                .map(|video| video.out)
                .collect::<Vec<_>>()
        };
        let both: Vec<PathBuf> = vec!["out/a.mp4".into(), "out/sub/a.mp4".into()];
        assert_eq!(outs(&[&at("")]), both);
        assert_eq!(outs(&[&at("**/*.mp4")]), both);
        let urls = ["http://h/x/b.mp4?token=1", &at("a.mp4"), &at("a.mp4")];
        assert_eq!(
            outs(&urls),
            [PathBuf::from("out/a.mp4"), "out/b.mp4".into()]
        );
        for single in [at("a.mp4"), "-".to_owned(), at("gone.mp4")] {
            assert_eq!(plan(&[single], out).unwrap(), None);
        }
        let refused = |files: &[&str]| plan(&owned(files), out).unwrap_err().to_string();
        assert!(refused(&[&at("a.mp4"), &at("sub/a.mp4")]).contains("both go to out/a.mp4"));
        assert!(refused(&[&at("*.mkv")]).contains("no videos"));
        assert!(refused(&["-", &at("a.mp4")]).contains("extract it alone"));
    }

    #[test]
    fn what_is_done_is_passed_over_and_failures_do_not_end_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let video = |name: &str| Video {
            file: name.to_owned(),
            out: folder.path().join(name),
        };
        let videos = ["a", "bad", "c"].map(video);
        let stop = StopToken::default();
        let mut seen = Vec::new();
        let mut go = |force, bad: &str| {
            seen.clear();
            let outcome = run(&videos, force, &stop, |file, out| {
                seen.push(file.to_owned());
                fs::write(out.join("tracks.jsonl"), file).unwrap();
                if file == bad {
                    bail!("no video")
                } else {
                    Ok(())
                }
            });
            (outcome.map_err(|why| why.to_string()), seen.clone())
        };
        let (outcome, seen) = go(false, "bad");
        assert!(outcome.unwrap_err().starts_with("1 of 3 videos failed"));
        assert_eq!(seen, ["a", "bad", "c"]);
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["a", "c"]);
        assert_eq!(go(false, ""), (Ok(()), owned(&["bad"])));
        assert_eq!(go(false, ""), (Ok(()), Vec::new()));
        assert_eq!(go(true, "").1.len(), 3);
        assert_eq!(names(), ["a", "bad", "c"]);
    }

    #[test]
    fn a_stop_leaves_the_unfinished_for_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.mp4");
        let videos = [Video {
            file: "a".to_owned(),
            out: out.clone(),
        }];
        let stop = StopToken::default();
        stop.request();
        assert!(run(&videos, false, &stop, |_, _| Ok(())).is_err());
        assert!(!out.exists());
        run(&videos, false, &StopToken::default(), |_, _| Ok(())).unwrap();
        assert!(out.exists());
    }
}
