//! Who is like this?

use std::collections::BinaryHeap;

use super::{
    BLOCKS_AHEAD, Best, Effort, FEW, Ranked, Search,
    under_way::{self, NORMAL},
};
use crate::{
    blocks::{at, row},
    kernel::{BLOCK, Bar},
    people::Owner,
    plane::Estimate,
    state::State,
};

/// The best by estimate that are looked at by code, for each one asked for, and at least.
const PER_HIT: usize = 2;
const RANKED_MIN: usize = 24;

impl Search<'_> {
    /// Hits to begin with: the identities with faces in the excluded track, which have other
    /// representatives than the cells do.
    pub(super) fn begin(&self, k: usize, excluded: &[u32]) -> Best<u64> {
        let people = &self.state.people;
        let mut best = Best::new(k, people.len());
        for person in excluded {
            if self.counts(*person)
                && let Some(similarity) = self.without(*person)
            {
                best.offer(similarity, people.get(*person).id, *person);
            }
        }
        best
    }

    /// As many of the best estimates as are looked at by code for `k` hits.
    pub(super) fn ranked(&self, k: usize, floor: f32) -> Ranked {
        let cells = &self.state.cells;
        let keep = RANKED_MIN.max(k.saturating_mul(PER_HIT));
        let bars = cells.plane.bars(&self.probe, NORMAL);
        Ranked::new(keep.min(cells.len().max(1)), floor, bars)
    }

    /// Everybody, by code.
    fn exact(&mut self, excluded: &[u32], best: &mut Best<u64>) {
        let cells = &self.state.cells;
        for slot in 0..row(cells.blocks() * BLOCK) {
            if cells.plane.holds(at(slot)) {
                self.offer_person(slot, excluded, best);
            }
        }
        self.work.exhaustive = true;
    }

    fn offer_person(&mut self, slot: u32, excluded: &[u32], best: &mut Best<u64>) {
        let Owner { person, modal } = self.owner(slot);
        // Of several representatives the most similar one counts, and the others no more.
        if modal && !best.modal.insert(person) {
            return;
        }
        // A look at all faces may cost more than one at a code: it comes last where the code can
        // say no.
        let full = best.is_full();
        if excluded.contains(&person) || !full && !self.counts(person) {
            return;
        }
        let similarity = if modal {
            self.most_similar(person)
        } else {
            self.representative(slot)
        };
        if !full || similarity.get() >= best.bar() && self.counts(person) {
            best.offer(similarity, self.state.people.get(person).id, person);
        }
    }

    /// Everybody, in the order of their estimates, until nobody further down can be among the hits, or
    /// reach `floor` or whoever was found.
    pub(super) fn in_order(
        &mut self,
        floor: f32,
        margin: f32,
        excluded: &[u32],
        best: &mut Best<u64>,
    ) {
        let all = estimate_all(self.state, std::slice::from_mut(self)).pop();
        let all = all.unwrap_or_default();
        self.work.exhaustive = true;
        let mut heap = BinaryHeap::from(all);
        while let Some(Estimate(estimate, slot)) = heap.pop() {
            let most = estimate + margin;
            if most < best.bar() || most < floor && most < best.best() {
                break;
            }
            self.offer_person(slot, excluded, best);
        }
    }

    /// Looks at codes, best estimates first, until the others can neither be hits nor reach `floor`.
    pub(super) fn compare(
        &mut self,
        ranked: Vec<Estimate>,
        floor: f32,
        margin: f32,
        excluded: &[u32],
        best: &mut Best<u64>,
    ) {
        let cells = &self.state.cells;
        let more = |slot| cells.prefetch_owner(slot);
        for Estimate(estimate, slot) in cells.plane.in_turn(&ranked, more) {
            if estimate + margin < best.bar().max(floor.min(best.best())) {
                break;
            }
            self.offer_person(slot, excluded, best);
        }
    }
}

/// Searches for people. All are of one state, with one filter.
pub(super) fn identities(
    searches: &mut [Search],
    k: usize,
    floor: f32,
    effort: Effort,
) -> Vec<Best<u64>> {
    let Some(Search { state, .. }) = searches.first() else {
        return Vec::new();
    };
    let state = *state;
    let excluded = searches[0].excluded();
    let find = |search: &mut Search| {
        let mut best = search.begin(k, &excluded);
        if effort == Effort::Certified && state.cells.len() > FEW {
            let margin = search.margin(&state.cells.plane);
            search.in_order(f32::NEG_INFINITY, margin, &excluded, &mut best);
        } else {
            search.exact(&excluded, &mut best);
        }
        best
    };
    match effort {
        Effort::Cells(many) => {
            let find = |search| under_way::in_cells(search, many, k, floor, &excluded);
            searches.iter_mut().map(find).collect()
        }
        Effort::Normal => under_way::normal(searches, k, floor, &excluded),
        Effort::Certified | Effort::Exact => searches.iter_mut().map(find).collect(),
    }
}

/// For each search, the estimates of everybody who may count.
pub(super) fn estimate_all(state: &State, searches: &mut [Search]) -> Vec<Vec<Estimate>> {
    let mut all: Vec<Vec<Estimate>> = searches.iter().map(|_| Vec::new()).collect();
    let plane = &state.cells.plane;
    for block in 0..plane.blocks() {
        if block + BLOCKS_AHEAD < plane.blocks() {
            plane.prefetch_block(block + BLOCKS_AHEAD);
        }
        if state.cells.taken(block, 1) & 1 == 0 {
            continue;
        }
        for (search, all) in searches.iter_mut().zip(&mut all) {
            plane.above(&search.probe, block, u32::MAX, Bar::NONE, |one| {
                if search.may_count(one.1) {
                    all.push(one);
                }
            });
            search.scanned(plane, true);
        }
    }
    all
}
