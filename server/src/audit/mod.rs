//! Who did what: one line a call, chained by digests, so that a changed, missing or added line shows.
//!
//! A thread of its own writes, from a bounded queue. Edits and refusals are always recorded, and wait while the queue
//! is full; reads are recorded if the settings say so, and are counted as lost while it is full. Names, embeddings,
//! pictures and keys are never in it. `docs/security.md` describes the lines.

mod chain;
mod file;

pub use chain::{Broken, Verified, verify};
pub use file::show;

use crate::access::{Caller, Needs, Notes, Role};
use crate::config::{AuditReads, Config};
use crate::time::{now_us, timestamp};
use file::Writer;
use prometheus::{IntCounter, Registry};
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Lines that wait for the disk at most.
const QUEUE_MAX: usize = 1024;
/// Refusals of callers without a good key that are recorded in a second; more are counted as lost.
const STRANGERS_MAX: u32 = 10;

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder cannot be read or written.
    #[error("audit log in {path}: {source}", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Our own mistake.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// One call, as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// When it was answered.
    pub(crate) time: String,
    /// The key's label or id, `worker`, or `anonymous`.
    pub(crate) who: String,
    /// The key's id; empty: none.
    pub(crate) key: String,
    /// Where the call came from; empty: not known.
    pub(crate) peer: String,
    /// As in `rollcall.v1.IdentityService/MergeIdentities`; of the page: as in `POST /people/7/merge`.
    pub(crate) method: String,
    /// What the request named.
    #[serde(flatten)]
    pub(crate) notes: Notes,
    /// Canonical code, or HTTP status.
    pub(crate) result: String,
    /// The reason of a refusal; empty: none.
    pub(crate) reason: String,
}

/// What becomes of a call when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// It waits.
    Always,
    /// It is counted as lost.
    IfRoom,
    /// It is not recorded anyway.
    Never,
}

/// Records calls.
#[derive(Debug)]
pub(crate) struct Audit {
    queue: Mutex<Option<mpsc::Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lost: IntCounter,
    reads: AuditReads,
    /// Refusals of strangers in the second of this Unix time.
    strangers: Mutex<(i64, u32)>,
}

