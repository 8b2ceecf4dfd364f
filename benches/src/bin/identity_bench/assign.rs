//! The server's way with a track: who is asked of the index, and the rule decides.

use anyhow::{Context, Result};
use rollcall_index::{
    Effort, Embedding, FaceId, Filter, IdentityId, Index, Operation, Similarity, SourceId, TrackId,
};
use rollcall_ingest::cluster::{self, AssignRules, Candidate, Choice, Current};

use crate::stream::Stream;

/// As many as the server looks at.
const CANDIDATES: usize = 8;

/// When a track is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// At its first face, and again with all of them.
    Twice,
    /// With all of them.
    Once,
}

/// The identities made so far.
pub(crate) struct Assigner<'a> {
    stream: &'a Stream,
    decided: Decided,
    rules: AssignRules,
    index: Index,
    identities: u64,
    /// Of each track, if it has one.
    identity: Vec<Option<u64>>,
    /// The rows of each track seen so far.
    seen: Vec<Vec<usize>>,
}

impl<'a> Assigner<'a> {
    pub(crate) fn new(stream: &'a Stream, rules: AssignRules, decided: Decided) -> Self {
        Self {
            stream,
            decided,
            rules,
            index: Index::new(stream.vectors.dimension()),
            identities: 0,
            identity: vec![None; stream.lengths.len()],
            seen: vec![Vec::new(); stream.lengths.len()],
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
            }
        }
        let faces = self.stream.tracks.iter();
        faces
            .map(|track| self.identity[*track].context("a track without an identity"))
            .collect()
    }

    fn decide(&mut self, track: usize) -> Result<()> {
        let rows = &self.seen[track];
        let faces: Vec<Embedding> = rows
            .iter()
            .map(|row| self.stream.vectors.embedding(*row))
            .collect::<Result<_>>()?;
        let before = self.identity[track];
        let found = self.who(track, &faces)?;
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
        self.identity[track] = Some(identity);
        let next = self.index.newest().sequence() + 1;
        Ok(self.index.apply(next, &operations)?)
    }

    /// The identity that a track of these faces joins or keeps; `None` if it opens one.
    fn who(&self, track: usize, faces: &[Embedding]) -> Result<Option<u64>> {
        let mean = Embedding::mean(faces.iter().map(|face| (face, 1.0)));
        let mean = mean.context("a track's faces cancel out")?;
        let id = TrackId::new(track as u64);
        let filter = Filter {
            exclude_track: Some(id),
            ..Filter::default()
        };
        let floor = Similarity::new(self.rules.join - self.rules.margin);
        let floor = floor.unwrap_or(Similarity::LEAST);
        let state = self.index.newest();
        let (hits, _) = state.who(&mean, CANDIDATES, floor, &filter, Effort::Normal)?;
        let others = &self.stream.together[track];
        let on_screen: Vec<u64> = others
            .iter()
            .filter_map(|other| self.identity[*other])
            .collect();
        let candidates: Vec<Candidate> = hits
            .iter()
            .map(|hit| Candidate {
                identity: hit.identity,
                similarity: hit.similarity.get(),
                on_screen: on_screen.contains(&hit.identity.get()),
                barred: false,
            })
            .collect();
        let current = self.identity[track].map(IdentityId::new);
        let current = current
            .map(|identity| -> Result<Current> {
                let similarity = state.identity_similarity(&mean, identity, Some(id))?;
                Ok(Current {
                    identity,
                    similarity: similarity.map(Similarity::get),
                    pinned: false,
                })
            })
            .transpose()?;
        let verdict = cluster::decide(current, &candidates, &self.rules);
        Ok(match verdict.choice {
            Choice::Join { identity, .. } => Some(identity.get()),
            Choice::Keep => current.map(|current| current.identity.get()),
            Choice::New | Choice::Ambiguous { .. } => None,
        })
    }
}
