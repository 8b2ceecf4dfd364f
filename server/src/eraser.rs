//! What goes on in the background: erasures are gone through to their end, and what is older than it may be kept is
//! erased.

use crate::config::Kept;
use crate::core::{Core, Erasure, ErasurePlace, Outlived, SYSTEM, What, WriteError};
use crate::edge::Edge;
use crate::time::now_us;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use rollcall_log::record::{Body, ErasureScope};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// After a failure an erasure is tried again so much later; twice as much after each further one, up to the longest.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_LONGEST: Duration = Duration::from_secs(600);
/// So often it is looked whether something was begun that nobody has told of.
const LOOK: Duration = Duration::from_secs(60);

/// Says that something is to be erased, and counts.
#[derive(Debug)]
pub(crate) struct Eraser {
    begun: Notify,
    done: IntCounterVec,
    pending: IntGauge,
    oldest_s: IntGauge,
}

impl Eraser {
    /// # Errors
    /// If its metrics are registered already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let done = IntCounterVec::new(
            Opts::new("rollcall_erasures_total", "Erasures that are through"),
            &["scope"],
        )?;
        registry.register(Box::new(done.clone()))?;
        for scope in [
            ErasureScope::Identity,
            ErasureScope::Tracks,
            ErasureScope::Source,
            ErasureScope::Retention,
            ErasureScope::Rule,
        ] {
            let _ = done.with_label_values(&[crate::core::scope_name(scope)]);
        }
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            begun: Notify::new(),
            done,
            pending: gauge("rollcall_erasures_pending", "Erasures under way")?,
            oldest_s: gauge(
                "rollcall_erasure_oldest_pending_seconds",
                "Time since the oldest erasure under way was begun; 0: none is",
            )?,
        })
    }

    /// Something was begun.
    pub(crate) fn nudge(&self) {
        self.begun.notify_one();
    }

    fn show(&self, pending: &[ErasurePlace]) {
        self.pending
            .set(i64::try_from(pending.len()).unwrap_or(i64::MAX));
        let oldest = pending
            .first()
            .map_or(0, |oldest| now_us() - oldest.time_us);
        self.oldest_s.set(oldest.max(0) / 1_000_000);
    }
}

/// Goes through erasures until the server goes down.
pub(crate) async fn run(edge: Arc<Edge>) {
    let every = Duration::from_secs(edge.config.retention.every_s);
    let rules = edge.config.retention.rules();
    let limited = rules
        .iter()
        .any(|rule| rule.unknown_s.or(rule.named_s).is_some());
    let mut look_at = Instant::now();
    let mut retry = RETRY / 2;
    let restored = Erasure {
        what: What::KeysGone,
        author: SYSTEM.to_owned(),
        reason: "erased after this copy of the log was made".to_owned(),
        request_id: String::new(),
    };
    match edge.core.erase(restored).await {
        Ok(_) | Err(WriteError::NothingToErase) => {}
        Err(error) => tracing::error!(%error, "what was erased since cannot be erased again"),
    }
    while !edge.shutdown.is_set() {
        if limited && Instant::now() >= look_at {
            look_at = match retain(&edge.core, &rules).await {
                // There may be more than one erasure can name.
                Ok(true) => Instant::now(),
                Ok(false) => Instant::now() + every,
                Err(error) => {
                    tracing::warn!(%error, "what is too old cannot be erased");
                    Instant::now() + RETRY
                }
            };
        }
        let through = go_through(&edge).await;
        let mut wait = LOOK;
        if limited {
            wait = wait.min(look_at.saturating_duration_since(Instant::now()));
        }
        retry = if through {
            RETRY
        } else {
            (retry * 2).min(RETRY_LONGEST)
        };
        if !through {
            wait = wait.min(retry);
        }
        tokio::select! {
            () = edge.eraser.begun.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = edge.shutdown.wait() => {}
        }
    }
}

/// Finishes all erasures that are under way; whether all are through.
async fn go_through(edge: &Arc<Edge>) -> bool {
    let pending = match edge.read(|catalog| catalog.erasures_pending()).await {
        Ok(pending) => pending,
        Err(error) => {
            tracing::warn!(%error, "which erasures are under way cannot be read");
            return false;
        }
    };
    edge.eraser.show(&pending);
    let mut through = true;
    for place in &pending {
        if edge.shutdown.is_set() {
            return true;
        }
        match edge.core.finish_erasure(place.sequence).await {
            Ok(ended) => {
                let scope = scope_of(&edge.core, place.sequence).await;
                let name = crate::core::scope_name(scope);
                edge.eraser.done.with_label_values(&[name]).inc();
                tracing::info!(erasure = place.sequence, ended, scope = name, "erased");
            }
            Err(error) => {
                tracing::error!(erasure = place.sequence, %error, "an erasure gets no farther");
                through = false;
            }
        }
    }
    if let Ok(left) = edge.read(|catalog| catalog.erasures_pending()).await {
        edge.eraser.show(&left);
    }
    through
}

async fn scope_of(core: &Core, erasure: u64) -> ErasureScope {
    let log = core.log();
    let read = tokio::task::spawn_blocking(move || log.record(erasure)).await;
    let body = read
        .ok()
        .and_then(Result::ok)
        .flatten()
        .and_then(|record| record.body);
    match body {
        Some(Body::ErasureBegun(begun)) => begun.scope(),
        Some(_) | None => ErasureScope::Unspecified,
    }
}

/// Begins to erase what is older than it may be kept; whether there was anything.
async fn retain(core: &Core, rules: &[Kept]) -> Result<bool, WriteError> {
    let now = now_us();
    let own: Vec<u64> = rules
        .iter()
        .map(|rule| rule.source)
        .filter(|id| *id != 0)
        .collect();
    let mut outlived = Vec::new();
    for rule in rules {
        let but = if rule.source == 0 {
            own.clone()
        } else {
            Vec::new()
        };
        for (named, age_s) in [(false, rule.unknown_s), (true, rule.named_s)] {
            let Some(age_s) = age_s else { continue };
            let age_us = i64::try_from(age_s)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000);
            outlived.push(Outlived {
                source: rule.source,
                but: but.clone(),
                named,
                before_us: now.saturating_sub(age_us),
            });
        }
    }
    let erasure = Erasure {
        what: What::Outlived(outlived),
        author: SYSTEM.to_owned(),
        reason: "older than it may be kept".to_owned(),
        request_id: String::new(),
    };
    match core.erase(erasure).await {
        Ok(_) => Ok(true),
        Err(WriteError::NothingToErase) => Ok(false),
        Err(error) => Err(error),
    }
}
