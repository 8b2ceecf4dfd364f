//! What is known about each source beside the log: its worker, its run, its last report. In memory
//! only.

use crate::core::SourceRow;
use crate::metrics::EdgeMetrics;
use crate::pb::{self, SourceCounters, SourceKind, SourceState};
use crate::time::{duration, duration_us, timestamp};
use crate::url_mask::masked;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// All sources that have had a worker or a run since the start.
#[derive(Debug)]
pub struct Sources {
    live: Mutex<BTreeMap<u64, Live>>,
    metrics: EdgeMetrics,
}

#[derive(Debug)]
struct Live {
    token: Option<String>,
    /// Why the run should end; `None` while it should go on.
    stop: watch::Sender<Option<String>>,
    /// Whether a run's stream is open.
    stream: watch::Sender<bool>,
    media: Option<pb::SourceMedia>,
    position_us: Option<i64>,
    /// Of runs before this one.
    before: SourceCounters,
    /// Of this run.
    now: SourceCounters,
    error: Option<pb::SourceError>,
    /// Of the open run, at its last report.
    lag: Option<prost_types::Duration>,
    restarts: u32,
    /// Whether a run broke off because nothing could be written.
    refused: bool,
    /// Farthest position of any run: a worker that gets past it makes progress.
    farthest_us: i64,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            token: None,
            stop: watch::Sender::new(None),
            stream: watch::Sender::new(false),
            media: None,
            position_us: None,
            before: SourceCounters::default(),
            now: SourceCounters::default(),
            error: None,
            lag: None,
            restarts: 0,
            refused: false,
            farthest_us: 0,
        }
    }
}

