//! `kill -9` of the server at any moment of a mixed load: people are made and renamed by several callers at once while a
//! clip is read. Whatever was answered is there afterwards, whatever was asked is there once or not at all.
//!
//! `make test-faults` does it hundreds of times (`ROLLCALL_KILLS`).

use crate::support::events::{collect_until, ends, next_recorded, watch};
use crate::support::facts::Facts;
use crate::support::programs::{bare, program};
use crate::support::random::Random;
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{in_time, scratch, turn};
use rollcall_client::pb::{WatchEvent, watch_event::Event};
use rollcall_client::{Client, WatchFrom, WatchItem, pb};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Kills in every run of the tests.
const KILLS: u64 = 6;
const SEED: u64 = 7;
const EDITORS: usize = 3;
/// Answers from one kill to the next at most.
const ANSWERS_MAX: u64 = 40;

/// Answers since the last kill, and whoever waits for them.
#[derive(Default)]
struct Answers {
    count: AtomicU64,
    news: Notify,
    /// What no kill explains.
    refused: Mutex<Option<String>>,
}

impl Answers {
    fn one(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }

    fn refused(&self, why: String) {
        *self.refused.lock().unwrap() = Some(why);
        self.news.notify_one();
    }

    async fn wait_for(&self, count: u64) {
        while self.count.load(Ordering::SeqCst) < count {
            in_time("an answer", self.news.notified()).await;
            let refused = self.refused.lock().unwrap().take();
            assert_eq!(refused, None, "refused by a server that lives");
        }
    }
}

/// Somebody whom an editor made.
struct Person {
    id: u64,
    /// As answered last.
    name: String,
    /// Asked for and not answered.
    tried: Option<String>,
}

/// One caller, and what it was answered.
struct Editor {
    number: usize,
    random: Random,
    people: Vec<Person>,
    /// Requests so far.
    requests: u64,
    /// A creation that was not answered: its request.
    open: Option<pb::CreateIdentityRequest>,
}

impl Editor {
    /// Asks until the server is gone.
    async fn work(mut self, client: Client, answers: Arc<Answers>) -> Self {
        loop {
            let done = if self.people.is_empty() || self.random.below(3) == 0 {
                self.create(&client).await
            } else {
                self.rename(&client).await
            };
            match done {
                Ok(()) => answers.one(),
                Err(error) => {
                    if !error.is_transient() {
                        answers.refused(error.to_string());
                    }
                    return self;
                }
            }
        }
    }

    fn request(&mut self) -> (String, String) {
        self.requests += 1;
        let name = format!("{}-{}", self.number, self.requests);
        let request = format!("{:08x}-0000-4000-8000-{:012x}", self.number, self.requests);
        (name, request)
    }

    async fn create(&mut self, client: &Client) -> Result<(), rollcall_client::Error> {
        let (name, request_id) = self.request();
        let request = pb::CreateIdentityRequest {
            name,
            request_id,
            ..Default::default()
        };
        self.open = Some(request.clone());
        let made = client.create_identity(request).await?;
        self.made(made);
        Ok(())
    }

    fn made(&mut self, made: pb::EditResponse) {
        let identity = made.identities.into_iter().next().unwrap();
        self.open = None;
        self.people.push(Person {
            id: identity.id,
            name: identity.name,
            tried: None,
        });
    }

    async fn rename(&mut self, client: &Client) -> Result<(), rollcall_client::Error> {
        let (name, request_id) = self.request();
        let all = self.people.len() as u64;
        let which = usize::try_from(self.random.below(all)).unwrap();
        let person = &mut self.people[which];
        person.tried = Some(name.clone());
        let request = pb::RenameIdentityRequest {
            identity_id: person.id,
            name: name.clone(),
            request_id,
            ..Default::default()
        };
        client.rename_identity(request).await?;
        person.name = name;
        person.tried = None;
        Ok(())
    }

