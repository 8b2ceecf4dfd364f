//! Catalog and indexes beside what the log alone makes of them.

use super::apply::Truth;
use super::catalog::CatalogWriter;
use super::contracts::Side;
use super::fill::survivors;
use super::index_folder::{delete, index_folders};
use super::marks::Marks;
use super::replay::{CATALOG_FILE, OpenError};
use rollcall_index::{FaceId, Index};
use std::path::Path;

/// Where a catalog is made anew to be compared. It goes with the comparison, or at the next start.
pub(super) const TEMPORARY_FOLDER: &str = "check.tmp";

/// Where the catalog or an index first differs from the log; `None` if they do not. Cost: two passes over the log, and
/// the catalog once more, in a temporary file in `data`.
pub(crate) fn views_differ(truth: &Truth, data: &Path) -> Result<Option<String>, OpenError> {
    if let Some(what) = catalog_differs(truth, data)? {
        return Ok(Some(format!("the catalog differs from the log in {what}")));
    }
    for side in [Side::InService, Side::Other] {
        if let Some(what) = index_differs(truth, side)? {
            return Ok(Some(format!("an index differs from the log: {what}")));
        }
    }
    Ok(None)
}

fn catalog_differs(truth: &Truth, data: &Path) -> Result<Option<String>, OpenError> {
    let folder = temporary_in(data)?;
    let path = folder.0.join(CATALOG_FILE);
    let (id, epoch) = (truth.log.id().to_string(), truth.log.epoch());
    let mut anew = CatalogWriter::made_anew(Some(&path), &id, epoch)?;
    for record in truth.log.reader().read_after(0) {
        anew.apply(&record?)?;
    }
    anew.commit(truth.log.durable_sequence())?;
    Ok(truth.catalog.difference(&anew)?)
}

/// A folder that goes when it is not needed any more.
struct Temporary(std::path::PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        delete(&self.0);
    }
}

fn temporary_in(data: &Path) -> Result<Temporary, OpenError> {
    let path = data.join(TEMPORARY_FOLDER);
    delete(&path);
    let made = std::fs::create_dir(&path);
    made.map_err(|source| OpenError::Folder {
        path: path.clone(),
        source,
    })?;
    Ok(Temporary(path))
}

fn index_differs(truth: &Truth, side: Side) -> Result<Option<String>, OpenError> {
    let Some(contract) = truth.catalog.contracts().side(side) else {
        return Ok(None);
    };
    let index: Option<&Index> = match side {
        Side::InService => Some(&truth.index),
        Side::Other => truth.other.as_ref(),
    };
    let Some(index) = index else {
        return Ok(Some("it is not there".to_owned()));
    };
    let state = index.newest();
    if let Err(damage) = state.verify() {
        return Ok(Some(damage.to_string()));
    }
    if state.dimension() != contract.dimension {
        return Ok(Some("it is of another contract".to_owned()));
    }
    let expected = survivors(&truth.log.reader(), truth.log.durable_sequence(), side)?;
    let (has, should) = (state.stats().faces, expected.faces.len());
    if has != should {
        return Ok(Some(format!("it has {has} faces instead of {should}")));
    }
    for face in &expected.faces {
        let id = face.face;
        let Some(entry) = state.face(FaceId::new(id)) else {
            return Ok(Some(format!("face {id} is missing")));
        };
        if entry.identity.get() != face.identity {
            return Ok(Some(format!("face {id} is somebody else's")));
        }
        let marks = state.identity_state(entry.identity).map(Marks::in_index);
        let said = expected
            .marks
            .get(&face.identity)
            .copied()
            .unwrap_or_default();
        if marks != Some(said) {
            return Ok(Some(format!("identity {} has other marks", face.identity)));
        }
    }
    Ok(None)
}

/// Deletes catalog and indexes: they are made anew at the next start.
pub(crate) fn delete_views(data: &Path) {
    for suffix in ["", "-wal", "-shm", "-seal"] {
        let path = data.join(format!("{CATALOG_FILE}{suffix}"));
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %path.display(), "the catalog cannot be deleted");
        }
    }
    index_folders(data).iter().for_each(|folder| delete(folder));
}
