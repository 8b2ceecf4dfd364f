//! What a migration makes the writer do: each step is one record, so that it is there whole or not at all.

use super::apply::Truth;
use super::catalog::RequestKind;
use super::command::WriteError;
use super::contracts::{Contract, Contracts, Migration, Phase, folder_of};
use super::hri;
use super::index_folder::begin_index;
use super::observe::Runs;
use super::writer::{Refusal, record, repeated};
use super::{CoreOptions, SYSTEM};
use rollcall_index::{Embedding, FaceId};
use rollcall_log::record::{
    Body, ExemplarsReembedded, MigrationEnded, MigrationOutcome, MigrationStarted,
    MigrationSwitched, Model, Reembedded,
};

/// Who asks for a step, and why.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Who.
    pub author: String,
    /// Why, in the author's words; may be empty.
    pub reason: String,
    /// Empty, or an id under which the request is carried out once only.
    pub request_id: String,
}

/// A migration to be begun.
#[derive(Clone, Debug)]
pub struct NewMigration {
    /// In service.
    pub from: Model,
    /// To be.
    pub to: Model,
    /// Identities may be lost to searches.
    pub allow_loss: bool,
}

/// An exemplar that was embedded again.
#[derive(Clone, Debug)]
pub struct Reembedding {
    /// Which one.
    pub exemplar: u64,
    /// Its embedding as binary16; `None` if it has no crop that can be read.
    pub embedding: Option<Vec<u8>>,
}

/// One step of a migration.
#[derive(Clone, Debug)]
pub enum Step {
    /// Begins one. Refused with [`WriteError::MigrationRunning`] while one is on, unless it is this one and
    /// allows what the other did not.
    Start(Box<NewMigration>, Asked),
    /// Records exemplars that were embedded again; those that are gone by now are passed over. Refused with
    /// [`WriteError::MigrationState`], [`WriteError::Embedding`].
    Reembedded {
        /// The migration that they were embedded for.
        number: u64,
        /// What came of it.
        exemplars: Vec<Reembedding>,
    },
    /// Ends all runs and lets none begin, or lets them begin again. Writes nothing.
    Hold(bool),
    /// Puts the other contract in service, for good if the migration goes back. Refused with
    /// [`WriteError::MigrationState`] while an exemplar is not embedded yet. Runs may begin again.
    Switch {
        /// Which migration.
        number: u64,
    },
    /// Gives one up that has not switched. Refused with [`WriteError::NoMigration`], [`WriteError::MigrationState`].
    Cancel(Asked),
    /// Goes back, after the switch. Refused as `Cancel`.
    RollBack {
        /// Identities seen since may be lost to searches.
        allow_loss: bool,
        /// Who asks.
        asked: Asked,
    },
    /// Drops the old contract, after the switch. Refused as `Cancel`.
    Finish(Asked),
}

/// Takes a step. Returns its sequence, that of the first time if the request was sent before.
pub(super) fn carry_out(
    truth: &mut Truth,
    runs: &mut Runs,
    options: &mut CoreOptions,
    step: Step,
) -> Result<u64, Refusal> {
    match step {
        Step::Start(new, asked) => start(truth, options, *new, &asked),
        Step::Reembedded { number, exemplars } => reembedded(truth, number, exemplars),
        Step::Hold(held) => {
            runs.hold(held);
            Ok(truth.log.appended_sequence())
        }
        Step::Switch { number } => {
            let sequence = switch(truth, number)?;
            go_over(truth.catalog.contracts(), runs, options);
            hri::go_over(truth, options)?;
            Ok(sequence)
        }
        Step::Cancel(asked) => end(truth, Phase::Reembedding, asked),
        Step::RollBack { allow_loss, asked } => roll_back(truth, allow_loss, &asked),
        Step::Finish(asked) => end(truth, Phase::Switched, asked),
    }
}