impl Audit {
    /// Goes on behind the last line that there is.
    ///
    /// # Errors
    /// [`AuditError`].
    pub(crate) fn start(config: &Config, registry: &Registry) -> Result<Self, AuditError> {
        let help = "Calls that could not be recorded in the audit log";
        let lost = IntCounter::new("rollcall_audit_lost_total", help)?;
        registry.register(Box::new(lost.clone()))?;
        let folder = config.audit_folder();
        let of = |source| AuditError::Io {
            path: folder.clone(),
            source,
        };
        let limits = &config.audit;
        let writer = Writer::open(&folder, limits.file_bytes_max, limits.files_max).map_err(of)?;
        let (queue, entries) = mpsc::channel(QUEUE_MAX);
        let failed = lost.clone();
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || write_all(writer, entries, &failed));
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread.map_err(of)?)),
            lost,
            reads: limits.reads,
            strangers: Mutex::default(),
        })
    }

    /// A call that has come, to be recorded when it is answered, or given up by its caller.
    pub(crate) fn pending(
        self: &Arc<Self>,
        caller: &Caller,
        peer: Option<SocketAddr>,
        method: String,
        needs: Needs,
        stranger: bool,
    ) -> Pending {
        let nobody = if caller.is_worker() {
            "worker"
        } else {
            "anonymous"
        };
        Pending {
            audit: Arc::clone(self),
            entry: Some(Entry {
                who: caller.name().unwrap_or(nobody).to_owned(),
                key: caller.id().unwrap_or_default().to_owned(),
                peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
                method,
                ..Entry::default()
            }),
            needs,
            stranger,
            notes: Arc::default(),
        }
    }

    /// `stranger`: of somebody who has no key although one is asked for, whatever became of the call.
    fn weight(&self, needs: Needs, outcome: &Outcome, stranger: bool) -> Weight {
        let outcome = if stranger {
            &Outcome::Stranger
        } else {
            outcome
        };
        let reads = match needs {
            Needs::Nothing => return Weight::Never,
            Needs::Key { least, .. } => least == Role::Reader,
        };
        match (outcome, reads, self.reads) {
            (Outcome::Stranger, _, _) if self.is_flood() => {
                self.lost.inc();
                Weight::Never
            }
            // Whoever has no key must not hold up those who have.
            (Outcome::Stranger, _, _) => Weight::IfRoom,
            (Outcome::Refused, _, _) | (Outcome::Answered, false, _) => Weight::Always,
            (Outcome::Answered, true, AuditReads::On) => Weight::IfRoom,
            (Outcome::Answered, true, AuditReads::Off) => Weight::Never,
        }
    }

    /// Whether strangers are refused faster than is worth a line each, which would push everything else out.
    fn is_flood(&self) -> bool {
        let second = now_us() / 1_000_000;
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if strangers.0 != second {
            *strangers = (second, 0);
        }
        strangers.1 += 1;
        strangers.1 > STRANGERS_MAX
    }

    fn queue(&self) -> Option<mpsc::Sender<Entry>> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.clone()
    }

    async fn record(&self, entry: Entry, weight: Weight) {
        let Some(queue) = self.queue() else {
            self.lost.inc();
            return;
        };
        let lost = match weight {
            Weight::Never => false,
            Weight::Always => match queue.try_send(entry) {
                Ok(()) => false,
                Err(mpsc::error::TrySendError::Closed(_)) => true,
                // Whoever hangs up while it waits does not take it back.
                Err(mpsc::error::TrySendError::Full(entry)) => {
                    let waiting = tokio::spawn(async move { queue.send(entry).await.is_err() });
                    waiting.await.unwrap_or(true)
                }
            },
            Weight::IfRoom => queue.try_send(entry).is_err(),
        };
        if lost {
            self.lost.inc();
        }
    }

    /// Writes what waits, and ends. Blocks.
    pub(crate) fn close(&self) {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(queue);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit log has ended before its time");
        }
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was carried out, or failed for another reason than who asked.
    Answered,
    /// The caller may not do that.
    Refused,
    /// The caller has no key that is good.
    Stranger,
}

/// A call that is not answered yet. Dropped, it was hung up on.
#[derive(Debug)]
pub(crate) struct Pending {
    audit: Arc<Audit>,
    entry: Option<Entry>,
    needs: Needs,
    stranger: bool,
    notes: Arc<Mutex<Notes>>,
}

impl Pending {
    /// Where those who serve the call note what it names.
    pub(crate) fn notes(&self) -> Arc<Mutex<Notes>> {
        Arc::clone(&self.notes)
    }

    /// Records the answer; an edit waits for a place in the queue.
    pub(crate) async fn answered(mut self, outcome: Outcome, result: &str, reason: String) {
        let weight = self.audit.weight(self.needs, &outcome, self.stranger);
        if let Some(entry) = self.finished(result, reason) {
            self.audit.record(entry, weight).await;
        }
    }

