//! `rollcalld index`: the index of a server that does not run, made anew, verified, described.

use crate::check::{CheckError, OpenedLog};
use crate::core::{
    FACES_AT_ONCE, Marks, NEW_FOLDER, OpenError, Side, Survivor, Survivors, contracts_of,
    fill_index, made_for, survivors,
};
use rayon::prelude::*;
use rollcall_index::{
    BuildError, Damage, Facts, Index, MemoryBudget, Operation, State, StoreError, VerifyError,
};
use rollcall_log::LogReader;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The least cosine of an index's face, of 8 bits a value, to its embedding in the log.
const SAME_FACE: f32 = 0.999;
/// What to do about an index, whatever is wrong with it.
const ANEW: &str = "make it anew from the log with `rollcalld index build`";

/// Why the index could not be built, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no log, or it is in use or damaged.
    #[error(transparent)]
    Log(#[from] CheckError),
    /// It cannot be built.
    #[error("{0}; nothing was changed")]
    Build(#[from] OpenError),
    /// Folders cannot be moved or deleted.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is none.
    #[error("{path}: there is no index; {ANEW}", path = path.display())]
    NoIndex {
        /// Its folder.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("{0}; {ANEW}")]
    Open(StoreError),
    /// It was being built and is not complete, or empty.
    #[error("{path}: it is not complete; {ANEW}", path = path.display())]
    Unfinished {
        /// Its folder.
        path: PathBuf,
    },
    /// It knows more than the log.
    #[error("{path}: it is at record {sequence}, the log ends at {durable}; {ANEW}", path = path.display())]
    Ahead {
        /// Its folder.
        path: PathBuf,
        /// Up to which record it goes.
        sequence: u64,
        /// The log's last one.
        durable: u64,
    },
    /// A file is not what was written to it.
    #[error("{0}; {ANEW}")]
    Damaged(#[from] Damage),
    /// It contradicts itself.
    #[error("{0}; {ANEW}")]
    Inconsistent(#[from] VerifyError),
    /// It is not what the log says.
    #[error("{what}; {ANEW}")]
    NotOfLog {
        /// What is not.
        what: String,
    },
}

/// An index that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its faces.
    pub faces: usize,
    /// Its tracks.
    pub tracks: usize,
    /// Its identities.
    pub identities: usize,
    /// The record of the log up to which it goes.
    pub sequence: u64,
    /// Records that came after: the server applies them when it starts.
    pub behind: u64,
}

/// Makes the index of the data folder `data` anew from its log, with at most about `budget` of memory
/// for what is not in files yet; `progress` gets how many faces are done, and of how many. Takes the
/// log's lock. The index that was there stays until the new one is complete; both have to fit the
/// disk.
///
/// Cost: the records are read, and each face's embedding; all threads of the rayon pool that this is
/// called in encode.
///
/// # Errors
/// [`IndexError::Log`], [`IndexError::Build`], [`IndexError::Folder`].
pub fn build(
    data: &Path,
    budget: MemoryBudget,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Facts, IndexError> {
    let opened = OpenedLog::of(data)?;
    let (new, place) = (data.join(NEW_FOLDER), data.join(&opened.contract.folder));
    remove(&new)?;
    let built = build_in(&new, &opened, budget, progress);
    if built.is_err() {
        // What is left of it takes room, no more: the next build deletes it.
        let _ = remove(&new);
    }
    let facts = built?;
    remove(&place)?;
    fs::rename(&new, &place)
        .and_then(|()| File::open(data)?.sync_all())
        .map_err(|source| IndexError::Folder {
            path: place,
            source,
        })?;
    Ok(facts)
}

fn build_in(
    folder: &Path,
    opened: &OpenedLog,
    budget: MemoryBudget,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Facts, OpenError> {
    let contract = &opened.contract;
    let made_for = made_for(&opened.log, &contract.id);
    let index = Index::open(folder, &made_for, contract.dimension).map_err(BuildError::Store)?;
    let from = (&opened.log.reader(), Side::InService);
    let index = fill_index(index, from, budget, progress)?;
    Ok(index.facts().map_err(BuildError::Store)?)
}

/// Deletes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(IndexError::Folder {
            path: folder.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks every page of the index in the data folder `data`, everything in them against everything
/// else, and every face against the log. Takes the log's lock; changes nothing but an unfinished
/// write at the end of the log, which is cut off.
///
/// Cost: the files of the index and the records are read, and each face's embedding.
///
/// # Errors
/// [`IndexError`]: the first thing that is wrong.
pub fn verify(data: &Path) -> Result<Verified, IndexError> {
    let opened = OpenedLog::of(data)?;
    let contract = &opened.contract;
    let path = data.join(&contract.folder);
    if !path.is_dir() {
        return Err(IndexError::NoIndex { path });
    }
    let made_for = made_for(&opened.log, &contract.id);
    let opening = Index::open(&path, &made_for, contract.dimension);
    let mut index = opening.map_err(IndexError::Open)?;
    let (sequence, durable) = (index.newest().sequence(), opened.log.durable_sequence());
    if sequence == 0 {
        return Err(IndexError::Unfinished { path });
    }
    let Some(behind) = durable.checked_sub(sequence) else {
        return Err(IndexError::Ahead {
            path,
            sequence,
            durable,
        });
    };
    index.check()?;
    let stats = index.newest().verify()?;
    let reader = opened.log.reader();
    let at = contracts_of(&reader, sequence).map_err(CheckError::Read)?;
    // It may lie before the record by which its contract came into service.
    let side = if at.in_service().id == contract.id {
        Side::InService
    } else {
        Side::Other
    };
    compare_all((&reader, side), index.newest())?;
    Ok(Verified {
        faces: stats.faces,
        tracks: stats.tracks,
        identities: stats.identities,
        sequence,
        behind,
    })
}

/// Compares the faces of a log with those of an index.
fn compare_all((log, side): (&LogReader, Side), state: &State) -> Result<(), IndexError> {
    let survivors = survivors(log, state.sequence(), side);
    let Survivors { faces, marks } = survivors.map_err(CheckError::Read)?;
    let (expected, found) = (faces.len(), state.stats().faces);
    if expected != found {
        let what = format!("the index has {found} faces, the log {expected}");
        return Err(IndexError::NotOfLog { what });
    }
    for some in faces.chunks(FACES_AT_ONCE) {
        some.par_iter().try_for_each(|face| {
            compare(
                log,
                state,
                face,
                marks.get(&face.identity).copied().unwrap_or_default(),
            )
        })?;
    }
    Ok(())
}

fn compare(
    log: &LogReader,
    state: &State,
    face: &Survivor,
    marks: Marks,
) -> Result<(), IndexError> {
    let Operation::Insert {
        face,
        identity,
        track,
        source,
        seen_us,
        quality,
        embedding,
        ..
    } = face.insert(log).map_err(CheckError::Open)?
    else {
        return Ok(());
    };
    let same = state.face(face).is_some_and(|entry| {
        (entry.identity, entry.track, entry.source, entry.seen_us)
            == (identity, track, source, seen_us)
            && state.identity_state(identity).map(Marks::in_index) == Some(marks)
            && entry.quality.to_bits() == quality.to_bits()
            && embedding.dimension() == state.dimension()
            && entry.embedding().dot(&embedding).get() > SAME_FACE
    });
    if same {
        return Ok(());
    }
    let what = format!("face {} is not in the index as the log has it", face.get());
    Err(IndexError::NotOfLog { what })
}

/// What the index of the data folder `data` holds, level by level. Its server must not be running.
///
/// Cost: the records of the log are read, which say which index is in service; a look at every cell and every
/// person.
///
/// # Errors
/// [`IndexError::Log`], [`IndexError::NoIndex`], [`IndexError::Open`].
pub fn stats(data: &Path) -> Result<Facts, IndexError> {
    let path = data.join(OpenedLog::of(data)?.contract.folder);
    if !path.is_dir() {
        return Err(IndexError::NoIndex { path });
    }
    let index = Index::open_existing(&path).map_err(IndexError::Open)?;
    index.facts().map_err(IndexError::Open)
}
