//! The stream of events.

use super::in_time;
use rollcall_client::pb::{SourceState, WatchEvent, watch_event::Event};
use rollcall_client::{Client, Watch, WatchFrom, WatchItem, WatchOptions};

/// Watches everything from a place on.
pub(crate) async fn watch(client: &Client, from: WatchFrom) -> Watch {
    client
        .watch(WatchOptions {
            from,
            ..WatchOptions::default()
        })
        .await
        .unwrap()
}

/// The next thing on the stream, whatever it is; the connection must not break.
pub(crate) async fn next(watch: &mut Watch) -> WatchEvent {
    match in_time("an event", watch.next()).await.unwrap() {
        WatchItem::Event(event) => *event,
        WatchItem::Reconnecting { error, .. } => panic!("the watch broke: {error}"),
    }
}

/// The next recorded event: markers are left out, gaps fail the test.
pub(crate) async fn next_recorded(watch: &mut Watch) -> WatchEvent {
    loop {
        let event = next(watch).await;
        match &event.event {
            Some(Event::Started(_) | Event::Heartbeat(_)) => {}
            Some(Event::Gap(gap)) => panic!("events are missing: {gap:?}"),
            _ => return event,
        }
    }
}

/// Recorded events up to and including the one that `is_last`.
pub(crate) async fn collect_until(
    watch: &mut Watch,
    is_last: impl Fn(&WatchEvent) -> bool,
) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    loop {
        events.push(next_recorded(watch).await);
        if events.last().is_some_and(&is_last) {
            return events;
        }
    }
}

/// The state that an event gives a source.
pub(crate) fn state_of(event: &WatchEvent, source: u64) -> Option<SourceState> {
    match &event.event {
        Some(Event::SourceChanged(changed)) if changed.source_id == source => Some(changed.state()),
        _ => None,
    }
}

/// Whether an event says that a source is read to its end.
pub(crate) fn ends(event: &WatchEvent, source: u64) -> bool {
    match state_of(event, source) {
        Some(SourceState::Ended) => true,
        Some(SourceState::Failed | SourceState::Stopped) => panic!("the source failed: {event:?}"),
        _ => false,
    }
}

/// Whether an event is about a face that was seen.
pub(crate) fn is_sighting(event: &WatchEvent) -> bool {
    matches!(
        event.event,
        Some(Event::SightingStarted(_) | Event::SightingChanged(_) | Event::SightingEnded(_))
    )
}

/// Fails the test unless the events stand in the order of the log and no cursor comes twice.
pub(crate) fn assert_in_order(events: &[WatchEvent]) {
    let mut cursors = std::collections::HashSet::new();
    let mut last = 0;
    for event in events {
        assert!(event.sequence >= last, "{} after {last}", event.sequence);
        last = event.sequence;
        assert!(cursors.insert(&event.cursor), "twice: {event:?}");
        assert!(event.time.is_some(), "{event:?}");
    }
}
