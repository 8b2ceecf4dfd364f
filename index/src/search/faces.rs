//! Which faces are like this?

use std::collections::HashSet;

use super::{BLOCKS_AHEAD, Best, DEVIATIONS, FEW, FaceEffort, Near, Search, people::estimate_all};
use crate::{
    blocks::{at, row},
    embedding::Similarity,
    faces::Face,
    kernel::BLOCK,
    plane::Estimate,
    state::State,
};

/// As [`FaceEffort::Open`]'s deviations, for the best face of an identity.
const BEST_FACE_DEVIATIONS: f32 = 1.5;
/// Faces of an identity whose codes are compared for its best one, the best by sketch.
const BEST_FACE_CODES: usize = 16;
/// Identities opened before it is decided how many more are: they give a good bar.
const OPENED_FIRST: usize = 64;
/// Where one in this many is opened, all faces are looked at: they lie in a row.
const MANY: usize = 3;
/// Of identities that may have hits, as many are put in order at once.
const OPENED_MORE: usize = 512;
/// Faces gathered at most before their codes are compared.
const NEAR_MAX: usize = 4096;
/// Rows of identities asked for ahead of their use.
const AHEAD: usize = 8;
/// Identities whose faces are gathered before codes are compared. A good bar early saves most of the
/// work; later, fewer and longer lists do.
const OPENED_AT_ONCE: usize = 8;

impl Search<'_> {
    /// The identity's face most similar to the query.
    pub(super) fn best_face(&mut self, person: u32) -> Option<(Similarity, u32)> {
        let state = self.state;
        let mut best = Best::new(1, 1);
        let margin = self.margin(&state.faces.plane);
        let bars = state.faces.plane.bars(&self.probe, BEST_FACE_DEVIATIONS);
        let mut near = Near::new(1, margin / DEVIATIONS * BEST_FACE_DEVIATIONS, bars);
        if margin.is_finite() {
            near.limit = BEST_FACE_CODES;
        }
        self.scan_people(&[person], &mut near, &mut best);
        self.compare_faces(&mut near, &mut best);
        best.into_slots().next()
    }

    fn offer_exact(&mut self, slot: u32, best: &mut Best<u64>) {
        if let Some(similarity) = self.face(slot) {
            let least = self.rival(slot, similarity, best.bar());
            best.offer(least, self.state.faces.get(slot).face, slot);
        }
    }

    /// Offers the faces of identities.
    fn scan_people(&mut self, people: &[u32], near: &mut Near, best: &mut Best<u64>) {
        let state = self.state;
        for person in people.iter().take(AHEAD) {
            state.people.prefetch(*person);
        }
        // First where they are, then a look at each: so the next can be asked for in time.
        let mut runs = Vec::with_capacity(people.len() * 2);
        for (number, person) in people.iter().enumerate() {
            if let Some(ahead) = people.get(number + AHEAD) {
                state.people.prefetch(*ahead);
            }
            runs.extend(state.runs(*person));
        }
        for (number, (first, count)) in runs.iter().enumerate() {
            if let Some((ahead, _)) = runs.get(number + BLOCKS_AHEAD) {
                state.faces.plane.prefetch_block(at(*ahead) / BLOCK);
            }
            let run = u64::from(u32::MAX) >> (32 - count) << (first % row(BLOCK));
            let run = u32::try_from(run & u64::from(u32::MAX)).unwrap_or(u32::MAX);
            self.scan_block(at(*first) / BLOCK, run, near, best);
        }
    }

    /// Offers those faces of a block.
    #[inline]
    fn scan_block(&mut self, block: usize, faces: u32, near: &mut Near, best: &mut Best<u64>) {
        let state = self.state;
        let (plane, bar) = (&state.faces.plane, near.bar);
        let whole = plane.above(&self.probe, block, faces, bar, |estimate| {
            if near.opened.is_empty() && self.sieve.is_open()
                || self.takes(state.faces.get(estimate.1), near)
            {
                near.entries.push(estimate);
            }
        });
        self.scanned(plane, whole);
        if near.entries.len() >= NEAR_MAX {
            self.compare_faces(near, best);
        }
    }

    fn takes(&self, face: &Face, near: &Near) -> bool {
        self.passes(face) && near.opened.binary_search(&face.identity).is_err()
    }

    /// Looks at the codes of the faces gathered, best estimates first, as far as they may be hits.
    fn compare_faces(&mut self, near: &mut Near, best: &mut Best<u64>) {
        let plane = &self.state.faces.plane;
        let entries = near.drain();
        for Estimate(estimate, slot) in plane.in_turn(&entries, |_| {}) {
            if estimate < best.bar() - near.margin {
                break;
            }
            self.offer_exact(slot, best);
        }
        near.raise(best.bar());
    }

    /// Offers the faces of the identities that may have hits, most similar first. True: they are so
    /// many that all faces not offered yet have to be looked at.
    fn open(
        &mut self,
        mut estimates: Vec<Estimate>,
        reach: f32,
        near: &mut Near,
        best: &mut Best<u64>,
    ) -> bool {
        let people = estimates.len();
        // Where sketches say nothing, everybody may have hits.
        let reach = if reach.is_finite() && near.margin.is_finite() {
            reach * spread(&estimates)
        } else {
            f32::INFINITY
        };
        let (mut opened, mut modal) = (Vec::new(), HashSet::new());
        let mut most = OPENED_FIRST;
        while !estimates.is_empty() {
            let rest = if estimates.len() > most {
                estimates.select_nth_unstable_by(most, |a, b| b.cmp(a));
                estimates.split_off(most)
            } else {
                Vec::new()
            };
            estimates.sort_unstable_by(|a, b| b.cmp(a));
            for some in estimates.chunks(OPENED_AT_ONCE) {
                if some[0].0 + reach < best.bar() {
                    return false;
                }
                let owners = some.iter().map(|Estimate(_, slot)| self.owner(*slot));
                let new = owners.filter(|owner| !owner.modal || modal.insert(owner.person));
                let owners: Vec<u32> = new.map(|owner| owner.person).collect();
                self.scan_people(&owners, near, best);
                self.compare_faces(near, best);
                opened.extend(owners);
            }
            estimates = rest;
            estimates.retain(|estimate| estimate.0 + reach >= best.bar());
            if estimates.len() * MANY > people {
                opened.sort_unstable();
                near.opened = opened;
                return true;
            }
            most = OPENED_MORE;
        }
        false
    }
}