    /// After a kill: what was answered is there; what was not is asked for again, and happens once.
    async fn audit(&mut self, client: &Client) {
        for person in &mut self.people {
            let found = client.identity(person.id).await.unwrap();
            assert_eq!(
                found.id, person.id,
                "an id that was given means somebody else"
            );
            let tried = person.tried.take();
            let known = found.name == person.name || Some(&found.name) == tried.as_ref();
            assert!(
                known,
                "{} instead of {}, tried {tried:?}",
                found.name, person.name
            );
            person.name = found.name;
        }
        if let Some(request) = self.open.take() {
            // Were it there already under another request, the name would be taken.
            let made = client.create_identity(request).await.unwrap();
            self.made(made);
        }
    }
}

/// Reads events until the connection breaks.
async fn listen(client: Client, from: WatchFrom) -> Vec<WatchEvent> {
    let mut events = watch(&client, from).await;
    let mut got = Vec::new();
    loop {
        match events.next().await {
            Ok(WatchItem::Event(event)) => match &event.event {
                Some(Event::Started(_) | Event::Heartbeat(_)) => {}
                Some(Event::Gap(gap)) => panic!("events are missing: {gap:?}"),
                _ => got.push(*event),
            },
            Ok(WatchItem::Reconnecting { .. }) | Err(_) => return got,
        }
    }
}

fn after(events: &[WatchEvent]) -> WatchFrom {
    match events.last() {
        Some(last) => WatchFrom::Cursor(last.cursor.clone()),
        None => WatchFrom::Start,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_survives_kill_9_and_whatever_was_asked_happens_once() {
    let _turn = turn().await;
    let told = std::env::var("ROLLCALL_KILLS")
        .ok()
        .filter(|told| !told.is_empty());
    let kills = told.map_or(KILLS, |told| told.parse().unwrap());
    let (folder, truth) = (scratch(), Truth::small());
    let setup = Setup::new(&folder.path().join("killed")).set("repair.mode", "off");
    let mut server = setup.start().await;
    let uri = truth.clip.to_str().unwrap().to_owned();
    let add = pb::AddSourceRequest {
        uri,
        ..Default::default()
    };
    let source = server.client().await.add_source(add).await.unwrap().id;
    let (mut random, mut events) = (Random::new(SEED), Vec::new());
    let mut editors: Vec<Editor> = (0..EDITORS)
        .map(|number| Editor {
            number,
            random: Random::new(SEED + 1 + number as u64),
            people: Vec::new(),
            requests: 0,
            open: None,
        })
        .collect();
    for _ in 0..kills {
        let answers = Arc::new(Answers::default());
        let listener = tokio::spawn(listen(server.client().await, after(&events)));
        let mut working = Vec::new();
        for editor in editors.drain(..) {
            let client = server.client().await;
            working.push(tokio::spawn(editor.work(client, Arc::clone(&answers))));
        }
        answers.wait_for(1 + random.below(ANSWERS_MAX)).await;
        server.kill();
        events.extend(listener.await.unwrap());
        server = setup.start().await;
        let client = server.client().await;
        for editor in working {
            let mut editor = editor.await.unwrap();
            editor.audit(&client).await;
            editors.push(editor);
        }
    }

    // Everything that was told before a kill is told again, the same, and the clip is read to its end.
    let client = server.client().await;
    let mut replay = watch(&client, WatchFrom::Start).await;
    let mut replayed = collect_until(&mut replay, |event| ends(event, source)).await;
    while replayed.len() < events.len() {
        replayed.push(next_recorded(&mut replay).await);
    }
    assert_eq!(replayed[..events.len()], events);
    drop((client, replay));
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    let mut check = bare(program("rollcalld"));
    let check = check.arg("check").arg("--data").arg(server.data());
    let check = check.output().unwrap();
    assert!(check.status.success(), "{check:?}");
    let facts = Facts::read(&server.data().join("log"));
    truth.assert_identified(facts.tracks.values());
    let people: usize = editors.iter().map(|editor| editor.people.len()).sum();
    eprintln!(
        "{{\"part\":\"kill\",\"kills\":{kills},\"people_made\":{people},\"records\":{},\"events\":{},\"failures\":0}}",
        facts.records.len(),
        events.len()
    );
}
