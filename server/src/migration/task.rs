//! What goes on in the background: exemplars are embedded again, a batch at a time, until the contracts
//! can change places.

use super::{Fault, embed, load_contract};
use crate::core::{Migration, Pending, Phase, Step, View, WriteError};
use crate::edge::Edge;
use crate::error::ApiError;
use rollcall_ingest::Embedder;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Exemplars of a record. What a crash costs is a batch at most.
const BATCH: usize = 32;
/// Looks at what has come before the switch at most: photos are enrolled although runs are held.
const SWITCH_TRIES: usize = 5;
/// After a failure it is tried again so much later.
const RETRY: Duration = Duration::from_secs(10);

/// Goes on with the migration that is on, whenever there is one, until the server goes down.
pub(crate) async fn run(edge: Arc<Edge>) {
    while !edge.shutdown.is_set() {
        let view = edge.core.view();
        show(&edge, &view);
        let on = view.contracts.migrating();
        let wait = match on.filter(|on| on.phase.embeds()).cloned() {
            None => {
                edge.migrations.set_fault(None);
                edge.models.unload();
                Duration::MAX
            }
            Some(on) => match go_on(&edge, &on).await {
                Ok(()) => continue,
                // It was cancelled meanwhile.
                Err(_) if !embeds(&edge, on.number) => continue,
                Err(error) => {
                    tracing::warn!(%error, migration = on.number, "a migration gets no farther");
                    let (reason, message) = (error.reason(), error.to_string());
                    edge.migrations.set_fault(Some(Fault { reason, message }));
                    // What would be lost is lost until somebody allows it.
                    let waits = matches!(error, ApiError::WouldLose { .. });
                    if waits { Duration::MAX } else { RETRY }
                }
            },
        };
        tokio::select! {
            () = edge.migrations.nudge.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = edge.shutdown.wait() => {}
        }
    }
}

/// Whether migration `number` embeds exemplars.
fn embeds(edge: &Edge, number: u64) -> bool {
    let contracts = Arc::clone(&edge.core.view().contracts);
    let on = contracts.migrating();
    on.is_some_and(|on| on.number == number && on.phase.embeds())
}

/// One migration, as far as it goes: to the switch, or until it is told otherwise.
async fn go_on(edge: &Arc<Edge>, on: &Migration) -> Result<(), ApiError> {
    let target = if on.phase == Phase::RollingBack {
        &on.from
    } else {
        &on.to
    };
    let models = match edge.models.of(&target.contract) {
        Some(models) => models,
        None => {
            let loaded = load_contract(edge, &target.embedder, &target.contract).await?;
            edge.models.add(loaded)
        }
    };
    let mut embedder = (models.make_embedder)()?;
    loop {
        if edge.shutdown.is_set() || !embeds(edge, on.number) {
            return Ok(());
        }
        let begun = Instant::now();
        let batch = pending(edge, on.number).await?;
        let last = batch.len() < BATCH;
        embedder = embed_batch(edge, on.number, embedder, batch).await?;
        show(edge, &edge.core.view());
        edge.migrations.set_fault(None);
        if last {
            return switch(edge, on, embedder).await;
        }
        let share = edge.config.migration.share_percent;
        edge.rest(begun.elapsed(), share).await;
    }
}

async fn pending(edge: &Edge, number: u64) -> Result<Vec<Pending>, ApiError> {
    let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
    edge.read(move |catalog| catalog.pending(number, limit))
        .await
}

/// Embeds a batch and records it; gives the embedder back.
async fn embed_batch(
    edge: &Edge,
    number: u64,
    mut embedder: Box<dyn Embedder>,
    batch: Vec<Pending>,
) -> Result<Box<dyn Embedder>, ApiError> {
    if batch.is_empty() {
        return Ok(embedder);
    }
    let log = edge.core.log();
    let work = move || {
        let done = embed::embed(&log, embedder.as_mut(), batch);
        (embedder, done)
    };
    let worked = tokio::task::spawn_blocking(work).await;
    let (embedder, done) = worked.map_err(|_| ApiError::Internal("embedding panicked"))?;
    let exemplars = done?;
    let step = Step::Reembedded { number, exemplars };
    edge.core.migrate(step).await?;
    Ok(embedder)
}

/// Little is left: holds runs, embeds what has come since, and lets the contracts change places.
async fn switch(
    edge: &Arc<Edge>,
    on: &Migration,
    embedder: Box<dyn Embedder>,
) -> Result<(), ApiError> {
    check_loss(edge, on).await?;
    edge.core.migrate(Step::Hold(true)).await?;
    edge.migrations.cut.send_replace(());
    let switched = embed_rest(edge, on, embedder).await;
    if switched.is_err() {
        // If the writer cannot be told, it opens the log again, and holds nothing any more.
        let _ = edge.core.migrate(Step::Hold(false)).await;
    }
    switched
}

async fn embed_rest(
    edge: &Arc<Edge>,
    on: &Migration,
    mut embedder: Box<dyn Embedder>,
) -> Result<(), ApiError> {
    let number = on.number;
    let mut tries = SWITCH_TRIES;
    let sequence = loop {
        embedder = embed_pending(edge, on, embedder).await?;
        tries -= 1;
        match edge.core.migrate(Step::Switch { number }).await {
            Ok(sequence) => break sequence,
            // Something has come since, unless it was cancelled.
            Err(WriteError::MigrationState { .. }) if tries > 0 && embeds(edge, number) => {}
            Err(error) => return Err(error.into()),
        }
    };
    tracing::info!(
        migration = number,
        sequence,
        "another contract is in service"
    );
    Ok(())
}

/// Embeds all that is pending, and looks whether anybody is lost by that.
async fn embed_pending(
    edge: &Arc<Edge>,
    on: &Migration,
    mut embedder: Box<dyn Embedder>,
) -> Result<Box<dyn Embedder>, ApiError> {
    let before = edge.core.view().progress.lost;
    loop {
        let rest = pending(edge, on.number).await?;
        if rest.is_empty() {
            break;
        }
        embedder = embed_batch(edge, on.number, embedder, rest).await?;
    }
    if edge.core.view().progress.lost != before {
        check_loss(edge, on).await?;
    }
    Ok(embedder)
}

/// Whether nobody is lost to searches, or that is allowed.
async fn check_loss(edge: &Edge, on: &Migration) -> Result<(), ApiError> {
    // It may have been allowed since the migration began.
    let contracts = Arc::clone(&edge.core.view().contracts);
    let allowed = contracts.migrating().is_some_and(|on| on.allow_loss);
    if allowed {
        return Ok(());
    }
    let (number, back) = (on.number, on.phase == Phase::RollingBack);
    let lost = edge
        .read(move |catalog| catalog.lost_by(number, back))
        .await?;
    super::check_loss(lost, allowed)
}

/// Metrics of the last migration.
fn show(edge: &Edge, view: &View) {
    let (migrations, progress) = (&edge.migrations, view.progress);
    let embeds = view
        .contracts
        .migrating()
        .is_some_and(|on| on.phase.embeds());
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let pending = if embeds {
        progress.total - progress.done
    } else {
        0
    };
    for (state, count) in [
        ("pending", pending),
        ("done", progress.done - progress.lost),
        ("lost", progress.lost),
    ] {
        let gauge = migrations.exemplars.with_label_values(&[state]);
        gauge.set(number(count));
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = 1.0 - pending as f64 / progress.total.max(1) as f64;
    migrations.ratio.set(ratio);
}
