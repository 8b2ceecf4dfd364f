//! Searches for people that look at block after block, until somebody is sure.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Best, DEVIATIONS, Ranked, SURE, Search, TOGETHER};
use crate::{
    blocks::{at, row},
    kernel::{BLOCK, Sums},
    people::Owner,
    plane::Estimate,
};

/// [`DEVIATIONS`] for [`super::Effort::Normal`]: of people exactly at the floor, one in 370 is
/// overlooked.
pub(super) const NORMAL: f32 = 3.0;
/// With no more people than this, everybody is looked at.
const PEOPLE_FEW: usize = 4 << 10;
/// Of the cells, one in this many is looked at in the order of nearness, the others as they lie.
const NEAR: usize = 8;
/// The nearest cells are looked at even if somebody is sure, at least as many as this: whoever else may
/// be meant, one person under two identities above all, lies there.
const NEAR_MIN: usize = 16;
/// Blocks that a number notes. Those whose heads lie together are noted by one.
const NOTED: usize = 64;

/// A search under way.
struct UnderWay<'a, 'b> {
    search: &'b mut Search<'a>,
    /// Hits to begin with.
    best: Best<u64>,
    ranked: Ranked,
    floor: f32,
    margin: f32,
    /// Blocks that were looked at, a bit each; or nothing.
    seen: Vec<u64>,
    /// Somebody who is sure ends it; somebody is.
    ends: bool,
    sure: bool,
    /// Rows of identities with faces in the excluded track.
    excluded: &'b [u32],
}

/// The nearest cells alone.
pub(super) fn in_cells<'a>(
    search: &mut Search<'a>,
    many: usize,
    k: usize,
    floor: f32,
    excluded: &[u32],
) -> Best<u64> {
    let mut one = UnderWay::begin(search, k, floor, excluded);
    let (cells, probe) = (&one.search.state.cells, Arc::clone(&one.search.probe));
    one.look_near(cells.nearest(&probe, many));
    one.end()
}

/// Everybody who may be at least as similar as `floor`, the nearest cells first, until somebody is
/// sure. All searches are of one state; many of them share the threads of the rayon pool.
pub(super) fn normal(
    searches: &mut [Search],
    k: usize,
    floor: f32,
    excluded: &[u32],
) -> Vec<Best<u64>> {
    let begin = |search| {
        let mut one = UnderWay::begin(search, k, floor, excluded);
        one.look_first();
        one
    };
    if let [search] = searches {
        let mut one = begin(search);
        if !one.sure {
            look_everywhere(&mut [&mut one]);
        }
        return vec![one.end()];
    }
    let mut all: Vec<UnderWay> = searches.par_iter_mut().map(begin).collect();
    // Few are left as a rule: those share each pass over the heads.
    let mut unsure: Vec<_> = all.iter_mut().filter(|one| !one.sure).collect();
    unsure.par_chunks_mut(TOGETHER).for_each(look_everywhere);
    all.into_par_iter().map(UnderWay::end).collect()
}

/// How similar somebody has to be to end the search: who is below the floor is no answer.
fn enough(floor: f32) -> f32 {
    SURE.max(floor)
}

impl<'a, 'b> UnderWay<'a, 'b> {
    fn begin(search: &'b mut Search<'a>, k: usize, floor: f32, excluded: &'b [u32]) -> Self {
        let margin = search.margin(&search.state.cells.plane) / DEVIATIONS * NORMAL;
        let best = search.begin(k, excluded);
        let ends = search.state.people.len() > PEOPLE_FEW;
        Self {
            sure: ends && best.best() >= enough(floor),
            best,
            ranked: search.ranked(k, floor - margin),
            floor,
            margin,
            seen: Vec::new(),
            ends,
            excluded,
            search,
        }
    }

    /// Looks at a vector above the bar; the search is over if it is sure.
    #[inline]
    fn take(&mut self, estimate: Estimate) {
        if self.search.may_count(estimate.1) {
            self.ranked.offer(estimate);
            let may_end = self.ends && !self.sure && estimate.0 >= enough(self.floor);
            self.sure |= may_end && self.is_sure(estimate.1);
        }
    }

