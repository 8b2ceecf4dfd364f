//! What `rollcall-ingest extract` wrote, read again: its log, track by track.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use rollcall_log::{
    FileStorage, Log, LogOptions,
    record::{BlobRef, Body, Exemplar, FaceBox, SourceState, TrackObserved},
};

/// The log, in an extracted folder.
const LOG: &str = "log";
/// A line a track.
const LINES: &str = "tracks.jsonl";

/// Why an extracted folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExtractedError {
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its log cannot be opened.
    #[error("{path}: {source}", path = path.display())]
    Log {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: rollcall_log::OpenError,
    },
    /// It is not what it should be.
    #[error("{path}: {what}", path = path.display())]
    Wrong {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// An extracted folder: how it begins and how it ends.
#[derive(Clone, Debug)]
pub struct Extracted {
    folder: PathBuf,
    /// That of its log: no other extraction has it.
    pub id: String,
    /// Path or URL of the video, as given.
    pub uri: String,
    /// Shown to people.
    pub name: String,
    /// The contract of the embeddings.
    pub contract: String,
    /// How many values an embedding has.
    pub dimension: usize,
    /// Hash of everything that shaped the observations.
    pub pipeline: String,
    /// Whether the video was read to its end.
    pub ended: bool,
    /// Tracks, closed.
    pub tracks: u64,
}

/// What an extraction tells, in order.
pub enum Told {
    /// A track that is complete.
    Track(Box<WholeTrack>),
    /// Everything before is seen, and no track spans it.
    Checkpoint {
        /// Stream time, microseconds.
        complete_up_to_us: i64,
        /// The frame there.
        frame: i64,
    },
}

/// A track as its records together have it.
#[derive(Clone, Debug, Default)]
pub struct WholeTrack {
    /// The last record; its lists hold what came last.
    pub last: TrackObserved,
    /// Every face that was seen.
    pub faces: Vec<FaceBox>,
    /// What was kept, by number.
    pub exemplars: BTreeMap<u32, Exemplar>,
}

impl WholeTrack {
    /// Adds what the next record says.
    fn grow(&mut self, mut track: TrackObserved) {
        self.faces.append(&mut track.boxes);
        let dropped = std::mem::take(&mut track.dropped_exemplar_ids);
        let kept = |_: &u32, exemplar: &mut Exemplar| !dropped.contains(&exemplar.exemplar_id);
        self.exemplars.retain(kept);
        let new = track.exemplars.drain(..);
        self.exemplars
            .extend(new.map(|exemplar| (exemplar.number, exemplar)));
        self.last = track;
    }
}

impl Extracted {
    /// Whether the folder looks like one.
    #[must_use]
    pub fn is_one(folder: &Path) -> bool {
        folder.join(LOG).is_dir() && folder.join(LINES).is_file()
    }

    /// Opens it and reads how it begins and how it ends.
    ///
    /// # Errors
    /// [`ExtractedError`].
    pub fn open(folder: &Path) -> Result<Self, ExtractedError> {
        let log = open_log(folder)?;
        let mut one = Self {
            folder: folder.to_owned(),
            id: log.id().to_string(),
            uri: String::new(),
            name: String::new(),
            contract: String::new(),
            dimension: 0,
            pipeline: String::new(),
            ended: false,
            tracks: count_lines(&folder.join(LINES))?,
        };
        for record in log.reader().read_after(0) {
            let body = record.map_err(|why| one.wrong(why.to_string()))?.body;
            if let Some(Body::CollectionOpened(opened)) = body {
                one.dimension = usize::try_from(opened.dimension).unwrap_or(usize::MAX);
                one.contract = opened.contract;
            } else if let Some(Body::SourceAdded(source)) = body {
                (one.uri, one.name) = (source.uri, source.name);
            } else if let Some(Body::SourceRunStarted(run)) = body {
                one.pipeline = run.pipeline;
            } else if let Some(Body::SourceStateChanged(change)) = body {
                one.ended = change.state() == SourceState::Ended;
            }
        }
        if one.contract.is_empty() || one.uri.is_empty() {
            let what = "its log does not begin as an extraction's does";
            return Err(one.wrong(what.to_owned()));
        }
        Ok(one)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens its log. While it is open nobody else may open it.
    ///
    /// # Errors
    /// [`ExtractedError::Log`].
    pub fn log(&self) -> Result<ExtractedLog<'_>, ExtractedError> {
        let log = open_log(&self.folder)?;
        Ok(ExtractedLog { of: self, log })
    }

    /// That something about it is wrong.
    #[must_use]
    pub fn wrong(&self, what: String) -> ExtractedError {
        ExtractedError::Wrong {
            path: self.folder.clone(),
            what,
        }
    }
}

/// The log of an extracted folder, open.
pub struct ExtractedLog<'a> {
    of: &'a Extracted,
    log: Log,
}

impl ExtractedLog<'_> {
    /// Tells everything in order, until `hear` says `false`; tracks that were never closed come last.
    ///
    /// # Errors
    /// [`ExtractedError`], turned into `E`, and what `hear` returns.
    pub fn tell<E: From<ExtractedError>>(
        &self,
        mut hear: impl FnMut(Told) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut open: HashMap<u64, WholeTrack> = HashMap::new();
        for record in self.log.reader().read_after(0) {
            let body = record.map_err(|why| self.of.wrong(why.to_string()))?.body;
            let told = if let Some(Body::TrackObserved(track)) = body {
                let (id, closed) = (track.track_id, track.closed);
                open.entry(id).or_default().grow(track);
                let done = closed.then(|| open.remove(&id)).flatten();
                done.map(|track| Told::Track(Box::new(track)))
            } else if let Some(Body::SourceProgress(progress)) = body {
                Some(Told::Checkpoint {
                    complete_up_to_us: progress.complete_up_to_us,
                    frame: progress.complete_up_to_frame,
                })
            } else {
                None
            };
            if let Some(told) = told
                && !hear(told)?
            {
                return Ok(());
            }
        }
        let mut rest: Vec<WholeTrack> = open.into_values().collect();
        rest.sort_by_key(|track| track.last.track_id);
        for track in rest {
            if !hear(Told::Track(Box::new(track)))? {
                break;
            }
        }
        Ok(())
    }

    /// A payload; empty if there is none.
    ///
    /// # Errors
    /// [`ExtractedError::Wrong`]: it is gone or damaged.
    pub fn blob(&self, reference: Option<&BlobRef>) -> Result<Vec<u8>, ExtractedError> {
        let Some(reference) = reference else {
            return Ok(Vec::new());
        };
        let blob = self.log.reader().blob(reference);
        blob.map_err(|why| self.of.wrong(format!("a picture or an embedding: {why}")))
    }
}

fn open_log(folder: &Path) -> Result<Log, ExtractedError> {
    let of_log = |source| ExtractedError::Log {
        path: folder.to_owned(),
        source,
    };
    let storage = FileStorage::open(folder.join(LOG)).map_err(of_log)?;
    let (log, _) = Log::open(Arc::new(storage), LogOptions::default()).map_err(of_log)?;
    Ok(log)
}

fn count_lines(path: &Path) -> Result<u64, ExtractedError> {
    let failed = |source| ExtractedError::Io {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf().map_err(failed)?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        let here = buffer.iter().filter(|byte| **byte == b'\n').count();
        lines += u64::try_from(here).unwrap_or(0);
        let length = buffer.len();
        reader.consume(length);
    }
}
