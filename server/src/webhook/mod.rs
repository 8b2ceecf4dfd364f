//! Alerts by webhook: each rule's alerts, in order, from its cursor in the log on.
//!
//! What waits, waits in the log: nothing is queued here. A rule's alerts go one after another, so that a slow
//! or dead endpoint holds up its own rule and nobody else's. An alert counts as delivered once that is
//! recorded; a crash between the endpoint's answer and the record sends it again, with the same id.

mod address;
mod courier;
mod payload;
mod post;

pub(crate) use address::WebhookRules;

use crate::config::Alerts;
use crate::core::{Committed, Core};
use crate::error::ApiError;
use crate::metrics::EdgeMetrics;
use crate::pb::watch_event::Event;
use crate::shutdown::Shutdown;
use crate::time::now_us;
use courier::Courier;
use post::Poster;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::{Id, JoinHandle, JoinSet};

/// Requests at a time.
const IN_FLIGHT_MAX: usize = 64;
/// How often is asked who has left.
const TICK: Duration = Duration::from_secs(1);
/// The pause after something here has failed that is nobody's fault outside.
const AGAIN: Duration = Duration::from_secs(1);

/// Says that rules have changed.
#[derive(Clone, Debug)]
pub(crate) struct RuleNews(watch::Sender<()>);

impl RuleNews {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Rules have changed: who waits for another try may try now.
    pub(crate) fn tell(&self) {
        self.0.send_replace(());
    }
}

/// What deliveries share.
pub(crate) struct Post {
    core: Core,
    settings: Alerts,
    rules: WebhookRules,
    metrics: EdgeMetrics,
    poster: Poster,
    places: Semaphore,
    shutdown: Shutdown,
}

/// Starts the task that delivers alerts and asks who has left. It ends at shutdown.
pub(crate) fn start(
    core: &Core,
    settings: Alerts,
    rules: WebhookRules,
    metrics: EdgeMetrics,
    news: &RuleNews,
    shutdown: Shutdown,
) -> JoinHandle<()> {
    let post = Arc::new(Post {
        core: core.clone(),
        poster: Poster::new(Duration::from_millis(settings.webhook_timeout_ms)),
        settings,
        rules,
        metrics,
        places: Semaphore::new(IN_FLIGHT_MAX),
        shutdown,
    });
    tokio::spawn(run(post, core.subscribe(), news.0.subscribe()))
}

async fn run(
    post: Arc<Post>,
    mut commits: broadcast::Receiver<Arc<Committed>>,
    mut news: watch::Receiver<()>,
) {
    let mut couriers: JoinSet<()> = JoinSet::new();
    // Of each courier's task, the rule.
    let mut busy: HashMap<Id, u64> = HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = true;
    while !post.shutdown.is_set() {
        if look {
            for rule in waiting(&post).await {
                if busy.values().all(|other| *other != rule) {
                    let courier = Courier::new(Arc::clone(&post), rule, news.clone());
                    let task = couriers.spawn(courier.run());
                    busy.insert(task.id(), rule);
                }
            }
        }
        look = tokio::select! {
            () = post.shutdown.wait() => false,
            _ = tick.tick() => {
                // Refused while the log cannot be written; then the next tick asks again.
                let _ = post.core.tick_alerts(now_us()).await;
                false
            }
            changed = news.changed() => changed.is_ok(),
            commit = commits.recv() => match commit {
                Ok(commit) => commit.events.iter().any(is_alert),
                Err(broadcast::error::RecvError::Lagged(_)) => true,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(done) = couriers.join_next_with_id() => match done {
                Ok((id, ())) => busy.remove(&id).is_some(),
                Err(error) => {
                    tracing::error!(%error, "a webhook's courier was lost");
                    busy.remove(&error.id()).is_some()
                }
            },
        };
    }
    while couriers.join_next().await.is_some() {}
}

fn is_alert(event: &crate::pb::WatchEvent) -> bool {
    matches!(&event.event, Some(Event::AlertRaised(_)))
}

/// Rules with a webhook that has not taken all of their alerts.
async fn waiting(post: &Post) -> Vec<u64> {
    let found = blocking(&post.core, |core| {
        let mut waiting = Vec::new();
        for rule in core.catalog().alert_rules(0, u32::MAX)? {
            let told = rule.rule.webhook.is_some() && !rule.gone;
            if told
                && core
                    .catalog()
                    .next_alert(rule.id, rule.delivered)?
                    .is_some()
            {
                waiting.push(rule.id);
            }
        }
        Ok(waiting)
    });
    found.await.unwrap_or_else(|error| {
        tracing::error!(%error, "alerts that wait for delivery cannot be looked up");
        Vec::new()
    })
}

async fn blocking<T: Send + 'static>(
    core: &Core,
    read: impl FnOnce(&Core) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let core = core.clone();
    let result = tokio::task::spawn_blocking(move || read(&core)).await;
    result.map_err(|_| ApiError::Internal("a read was lost"))?
}