    /// Whether whoever has this representative is the one: nobody else is as similar.
    fn is_sure(&mut self, slot: u32) -> bool {
        let Owner { person, .. } = self.search.owner(slot);
        self.search.representative(slot).get() >= enough(self.floor)
            && !self.excluded.contains(&person)
            && self.search.counts(person)
    }

    /// The nearest cells, where there are many people.
    fn look_first(&mut self) {
        if self.ends {
            let (cells, probe) = (&self.search.state.cells, Arc::clone(&self.search.probe));
            let many = (cells.many() / NEAR).max(NEAR_MIN);
            self.look_near(cells.nearest_first(&probe).take(many));
        }
    }

    /// The blocks of some cells.
    fn look_near(&mut self, cells: impl Iterator<Item = Vec<usize>>) {
        let (plane, probe) = (
            &self.search.state.cells.plane,
            Arc::clone(&self.search.probe),
        );
        self.seen = vec![0; plane.blocks().div_ceil(NOTED)];
        for (number, blocks) in cells.enumerate() {
            if self.sure && number >= NEAR_MIN {
                return;
            }
            blocks.iter().for_each(|block| plane.prefetch_block(*block));
            for block in blocks {
                self.seen[block / NOTED] |= 1 << (block % NOTED);
                let bar = self.ranked.bar;
                let whole = plane.above(&probe, block, u32::MAX, bar, |one| self.take(one));
                self.search.scanned(plane, whole);
            }
        }
    }

    /// Those of some heads that lie together that were not looked at yet; the first is that of `block`.
    fn look_at(&mut self, heads: &[u8], block: usize, taken: u64, sums: &mut [Sums]) {
        let (plane, probe) = (
            &self.search.state.cells.plane,
            Arc::clone(&self.search.probe),
        );
        let there = plane.blocks().saturating_sub(block).min(sums.len());
        let seen = self.seen.get(block / NOTED).unwrap_or(&0) >> (block % NOTED);
        let wanted = u64::MAX.unbounded_shr(row(NOTED - there)) & taken & !seen;
        let mut reached = plane.heads_reach(heads, &probe, wanted, self.ranked.bar, sums);
        self.search
            .scanned_heads(plane, wanted.count_ones(), reached.count_ones());
        while reached != 0 {
            let number = at(reached.trailing_zeros());
            reached &= reached - 1;
            let (block, bar) = (block + number, self.ranked.bar);
            let take = |one| self.take(one);
            plane.rest_above(&probe, block, u32::MAX, bar, &mut sums[number], take);
        }
    }

    /// Looks at the codes of the best.
    fn end(mut self) -> Best<u64> {
        let Self {
            search,
            excluded,
            floor,
            margin,
            ..
        } = self;
        let everywhere = search.work.exhaustive;
        self.ranked.shrink();
        let everybody = self.ranked.bar.floor == f32::NEG_INFINITY;
        let ranked = self.ranked.sorted();
        search.compare(ranked, floor, margin, excluded, &mut self.best);
        // Whether they count is known only after a look at their faces: the best may all not.
        if everywhere && !everybody && self.best.heap.is_empty() {
            search.in_order(floor, margin, excluded, &mut self.best);
        }
        self.best
    }
}

/// All blocks that each search has not looked at yet, until it is sure. All are of one state.
fn look_everywhere(all: &mut [&mut UnderWay]) {
    let Some(state) = all.first().map(|one| one.search.state) else {
        return;
    };
    let plane = &state.cells.plane;
    let mut sums = vec![[0; BLOCK]; plane.heads_together()];
    for (number, heads) in plane.heads().enumerate() {
        let mut over = true;
        let first = number * sums.len();
        let taken = state.cells.taken(first, sums.len());
        for one in all.iter_mut().filter(|one| !one.sure) {
            one.look_at(heads, first, taken, &mut sums);
            over &= one.sure;
        }
        if over {
            return;
        }
    }
    for one in all.iter_mut().filter(|one| !one.sure) {
        one.search.work.exhaustive = true;
    }
}
