//! HRI mode: tracks get their identities by the published Hierarchical Retrieval Index.
//!
//! A track is decided once, at its first observation: the mean of its faces goes down the tree, and
//! joins the endnode that it comes to or founds one. Nothing else counts: not who is on screen, not
//! how good a face is.
//!
//! The tree is a view of the log. Every track's first observation is in it, and every enrolled photo,
//! whoever decided whose they are and whether or not they still count: the published tree forgets nothing.
//! It follows record by record; at a start, and when another contract goes into service, it is made
//! anew ([`Tree::load`]) and is the same.

use super::apply::Failure;
use super::catalog::{CatalogError, CatalogWriter};
use super::replay::{OpenError, embedding_of};
use super::writer::Refusal;
use super::{CoreOptions, apply::Truth};
use crate::config::Assigner;
use rollcall_index::{Embedding, IdentityId};
use rollcall_ingest::cluster::hri::{Hri, Label, Metric};
use rollcall_ingest::cluster::{Choice, Near, Reason, Verdict};
use rollcall_log::record::{BlobRef, Body, MigrationOutcome, Record, TrackObserved};
use rollcall_log::{BlobError, LogReader, ReadError};
use std::collections::{HashMap, HashSet};

/// The tree, and whom its endnodes stand for.
pub(crate) struct Tree {
    hri: Hri,
    /// By label.
    founders: Vec<Founder>,
}

/// The track that founded an endnode, and whose it was then.
#[derive(Clone, Copy, Debug)]
struct Founder {
    track: u64,
    identity: u64,
}

impl Tree {
    fn new(same_cosine: f32) -> Self {
        Self {
            hri: Hri::new(Metric::Cosine, 1.0 - f64::from(same_cosine)),
            founders: Vec::new(),
        }
    }

    /// The tree of all durable records, as following them has made it; of embeddings of the contract
    /// that is in service after them. What was erased or cannot be read is not in it.
    ///
    /// Cost: a pass over the log, a read for each face of a first observation, and the insertions.
    fn load(log: &LogReader, same_cosine: f32) -> Result<Self, ReadError> {
        let mut replay = Replay::default();
        for record in log.read_after(0) {
            replay.apply(record?);
        }
        let mut tree = Self::new(same_cosine);
        let in_service = replay.in_service;
        for (founder, faces) in replay.tracks {
            let embedding = |face: &Face| {
                let reference = face.embeddings[in_service].as_ref()?;
                Some((readable(log, face.exemplar, reference)?, face.quality))
            };
            let faces: Vec<(Embedding, f32)> = faces.iter().filter_map(embedding).collect();
            tree.insert(founder, faces.iter().map(|(e, quality)| (e, *quality)));
        }
        Ok(tree)
    }

    /// The tree in the mode that needs one. Everything in the log must be durable.
    pub(crate) fn of(log: &LogReader, options: &CoreOptions) -> Result<Option<Self>, ReadError> {
        match options.assigner {
            Assigner::Evidence => Ok(None),
            Assigner::Hri => Self::load(log, options.same_cosine).map(Some),
        }
    }

    /// Follows a record. `embeddings` belong to its exemplars, in their order.
    pub(crate) fn follow(&mut self, record: &Record, embeddings: &[Embedding]) {
        let mut embeddings = embeddings.iter();
        for track in first_seen(record.body.as_ref()) {
            let qualities = track.exemplars.iter().map(|exemplar| exemplar.quality);
            let faces = qualities.zip(embeddings.by_ref());
            let faces: Vec<_> = faces.map(|(quality, face)| (face, quality)).collect();
            self.insert(founder(track), faces);
        }
    }

    /// Who is a track whose first faces have this mean?
    pub(crate) fn decide(
        &self,
        catalog: &CatalogWriter,
        mean: &Embedding,
    ) -> Result<Verdict, CatalogError> {
        let found = self.hri.search(mean.as_slice());
        let near = match found {
            Some((label, distance)) => Some(Near {
                identity: IdentityId::new(self.stands_for(label, catalog)?),
                similarity: similarity(distance),
            }),
            None => None,
        };
        let within = found.is_some_and(|(_, distance)| distance <= self.hri.threshold());
        let verdict = |choice, reason, runner_up| Verdict {
            choice,
            reason,
            similarity: near.map(|near| near.similarity),
            runner_up,
            absorbs_previous: false,
        };
        Ok(match near.filter(|_| within) {
            Some(Near {
                identity,
                similarity,
            }) => {
                let choice = Choice::Join {
                    identity,
                    similarity,
                };
                verdict(choice, Reason::HriWithinThreshold, None)
            }
            None => verdict(Choice::New, Reason::HriBeyondThreshold, near),
        })
    }

