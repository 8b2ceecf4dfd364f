//! What is done to a collection: a bit of everything, drawn from what there is. A new kind of command gets its place in
//! [`Steps::draw`], and in [`Steps::answered`] what follows from its answer.

use super::Random;
use super::life::Life;
use crate::core::command::{Action, Done};
use crate::core::migrate::Step;
use crate::core::migrate::tests::exemplar;
use crate::core::tests::{checkpoint, track};
use crate::core::{Edit, NewSource, Observed, SourceChange, WriteError};
use crate::pb;
use rollcall_log::record::ReviewProposed;

pub(super) const PEOPLE: u64 = 5;
const SOURCES_MAX: u64 = 3;
/// What passes with each step.
const TICK_S: i64 = 5;

/// A run as its worker knows it.
#[derive(Clone, Copy, Debug)]
struct Reading {
    source: u64,
    run: u64,
}

/// A track that is on screen.
#[derive(Clone, Copy, Debug)]
struct OnScreen {
    source: u64,
    key: u64,
    revision: u32,
    since: i64,
    exemplars: u32,
}

/// What was done so far, as those know it who did it.
#[derive(Default)]
pub(super) struct Steps {
    readings: Vec<Reading>,
    on_screen: Vec<OnScreen>,
    /// What was sent last, to be sent again.
    sent: Vec<(u64, Observed)>,
    key: u64,
    pub(super) clock_s: i64,
    pipelines: u64,
    requests: u64,
    /// Edits that were acknowledged, for undo.
    pub(super) made: Vec<u64>,
    /// Requests that were acknowledged, with their answers.
    answered: Vec<(Action, Done)>,
}

impl Steps {
    /// A server is gone, or has lost its log, and with it the runs.
    pub(super) fn runs_are_over(&mut self) {
        self.readings.clear();
        self.on_screen.clear();
    }

    /// The next things to be asked for; they go into one batch.
    pub(super) fn draw(&mut self, life: &Life, random: &mut Random) -> Vec<Action> {
        match random.below(32) {
            0 | 1 => vec![self.add_source(random)],
            2 | 3 => vec![self.begin(life, random)],
            4..=15 => self.observe(life, random),
            16..=23 => vec![self.edit(life, random)],
            24 => vec![self.state(random)],
            25 | 26 => vec![self.alert(life, random)],
            27 => vec![Action::Propose(ReviewProposed {
                identity_id: 1 + random.below(PEOPLE),
                other_identity_id: 1 + random.below(PEOPLE),
                similarity: 0.5,
                ..ReviewProposed::default()
            })],
            28 => self.ask_again(random),
            _ => self.migrate(life, random),
        }
    }

    /// What came of it.
    pub(super) fn answered(
        &mut self,
        actions: Vec<Action>,
        answers: Vec<Result<Done, WriteError>>,
    ) {
        for (action, answer) in actions.into_iter().zip(answers) {
            let Ok(done) = answer else { continue };
            match &action {
                Action::BeginRun { source_id, .. } => {
                    let Done::Run(run) = done else { unreachable!() };
                    self.on_screen.retain(|it| it.source != *source_id);
                    self.readings.push(Reading {
                        source: *source_id,
                        run: run.id,
                    });
                }
                Action::Edit(Edit { request_id, .. }) => {
                    let Done::Sequence(sequence) = done else {
                        unreachable!()
                    };
                    self.made.push(sequence);
                    if !request_id.is_empty() {
                        self.remember(action, done);
                    }
                }
                Action::AddSource(NewSource { request_id, .. }) if !request_id.is_empty() => {
                    self.remember(action, done);
                }
                Action::EndRun { source_id, .. } => self.over(*source_id),
                Action::SetSourceState(change) => self.over(change.source_id),
                Action::Migrate(Step::Switch { .. } | Step::RollBack { .. } | Step::Hold(true)) => {
                    self.runs_are_over();
                }
                Action::AddSource(_)
                | Action::Alert(_)
                | Action::Propose(_)
                | Action::Observe { .. }
                | Action::Migrate(_)
                | Action::Erase(_)
                | Action::Close => {}
            }
        }
    }

    /// Asked again, whatever has happened since, a request has the answer that it had.
    fn remember(&mut self, action: Action, done: Done) {
        let id = request_of(&action);
        let same = |(earlier, _): &&(Action, Done)| request_of(earlier) == id;
        match self.answered.iter().find(same) {
            Some((_, earlier)) => assert_eq!(*earlier, done, "{id} had another answer before"),
            None => self.answered.push((action, done)),
        }
    }

    fn over(&mut self, source: u64) {
        self.readings.retain(|it| it.source != source);
        self.on_screen.retain(|it| it.source != source);
    }

    fn ask_again(&mut self, random: &mut Random) -> Vec<Action> {
        if self.answered.is_empty() {
            return Vec::new();
        }
        let (action, _) = &self.answered[random.index(self.answered.len())];
        vec![action.clone()]
    }

    pub(super) fn request(&mut self, random: &mut Random) -> String {
        if !random.one_in(3) {
            return String::new();
        }
        self.requests += 1;
        format!("r{}", self.requests)
    }

    fn add_source(&mut self, random: &mut Random) -> Action {
        let kinds = [
            pb::SourceKind::File,
            pb::SourceKind::Live,
            pb::SourceKind::Remote,
        ];
        Action::AddSource(NewSource {
            uri: format!("source {}", random.below(SOURCES_MAX)),
            name: "source".to_owned(),
            kind: random.pick(&kinds),
            realtime: false,
            author: "tester".to_owned(),
            request_id: self.request(random),
        })
    }

