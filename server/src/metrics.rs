//! What the edge counts: requests, searches, sources, watchers. `docs/metrics.md` has the list.

use crate::pb::{SourceCounters, SourceState};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// Reasons for which frames are passed over, as workers report them.
const FRAME_REJECTIONS: &[&str] = &["EMPTY", "BLURRED", "NEAR_IDENTICAL", "CORRUPT"];
/// Reasons for which faces are not used, as workers report them.
const FACE_REJECTIONS: &[&str] = &[
    "LOW_CONFIDENCE",
    "FACE_TOO_SMALL",
    "BLURRED",
    "BAD_LANDMARKS",
    "EXTREME_POSE",
    "OUT_OF_PICTURE",
];
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
const LAG_SECONDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0,
];
const SEARCH_STAGES: &[&str] = &["decode", "detect", "embed", "search"];

/// States a source can be in, with their label.
pub(crate) const STATES: &[(SourceState, &str)] = &[
    (SourceState::Queued, "queued"),
    (SourceState::Connecting, "connecting"),
    (SourceState::Running, "running"),
    (SourceState::Stalled, "stalled"),
    (SourceState::Ended, "ended"),
    (SourceState::Stopped, "stopped"),
    (SourceState::Failed, "failed"),
];

/// Counters and gauges of the edge.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    registry: Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) page_seconds: HistogramVec,
    pub(crate) search_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    pub(crate) search_inflight: IntGauge,
    pub(crate) search_rejected: IntCounterVec,
    source_up: IntGaugeVec,
    source_state: IntGaugeVec,
    frames: IntCounterVec,
    frames_rejected: IntCounterVec,
    faces: IntCounterVec,
    faces_rejected: IntCounterVec,
    shots: IntCounterVec,
    tracks: IntCounterVec,
    worker_restarts: IntCounterVec,
    reconnects: IntCounterVec,
    lag: GaugeVec,
    last_frame: GaugeVec,
    source_stage: CounterVec,
    pub(crate) watch_subscribers: IntGauge,
    pub(crate) watch_events: IntCounter,
    pub(crate) watch_gaps: IntCounter,
    pub(crate) webhooks: IntCounterVec,
    pub(crate) webhook_lag: Histogram,
}

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn add<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn seconds(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }
}

