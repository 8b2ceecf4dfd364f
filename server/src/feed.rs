//! The events after a place in the log, in order, without gap or double: from the log as far as it
//! goes, then live; from the log again whenever the live channel has run ahead.

use crate::core::{Committed, Core, Cursor};
use crate::pb;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// Events read ahead from the log.
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

/// The events after a place.
#[derive(Debug)]
pub(crate) struct Feed {
    core: Core,
    live: broadcast::Receiver<Arc<Committed>>,
    at: Place,
    /// Events of one group commit, and the sequence at its end.
    pending: VecDeque<pb::WatchEvent>,
    pending_end: u64,
    /// Events from the log up to a sequence.
    old: Option<(mpsc::Receiver<Result<pb::WatchEvent, String>>, u64)>,
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
            pending_end: 0,
            old: None,
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
                let end = (self.pending_end, WHOLE_RECORD);
                let place = if self.pending.is_empty() {
                    end
                } else {
                    place_of(&event)
                };
                self.pass(place);
                return Some(Item::Event(Box::new(event)));
            }
            if let Some((events, end)) = &mut self.old {
                let end = *end;
                match events.recv().await {
                    Some(Ok(event)) => {
                        self.pass(place_of(&event));
                        return Some(Item::Event(Box::new(event)));
                    }
                    Some(Err(reason)) => {
                        self.old = None;
                        let from = if self.at.1 == WHOLE_RECORD {
                            self.at.0 + 1
                        } else {
                            self.at.0
                        };
                        self.pass((end, WHOLE_RECORD));
                        return Some(Item::Gap {
                            from,
                            to: end,
                            reason,
                        });
                    }
                    None => {
                        self.old = None;
                        self.pass((end, WHOLE_RECORD));
                    }
                }
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
                    self.pending_end = commit.sequence;
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
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        let core = self.core.clone();
        let from = if at.1 == WHOLE_RECORD {
            at.0
        } else {
            at.0.saturating_sub(1)
        };
        tokio::task::spawn_blocking(move || {
            for event in core.events_after(from) {
                let event = match event {
                    Ok(event) if event.sequence > end => return,
                    Ok(event) if place_of(&event) <= at => continue,
                    Ok(event) => Ok(event),
                    Err(error) => Err(error.to_string()),
                };
                let failed = event.is_err();
                if sender.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        self.old = Some((receiver, end));
    }
}

fn place_of(event: &pb::WatchEvent) -> Place {
    let number = Cursor::parse(&event.cursor).map_or(WHOLE_RECORD, |cursor| cursor.number);
    (event.sequence, number)
}
