//! The truth and its views: one writer thread owns the log, the index and the catalog.
//!
//! Commands go in through a bounded queue. The writer takes all that wait (at most
//! [`BATCH_COMMANDS_MAX`]), decides, appends to the log, applies the records to its private index
//! and to an open catalog transaction, syncs the log once for all of them (group commit), commits the
//! catalog, publishes the new [`View`], tells the subscribers and only then answers the callers: what
//! a reader can see is durable.

mod alert;
mod apply;
mod attributes;
mod catalog;
mod command;
mod compare;
mod contracts;
mod edit;
mod erase;
mod events;
mod fact;
mod fill;
mod hri;
mod index_folder;
mod marks;
mod metrics;
mod migrate;
mod observe;
mod replay;
mod withheld;
mod writer;

use arc_swap::ArcSwap;
use rollcall_log::LogReader;
use rollcall_log::record::{AlertDelivered, ReviewProposed};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use alert::{RuleChange, RuleEdit, RuleUpdate, WebhookUpdate};
pub(crate) use alert::{as_shown_alert, as_shown_rule, photo_of};
pub(crate) use attributes::shown as shown_attributes;
pub(crate) use catalog::name_key;
pub use catalog::{
    AlertQuery, AlertRow, AlertRuleRow, Catalog, CatalogError, Counts, EditPlace, ErasurePlace,
    ExemplarRow, FactQuery, IdentityQuery, Lost, Pending, Progress, Proposed, Recorded, ReviewItem,
    SightingKey, SightingQuery, SourceRow,
};
pub use command::{NewSource, Observed, Run, SourceChange, WriteError, WriteState};
pub(crate) use compare::{delete_views, views_differ};
pub(crate) use contracts::Side;
pub use contracts::{Contract, Contracts, Migration, Phase};
pub use edit::{Change, Edit, PHOTOS_MAX, Person, Photo, PhotoDigest, ProfileUpdate, Target};
pub(crate) use edit::{METADATA_KEYS_MAX, MOVED_MAX, as_shown};
pub use erase::{Erasure, Outlived, Traces, What, traces};
pub(crate) use erase::{keys_left, scope_name, views_left};
pub use events::{Cursor, EventSource};
pub(crate) use fill::{FACES_AT_ONCE, Survivor, Survivors, fill_index, survivors};
pub(crate) use index_folder::{NEW_FOLDER, made_for};
pub(crate) use marks::{Marks, states};
pub use metrics::CoreMetrics;
pub use migrate::{Asked, NewMigration, Reembedding, Step};
pub(crate) use replay::{LOG_FOLDER, contracts_of};
pub use replay::{OpenError, Opening};

use crate::config::Assigner;
use crate::pb;
use alert::AlertCommand;
use command::{Action, Command, Done};
use erase::EraseCommand;
use observe::Scenes;
use writer::Writer;

/// Who writes what the server decides.
pub(crate) const SYSTEM: &str = "system";
/// Commands of one group commit at most.
pub const BATCH_COMMANDS_MAX: usize = 256;
/// Group commits a subscriber may lag behind before it has to fall back to the log.
const BROADCAST_COMMITS: usize = 1024;

/// How to open the core.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// The data folder; made when it does not exist.
    pub data: PathBuf,
    /// The contract in service: embeddings of any other are refused.
    pub contract: String,
    /// Values of an embedding.
    pub dimension: usize,
    /// Cosine from which two faces are taken for the same person.
    pub same_cosine: f32,
    /// By which rule tracks get their identities.
    pub assigner: Assigner,
    /// Commands that may wait for the writer.
    pub writer_queue: usize,
}

/// One state of the collection: immutable, durable.
#[derive(Debug)]
pub struct View {
    /// The log sequence it shows.
    pub sequence: u64,
    /// The faces and identities of that state.
    pub index: Arc<rollcall_index::Snapshot>,
    /// Whether anybody is hidden.
    pub any_hidden: bool,
    /// Which contract the index is of, and what becomes of it.
    pub contracts: Arc<Contracts>,
    /// How far the last migration is.
    pub progress: Progress,
}

impl View {
    /// The contract that the index is of.
    pub fn contract(&self) -> &Contract {
        self.contracts.in_service()
    }
}

/// What one group commit brought, sent after the view that shows it is published.
#[derive(Debug)]
pub struct Committed {
    /// The last sequence of the commit.
    pub sequence: u64,
    /// Its events, in order.
    pub events: Vec<pb::WatchEvent>,
}

