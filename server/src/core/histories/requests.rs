//! What people ask for: edits, alert rules, another model.

use super::Random;
use super::life::Life;
use super::steps::{PEOPLE, Steps};
use crate::core::alert::AlertCommand;
use crate::core::command::Action;
use crate::core::contracts::Phase;
use crate::core::edit::tests as edits;
use crate::core::migrate::tests::{embedded, start};
use crate::core::migrate::{Asked, Step};
use crate::core::{ProfileUpdate, RuleChange, RuleEdit};
use rollcall_log::record::{AlertDelivered, AlertRule, UnknownPeople};

const RULES_MAX: u64 = 4;
/// Unix time of the first frame.
const BEGIN_US: i64 = 1_700_000_000_000_000;

impl Steps {
    pub(super) fn edit(&mut self, life: &Life, random: &mut Random) -> Action {
        let ids = life.writer.truth.as_ref().unwrap().catalog.ids();
        let mut identity = || 1 + random.below(ids.identity + 1);
        let (one, other) = (identity(), identity());
        let mut tracks: Vec<u64> = (0..1 + random.below(3))
            .map(|_| 1 + random.below(ids.track + 1))
            .collect();
        tracks.sort_unstable();
        tracks.dedup();
        let name = random.pick(&["", "Ada", "Bob", "bob", "Eve"]);
        let said = ProfileUpdate {
            hidden: random.one_in(3).then(|| random.one_in(2)),
            confirmed: random.one_in(4).then(|| random.one_in(2)),
            name: random.one_in(2).then(|| name.to_owned()),
            ..ProfileUpdate::default()
        };
        let photos = [random.below(6), random.below(6)];
        let photos = &photos[..1 + random.index(2)];
        let mut edit = match random.below(20) {
            0 | 1 => edits::create(name),
            2..=4 => edits::update(one, said),
            5 | 6 => edits::merge(one, other),
            7 => edits::move_tracks(&tracks, one),
            8 => edits::move_into_new(&tracks, name),
            9 | 10 => edits::split(one, &tracks, name),
            11 => edits::link(&tracks),
            12 => edits::separate(one, other),
            13 => edits::reject(one, &tracks),
            14 => edits::enrol_known(one, photos),
            15 => edits::enrol_new(name, photos),
            16 => edits::forget(1 + random.below(ids.fact + 1)),
            _ => match self.made.is_empty() {
                true => edits::create(name),
                false => {
                    let made = self.made[random.index(self.made.len())];
                    if random.one_in(2) {
                        edits::undo(made)
                    } else {
                        edits::partial_undo(made)
                    }
                }
            },
        };
        edit.request_id = self.request(random);
        Action::Edit(edit)
    }

    pub(super) fn alert(&mut self, life: &Life, random: &mut Random) -> Action {
        let catalog = &life.writer.truth.as_ref().unwrap().catalog;
        let rules = catalog.last_rule().unwrap();
        let rule = AlertRule {
            name: "watch".to_owned(),
            enabled: true,
            unknown_people: random.one_in(2).then(UnknownPeople::default),
            confirm_faces: 1,
            absence_us: 10_000_000,
            cool_down_us: 20_000_000,
            tell_left: random.one_in(2),
            ..AlertRule::default()
        };
        let known = 1 + random.below(PEOPLE);
        let edit = |change| {
            AlertCommand::Edit(RuleEdit {
                change,
                author: "tester".to_owned(),
                reason: String::new(),
                request_id: String::new(),
            })
        };
        Action::Alert(match random.below(6) {
            0..=2 if rules < RULES_MAX => edit(RuleChange::Create {
                rule: Box::new(AlertRule {
                    identity_ids: if rule.unknown_people.is_none() {
                        vec![known]
                    } else {
                        Vec::new()
                    },
                    ..rule
                }),
                photos: Vec::new(),
            }),
            3 => edit(RuleChange::Delete {
                rule_id: 1 + random.below(RULES_MAX),
                etag: None,
            }),
            4 => AlertCommand::Delivered(AlertDelivered {
                rule_id: 1 + random.below(RULES_MAX),
                alert_sequence: random.below(life.core.view().sequence + 1),
                ..AlertDelivered::default()
            }),
            _ => AlertCommand::Tick(BEGIN_US + self.clock_s * 1_000_000),
        })
    }

    pub(super) fn migrate(&mut self, life: &Life, random: &mut Random) -> Vec<Action> {
        let view = life.core.view();
        let on = view.contracts.migrating();
        let asked = Asked::default;
        let steps = match on.map(|on| (on.number, on.phase)) {
            None => vec![self::begin(life)],
            Some((_, Phase::Switched)) => vec![match random.below(3) {
                0 => Step::Finish(asked()),
                _ => Step::RollBack {
                    allow_loss: true,
                    asked: asked(),
                },
            }],
            Some((_, Phase::Reembedding)) if random.one_in(12) => vec![Step::Cancel(asked())],
            Some((number, phase)) => {
                let mut steps = Vec::new();
                let all = random.one_in(2);
                if phase.embeds() {
                    let limit = if all { 1000 } else { 1 + random.below(4) };
                    steps.extend(reembed(life, number, u32::try_from(limit).unwrap()));
                }
                if all {
                    steps.extend([Step::Hold(true), Step::Switch { number }]);
                }
                steps
            }
        };
        steps.into_iter().map(Action::Migrate).collect()
    }
}

/// There and back again: a migration goes to whichever contract is not in service.
fn begin(life: &Life) -> Step {
    let mut step = start(true);
    if let Step::Start(new, _) = &mut step
        && new.to.contract == life.core.view().contract().id
    {
        let new = &mut **new;
        std::mem::swap(&mut new.from, &mut new.to);
    }
    step
}

fn reembed(life: &Life, number: u64, limit: u32) -> Option<Step> {
    let view = life.core.view();
    let dimension = view.contracts.other()?.dimension;
    let pending = life.core.catalog().pending(number, limit).unwrap();
    if pending.is_empty() {
        return None;
    }
    let exemplars = embedded(&life.core.log(), dimension, pending);
    Some(Step::Reembedded { number, exemplars })
}
