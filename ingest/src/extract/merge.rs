//! One folder out of the shards of a video.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rollcall_log::{
    FileStorage, Log, LogOptions, LogReader,
    record::{BlobRef, Body, Record, TrackObserved},
};
use serde::Deserialize;

use super::{BatchError, SHARD_FILE, ShardInfo};

/// What was put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Shards, empty ones included.
    pub shards: u32,
    /// Tracks.
    pub tracks: u64,
    /// Their exemplars.
    pub exemplars: u64,
}

/// The shards that `folders` stand for, in order: each that is one, and those in each that holds some.
/// All shards of one extraction must be there once.
///
/// # Errors
/// [`BatchError`].
pub fn find_shards(folders: &[PathBuf]) -> Result<Vec<(PathBuf, ShardInfo)>, BatchError> {
    let (mut parts, mut begun) = (Vec::new(), Vec::new());
    for folder in folders {
        if folder.join(SHARD_FILE).exists() {
            let info = ShardInfo::read(&folder.join(SHARD_FILE))?;
            parts.push((folder.clone(), info));
            continue;
        }
        let before = parts.len() + begun.len();
        for entry in fs::read_dir(folder).map_err(BatchError::io(folder))? {
            let path = entry.map_err(BatchError::io(folder))?.path();
            if !path.is_dir() || !is_named_like_shard(&path) {
                continue;
            }
            if path.extension() != Some(OsStr::new("unfinished")) && path.join(SHARD_FILE).exists()
            {
                let info = ShardInfo::read(&path.join(SHARD_FILE))?;
                parts.push((path, info));
            } else {
                begun.push(path);
            }
        }
        if parts.len() + begun.len() == before {
            let path = folder.clone();
            return Err(
                if folder.join("log").exists() || is_named_like_shard(&path) {
                    let why = format!("there is no {SHARD_FILE}, which is written last");
                    BatchError::Incomplete { path, why }
                } else {
                    BatchError::None { path }
                },
            );
        }
    }
    begun.sort();
    match ShardInfo::check_all(&mut parts) {
        Ok(()) if parts.is_empty() => {
            let (path, why) = (
                begun.swap_remove(0),
                "it was begun and not finished".to_owned(),
            );
            Err(BatchError::Incomplete { path, why })
        }
        Ok(()) => Ok(parts),
        Err(BatchError::Missing { n, missing, .. }) => {
            Err(BatchError::Missing { n, missing, begun })
        }
        Err(why) => Err(why),
    }
}

fn is_named_like_shard(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with("shard-"))
}

/// Writes to `out`, an empty folder, what a run over the whole video would have written: the log,
/// `tracks.jsonl` and the crops, tracks numbered through. Times at which records were made stay those
/// of the shards; wall clocks are counted from the first.
///
/// # Errors
/// [`BatchError`]; then `out` holds something unfinished.
pub fn merge(shards: &[(PathBuf, ShardInfo)], out: &Path) -> Result<Merged, BatchError> {
    let crops = out.join("crops");
    fs::create_dir_all(&crops).map_err(BatchError::io(&crops))?;
    let lines = out.join("tracks.jsonl");
    let mut merge = Merge {
        log: open_log(out)?,
        out,
        lines: BufWriter::new(File::create(&lines).map_err(BatchError::io(&lines))?),
        merged: Merged::default(),
        last_exemplar: 0,
        wall_base_us: None,
    };
    let last = shards.iter().rposition(|(_, info)| info.begin != info.end);
    for (at, (folder, info)) in shards.iter().enumerate() {
        merge.merged.shards += 1;
        if info.begin != info.end {
            let is_first = info.begin == 0;
            merge.shard(folder, is_first, Some(at) == last)?;
        }
    }
    merge.log.sync().map_err(|why| log_trouble(out, &why))?;
    merge.lines.flush().map_err(BatchError::io(&lines))?;
    Ok(merge.merged)
}

fn open_log(folder: &Path) -> Result<Log, BatchError> {
    let trouble = |why: &dyn std::fmt::Display| log_trouble(folder, why);
    let storage = FileStorage::open(folder.join("log")).map_err(|why| trouble(&why))?;
    let (log, report) =
        Log::open(Arc::new(storage), LogOptions::default()).map_err(|why| trouble(&why))?;
    match report.torn {
        Some(_) => Err(trouble(&"the end of the log is torn off")),
        None => Ok(log),
    }
}

fn log_trouble(folder: &Path, why: &dyn std::fmt::Display) -> BatchError {
    BatchError::Log {
        path: folder.join("log"),
        why: why.to_string(),
    }
}

struct Merge<'a> {
    log: Log,
    out: &'a Path,
    lines: BufWriter<File>,
    merged: Merged,
    /// The last id that an exemplar got, kept or not.
    last_exemplar: u64,
    /// Wall clock of the source's first frame, as the first shard has it.
    wall_base_us: Option<i64>,
}

/// What must be known of a line of `tracks.jsonl`.
#[derive(Deserialize)]
struct Line {
    track: u64,
    exemplars: Vec<u32>,
}