/// What readers and the writer share.
pub(crate) struct Shared {
    pub(crate) view: ArcSwap<View>,
    pub(crate) log: ArcSwap<LogReader>,
    pub(crate) state: ArcSwap<WriteState>,
    pub(crate) commits: broadcast::Sender<Arc<Committed>>,
    pub(crate) events: EventSource,
    pub(crate) scenes: Arc<Scenes>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("sequence", &self.view.load().sequence)
            .finish_non_exhaustive()
    }
}

/// Handle on the collection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Core {
    shared: Arc<Shared>,
    catalog: Catalog,
    commands: mpsc::Sender<Command>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Core {
    /// Opens or makes the collection in `options.data`, brings catalog and index up to the log and
    /// starts the writer. Blocking; cost: one read of the index's files and of the log's records
    /// since its last checkpoint; where the index has to be made anew, and always in HRI mode, one pass over the
    /// log and one read per exemplar.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, the log is damaged, the contract is another one.
    pub fn open(options: CoreOptions, metrics: CoreMetrics) -> Result<Self, OpenError> {
        Self::start(Opening::of(&options.data)?, options, metrics)
    }

    /// As [`Core::open`], with the log already open.
    ///
    /// # Errors
    /// As [`Core::open`].
    pub fn start(
        opening: Opening,
        options: CoreOptions,
        metrics: CoreMetrics,
    ) -> Result<Self, OpenError> {
        let (commands, inbox) = mpsc::channel(options.writer_queue.max(1));
        let (mut core, writer) = Self::prepare(opening, options, metrics, (commands, inbox))?;
        let writer = writer
            .start()
            .map_err(|source| OpenError::Thread { source })?;
        core.writer = Arc::new(Mutex::new(Some(writer)));
        Ok(core)
    }

    /// A core and its writer, which does nothing yet.
    fn prepare(
        opening: Opening,
        options: CoreOptions,
        metrics: CoreMetrics,
        (commands, inbox): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
    ) -> Result<(Self, Writer), OpenError> {
        let place = opening.place();
        let opened = opening.finish(&options)?;
        let catalog = Catalog::open(&options.data.join(replay::CATALOG_FILE))?;
        let events = EventSource::new(&opened.log, catalog.clone());
        let (commits, _) = broadcast::channel(BROADCAST_COMMITS);
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(opened.view()),
            log: ArcSwap::from_pointee(opened.log.reader()),
            state: ArcSwap::from_pointee(WriteState::Ok),
            commits,
            events,
            scenes: Arc::default(),
        });
        let writer = Writer::new((opened, place), options, metrics, &shared, inbox);
        let core = Self {
            shared,
            catalog,
            commands,
            writer: Arc::default(),
        };
        Ok((core, writer))
    }

    /// The newest published state. Never blocks.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Names, sightings, sources: blocking reads, off the async threads please.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The log as readers see it: durable records and blobs.
    pub fn log(&self) -> LogReader {
        LogReader::clone(&self.shared.log.load())
    }

    /// How many times as alike strangers are in a source as elsewhere, as far as that is known.
    pub fn strangers_ratio(&self, source: u64) -> f32 {
        self.shared.scenes.ratio(source)
    }

    /// Every group commit from now on, in order.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.shared.commits.subscribe()
    }

    /// The durable events after `sequence`, read from the log. Blocking.
    pub fn events_after(
        &self,
        sequence: u64,
    ) -> impl Iterator<Item = Result<pb::WatchEvent, rollcall_log::ReadError>> + Send + use<> {
        self.shared.events.after(&self.log(), sequence)
    }

    /// Whether writes are taken at present.
    pub fn write_state(&self) -> WriteState {
        WriteState::clone(&self.shared.state.load())
    }

    /// Adds a source in state QUEUED and returns its id. A `request_id` seen before returns the id
    /// it made then.
    ///
    /// # Errors
    /// [`WriteError::SourceExists`] if the URI is being read, or is a file that was read to its end.
    pub async fn add_source(&self, new: NewSource) -> Result<u64, WriteError> {
        match self.submit(Action::AddSource(new)).await? {
            Done::Id(id) => Ok(id),
            Done::Sequence(_) | Done::Run(_) => Err(WriteError::Closed),
        }
    }

    /// Records a change of a source's state and returns its sequence. A final state (ended, stopped,
    /// failed) closes the tracks left open.
    ///
    /// # Errors
    /// [`WriteError::SourceNotFound`].
    pub async fn set_source_state(&self, change: SourceChange) -> Result<u64, WriteError> {
        self.sequence(Action::SetSourceState(change)).await
    }

    /// Makes an edit and returns its sequence. A `request_id` seen before returns that of the edit it
    /// made then.
    ///
    /// # Errors
    /// Those of the change: see [`Change`]. [`WriteError::RequestIdReused`] if the request id stands for a
    /// change of another kind.
    pub async fn edit(&self, edit: Edit) -> Result<u64, WriteError> {
        self.sequence(Action::Edit(edit)).await
    }

    /// Proposes something for people to look at, and returns the sequence at which it waits; 0 if it waits
    /// already, or was answered.
    ///
    /// # Errors
    /// If nothing can be written.
    pub async fn propose(&self, proposed: ReviewProposed) -> Result<u64, WriteError> {
        self.sequence(Action::Propose(proposed)).await
    }

    /// Makes, changes or deletes an alert rule, and returns its id (a new one's) or the sequence of the change. A
    /// `request_id` seen before returns what it made then.
    ///
    /// # Errors
    /// Those of the change: see [`RuleChange`]; [`WriteError::RequestIdReused`].
    pub async fn edit_alert_rule(&self, edit: RuleEdit) -> Result<u64, WriteError> {
        match self.submit(Action::Alert(AlertCommand::Edit(edit))).await? {
            Done::Id(number) | Done::Sequence(number) => Ok(number),
            Done::Run(_) => Err(WriteError::Closed),
        }
    }

    /// Tells of those who have left by `now_us` (Unix time): alerts that no record brings about.
    ///
    /// # Errors
    /// If nothing can be written.
    pub async fn tick_alerts(&self, now_us: i64) -> Result<(), WriteError> {
        let action = Action::Alert(AlertCommand::Tick(now_us));
        self.sequence(action).await.map(|_| ())
    }

    /// Notes that a rule's webhook is done with an alert and all before it; once.
    ///
    /// # Errors
    /// If nothing can be written.
    pub async fn alert_delivered(&self, delivered: AlertDelivered) -> Result<(), WriteError> {
        let action = Action::Alert(AlertCommand::Delivered(delivered));
        self.sequence(action).await.map(|_| ())
    }

    /// Begins a run over a source: where to resume, and the run's id.
    ///
    /// # Errors
    /// [`WriteError::SourceBusy`] while another run is on, [`WriteError::SourceFinished`] after its end.
    pub async fn begin_run(&self, source_id: u64, pipeline: String) -> Result<Run, WriteError> {
        match self
            .submit(Action::BeginRun {
                source_id,
                pipeline,
            })
            .await?
        {
            Done::Run(run) => Ok(run),
            Done::Id(_) | Done::Sequence(_) => Err(WriteError::Closed),
        }
    }

    /// Records observations of a run, in order, and returns the sequence at which they are durable and
    /// searchable. What was recorded before is not recorded again.
    ///
    /// # Errors
    /// [`WriteError::Protocol`] or [`WriteError::Embedding`] at the first bad item: the ones before it count.
    pub async fn observe(
        &self,
        source_id: u64,
        run: u64,
        items: Vec<Observed>,
    ) -> Result<u64, WriteError> {
        self.sequence(Action::Observe {
            source_id,
            run,
            items,
        })
        .await
    }

    /// Takes a migration a step further and returns the sequence at which that is so. A `request_id` seen before
    /// returns that of the step it made then.
    ///
    /// # Errors
    /// Those of the step: see [`Step`].
    pub async fn migrate(&self, step: Step) -> Result<u64, WriteError> {
        self.sequence(Action::Migrate(step)).await
    }

    /// Begins an erasure and returns its record's sequence, from which on what it names counts for nothing. A
    /// `request_id` seen before returns that of the erasure it began then. See [`Core::finish_erasure`].
    ///
    /// # Errors
    /// Those of what is to be erased: see [`What`].
    pub async fn erase(&self, erasure: Erasure) -> Result<u64, WriteError> {
        self.erase_command(EraseCommand::Begin(erasure)).await
    }

    async fn erase_command(&self, command: EraseCommand) -> Result<u64, WriteError> {
        self.sequence(Action::Erase(command)).await
    }

    /// The run's stream is over, however it ended: the source may begin another.
    pub async fn end_run(&self, source_id: u64, run: u64) {
        // A closed writer has no runs left to end.
        let _ = self.submit(Action::EndRun { source_id, run }).await;
    }

    /// Takes no more commands, finishes those that wait, syncs and joins the writer.
    pub async fn close(&self) {
        let _ = self.submit(Action::Close).await;
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }

    async fn sequence(&self, action: Action) -> Result<u64, WriteError> {
        match self.submit(action).await? {
            Done::Sequence(sequence) => Ok(sequence),
            Done::Id(_) | Done::Run(_) => Err(WriteError::Closed),
        }
    }

    async fn submit(&self, action: Action) -> Result<Done, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command { action, reply })
            .await
            .map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
