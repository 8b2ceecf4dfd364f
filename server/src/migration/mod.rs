//! Going over to another embedding model while serving: `docs/migration.md`.
//!
//! The log knows how far a migration is; [`run`] does what is to be done next, and what it is asked
//! here it asks the writer. So a server that is killed goes on where it was.

mod embed;
mod space;
mod task;
mod told;

pub(crate) use task::run;

use crate::core::{Asked, Lost, NewMigration, Phase, Step, WriteError};
use crate::edge::Edge;
use crate::error::ApiError;
use crate::pb;
use crate::vision::{LoadedModels, Vision};
use prometheus::{Gauge, IntGaugeVec, Opts, Registry};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};

/// What migrations need beside what all services share.
pub struct Migrations {
    vision: Vision,
    /// Something was asked of the task.
    nudge: Notify,
    /// Why it gets no farther.
    fault: Mutex<Option<Fault>>,
    /// Ends all runs when the models change.
    cut: watch::Sender<()>,
    exemplars: IntGaugeVec,
    ratio: Gauge,
}

/// Why a migration gets no farther at present.
#[derive(Clone, Debug)]
struct Fault {
    reason: &'static str,
    message: String,
}

impl std::fmt::Debug for Migrations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migrations").finish_non_exhaustive()
    }
}

impl Migrations {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If one of them is registered already.
    pub(crate) fn new(vision: Vision, registry: &Registry) -> Result<Self, prometheus::Error> {
        let exemplars = IntGaugeVec::new(
            Opts::new(
                "rollcall_migration_exemplars",
                "Exemplars of the last migration",
            ),
            &["state"],
        )?;
        let ratio = Gauge::new(
            "rollcall_migration_progress_ratio",
            "Exemplars that the migration is done with, of all; 1 while none embeds",
        )?;
        registry.register(Box::new(exemplars.clone()))?;
        registry.register(Box::new(ratio.clone()))?;
        Ok(Self {
            vision,
            nudge: Notify::new(),
            fault: Mutex::default(),
            cut: watch::Sender::new(()),
            exemplars,
            ratio,
        })
    }

    /// Changes when all runs have to end.
    pub(crate) fn cut(&self) -> watch::Receiver<()> {
        self.cut.subscribe()
    }

    fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn fault(&self) -> Option<Fault> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone()
    }
}

/// Begins a migration; or says what it would be.
pub(crate) async fn start(
    edge: &Arc<Edge>,
    request: pb::StartMigrationRequest,
    asked: Asked,
) -> Result<pb::Migration, ApiError> {
    let from = edge.in_service();
    let to = load(edge, request.embedder.clone()).await?;
    if to.collection.contract == from.collection.contract {
        return Err(ApiError::SameModel {
            embedder: request.embedder,
        });
    }
    let new = NewMigration {
        from: from.embedder.clone(),
        to: to.embedder.clone(),
        allow_loss: request.allow_loss,
    };
    let lost = edge.read(|catalog| catalog.without_crops()).await?;
    let needed = space::needed(&edge.core.view(), to.collection.dimension);
    if request.dry_run {
        return Ok(told::would_be(&new, &edge.core.view(), lost, needed));
    }
    // One that is on has been checked; it may be asked to lose more.
    if edge.core.view().contracts.migrating().is_none() {
        check_loss(lost, request.allow_loss)?;
        space::check(&edge.config.data, needed)?;
    }
    edge.core.migrate(Step::Start(Box::new(new), asked)).await?;
    edge.models.add(to);
    edge.migrations.nudge.notify_one();
    get(edge)
}

/// The last migration.
pub(crate) fn get(edge: &Edge) -> Result<pb::Migration, ApiError> {
    let view = edge.core.view();
    let migration = view.contracts.migration();
    let migration = migration.ok_or(WriteError::NoMigration)?;
    let fault = edge.migrations.fault().filter(|_| migration.phase.embeds());
    Ok(told::migration(migration, view.progress, fault))
}

/// Gives a migration up, before the switch.
pub(crate) async fn cancel(edge: &Arc<Edge>, asked: Asked) -> Result<pb::Migration, ApiError> {
    step(edge, Step::Cancel(asked)).await
}

/// Goes back, after the switch.
pub(crate) async fn roll_back(
    edge: &Arc<Edge>,
    allow_loss: bool,
    asked: Asked,
) -> Result<pb::Migration, ApiError> {
    let view = edge.core.view();
    let switched = view.contracts.migrating();
    let switched = switched.filter(|on| on.phase == Phase::Switched);
    if let Some(on) = switched {
        // What cannot be loaded is not gone back to.
        let old = load_contract(edge, &on.from.embedder, &on.from.contract).await?;
        edge.models.add(old);
    }
    step(edge, Step::RollBack { allow_loss, asked }).await
}

/// Drops the old contract, after the switch.
pub(crate) async fn finish(edge: &Arc<Edge>, asked: Asked) -> Result<pb::Migration, ApiError> {
    step(edge, Step::Finish(asked)).await
}

async fn step(edge: &Arc<Edge>, step: Step) -> Result<pb::Migration, ApiError> {
    edge.core.migrate(step).await?;
    edge.migrations.nudge.notify_one();
    get(edge)
}

fn check_loss(lost: Lost, allow_loss: bool) -> Result<(), ApiError> {
    if lost.identities == 0 || allow_loss {
        return Ok(());
    }
    Err(ApiError::WouldLose {
        identities: lost.identities,
        exemplars: lost.exemplars,
    })
}

async fn load(edge: &Edge, embedder: String) -> Result<LoadedModels, ApiError> {
    let load = Arc::clone(&edge.migrations.vision.load);
    let loaded = tokio::task::spawn_blocking(move || load(Some(&embedder))).await;
    Ok(loaded.map_err(|_| ApiError::Internal("loading a model panicked"))??)
}

/// The models of an embedder, which must still be of that contract.
async fn load_contract(
    edge: &Edge,
    embedder: &str,
    contract: &str,
) -> Result<LoadedModels, ApiError> {
    let models = load(edge, embedder.to_owned()).await?;
    crate::edge::check_contract(&models.collection.contract, contract)?;
    Ok(models)
}
