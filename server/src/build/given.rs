//! Who the faces in a file of vectors are said to be: made so, once its tracks are in.
//!
//! Each given identity becomes one identity of the collection: the one that the writer gave most of its tracks to, unless
//! another has more of them there. The rest of its tracks is moved there, by edits like any others: in the history, and
//! undone like them. Each edit has a request id made of what it says, so what was done is not done again. Tracks that
//! people have put somewhere, or of which they have said something, stay where they are, and so do those of hidden people.

mod claim;
mod pass;

use super::{BuildError, Built, Step};
use crate::core::Core;
use crate::edge::unfit;
use pass::Pass;
use rollcall_ingest::table::{Table, TableError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Notes of an outcome at most.
const NOTES_MAX: usize = 10;

/// Whether identities that come with vectors count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GivenRule {
    /// Faces of one given identity are one person's, and its name is theirs.
    #[default]
    Keep,
    /// The server's rule decides alone.
    Ignore,
}

/// What came of the identities that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenOutcome {
    /// Tracks with a given identity.
    pub tracks: u64,
    /// Given identities.
    pub people: u64,
    /// Tracks that became another identity's.
    pub moved: u64,
    /// Identities that got a name.
    pub named: u64,
    /// Tracks whose faces are said to be several people's: most of them decide.
    pub mixed: u64,
    /// Tracks that stay where people have put them, or with somebody hidden.
    pub kept: u64,
    /// Names and moves that were not made.
    pub refused: u64,
    /// Why; the first ten.
    pub notes: Vec<String>,
}

impl GivenOutcome {
    fn refuse(&mut self, note: String) {
        self.refused += 1;
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }
}

/// What a file of vectors says of who its tracks are.
#[derive(Debug)]
pub(crate) struct Given {
    path: PathBuf,
    sources: Vec<GivenSource>,
    names: BTreeMap<u64, String>,
    mixed: u64,
}

/// The tracks of one source.
#[derive(Debug)]
pub(super) struct GivenSource {
    /// Of the source, when it was added.
    pub(super) request_id: String,
    /// The given identity of each track's key.
    pub(super) tracks: BTreeMap<u64, u64>,
}

/// Whose a track is, by its faces: whom most are said to show, of two the lower; and whether all say the same.
pub(super) fn majority(faces: impl Iterator<Item = Option<u64>>) -> Option<(u64, bool)> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for identity in faces.flatten() {
        *counts.entry(identity).or_default() += 1;
    }
    let most = counts
        .iter()
        .max_by_key(|(identity, count)| (**count, std::cmp::Reverse(**identity)))?;
    Some((*most.0, counts.len() == 1))
}

/// Reads a table with the columns `identity` and `name`.
///
/// # Errors
/// [`TableError`]: which line. One identity has one name.
pub(super) fn read_names(path: &Path) -> Result<BTreeMap<u64, String>, TableError> {
    let mut table = Table::open(path)?;
    let places = [table.column(&["identity"])?, table.column(&["name"])?];
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    while let Some(row) = table.next_full()? {
        let (identity, name) = (row.field(places[0])?, row.field(places[1])?);
        let Ok(number) = identity.parse::<u64>() else {
            let why = format!("{identity:?} is no identity; a whole number from 0 is wanted");
            return Err(row.wrong(why));
        };
        if let Some(what) = unfit(name) {
            return Err(row.wrong(format!("the name {what}")));
        }
        if name.is_empty() {
            continue;
        }
        if let Some(other) = names.insert(number, name.to_owned())
            && other != name
        {
            let why = format!("identity {number} has another name on a line before");
            return Err(row.wrong(why));
        }
    }
    Ok(names)
}

impl Given {
    /// What `sources` of the file at `path` say; `None` if that is nothing.
    pub(super) fn new(
        path: &Path,
        sources: Vec<GivenSource>,
        names: BTreeMap<u64, String>,
        mixed: u64,
    ) -> Option<Self> {
        let something = sources.iter().any(|source| !source.tracks.is_empty());
        something.then(|| Self {
            path: path.to_owned(),
            sources,
            names,
            mixed,
        })
    }

    /// Makes it so: moves, then a note in each identity of what it was given as, then names.
    ///
    /// # Errors
    /// [`BuildError`] if nothing can be read or written; an edit that is refused is counted, and tried again by the next
    /// build.
    pub(super) async fn apply(
        &self,
        core: &Core,
        built: &mut Built,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        let outcome = &mut built.given;
        outcome.mixed += self.mixed;
        Pass::begin(self, core)?.make_so(outcome, progress).await
    }
}