/// Runs and options from here on are of the contract in service. It may be another one than before after a switch,
/// and after one that failed.
pub(super) fn go_over(contracts: &Contracts, runs: &mut Runs, options: &mut CoreOptions) {
    let contract = contracts.in_service();
    if contract.id == options.contract {
        return;
    }
    let named = contracts.migration().and_then(|on| on.model(&contract.id));
    options.contract.clone_from(&contract.id);
    options.dimension = contract.dimension;
    options.same_cosine = named.map_or(options.same_cosine, |model| model.same_cosine);
    runs.go_over(options.same_cosine, options.dimension);
}

fn start(
    truth: &mut Truth,
    options: &CoreOptions,
    new: NewMigration,
    asked: &Asked,
) -> Result<u64, Refusal> {
    if let Some(earlier) = repeated(truth, &asked.request_id, RequestKind::StartMigration)? {
        return Ok(earlier.sequence);
    }
    let running = truth.catalog.contracts().migrating();
    let consents = |running: &Migration| {
        let same = running.to.contract == new.to.contract && running.phase == Phase::Reembedding;
        same && new.allow_loss && !running.allow_loss
    };
    let number = match running {
        None => 0,
        Some(running) if consents(running) => running.number,
        Some(running) => {
            return Err(WriteError::MigrationRunning {
                number: running.number,
                embedder: running.to.embedder.clone(),
            }
            .into());
        }
    };
    let other = Contract {
        id: new.to.contract.clone(),
        dimension: usize::try_from(new.to.dimension).unwrap_or(usize::MAX),
        embedder: Some(new.to.embedder.clone()),
        folder: folder_of(truth.log.appended_sequence() + 1),
    };
    let started = MigrationStarted {
        from: Some(new.from),
        to: Some(new.to),
        allow_loss: new.allow_loss,
        migration: number,
        rolls_back: false,
        reason: asked.reason.clone(),
    };
    let body = Body::MigrationStarted(started);
    let sequence = truth.write(record(&asked.author, &asked.request_id, body), Vec::new())?;
    if number == 0 {
        truth.other = Some(begin_index(&truth.log, &options.data, &other, sequence));
    }
    Ok(sequence)
}

fn reembedded(truth: &mut Truth, number: u64, exemplars: Vec<Reembedding>) -> Result<u64, Refusal> {
    let dimension = embedding_into(truth, number)?.dimension;
    let mut embeddings = Vec::new();
    let mut done = Vec::with_capacity(exemplars.len());
    for exemplar in exemplars {
        if !truth.catalog.is_pending(exemplar.exemplar, number)? {
            continue;
        }
        let mut one = Reembedded {
            exemplar_id: exemplar.exemplar,
            ..Reembedded::default()
        };
        // One that is not in the index was lost to an earlier contract.
        let face = truth.index.newest().face(FaceId::new(exemplar.exemplar));
        if let (Some(face), Some(bytes)) = (face, exemplar.embedding) {
            one.identity_id = face.identity.get();
            one.track_id = face.track.get();
            one.source_id = face.source.get();
            one.seen_us = face.seen_us;
            one.quality = face.quality;
            embeddings.push(checked(exemplar.exemplar, &bytes, dimension)?);
            let key = truth.catalog.track_key(one.track_id)?;
            one.key = key;
            one.embedding = Some(truth.log.put_sealed(key, &bytes)?);
        }
        done.push(one);
    }
    if done.is_empty() {
        return Ok(truth.log.appended_sequence());
    }
    let before = truth.catalog.progress();
    let count = |all: usize| u64::try_from(all).unwrap_or(u64::MAX);
    let body = Body::ExemplarsReembedded(ExemplarsReembedded {
        migration: number,
        total: before.total,
        done: before.done + count(done.len()),
        lost: before.lost + count(done.len() - embeddings.len()),
        exemplars: done,
    });
    Ok(truth.write(record(SYSTEM, "", body), embeddings)?)
}

fn checked(exemplar: u64, bytes: &[u8], dimension: usize) -> Result<Embedding, WriteError> {
    let unfit = |what: String| WriteError::Embedding {
        what: format!("exemplar {exemplar}: {what}"),
    };
    let embedding = Embedding::from_f16_bytes(bytes).map_err(|error| unfit(error.to_string()))?;
    if embedding.dimension() == dimension {
        return Ok(embedding);
    }
    let found = embedding.dimension();
    Err(unfit(format!(
        "{found} values, the contract has {dimension}"
    )))
}

