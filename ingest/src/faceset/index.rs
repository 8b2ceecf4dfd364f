//! An index folder, or a server's data folder with one: every face that a search can find.

use std::path::{Path, PathBuf};

use rollcall_index::{Index, vectors::Known};

use super::{FaceSet, FaceSetError, kind_error};

/// The index, in a data folder.
const INDEX: &str = "index";
/// What an index folder has.
const MANIFEST: &str = "manifest";

/// The index folder that `path` is or has.
pub(super) fn place(path: &Path) -> Option<PathBuf> {
    let places = [path.to_owned(), path.join(INDEX)];
    places
        .into_iter()
        .find(|place| place.join(MANIFEST).is_file())
}

/// All faces in the order of their ids, named by them. Embeddings are what 8 bits a value tell of them.
pub(super) fn read(folder: &Path) -> Result<FaceSet, FaceSetError> {
    let failed = |why: &dyn std::error::Error| kind_error(folder, why.to_string());
    let index = Index::open_existing(folder).map_err(|why| failed(&why))?;
    let state = index.newest();
    let mut faces = Vec::new();
    for (identity, _) in state.identities() {
        faces.extend(state.identity_faces(identity).map(|face| face.face));
    }
    faces.sort_unstable();
    let (mut set, mut names) = (FaceSet::new(state.dimension()), Vec::new());
    for id in faces {
        let Some(face) = state.face(id) else { continue };
        let known = Known {
            identity: Some(face.identity.get()),
            track: Some(face.track.get()),
            source: Some(face.source.get()),
            time_us: Some(face.seen_us),
        };
        set.push(&face.embedding(), known);
        names.push(id.get().to_string());
    }
    Ok(set.with_names(names))
}
