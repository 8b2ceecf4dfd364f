//! Observations into a folder, without a server: the project's log, a line a track, and the crops.
//!
//! - `log/`: the log as a server writes it, with tracks nobody has decided about;
//! - `tracks.jsonl`: a line for each track, in the order in which they ended;
//! - `crops/`: the loose crop of each exemplar, `TRACK-NUMBER.jpg`.
//!
//! A video may be divided: [`CutPlan`] says where, [`ShardSink`] ends the run over a part, [`merge`] makes one
//! folder of all parts, the same as a run over the whole would have made.

mod entry;
mod error;
mod folder;
mod merge;
mod plan;
mod shard;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rollcall_log::{
    FileStorage, Log, LogOptions,
    record::{
        Body, CollectionOpened, Record, SourceAdded, SourceKind, SourceProgress, SourceRunStarted,
        SourceSettings, SourceState, SourceStateChanged,
    },
};

use crate::observe::{
    Finished, Flow, MediaTime, Observation, ObservationSink, Report, RunState, SinkError, TrackKey,
    TrackObservation, WallClock,
};

use entry::TrackEntry;
pub use error::BatchError;
pub use folder::{FolderError, prepare_folder};
pub use merge::{Merged, find_shards, merge};
pub use plan::{CutPlan, FileFingerprint, PLAN_FILE, PlannedCut, ShardSpan};
pub use shard::{SHARD_FILE, ShardInfo, ShardSink};

/// The one source of an extracted log.
const SOURCE_ID: u64 = 1;
const AUTHOR: &str = "rollcall-ingest";

/// What is extracted, and how.
#[derive(Clone, Debug)]
pub struct ExtractHeader {
    /// Path or URL, as given.
    pub uri: String,
    /// The contract of the embeddings.
    pub contract: String,
    /// How many values an embedding has.
    pub dimension: usize,
    /// Hash of everything that shapes the observations.
    pub pipeline: String,
}

/// Writes observations to a folder.
pub struct FolderSink<'a> {
    log: Log,
    lines: BufWriter<File>,
    crops: PathBuf,
    clock: WallClock,
    tracks: HashMap<TrackKey, TrackEntry>,
    next_track: u64,
    next_exemplar: u64,
    /// Told how the run is doing.
    watch: &'a mut dyn FnMut(&Report),
    /// What was written.
    pub written: Written,
}

/// What was written to the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Tracks, closed.
    pub tracks: u64,
    /// Their exemplars.
    pub exemplars: u64,
    /// Sum of the lengths of the tracks, in microseconds.
    pub seen_us: i64,
}

impl<'a> FolderSink<'a> {
    /// Opens a new log in `folder`, which [`prepare_folder`] has emptied. `watch` is called with
    /// each report.
    ///
    /// # Errors
    /// [`SinkError::Write`] when a file cannot be made.
    pub fn create(
        folder: &Path,
        header: &ExtractHeader,
        clock: WallClock,
        watch: &'a mut dyn FnMut(&Report),
    ) -> Result<Self, SinkError> {
        let crops = folder.join("crops");
        fs::create_dir_all(&crops).map_err(|why| failed(&crops, &why))?;
        let storage = FileStorage::open(folder.join("log")).map_err(|why| failed(folder, &why))?;
        let (log, _) = Log::open(Arc::new(storage), LogOptions::default())
            .map_err(|why| failed(folder, &why))?;
        let path = folder.join("tracks.jsonl");
        let lines = BufWriter::new(File::create(&path).map_err(|why| failed(&path, &why))?);
        let mut sink = Self {
            log,
            lines,
            crops,
            clock,
            tracks: HashMap::new(),
            next_track: 1,
            next_exemplar: 1,
            watch,
            written: Written::default(),
        };
        sink.begin(header)?;
        Ok(sink)
    }

    fn begin(&mut self, header: &ExtractHeader) -> Result<(), SinkError> {
        let dimension = u32::try_from(header.dimension).unwrap_or(u32::MAX);
        let contract = header.contract.clone();
        self.append(Body::CollectionOpened(CollectionOpened {
            contract,
            dimension,
        }))?;
        let name = Path::new(&header.uri)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        self.append(Body::SourceAdded(SourceAdded {
            source_id: SOURCE_ID,
            uri: header.uri.clone(),
            name: name.unwrap_or_default(),
            kind: SourceKind::File.into(),
            settings: Some(SourceSettings { realtime: false }),
        }))?;
        let pipeline = header.pipeline.clone();
        self.append(Body::SourceRunStarted(SourceRunStarted {
            source_id: SOURCE_ID,
            run: 1,
            pipeline,
        }))?;
        self.sync()
    }

