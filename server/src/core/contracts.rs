//! Which contract is in service, and which other one there is beside it: made from the few records that say so.

use super::index_folder::INDEX_FOLDER;
use rollcall_log::record::{Body, MigrationOutcome, MigrationStarted, Model, Record};

/// What the folders of later ones begin with; the number of the migration follows.
pub(crate) const LATER_FOLDERS: &str = "index-";

/// Which of the two contracts that a migrating collection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that searches are answered by, and workers embed under.
    InService,
    /// The one that is being made, or was in service before.
    Other,
}

/// What embeddings are compared under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Hash of model, preprocessing and dimension.
    pub id: String,
    /// Values of an embedding.
    pub dimension: usize,
    /// The embedder's id; `None` if no migration has named it: it is the default one.
    pub embedder: Option<String>,
    /// Where its index is, in the data folder.
    pub(crate) folder: String,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Exemplars are embedded again; the old contract is in service.
    Reembedding,
    /// The new contract is in service; the old one is kept.
    Switched,
    /// Exemplars seen since the switch are embedded by the old model; the new contract is in service.
    RollingBack,
    /// Over: the old contract was dropped.
    Done,
    /// Over: it never switched.
    Cancelled,
    /// Over: the old contract is in service again, the new one was dropped.
    RolledBack,
}

impl Phase {
    /// Whether there are two contracts.
    pub fn is_on(self) -> bool {
        match self {
            Self::Reembedding | Self::Switched | Self::RollingBack => true,
            Self::Done | Self::Cancelled | Self::RolledBack => false,
        }
    }

    /// Whether exemplars are being embedded again.
    pub fn embeds(self) -> bool {
        match self {
            Self::Reembedding | Self::RollingBack => true,
            Self::Switched | Self::Done | Self::Cancelled | Self::RolledBack => false,
        }
    }
}

/// A migration, on or over.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// The record that began it.
    pub number: u64,
    /// When it was begun, Unix microseconds.
    pub started_us: i64,
    /// Who began it.
    pub author: String,
    /// What was in service when it began.
    pub from: Model,
    /// What was to be.
    pub to: Model,
    /// Identities may be lost to searches.
    pub allow_loss: bool,
    /// How far it is.
    pub phase: Phase,
}

impl Migration {
    /// What was said of the model of a contract.
    pub fn model(&self, contract: &str) -> Option<&Model> {
        let mut both = [&self.from, &self.to].into_iter();
        both.find(|model| model.contract == contract)
    }
}

/// The contracts of a collection after some record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contracts {
    in_service: Contract,
    other: Option<Contract>,
    migration: Option<Migration>,
}

impl Contracts {
    /// Whether a record has anything to say here.
    pub(crate) fn concerns(body: Option<&Body>) -> bool {
        match body {
            Some(
                Body::CollectionOpened(_)
                | Body::MigrationStarted(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_),
            ) => true,
            Some(
                Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackObserved(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::Edited(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::ExemplarsReembedded(_),
            )
            | None => false,
        }
    }

    /// After those of `records` that do not lie beyond `sequence`. Records that have nothing to say are passed over.
    pub(crate) fn after<'a>(records: impl IntoIterator<Item = &'a Record>, sequence: u64) -> Self {
        let mut contracts = Self::default();
        for record in records {
            if record.sequence <= sequence {
                contracts.apply(record);
            }
        }
        contracts
    }

    /// After one more record.
    pub(crate) fn apply(&mut self, record: &Record) {
        match &record.body {
            Some(Body::CollectionOpened(opened)) => {
                self.in_service = Contract {
                    id: opened.contract.clone(),
                    dimension: size(opened.dimension),
                    embedder: None,
                    folder: INDEX_FOLDER.to_owned(),
                };
            }
            Some(Body::MigrationStarted(started)) if started.migration == 0 => {
                self.begin(record, started);
            }
            Some(Body::MigrationStarted(started)) => {
                if let Some(migration) = &mut self.migration {
                    let turns = started.rolls_back && migration.phase != Phase::RollingBack;
                    // What was consented to going forth is not consented to going back.
                    migration.allow_loss = started.allow_loss || migration.allow_loss && !turns;
                    if turns {
                        migration.phase = Phase::RollingBack;
                    }
                }
            }
            Some(Body::MigrationSwitched(_)) => {
                self.swap();
                self.turn(Phase::Switched);
            }
            Some(Body::MigrationEnded(ended)) => match ended.outcome() {
                MigrationOutcome::RolledBack => {
                    self.swap();
                    self.end(Phase::RolledBack);
                }
                MigrationOutcome::Done => self.end(Phase::Done),
                MigrationOutcome::Cancelled | MigrationOutcome::Unspecified => {
                    self.end(Phase::Cancelled);
                }
            },
            Some(
                Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackObserved(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::Edited(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::ExemplarsReembedded(_),
            )
            | None => {}
        }
    }

    /// The one that searches are answered by.
    pub fn in_service(&self) -> &Contract {
        &self.in_service
    }

    /// The other one, while a migration is on.
    pub fn other(&self) -> Option<&Contract> {
        self.other.as_ref()
    }

    /// The last migration, on or over.
    pub fn migration(&self) -> Option<&Migration> {
        self.migration.as_ref()
    }

    /// The migration that is on.
    pub fn migrating(&self) -> Option<&Migration> {
        self.migration().filter(|migration| migration.phase.is_on())
    }

    /// One of the two.
    pub(crate) fn side(&self, side: Side) -> Option<&Contract> {
        match side {
            Side::InService => Some(&self.in_service),
            Side::Other => self.other.as_ref(),
        }
    }

    fn begin(&mut self, record: &Record, started: &MigrationStarted) {
        let from = started.from.clone().unwrap_or_default();
        let to = started.to.clone().unwrap_or_default();
        self.in_service.embedder = Some(from.embedder.clone());
        self.other = Some(Contract {
            id: to.contract.clone(),
            dimension: size(to.dimension),
            embedder: Some(to.embedder.clone()),
            folder: folder_of(record.sequence),
        });
        self.migration = Some(Migration {
            number: record.sequence,
            started_us: record.time_us,
            author: record.author.clone(),
            from,
            to,
            allow_loss: started.allow_loss,
            phase: Phase::Reembedding,
        });
    }

    fn swap(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.in_service, other);
        }
    }

    fn end(&mut self, phase: Phase) {
        self.other = None;
        self.turn(phase);
    }

    fn turn(&mut self, phase: Phase) {
        if let Some(migration) = &mut self.migration {
            migration.phase = phase;
        }
    }
}

/// The index folder of the contract that migration `number` goes to.
pub(crate) fn folder_of(number: u64) -> String {
    format!("{LATER_FOLDERS}{number}")
}

fn size(dimension: u32) -> usize {
    usize::try_from(dimension).unwrap_or(usize::MAX)
}