/// The standard deviation of estimates.
fn spread(estimates: &[Estimate]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a standard deviation")]
    let count = estimates.len().max(1) as f32;
    let mean = estimates.iter().map(|one| one.0).sum::<f32>() / count;
    let squares = estimates.iter().map(|one| (one.0 - mean) * (one.0 - mean));
    (squares.sum::<f32>() / count).sqrt()
}

/// Searches for faces. All are of one state, with one filter.
pub(super) fn faces(
    state: &State,
    searches: &mut [Search],
    k: usize,
    effort: FaceEffort,
) -> Vec<Best<u64>> {
    let mut found: Vec<_> = searches
        .iter()
        .map(|_| Best::new(k, state.faces.len()))
        .collect();
    let few = state.faces.len() <= FEW;
    let (reach, deviations) = match effort {
        FaceEffort::Exact => return exact_faces(state, searches, found),
        FaceEffort::Certified if few => return exact_faces(state, searches, found),
        FaceEffort::Certified => (f32::INFINITY, DEVIATIONS),
        FaceEffort::Open { reach, deviations } => (reach, deviations),
    };
    let estimates = estimate_all(state, searches);
    let mut more = Vec::new();
    for ((search, best), estimates) in searches.iter_mut().zip(&mut found).zip(estimates) {
        let margin = search.margin(&state.faces.plane) / DEVIATIONS * deviations;
        let bars = state.faces.plane.bars(&search.probe, deviations);
        let mut near = Near::new(k, margin, bars);
        if search.open(estimates, reach, &mut near, best) {
            more.push((search, near, best));
        }
    }
    others(state, more);
    found
}

/// Every face, by code.
fn exact_faces(
    state: &State,
    searches: &mut [Search],
    mut found: Vec<Best<u64>>,
) -> Vec<Best<u64>> {
    for (search, best) in searches.iter_mut().zip(&mut found) {
        for slot in state.faces.slots() {
            search.offer_exact(slot, best);
        }
        search.work.exhaustive = true;
    }
    found
}

/// Offers the faces of all identities that were not opened.
fn others(state: &State, mut searches: Vec<(&mut Search, Near, &mut Best<u64>)>) {
    if searches.is_empty() {
        return;
    }
    let plane = &state.faces.plane;
    let blocks = plane.blocks();
    for block in 0..blocks {
        if block + BLOCKS_AHEAD < blocks {
            plane.prefetch_block(block + BLOCKS_AHEAD);
        }
        for (search, near, best) in &mut searches {
            search.scan_block(block, u32::MAX, near, best);
        }
    }
    for (search, mut near, best) in searches {
        search.compare_faces(&mut near, best);
        search.work.exhaustive = true;
    }
}
