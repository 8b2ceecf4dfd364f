//! What there is to say of an index, level by level.

use std::{fmt, fs, path::Path};

use crate::{state::Index, store::StoreError};

/// The least, the middle and the most of some numbers; zeros if there are none.
pub type Spread = [usize; 3];

/// What an index holds, level by level. Displayed, a line for each level; with the feature `serde`,
/// serialised as an object of these fields.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Facts {
    /// What it was made for, in the words of its maker.
    pub contract: String,
    /// Values of an embedding.
    pub dimension: usize,
    /// The log's sequence up to which operations were applied.
    pub sequence: u64,
    /// Levels: cells, people, faces.
    pub depth: usize,
    /// Cells.
    pub cells: usize,
    /// Representatives in a cell.
    pub representatives_per_cell: Spread,
    /// People.
    pub identities: usize,
    /// Faces of a person.
    pub faces_per_identity: Spread,
    /// Faces.
    pub faces: usize,
    /// Tracks.
    pub tracks: usize,
    /// Bytes of everything.
    pub bytes: usize,
    /// Bytes of what searches read as a rule: sketches, representatives, what is known of people.
    pub hot_bytes: usize,
    /// Bytes of the rest: codes, facts of faces, maps.
    pub cold_bytes: usize,
    /// The same, divided by the number of faces.
    pub bytes_per_face: f64,
    /// The same, divided by the number of faces.
    pub hot_bytes_per_face: f64,
    /// The same, divided by the number of faces.
    pub cold_bytes_per_face: f64,
    /// Segment files in the folder.
    pub segments: usize,
    /// Their bytes.
    pub file_bytes: u64,
}

impl Index {
    /// What the newest state holds, level by level, and what its folder takes.
    ///
    /// Cost: a look at every cell and every person.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be listed, [`StoreError::Damaged`] if a page that was
    /// looked at is not what was written.
    pub fn facts(&self) -> Result<Facts, StoreError> {
        let state = self.newest();
        let stats = state.stats();
        let (segments, file_bytes) = self.folder().map_or(Ok((0, 0)), segments)?;
        let cold_bytes = stats.bytes - stats.hot_bytes;
        let per_face = |bytes| per_face(bytes, stats.faces);
        let facts = Facts {
            contract: self.contract().to_owned(),
            dimension: state.dimension(),
            sequence: state.sequence(),
            depth: 3,
            cells: state.cell_fill().count(),
            representatives_per_cell: spread(state.cell_fill()),
            identities: stats.identities,
            faces_per_identity: spread(state.identity_fill()),
            faces: stats.faces,
            tracks: stats.tracks,
            bytes: stats.bytes,
            hot_bytes: stats.hot_bytes,
            cold_bytes,
            bytes_per_face: per_face(stats.bytes),
            hot_bytes_per_face: per_face(stats.hot_bytes),
            cold_bytes_per_face: per_face(cold_bytes),
            segments,
            file_bytes,
        };
        // A damaged page says anything.
        match state.damage.get() {
            None => Ok(facts),
            Some(damage) => Err(damage.clone().into()),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |[least, middle, most]: Spread| {
            format!("{least} to {most}, half of them up to {middle}")
        };
        let Self {
            contract,
            dimension,
            sequence,
            cells,
            identities,
            faces,
            tracks,
            bytes_per_face,
            hot_bytes_per_face: hot,
            cold_bytes_per_face: cold,
            segments,
            file_bytes,
            ..
        } = self;
        let per_cell = text(self.representatives_per_cell);
        let per_identity = text(self.faces_per_identity);
        writeln!(
            f,
            "made for      {contract}, {dimension} values; sequence {sequence}"
        )?;
        writeln!(f, "level 1       {cells} cells, of {per_cell} people")?;
        writeln!(
            f,
            "level 2       {identities} people, of {per_identity} faces"
        )?;
        writeln!(f, "level 3       {faces} faces in {tracks} tracks")?;
        writeln!(
            f,
            "bytes a face  {bytes_per_face}: {hot} hot (sketches, representatives, what is known of \
             people), {cold} cold (codes, facts, maps)"
        )?;
        writeln!(f, "files         {segments} segments, {file_bytes} bytes")
    }
}

fn per_face(bytes: usize, faces: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "printed with few digits")]
    let per_face = bytes as f64 / faces.max(1) as f64;
    (per_face * 10.0).round() / 10.0
}

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

/// How many segment files there are, and their bytes.
fn segments(folder: &Path) -> Result<(usize, u64), StoreError> {
    let refused = |source| StoreError::Io {
        path: folder.to_owned(),
        source,
    };
    let (mut segments, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        if entry.file_name().to_string_lossy().starts_with("segment-") {
            segments += 1;
            bytes += entry.metadata().map_err(refused)?.len();
        }
    }
    Ok((segments, bytes))
}