impl Sources {
    /// Nothing known yet.
    pub fn new(metrics: EdgeMetrics) -> Self {
        Self {
            live: Mutex::default(),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker is about to be started: from now on only a stream with this token is its.
    pub fn expect_worker(&self, source: u64, token: String) {
        let mut live = self.lock();
        let live = live.entry(source).or_default();
        live.token = Some(token);
        live.stop.send_replace(None);
    }

    /// The worker is gone: its token is worth nothing any more.
    pub fn worker_gone(&self, source: u64) {
        if let Some(live) = self.lock().get_mut(&source) {
            live.token = None;
        }
    }

    /// Whether a stream with this token may write to the source.
    pub fn admits(&self, source: u64, kind: SourceKind, token: Option<&str>) -> bool {
        match kind {
            SourceKind::Remote => true,
            SourceKind::File | SourceKind::Live | SourceKind::Unspecified => {
                let live = self.lock();
                let expected = live.get(&source).and_then(|live| live.token.as_deref());
                expected.is_some() && expected == token
            }
        }
    }

    /// A run has begun; returns the signal that asks it to stop.
    pub fn stream_opened(&self, source: u64) -> watch::Receiver<Option<String>> {
        let mut live = self.lock();
        let live = live.entry(source).or_default();
        let run = std::mem::take(&mut live.now);
        add(&mut live.before, &run);
        live.stream.send_replace(true);
        live.stop.subscribe()
    }

    /// The run is over.
    pub fn stream_closed(&self, source: u64) {
        if let Some(live) = self.lock().get_mut(&source) {
            live.lag = None;
            live.stream.send_replace(false);
        }
        self.metrics.lag_unknown(source);
    }

    /// Whether a run's stream is open, and a signal of its changes.
    pub fn stream(&self, source: u64) -> watch::Receiver<bool> {
        self.lock().entry(source).or_default().stream.subscribe()
    }

    /// Asks the source's run to end.
    pub fn stop(&self, source: u64, reason: &str) {
        let mut live = self.lock();
        live.entry(source)
            .or_default()
            .stop
            .send_replace(Some(reason.to_owned()));
    }

    /// A mark that moves whenever the source gets farther than it ever was.
    pub fn progress(&self, source: u64) -> i64 {
        self.lock().get(&source).map_or(0, |live| live.farthest_us)
    }

    /// A run breaks off because nothing can be written.
    pub fn writes_refused(&self, source: u64) {
        self.lock().entry(source).or_default().refused = true;
    }

    /// Whether a run broke off because nothing could be written, since this was asked last.
    pub fn take_refusal(&self, source: u64) -> bool {
        let mut live = self.lock();
        live.get_mut(&source)
            .is_some_and(|live| std::mem::take(&mut live.refused))
    }

    /// The worker is started again after it died.
    pub fn restarted(&self, source: u64) {
        self.lock().entry(source).or_default().restarts += 1;
        self.metrics.worker_restarted(source);
    }

    /// A run tells how it is doing.
    pub fn report(&self, source: u64, report: &pb::Report) {
        let mut live = self.lock();
        let live = live.entry(source).or_default();
        if report.media.is_some() {
            live.media.clone_from(&report.media);
        }
        live.error.clone_from(&report.error);
        live.lag = report.lag;
        if let Some(lag) = &report.lag {
            self.metrics.lag(
                source,
                Duration::from_micros(duration_us(lag).unsigned_abs()),
            );
        }
        if let Some(position) = &report.position {
            let position = duration_us(position);
            live.position_us = Some(position);
            live.farthest_us = live.farthest_us.max(position);
        }
        if let Some(counters) = &report.counters {
            self.metrics.source_counted(source, &live.now, counters);
            if counters.frames_decoded > live.now.frames_decoded {
                let unix = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO);
                self.metrics.frame_seen(source, unix);
            }
            live.now.clone_from(counters);
        }
    }

    /// Shows the source's state as a metric.
    pub fn state_changed(&self, source: u64, state: SourceState) {
        self.metrics.source_state(source, state);
    }

    /// A source as clients see it: credentials masked.
    pub fn show(&self, row: SourceRow) -> pb::Source {
        let live = self.lock();
        let live = live.get(&row.id);
        let recorded = (!row.reason.is_empty()).then(|| pb::SourceError {
            reason: row.reason.clone(),
            message: masked(&row.message),
            position: Some(duration(row.position_us)),
        });
        let reported = live
            .and_then(|live| live.error.clone())
            .map(|error| pb::SourceError {
                message: masked(&error.message),
                ..error
            });
        let mut counters = live.map(|live| live.before.clone()).unwrap_or_default();
        if let Some(live) = live {
            add(&mut counters, &live.now);
        }
        // After a restart of the server nothing is reported yet, but the tracks are known.
        counters.tracks = counters.tracks.max(row.tracks);
        let position = live
            .and_then(|live| live.position_us)
            .max(row.complete_up_to_us);
        pb::Source {
            id: row.id,
            uri: masked(&row.uri),
            name: masked(&row.name),
            kind: row.kind.into(),
            state: row.state.into(),
            last_error: recorded.or(reported),
            create_time: Some(timestamp(row.created_us)),
            media: live.and_then(|live| live.media.clone()),
            position: position.map(duration),
            complete_up_to: row.complete_up_to_us.map(duration),
            counters: Some(counters),
            worker_restarts: live.map_or(0, |live| live.restarts),
            realtime: row.realtime,
            sequence: row.sequence,
            lag: live.and_then(|live| live.lag),
        }
    }
}

fn add(to: &mut SourceCounters, run: &SourceCounters) {
    to.frames_decoded = to.frames_decoded.saturating_add(run.frames_decoded);
    to.frames_dropped = to.frames_dropped.saturating_add(run.frames_dropped);
    to.frames_detected = to.frames_detected.saturating_add(run.frames_detected);
    to.shots = to.shots.saturating_add(run.shots);
    to.faces_detected = to.faces_detected.saturating_add(run.faces_detected);
    to.faces_embedded = to.faces_embedded.saturating_add(run.faces_embedded);
    to.tracks = to.tracks.saturating_add(run.tracks);
    to.reconnects = to.reconnects.saturating_add(run.reconnects);
    for (reason, count) in &run.frames_rejected {
        *to.frames_rejected.entry(reason.clone()).or_default() += count;
    }
    for (reason, count) in &run.faces_rejected {
        *to.faces_rejected.entry(reason.clone()).or_default() += count;
    }
    for (stage, seconds) in &run.stage_seconds {
        *to.stage_seconds.entry(stage.clone()).or_default() += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    fn sources() -> Sources {
        Sources::new(EdgeMetrics::register(&Registry::new()).unwrap())
    }

    #[test]
    fn only_the_current_worker_is_let_in() {
        let sources = sources();
        assert!(!sources.admits(1, SourceKind::File, None));
        sources.expect_worker(1, "one".into());
        assert!(sources.admits(1, SourceKind::File, Some("one")));
        assert!(!sources.admits(1, SourceKind::Live, None));
        sources.expect_worker(1, "two".into());
        assert!(!sources.admits(1, SourceKind::File, Some("one")));
        sources.worker_gone(1);
        assert!(!sources.admits(1, SourceKind::File, Some("two")));
        assert!(sources.admits(2, SourceKind::Remote, None));
    }

    #[test]
    fn reports_add_up_over_runs_and_errors_are_masked() {
        let sources = sources();
        let report = |frames, position_us| pb::Report {
            counters: Some(SourceCounters {
                frames_decoded: frames,
                reconnects: 1,
                ..SourceCounters::default()
            }),
            lag: Some(duration(250_000)),
            position: Some(duration(position_us)),
            error: Some(pb::SourceError {
                message: "rtsp://u:p@h/x broke".into(),
                ..pb::SourceError::default()
            }),
            ..pb::Report::default()
        };
        let _stop = sources.stream_opened(1);
        sources.report(1, &report(10, 5_000_000));
        sources.report(1, &report(20, 9_000_000));
        let _stop = sources.stream_opened(1);
        sources.report(1, &report(3, 1_000_000));
        assert_eq!(sources.progress(1), 9_000_000);
        let row = SourceRow {
            id: 1,
            uri: "rtsp://u:p@h/x".into(),
            name: "x".into(),
            kind: SourceKind::Live,
            realtime: false,
            state: SourceState::Running,
            reason: String::new(),
            message: String::new(),
            position_us: 0,
            created_us: 0,
            complete_up_to_us: None,
            runs: 0,
            tracks: 0,
            sequence: 1,
        };
        let shown = sources.show(row.clone());
        let counters = shown.counters.as_ref().unwrap();
        assert_eq!((counters.frames_decoded, counters.reconnects), (23, 2));
        assert_eq!(shown.lag, Some(duration(250_000)));
        assert_eq!(shown.position, Some(duration(1_000_000)));
        assert!(!format!("{shown:?}").contains("u:p"), "{shown:?}");
        // Without a run nobody knows how far behind it is.
        sources.stream_closed(1);
        assert_eq!(sources.show(row).lag, None);
    }
}
