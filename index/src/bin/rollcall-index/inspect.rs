//! `rollcall-index verify` and `rollcall-index stats`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rollcall_index::{Index, Stats, StoreError};
use serde_json::{Value, json};

#[derive(Args)]
pub(crate) struct VerifyOptions {
    /// The folder.
    folder: PathBuf,
    /// The model that it has to be of.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

#[derive(Args)]
pub(crate) struct StatsOptions {
    /// The folder.
    folder: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// True if all is sound.
pub(crate) fn verify(options: &VerifyOptions, out: &mut impl Write) -> Result<bool> {
    let found = match Index::open_existing(&options.folder) {
        Ok(index) => {
            let (found, wanted) = (index.contract(), options.model.as_deref());
            ensure!(
                wanted.is_none_or(|wanted| wanted == found),
                "{}: made for {found}",
                options.folder.display()
            );
            sound(index)
        }
        Err(error @ StoreError::Damaged { .. }) => Err(error.into()),
        Err(error) => return Err(error.into()),
    };
    let (word, done) = match found {
        Ok(sound) => (sound, true),
        Err(damage) => (format!("{damage:#}"), false),
    };
    writeln!(out, "{word}")?;
    Ok(done)
}

fn sound(mut index: Index) -> Result<String> {
    index.check()?;
    let stats = index.newest().verify()?;
    Ok(format!(
        "sound: {} faces in {} tracks of {} identities",
        stats.faces, stats.tracks, stats.identities
    ))
}

/// What is in a folder; true.
pub(crate) fn stats(options: &StatsOptions, out: &mut impl Write) -> Result<bool> {
    let index = Index::open_existing(&options.folder)?;
    let facts = Facts::of(&options.folder, &index)?;
    if options.json {
        writeln!(out, "{}", facts.object())?;
    } else {
        for (label, text) in facts.lines() {
            writeln!(out, "{label:<14}{text}")?;
        }
    }
    Ok(true)
}

/// The least, the middle and the most of some numbers.
type Spread = [usize; 3];

fn spread(numbers: impl Iterator<Item = usize>) -> Spread {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
    [
        at(0),
        at(numbers.len() / 2),
        at(numbers.len().saturating_sub(1)),
    ]
}

/// What there is to say of a folder.
struct Facts {
    contract: String,
    dimension: usize,
    sequence: u64,
    stats: Stats,
    cells: usize,
    per_cell: Spread,
    per_identity: Spread,
    segments: usize,
    file_bytes: u64,
}

impl Facts {
    fn of(folder: &Path, index: &Index) -> Result<Self> {
        let state = index.newest();
        let (segments, file_bytes) = segments(folder)?;
        Ok(Self {
            contract: index.contract().to_owned(),
            dimension: state.dimension(),
            sequence: state.sequence(),
            stats: state.stats(),
            cells: state.cell_fill().count(),
            per_cell: spread(state.cell_fill()),
            per_identity: spread(state.identity_fill()),
            segments,
            file_bytes,
        })
    }

    fn cold_bytes(&self) -> usize {
        self.stats.bytes - self.stats.hot_bytes
    }

    fn per_face(&self, bytes: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "printed with few digits")]
        let per_face = bytes as f64 / self.stats.faces.max(1) as f64;
        (per_face * 10.0).round() / 10.0
    }

    fn object(&self) -> Value {
        let stats = &self.stats;
        json!({
            "contract": self.contract, "dimension": self.dimension, "sequence": self.sequence,
            "depth": 3, "cells": self.cells, "representatives_per_cell": self.per_cell,
            "identities": stats.identities, "faces_per_identity": self.per_identity,
            "faces": stats.faces, "tracks": stats.tracks,
            "bytes": stats.bytes, "hot_bytes": stats.hot_bytes, "cold_bytes": self.cold_bytes(),
            "bytes_per_face": self.per_face(stats.bytes),
            "hot_bytes_per_face": self.per_face(stats.hot_bytes),
            "cold_bytes_per_face": self.per_face(self.cold_bytes()),
            "segments": self.segments, "file_bytes": self.file_bytes,
        })
    }

    fn lines(&self) -> [(&'static str, String); 6] {
        let stats = &self.stats;
        let text = |[least, middle, most]: Spread| {
            format!("{least} to {most}, half of them up to {middle}")
        };
        let per_face = |bytes| self.per_face(bytes);
        [
            (
                "made for",
                format!(
                    "{}, {} values; sequence {}",
                    self.contract, self.dimension, self.sequence
                ),
            ),
            (
                "level 1",
                format!("{} cells, of {} people", self.cells, text(self.per_cell)),
            ),
            (
                "level 2",
                format!(
                    "{} people, of {} faces",
                    stats.identities,
                    text(self.per_identity)
                ),
            ),
            (
                "level 3",
                format!("{} faces in {} tracks", stats.faces, stats.tracks),
            ),
            (
                "bytes a face",
                format!(
                    "{}: {} hot (sketches, representatives, what is known of people), {} cold (codes, facts, maps)",
                    per_face(stats.bytes),
                    per_face(stats.hot_bytes),
                    per_face(self.cold_bytes())
                ),
            ),
            (
                "files",
                format!("{} segments, {} bytes", self.segments, self.file_bytes),
            ),
        ]
    }
}

/// How many segment files there are, and their bytes.
fn segments(folder: &Path) -> Result<(usize, u64)> {
    let place = || folder.display().to_string();
    let (mut segments, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder).with_context(place)? {
        let entry = entry.with_context(place)?;
        if entry.file_name().to_string_lossy().starts_with("segment-") {
            segments += 1;
            bytes += entry.metadata().with_context(place)?.len();
        }
    }
    Ok((segments, bytes))
}
