//! A folder that comes into being whole or not at all.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rollcall_index::{Index, StoreError};
use tempfile::TempDir;

/// A folder beside the one that is wanted, which takes its name once it is complete, and is deleted
/// if that never comes.
pub(crate) struct NewFolder {
    wanted: PathBuf,
    /// Holds the new folder, and the old one while they change places.
    beside: TempDir,
}

const NEW: &str = "new";
const OLD: &str = "old";

impl NewFolder {
    /// Refuses a folder that is there, unless `replace` says that it may go, and it is an index.
    pub(crate) fn beside(wanted: &Path, replace: bool) -> Result<Self> {
        let place = || wanted.display();
        if wanted.try_exists().with_context(|| place().to_string())? {
            if !replace {
                bail!("{}: is there already; --force replaces it", place());
            }
            check_replaceable(wanted)?;
        }
        let absolute = std::path::absolute(wanted)?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            bail!("{}: no name for a folder", place());
        };
        let prefix = format!(".{}.", name.display());
        let beside = tempfile::Builder::new()
            .prefix(&prefix)
            // As mkdir does: what the process's mask leaves.
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .with_context(|| format!("{}: cannot be written to", parent.display()))?;
        Ok(Self {
            wanted: absolute,
            beside,
        })
    }

    /// Where to build.
    pub(crate) fn path(&self) -> PathBuf {
        self.beside.path().join(NEW)
    }

    /// Gives what was built its name.
    pub(crate) fn finish(self) -> Result<()> {
        let place = || self.wanted.display().to_string();
        if self.wanted.exists() {
            check_replaceable(&self.wanted)?;
            fs::rename(&self.wanted, self.beside.path().join(OLD)).with_context(place)?;
        }
        fs::rename(self.path(), &self.wanted).with_context(place)?;
        if let Some(parent) = self.wanted.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

/// An index that nobody uses, or an empty folder: nothing else is deleted.
fn check_replaceable(folder: &Path) -> Result<()> {
    let place = folder.display();
    if fs::read_dir(folder)
        .with_context(|| place.to_string())?
        .next()
        .is_none()
    {
        return Ok(());
    }
    match Index::open_existing(folder) {
        Err(error @ StoreError::InUse { .. }) => Err(error.into()),
        Err(StoreError::Io { .. }) => {
            bail!("{place}: not an index folder; --force replaces nothing else")
        }
        // A damaged one, or of another version, is an index all the same.
        Ok(_)
        | Err(
            StoreError::Damaged { .. }
            | StoreError::Version { .. }
            | StoreError::OtherContract { .. },
        ) => Ok(()),
    }
}
