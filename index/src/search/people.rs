//! Who is like this?

use std::collections::BinaryHeap;

use super::{BLOCKS_AHEAD, Best, DEVIATIONS, Effort, FEW, Ranked, SURE, Search};
use crate::{
    blocks::{at, row},
    code::Probe,
    kernel::{BLOCK, Bar, Sums},
    people::Owner,
    plane::Estimate,
    state::State,
};

/// [`DEVIATIONS`] for [`Effort::Normal`]: of people exactly at the floor, one in 700 is overlooked.
const NORMAL: f32 = 3.0;
/// The best by estimate that are looked at by code, for each one asked for, and at least.
const PER_HIT: usize = 2;
const RANKED_MIN: usize = 24;
/// With no more people than this, [`Effort::Normal`] looks at everybody's sketch.
const PEOPLE_FEW: usize = 4 << 10;
/// Of the cells, one in this many is looked at in the order of nearness, the others as they lie.
const NEAR: usize = 4;

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

    /// Whether whoever has this representative is the one: nobody else is as similar.
    fn is_sure(&mut self, Estimate(estimate, slot): Estimate, excluded: &[u32]) -> bool {
        estimate >= SURE && {
            let Owner { person, .. } = self.owner(slot);
            self.representative(slot).get() >= SURE
                && !excluded.contains(&person)
                && self.counts(person)
        }
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
    if let Effort::Cells(_) | Effort::Normal = effort {
        by_blocks(searches, &mut found, k, floor, effort, &excluded);
        return found;
    }
    for (search, best) in searches.iter_mut().zip(&mut found) {
        if effort == Effort::Exact {
            search.exact(&excluded, best);
        } else {
            let margin = search.margin(&state.cells.plane);
            search.in_order(f32::NEG_INFINITY, margin, &excluded, best);
        }
    }
    found
}

/// Everybody who may be at least as similar as `floor`, the nearest cells first, until somebody is
/// sure; or the nearest cells alone.
fn by_blocks(
    searches: &mut [Search],
    found: &mut [Best<u64>],
    k: usize,
    floor: f32,
    effort: Effort,
    excluded: &[u32],
) {
    let Some(Search { state, .. }) = searches.first() else {
        return;
    };
    let state = *state;
    let margins = searches.iter().map(|s| s.margin(&state.cells.plane));
    let margins: Vec<f32> = margins.map(|m| m / DEVIATIONS * NORMAL).collect();
    let ends = state.people.len() > PEOPLE_FEW;
    let probes: Vec<Probe> = searches.iter().map(|search| search.probe.clone()).collect();
    let under_way = searches.iter_mut().zip(&margins);
    let mut under_way: Vec<UnderWay> = under_way
        .map(|(search, margin)| UnderWay {
            ranked: search.ranked(k, floor - margin),
            search,
            seen: Vec::new(),
            ends,
            sure: false,
            excluded,
        })
        .collect();
    let cells = &state.cells;
    for (one, probe) in under_way.iter_mut().zip(&probes) {
        match effort {
            Effort::Cells(many) => {
                one.look_near(cells.nearest(probe, many), probe);
            }
            Effort::Normal | Effort::Certified | Effort::Exact if ends => {
                one.look_near(cells.nearest_first(probe).take(cells.many() / NEAR), probe);
            }
            Effort::Normal | Effort::Certified | Effort::Exact => {}
        }
    }
    if effort == Effort::Normal {
        look_everywhere(state, &mut under_way, &probes);
    }
    for ((one, best), margin) in under_way.into_iter().zip(found).zip(margins) {
        let UnderWay {
            search,
            mut ranked,
            sure,
            ..
        } = one;
        search.work.exhaustive = effort == Effort::Normal && !sure;
        ranked.shrink();
        let everybody = ranked.bar.floor == f32::NEG_INFINITY;
        search.compare(ranked.sorted(), floor, margin, excluded, best);
        // Whether they count is known only after a look at their faces: the best may all not.
        if search.work.exhaustive && !everybody && best.heap.is_empty() {
            search.in_order(floor, margin, excluded, best);
        }
    }
}

/// A search that looks at block after block.
struct UnderWay<'a, 'b> {
    search: &'b mut Search<'a>,
    ranked: Ranked,
    /// Blocks that were looked at, or nothing: a bit each, a number for those whose heads lie together.
    seen: Vec<u64>,
    /// Somebody who is sure ends it; somebody is.
    ends: bool,
    sure: bool,
    /// Rows of identities with faces in the excluded track.
    excluded: &'b [u32],
}

impl UnderWay<'_, '_> {
    /// Looks at a vector above the bar; the search is over if it is sure.
    #[inline]
    fn take(&mut self, estimate: Estimate) {
        if self.search.may_count(estimate.1) {
            self.ranked.offer(estimate);
            self.sure |= self.ends && self.search.is_sure(estimate, self.excluded);
        }
    }

    /// The blocks of some cells.
    fn look_near(&mut self, cells: impl Iterator<Item = Vec<usize>>, probe: &Probe) {
        let plane = &self.search.state.cells.plane;
        let together = plane.heads_together();
        self.seen = vec![0; plane.blocks().div_ceil(together)];
        for blocks in cells {
            blocks.iter().for_each(|block| plane.prefetch_block(*block));
            for block in blocks {
                self.seen[block / together] |= 1 << (block % together);
                let bar = self.ranked.bar;
                let whole = plane.above(probe, block, u32::MAX, bar, |one| self.take(one));
                self.search.scanned(whole);
            }
            if self.sure {
                return;
            }
        }
    }

    /// Those of some heads that lie together that were not looked at yet; the first is that of `block`.
    fn look_at(&mut self, heads: &[u8], block: usize, probe: &Probe, sums: &mut [Sums]) {
        let plane = &self.search.state.cells.plane;
        let there = plane.blocks().saturating_sub(block).min(sums.len());
        let seen = self.seen.get(block / sums.len()).unwrap_or(&0);
        let wanted = u64::MAX.unbounded_shr(row(64 - there)) & !seen;
        let mut reached = plane.heads_reach(heads, probe, wanted, self.ranked.bar, sums);
        self.search
            .scanned_heads(wanted.count_ones(), reached.count_ones());
        while reached != 0 {
            let number = at(reached.trailing_zeros());
            reached &= reached - 1;
            let (bar, sums) = (self.ranked.bar, &mut sums[number]);
            plane.rest_above(probe, block + number, u32::MAX, bar, sums, |one| {
                self.take(one)
            });
        }
    }
}

/// All blocks that were not looked at yet.
fn look_everywhere(state: &State, all: &mut [UnderWay], probes: &[Probe]) {
    let plane = &state.cells.plane;
    let mut sums = vec![[0; BLOCK]; plane.heads_together()];
    for (number, heads) in plane.heads().enumerate() {
        let mut over = true;
        for (one, probe) in all.iter_mut().zip(probes).filter(|(one, _)| !one.sure) {
            one.look_at(heads, number * sums.len(), probe, &mut sums);
            over &= one.sure;
        }
        if over {
            return;
        }
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
        for (search, all) in searches.iter_mut().zip(&mut all) {
            plane.above(&search.probe, block, u32::MAX, Bar::NONE, |one| {
                if search.may_count(one.1) {
                    all.push(one);
                }
            });
            search.scanned(true);
        }
    }
    all
}
