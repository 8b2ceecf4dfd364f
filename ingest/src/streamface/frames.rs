use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use serde_json::json;

use super::{Channel, ChannelError, ChannelFolder, FrameTimes, frame_stem, io_error, write_png};
use crate::{
    gate::streamface::{FrameGate, FrameThresholds},
    picture::PictureRef,
    source::FrameStamp,
};

/// What became of the frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames offered.
    pub seen: u64,
    /// Frames written.
    pub kept: u64,
    /// Frames refused, by reason: EMPTY, BLURRED, NEAR_IDENTICAL.
    pub rejected: BTreeMap<&'static str, u64>,
}

/// Writes the frames of a channel that pass streamface's gates.
///
/// `frames/manifest.jsonl` gets a line for each: its `image`, `wall_us` (the time it is named by),
/// `time_s` (stream time), `number` among the frames decoded, `width`, `height`, and what the gates
/// measured: `emptiness`, `clarity`, `similarity` (null for the first).
pub struct FrameWriter {
    folder: ChannelFolder,
    channel: Channel,
    gate: FrameGate,
    times: FrameTimes,
    manifest: (PathBuf, File),
    counts: FrameCounts,
}

impl FrameWriter {
    /// Writes to `folder`, after what is there.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn open(
        folder: ChannelFolder,
        channel: Channel,
        thresholds: FrameThresholds,
    ) -> Result<Self, ChannelError> {
        let path = folder.part("frames/manifest.jsonl");
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let manifest = file.map_err(io_error(&path))?;
        Ok(Self {
            folder,
            channel,
            gate: FrameGate::new(thresholds),
            times: FrameTimes::default(),
            manifest: (path, manifest),
            counts: FrameCounts::default(),
        })
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> &FrameCounts {
        &self.counts
    }

    /// Writes `frame` unless a gate refuses it; gives the name of its file.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn offer(
        &mut self,
        stamp: FrameStamp,
        frame: PictureRef<'_>,
    ) -> Result<Option<String>, ChannelError> {
        self.counts.seen += 1;
        let (measures, rejection) = self.gate.judge(frame);
        if let Some(reason) = rejection {
            *self.counts.rejected.entry(reason.code()).or_default() += 1;
            return Ok(None);
        }
        let wall = self.times.next(stamp.wall);
        let name = format!("{}.png", frame_stem(&self.channel, wall));
        write_png(&self.folder.part("frames").join(&name), frame)?;
        let line = json!({
            "image": name,
            "wall_us": wall.unix_micros(),
            "time_s": stamp.time.seconds(),
            "number": stamp.number.get(),
            "width": frame.width(),
            "height": frame.height(),
            "emptiness": measures.emptiness,
            "clarity": measures.clarity,
            "similarity": measures.similarity,
        });
        let (path, file) = &mut self.manifest;
        file.write_all(format!("{line}\n").as_bytes())
            .map_err(io_error(path))?;
        self.counts.kept += 1;
        Ok(Some(name))
    }
}