    fn begin(&mut self, life: &Life, random: &mut Random) -> Action {
        let sources = life.writer.truth.as_ref().unwrap().catalog.ids().source;
        if random.one_in(4) {
            self.pipelines += 1;
        }
        Action::BeginRun {
            source_id: 1 + random.below(sources + 1),
            pipeline: format!("p{}", self.pipelines),
        }
    }

    fn state(&mut self, random: &mut Random) -> Action {
        if let Some(reading) = self.readings.last().filter(|_| random.one_in(2)) {
            let (source_id, run) = (reading.source, reading.run);
            return Action::EndRun { source_id, run };
        }
        let states = [
            pb::SourceState::Connecting,
            pb::SourceState::Running,
            pb::SourceState::Stalled,
            pb::SourceState::Stopped,
        ];
        Action::SetSourceState(SourceChange {
            source_id: 1 + random.below(SOURCES_MAX),
            state: random.pick(&states),
            reason: String::new(),
            message: String::new(),
            position_us: self.clock_s * 1_000_000,
            author: "tester".to_owned(),
        })
    }

    fn observe(&mut self, life: &Life, random: &mut Random) -> Vec<Action> {
        if self.readings.is_empty() {
            let begin = self.begin(life, random);
            return vec![self.add_source(random), begin];
        }
        let reading = self.readings[random.index(self.readings.len())];
        let mut items = Vec::new();
        for _ in 0..1 + random.below(3) {
            items.push(self.observed(life, reading.source, random));
        }
        vec![Action::Observe {
            source_id: reading.source,
            run: reading.run,
            items,
        }]
    }

    fn observed(&mut self, life: &Life, source: u64, random: &mut Random) -> Observed {
        let here = |(of, _): &&(u64, Observed)| *of == source;
        match random.below(12) {
            0 | 1 => {
                self.clock_s += TICK_S;
                checkpoint(self.clock_s)
            }
            2 if random.one_in(4) => Observed::Finished(pb::Finished {
                state: pb::SourceState::Ended.into(),
                ..pb::Finished::default()
            }),
            // As a worker that was started again.
            3 if self.sent.iter().any(|sent| here(&sent)) => {
                let all: Vec<_> = self.sent.iter().filter(here).collect();
                all[random.index(all.len())].1.clone()
            }
            4..=7 => self.grown(life, source, random),
            _ => self.come(life, source, random),
        }
    }

    fn faces(life: &Life, from: u32, random: &mut Random) -> Vec<pb::ObservedExemplar> {
        let dimension = life
            .writer
            .truth
            .as_ref()
            .unwrap()
            .index
            .newest()
            .dimension();
        let (person, count) = (random.below(PEOPLE), random.below(3));
        let face = |number| {
            let pictured = !random.one_in(8);
            let mut face = exemplar(number, dimension, (u8::try_from(person).unwrap(), pictured));
            if random.one_in(8) {
                face.quality = 0.1;
            }
            face.loose_crop = vec![9; random.index(600)];
            face
        };
        let first = from + 1;
        (first..=first + u32::try_from(count).unwrap())
            .map(face)
            .collect()
    }

    fn come(&mut self, life: &Life, source: u64, random: &mut Random) -> Observed {
        self.key += 1;
        self.clock_s += TICK_S;
        let exemplars = Self::faces(life, 0, random);
        let on_screen = OnScreen {
            source,
            key: self.key,
            revision: 1,
            since: self.clock_s,
            exemplars: u32::try_from(exemplars.len()).unwrap(),
        };
        let span = (self.clock_s, self.clock_s + 1);
        let mut seen = track(self.key, 1, span, exemplars);
        seen.faces = vec![pb::ObservedFace::default()];
        seen.closed = random.one_in(2);
        if !seen.closed {
            self.on_screen.push(on_screen);
        }
        self.send(source, Observed::Track(seen))
    }

    fn grown(&mut self, life: &Life, source: u64, random: &mut Random) -> Observed {
        let place = self.on_screen.iter().position(|it| it.source == source);
        let Some(place) = place else {
            return self.come(life, source, random);
        };
        let mut it = self.on_screen.remove(place);
        it.revision += 1;
        let exemplars = Self::faces(life, it.exemplars, random);
        let dropped = if random.one_in(3) {
            vec![1]
        } else {
            Vec::new()
        };
        it.exemplars += u32::try_from(exemplars.len()).unwrap();
        let mut seen = track(it.key, it.revision, (it.since, self.clock_s + 2), exemplars);
        seen.dropped_exemplars = if it.revision == 2 {
            dropped
        } else {
            Vec::new()
        };
        seen.closed = random.one_in(2);
        if !seen.closed {
            self.on_screen.push(it);
        }
        self.send(source, Observed::Track(seen))
    }

    fn send(&mut self, source: u64, observed: Observed) -> Observed {
        self.sent.push((source, observed.clone()));
        observed
    }
}

fn request_of(action: &Action) -> &str {
    match action {
        Action::Edit(edit) => &edit.request_id,
        Action::AddSource(new) => &new.request_id,
        Action::SetSourceState(_)
        | Action::Alert(_)
        | Action::Propose(_)
        | Action::BeginRun { .. }
        | Action::Observe { .. }
        | Action::EndRun { .. }
        | Action::Migrate(_)
        | Action::Erase(_)
        | Action::Close => "",
    }
}