impl EdgeMetrics {
    /// Makes the metrics, those of this process included, and registers them.
    ///
    /// # Errors
    /// If one of them is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let make = Maker(registry);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let build = make.add(GaugeVec::new(
            Opts::new("rollcall_build_info", "1, with the version as a label"),
            &["version"],
        )?)?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let metrics = Self {
            registry: registry.clone(),
            requests: make.counters(
                "rollcall_grpc_requests_total",
                "gRPC calls that have ended",
                &["service", "method", "code"],
            )?,
            request_seconds: make.seconds(
                "rollcall_grpc_request_duration_seconds",
                "Time of a gRPC call, streams to their end",
                &["service", "method"],
            )?,
            page_seconds: make.seconds(
                "rollcall_page_request_duration_seconds",
                "Time to answer a browser, the live feed to its beginning",
                &["route", "code"],
            )?,
            search_seconds: make.seconds(
                "rollcall_search_duration_seconds",
                "Time of a search in the server",
                &["kind"],
            )?,
            stage_seconds: make.seconds(
                "rollcall_search_stage_duration_seconds",
                "Time of a stage of a search",
                &["stage"],
            )?,
            search_inflight: make.add(IntGauge::new(
                "rollcall_search_inflight",
                "Searches waiting or running",
            )?)?,
            search_rejected: make.counters(
                "rollcall_search_rejected_total",
                "Searches that were not answered",
                &["reason"],
            )?,
            source_up: make.gauges(
                "rollcall_source_up",
                "1 while the source is read",
                &["source"],
            )?,
            source_state: make.gauges(
                "rollcall_source_state",
                "1 for the state that the source is in",
                &["source", "state"],
            )?,
            frames: make.counters(
                "rollcall_source_frames_total",
                "Frames",
                &["source", "result"],
            )?,
            frames_rejected: make.counters(
                "rollcall_source_frames_rejected_total",
                "Frames that were not looked at, by reason",
                &["source", "reason"],
            )?,
            faces: make.counters(
                "rollcall_source_faces_total",
                "Faces",
                &["source", "result"],
            )?,
            faces_rejected: make.counters(
                "rollcall_source_faces_rejected_total",
                "Faces that cannot be used, by reason",
                &["source", "reason"],
            )?,
            shots: make.counters("rollcall_source_shots_total", "Shots", &["source"])?,
            tracks: make.counters("rollcall_source_tracks_total", "Tracks", &["source"])?,
            worker_restarts: make.counters(
                "rollcall_source_worker_restarts_total",
                "Workers started again after they died",
                &["source"],
            )?,
            reconnects: make.counters(
                "rollcall_source_reconnects_total",
                "Times a live stream broke off and was to be opened again",
                &["source"],
            )?,
            lag: make.add(GaugeVec::new(
                Opts::new(
                    "rollcall_source_lag_seconds",
                    "Age of the newest frame of a live source that was looked at",
                ),
                &["source"],
            )?)?,
            last_frame: make.add(GaugeVec::new(
                Opts::new(
                    "rollcall_source_last_frame_timestamp_seconds",
                    "When the last frame was reported",
                ),
                &["source"],
            )?)?,
            source_stage: make.add(CounterVec::new(
                Opts::new(
                    "rollcall_source_stage_seconds_total",
                    "Time of a stage of reading",
                ),
                &["source", "stage"],
            )?)?,
            watch_subscribers: make.add(IntGauge::new(
                "rollcall_watch_subscribers",
                "Watchers and followers",
            )?)?,
            watch_events: make.add(IntCounter::new(
                "rollcall_watch_events_total",
                "Events sent",
            )?)?,
            watch_gaps: make.add(IntCounter::new(
                "rollcall_watch_gaps_total",
                "Gaps sent: events that could not be read",
            )?)?,
            webhooks: make.counters(
                "rollcall_alert_webhooks_total",
                "Requests to webhooks, by what became of them",
                &["result"],
            )?,
            webhook_lag: make.add(Histogram::with_opts(
                HistogramOpts::new(
                    "rollcall_alert_webhook_lag_seconds",
                    "From an alert's being raised to its webhook's having taken it",
                )
                .buckets(LAG_SECONDS.to_vec()),
            )?)?,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Shows the series with fixed labels from the start, so that rates have a first value.
    fn begin(&self) {
        for result in ["delivered", "failed", "gone"] {
            let _ = self.webhooks.with_label_values(&[result]);
        }
        for stage in SEARCH_STAGES {
            let _ = self.stage(stage);
        }
        for kind in ["image", "embedding"] {
            let _ = self.search_seconds.with_label_values(&[kind]);
        }
        let _ = self.search_rejected.with_label_values(&["overloaded"]);
    }

    /// All metrics of the registry in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric is inconsistent.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The histogram of a stage of a search.
    pub(crate) fn stage(&self, stage: &str) -> Histogram {
        self.stage_seconds.with_label_values(&[stage])
    }

    /// Shows the state a source is in.
    pub(crate) fn source_state(&self, source: u64, state: SourceState) {
        let source = source.to_string();
        for (one, label) in STATES {
            let here = i64::from(*one == state);
            self.source_state
                .with_label_values(&[source.as_str(), label])
                .set(here);
        }
        let up = i64::from(state == SourceState::Running);
        self.source_up.with_label_values(&[source.as_str()]).set(up);
        // The series of a source exist from its beginning: a dashboard shows 0, not nothing.
        let source = source.as_str();
        let _ = self.worker_restarts.with_label_values(&[source]);
        for reason in FRAME_REJECTIONS {
            let _ = self.frames_rejected.with_label_values(&[source, reason]);
        }
        for reason in FACE_REJECTIONS {
            let _ = self.faces_rejected.with_label_values(&[source, reason]);
        }
    }

    pub(crate) fn worker_restarted(&self, source: u64) {
        self.worker_restarts
            .with_label_values(&[source.to_string().as_str()])
            .inc();
    }

    /// Shows how far behind a live source is.
    pub(crate) fn lag(&self, source: u64, lag: Duration) {
        self.lag
            .with_label_values(&[source.to_string().as_str()])
            .set(lag.as_secs_f64());
    }

    /// No run is open: a lag that stood still would look like a healthy one.
    pub(crate) fn lag_unknown(&self, source: u64) {
        // Sources that never had one, files above all, have nothing to remove.
        let _ = self.lag.remove_label_values(&[source.to_string().as_str()]);
    }

    pub(crate) fn frame_seen(&self, source: u64, unix: Duration) {
        self.last_frame
            .with_label_values(&[source.to_string().as_str()])
            .set(unix.as_secs_f64());
    }

    /// Adds what a run counted since its last report.
    pub(crate) fn source_counted(
        &self,
        source: u64,
        before: &SourceCounters,
        now: &SourceCounters,
    ) {
        let source = source.to_string();
        let source = source.as_str();
        let rejected = |counters: &SourceCounters| counters.frames_rejected.values().sum::<u64>();
        for (result, before, now) in [
            ("decoded", before.frames_decoded, now.frames_decoded),
            ("detected", before.frames_detected, now.frames_detected),
            ("dropped", before.frames_dropped, now.frames_dropped),
            ("rejected", rejected(before), rejected(now)),
        ] {
            self.frames
                .with_label_values(&[source, result])
                .inc_by(now.saturating_sub(before));
        }
        for (result, before, now) in [
            ("detected", before.faces_detected, now.faces_detected),
            ("embedded", before.faces_embedded, now.faces_embedded),
        ] {
            self.faces
                .with_label_values(&[source, result])
                .inc_by(now.saturating_sub(before));
        }
        for (vec, before, now) in [
            (
                &self.frames_rejected,
                &before.frames_rejected,
                &now.frames_rejected,
            ),
            (
                &self.faces_rejected,
                &before.faces_rejected,
                &now.faces_rejected,
            ),
        ] {
            for (reason, count) in now {
                let before = before.get(reason).copied().unwrap_or_default();
                vec.with_label_values(&[source, reason])
                    .inc_by(count.saturating_sub(before));
            }
        }
        self.shots
            .with_label_values(&[source])
            .inc_by(now.shots.saturating_sub(before.shots));
        self.tracks
            .with_label_values(&[source])
            .inc_by(now.tracks.saturating_sub(before.tracks));
        self.reconnects
            .with_label_values(&[source])
            .inc_by(now.reconnects.saturating_sub(before.reconnects));
        for (stage, seconds) in &now.stage_seconds {
            let before = before.stage_seconds.get(stage).copied().unwrap_or_default();
            self.source_stage
                .with_label_values(&[source, stage])
                .inc_by((seconds - before).max(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::CoreMetrics;

    #[test]
    fn the_manual_names_every_metric() {
        let registry = Registry::new();
        let metrics = EdgeMetrics::register(&registry).unwrap();
        CoreMetrics::register(&registry).unwrap();
        metrics.source_state(1, SourceState::Running);
        let counters = SourceCounters {
            frames_rejected: [("EMPTY".to_owned(), 1)].into(),
            faces_rejected: [("BLURRED".to_owned(), 1)].into(),
            stage_seconds: [("decode".to_owned(), 0.5)].into(),
            ..SourceCounters::default()
        };
        metrics.source_counted(1, &SourceCounters::default(), &counters);
        metrics.frame_seen(1, Duration::from_secs(1));
        metrics.lag(1, Duration::from_millis(250));
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let manual = std::fs::read_to_string(root.join("../docs/metrics.md")).unwrap();
        let text = metrics.text().unwrap();
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let names: Vec<&str> = names.filter(|name| name.starts_with("rollcall_")).collect();
        assert!(names.len() > 25, "{names:?}");
        for name in names {
            assert!(
                manual.contains(&format!("`{name}`")),
                "docs/metrics.md lacks {name}"
            );
        }
        assert!(
            text.contains("rollcall_source_up{source=\"1\"} 1"),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn counters_add_up_over_runs() {
        let metrics = EdgeMetrics::register(&Registry::new()).unwrap();
        let at = |frames_decoded, tracks| SourceCounters {
            frames_decoded,
            tracks,
            ..SourceCounters::default()
        };
        metrics.source_counted(3, &at(0, 0), &at(10, 1));
        metrics.source_counted(3, &at(10, 1), &at(25, 2));
        // A new run begins at nothing.
        metrics.source_counted(3, &at(0, 0), &at(5, 1));
        let text = metrics.text().unwrap();
        assert!(
            text.contains("rollcall_source_frames_total{result=\"decoded\",source=\"3\"} 30"),
            "{text}"
        );
        assert!(
            text.contains("rollcall_source_tracks_total{source=\"3\"} 3"),
            "{text}"
        );
    }
}
