//! What was decided early, looked at again: identities that may be one person, and those that may be two.
//!
//! Whoever has just got a track is looked at first; beside them everybody in turn, again whenever the number of
//! faces has changed by a tenth. What lies beyond the bound ([`RepairRules`]) is merged, by an edit like any other:
//! in the history, with its evidence as the reason, and undone like one. The rest waits for people, on the page's
//! review queue. Whoever was named by an edit together with the other is left alone: somebody has looked.

use crate::config::{Assigner, RepairMode};
use crate::core::{Catalog, CatalogError, Change, Committed, Core, Edit, SYSTEM, View};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::pb;
use crate::pb::watch_event::Event;
use prometheus::{IntCounterVec, Opts, Registry};
use rollcall_index::{Embedding, IdentityId, SourceId, State, TrackId};
use rollcall_ingest::cluster::AssignRules;
use rollcall_ingest::cluster::repair::{self, Judgement, Known, Pair, RepairRules, Said, split};
use rollcall_log::record::ReviewProposed;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};

/// Identities that have grown and wait for a look; further ones have their turn with all others.
const GROWN_MAX: usize = 10_000;
/// Everybody has another turn when the number of faces has changed by one part in so many.
const CHANGE: usize = 10;
/// Tracks of a proposed split at most.
const TRACKS_MAX: usize = 1000;
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);

/// What looking again has found.
#[derive(Clone, Debug)]
pub(crate) struct RepairMetrics {
    looks: IntCounterVec,
}

impl RepairMetrics {
    /// # Errors
    /// If it is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let looks = IntCounterVec::new(
            Opts::new(
                "rollcall_repair_looks_total",
                "Identities looked at again, by what came of it",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(looks.clone()))?;
        for outcome in ["nothing", "merged", "merge_proposed", "split_proposed"] {
            let _ = looks.with_label_values(&[outcome]);
        }
        Ok(Self { looks })
    }

    fn count(&self, outcome: &str) {
        self.looks.with_label_values(&[outcome]).inc();
    }
}