    fn finished(&mut self, result: &str, reason: String) -> Option<Entry> {
        let entry = self.entry.take()?;
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Entry {
            time: timestamp(now_us()).to_string(),
            notes: notes.clone(),
            result: result.to_owned(),
            reason,
            ..entry
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.entry.is_none() {
            return;
        }
        let weight = self
            .audit
            .weight(self.needs, &Outcome::Answered, self.stranger);
        // It cannot wait here: what was asked for may have been done nevertheless.
        if let Some(entry) = self.finished("CANCELLED", String::new())
            && weight != Weight::Never
            && self
                .audit
                .queue()
                .is_none_or(|queue| queue.try_send(entry).is_err())
        {
            self.audit.lost.inc();
        }
    }
}

/// Writes entries until there will be none any more; those that wait together are synced together.
fn write_all(mut writer: Writer, mut entries: mpsc::Receiver<Entry>, lost: &IntCounter) {
    while let Some(first) = entries.blocking_recv() {
        let mut next = Some(first);
        let mut count = 0;
        let mut written = Ok(());
        while let Some(entry) = next.take() {
            count += 1;
            written = written.and_then(|()| writer.append(&entry));
            next = entries.try_recv().ok();
        }
        if let Err(error) = written.and_then(|()| writer.sync()) {
            lost.inc_by(count);
            tracing::error!(%error, count, "calls could not be recorded in the audit log");
            writer.recover();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn edits_and_refusals_are_recorded_and_reads_if_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data: folder.path().to_owned(),
            ..Config::default()
        };
        let edits = Needs::Key {
            least: Role::Editor,
            by_source: false,
        };
        let mut expected = Vec::new();
        for reads in [AuditReads::Off, AuditReads::On] {
            config.audit.reads = reads;
            let audit = Arc::new(Audit::start(&config, &Registry::new()).unwrap());
            let caller = Caller::owner("a1", "kiosk", Role::Editor, None);
            let peer = Some(SocketAddr::from(([10, 1, 2, 3], 4)));
            let call =
                |method: &str, needs| audit.pending(&caller, peer, method.to_owned(), needs, false);
            let edit = call("edit", edits);
            edit.notes().lock().unwrap().identities.push(7);
            edit.answered(Outcome::Answered, "OK", String::new()).await;
            let read = call("read", Needs::UNKNOWN);
            read.answered(Outcome::Answered, "OK", String::new()).await;
            let refused = call("refused", Needs::UNKNOWN);
            let reason = "ROLE_INSUFFICIENT".to_owned();
            refused
                .answered(Outcome::Refused, "PERMISSION_DENIED", reason)
                .await;
            drop(call("left", edits));
            let health = call("health", Needs::Nothing);
            health
                .answered(Outcome::Answered, "OK", String::new())
                .await;
            audit.close();
            assert_eq!(audit.lost.get(), 0);
            expected.push("edit");
            expected.extend((reads == AuditReads::On).then_some("read"));
            expected.extend(["refused", "left"]);
        }
        let lines = show(&config.audit_folder(), 100).unwrap();
        let lines: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let methods: Vec<_> = lines
            .iter()
            .map(|line| line["method"].as_str().unwrap())
            .collect();
        assert_eq!(methods, expected);
        assert_eq!(lines[0]["who"], "kiosk");
        assert_eq!(lines[0]["key"], "a1");
        assert_eq!(lines[0]["peer"], "10.1.2.3:4");
        assert_eq!(lines[0]["identities"], serde_json::json!([7]));
        assert_eq!(lines[1]["reason"], "ROLE_INSUFFICIENT");
        assert_eq!(lines[2]["result"], "CANCELLED");
        assert_eq!(verify(&config.audit_folder()).unwrap().lines, 7);
    }

    #[tokio::test]
    async fn a_flood_of_strangers_is_counted_and_not_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data: folder.path().to_owned(),
            ..Config::default()
        };
        let audit = Arc::new(Audit::start(&config, &Registry::new()).unwrap());
        for _ in 0..1000 {
            let call = audit.pending(
                &Caller::ANYBODY,
                None,
                "x".to_owned(),
                Needs::UNKNOWN,
                false,
            );
            let outcome = Outcome::Stranger;
            call.answered(outcome, "UNAUTHENTICATED", "KEY_MISSING".to_owned())
                .await;
        }
        audit.close();
        let lines = verify(&config.audit_folder()).unwrap().lines;
        assert_eq!(lines + audit.lost.get(), 1000);
        assert!(lines < 500, "{lines}");
    }
}
