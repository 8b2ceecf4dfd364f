//! Searches whose truth is known, made in the collection itself.

use rollcall_index::{
    Effort, FaceEntry, Filter, IdentityHit, IdentityId, SearchError, Similarity, State,
};

use super::{Trial, Truth};

/// Behind the best one there is nobody: as far as cosines go.
const ALONE: f32 = 2.0;

/// Asks for one face of an identity as if its track had never been seen, and as if the identity
/// itself were not there: a trial of a known person, if the identity has faces of another track, and one
/// of an unknown person, if there is anybody else. Which face it is depends on nothing but the
/// identity's number and how many faces it has. Nothing for an identity without a face; `filter` says
/// whose faces may be found, and its `exclude_track` is not heeded.
///
/// Cost: a search with [`Effort::Certified`], since the best of the others must be right too.
///
/// # Errors
/// Those of [`State::who`].
pub fn trials_of(
    state: &State,
    identity: IdentityId,
    filter: &Filter,
) -> Result<Vec<Trial>, SearchError> {
    let faces: Vec<FaceEntry> = state.identity_faces(identity).collect();
    if faces.is_empty() {
        return Ok(Vec::new());
    }
    // Anything that has nothing to do with the order in which faces were seen.
    let face = &faces[spread(identity.get()) % faces.len()];
    let filter = Filter {
        exclude_track: Some(face.track),
        ..filter.clone()
    };
    let query = face.embedding();
    let (hits, _) = state.who(&query, 3, Similarity::LEAST, &filter, Effort::Certified)?;
    let mut trials = Vec::new();
    if let Some(first) = hits.iter().find(|hit| hit.identity == identity) {
        let right = first.identity == hits[0].identity;
        let truth = if right { Truth::Right } else { Truth::Wrong };
        trials.extend(trial(&hits, truth));
    } else if faces.iter().any(|other| other.track != face.track) {
        trials.extend(trial(&hits, Truth::Wrong));
    }
    let others: Vec<IdentityHit> = hits
        .into_iter()
        .filter(|hit| hit.identity != identity)
        .collect();
    trials.extend(trial(&others, Truth::Unknown));
    Ok(trials)
}

fn trial(hits: &[IdentityHit], truth: Truth) -> Option<Trial> {
    let cosine = hits.first()?.similarity.get();
    let next = hits.get(1).map(|next| next.similarity.get());
    Some(Trial {
        cosine,
        margin: next.map_or(ALONE, |next| cosine - next),
        truth,
    })
}

/// Knuth's multiplicative hash.
fn spread(number: u64) -> usize {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    usize::try_from(mixed).unwrap_or(0)
}
