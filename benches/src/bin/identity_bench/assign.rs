//! The server's way with a track: who is asked of the index, the rule decides, and identities are
//! looked at again beside.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result};
use rollcall_index::{
    Embedding, FaceId, IdentityId, Index, Operation, SearchError, Similarity, SourceId, TrackId,
};
use rollcall_ingest::cluster::{
    AssignRules, Choice, decide,
    measure::{self, Strangers},
    repair::{self, Judgement, RepairRules, Said},
};

use crate::stream::Stream;

/// When a track is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// At its first face, and again with all of them.
    Twice,
    /// With all of them.
    Once,
}

/// When identities are looked at again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// Never.
    Never,
    /// Beside the stream: with each track that is whole its identity, and one other in turn.
    Beside,
    /// Beside the stream, and when it is over all of them until nothing changes.
    ToTheEnd,
}

/// The identities made so far.
pub(crate) struct Assigner<'a> {
    stream: &'a Stream,
    decided: Decided,
    repaired: Repaired,
    rules: RepairRules,
    index: Index,
    identities: u64,
    /// How many there are.
    sources: usize,
    /// What strangers are like in each.
    strangers: HashMap<SourceId, Strangers>,
    /// Of each track, if it has one; `merged` leads on from there.
    identity: Vec<Option<u64>>,
    /// Whom an identity that is gone was merged into.
    merged: HashMap<u64, u64>,
    /// The tracks of each identity that is not gone.
    tracks: HashMap<u64, Vec<usize>>,
    /// The rows of each track seen so far.
    seen: Vec<Vec<usize>>,
    /// The last identity that was looked at again.
    looked_at: u64,
}

impl<'a> Assigner<'a> {
    pub(crate) fn new(
        stream: &'a Stream,
        threshold: f32,
        decided: Decided,
        repaired: Repaired,
    ) -> Self {
        Self {
            stream,
            decided,
            repaired,
            rules: RepairRules::new(AssignRules::for_contract(threshold)),
            index: Index::new(stream.vectors.dimension()),
            identities: 0,
            sources: stream.sources.iter().collect::<HashSet<_>>().len(),
            strangers: HashMap::new(),
            identity: vec![None; stream.lengths.len()],
            merged: HashMap::new(),
            tracks: HashMap::new(),
            seen: vec![Vec::new(); stream.lengths.len()],
            looked_at: 0,
        }
    }

    /// Sees every face. Returns the identity of each.
    pub(crate) fn run(mut self) -> Result<Vec<u64>> {
        for row in self.stream.order() {
            let track = self.stream.tracks[row];
            self.seen[track].push(row);
            let (seen, all) = (self.seen[track].len(), self.stream.lengths[track]);
            if seen == all || seen == 1 && self.decided == Decided::Twice {
                self.decide(track)?;
            }
            if seen == all {
                self.seen[track] = Vec::new();
                if self.repaired != Repaired::Never {
                    self.repair_beside(track)?;
                }
            }
        }
        if self.repaired == Repaired::ToTheEnd {
            while self.repair_all()? {}
        }
        let faces = self.stream.tracks.iter();
        faces
            .map(|track| self.of(*track).context("a track without an identity"))
            .collect()
    }

    /// The identity of a track.
    fn of(&self, track: usize) -> Option<u64> {
        self.identity[track].map(|identity| resolve(&self.merged, identity))
    }

    fn decide(&mut self, track: usize) -> Result<()> {
        let rows = self.seen[track].clone();
        let faces: Vec<Embedding> = rows
            .iter()
            .map(|row| self.stream.vectors.embedding(*row))
            .collect::<Result<_>>()?;
        let before = self.of(track);
        let found = self.who(track, before, &faces)?;
        let identity = found.unwrap_or(self.identities + 1);
        self.identities = self.identities.max(identity);
        let id = TrackId::new(track as u64);
        let mut operations = Vec::new();
        if before.is_some_and(|before| before != identity) {
            operations.push(Operation::Assign {
                track: id,
                identity: IdentityId::new(identity),
            });
        }
        // What was decided upon before is in the index: the first face.
        let known = usize::from(before.is_some());
        for (row, embedding) in rows.iter().zip(faces).skip(known) {
            operations.push(Operation::Insert {
                face: FaceId::new(*row as u64),
                identity: IdentityId::new(identity),
                track: id,
                source: SourceId::new(u64::from(self.stream.sources[*row])),
                seen_us: self.stream.times[*row],
                quality: 1.0,
                attributes: 0,
                embedding,
            });
        }
        self.belongs(track, before, identity);
        self.apply(&operations)
    }

    /// The identity that a track of these faces joins or keeps; `None` if it opens one.
    fn who(
        &mut self,
        track: usize,
        before: Option<u64>,
        faces: &[Embedding],
    ) -> Result<Option<u64>> {
        let mean = Embedding::mean(faces.iter().map(|face| (face, 1.0)));
        let mean = mean.context("a track's faces cancel out")?;
        let others = self.stream.together[track].iter();
        let source = SourceId::new(u64::from(self.stream.sources[self.seen[track][0]]));
        let beside = Beside {
            identities: others.filter_map(|other| self.of(*other)).collect(),
            sources: self.sources,
            strangers: self.strangers(source).ratio(),
        };
        let asked = measure::Track {
            id: TrackId::new(track as u64),
            source,
            mean: &mean,
            faces: u32::try_from(faces.len())?,
            poor: false,
            identity: before.map(IdentityId::new),
            pinned: false,
        };
        let rules = &self.rules.assign;
        let state = self.index.newest();
        let question = measure::question(state, &asked, &beside, rules)?;
        let mut strangers = self.strangers(source);
        let on_screen = beside.identities.iter().copied().map(IdentityId::new);
        measure::beside(state, &asked, on_screen, rules)
            .for_each(|spreads| strangers.seen(spreads));
        self.strangers.insert(source, strangers);
        let rules = &self.rules.assign;
        Ok(match decide(&question, rules).choice {
            Choice::Join { identity, .. } => Some(identity.get()),
            Choice::Keep => before,
            Choice::New | Choice::Ambiguous { .. } => None,
        })
    }

