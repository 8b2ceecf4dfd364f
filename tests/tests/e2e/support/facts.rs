//! What the log of a collection says, read with the log's own reader while no server runs on it.

use rollcall_index::Embedding;
use rollcall_log::record::{Body, Exemplar, Record, SourceState, TrackObserved};
use rollcall_log::{FileStorage, Log, LogOptions, LogReader};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A track at the end of the log.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) id: u64,
    pub(crate) source: u64,
    /// Absorbed identities are resolved.
    pub(crate) identity: u64,
    pub(crate) closed: bool,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) frames: (i64, i64),
    /// Frames in which the face was seen.
    pub(crate) boxes: Vec<i64>,
    /// Embeddings as stored, by the worker's number; given up ones are left out.
    pub(crate) exemplars: BTreeMap<u32, Vec<u8>>,
}

/// What must be the same whenever the same material is read: all but ids and wall clock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    start_us: i64,
    end_us: i64,
    frames: (i64, i64),
    boxes: &'a [i64],
    exemplars: &'a BTreeMap<u32, Vec<u8>>,
}

impl Track {
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen {
            start_us: self.start_us,
            end_us: self.end_us,
            frames: self.frames,
            boxes: &self.boxes,
            exemplars: &self.exemplars,
        }
    }

    /// Mean of the exemplars.
    pub(crate) fn embedding(&self) -> Embedding {
        let read = |bytes: &Vec<u8>| Embedding::from_f16_bytes(bytes).unwrap();
        let all: Vec<Embedding> = self.exemplars.values().map(read).collect();
        Embedding::mean(all.iter().map(|embedding| (embedding, 1.0))).unwrap()
    }
}

/// What a log holds.
pub(crate) struct Facts {
    pub(crate) records: Vec<Record>,
    /// By the worker's key, source by source; retracted ones are left out.
    pub(crate) tracks: BTreeMap<(u64, u64), Track>,
    /// Bytes of an unfinished write that opening cut off.
    pub(crate) torn_bytes: u64,
}

impl Facts {
    /// Reads the log in `folder` (the `log` folder of a data folder, or what `extract` wrote).
    ///
    /// # Panics
    /// If it is damaged, if a sequence is missing or comes twice, if a blob cannot be read.
    pub(crate) fn read(folder: &Path) -> Self {
        let storage = Arc::new(FileStorage::open(folder).unwrap());
        let (log, report) = Log::open(storage, LogOptions::default()).unwrap();
        let reader = log.reader();
        let records: Vec<Record> = reader.read_after(0).map(Result::unwrap).collect();
        for (expected, record) in (1u64..).zip(&records) {
            assert_eq!(record.sequence, expected, "the log is not contiguous");
        }
        let tracks = tracks(&records, &reader);
        Self {
            records,
            tracks,
            torn_bytes: report.torn.map_or(0, |torn| torn.bytes),
        }
    }

    /// The tracks of one source.
    pub(crate) fn of_source(&self, source: u64) -> BTreeMap<u64, &Track> {
        let of = self.tracks.iter().filter(|((of, _), _)| *of == source);
        of.map(|((_, key), track)| (*key, track)).collect()
    }

    /// An exemplar that was not given up later.
    pub(crate) fn kept_exemplar(&self) -> &Exemplar {
        let kept = self.records.iter().find_map(|record| {
            let Some(Body::TrackObserved(observed)) = &record.body else {
                return None;
            };
            let track = &self.tracks[&(observed.source_id, observed.track_key)];
            let mut exemplars = observed.exemplars.iter();
            exemplars.find(|exemplar| track.exemplars.contains_key(&exemplar.number))
        });
        kept.unwrap()
    }

    /// The last state recorded of a source, with its reason.
    pub(crate) fn state(&self, source: u64) -> Option<(SourceState, String)> {
        self.records
            .iter()
            .rev()
            .find_map(|record| match &record.body {
                Some(Body::SourceStateChanged(change)) if change.source_id == source => {
                    Some((change.state(), change.reason.clone()))
                }
                _ => None,
            })
    }