/// The contract that migration `number` embeds exemplars under.
fn embedding_into(truth: &Truth, number: u64) -> Result<Contract, WriteError> {
    let contracts = truth.catalog.contracts();
    let on = contracts.migrating();
    let embeds = on.is_some_and(|on| on.number == number && on.phase.embeds());
    match contracts.other().filter(|_| embeds) {
        Some(other) => Ok(other.clone()),
        None => Err(WriteError::MigrationState {
            what: "this migration embeds nothing any more",
        }),
    }
}

fn switch(truth: &mut Truth, number: u64) -> Result<u64, Refusal> {
    let contract = embedding_into(truth, number)?.id;
    if truth.catalog.any_pending(number)? {
        return Err(WriteError::MigrationState {
            what: "not all exemplars are embedded again yet",
        }
        .into());
    }
    let phase = truth.catalog.contracts().migrating().map(|on| on.phase);
    let body = if phase == Some(Phase::RollingBack) {
        Body::MigrationEnded(MigrationEnded {
            migration: number,
            outcome: MigrationOutcome::RolledBack.into(),
            contract,
            reason: String::new(),
        })
    } else {
        Body::MigrationSwitched(MigrationSwitched {
            migration: number,
            contract,
        })
    };
    Ok(truth.write(record(SYSTEM, "", body), Vec::new())?)
}

fn roll_back(truth: &mut Truth, allow_loss: bool, asked: &Asked) -> Result<u64, Refusal> {
    if let Some(earlier) = repeated(truth, &asked.request_id, RequestKind::RollBackMigration)? {
        return Ok(earlier.sequence);
    }
    let Some(on) = truth.catalog.contracts().migrating() else {
        return Err(WriteError::NoMigration.into());
    };
    match on.phase {
        Phase::Switched => {}
        Phase::RollingBack if allow_loss && !on.allow_loss => {}
        Phase::RollingBack => {
            return Err(WriteError::MigrationState {
                what: "it is being rolled back already",
            }
            .into());
        }
        Phase::Reembedding | Phase::Done | Phase::Cancelled | Phase::RolledBack => {
            return Err(WriteError::MigrationState {
                what: "it has not switched yet: cancel it",
            }
            .into());
        }
    }
    let body = Body::MigrationStarted(MigrationStarted {
        from: Some(on.to.clone()),
        to: Some(on.from.clone()),
        allow_loss,
        migration: on.number,
        rolls_back: true,
        reason: asked.reason.clone(),
    });
    Ok(truth.write(record(&asked.author, &asked.request_id, body), Vec::new())?)
}

/// Ends a migration that is in `phase`.
fn end(truth: &mut Truth, phase: Phase, asked: Asked) -> Result<u64, Refusal> {
    let (kind, outcome, otherwise) = if phase == Phase::Switched {
        let otherwise = "it has not switched: wait for that, or cancel it";
        (
            RequestKind::FinishMigration,
            MigrationOutcome::Done,
            otherwise,
        )
    } else {
        let otherwise = "it has switched already: roll it back, or finish it";
        (
            RequestKind::CancelMigration,
            MigrationOutcome::Cancelled,
            otherwise,
        )
    };
    if let Some(earlier) = repeated(truth, &asked.request_id, kind)? {
        return Ok(earlier.sequence);
    }
    let Some(on) = truth.catalog.contracts().migrating() else {
        return Err(WriteError::NoMigration.into());
    };
    if on.phase == Phase::RollingBack {
        let what = "it is being rolled back: wait for that";
        return Err(WriteError::MigrationState { what }.into());
    }
    if on.phase != phase {
        return Err(WriteError::MigrationState { what: otherwise }.into());
    }
    let body = Body::MigrationEnded(MigrationEnded {
        migration: on.number,
        outcome: outcome.into(),
        contract: truth.catalog.contracts().in_service().id.clone(),
        reason: asked.reason,
    });
    Ok(truth.write(record(&asked.author, &asked.request_id, body), Vec::new())?)
}

#[cfg(test)]
pub(super) mod tests;
