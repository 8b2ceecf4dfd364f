//! A collection from its first record to its last, opened again and again.

use super::audit::Audit;
use super::steps::Steps;
use super::views::{Fate, Views};
use super::watcher::Watcher;
use super::{Counts, Random};
use crate::config::Assigner;
use crate::core::apply::Failure;
use crate::core::command::{Action, Command, Done};
use crate::core::replay::LogPlace;
use crate::core::tests::options;
use crate::core::writer::Writer;
use crate::core::{
    Committed, Core, CoreMetrics, CoreOptions, OpenError, Opening, WriteError, WriteState,
};
use rollcall_log::storage::{Fault, Survival};
use rollcall_log::{LogOptions, MemoryStorage};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Steps of a history at most.
const STEPS_MAX: u64 = 30;
/// Operations of the disk before a fault at most: some commits.
const OPERATIONS_MAX: u64 = 24;
/// Openings in a row that may fail.
const OPENINGS_MAX: u32 = 40;

/// One server, from its start to its end.
pub(super) struct Life {
    pub(super) writer: Writer,
    pub(super) core: Core,
    live: broadcast::Receiver<Arc<Committed>>,
}

/// What a seed makes happen.
pub(super) struct History {
    random: Random,
    disk: MemoryStorage,
    views: Views,
    log_options: LogOptions,
    options: CoreOptions,
    steps: Steps,
    audit: Audit,
    watcher: Watcher,
    /// The fault that waits, and what the disk had failed at before.
    armed: Option<(Fault, u64)>,
    counts: Counts,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // So small that a history goes over many segments, or so large that it does not.
        let bytes = random.pick(&[1 << 10, 4 << 10, 64 << 10]);
        let views = Views::new();
        let assigner = if random.one_in(8) {
            Assigner::Hri
        } else {
            Assigner::Evidence
        };
        Self {
            disk: MemoryStorage::new(),
            log_options: LogOptions {
                segment_bytes_max: bytes,
                blob_segment_bytes_max: bytes,
            },
            options: CoreOptions {
                assigner,
                ..options(&views.folder())
            },
            views,
            random,
            steps: Steps::default(),
            audit: Audit::default(),
            watcher: Watcher::default(),
            armed: None,
            counts: Counts {
                histories: 1,
                ..Counts::default()
            },
        }
    }

    pub(super) fn run(mut self) -> Counts {
        let mut life = self.open();
        let steps = 4 + self.random.below(STEPS_MAX - 4);
        for _ in 0..steps {
            if self.armed.is_none() && self.random.one_in(6) {
                self.arm();
            }
            life = match self.random.below(40) {
                0 => self.cut(life),
                1 => self.end(life),
                2 => {
                    self.views.keep();
                    life
                }
                3 => {
                    life.writer.truth.as_mut().unwrap().checkpoint();
                    life
                }
                _ => self.step(life),
            };
            self.watcher.listen(&life.core, &mut life.live);
        }
        // Whatever happened: opened again without any failure, all is as promised.
        let life = self.cut(life);
        self.watcher.audit(&life.core);
        self.counts.events = self.watcher.events();
        self.counts.steps = steps;
        self.audit.count(&mut self.counts);
        self.counts
    }

    fn arm(&mut self) {
        let fault = self
            .random
            .pick(&[Fault::Io, Fault::Full, Fault::Dead, Fault::LostSync]);
        let operations = self.random.below(OPERATIONS_MAX);
        self.armed = Some((fault, self.disk.failed_operations()));
        self.disk.fail_after(operations, fault);
    }

    /// Whether the fault that waited has struck.
    fn struck(&self) -> bool {
        let failed = self.disk.failed_operations();
        self.armed.is_some_and(|(_, before)| failed > before)
    }

    fn count_fault(&mut self) {
        if let Some((fault, _)) = self.armed.take() {
            let count = match fault {
                Fault::Io => &mut self.counts.write_errors,
                Fault::Full => &mut self.counts.full_disks,
                Fault::Dead => &mut self.counts.dead_disks,
                Fault::LostSync => &mut self.counts.failed_syncs,
            };
            *count += 1;
        }
    }

    /// Carries out some commands as one batch.
    fn step(&mut self, mut life: Life) -> Life {
        let commands = 1 + self.random.below(3);
        let draw = |_| self.steps.draw(&life, &mut self.random);
        let actions: Vec<Action> = (0..commands).flat_map(draw).collect();
        if actions.is_empty() {
            return life;
        }
        let (batch, mut replies) = batch(&actions);
        let outcome = life.writer.group(batch);
        let answers: Vec<Result<Done, WriteError>> = replies
            .iter_mut()
            .map(|reply| reply.try_recv().unwrap())
            .collect();
        let issued = std::mem::take(&mut life.writer.issued);
        self.audit.issued(&issued);
        match outcome {
            Ok(()) => {
                self.audit.acknowledged(issued);
                self.counts.commits += 1;
                self.counts.refused +=
                    answers.iter().filter(|answer| answer.is_err()).count() as u64;
                let read_only = |answer: &Result<Done, WriteError>| {
                    matches!(answer, Err(WriteError::ReadOnly { .. }))
                };
                assert!(!answers.iter().any(read_only), "refused without a reason");
                self.steps.answered(actions, answers);
                if self.struck() && !matches!(self.armed, Some((Fault::Full | Fault::Dead, _))) {
                    // It befell something that need not succeed, as a mark.
                    self.count_fault();
                }
                life
            }
            Err(failure) => {
                assert!(self.struck(), "a commit failed by itself: {failure}");
                let acknowledged = answers.iter().find(|answer| answer.is_ok());
                assert_eq!(acknowledged, None, "acknowledged, and not durable");
                // Some commands sync by themselves, on the way.
                self.audit
                    .issued(&life.writer.truth.as_ref().unwrap().uncommitted);
                self.recover(life, &failure)
            }
        }
    }

    /// After a commit that failed: the writer refuses until the log is open again, or the server is gone.
    fn recover(&mut self, mut life: Life, failure: &Failure) -> Life {
        life.writer.let_go(failure);
        self.steps.runs_are_over();
        assert!(matches!(
            life.core.write_state(),
            WriteState::ReadOnly { .. }
        ));
        let (refused, mut replies) = batch(&[Action::EndRun {
            source_id: 1,
            run: 1,
        }]);
        life.writer.group(refused).unwrap();
        replies[0].try_recv().unwrap().unwrap_err();
        let dead = matches!(self.armed, Some((Fault::Dead, _)));
        if dead || self.random.one_in(2) {
            self.count_fault();
            return self.cut(life);
        }
        for _ in 0..OPENINGS_MAX {
            if self.random.one_in(2) {
                self.disk.clear_fault();
            }
            match life.writer.reopen() {
                Ok(truth) => {
                    life.writer.resume(truth);
                    self.disk.clear_fault();
                    self.count_fault();
                    assert_eq!(life.core.write_state(), WriteState::Ok);
                    self.counts.recoveries += 1;
                    self.look_at(&mut life);
                    return life;
                }
                Err(error) => self.may_fail(&error),
            }
        }
        panic!("the log cannot be opened again");
    }

    /// The disk's fault is an excuse; what is found on it is none.
    fn may_fail(&mut self, error: &OpenError) {
        assert!(self.struck(), "{error}");
        assert!(
            !matches!(
                error,
                OpenError::Log(rollcall_log::OpenError::Corrupt { .. })
            ),
            "{error}"
        );
        self.counts.failed_openings += 1;
    }

    /// Ends a server as it should be, and starts another.
    fn end(&mut self, mut life: Life) -> Life {
        life.writer.end();
        drop(life);
        self.counts.clean_ends += 1;
        if self.random.one_in(2) {
            self.power_fails();
        }
        self.befall_views();
        self.open()
    }

    /// Ends a server without a word, and starts another.
    fn cut(&mut self, life: Life) -> Life {
        let before = self.views.cut();
        self.power_fails();
        drop(life);
        std::fs::remove_dir_all(before).unwrap();
        self.befall_views();
        self.open()
    }

    fn power_fails(&mut self) {
        let survival = self.random.pick(&[
            Survival::Dropped,
            Survival::Torn,
            Survival::Reordered,
            Survival::Kept,
        ]);
        match survival {
            Survival::Kept => self.counts.kills += 1,
            Survival::Dropped | Survival::Torn | Survival::Reordered => self.counts.power_cuts += 1,
        }
        if self.struck() {
            self.count_fault();
        }
        self.armed = None;
        self.disk.cut_power(survival, self.random.next());
        self.steps.runs_are_over();
    }

    fn befall_views(&mut self) {
        let fate = Fate::draw(&mut self.random);
        if !self.views.suffer(fate, &mut self.random) {
            return;
        }
        match fate {
            Fate::Left => {}
            Fate::Older => self.counts.views_older += 1,
            Fate::Gone => self.counts.views_gone += 1,
            Fate::Damaged => self.counts.views_damaged += 1,
        }
    }

    fn open(&mut self) -> Life {
        if self.random.one_in(4) {
            self.arm();
        }
        for _ in 0..OPENINGS_MAX {
            match self.try_open() {
                Ok(mut life) => {
                    self.counts.reopenings += 1;
                    self.look_at(&mut life);
                    return life;
                }
                Err(error) => {
                    self.may_fail(&error);
                    if matches!(self.armed, Some((Fault::Dead, _))) || self.random.one_in(2) {
                        self.power_fails();
                    } else if self.random.one_in(2) {
                        self.disk.clear_fault();
                    }
                }
            }
        }
        panic!("it cannot be opened");
    }

    fn try_open(&mut self) -> Result<Life, OpenError> {
        let place = LogPlace {
            storage: Arc::new(self.disk.clone()),
            options: self.log_options,
        };
        let data = self.views.folder();
        let opening = Opening::on(place, &data)?;
        self.options.data = data;
        if let Some(contract) = opening.contract() {
            self.options.contract.clone_from(&contract.id);
            self.options.dimension = contract.dimension;
        }
        let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
        let channel = mpsc::channel(1);
        let (core, writer) = Core::prepare(opening, self.options.clone(), metrics, channel)?;
        let live = core.subscribe();
        Ok(Life { writer, core, live })
    }

    /// Holds what is there against what was promised.
    fn look_at(&mut self, life: &mut Life) {
        self.audit.audit(life);
        self.watcher.listen(&life.core, &mut life.live);
        self.watcher.resume(&life.core);
        self.watcher.audit(&life.core);
    }
}

type Replies = Vec<oneshot::Receiver<Result<Done, WriteError>>>;

fn batch(actions: &[Action]) -> (Vec<Command>, Replies) {
    let command = |action: &Action| {
        let (reply, answer) = oneshot::channel();
        let action = action.clone();
        (Command { action, reply }, answer)
    };
    actions.iter().map(command).unzip()
}