    fn track(&mut self, mut observation: TrackObservation) -> Result<(), SinkError> {
        let key = observation.key;
        let id = self.next_track;
        let entry = self
            .tracks
            .entry(key)
            .or_insert_with(|| TrackEntry::new(id));
        self.next_track += u64::from(entry.id == id);
        let track = entry.id;
        let crops = observation.exemplars.iter_mut();
        let crops: Vec<_> = crops
            .map(|e| (e.number, std::mem::take(&mut e.loose_crop)))
            .collect();
        for (number, jpeg) in &crops {
            let path = self.crop_path(track, *number);
            fs::write(&path, jpeg).map_err(|why| failed(&path, &why))?;
        }
        for number in &observation.dropped_exemplars {
            let path = self.crop_path(track, *number);
            fs::remove_file(&path).map_err(|why| failed(&path, &why))?;
        }
        let Some(mut entry) = self.tracks.remove(&key) else {
            return Ok(());
        };
        let closed = observation.closed;
        let record = entry
            .record(observation, crops, &mut self.next_exemplar, &mut self.log)
            .map_err(|why| SinkError::Write(why.to_string()))?;
        self.append(Body::TrackObserved(record))?;
        if closed {
            let line = entry.line(key);
            writeln!(self.lines, "{line}").map_err(|why| SinkError::Write(why.to_string()))?;
            self.written.tracks += 1;
            self.written.exemplars += entry.exemplar_count();
            self.written.seen_us += entry.length_us();
        } else {
            self.tracks.insert(key, entry);
        }
        Ok(())
    }

    fn crop_path(&self, track: u64, number: u32) -> PathBuf {
        self.crops.join(format!("{track:06}-{number}.jpg"))
    }

    fn change_state(&mut self, finished: &Finished) -> Result<(), SinkError> {
        let state = match finished.state {
            RunState::Ended => SourceState::Ended,
            RunState::Stopped => SourceState::Stopped,
            RunState::Connecting | RunState::Running | RunState::Stalled | RunState::Failed => {
                SourceState::Failed
            }
        };
        let fault = finished.fault.as_ref();
        self.append(Body::SourceStateChanged(SourceStateChanged {
            source_id: SOURCE_ID,
            state: state.into(),
            reason: fault.map_or_else(String::new, |f| f.reason.code().to_owned()),
            message: fault.map_or_else(String::new, |f| f.message.clone()),
            position_us: finished.position.micros(),
        }))?;
        self.sync()
    }

    fn progress(&mut self, complete_up_to: MediaTime, frame: i64) -> Result<(), SinkError> {
        self.append(Body::SourceProgress(SourceProgress {
            source_id: SOURCE_ID,
            complete_up_to_us: complete_up_to.micros(),
            complete_up_to_frame: frame,
        }))?;
        self.sync()
    }

    fn append(&mut self, body: Body) -> Result<(), SinkError> {
        let record = Record {
            time_us: (self.clock)().unix_micros(),
            author: AUTHOR.to_owned(),
            body: Some(body),
            ..Record::default()
        };
        self.log
            .append(record)
            .map(drop)
            .map_err(|why| SinkError::Write(why.to_string()))
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        self.log
            .sync()
            .map_err(|why| SinkError::Write(why.to_string()))?;
        self.lines
            .flush()
            .map_err(|why| SinkError::Write(why.to_string()))
    }
}

impl ObservationSink for FolderSink<'_> {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        match observation {
            Observation::Track(track) => self.track(track)?,
            Observation::Checkpoint {
                complete_up_to,
                frame,
            } => {
                self.progress(complete_up_to, frame.signed())?;
            }
            Observation::Report(report) => (self.watch)(&report),
            Observation::Finished(finished) => self.change_state(&finished)?,
        }
        Ok(Flow::Continue)
    }
}

fn failed(path: &Path, why: &dyn std::error::Error) -> SinkError {
    SinkError::Write(format!("{}: {why}", path.display()))
}
