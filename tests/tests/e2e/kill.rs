//! `kill -9` of the server or of a worker, again and again in the middle of reading: nothing acknowledged is lost, nothing
//! comes twice, and in the end everything is there as if nothing had happened.

use crate::support::events::{collect_until, ends, is_sighting, next_recorded, watch};
use crate::support::facts::Facts;
use crate::support::programs::{bare, program};
use crate::support::random::Random;
use crate::support::server::{Server, Setup, signal};
use crate::support::truth::Truth;
use crate::support::{prepared, scratch, turn};
use rollcall_client::pb::{SourceState, WatchEvent, watch_event::Event};
use rollcall_client::{Client, Watch, WatchFrom, pb};
use std::path::Path;

const ROUNDS: u32 = 26;
const SEED: u64 = 2;
/// Events from one kill to the next at most.
const EVENTS_MAX: u64 = 5;

/// One server after another on the same data folder, watched without a gap.
struct Ordeal {
    setup: Setup,
    server: Server,
    client: Client,
    events: Watch,
    /// Every event that a watcher has got, in order. Events are sent once they are durable.
    acknowledged: Vec<WatchEvent>,
    random: Random,
    rounds: u32,
    servers_killed: u32,
    workers_killed: u32,
}

impl Ordeal {
    async fn begin(data: &Path) -> Self {
        let setup = Setup::new(data).set("repair.mode", "off");
        let server = setup.start().await;
        let client = server.client().await;
        let events = watch(&client, WatchFrom::Start).await;
        Self {
            setup,
            server,
            client,
            events,
            acknowledged: Vec::new(),
            random: Random::new(SEED),
            rounds: 0,
            servers_killed: 0,
            workers_killed: 0,
        }
    }

    /// Reads a clip to its end, with a kill after every few events as long as rounds are left.
    async fn read(&mut self, clip: &Path) -> u64 {
        let uri = clip.to_str().unwrap().to_owned();
        let add = pb::AddSourceRequest {
            uri,
            ..Default::default()
        };
        let source = self.client.add_source(add).await.unwrap().id;
        loop {
            let (server, events) = (self.random.below(2) == 0, 1 + self.random.below(EVENTS_MAX));
            let events = if self.rounds < ROUNDS {
                events
            } else {
                u64::MAX
            };
            // A worker is killed once it works: one that never gets anywhere is given up, as it should be.
            if self.wait(source, events, !server).await {
                return source;
            }
            self.rounds += 1;
            if server {
                self.kill_server().await
            } else {
                self.kill_worker()
            }
        }
    }

    /// Waits for some events, and for one of a sighting if asked to; returns whether the source has ended.
    async fn wait(&mut self, source: u64, mut events: u64, sighting: bool) -> bool {
        let mut worked = !sighting;
        while events > 0 || !worked {
            let event = next_recorded(&mut self.events).await;
            let ended = ends(&event, source);
            worked |= is_sighting(&event);
            events = events.saturating_sub(1);
            self.acknowledged.push(event);
            if ended {
                return true;
            }
        }
        false
    }

    async fn kill_server(&mut self) {
        self.servers_killed += 1;
        self.server.kill();
        self.server = self.setup.start().await;
        self.client = self.server.client().await;
        let from = match self.acknowledged.last() {
            Some(last) => WatchFrom::Cursor(last.cursor.clone()),
            None => WatchFrom::Start,
        };
        self.events = watch(&self.client, from).await;
    }

    fn kill_worker(&mut self) {
        // It may have left by itself meanwhile, or not be there yet: the next round comes anyway.
        let workers = self.server.workers();
        self.workers_killed += u32::try_from(workers.len()).unwrap();
        workers
            .into_iter()
            .for_each(|worker| signal("KILL", worker));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_comes_twice() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let undisturbed = Facts::read(&prepared::collection(folder.path()).await.join("log"));
    let mut ordeal = Ordeal::begin(&folder.path().join("killed")).await;
    let mut sources = Vec::new();
    while ordeal.rounds < ROUNDS {
        let copy = folder.path().join(format!("clip-{}.mp4", sources.len()));
        std::fs::copy(&truth.clip, &copy).unwrap();
        sources.push(ordeal.read(&copy).await);
    }
    let Ordeal {
        mut server,
        client,
        acknowledged,
        servers_killed,
        workers_killed,
        ..
    } = ordeal;
    eprintln!(
        "{servers_killed} servers and {workers_killed} workers killed over {} sources, {} events",
        sources.len(),
        acknowledged.len()
    );
    assert!(
        servers_killed >= 8 && workers_killed >= 4,
        "the kills are unevenly spread"
    );

    // Every event that was acknowledged before a kill is there once and unchanged, and none was left out.
    let mut replay = watch(&client, WatchFrom::Start).await;
    let last = acknowledged.last().unwrap().cursor.clone();
    let replayed = collect_until(&mut replay, |event| event.cursor == last).await;
    assert_eq!(replayed.len(), acknowledged.len());
    for (now, then) in replayed.iter().zip(&acknowledged) {
        assert_eq!(now, then);
    }
    let retracted = acknowledged
        .iter()
        .filter(|e| matches!(e.event, Some(Event::SightingRetracted(_))));
    assert_eq!(retracted.count(), 0, "what is read again is recognised");
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());

    let mut check = bare(program("rollcalld"));
    let check = check
        .arg("check")
        .arg("--data")
        .arg(server.data())
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");

    // Reading the log asserts that its sequence is contiguous and every blob is whole.
    let facts = Facts::read(&server.data().join("log"));
    for source in sources {
        facts.assert_saw_the_same(source, &undisturbed, 1);
        let state = facts.state(source).unwrap();
        assert_eq!(state.1, "", "{state:?}");
        assert_eq!(i32::from(state.0), i32::from(SourceState::Ended));
    }
    truth.assert_identified(facts.tracks.values());
}
