//! `kill -9` of the server in the middle of many edits: each is there whole or not at all, and none that was
//! acknowledged is lost.

use crate::support::random::Random;
use crate::support::server::{Server, Setup};
use crate::support::{prepared, scratch, turn};
use rollcall_client::{Client, pb};
use rollcall_log::record::{Body, Edited, Record};
use rollcall_log::{FileStorage, Log, LogOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const ROUNDS: usize = 8;
/// Edits from one kill to the next at most.
const EDITS_MAX: u64 = 40;
const SEED: u64 = 5;

/// Who is who, as the log tells it, read record by record and by nothing of the server's.
#[derive(Debug, Default, PartialEq)]
struct WhoIsWho {
    tracks: BTreeMap<u64, u64>,
    redirects: BTreeMap<u64, u64>,
    names: BTreeMap<u64, String>,
    facts: BTreeSet<u64>,
    edits: BTreeSet<u64>,
}

impl WhoIsWho {
    fn read(log: &Path) -> Self {
        let storage = Arc::new(FileStorage::open(log).unwrap());
        let (log, _) = Log::open(storage, LogOptions::default()).unwrap();
        let mut told = Self::default();
        for record in log.reader().read_after(0) {
            told.add(&record.unwrap());
        }
        told
    }

    fn add(&mut self, record: &Record) {
        match &record.body {
            Some(Body::TrackObserved(track)) => {
                let decision = track.decision.clone().unwrap_or_default();
                self.tracks.insert(track.track_id, decision.identity_id);
                if decision.absorbs_previous {
                    let from = decision.previous_identity_id;
                    self.redirects.insert(from, decision.identity_id);
                }
            }
            Some(Body::TrackRetracted(track)) => {
                self.tracks.remove(&track.track_id);
            }
            Some(Body::Edited(edited)) => {
                self.edits.insert(record.sequence);
                self.edited(edited);
            }
            Some(_) | None => {}
        }
    }

    fn edited(&mut self, edited: &Edited) {
        for change in &edited.profiles {
            let name = change.after.clone().unwrap_or_default().name;
            self.names.insert(change.identity_id, name);
        }
        for moved in &edited.moves {
            for track in &moved.track_ids {
                assert_eq!(self.tracks[track], moved.from_identity_id, "{moved:?}");
                self.tracks.insert(*track, moved.into_identity_id);
            }
        }
        for change in &edited.redirects {
            let before = self.redirects.remove(&change.identity_id);
            assert_eq!(before.unwrap_or(0), change.before, "{change:?}");
            if change.after != 0 {
                self.redirects.insert(change.identity_id, change.after);
            }
        }
        for change in &edited.facts {
            let id = change.fact.unwrap().fact_id;
            let changed = match change.holds {
                true => self.facts.insert(id),
                false => self.facts.remove(&id),
            };
            assert!(changed, "{change:?}");
        }
    }

    fn resolve(&self, id: u64) -> u64 {
        match self.redirects.get(&id) {
            Some(into) => self.resolve(*into),
            None => id,
        }
    }

    /// The server says the same.
    async fn assert_served_by(&self, client: &Client) {
        let request = pb::ListSightingsRequest::default();
        let seen = client
            .all_sightings(request, usize::MAX)
            .await
            .unwrap()
            .items;
        let seen: BTreeMap<_, _> = seen
            .iter()
            .map(|it| (it.track_id, it.identity_id))
            .collect();
        assert_eq!(seen, self.tracks);
        let facts = client
            .all_facts(Default::default(), usize::MAX)
            .await
            .unwrap();
        let facts: BTreeSet<u64> = facts.iter().map(|fact| fact.id).collect();
        assert_eq!(facts, self.facts);
        let edits = client.all_edits(0, usize::MAX).await.unwrap();
        let edits: BTreeSet<u64> = edits.iter().map(|edit| edit.sequence).collect();
        assert_eq!(edits, self.edits);
        let named = self.names.keys().chain(self.redirects.keys());
        for id in named {
            let root = self.resolve(*id);
            let shown = client.identity(*id).await.unwrap();
            let name = self.names.get(&root).map_or("", String::as_str);
            assert_eq!(
                (shown.id, shown.name.as_str()),
                (root, name),
                "asked for {id}"
            );
            let own = self.tracks.values().filter(|of| **of == root).count();
            assert_eq!(shown.track_count, own as u64, "tracks of {root}");
        }
    }
}

/// Edits of all kinds, one after another, some of which are refused; the sequences of those that were made.
async fn edit_on(client: &Client, mut random: Random, sent: &mut Vec<u64>, told: &WhoIsWho) {
    let tracks: Vec<u64> = told.tracks.keys().copied().collect();
    let newest = told.names.keys().chain(told.tracks.values()).max();
    let mut people = newest.copied().unwrap_or(1);
    let mut edits: Vec<u64> = told.edits.iter().copied().collect();
    loop {
        let track = tracks[usize::try_from(random.below(tracks.len() as u64)).unwrap()];
        let other = tracks[usize::try_from(random.below(tracks.len() as u64)).unwrap()];
        let (one, two) = (1 + random.below(people), 1 + random.below(people));
        let made = match random.below(8) {
            0 | 1 => {
                let request = pb::MergeIdentitiesRequest {
                    from_identity_id: one,
                    into_identity_id: two,
                    ..Default::default()
                };
                client.merge_identities(request).await
            }
            2 | 3 => {
                let request = pb::MoveTracksRequest {
                    track_ids: vec![track],
                    into_identity_id: if random.below(3) == 0 { 0 } else { one },
                    ..Default::default()
                };
                client.move_tracks(request).await
            }
            4 => {
                let request = pb::RejectTracksRequest {
                    identity_id: one,
                    track_ids: BTreeSet::from([track, other]).into_iter().collect(),
                    ..Default::default()
                };
                client.reject_tracks(request).await
            }
            5 => {
                let request = pb::UpdateIdentityRequest {
                    identity_id: one,
                    name: Some(format!("P{}", random.below(1000))),
                    allow_duplicate_name: true,
                    ..Default::default()
                };
                client.update_identity(request).await
            }
            _ => {
                let edit = random.below(edits.len().max(1) as u64);
                let request = pb::UndoEditRequest {
                    sequence: edits
                        .get(usize::try_from(edit).unwrap())
                        .copied()
                        .unwrap_or(1),
                    partial: random.below(2) == 0,
                    allow_duplicate_name: true,
                    ..Default::default()
                };
                client.undo_edit(request).await
            }
        };
        match made {
            Ok(answer) => {
                let edit = answer.edit.unwrap();
                let created = edit.profiles.iter().map(|change| change.identity_id);
                people = created.chain([people]).max().unwrap();
                edits.push(edit.sequence);
                sent.push(edit.sequence);
            }
            Err(error) if error.server().is_some() => {}
            // The server was killed.
            Err(_) => return,
        }
    }
}

/// Edits until the server is killed after some of them; the sequences that were acknowledged.
async fn until_killed(server: &mut Server, told: &WhoIsWho, round: usize) -> Vec<u64> {
    let client = server.client().await;
    let mut events = client.watch(Default::default()).await.unwrap();
    let mut sent = Vec::new();
    let mut random = Random::new(SEED + round as u64);
    let edits = 1 + random.below(EDITS_MAX);
    let mut seen = BTreeSet::new();
    let editing = edit_on(&client, random, &mut sent, told);
    let killing = async {
        while (seen.len() as u64) < edits {
            let item = events.next().await.unwrap();
            if let rollcall_client::WatchItem::Event(event) = item
                && event.sequence > 0
            {
                seen.insert(event.sequence);
            }
        }
        server.kill();
    };
    tokio::join!(editing, killing);
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_edit_is_there_whole_or_not_at_all() {
    let _turn = turn().await;
    let folder = scratch();
    let data = prepared::collection(folder.path()).await;
    // The server would put things right between two looks.
    let setup = Setup::new(&data).set("repair.mode", "off");
    let log = data.join("log");
    let mut told = WhoIsWho::read(&log);
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut server = setup.start().await;
        told.assert_served_by(&server.client().await).await;
        acknowledged.extend(until_killed(&mut server, &told, round).await);
        drop(server);
        // Reading it asserts that each effect fits what was before it.
        let now = WhoIsWho::read(&log);
        let lost: Vec<_> = acknowledged.difference(&now.edits).collect();
        assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
        let more = now.edits.len() - acknowledged.len();
        assert!(more <= round + 1, "{more} edits that nobody was told of");
        told = now;
    }
    assert!(acknowledged.len() >= ROUNDS, "{acknowledged:?}");
    // The views come back the same from the log alone.
    for view in ["index", "catalog.sqlite"] {
        let path = data.join(view);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        let mut server = setup.start().await;
        told.assert_served_by(&server.client().await).await;
        assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    }
}