    /// Fails the test unless `source` here shows just what `other_source` of `other` does.
    #[track_caller]
    pub(crate) fn assert_saw_the_same(&self, source: u64, other: &Self, other_source: u64) {
        let (here, there) = (self.of_source(source), other.of_source(other_source));
        let keys = |tracks: &BTreeMap<u64, &Track>| tracks.keys().copied().collect::<Vec<_>>();
        assert_eq!(keys(&here), keys(&there), "tracks of source {source}");
        for (key, track) in here {
            assert_eq!(
                track.seen(),
                there[&key].seen(),
                "track {key} of source {source}"
            );
            assert!(track.closed, "{track:?}");
        }
    }
}

fn tracks(records: &[Record], reader: &LogReader) -> BTreeMap<(u64, u64), Track> {
    let mut tracks = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    let mut redirects = BTreeMap::new();
    for record in records {
        match &record.body {
            Some(Body::TrackObserved(observed)) => {
                let key = (observed.source_id, observed.track_key);
                keys.insert(observed.track_id, key);
                let track = tracks.entry(key).or_insert_with(|| opened(observed));
                assert_eq!(
                    track.id, observed.track_id,
                    "two tracks bear the key {key:?}"
                );
                grow(track, observed, &mut numbers, reader);
                if let Some(decision) = observed.decision.as_ref().filter(|d| d.absorbs_previous) {
                    redirects.insert(decision.previous_identity_id, decision.identity_id);
                }
            }
            Some(Body::TrackRetracted(retracted)) => {
                tracks.remove(&keys[&retracted.track_id]);
            }
            Some(Body::Edited(edited)) => {
                for moved in &edited.moves {
                    for id in &moved.track_ids {
                        let track = tracks.get_mut(&keys[id]).unwrap();
                        assert_eq!(track.identity, moved.from_identity_id, "{edited:?}");
                        track.identity = moved.into_identity_id;
                    }
                }
                for gone in &edited.retracted {
                    tracks.remove(&keys[&gone.track_id]).unwrap();
                }
                for photo in &edited.enrolled {
                    let key = (photo.source_id, photo.track_key);
                    keys.insert(photo.track_id, key);
                    let track = tracks.entry(key).or_insert_with(|| opened(photo));
                    grow(track, photo, &mut numbers, reader);
                }
                for change in &edited.redirects {
                    match change.after {
                        0 => redirects.remove(&change.identity_id),
                        into => redirects.insert(change.identity_id, into),
                    };
                }
            }
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_)
                | Body::ExemplarsReembedded(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_),
            )
            | None => {}
        }
    }
    for track in tracks.values_mut() {
        while let Some(into) = redirects.get(&track.identity) {
            track.identity = *into;
        }
    }
    tracks
}

fn opened(observed: &TrackObserved) -> Track {
    Track {
        id: observed.track_id,
        source: observed.source_id,
        identity: 0,
        closed: false,
        start_us: observed.start_us,
        end_us: observed.end_us,
        frames: (observed.start_frame, observed.end_frame),
        boxes: Vec::new(),
        exemplars: BTreeMap::new(),
    }
}

fn grow(
    track: &mut Track,
    observed: &TrackObserved,
    numbers: &mut BTreeMap<u64, u32>,
    reader: &LogReader,
) {
    assert!(!track.closed, "a closed track goes on: {observed:?}");
    assert_eq!(track.start_us, observed.start_us, "{observed:?}");
    track.end_us = observed.end_us;
    track.frames.1 = observed.end_frame;
    track.closed = observed.closed;
    track
        .boxes
        .extend(observed.boxes.iter().map(|face| face.frame));
    for exemplar in &observed.exemplars {
        let embedding = reader.blob(exemplar.embedding.as_ref().unwrap()).unwrap();
        for picture in [&exemplar.crop, &exemplar.loose_crop].into_iter().flatten() {
            reader.blob(picture).unwrap();
        }
        let before = track.exemplars.insert(exemplar.number, embedding);
        assert!(
            before.is_none(),
            "exemplar {} comes twice: {observed:?}",
            exemplar.number
        );
        numbers.insert(exemplar.exemplar_id, exemplar.number);
    }
    for dropped in &observed.dropped_exemplar_ids {
        track.exemplars.remove(&numbers[dropped]).unwrap();
    }
    if let Some(decision) = &observed.decision {
        track.identity = decision.identity_id;
    }
}