    /// Whom an endnode stands for now: whom its founder was given, as long as there is anything of
    /// them; else whose the founder is now. So it follows when people merge identities, and when they
    /// move the only track away.
    fn stands_for(&self, label: Label, catalog: &CatalogWriter) -> Result<u64, CatalogError> {
        let founder = self.founders[label.0];
        let named = catalog.resolve(founder.identity)?;
        let there = catalog.identity(named)?;
        if there.is_some_and(|there| there.tracks > 0 || there.held) {
            return Ok(named);
        }
        let place = catalog.track_place(founder.track)?;
        Ok(place.map_or(named, |place| place.identity))
    }

    fn insert<'a>(
        &mut self,
        founder: Founder,
        faces: impl IntoIterator<Item = (&'a Embedding, f32)>,
    ) {
        let Some(mean) = Embedding::mean(faces) else {
            return;
        };
        let label = self.hri.insert(mean.as_slice());
        if label.0 == self.founders.len() {
            self.founders.push(founder);
        }
    }
}

/// Makes the tree anew, in the mode that needs one, after another contract went into service.
pub(super) fn go_over(truth: &mut Truth, options: &CoreOptions) -> Result<(), Refusal> {
    if truth.hri.is_some() {
        // Only what is durable can be read.
        truth.log.sync().map_err(Failure::Log)?;
        truth.hri = Tree::of(&truth.log.reader(), options)?;
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "between -1 and 1")]
fn similarity(distance: f64) -> f32 {
    (1.0 - distance) as f32
}

/// The tracks and photos that a record sees for the first time.
fn first_seen(body: Option<&Body>) -> &[TrackObserved] {
    if let Some(Body::TrackObserved(track)) = body {
        let decision = track.decision.as_ref();
        let first = decision.is_some_and(|decision| decision.previous_identity_id == 0);
        if first {
            return std::slice::from_ref(track);
        }
    } else if let Some(Body::Edited(edited)) = body {
        return &edited.enrolled;
    }
    &[]
}

fn founder(track: &TrackObserved) -> Founder {
    Founder {
        track: track.track_id,
        identity: track.decision.as_ref().map_or(0, |it| it.identity_id),
    }
}

fn readable(log: &LogReader, exemplar: u64, reference: &BlobRef) -> Option<Embedding> {
    match embedding_of(log, exemplar, reference) {
        Ok(embedding) => Some(embedding),
        Err(OpenError::Blob {
            source: BlobError::Erased,
            ..
        }) => None,
        Err(error) => {
            tracing::warn!(exemplar, %error, "a face is not in the tree");
            None
        }
    }
}

/// A face of a first observation.
struct Face {
    exemplar: u64,
    quality: f32,
    /// Of the two contracts that there can be.
    embeddings: [Option<BlobRef>; 2],
}

/// The first observations of a log, in order.
#[derive(Default)]
struct Replay {
    tracks: Vec<(Founder, Vec<Face>)>,
    /// Which of the two embeddings is of the contract in service.
    in_service: usize,
    /// Where in `tracks` an exemplar is.
    places: HashMap<u64, (usize, usize)>,
}

impl Replay {
    fn apply(&mut self, record: Record) {
        for track in first_seen(record.body.as_ref()) {
            let mut faces = Vec::with_capacity(track.exemplars.len());
            for exemplar in &track.exemplars {
                let place = (self.tracks.len(), faces.len());
                self.places.insert(exemplar.exemplar_id, place);
                let mut embeddings = [None, None];
                embeddings[self.in_service].clone_from(&exemplar.embedding);
                faces.push(Face {
                    exemplar: exemplar.exemplar_id,
                    quality: exemplar.quality,
                    embeddings,
                });
            }
            self.tracks.push((founder(track), faces));
        }
        match record.body {
            Some(Body::ExemplarsReembedded(batch)) => {
                for done in batch.exemplars {
                    if let Some((track, face)) = self.places.get(&done.exemplar_id) {
                        let face = &mut self.tracks[*track].1[*face];
                        face.embeddings[1 - self.in_service] = done.embedding;
                    }
                }
            }
            Some(Body::ErasureBegun(begun)) => {
                // Their nodes are gone, as if they had never been seen.
                let tracks: HashSet<u64> = begun.track_ids.into_iter().collect();
                for (founder, faces) in &mut self.tracks {
                    if tracks.contains(&founder.track) {
                        faces
                            .iter_mut()
                            .for_each(|face| face.embeddings = [None, None]);
                    }
                }
            }
            Some(Body::MigrationSwitched(_)) => self.in_service = 1 - self.in_service,
            Some(Body::MigrationEnded(ended)) => {
                if ended.outcome() == MigrationOutcome::RolledBack {
                    self.in_service = 1 - self.in_service;
                }
                let faces = self.tracks.iter_mut().flat_map(|(_, faces)| faces);
                faces.for_each(|face| face.embeddings[1 - self.in_service] = None);
            }
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackObserved(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::Edited(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_),
            )
            | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