impl Merge<'_> {
    fn shard(&mut self, folder: &Path, is_first: bool, is_last: bool) -> Result<(), BatchError> {
        // A log is made where there is none: what is not there must not seem empty.
        if !folder.join("log").is_dir() {
            let (path, why) = (folder.to_owned(), "there is no log".to_owned());
            return Err(BatchError::Incomplete { path, why });
        }
        let log = open_log(folder)?;
        let reader = log.reader();
        let (tracks_before, exemplars_before) = (self.merged.tracks, self.last_exemplar);
        let mut tracks = 0;
        for record in reader.read_after(0) {
            let mut record = record.map_err(|why| log_trouble(folder, &why))?;
            let keep = match &mut record.body {
                Some(Body::TrackObserved(track)) => {
                    tracks = tracks.max(track.track_id);
                    self.take(track, (tracks_before, exemplars_before), &reader)
                        .map_err(|why| log_trouble(folder, &why))?;
                    true
                }
                Some(Body::SourceProgress(_)) => true,
                Some(Body::SourceStateChanged(_)) => is_last,
                Some(_) | None => is_first,
            };
            if keep {
                self.append(record)?;
            }
        }
        self.log.sync().map_err(|why| log_trouble(self.out, &why))?;
        self.lines_of(folder, (tracks_before, tracks))
    }

    /// Gives a track and its exemplars their numbers in the whole, and takes its pictures over.
    fn take(
        &mut self,
        track: &mut TrackObserved,
        (tracks, exemplars): (u64, u64),
        from: &LogReader,
    ) -> Result<(), String> {
        track.track_id = track.track_id.saturating_add(tracks);
        let renumber = |id: &mut u64| *id = id.saturating_add(exemplars);
        track.dropped_exemplar_ids.iter_mut().for_each(renumber);
        if track.best_exemplar_id != 0 {
            renumber(&mut track.best_exemplar_id);
        }
        let base = track.wall_start_us.saturating_sub(track.start_us);
        let base = *self.wall_base_us.get_or_insert(base);
        track.wall_start_us = base.saturating_add(track.start_us);
        for exemplar in &mut track.exemplars {
            renumber(&mut exemplar.exemplar_id);
            self.last_exemplar = self.last_exemplar.max(exemplar.exemplar_id);
            for blob in [
                &mut exemplar.embedding,
                &mut exemplar.crop,
                &mut exemplar.loose_crop,
            ] {
                self.copy(blob.as_mut(), from)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, blob: Option<&mut BlobRef>, from: &LogReader) -> Result<(), String> {
        if let Some(blob) = blob {
            let bytes = from.blob(blob).map_err(|why| why.to_string())?;
            *blob = self.log.put_blob(&bytes).map_err(|why| why.to_string())?;
        }
        Ok(())
    }

    fn append(&mut self, record: Record) -> Result<(), BatchError> {
        let appended = self.log.append(record).and_then(|sequence| {
            // What waits to be written is kept in memory until then.
            if sequence % 1024 == 0 {
                self.log.sync()?;
            }
            Ok(())
        });
        appended.map_err(|why| log_trouble(self.out, &why))
    }

    /// The lines of a shard that has so many tracks, and their crops.
    fn lines_of(&mut self, folder: &Path, (before, tracks): (u64, u64)) -> Result<(), BatchError> {
        let path = folder.join("tracks.jsonl");
        let text = fs::read_to_string(&path).map_err(BatchError::io(&path))?;
        let damaged = |line, why: &str| BatchError::Damaged {
            path: path.clone(),
            line,
            why: why.to_owned(),
        };
        let mut count = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let parsed: Line =
                serde_json::from_str(line).map_err(|why| damaged(number, &why.to_string()))?;
            let track = before.saturating_add(parsed.track);
            let renumbered = renumbered(line, parsed.track, track)
                .ok_or_else(|| damaged(number, "no line of tracks.jsonl"))?;
            writeln!(self.lines, "{renumbered}").map_err(BatchError::io(self.out))?;
            for exemplar in parsed.exemplars {
                let from = folder.join(format!("crops/{:06}-{exemplar}.jpg", parsed.track));
                let to = self.out.join(format!("crops/{track:06}-{exemplar}.jpg"));
                fs::copy(&from, &to).map_err(BatchError::io(&from))?;
                self.merged.exemplars += 1;
            }
            count += 1;
        }
        if count != tracks || (count > 0 && !text.ends_with('\n')) {
            let why = format!("{count} whole lines, and the log has {tracks} tracks");
            return Err(damaged(text.lines().count() + 1, &why));
        }
        self.merged.tracks = before + tracks;
        Ok(())
    }
}

/// The line with another track's number, and not a byte else changed.
fn renumbered(line: &str, from: u64, to: u64) -> Option<String> {
    let head = line.strip_suffix(&format!("\"track\":{from}}}"))?;
    Some(format!("{head}\"track\":{to}}}"))
}
