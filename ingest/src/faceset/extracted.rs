//! An extracted folder: every exemplar that was kept.

use std::path::Path;

use rollcall_index::{Embedding, vectors::Known};

use super::{FaceSet, FaceSetError};
use crate::extracted::{Extracted, Told};

/// Exemplars, track by track, named as their crops (`TRACK-NUMBER`); times are stream times.
pub(super) fn read(folder: &Path) -> Result<FaceSet, FaceSetError> {
    let one = Extracted::open(folder)?;
    let (mut set, mut names) = (FaceSet::new(one.dimension), Vec::new());
    let log = one.log()?;
    log.tell::<FaceSetError>(|told| {
        let Told::Track(track) = told else {
            return Ok(true);
        };
        let id = track.last.track_id;
        for exemplar in track.exemplars.values() {
            let bytes = log.blob(exemplar.embedding.as_ref())?;
            let number = exemplar.number;
            let bad = |what: String| one.wrong(format!("track {id}, exemplar {number}: {what}"));
            let embedding =
                Embedding::from_f16_bytes(&bytes).map_err(|why| bad(why.to_string()))?;
            if embedding.dimension() != one.dimension {
                return Err(bad("an embedding of another dimension".to_owned()).into());
            }
            let known = Known {
                track: Some(id),
                time_us: exemplar.face.as_ref().map(|face| face.time_us),
                ..Known::default()
            };
            set.push(&embedding, known);
            names.push(format!("{id:06}-{number}"));
        }
        Ok(true)
    })?;
    Ok(set.with_names(names))
}
