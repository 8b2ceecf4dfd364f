//! What the core counts: `docs/metrics.md` has the list.

use super::edit;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use rollcall_log::record::{AlertKind, Body, EditKind, Record};

/// Counters and gauges of writer, log and index.
#[derive(Clone, Debug)]
pub struct CoreMetrics {
    pub(crate) records: IntCounter,
    pub(crate) log_bytes: IntGaugeVec,
    pub(crate) durable_sequence: IntGauge,
    pub(crate) sync_seconds: Histogram,
    pub(crate) commit_records: Histogram,
    pub(crate) queue_length: IntGauge,
    pub(crate) read_only: IntGauge,
    pub(crate) decisions: IntCounterVec,
    pub(crate) operations: IntCounterVec,
    pub(crate) identities: IntGauge,
    pub(crate) faces: IntGauge,
    pub(crate) index_bytes: IntGauge,
    pub(crate) visible_sequence: IntGauge,
    pub(crate) lag_seconds: Histogram,
    alerts: IntCounterVec,
}

impl CoreMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If one of them is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram =
            |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, prometheus::Error> {
                let histogram =
                    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
                registry.register(Box::new(histogram.clone()))?;
                Ok(histogram)
            };
        let records = IntCounter::new(
            "rollcall_log_records_total",
            "Records appended since the start",
        )?;
        registry.register(Box::new(records.clone()))?;
        let decisions = IntCounterVec::new(
            Opts::new(
                "rollcall_decisions_total",
                "Assignments of tracks to identities",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(decisions.clone()))?;
        let operations = IntCounterVec::new(
            Opts::new(
                "rollcall_identity_operations_total",
                "Edits of identities recorded",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(operations.clone()))?;
        // There from the start, so that the first of a kind is an increase.
        let kinds = (1..32).filter_map(|kind| EditKind::try_from(kind).ok());
        for kind in kinds {
            operations.with_label_values(&[edit::kind_name(kind)]);
        }
        let alerts = IntCounterVec::new(
            Opts::new("rollcall_alerts_raised_total", "Alerts raised"),
            &["kind"],
        )?;
        registry.register(Box::new(alerts.clone()))?;
        for kind in ["appeared", "left"] {
            let _ = alerts.with_label_values(&[kind]);
        }
        let log_bytes = IntGaugeVec::new(
            Opts::new("rollcall_log_bytes", "Bytes of the log on disk"),
            &["kind"],
        )?;
        registry.register(Box::new(log_bytes.clone()))?;
        Ok(Self {
            records,
            log_bytes,
            durable_sequence: gauge("rollcall_log_durable_sequence", "Last durable record")?,
            sync_seconds: histogram(
                "rollcall_log_sync_duration_seconds",
                "Time of a group commit's sync",
                vec![0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
            )?,
            commit_records: histogram(
                "rollcall_log_commit_records",
                "Records of a group commit",
                vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
            )?,
            queue_length: gauge("rollcall_writer_queue_length", "Commands waiting")?,
            read_only: gauge("rollcall_writer_read_only", "1 while writes are refused")?,
            decisions,
            operations,
            alerts,
            identities: gauge("rollcall_index_identities", "Identities with faces")?,
            faces: gauge("rollcall_index_faces", "Faces in the index")?,
            index_bytes: gauge("rollcall_index_bytes", "Memory of the index")?,
            visible_sequence: gauge(
                "rollcall_index_last_visible_sequence",
                "Sequence that searches see",
            )?,
            lag_seconds: histogram(
                "rollcall_index_lag_seconds",
                "From a face's capture to its being searchable, live and real-time sources",
                vec![0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            )?,
        })
    }

    /// After a commit: the alerts among its records.
    pub(crate) fn count_alerts(&self, records: &[Record]) {
        for record in records {
            if let Some(Body::AlertRaised(raised)) = &record.body {
                let kind = match raised.kind() {
                    AlertKind::Left => "left",
                    AlertKind::Appeared | AlertKind::Unspecified => "appeared",
                };
                self.alerts.with_label_values(&[kind]).inc();
            }
        }
    }
}
