//! Who is like this?

use std::collections::BinaryHeap;

use super::{BLOCKS_AHEAD, Best, DEVIATIONS, Effort, FEW, Ranked, SURE, Search};
use crate::{
    blocks::{at, row},
    kernel::BLOCK,
    people::Owner,
    plane::Estimate,
    state::State,
};

/// The share of [`DEVIATIONS`] for [`Effort::Normal`], 3.5: of people exactly at the floor, one in
/// 4,000 is overlooked.
const NORMAL: f32 = 3.5 / DEVIATIONS;
/// The best by estimate that are looked at by code, for each one asked for, and at least.
const PER_HIT: usize = 2;
const RANKED_MIN: usize = 24;
/// The cells looked at first by [`Effort::Normal`].
const CELLS: usize = 24;
/// With no more people than this, [`Effort::Normal`] looks at everybody's sketch at once.
const PEOPLE_FEW: usize = 16 << 10;

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
        let keep = RANKED_MIN.max(k.saturating_mul(PER_HIT));
        Ranked::new(keep.min(self.state.cells.len().max(1)), floor)
    }

    /// Everybody, by code.
    pub(super) fn exact(&mut self, excluded: &[u32], best: &mut Best<u64>) {
        let cells = &self.state.cells;
        for slot in 0..row(cells.blocks() * BLOCK) {
            if cells.plane.holds(at(slot)) {
                self.offer_person(slot, excluded, best);
            }
        }
        self.work.exhaustive = true;
    }

    pub(super) fn offer_person(&mut self, slot: u32, excluded: &[u32], best: &mut Best<u64>) {
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

    /// The representatives of the nearest cells.
    pub(super) fn in_cells(
        &mut self,
        many: usize,
        k: usize,
        margin: f32,
        excluded: &[u32],
        best: &mut Best<u64>,
    ) {
        let cells = &self.state.cells;
        let mut ranked = self.ranked(k, f32::INFINITY);
        let near = cells.nearest(&self.probe, many);
        let blocks = near.iter().flat_map(|cell| cells.blocks_of(*cell));
        rank(blocks.collect(), &mut [(&mut *self, &mut ranked)]);
        self.compare(ranked.sorted(), f32::NEG_INFINITY, margin, excluded, best);
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
    let mut found: Vec<_> = searches.iter().map(|s| s.begin(k, &excluded)).collect();
    let effort = match effort {
        Effort::Certified if state.cells.len() <= FEW => Effort::Exact,
        Effort::Cells(_) | Effort::Normal | Effort::Certified | Effort::Exact => effort,
    };
    let few = state.people.len() <= PEOPLE_FEW;
    let mut all: Vec<(&mut Search, &mut Best<u64>)> = searches.iter_mut().zip(&mut found).collect();
    for (search, best) in &mut all {
        let margin = search.margin(&state.cells.plane);
        match effort {
            Effort::Exact => search.exact(&excluded, best),
            Effort::Certified => {
                search.in_order(f32::NEG_INFINITY, margin, &excluded, best);
            }
            Effort::Cells(many) => search.in_cells(many, k, margin, &excluded, best),
            Effort::Normal if !few => {
                search.in_cells(CELLS, k, margin * NORMAL, &excluded, best);
            }
            Effort::Normal => {}
        }
    }
    if effort == Effort::Normal {
        all.retain(|(_, best)| few || best.best() < SURE);
        everywhere(all, k, floor, &excluded);
    }
    found
}

/// Everybody who may be at least `floor` similar, or more than whoever was found.
pub(super) fn everywhere(
    mut all: Vec<(&mut Search, &mut Best<u64>)>,
    k: usize,
    floor: f32,
    excluded: &[u32],
) {
    let Some((Search { state, .. }, _)) = all.first() else {
        return;
    };
    let blocks = state.cells.taken_blocks();
    let bounds: Vec<(f32, f32)> = all
        .iter()
        .map(|(search, best)| {
            let margin = search.margin(&search.state.cells.plane) * NORMAL;
            (floor.max(best.bar()), margin)
        })
        .collect();
    let begun = all.iter().zip(&bounds);
    let begun = begun.map(|((search, _), (floor, margin))| search.ranked(k, floor - margin));
    let mut ranked: Vec<Ranked> = begun.collect();
    let mut together: Vec<_> = all
        .iter_mut()
        .map(|(s, _)| &mut **s)
        .zip(&mut ranked)
        .collect();
    rank(blocks, &mut together);
    for (((search, best), mut ranked), (floor, margin)) in all.into_iter().zip(ranked).zip(bounds) {
        search.work.exhaustive = true;
        *best = search.begin(k, excluded);
        ranked.shrink();
        let everybody = ranked.bar == f32::NEG_INFINITY;
        search.compare(ranked.sorted(), floor, margin, excluded, best);
        // Whether they count is known only after a look at their faces: the best may all not.
        if !everybody && best.heap.is_empty() {
            search.in_order(floor, margin, excluded, best);
        }
    }
}

/// For each search, the estimates of everybody who may count.
pub(super) fn estimate_all(state: &State, searches: &mut [Search]) -> Vec<Vec<Estimate>> {
    let mut all: Vec<Vec<Estimate>> = searches.iter().map(|_| Vec::new()).collect();
    let plane = &state.cells.plane;
    let blocks = state.cells.taken_blocks();
    for block in blocks.iter().copied() {
        for (search, all) in searches.iter().zip(&mut all) {
            let everybody = plane.above(&search.probe, block, u32::MAX, f32::NEG_INFINITY);
            all.extend(everybody.filter(|one| search.may_count(one.1)));
        }
    }
    for search in searches {
        search.scanned(blocks.len());
    }
    all
}

/// Ranks the representatives of some blocks for each search; all are of one state.
pub(super) fn rank(blocks: Vec<usize>, searches: &mut [(&mut Search, &mut Ranked)]) {
    let Some((Search { state, .. }, _)) = searches.first() else {
        return;
    };
    let plane = &state.cells.plane;
    for (number, block) in blocks.iter().enumerate() {
        if let Some(ahead) = blocks.get(number + BLOCKS_AHEAD) {
            plane.prefetch_block(*ahead);
        }
        for (search, ranked) in &mut *searches {
            for estimate in plane.above(&search.probe, *block, u32::MAX, ranked.bar) {
                if search.may_count(estimate.1) {
                    ranked.offer(estimate);
                }
            }
        }
    }
    for (search, _) in searches {
        search.scanned(blocks.len());
    }
}