    fn strangers(&self, source: SourceId) -> Strangers {
        self.strangers.get(&source).copied().unwrap_or_default()
    }

    fn belongs(&mut self, track: usize, before: Option<u64>, identity: u64) {
        if before == Some(identity) {
            return;
        }
        if let Some(before) = before {
            let left = self.tracks.entry(before).or_default();
            left.retain(|one| *one != track);
            if left.is_empty() {
                self.tracks.remove(&before);
            }
        }
        self.tracks.entry(identity).or_default().push(track);
        self.identity[track] = Some(identity);
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<()> {
        let next = self.index.newest().sequence() + 1;
        Ok(self.index.apply(next, operations)?)
    }

    /// The identity that has just grown, and the next in turn.
    fn repair_beside(&mut self, track: usize) -> Result<()> {
        if let Some(grown) = self.of(track) {
            self.look(grown)?;
        }
        // Numbers that are gone cost nothing to speak of.
        for _ in 0..self.identities {
            self.looked_at = self.looked_at % self.identities + 1;
            if self.tracks.contains_key(&self.looked_at) {
                self.look(self.looked_at)?;
                break;
            }
        }
        Ok(())
    }

    /// Everybody once. Whether anything has changed.
    fn repair_all(&mut self) -> Result<bool> {
        let mut changed = false;
        for identity in 1..=self.identities {
            if self.tracks.contains_key(&identity) {
                changed |= self.look(identity)?;
            }
        }
        Ok(changed)
    }

    /// Looks at one identity. Whether it was merged.
    fn look(&mut self, identity: u64) -> Result<bool> {
        let found = repair::look(
            self.index.newest(),
            IdentityId::new(identity),
            &Known(self),
            &self.rules,
        )?;
        let Some((_, Judgement::Merge { from, into })) = found else {
            return Ok(false);
        };
        self.apply(&[Operation::Merge { from, into }])?;
        let moved = self.tracks.remove(&from.get()).unwrap_or_default();
        self.tracks.entry(into.get()).or_default().extend(moved);
        self.merged.insert(from.get(), into.get());
        Ok(true)
    }

    /// Whether two tracks that were on screen together look the same.
    fn look_the_same(&self, one: usize, other: usize) -> bool {
        let mean = |track: usize| {
            let faces = self.index.newest().track_faces(TrackId::new(track as u64));
            let faces: Vec<Embedding> = faces.map(|face| face.embedding()).collect();
            Embedding::mean(faces.iter().map(|face| (face, 1.0)))
        };
        let similarity = mean(one).zip(mean(other)).map(|(a, b)| a.dot(&b));
        similarity.map_or(-1.0, Similarity::get) >= self.rules.assign.same_frame
    }
}

/// Whom an identity leads to.
fn resolve(merged: &HashMap<u64, u64>, mut identity: u64) -> u64 {
    while let Some(into) = merged.get(&identity) {
        identity = *into;
    }
    identity
}

/// Who is on screen together with a track.
struct Beside {
    identities: BTreeSet<u64>,
    sources: usize,
    strangers: f32,
}

impl measure::Known for Beside {
    fn sources(&self) -> usize {
        self.sources
    }

    fn on_screen(&self, identity: IdentityId) -> bool {
        self.identities.contains(&identity.get())
    }

    fn barred(&self, _: IdentityId) -> bool {
        false
    }

    fn barred_count(&self) -> usize {
        0
    }

    fn strangers(&self) -> f32 {
        self.strangers
    }
}

/// What is known of identities here: who was on screen together.
struct Known<'a, 'b>(&'a Assigner<'b>);

impl repair::Known for Known<'_, '_> {
    type Error = SearchError;

    fn sources(&self) -> usize {
        self.0.sources
    }

    fn strangers(&self, source: SourceId) -> f32 {
        self.0.strangers(source).ratio()
    }

    fn said(&self, _: IdentityId) -> Result<Said, SearchError> {
        Ok(Said::Nothing)
    }

    fn together(&self, one: IdentityId, other: IdentityId) -> Result<u32, SearchError> {
        let assigner = self.0;
        let of = |identity: IdentityId| assigner.tracks.get(&identity.get());
        let (Some(one_s), Some(other_s)) = (of(one), of(other)) else {
            return Ok(0);
        };
        let (fewer, whose) = if one_s.len() <= other_s.len() {
            (one_s, other)
        } else {
            (other_s, one)
        };
        let pairs = fewer.iter().flat_map(|track| {
            let beside = assigner.stream.together[*track].iter();
            beside.map(move |other| (*track, *other))
        });
        let conflicts = pairs.filter(|(track, other)| {
            assigner.of(*other) == Some(whose.get()) && !assigner.look_the_same(*track, *other)
        });
        Ok(u32::try_from(conflicts.count()).unwrap_or(u32::MAX))
    }

    fn barred(&self, _: IdentityId, _: IdentityId) -> Result<bool, SearchError> {
        Ok(false)
    }
}
