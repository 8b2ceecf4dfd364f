//! A watcher as one behind a slow line: it keeps what it got and where it is, and asks again from there.

use crate::core::{Committed, Core};
use crate::pb;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

/// A place behind an event, as a cursor has it.
type Place = (u64, u32);

/// Everything that it was ever told, in order.
#[derive(Default)]
pub(super) struct Watcher {
    got: Vec<pb::WatchEvent>,
    at: Place,
}

/// The place of an event, by its own cursor.
fn place(event: &pb::WatchEvent) -> Place {
    let cursor = crate::core::Cursor::parse(&event.cursor).expect("every event has a cursor");
    (cursor.sequence, cursor.number)
}

impl Watcher {
    pub(super) fn events(&self) -> u64 {
        self.got.len() as u64
    }

    /// Takes what waits in the live channel; one that has run ahead of it is caught up with from the log.
    pub(super) fn listen(&mut self, core: &Core, live: &mut broadcast::Receiver<Arc<Committed>>) {
        loop {
            match live.try_recv() {
                Ok(commit) => {
                    let news = commit.events.iter().filter(|event| place(event) > self.at);
                    self.got.extend(news.cloned());
                    self.at = (commit.sequence, u32::MAX).max(self.at);
                }
                Err(TryRecvError::Lagged(_)) => self.resume(core),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Asks a server for what follows after its cursor.
    pub(super) fn resume(&mut self, core: &Core) {
        // The cursor's record may have events behind the cursor.
        let from = self.at.0.saturating_sub(1);
        for event in core.events_after(from) {
            let event = event.unwrap();
            if place(&event) > self.at {
                self.at = place(&event);
                self.got.push(event);
            }
        }
    }

    /// Fails the test unless it was told everything once, in order, and nothing else.
    pub(super) fn audit(&self, core: &Core) {
        let all: Vec<_> = core.events_after(0).map(Result::unwrap).collect();
        for (number, (got, is)) in self.got.iter().zip(&all).enumerate() {
            assert_eq!(got, is, "event {number} is another one than was told");
        }
        assert_eq!(
            self.got.len(),
            all.len(),
            "events told, and events there are"
        );
    }
}
