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
    fn begin(&self, k: usize, excluded: &[u32]) -> Best<u64> {
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
    fn ranked(&self, k: usize, floor: f32) -> Ranked {
        let keep = RANKED_MIN.max(k.saturating_mul(PER_HIT));
        Ranked::new(keep.min(self.state.cells.len().max(1)), floor)
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
    fn in_order(&mut self, floor: f32, margin: f32, excluded: &[u32], best: &mut Best<u64>) {
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
    fn in_cells(
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
        let blocks: Vec<usize> = blocks.collect();
        rank(&blocks, &mut [(&mut *self, &mut ranked)]);
        self.compare(ranked.sorted(), f32::NEG_INFINITY, margin, excluded, best);
    }

    /// Looks at codes, best estimates first, until the others can neither be hits nor reach `floor`.
    fn compare(
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
        let unsure = all.into_iter().filter_map(|(search, best)| {
            let floor = floor.max(best.bar());
            if !few {
                if best.best() >= SURE {
                    return None;
                }
                // Whoever is in the cells is looked at again.
                *best = search.begin(k, &excluded);
            }
            Some((search, best, floor))
        });
        everywhere(unsure.collect(), k, &excluded);
    }
    found
}

/// Everybody who may be at least as similar as the floor beside each search.
fn everywhere(mut all: Vec<(&mut Search, &mut Best<u64>, f32)>, k: usize, excluded: &[u32]) {
    let Some((Search { state, .. }, ..)) = all.first() else {
        return;
    };
    let plane = &state.cells.plane;
    let blocks = state.cells.taken_blocks();
    let margin = |search: &Search| search.margin(plane) * NORMAL;
    let begun = all.iter();
    let begun = begun.map(|(search, _, floor)| search.ranked(k, floor - margin(search)));
    let mut ranked: Vec<Ranked> = begun.collect();
    let searches = all.iter_mut().map(|(search, ..)| &mut **search);
    rank(&blocks, &mut searches.zip(&mut ranked).collect::<Vec<_>>());
    for ((search, best, floor), mut ranked) in all.into_iter().zip(ranked) {
        let margin = margin(search);
        search.work.exhaustive = true;
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
    let mut together: Vec<_> = searches.iter_mut().zip(&mut all).collect();
    let blocks = state.cells.taken_blocks();
    each(
        &blocks,
        &mut together,
        |_| f32::NEG_INFINITY,
        |all, one| all.push(one),
    );
    all
}

/// Ranks the representatives of some blocks for each search; all are of one state.
fn rank(blocks: &[usize], searches: &mut [(&mut Search, &mut Ranked)]) {
    each(
        blocks,
        searches,
        |ranked| ranked.bar,
        |ranked, one| ranked.offer(one),
    );
}

/// Gives each search what those in some blocks who may count are estimated at, above its bar; all
/// are of one state.
#[inline]
fn each<Taker>(
    blocks: &[usize],
    searches: &mut [(&mut Search, &mut Taker)],
    bar: impl Fn(&Taker) -> f32,
    take: impl Fn(&mut Taker, Estimate),
) {
    let Some((Search { state, .. }, _)) = searches.first() else {
        return;
    };
    let plane = &state.cells.plane;
    for (number, block) in blocks.iter().enumerate() {
        if let Some(ahead) = blocks.get(number + BLOCKS_AHEAD) {
            plane.prefetch_block(*ahead);
        }
        for (search, taker) in &mut *searches {
            for estimate in plane.above(&search.probe, *block, u32::MAX, bar(taker)) {
                if search.may_count(estimate.1) {
                    take(taker, estimate);
                }
            }
        }
    }
    for (search, _) in searches {
        search.scanned(blocks.len());
    }
}
