//! Delivers one rule's alerts, one after another, until none waits.

use super::payload::{body, id_of, signature};
use super::post::{Answer, Letter, PostError};
use super::{AGAIN, Post, blocking};
use crate::core::{AlertRow, AlertRuleRow, WriteError};
use crate::error::ApiError;
use crate::time::now_us;
use crate::url_mask::masked;
use rollcall_log::record::{AlertDelivered, AlertDelivery, AlertWebhook};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The status by which an endpoint says that it is gone for good.
const GONE: u16 = 410;

/// An alert on its way.
struct Job {
    rule: AlertRuleRow,
    webhook: AlertWebhook,
    alert: AlertRow,
    letter: Letter,
}

/// Delivers one rule's alerts.
pub(super) struct Courier {
    post: Arc<Post>,
    rule: u64,
    news: watch::Receiver<()>,
    /// The alert that is tried, and how often it was.
    attempts: (u64, u32),
}

impl Courier {
    pub(super) fn new(post: Arc<Post>, rule: u64, news: watch::Receiver<()>) -> Self {
        Self {
            post,
            rule,
            news,
            attempts: (0, 0),
        }
    }

    /// Delivers until nothing waits, the rule has no webhook any more, or the server goes down.
    pub(super) async fn run(mut self) {
        let shutdown = self.post.shutdown.clone();
        tokio::select! {
            () = shutdown.wait() => {}
            () = self.deliver_all() => {}
        }
    }

    async fn deliver_all(&mut self) {
        loop {
            match self.next().await {
                Ok(Some(job)) => self.deliver(job).await,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(rule = self.rule, %error, "an alert cannot be made ready");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn next(&self) -> Result<Option<Job>, ApiError> {
        let id = self.rule;
        let read = move |core: &crate::core::Core| {
            let Some(rule) = core.catalog().alert_rule(id)?.filter(|rule| !rule.gone) else {
                return Ok(None);
            };
            let (Some(webhook), Some(alert)) = (
                rule.rule.webhook.clone(),
                core.catalog().next_alert(id, rule.delivered)?,
            ) else {
                return Ok(None);
            };
            let body = body(core, &rule, &alert, webhook.include_crop)?;
            let letter = Letter {
                url: webhook.url.clone(),
                body,
                signature: None,
                id: id_of(core, &alert),
            };
            Ok(Some(Job {
                rule,
                webhook,
                alert,
                letter,
            }))
        };
        blocking(&self.post.core, read).await
    }

    async fn deliver(&mut self, job: Job) {
        let sequence = job.alert.sequence;
        if self.attempts.0 != sequence {
            self.attempts = (sequence, 0);
        }
        self.attempts.1 = self.attempts.1.saturating_add(1);
        let (changed, raised_us) = (job.rule.sequence, job.alert.time_us);
        let sent = self.send(job).await;
        let status = sent.as_ref().map_or(0, |answer| answer.status);
        let result = match status {
            200..=299 => Some(("delivered", AlertDelivery::Delivered)),
            GONE => Some(("gone", AlertDelivery::Gone)),
            _ => None,
        };
        let label = result.map_or("failed", |(label, _)| label);
        self.post.metrics.webhooks.with_label_values(&[label]).inc();
        if let Some((_, result)) = result {
            if result == AlertDelivery::Gone {
                tracing::warn!(rule = self.rule, "a webhook's endpoint is gone (410)");
            }
            self.note(sequence, result, status).await;
            let lag_ms = u32::try_from((now_us() - raised_us) / 1000).unwrap_or(0);
            self.post
                .metrics
                .webhook_lag
                .observe(f64::from(lag_ms) / 1000.0);
            return;
        }
        let asked = sent.as_ref().ok().and_then(|answer| answer.retry_after);
        let pause = self.pause(asked);
        let why = match &sent {
            Ok(answer) => format!("HTTP status {}", answer.status),
            Err(error) => error.to_string(),
        };
        let (rule, attempt) = (self.rule, self.attempts.1);
        let why = masked(&why);
        tracing::warn!(
            rule,
            sequence,
            attempt,
            ?pause,
            why,
            "a webhook did not take an alert"
        );
        self.rest(pause, changed).await;
    }

    async fn send(&self, job: Job) -> Result<Answer, PostError> {
        // The settings may be others than when the rule was made.
        if let Err(error) = self.post.rules.check(&job.webhook.url) {
            return Err(PostError::Connection(error.to_string()));
        }
        let secret = &job.webhook.secret;
        let signed =
            (!secret.is_empty()).then(|| signature(secret, now_us() / 1_000_000, &job.letter.body));
        let letter = Letter {
            signature: signed,
            ..job.letter
        };
        // The semaphore is never closed.
        let _place = self.post.places.acquire().await;
        self.post.poster.post(letter).await
    }

    /// Records that the alert is done; tries until that is written, for what is not recorded is sent again.
    async fn note(&self, alert_sequence: u64, result: AlertDelivery, status: u16) {
        let delivered = AlertDelivered {
            rule_id: self.rule,
            alert_sequence,
            result: result.into(),
            status: status.into(),
            attempts: self.attempts.1,
        };
        loop {
            match self.post.core.alert_delivered(delivered).await {
                Ok(()) => return,
                Err(WriteError::Closed) => return std::future::pending().await,
                Err(error) => {
                    tracing::warn!(rule = self.rule, %error, "a delivery cannot be recorded yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Twice as long each time, up to the longest; a random part of it off, so that many do not come at once. What
    /// the endpoint asks for counts if it is longer, up to the longest too.
    fn pause(&self, asked: Option<Duration>) -> Duration {
        let settings = &self.post.settings;
        let longest = Duration::from_millis(settings.retry_longest_ms);
        let doublings = self.attempts.1.saturating_sub(1).min(30);
        let first = Duration::from_millis(settings.retry_first_ms);
        let pause = first.saturating_mul(1 << doublings).min(longest);
        let pause = pause.mul_f64(rand::random_range(0.5..=1.0));
        pause.max(asked.unwrap_or_default().min(longest))
    }

    /// Waits for so long, or until this rule has changed.
    async fn rest(&mut self, pause: Duration, changed: u64) {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                news = self.news.changed() => if news.is_err() { return },
            }
            let id = self.rule;
            let read = move |core: &crate::core::Core| Ok(core.catalog().alert_rule(id)?);
            let rule = blocking(&self.post.core, read).await;
            let same =
                |rule: Option<AlertRuleRow>| rule.is_some_and(|rule| rule.sequence == changed);
            if !rule.is_ok_and(same) {
                self.attempts.1 = 0;
                return;
            }
        }
    }
}
