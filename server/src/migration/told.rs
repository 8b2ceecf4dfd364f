//! Migrations in the API's words.

use super::Fault;
use crate::core::{Lost, Migration, NewMigration, Phase, Progress, View};
use crate::pb;
use crate::time::timestamp;
use rollcall_log::record::Model;

pub(super) fn migration(on: &Migration, progress: Progress, fault: Option<Fault>) -> pb::Migration {
    let (fault, fault_message) = match fault {
        Some(fault) => (fault.reason.to_owned(), fault.message),
        None => Default::default(),
    };
    pb::Migration {
        number: on.number,
        state: state(on.phase).into(),
        from: Some(model(&on.from)),
        to: Some(model(&on.to)),
        start_time: Some(timestamp(on.started_us)),
        author: on.author.clone(),
        allow_loss: on.allow_loss,
        exemplars_total: progress.total,
        exemplars_done: progress.done,
        exemplars_lost: progress.lost,
        fault,
        fault_message,
        ..pb::Migration::default()
    }
}

/// One that has not begun.
pub(super) fn would_be(new: &NewMigration, view: &View, lost: Lost, needed: u64) -> pb::Migration {
    pb::Migration {
        from: Some(model(&new.from)),
        to: Some(model(&new.to)),
        allow_loss: new.allow_loss,
        exemplars_total: view.progress.total,
        exemplars_lost: lost.exemplars,
        identities_lost: lost.identities,
        disk_bytes: needed,
        ..pb::Migration::default()
    }
}

fn model(model: &Model) -> pb::EmbeddingModel {
    pb::EmbeddingModel {
        contract: model.contract.clone(),
        embedder: model.embedder.clone(),
        version: model.version.clone(),
        dimension: model.dimension,
        same_cosine: model.same_cosine,
    }
}

fn state(phase: Phase) -> pb::MigrationState {
    match phase {
        Phase::Reembedding => pb::MigrationState::Reembedding,
        Phase::Switched => pb::MigrationState::Switched,
        Phase::RollingBack => pb::MigrationState::RollingBack,
        Phase::Done => pb::MigrationState::Done,
        Phase::Cancelled => pb::MigrationState::Cancelled,
        Phase::RolledBack => pb::MigrationState::RolledBack,
    }
}
