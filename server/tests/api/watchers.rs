//! A thousand watchers: some follow, some resume, most do not read at all for a while. Nobody waits for them, and each
//! gets every event once.

use crate::support::{Api, Fixture, start, track, vision};
use rollcall_server::pb::{self, watch_event::Event};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Streaming;

const STALLED: usize = 600;
const LIVE: usize = 250;
const RESUMED: usize = 150;
/// Watchers that share a connection.
const PER_CONNECTION: usize = 50;
/// Tracks before the watchers come, while they are there, and after a restart: three events each.
const TRACKS: u64 = 60;
/// What a server may keep for a watcher that does not read.
const BYTES_PER_WATCHER_MAX: u64 = 512 << 10;

/// A watcher, and all that it has got.
struct Watcher {
    stream: Streaming<pb::WatchEvent>,
    /// Its place before the first event: it begins there.
    from: usize,
    got: Vec<String>,
}

impl Watcher {
    async fn open(api: &Api, request: pb::WatchRequest, from: usize) -> Self {
        let stream = api.watch(request).await.unwrap();
        let got = Vec::new();
        Self { stream, from, got }
    }

    /// Reads until it has so many events.
    async fn read(&mut self, events: usize) {
        while self.got.len() < events {
            let event = self.stream.message().await.unwrap().unwrap();
            match &event.event {
                Some(Event::Started(_) | Event::Heartbeat(_)) => {}
                Some(Event::Gap(gap)) => panic!("nothing is missing: {gap:?}"),
                _ => self.got.push(event.cursor),
            }
        }
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn after(cursor: &str) -> pb::WatchRequest {
    pb::WatchRequest {
        cursor: cursor.to_owned(),
        ..Default::default()
    }
}

fn from_start() -> pb::WatchRequest {
    pb::WatchRequest {
        from_start: true,
        ..Default::default()
    }
}

/// So many tracks, each seen and gone.
async fn see(run: &mut crate::support::Run, keys: std::ops::Range<u64>) {
    for key in keys {
        run.track(track(key, 1, 0.0, 0, 1, true)).await;
    }
}

/// The cursors of all events that there are.
async fn all(api: &Api, sequence: u64) -> Vec<String> {
    let mut stream = api.watch(from_start()).await.unwrap();
    let mut cursors = Vec::new();
    loop {
        let event = stream.message().await.unwrap().unwrap();
        if matches!(event.event, Some(Event::Started(_) | Event::Heartbeat(_))) {
            if event.sequence >= sequence && !cursors.is_empty() {
                return cursors;
            }
            continue;
        }
        cursors.push(event.cursor);
    }
}

/// All watchers read to the end at once; each has all from its place on, once and in order.
async fn read_all(watchers: Vec<Watcher>, all: &[String]) -> Vec<Watcher> {
    let total = all.len();
    let reading = watchers.into_iter().map(|mut watcher| {
        tokio::spawn(async move {
            watcher.read(total - watcher.from).await;
            watcher
        })
    });
    let reading: Vec<_> = reading.collect();
    let mut done = Vec::new();
    for one in reading {
        let watcher = one.await.unwrap();
        assert_eq!(watcher.got, all[watcher.from..]);
        done.push(watcher);
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_get_every_event_once_and_nobody_waits_for_the_slow() {
    let fixture = Fixture::with(|config| {
        config.watch.subscribers_max = STALLED + LIVE + RESUMED + 1;
        config.watch.buffer_max = 4;
        config.watch.heartbeat_ms = 100;
    })
    .await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    see(&mut run, 1..TRACKS).await;
    let sequence = run.track(track(TRACKS, 1, 0.0, 0, 1, true)).await.sequence;
    let before = all(&fixture.api, sequence).await;

    // Those who do not read: each could take a thread, and there are not that many.
    let memory = resident_bytes();
    let mut stalled = Vec::new();
    for _ in 0..STALLED / PER_CONNECTION {
        let api = Api::connect_narrowly(&fixture.server).await;
        for _ in 0..PER_CONNECTION {
            stalled.push(Watcher::open(&api, from_start(), 0).await);
        }
    }
    let mut others = Vec::new();
    for number in 0..LIVE + RESUMED {
        if number % PER_CONNECTION == 0 {
            others.push((Api::connect(&fixture.server).await, Vec::new()));
        }
        let (api, watchers) = others.last_mut().unwrap();
        let watcher = if number < LIVE {
            Watcher::open(api, pb::WatchRequest::default(), before.len()).await
        } else {
            let from = number * 7 % before.len();
            Watcher::open(api, after(&before[from]), from + 1).await
        };
        watchers.push(watcher);
    }
    let answer = tokio::time::timeout(Duration::from_secs(60), fixture.api.search(0.0));
    answer.await.expect("others are answered meanwhile");

    see(&mut run, TRACKS + 1..2 * TRACKS).await;
    let sequence = run
        .track(track(2 * TRACKS, 1, 0.0, 0, 1, true))
        .await
        .sequence;
    let whole = all(&fixture.api, sequence).await;
    assert!(whole.len() > before.len() && whole[..before.len()] == before);
    let others: Vec<Watcher> = others
        .into_iter()
        .flat_map(|(_, watchers)| watchers)
        .collect();
    let others = read_all(others, &whole).await;
    let kept = resident_bytes().saturating_sub(memory) / (STALLED + LIVE + RESUMED) as u64;
    assert!(kept < BYTES_PER_WATCHER_MAX, "{kept} bytes a watcher");
    let stalled = read_all(stalled, &whole).await;
    drop((run, stalled, others));
    resume_after_a_restart(fixture, &whole).await;
}

/// Another server on the same data: whoever comes back with a cursor misses nothing and gets nothing twice.
async fn resume_after_a_restart(fixture: Fixture, whole: &[String]) {
    let count = STALLED + LIVE + RESUMED;
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let mut config = crate::support::config(folder.path());
    config.watch.subscribers_max = count + 1;
    config.watch.heartbeat_ms = 100;
    let server = start(&config, vision()).await.unwrap();
    let api = Api::connect(&server).await;
    let mut resumed = Vec::new();
    let mut last = None;
    for number in 0..count {
        if number % PER_CONNECTION == 0 {
            last = Some(Api::connect(&server).await);
        }
        let from = number % whole.len();
        let api = last.as_ref().unwrap();
        resumed.push(Watcher::open(api, after(&whole[from]), from + 1).await);
    }
    let source = api.add_remote("another").await;
    let mut run = api.run(source.id).await;
    let sequence = run.track(track(1, 1, 0.0, 0, 1, true)).await.sequence;
    let more = all(&api, sequence).await;
    assert!(more[..whole.len()] == *whole);
    let resumed = read_all(resumed, &more).await;
    let counts: BTreeMap<usize, usize> = resumed.iter().fold(BTreeMap::new(), |mut all, it| {
        *all.entry(it.got.len()).or_default() += 1;
        all
    });
    assert!(
        counts.len() > 100,
        "they resumed at many places: {}",
        counts.len()
    );
    drop((resumed, run, api));
    server.stop().await;
}
