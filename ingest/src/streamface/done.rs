use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::{ChannelError, ChannelFolder, io_error};

/// Which frames of a channel were searched for faces.
///
/// `frames/processed.txt` is what streamface keeps: its last line names the last frame done, and
/// frames up to that one, in the order of their names, count as done. A frame that comes late with
/// an earlier name would never be searched, so `metadata/processed_frames.txt` lists every frame
/// that was; where it is missing, streamface's rule makes it.
#[derive(Debug)]
pub struct FramesDone {
    last: PathBuf,
    list: PathBuf,
    done: BTreeSet<String>,
}

impl FramesDone {
    /// Reads what is known of `folder`, whose frames are `names`, sorted.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn open(folder: &ChannelFolder, names: &[String]) -> Result<Self, ChannelError> {
        let last = folder.part("frames/processed.txt");
        let list = folder.part("metadata/processed_frames.txt");
        let done = match read(&list)? {
            Some(text) => text.lines().map(str::to_owned).collect(),
            None => {
                let text = read(&last)?.unwrap_or_default();
                let done: BTreeSet<String> = up_to(&text, names).iter().cloned().collect();
                let lines: String = done.iter().map(|name| format!("{name}\n")).collect();
                fs::write(&list, lines).map_err(io_error(&list))?;
                done
            }
        };
        Ok(Self { last, list, done })
    }

    /// Forgets everything: all frames are to be searched again.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn forget(folder: &ChannelFolder) -> Result<(), ChannelError> {
        for file in ["frames/processed.txt", "metadata/processed_frames.txt"] {
            let path = folder.part(file);
            fs::write(&path, "").map_err(io_error(&path))?;
        }
        Ok(())
    }

    /// Whether the frame of this file name was searched.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.done.contains(name)
    }

    /// Notes that the frame of this file name was searched.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn add(&mut self, name: &str) -> Result<(), ChannelError> {
        for path in [&self.list, &self.last] {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()))
                .map_err(io_error(path))?;
        }
        self.done.insert(name.to_owned());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<String>, ChannelError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(io_error(path)(why)),
    }
}

/// The names up to the one that the last line of `processed` names; none if it names none.
fn up_to<'a>(processed: &str, names: &'a [String]) -> &'a [String] {
    let Some(line) = processed.lines().rev().find(|line| !line.trim().is_empty()) else {
        return &[];
    };
    let stem = |name: &String| {
        name.rsplit_once('.')
            .map_or(name.clone(), |(stem, _)| stem.to_owned())
    };
    let last = names.iter().position(|name| line.contains(&stem(name)));
    last.map_or(&[], |at| &names[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streamface_goes_by_the_last_line_and_late_frames_are_not_lost() {
        let root = tempfile::tempdir().unwrap();
        let folder = ChannelFolder::open(root.path()).unwrap();
        let names = ["a_frame_1.png", "a_frame_2.png", "a_frame_4.png"].map(str::to_owned);
        fs::write(
            folder.part("frames/processed.txt"),
            "a_frame_1.png\na_frame_2.png\n\n",
        )
        .unwrap();
        let mut done = FramesDone::open(&folder, &names).unwrap();
        assert_eq!(
            names.each_ref().map(|n| done.contains(n)),
            [true, true, false]
        );
        done.add("a_frame_4.png").unwrap();
        drop(done);
        let text = fs::read_to_string(folder.part("frames/processed.txt")).unwrap();
        assert!(text.ends_with("a_frame_4.png\n"), "{text}");

        let late = ["a_frame_3.png", "a_frame_4.png"].map(str::to_owned);
        let done = FramesDone::open(&folder, &late).unwrap();
        assert_eq!(late.each_ref().map(|n| done.contains(n)), [false, true]);
        FramesDone::forget(&folder).unwrap();
        assert!(
            !FramesDone::open(&folder, &late)
                .unwrap()
                .contains("a_frame_4.png")
        );
    }

    #[test]
    fn a_line_that_names_no_frame_means_that_nothing_is_done() {
        let names = ["b_frame_1.png".to_owned()];
        assert!(up_to("a_frame_9.png\n", &names).is_empty());
        assert!(up_to("", &names).is_empty());
        assert_eq!(up_to("/data/frames/b_frame_1.png", &names).len(), 1);
    }
}
