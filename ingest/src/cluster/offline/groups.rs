//! Groups that grow together along a graph: the best pair first.

use std::{cmp::Ordering, collections::BinaryHeap};

use rayon::prelude::*;
use rollcall_index::Basis;

use super::{
    graph::Graph,
    matrix::{Rows, dot},
};

/// What a pair of groups is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// What its mean rests on.
    pub(super) basis: Basis,
    /// The length of the sum of its vectors.
    pub(super) length: f32,
}

/// How much speaks for making two groups one; what is not above 0 is never done.
pub(super) trait Judge: Sync {
    /// Of two groups and the cosine of their means.
    fn gain(&self, one: &Side, other: &Side, cosine: f32) -> f32;

    /// The spread of a group's cosines to strangers, in thousandths.
    fn strangers(&self, sum: &[f32], length: f32) -> u32;
}

/// Groups of faces.
pub(super) struct Groups {
    pub(super) dimension: usize,
    /// Of the vectors of all its faces; of a group that is part of another, anything.
    pub(super) sums: Vec<f32>,
    pub(super) sides: Vec<Side>,
    /// Of the faces of each track, squared.
    squares: Vec<f64>,
    /// The group that it has become a part of, or itself.
    parents: Vec<u32>,
    /// Groups that it is compared with, some of them parts of others by now.
    near: Vec<Vec<u32>>,
    /// How often it has changed.
    changes: Vec<u32>,
}

/// Groups that are compared with one, at most; of more, those who are most alike.
const NEAR_MAX: usize = 192;

#[derive(Clone, Copy, Debug)]
struct Pair {
    gain: f32,
    one: u32,
    other: u32,
    changes: (u32, u32),
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_gain = self.gain.total_cmp(&other.gain);
        by_gain.then((other.one, other.other).cmp(&(self.one, self.other)))
    }
}

/// What a group is made of at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) tracks: u32,
    pub(super) faces: u32,
    /// Of the faces of each track, squared.
    pub(super) squares: f64,
}