/// Looks at identities until the server ends.
pub(crate) async fn keep(edge: Arc<Edge>, metrics: RepairMetrics) {
    // The published tree merges nothing, and is to be seen as it is.
    if edge.config.repair.mode == RepairMode::Off || edge.config.assigner == Assigner::Hri {
        return;
    }
    let mut commits = edge.core.subscribe();
    let mut turns = Turns::default();
    while !edge.shutdown.is_set() {
        turns.hear(&mut commits);
        let Some(identity) = turns.next(&edge.core.view()) else {
            tokio::select! {
                () = edge.shutdown.wait() => return,
                heard = commits.recv() => match heard {
                    Ok(committed) => turns.grow(&committed),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
            continue;
        };
        let begun = Instant::now();
        if let Err(error) = look(&edge, identity, &metrics).await {
            tracing::warn!(%error, %identity, "an identity could not be looked at again");
            edge.pause(RETRY).await;
        } else {
            let share = edge.config.repair.share_percent;
            edge.rest(begun.elapsed(), share).await;
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turns {
    grown: VecDeque<IdentityId>,
    waiting: HashSet<IdentityId>,
    /// Everybody, by id from behind, as they were when this round began.
    round: Vec<IdentityId>,
    /// How many faces there were then.
    faces: usize,
}

impl Turns {
    fn hear(&mut self, commits: &mut Receiver<Arc<Committed>>) {
        loop {
            match commits.try_recv() {
                Ok(committed) => self.grow(&committed),
                // Whoever was missed has their turn with all others.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn grow(&mut self, committed: &Committed) {
        for event in &committed.events {
            let grown = match &event.event {
                Some(Event::SightingEnded(ended)) => {
                    ended.sighting.as_ref().map(|it| it.identity_id)
                }
                Some(Event::TrackReassigned(moved)) => Some(moved.to_identity_id),
                Some(Event::IdentityAbsorbed(absorbed)) => Some(absorbed.into_identity_id),
                Some(_) | None => None,
            };
            let Some(identity) = grown.map(IdentityId::new) else {
                continue;
            };
            if self.grown.len() < GROWN_MAX && self.waiting.insert(identity) {
                self.grown.push_back(identity);
            }
        }
    }

    /// Who has grown, else the next of the round; `None` if all have had their turn.
    fn next(&mut self, view: &View) -> Option<IdentityId> {
        if let Some(identity) = self.grown.pop_front() {
            self.waiting.remove(&identity);
            return Some(identity);
        }
        let faces = view.index.stats().faces;
        if self.round.is_empty() && faces.abs_diff(self.faces) > self.faces / CHANGE {
            self.faces = faces;
            let all = view.index.identities();
            self.round = all.map(|(identity, _)| identity).collect();
            self.round.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.round.pop()
    }
}

/// What is to be done.
enum Found {
    Merge { change: Change, reason: String },
    Propose(ReviewProposed),
}

async fn look(
    edge: &Arc<Edge>,
    identity: IdentityId,
    metrics: &RepairMetrics,
) -> Result<(), ApiError> {
    let view = edge.core.view();
    let models = edge.in_service();
    if models.collection.contract != view.contract().id {
        // It is going over to another model this moment; there will be another turn.
        return Ok(());
    }
    let rules = RepairRules::new(AssignRules::for_contract(models.collection.same_cosine));
    let core = edge.core.clone();
    let merges = edge.config.repair.mode == RepairMode::Merge;
    let find = move || find(&view, &core, identity, (&rules, merges));
    let mut outcome = "nothing";
    for found in edge.pool.run(find).await? {
        outcome = carry_out(edge, found).await?.unwrap_or(outcome);
    }
    metrics.count(outcome);
    Ok(())
}

/// What came of it.
async fn carry_out(edge: &Edge, found: Found) -> Result<Option<&'static str>, ApiError> {
    match found {
        Found::Merge { change, reason } => {
            let edit = Edit {
                change,
                author: SYSTEM.to_owned(),
                reason,
                request_id: String::new(),
            };
            // If not, somebody was faster, or has said something that stands against it.
            let made = edge.core.edit(edit).await;
            if let Err(error) = &made {
                tracing::debug!(%error, "not merged");
            }
            Ok(made.is_ok().then_some("merged"))
        }
        Found::Propose(proposed) => {
            let outcome = match proposed.other_identity_id {
                0 => "split_proposed",
                _ => "merge_proposed",
            };
            let sequence = edge.core.propose(proposed).await?;
            Ok((sequence != 0).then_some(outcome))
        }
    }
}

fn find(
    view: &View,
    core: &Core,
    identity: IdentityId,
    (rules, merges): (&RepairRules, bool),
) -> Result<Vec<Found>, ApiError> {
    let (state, catalog) = (&view.index, core.catalog());
    let around = Around {
        core,
        state,
        sources: usize::try_from(catalog.source_count()?).unwrap_or(usize::MAX),
        same_frame: rules.assign.same_frame,
    };
    let mut found = Vec::new();
    match repair::look(state, identity, &around, rules)? {
        Some((pair, Judgement::Merge { from, into })) if merges => {
            return Ok(Vec::from_iter(merge(catalog, (from, into), &pair, rules)?));
        }
        Some((pair, Judgement::Merge { .. } | Judgement::Propose)) => {
            let (lesser, other) = pair.lesser_first();
            found.push(Found::Propose(ReviewProposed {
                identity_id: lesser.identity.get(),
                other_identity_id: other.identity.get(),
                similarity: pair.similarity,
                nats: repair::evidence(&pair, rules),
                track_ids: Vec::new(),
            }));
        }
        Some((_, Judgement::Leave)) | None => {}
    }
    if around.said(identity)? < Said::Confirmed {
        let split = split::look(state, identity, rules);
        found.extend(split.map(|split| {
            let tracks = split.tracks.iter().map(|track| track.get());
            Found::Propose(ReviewProposed {
                identity_id: identity.get(),
                other_identity_id: 0,
                similarity: split.similarity,
                nats: split.nats,
                track_ids: tracks.take(TRACKS_MAX).collect(),
            })
        }));
    }
    Ok(found)
}

/// The edit, good as long as nobody says anything about either meanwhile.
fn merge(
    catalog: &Catalog,
    (from, into): (IdentityId, IdentityId),
    pair: &Pair,
    rules: &RepairRules,
) -> Result<Option<Found>, ApiError> {
    let (Some(gone), Some(stays)) = (known(catalog, from)?, known(catalog, into)?) else {
        return Ok(None);
    };
    if gone.said > Said::Nothing || stays.said > Said::Something {
        return Ok(None);
    }
    Ok(Some(Found::Merge {
        reason: format!(
            "one person to all appearance: cosine {:.2}, {:.1} nats of evidence",
            pair.similarity,
            repair::evidence(pair, rules)
        ),
        change: Change::Merge {
            from: from.get(),
            into: into.get(),
            from_etag: Some(gone.etag),
            into_etag: Some(stays.etag),
        },
    }))
}

/// What people have said of an identity, and its etag with that.
struct SaidOf {
    said: Said,
    etag: String,
}

fn known(catalog: &Catalog, identity: IdentityId) -> Result<Option<SaidOf>, ApiError> {
    let Some(identity) = catalog.identity(identity.get())? else {
        return Ok(None);
    };
    let said = said_of(catalog, &identity)?;
    let etag = identity.etag;
    Ok(Some(SaidOf { said, etag }))
}

/// What people have said of an identity.
pub(crate) fn said_of(catalog: &Catalog, identity: &pb::Identity) -> Result<Said, CatalogError> {
    let something = !identity.name.is_empty()
        || !identity.external_id.is_empty()
        || !identity.metadata.is_empty()
        || identity.photo_count > 0
        || identity.state() != pb::IdentityState::Active
        || catalog.is_in_a_fact(identity.id)?;
    Ok(match (identity.confirmed, something) {
        (true, _) => Said::Confirmed,
        (false, true) => Said::Something,
        (false, false) => Said::Nothing,
    })
}

/// What catalog and index know of two identities.
struct Around<'a> {
    core: &'a Core,
    state: &'a State,
    sources: usize,
    same_frame: f32,
}

impl Around<'_> {
    fn mean(&self, track: u64) -> Option<Embedding> {
        let faces = self.state.track_faces(TrackId::new(track));
        let faces: Vec<(Embedding, f32)> =
            faces.map(|face| (face.embedding(), face.quality)).collect();
        Embedding::mean(faces.iter().map(|(face, quality)| (face, *quality)))
    }

    fn look_the_same(&self, one: u64, other: u64) -> bool {
        let both = self.mean(one).zip(self.mean(other));
        both.is_some_and(|(one, other)| one.dot(&other).get() >= self.same_frame)
    }
}

impl Known for Around<'_> {
    type Error = ApiError;

    fn sources(&self) -> usize {
        self.sources
    }

    fn strangers(&self, source: SourceId) -> f32 {
        self.core.strangers_ratio(source.get())
    }

    fn said(&self, identity: IdentityId) -> Result<Said, ApiError> {
        let known = known(self.core.catalog(), identity)?;
        Ok(known.map_or(Said::Nothing, |known| known.said))
    }

    fn together(&self, one: IdentityId, other: IdentityId) -> Result<u32, ApiError> {
        let pairs = self
            .core
            .catalog()
            .on_screen_together(one.get(), other.get())?;
        let unlike = pairs
            .into_iter()
            .filter(|(one, other)| !self.look_the_same(*one, *other));
        Ok(u32::try_from(unlike.count()).unwrap_or(u32::MAX))
    }

    fn barred(&self, one: IdentityId, other: IdentityId) -> Result<bool, ApiError> {
        Ok(self
            .core
            .catalog()
            .edited_together(one.get(), other.get())?)
    }
}
