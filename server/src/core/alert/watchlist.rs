//! The rules in force, as the writer keeps them: by whom they watch for.

use super::super::apply::Failure;
use super::super::catalog::{CatalogError, CatalogWriter, RuleRow};
use super::super::replay::embedding_of;
use rollcall_index::Embedding;
use rollcall_log::LogReader;
use rollcall_log::record::{AlertRule, Body, Record, SourceKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A rule that is enabled.
pub(crate) struct Rule {
    pub(super) id: u64,
    /// The record since which it is enabled.
    pub(super) since: u64,
    pub(super) says: AlertRule,
    /// Faces of a photo rule.
    pub(super) photos: Vec<Embedding>,
}

impl Rule {
    /// Whether sightings on that source count.
    pub(super) fn takes_source(&self, source: u64, kind: SourceKind) -> bool {
        let listed = self.says.source_ids.is_empty() || self.says.source_ids.contains(&source);
        listed && (!self.says.live_only || kind == SourceKind::Live)
    }

    /// Whether it watches for people by something else than their id.
    fn is_open(&self) -> bool {
        self.says.unknown_people.is_some() || self.says.photo.is_some()
    }
}

/// The rules that are enabled. A view of the log: made of the catalog's rules, kept by following records.
#[derive(Default)]
pub(crate) struct Watchlist {
    rules: BTreeMap<u64, Rule>,
    /// Rules that look at everybody.
    open: BTreeSet<u64>,
    /// Whom watched ids stand for now: the rule, and the id it names.
    people: HashMap<u64, BTreeSet<(u64, u64)>>,
    /// Whether the record at the end of the log, as it was opened, has been judged.
    pub(super) end_judged: bool,
    /// The open alert that was looked at last.
    pub(super) looked_at: u64,
}

impl Watchlist {
    /// The rules of a catalog that is brought up to the log.
    pub(crate) fn load(catalog: &CatalogWriter, log: &LogReader) -> Result<Self, CatalogError> {
        let mut list = Self::default();
        for row in catalog.rules()? {
            let photo = row.rule.photo.clone().unwrap_or_default();
            let photos = photo.embeddings.iter().filter_map(|reference| {
                let read = embedding_of(log, 0, reference);
                let failed =
                    |error| tracing::warn!(rule = row.id, %error, "a rule's photo is lost");
                read.map_err(failed).ok()
            });
            let photos = photos.collect();
            list.add(row, photos, catalog)?;
        }
        Ok(list)
    }

    pub(super) fn get(&self, rule: u64) -> Option<&Rule> {
        self.rules.get(&rule)
    }

    /// The rules that may watch for the person, by id.
    pub(super) fn rules_for(&self, person: u64) -> impl Iterator<Item = &Rule> {
        let named = self.people.get(&person).into_iter().flatten();
        let ids: BTreeSet<u64> = named
            .map(|(rule, _)| *rule)
            .chain(self.open.iter().copied())
            .collect();
        ids.into_iter().filter_map(|id| self.rules.get(&id))
    }

    /// Follows a record that the catalog has applied. `embeddings` are those of a rule's photos.
    pub(crate) fn follow(
        &mut self,
        record: &Record,
        embeddings: &[Embedding],
        catalog: &CatalogWriter,
    ) -> Result<(), Failure> {
        match &record.body {
            Some(Body::AlertRuleChanged(change)) => {
                let known = self.remove(change.rule_id);
                let photos = match known {
                    Some(known) if embeddings.is_empty() => known.photos,
                    Some(_) | None => embeddings.to_vec(),
                };
                if let Some(row) = catalog.rule_at(change.rule_id)? {
                    self.add(row, photos, catalog)?;
                }
            }
            Some(Body::Edited(edited)) => {
                for change in &edited.redirects {
                    let touched = [change.identity_id, change.before, change.after];
                    self.redirected(touched, catalog)?;
                }
            }
            Some(Body::TrackObserved(track)) => {
                let decision = track.decision.as_ref();
                if let Some(decision) = decision.filter(|decision| decision.absorbs_previous) {
                    let touched = [decision.previous_identity_id, 0, decision.identity_id];
                    self.redirected(touched, catalog)?;
                }
            }
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_)
                | Body::ExemplarsReembedded(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_),
            )
            | None => {}
        }
        Ok(())
    }

    fn add(
        &mut self,
        row: RuleRow,
        photos: Vec<Embedding>,
        catalog: &CatalogWriter,
    ) -> Result<(), CatalogError> {
        // One that is disabled is kept for its photos alone.
        let rule = Rule {
            id: row.id,
            since: row.since,
            says: row.rule,
            photos,
        };
        if rule.says.enabled && rule.is_open() {
            self.open.insert(rule.id);
        }
        for id in rule.says.identity_ids.iter().filter(|_| rule.says.enabled) {
            let person = catalog.resolve(*id)?;
            self.people
                .entry(person)
                .or_default()
                .insert((rule.id, *id));
        }
        self.rules.insert(rule.id, rule);
        Ok(())
    }

    fn remove(&mut self, rule: u64) -> Option<Rule> {
        self.open.remove(&rule);
        self.people.retain(|_, watched| {
            watched.retain(|(of, _)| *of != rule);
            !watched.is_empty()
        });
        self.rules.remove(&rule)
    }

    /// Ids that stood for one of these people may stand for another one now.
    fn redirected(
        &mut self,
        touched: [u64; 3],
        catalog: &CatalogWriter,
    ) -> Result<(), CatalogError> {
        if self.people.is_empty() {
            return Ok(());
        }
        let mut people = BTreeSet::new();
        for id in touched {
            people.extend([id, catalog.resolve(id)?]);
        }
        let moved: Vec<(u64, u64)> = people
            .into_iter()
            .filter_map(|person| self.people.remove(&person))
            .flatten()
            .collect();
        for (rule, id) in moved {
            let person = catalog.resolve(id)?;
            self.people.entry(person).or_default().insert((rule, id));
        }
        Ok(())
    }
}
