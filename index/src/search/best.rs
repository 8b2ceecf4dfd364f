//! The best of what is found, and of what may be.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use crate::{code::Bars, embedding::Similarity, kernel::Bar, plane::Estimate};

/// Room is made for as many from the beginning, at most: many searches may be under way.
const ROOM: usize = 128;

/// The k best of what was offered, best first; ties go to the lower id.
pub(super) struct Best<Id> {
    k: usize,
    /// Rows of identities with several representatives that were offered, or refused.
    pub(super) modal: HashSet<u32>,
    /// The worst of them on top.
    pub(super) heap: BinaryHeap<Reverse<(Similarity, Reverse<Id>, u32)>>,
}

impl<Id: Ord + Copy> Best<Id> {
    /// Holds at most `k`, out of `of`.
    pub(super) fn new(k: usize, of: usize) -> Self {
        Self {
            k,
            modal: HashSet::new(),
            heap: BinaryHeap::with_capacity(k.min(of).min(ROOM)),
        }
    }

    pub(super) fn offer(&mut self, similarity: Similarity, id: Id, slot: u32) {
        let entry = Reverse((similarity, Reverse(id), slot));
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    /// What has to be reached to get in: the worst of k, or less than anything.
    pub(super) fn bar(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse((similarity, ..))) if self.is_full() => similarity.get(),
            _ => f32::NEG_INFINITY,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    pub(super) fn best(&self) -> f32 {
        let best = self
            .heap
            .iter()
            .map(|Reverse((similarity, ..))| similarity.get());
        best.fold(f32::NEG_INFINITY, f32::max)
    }

    pub(super) fn into_slots(self) -> impl Iterator<Item = (Similarity, u32)> {
        let best_first = self.heap.into_sorted_vec().into_iter();
        best_first.map(|Reverse((similarity, _, slot))| (similarity, slot))
    }
}

/// Of all estimates that were offered, those above a floor, and the best of the others.
pub(super) struct Ranked {
    entries: Vec<Estimate>,
    /// How many of the best are kept whatever the floor.
    keep: usize,
    /// What is above this is kept even if it is not among the best.
    floor: f32,
    bars: Bars,
    /// Nothing below has a chance any more.
    pub(super) bar: Bar,
}

impl Ranked {
    pub(super) fn new(keep: usize, floor: f32, bars: Bars) -> Self {
        Self {
            entries: Vec::with_capacity(keep.min(ROOM) * 8),
            keep,
            floor,
            bars,
            bar: Bar::NONE,
        }
    }

    #[inline]
    pub(super) fn offer(&mut self, estimate: Estimate) {
        self.entries.push(estimate);
        if self.entries.len() >= self.keep * 8 {
            self.shrink();
        }
    }

    /// Drops what has no chance.
    pub(super) fn shrink(&mut self) {
        if self.entries.len() <= self.keep {
            return;
        }
        let keep = self.keep - 1;
        let (_, worst, _) = self.entries.select_nth_unstable_by(keep, |a, b| b.cmp(a));
        let bar = worst.0.min(self.floor);
        // Who is below the floor is worth no look at more than the head.
        let Bar { head, .. } = self.bars.above(self.floor);
        self.bar = Bar { floor: bar, head };
        if bar < worst.0 {
            self.entries.retain(|entry| entry.0 >= bar);
            // What the floor keeps may be many: do not sort it again and again.
            if self.entries.len() * 2 > self.keep * 8 {
                self.keep = self.entries.len();
            }
        } else {
            self.entries.truncate(self.keep);
        }
    }

    /// What is left, best first.
    pub(super) fn sorted(mut self) -> Vec<Estimate> {
        self.shrink();
        self.entries.sort_unstable_by(|a, b| b.cmp(a));
        self.entries
    }
}

/// Faces gathered until their codes are compared.
pub(super) struct Near {
    /// Hits asked for.
    k: usize,
    /// How far below a hit's cosine its estimate may be.
    pub(super) margin: f32,
    /// Codes compared at once, at most.
    pub(super) limit: usize,
    bars: Bars,
    /// Estimates below are not gathered.
    pub(super) bar: Bar,
    pub(super) entries: Vec<Estimate>,
    /// Rows of identities whose faces were offered before, in order.
    pub(super) opened: Vec<u32>,
}

impl Near {
    pub(super) fn new(k: usize, margin: f32, bars: Bars) -> Self {
        Self {
            k,
            margin,
            limit: usize::MAX,
            bars,
            bar: Bar::NONE,
            entries: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// Gathers only what may be a hit, where the worst so far is this similar.
    pub(super) fn raise(&mut self, worst: f32) {
        self.bar = self.bars.above(worst - self.margin);
    }

    /// What was gathered and may be a hit, best first.
    pub(super) fn drain(&mut self) -> Vec<Estimate> {
        let mut entries = std::mem::take(&mut self.entries);
        if entries.len() > self.k {
            // The k-th hit is about as similar as the k-th estimate.
            let (_, at_k, _) = entries.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            let least = at_k.0 - 1.5 * self.margin;
            entries.retain(|entry| entry.0 >= least);
        }
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.truncate(self.limit);
        entries
    }
}
