//! The events after a place in the log, in order, without gap or double: from the log as far as it
//! goes, then live; from the log again whenever the live channel has run ahead.

use crate::core::{Committed, Core, Cursor};
use crate::pb;
use rollcall_log::ReadError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Events read from the log at once. A thread that may block is taken for as long as that, and never while a slow
/// watcher makes up its mind: there are more watchers than threads.
const READ_AHEAD: usize = 64;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Event(Box<pb::WatchEvent>),
    /// Events of these sequences cannot be read.
    Gap {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Why.
        reason: String,
    },
}

/// A place behind an event: its sequence and its number within the record.
pub(crate) type Place = (u64, u32);

/// All events of a record are behind a place with this number.
pub(crate) const WHOLE_RECORD: u32 = u32::MAX;

type Events = Box<dyn Iterator<Item = Result<pb::WatchEvent, ReadError>> + Send>;

/// Events of the log, up to a sequence, a few at a time.
struct Old {
    end: u64,
    state: Reading,
}

enum Reading {
    /// On a thread of its own.
    On(JoinHandle<Chunk>),
    /// Until more is wanted. Nobody else has it; the lock makes it something that threads may share.
    Paused(Mutex<Events>),
}

/// Some events, and where it goes on if they are not all.
struct Chunk {
    events: VecDeque<pb::WatchEvent>,
    rest: Result<Option<Events>, String>,
}

/// The events after a place.
pub(crate) struct Feed {
    core: Core,
    live: broadcast::Receiver<Arc<Committed>>,
    at: Place,
    /// Events of one group commit, and the sequence at its end; or some from the log.
    pending: VecDeque<pb::WatchEvent>,
    pending_end: Option<u64>,
    /// What is still to be read from the log.
    old: Option<Old>,
    /// Why it cannot be read, and up to where.
    failed: Option<(String, u64)>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// What is new from now on.
    pub(crate) fn from_now(core: &Core) -> Self {
        Self::new(core, None)
    }

    /// What follows after `place`.
    pub(crate) fn after(core: &Core, place: Place) -> Self {
        Self::new(core, Some(place))
    }

    fn new(core: &Core, place: Option<Place>) -> Self {
        // The subscription comes before the look at the view: what is committed in between is seen
        // twice, not never.
        let live = core.subscribe();
        let at = place.unwrap_or_else(|| (core.view().sequence, WHOLE_RECORD));
        let mut feed = Self {
            core: core.clone(),
            live,
            at,
            pending: VecDeque::new(),
            pending_end: None,
            old: None,
            failed: None,
        };
        feed.read_log();
        feed
    }

    /// Behind the last event given.
    pub(crate) fn place(&self) -> Place {
        self.at
    }

    /// The cursor of that place.
    pub(crate) fn cursor(&self) -> String {
        let log = self.core.log();
        let (sequence, number) = self.at;
        Cursor {
            log_id: log.id().to_string(),
            epoch: log.epoch(),
            sequence,
            number,
        }
        .encode()
    }

    /// What comes next; waits for it. `None` when there will be no more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                // Behind the commit's last event there is nothing left of it.
                let end = self.pending_end.filter(|_| self.pending.is_empty());
                self.pass(end.map_or_else(|| place_of(&event), |end| (end, WHOLE_RECORD)));
                return Some(Item::Event(Box::new(event)));
            }
            if let Some((reason, to)) = self.failed.take() {
                let from = if self.at.1 == WHOLE_RECORD {
                    self.at.0 + 1
                } else {
                    self.at.0
                };
                self.pass((to, WHOLE_RECORD));
                return Some(Item::Gap { from, to, reason });
            }
            if self.old.is_some() {
                self.read_on().await;
                continue;
            }
            match self.live.recv().await {
                Ok(commit) => {
                    let place_at_end = (commit.sequence, WHOLE_RECORD);
                    let news = commit
                        .events
                        .iter()
                        .filter(|event| place_of(event) > self.at);
                    self.pending = news.cloned().collect();
                    self.pending_end = Some(commit.sequence);
                    if self.pending.is_empty() {
                        self.pass(place_at_end);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.read_log(),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn pass(&mut self, place: Place) {
        self.at = self.at.max(place);
    }

    /// Reads on from the log, up to what searches see now.
    fn read_log(&mut self) {
        let end = self.core.view().sequence;
        let at = self.at;
        if at >= (end, WHOLE_RECORD) {
            return;
        }
        let from = if at.1 == WHOLE_RECORD {
            at.0
        } else {
            at.0.saturating_sub(1)
        };
        let events = self.core.events_after(from);
        let up_to_end = move |event: &Result<pb::WatchEvent, ReadError>| {
            event.as_ref().map_or(true, |event| event.sequence <= end)
        };
        let after_place = move |event: &Result<pb::WatchEvent, ReadError>| {
            event.as_ref().map_or(true, |event| place_of(event) > at)
        };
        let events = events.take_while(up_to_end).filter(after_place);
        let state = Reading::Paused(Mutex::new(Box::new(events)));
        self.old = Some(Old { end, state });
    }

    /// Reads some events of the log. Cancel-safe: what is being read goes on.
    async fn read_on(&mut self) {
        let Some(mut old) = self.old.take() else {
            return;
        };
        let reading = match old.state {
            Reading::Paused(events) => {
                let events = events.into_inner().unwrap_or_else(PoisonError::into_inner);
                tokio::task::spawn_blocking(move || some_of(events))
            }
            Reading::On(reading) => reading,
        };
        old.state = Reading::On(reading);
        let old = self.old.insert(old);
        let Reading::On(reading) = &mut old.state else {
            return;
        };
        let read = reading.await.unwrap_or_else(|error| Chunk {
            events: VecDeque::new(),
            rest: Err(error.to_string()),
        });
        let end = old.end;
        self.pending = read.events;
        self.pending_end = None;
        match read.rest {
            Ok(Some(events)) => old.state = Reading::Paused(Mutex::new(events)),
            Ok(None) if self.pending.is_empty() => {
                self.old = None;
                self.pass((end, WHOLE_RECORD));
            }
            Ok(None) => {
                self.old = None;
                self.pending_end = Some(end);
            }
            Err(reason) => {
                self.old = None;
                self.failed = Some((reason, end));
            }
        }
    }
}

/// The next few events. Blocking.
fn some_of(mut events: Events) -> Chunk {
    let mut some = VecDeque::with_capacity(READ_AHEAD);
    while some.len() < READ_AHEAD {
        match events.next() {
            Some(Ok(event)) => some.push_back(event),
            Some(Err(error)) => {
                return Chunk {
                    events: some,
                    rest: Err(error.to_string()),
                };
            }
            None => {
                return Chunk {
                    events: some,
                    rest: Ok(None),
                };
            }
        }
    }
    Chunk {
        events: some,
        rest: Ok(Some(events)),
    }
}

fn place_of(event: &pb::WatchEvent) -> Place {
    let number = Cursor::parse(&event.cursor).map_or(WHOLE_RECORD, |cursor| cursor.number);
    (event.sequence, number)
}
