//! Runs over sources: what a worker saw becomes records, each with the decision who it is.
//!
//! (source, key, revision) names an observation: one that is recorded already is not recorded again,
//! so a run that was cut off can be repeated from its last checkpoint. See `ARCHITECTURE.md`, "Crash and resume".

use super::apply::Truth;
use super::attributes;
use super::catalog::{TrackRow, key_run};
use super::command::{Observed, Run, WriteError};
use super::fact::{Side, opposite};
use super::withheld::Withheld;
use super::writer::{Refusal, is_final, record};
use super::{CoreMetrics, SYSTEM};
use crate::pb;
use crate::time::{duration_us, timestamp_us};
use rollcall_index::{Embedding, FaceId, IdentityId, SourceId, TrackId};
use rollcall_ingest::cluster::measure::{self, Strangers};
use rollcall_ingest::cluster::{self, AssignRules, Choice};
use rollcall_log::record::{
    Body, Candidate, Decision, DecisionKind, Exemplar, FaceBox, FactKind, Record, SourceKind,
    SourceProgress, SourceRunStarted, SourceState, SourceStateChanged, TrackObserved,
    TrackRetracted,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The runs that are on, and the rules by which tracks are assigned.
pub(super) struct Runs {
    active: HashMap<u64, ActiveRun>,
    rules: AssignRules,
    dimension: usize,
    metrics: CoreMetrics,
    scenes: Arc<Scenes>,
    /// No run begins, none goes on.
    held: bool,
}

/// How much more alike strangers are in each source. In memory alone: decisions are recorded as results, and what
/// is believed of a source that was not measured since the start is on the safe side.
#[derive(Debug, Default)]
pub(crate) struct Scenes(Mutex<HashMap<u64, Strangers>>);

impl Scenes {
    /// How many times as alike they are there as elsewhere.
    pub(crate) fn ratio(&self, source: u64) -> f32 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&source).copied().unwrap_or_default().ratio()
    }

    /// Strangers on screen together had cosines of so many spreads.
    fn seen(&self, source: u64, spreads: impl Iterator<Item = f32>) {
        let mut spreads = spreads.peekable();
        if spreads.peek().is_none() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(source).or_default();
        spreads.for_each(|spread| known.seen(spread));
    }

    fn forget(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

struct ActiveRun {
    id: u64,
    kind: SourceKind,
    /// Tracks of earlier runs past the resume point, by id with their start, that this run has not seen yet.
    unseen: HashMap<u64, i64>,
    /// Tracks of this run that open no identity yet.
    withheld: Withheld,
}

impl Runs {
    pub(super) fn new(
        same_cosine: f32,
        dimension: usize,
        metrics: CoreMetrics,
        scenes: Arc<Scenes>,
    ) -> Self {
        let rules = AssignRules::for_contract(same_cosine);
        Self {
            active: HashMap::new(),
            rules,
            dimension,
            metrics,
            scenes,
            held: false,
        }
    }

    /// Ends all runs and lets none begin, or lets them begin again.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
        if held {
            self.active.clear();
        }
    }

    /// From here on embeddings are of another contract. Runs of the old one are over.
    pub(super) fn go_over(&mut self, same_cosine: f32, dimension: usize) {
        self.rules = AssignRules::for_contract(same_cosine);
        self.dimension = dimension;
        self.scenes.forget();
        self.clear();
    }

    fn check_held(&self) -> Result<(), WriteError> {
        if self.held {
            return Err(WriteError::Switching);
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
        self.held = false;
    }

    pub(super) fn forget(&mut self, source_id: u64) {
        self.active.remove(&source_id);
    }

    pub(super) fn end(&mut self, source_id: u64, run: u64) {
        if self
            .active
            .get(&source_id)
            .is_some_and(|active| active.id == run)
        {
            self.active.remove(&source_id);
        }
    }

    pub(super) fn begin(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        pipeline: String,
    ) -> Result<Run, Refusal> {
        self.check_held()?;
        let Some(source) = truth.catalog.source(source_id)? else {
            return Err(WriteError::SourceNotFound { id: source_id }.into());
        };
        if is_final(source.state) {
            return Err(WriteError::SourceFinished { id: source_id }.into());
        }
        if self.active.contains_key(&source_id) {
            return Err(WriteError::SourceBusy { id: source_id }.into());
        }
        let live = source.kind == SourceKind::Live;
        let mut unseen = HashMap::new();
        if live {
            self.close_open_tracks(truth, source_id)?;
        } else {
            let from = source.complete_up_to_us.unwrap_or(i64::MIN);
            let past = truth.catalog.tracks_from(source_id, from)?;
            if source.run > 0 && source.pipeline != pipeline {
                for track in past {
                    retract(truth, source_id, &track, "PIPELINE_CHANGED")?;
                }
            } else {
                unseen = past
                    .into_iter()
                    .map(|track| (track.id, track.start_us))
                    .collect();
            }
        }
        let run = source.run + 1;
        let body = Body::SourceRunStarted(SourceRunStarted {
            source_id,
            run,
            pipeline,
        });
        let sequence = truth.write(record(SYSTEM, "", body), Vec::new())?;
        self.active.insert(
            source_id,
            ActiveRun {
                id: run,
                kind: source.kind,
                unseen,
                withheld: Withheld::default(),
            },
        );
        let resumes = !live && source.complete_up_to_us.is_some();
        Ok(Run {
            id: run,
            resume_from_us: source.complete_up_to_us.filter(|_| !live),
            resume_from_frame: if resumes {
                source.complete_up_to_frame
            } else {
                0
            },
            sequence,
        })
    }

    pub(super) fn observe(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        run: u64,
        items: Vec<Observed>,
    ) -> Result<u64, Refusal> {
        self.check_held()?;
        for item in items {
            let active = self
                .active
                .get(&source_id)
                .filter(|active| active.id == run);
            let Some(active) = active else {
                return Err(protocol(format!(
                    "run {run} over source {source_id} is over"
                )));
            };
            let kind = active.kind;
            match item {
                Observed::Track(track) => self.track(truth, source_id, (run, kind), track)?,
                Observed::Checkpoint(checkpoint) => {
                    self.checkpoint(truth, source_id, &checkpoint)?;
                }
                Observed::Finished(finished) => self.finish(truth, source_id, finished)?,
            }
        }
        Ok(truth.log.appended_sequence())
    }

    /// Closes, where they are, tracks that no worker follows any more.
    pub(super) fn close_open_tracks(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
    ) -> Result<(), Refusal> {
        for track in truth.catalog.open_tracks(source_id)? {
            let observed = TrackObserved {
                revision: track.revision + 1,
                closed: true,
                decision: Some(keep(track.identity)),
                ..base(source_id, &track)
            };
            truth.write(
                record(SYSTEM, "", Body::TrackObserved(observed)),
                Vec::new(),
            )?;
        }
        Ok(())
    }

    /// After a commit: how long the newest faces took from capture to being searchable.
    pub(super) fn committed(&self, records: &[Record], now_us: i64) {
        for record in records {
            let Some(Body::TrackObserved(track)) = &record.body else {
                continue;
            };
            let Some(face) = track.boxes.last() else {
                continue;
            };
            let seen = super::apply::seen_us(track, face.time_us);
            if let Ok(lag) = u32::try_from((now_us - seen) / 1000) {
                self.metrics.lag_seconds.observe(f64::from(lag) / 1000.0);
            }
        }
    }

    fn checkpoint(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        checkpoint: &pb::Checkpoint,
    ) -> Result<(), Refusal> {
        let up_to = checkpoint.complete_up_to.as_ref().map_or(0, duration_us);
        let before = truth
            .catalog
            .source(source_id)?
            .and_then(|s| s.complete_up_to_us);
        if before.is_some_and(|before| up_to <= before) {
            return Ok(());
        }
        self.retract_unseen(truth, source_id, up_to)?;
        let body = Body::SourceProgress(SourceProgress {
            source_id,
            complete_up_to_us: up_to,
            complete_up_to_frame: checkpoint.complete_up_to_frame,
        });
        truth.write(record(SYSTEM, "", body), Vec::new())?;
        Ok(())
    }

    fn finish(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        finished: pb::Finished,
    ) -> Result<(), Refusal> {
        let state = match finished.state() {
            pb::SourceState::Ended => SourceState::Ended,
            pb::SourceState::Stopped => SourceState::Stopped,
            pb::SourceState::Failed => SourceState::Failed,
            pb::SourceState::Unspecified
            | pb::SourceState::Queued
            | pb::SourceState::Connecting
            | pb::SourceState::Running
            | pb::SourceState::Stalled => {
                return Err(protocol(
                    "a run finishes ended, stopped or failed".to_owned(),
                ));
            }
        };
        if state == SourceState::Ended {
            self.retract_unseen(truth, source_id, i64::MAX)?;
        }
        self.close_open_tracks(truth, source_id)?;
        let error = finished.error.unwrap_or_default();
        let position = finished
            .position
            .as_ref()
            .or(error.position.as_ref())
            .map_or(0, duration_us);
        let body = Body::SourceStateChanged(SourceStateChanged {
            source_id,
            state: state.into(),
            reason: error.reason,
            message: error.message,
            position_us: position,
        });
        truth.write(record(SYSTEM, "", body), Vec::new())?;
        self.active.remove(&source_id);
        Ok(())
    }

    fn retract_unseen(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        before_us: i64,
    ) -> Result<(), Refusal> {
        let Some(active) = self.active.get_mut(&source_id) else {
            return Ok(());
        };
        let mut gone: Vec<u64> = active
            .unseen
            .iter()
            .filter_map(|(track, start)| (*start < before_us).then_some(*track))
            .collect();
        gone.sort_unstable();
        for id in gone {
            active.unseen.remove(&id);
            if let Some(track) = truth.catalog.track(id)? {
                retract(truth, source_id, &track, "NOT_SEEN_AGAIN")?;
            }
        }
        Ok(())
    }

    fn track(
        &mut self,
        truth: &mut Truth,
        source_id: u64,
        (run, kind): (u64, SourceKind),
        sent: pb::TrackObservation,
    ) -> Result<(), Refusal> {
        let keys = key_run(kind, run);
        let before = truth
            .catalog
            .track_by_key(source_id, keys, sent.track_key)?;
        if let (Some(before), Some(active)) = (&before, self.active.get_mut(&source_id)) {
            active.unseen.remove(&before.id);
        }
        if before.is_none() && truth.catalog.was_erased(source_id, keys, sent.track_key)? {
            // Forgotten stays forgotten, however often the same material is read.
            return Ok(());
        }
        let recorded = match &before {
            Some(before) => before.revision,
            None => self.withheld(source_id)?.revision(sent.track_key),
        };
        if sent.revision <= recorded {
            return Ok(());
        }
        let what = check_order(&sent, recorded, before.as_ref());
        if let Some(what) = what {
            return Err(protocol(format!("track {:x}: {what}", sent.track_key)));
        }
        let waited = before.is_none() && recorded > 0;
        let sent = match &before {
            Some(_) => sent,
            None => {
                let key = sent.track_key;
                let joined = self.withheld(source_id)?.join(sent);
                joined.map_err(|what| protocol(format!("track {key:x}: {what}")))?
            }
        };
        let embeddings = self.embeddings(&sent)?;
        let kept = match &before {
            Some(before) => truth.catalog.exemplars(before.id)?,
            None => Vec::new(),
        };
        let dropped = dropped_ids(&sent, &kept)?;
        let id = before
            .as_ref()
            .map_or_else(|| truth.catalog.ids().track + 1, |b| b.id);
        let scene = Scene {
            source_id,
            keys,
            id,
            span: (time_us(sent.start.as_ref()), time_us(sent.end.as_ref())),
        };
        let faces: Vec<(&Embedding, f32)> = embeddings
            .iter()
            .zip(sent.exemplars.iter().map(|e| e.quality))
            .collect();
        let Some(decision) = self.decide(truth, &scene, before.as_ref(), &faces, &dropped)? else {
            if !waited {
                self.metrics
                    .decisions
                    .with_label_values(&["withheld"])
                    .inc();
            }
            self.withheld(source_id)?.keep(sent);
            return Ok(());
        };
        let mut observed = observed(truth, source_id, id, before.as_ref(), &sent)?;
        count_exemplars(&mut observed, &kept, &dropped);
        if decision.kind() == DecisionKind::Join {
            observed.joined_similarity = decision.similarity;
        }
        observed.dropped_exemplar_ids = dropped;
        observed.decision = Some(decision);
        truth.write(
            record(SYSTEM, "", Body::TrackObserved(observed)),
            embeddings,
        )?;
        Ok(())
    }

    /// The tracks of the run over the source that wait.
    fn withheld(&mut self, source_id: u64) -> Result<&mut Withheld, Refusal> {
        let active = self.active.get_mut(&source_id);
        active
            .map(|active| &mut active.withheld)
            .ok_or_else(|| protocol(format!("no run over source {source_id} is on")))
    }

    fn embeddings(&self, sent: &pb::TrackObservation) -> Result<Vec<Embedding>, Refusal> {
        let one = |exemplar: &pb::ObservedExemplar| {
            let what = |what: String| WriteError::Embedding {
                what: format!(
                    "track {:x}, exemplar {}: {what}",
                    sent.track_key, exemplar.number
                ),
            };
            let embedding =
                Embedding::from_f16_bytes(&exemplar.embedding).map_err(|e| what(e.to_string()))?;
            if embedding.dimension() == self.dimension {
                Ok(embedding)
            } else {
                let found = embedding.dimension();
                Err(what(format!(
                    "{found} values, the contract has {}",
                    self.dimension
                )))
            }
        };
        Ok(sent.exemplars.iter().map(one).collect::<Result<_, _>>()?)
    }

    /// Who is on this track, now that it has `new` faces and has given up `dropped` ones? `None` if it
    /// would open an identity and its faces are too poor for that.
    fn decide(
        &self,
        truth: &Truth,
        scene: &Scene,
        before: Option<&TrackRow>,
        new: &[(&Embedding, f32)],
        dropped: &[u64],
    ) -> Result<Option<Decision>, Refusal> {
        // HRI mode decides once.
        if let Some(before) = before
            && (truth.hri.is_some() || (new.is_empty() && dropped.is_empty()))
        {
            return Ok(Some(keep(before.identity)));
        }
        let state = truth.index.newest();
        let track = TrackId::new(scene.id);
        let dropped: HashSet<FaceId> = dropped.iter().copied().map(FaceId::new).collect();
        let old: Vec<(Embedding, f32)> = state
            .track_faces(track)
            .filter(|face| !dropped.contains(&face.face))
            .map(|face| (face.embedding(), face.quality))
            .collect();
        let all = old.iter().map(|(e, q)| (e, *q)).chain(new.iter().copied());
        let Some(mean) = Embedding::mean(all) else {
            return match before {
                Some(before) => Ok(Some(keep(before.identity))),
                None => Err(protocol(
                    "a track begins with at least one exemplar".to_owned(),
                )),
            };
        };
        let next_identity = truth.catalog.ids().identity + 1;
        if let Some(tree) = &truth.hri {
            let verdict = tree.decide(&truth.catalog, &mean)?;
            return Ok(Some(self.decision(next_identity, before, &verdict)));
        }
        let said = match before {
            Some(before) => Said::about(truth, before)?,
            None => Said::default(),
        };
        let catalog = &truth.catalog;
        let around = Around {
            on_screen: catalog
                .on_screen(scene.source_id, scene.keys, scene.id, scene.span)?
                .into_iter()
                .collect(),
            barred: said.barred,
            sources: catalog.ids().source,
            strangers: self.scenes.ratio(scene.source_id),
        };
        let old_qualities = old.iter().map(|(_, quality)| *quality);
        let mut qualities = old_qualities.chain(new.iter().map(|(_, quality)| *quality));
        let asked = measure::Track {
            id: track,
            source: SourceId::new(scene.source_id),
            mean: &mean,
            faces: u32::try_from(old.len() + new.len()).unwrap_or(u32::MAX),
            poor: !self.rules.may_open(&mut qualities),
            identity: before.map(|before| IdentityId::new(before.identity)),
            pinned: said.pinned,
        };
        let question = measure::question(state, &asked, &around, &self.rules).map_err(|error| {
            WriteError::Embedding {
                what: error.to_string(),
            }
        })?;
        let on_screen = around.on_screen.iter().copied().map(IdentityId::new);
        let spreads = measure::beside(state, &asked, on_screen, &self.rules);
        self.scenes.seen(scene.source_id, spreads);
        let mut verdict = cluster::decide(&question, &self.rules);
        // What has no face here may be theirs all the same: exemplars that another model could not embed, say.
        verdict.absorbs_previous &= said.only;
        let room = || {
            let active = self.active.get(&scene.source_id);
            active.is_some_and(|active| active.withheld.has_room())
        };
        if before.is_none() && verdict.choice.opens() && asked.poor && room() {
            return Ok(None);
        }
        Ok(Some(self.decision(next_identity, before, &verdict)))
    }

    /// A verdict in the words of the log; counted.
    fn decision(
        &self,
        next_identity: u64,
        before: Option<&TrackRow>,
        verdict: &cluster::Verdict,
    ) -> Decision {
        let previous = before.map_or(0, |b| b.identity);
        let (kind, identity_id, similarity) = match &verdict.choice {
            Choice::Keep => (DecisionKind::Keep, previous, verdict.similarity),
            Choice::Join {
                identity,
                similarity,
            } => (DecisionKind::Join, identity.get(), Some(*similarity)),
            Choice::New => (DecisionKind::New, next_identity, verdict.similarity),
            Choice::Ambiguous { .. } => {
                (DecisionKind::Ambiguous, next_identity, verdict.similarity)
            }
        };
        let counted = match (kind, before) {
            (DecisionKind::Join, Some(_)) => "reassign",
            (DecisionKind::Join, None) => "join",
            (DecisionKind::Ambiguous, _) => "ambiguous",
            (DecisionKind::New, _) => "new",
            (DecisionKind::Keep | DecisionKind::Unspecified, _) => "keep",
        };
        if counted != "keep" {
            self.metrics.decisions.with_label_values(&[counted]).inc();
        }
        let runner_up = verdict.runner_up;
        let candidates = match &verdict.choice {
            Choice::Ambiguous { between } => between.iter().map(candidate).collect(),
            Choice::Keep | Choice::Join { .. } | Choice::New => Vec::new(),
        };
        Decision {
            identity_id,
            kind: kind.into(),
            previous_identity_id: previous,
            similarity: similarity.unwrap_or_default(),
            runner_up_identity_id: runner_up.map_or(0, |r| r.identity.get()),
            runner_up_similarity: runner_up.map_or(0.0, |r| r.similarity),
            reason: verdict.reason.code().to_owned(),
            absorbs_previous: verdict.absorbs_previous,
            candidates,
        }
    }
}

fn candidate(near: &cluster::Near) -> Candidate {
    Candidate {
        identity_id: near.identity.get(),
        similarity: near.similarity,
    }
}

/// Where and when a track is.
struct Scene {
    source_id: u64,
    keys: u64,
    id: u64,
    span: (i64, i64),
}

/// What is known of a track beside its faces.
struct Around {
    on_screen: BTreeSet<u64>,
    barred: HashSet<u64>,
    sources: u64,
    strangers: f32,
}

impl measure::Known for Around {
    fn sources(&self) -> usize {
        usize::try_from(self.sources).unwrap_or(usize::MAX)
    }

    fn on_screen(&self, identity: IdentityId) -> bool {
        self.on_screen.contains(&identity.get())
    }

    fn barred(&self, identity: IdentityId) -> bool {
        self.barred.contains(&identity.get())
    }

    fn barred_count(&self) -> usize {
        self.barred.len()
    }

    fn strangers(&self) -> f32 {
        self.strangers
    }
}

/// What people said that a decision about a track must heed.
#[derive(Default)]
struct Said {
    /// The track stays where it is.
    pinned: bool,
    /// Identities that it must not join.
    barred: HashSet<u64>,
    /// It is all that its identity has.
    only: bool,
}

impl Said {
    fn about(truth: &Truth, track: &TrackRow) -> Result<Self, Refusal> {
        let catalog = &truth.catalog;
        let mut said = Self::default();
        for stated in catalog.facts_of_track(track.id)? {
            match stated.fact.kind() {
                FactKind::OnePerson | FactKind::Placed => said.pinned = true,
                FactKind::TwoPeople => {
                    let other = opposite(&stated.fact, Side::Track(track.id));
                    if let Some(other) = other {
                        said.barred.extend(catalog.stands_for(other)?);
                    }
                }
                FactKind::Unspecified => {}
            }
        }
        let identity = catalog.identity(track.identity)?;
        if let Some(identity) = identity.filter(|identity| identity.tracks <= 1) {
            // Somebody has said who this very track is: that is never lost by the machine's own doing.
            let named = || catalog.facts_of_identity(identity.id, None);
            said.only = true;
            said.pinned |= identity.held || !named()?.is_empty();
        }
        Ok(said)
    }
}

fn protocol(what: String) -> Refusal {
    Refusal::Command(WriteError::Protocol { what })
}

fn keep(identity: u64) -> Decision {
    Decision {
        identity_id: identity,
        kind: DecisionKind::Keep.into(),
        previous_identity_id: identity,
        reason: "UNCHANGED".to_owned(),
        ..Decision::default()
    }
}

fn retract(
    truth: &mut Truth,
    source_id: u64,
    track: &TrackRow,
    reason: &str,
) -> Result<(), Refusal> {
    let body = Body::TrackRetracted(TrackRetracted {
        track_id: track.id,
        reason: reason.to_owned(),
        source_id,
        identity_id: track.identity,
    });
    truth.write(record(SYSTEM, "", body), Vec::new())?;
    Ok(())
}

/// What is wrong with an observation that should be the next of its track.
fn check_order(
    sent: &pb::TrackObservation,
    recorded: u32,
    before: Option<&TrackRow>,
) -> Option<String> {
    if sent.revision != recorded + 1 {
        return Some(format!("revision {} after {recorded}", sent.revision));
    }
    if before.is_some_and(|b| b.closed) {
        return Some("it was closed".to_owned());
    }
    let (start, end) = (time_us(sent.start.as_ref()), time_us(sent.end.as_ref()));
    if end < start || start < 0 {
        return Some(format!("it ends at {end} us and starts at {start} us"));
    }
    if before.is_some_and(|b| b.start_us != start) {
        return Some("its start has moved".to_owned());
    }
    let mut numbers = HashSet::new();
    let twice = sent.exemplars.iter().find(|e| !numbers.insert(e.number));
    if let Some(twice) = twice {
        return Some(format!("exemplar {} comes twice", twice.number));
    }
    let bad = sent
        .exemplars
        .iter()
        .find(|e| !(0.0..=1.0).contains(&e.quality));
    bad.map(|e| {
        format!(
            "exemplar {} has quality {}, not 0 to 1",
            e.number, e.quality
        )
    })
}

/// The ids of the exemplars that the worker gives up by number.
fn dropped_ids(sent: &pb::TrackObservation, kept: &[(u32, u64, f32)]) -> Result<Vec<u64>, Refusal> {
    let one = |number: &u32| {
        let found = kept
            .iter()
            .find(|(kept, ..)| kept == number)
            .map(|(_, id, _)| *id);
        found.ok_or_else(|| {
            protocol(format!(
                "track {:x} has no exemplar {number} to drop",
                sent.track_key
            ))
        })
    };
    let mut ids = sent
        .dropped_exemplars
        .iter()
        .map(one)
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The record of an observation, all but its decision. Pictures and embeddings go to the blobs.
fn observed(
    truth: &mut Truth,
    source_id: u64,
    track_id: u64,
    before: Option<&TrackRow>,
    sent: &pb::TrackObservation,
) -> Result<TrackObserved, Refusal> {
    let key = match before.map_or(0, |before| before.seal) {
        0 => truth.log.new_key()?,
        key => key,
    };
    let mut exemplars = Vec::with_capacity(sent.exemplars.len());
    for (next, exemplar) in (truth.catalog.ids().exemplar + 1..).zip(&sent.exemplars) {
        exemplars.push(stored_exemplar(truth, key, next, exemplar)?);
    }
    Ok(TrackObserved {
        track_id,
        source_id,
        track_key: sent.track_key,
        revision: sent.revision,
        closed: sent.closed,
        start_us: time_us(sent.start.as_ref()),
        end_us: time_us(sent.end.as_ref()),
        start_frame: sent.start_frame,
        end_frame: sent.end_frame,
        wall_start_us: before.map_or_else(
            || sent.wall_start.as_ref().map_or(0, timestamp_us),
            |before| before.wall_start_us,
        ),
        boxes: sent.faces.iter().map(face_box).collect(),
        exemplars,
        joined_similarity: before.map_or(0.0, |b| b.joined),
        attributes: match before {
            Some(before) if sent.attributes.is_empty() => before.attributes.clone(),
            Some(_) | None => attributes::recorded(&sent.attributes),
        },
        key,
        ..TrackObserved::default()
    })
}

fn stored_exemplar(
    truth: &mut Truth,
    key: u64,
    exemplar_id: u64,
    sent: &pb::ObservedExemplar,
) -> Result<Exemplar, Refusal> {
    let mut blob = |bytes: &[u8]| {
        if bytes.is_empty() {
            Ok(None)
        } else {
            truth.log.put_sealed(key, bytes).map(Some)
        }
    };
    Ok(Exemplar {
        exemplar_id,
        face: sent.face.as_ref().map(face_box),
        landmarks: sent.landmarks.clone(),
        quality: sent.quality,
        embedding: blob(&sent.embedding)?,
        crop: blob(&sent.crop)?,
        loose_crop: blob(&sent.loose_crop)?,
        number: sent.number,
    })
}

impl From<&FaceBox> for pb::Box {
    fn from(face: &FaceBox) -> Self {
        Self {
            x: face.x,
            y: face.y,
            width: face.width,
            height: face.height,
        }
    }
}

fn face_box(face: &pb::ObservedFace) -> FaceBox {
    let area = face.r#box.unwrap_or_default();
    FaceBox {
        frame: face.frame,
        time_us: time_us(face.time.as_ref()),
        x: area.x,
        y: area.y,
        width: area.width,
        height: area.height,
        confidence: face.confidence,
    }
}

/// How many exemplars the track has after the record, and which of them is best.
fn count_exemplars(observed: &mut TrackObserved, kept: &[(u32, u64, f32)], dropped: &[u64]) {
    let new = observed
        .exemplars
        .iter()
        .map(|e| (e.exemplar_id, e.quality));
    let left = kept.iter().map(|(_, id, quality)| (*id, *quality));
    let all: Vec<(u64, f32)> = left
        .filter(|(id, _)| !dropped.contains(id))
        .chain(new)
        .collect();
    let best = all
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    observed.best_exemplar_id = best.map_or(0, |(id, _)| *id);
    observed.exemplar_count = u32::try_from(all.len()).unwrap_or(u32::MAX);
}

/// A record about a track as it stands.
fn base(source_id: u64, track: &TrackRow) -> TrackObserved {
    TrackObserved {
        track_id: track.id,
        source_id,
        track_key: track.key,
        revision: track.revision,
        closed: track.closed,
        start_us: track.start_us,
        end_us: track.end_us,
        start_frame: track.start_frame,
        end_frame: track.end_frame,
        wall_start_us: track.wall_start_us,
        best_exemplar_id: track.best_exemplar,
        exemplar_count: track.exemplars,
        joined_similarity: track.joined,
        attributes: track.attributes.clone(),
        key: track.seal,
        ..TrackObserved::default()
    }
}

fn time_us(time: Option<&prost_types::Duration>) -> i64 {
    time.map_or(0, duration_us)
}