impl Groups {
    /// Groups with these sums of their vectors.
    pub(super) fn new(
        sums: Vec<f32>,
        dimension: usize,
        starts: impl ExactSizeIterator<Item = Start>,
    ) -> Self {
        let count = starts.len();
        let rows = Rows::new(&sums, dimension);
        let starts: Vec<Start> = starts.collect();
        let sides = starts.iter().enumerate().map(|(at, start)| {
            let length = dot(rows.row(at), rows.row(at)).sqrt();
            Side {
                basis: start.basis(length),
                length,
            }
        });
        Self {
            dimension,
            sides: sides.collect(),
            squares: starts.iter().map(|start| start.squares).collect(),
            parents: (0..u32_of(count)).collect(),
            near: Vec::new(),
            changes: vec![0; count],
            sums,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sides.len()
    }

    pub(super) fn sum(&self, group: usize) -> &[f32] {
        &self.sums[group * self.dimension..][..self.dimension]
    }

    /// The group that one has become a part of, or itself.
    pub(super) fn root(&self, mut group: u32) -> u32 {
        while self.parents[group as usize] != group {
            group = self.parents[group as usize];
        }
        group
    }

    /// What a group is made of.
    pub(super) fn start(&self, group: usize) -> Start {
        let basis = self.sides[group].basis;
        Start {
            tracks: basis.tracks,
            faces: basis.faces,
            squares: self.squares[group],
        }
    }

    /// Those that are not part of another, ascending.
    pub(super) fn roots(&self) -> Vec<u32> {
        let all = 0..u32_of(self.len());
        all.filter(|group| self.parents[*group as usize] == *group)
            .collect()
    }

    /// From now on groups are compared with whom the graph has as neighbours.
    pub(super) fn connect(&mut self, graph: &Graph) {
        let lists = graph.both_ways().into_iter();
        self.near = lists
            .map(|list| list.into_iter().map(|near| near.row).collect())
            .collect();
    }

    /// Those that are left, compared with nobody, and the number among them of each that there was. With `as_tracks`, each counts as one track.
    pub(super) fn compact(self, as_tracks: bool) -> (Vec<u32>, Self) {
        let roots = self.roots();
        let mut number = vec![0; self.len()];
        for (at, root) in (0u32..).zip(&roots) {
            number[*root as usize] = at;
        }
        let all = 0..u32_of(self.len());
        let now: Vec<u32> = all.map(|group| number[self.root(group) as usize]).collect();
        let start = |root: &u32| {
            let start = self.start(*root as usize);
            if as_tracks {
                Start::track(start.faces)
            } else {
                start
            }
        };
        let rows = Rows::new(&self.sums, self.dimension);
        let next = Self::new(rows.gather(&roots), self.dimension, roots.iter().map(start));
        (now, next)
    }

    /// Makes the pair one for which most speaks, until nothing speaks for any. Returns how many came together.
    pub(super) fn merge_all(&mut self, judge: &impl Judge) -> usize {
        let of_group = |group: &u32| {
            let near = self.canonical(*group);
            let judged = self.judged(*group, &near, judge).into_iter();
            // Each pair is found from both sides, unless a list was cut short.
            let found = judged.filter(|(other, gain)| {
                *gain > 0.0 && (group < other || !self.near[*other as usize].contains(group))
            });
            found
                .map(|(other, gain)| self.pair(*group, other, gain))
                .collect::<Vec<Pair>>()
        };
        let pairs: Vec<Vec<Pair>> = self.roots().par_iter().map(of_group).collect();
        let pairs: Vec<Pair> = pairs.into_iter().flatten().collect();
        let mut pairs = BinaryHeap::from(pairs);
        let mut merged = 0;
        while let Some(pair) = pairs.pop() {
            let now = |group: u32| self.changes[group as usize];
            let alive = |group: u32| self.parents[group as usize] == group;
            if !alive(pair.one)
                || !alive(pair.other)
                || pair.changes != (now(pair.one), now(pair.other))
            {
                continue;
            }
            let group = self.merge(pair.one, pair.other, judge);
            merged += 1;
            let near = self.canonical(group);
            let mut judged = self.judged(group, &near, judge);
            if judged.len() > NEAR_MAX {
                judged.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                judged.truncate(NEAR_MAX);
            }
            self.near[group as usize] = judged.iter().map(|(other, _)| *other).collect();
            for (other, gain) in judged {
                if gain > 0.0 {
                    pairs.push(self.pair(group, other, gain));
                }
            }
        }
        merged
    }

    fn pair(&self, one: u32, other: u32, gain: f32) -> Pair {
        Pair {
            gain,
            one,
            other,
            changes: (self.changes[one as usize], self.changes[other as usize]),
        }
    }

    /// The groups that one is compared with, as they are now.
    fn canonical(&self, group: u32) -> Vec<u32> {
        let near = self.near[group as usize].iter();
        let mut near: Vec<u32> = near.map(|other| self.root(*other)).collect();
        near.sort_unstable();
        near.dedup();
        near.retain(|other| *other != group);
        near
    }

    fn judged(&self, group: u32, near: &[u32], judge: &impl Judge) -> Vec<(u32, f32)> {
        let own = &self.sides[group as usize];
        let sum = self.sum(group as usize);
        let gain = |other: &u32| {
            let side = &self.sides[*other as usize];
            let cosine = dot(sum, self.sum(*other as usize)) / (own.length * side.length);
            (*other, judge.gain(own, side, cosine))
        };
        near.iter().map(gain).collect()
    }

    fn merge(&mut self, one: u32, other: u32, judge: &impl Judge) -> u32 {
        let (one_near, other_near) = (&self.near[one as usize], &self.near[other as usize]);
        // The longer list stays where it is.
        let (into, from) = if one_near.len() >= other_near.len() {
            (one, other)
        } else {
            (other, one)
        };
        let (to, of) = (into as usize, from as usize);
        let dimension = self.dimension;
        let [sum, added] = self
            .sums
            .get_disjoint_mut([
                to * dimension..(to + 1) * dimension,
                of * dimension..(of + 1) * dimension,
            ])
            .expect("two groups");
        sum.iter_mut()
            .zip(added)
            .for_each(|(sum, value)| *sum += *value);
        self.parents[of] = into;
        let near = std::mem::take(&mut self.near[of]);
        self.near[to].extend(near);
        self.changes[to] += 1;
        let length = dot(self.sum(to), self.sum(to)).sqrt();
        self.squares[to] += self.squares[of];
        let start = Start {
            tracks: self.sides[to].basis.tracks + self.sides[of].basis.tracks,
            faces: self.sides[to].basis.faces + self.sides[of].basis.faces,
            squares: self.squares[to],
        };
        self.sides[to] = Side {
            basis: Basis {
                strangers: judge.strangers(self.sum(to), length),
                ..start.basis(length)
            },
            length,
        };
        into
    }
}

impl Start {
    /// A track of so many faces.
    pub(super) fn track(faces: u32) -> Self {
        Self {
            tracks: 1,
            faces,
            squares: f64::from(faces).powi(2),
        }
    }

    /// What the mean of such a group rests on, if the sum of its vectors is so long.
    fn basis(self, length: f32) -> Basis {
        let faces = f64::from(self.faces);
        Basis {
            tracks: self.tracks,
            faces: self.faces,
            one_track: thousandths(self.squares / (faces * faces)),
            length: thousandths(f64::from(length) / faces),
            strangers: 0,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "of what is 0 to 1"
)]
fn thousandths(part: f64) -> u32 {
    (part * 1000.0).round() as u32
}

/// Groups are numbered in 32 bits.
fn u32_of(group: usize) -> u32 {
    u32::try_from(group).expect("no more than 2^32 groups")
}
