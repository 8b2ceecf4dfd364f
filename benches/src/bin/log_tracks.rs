//! What tracks does an extracted log hold? A JSON line for each, for programs that compare them.
//!
//! `log_tracks FOLDER`, with the folder that `rollcall-ingest extract --out` was given: `start` and
//! `end` (frames), `boxes` ([frame, x, y, width, height] in shares of the picture) and `embedding`
//! (the mean of the exemplars that were kept, at length 1).
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;
use rollcall_index::Embedding;
use rollcall_log::{FileStorage, Log, LogOptions, record::Body};
use serde_json::{Value, json};

/// Prints the tracks of an extracted log.
#[derive(Parser)]
struct Arguments {
    /// Where the log was extracted to.
    folder: PathBuf,
}

#[derive(Default)]
struct Track {
    start: i64,
    end: i64,
    boxes: Vec<Value>,
    exemplars: BTreeMap<u64, Embedding>,
}

fn main() -> Result<()> {
    let folder = Arguments::parse().folder.join("log");
    let storage = FileStorage::open(&folder).with_context(|| folder.display().to_string())?;
    let (log, _) = Log::open(Arc::new(storage), LogOptions::default())?;
    let mut tracks = BTreeMap::<u64, Track>::new();
    let reader = log.reader();
    for record in reader.read_after(0) {
        let Some(Body::TrackObserved(seen)) = record?.body else {
            continue;
        };
        let track = tracks.entry(seen.track_id).or_default();
        (track.start, track.end) = (seen.start_frame, seen.end_frame);
        let boxes = seen.boxes.iter();
        track
            .boxes
            .extend(boxes.map(|b| json!([b.frame, b.x, b.y, b.width, b.height])));
        for id in &seen.dropped_exemplar_ids {
            track.exemplars.remove(id);
        }
        for exemplar in seen.exemplars {
            let kept = exemplar.embedding.context("an exemplar has no embedding")?;
            let embedding = Embedding::from_f16_bytes(&reader.blob(&kept)?)?;
            track.exemplars.insert(exemplar.exemplar_id, embedding);
        }
    }
    for track in tracks.values() {
        let mean = Embedding::mean(track.exemplars.values().map(|e| (e, 1.0)));
        let embedding = mean.as_ref().map(Embedding::as_slice);
        println!(
            "{}",
            json!({"start": track.start, "end": track.end, "boxes": track.boxes,
                   "embedding": embedding})
        );
    }
    Ok(())
}
