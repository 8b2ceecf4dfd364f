//! `rollcalld build`: a collection out of what was extracted elsewhere, without a server running.
//!
//! Each extracted folder, and each source of a file of vectors, goes through the writer as a run of a worker would: the
//! same checks, the same rule, the same records. So the outcome is what a server would have made of it, and a build that
//! was broken off goes on where it was: what is recorded is not recorded again.

mod error;
mod extracted;
mod given;
mod vectors;

use crate::config::Config;
use crate::core::{
    Core, CoreMetrics, CoreOptions, NewSource, Observed, Opening, SYSTEM, WriteError,
};
use crate::hex::to_hex;
use crate::pb;
use crate::service::{Checked, Checker, Unfit};
use crate::vision::{LoadedModels, Vision};
pub use error::BuildError;
use given::Given;
pub use given::{GivenOutcome, GivenRule};
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::extracted::Extracted;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use vectors::Vectors;

/// Observations that go to the writer at once.
const BATCH: usize = 256;
/// Batches that are read ahead.
const BATCHES_AHEAD: usize = 4;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 8;

/// What is built from.
#[derive(Clone, Debug)]
pub struct BuildInput {
    /// An extracted folder, a folder of such folders, or a file of vectors.
    pub path: PathBuf,
    /// What goes with a file of vectors.
    pub sides: SideFiles,
    /// Among the embeddings of a `.jsonl` file that has several: those of this model.
    pub model: String,
    /// The contract of a file of vectors; empty: the collection's, or that of the models at hand.
    pub contract: String,
    /// Take what there is of an extraction that did not come to its end.
    pub partial: bool,
    /// Whether identities that come with a file of vectors count.
    pub given: GivenRule,
    /// Names of these identities: a table with the columns `identity` and `name`.
    pub names: Option<PathBuf>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tracks done.
    pub done: u64,
    /// How many there are, about.
    pub tracks: u64,
    /// Given identities that are done, at this stage.
    pub people_done: u64,
    /// How many there are.
    pub people: u64,
}

/// A step of a build.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// So many tracks more.
    Tracks(u64),
    /// So many given identities of so many.
    People { done: u64, people: u64 },
}

/// A source that is to be in the collection.
pub(crate) trait Material: Send + 'static {
    /// What it is called in errors.
    fn place(&self) -> &Path;
    /// The source, without author and request id.
    fn source(&self) -> NewSource;
    /// Contract and dimension of its embeddings.
    fn contract(&self) -> (&str, usize);
    /// Hash of everything that shaped its observations.
    fn pipeline(&self) -> String;
    /// What no other material has.
    fn id(&self) -> String;
    /// How many tracks it has, about.
    fn tracks(&self) -> u64;
    /// Who its tracks, and those of the materials before it, are said to be.
    fn given(&self) -> Option<Arc<Given>> {
        None
    }
    /// Gives all observations in order, until `take` says `false`. Blocking.
    fn read(self: Box<Self>, take: &mut dyn FnMut(Observed) -> bool) -> Result<(), BuildError>;
}

/// Opens the collection that `config` names, or makes it, and puts everything into it. See [`Plan::run`].
///
/// # Errors
/// [`BuildError`].
pub async fn build(
    config: &Config,
    mut inputs: Vec<BuildInput>,
    same_cosine: Option<f32>,
    mut progress: impl FnMut(Progress),
) -> Result<Built, BuildError> {
    // Before there is a data folder.
    for input in &inputs {
        std::fs::metadata(&input.path).map_err(|source| BuildError::Io {
            path: input.path.clone(),
            source,
        })?;
    }
    let opening = Opening::of(&config.data)?;
    let kept = opening.contract().cloned();
    let embedder = kept.as_ref().and_then(|kept| kept.embedder.as_deref());
    let models = Vision::find(config).and_then(|vision| (vision.load)(embedder));
    let models = models.map_err(|why| why.to_string());
    let default = match (&kept, &models) {
        (Some(kept), _) => Ok(&kept.id),
        (None, Ok(models)) => Ok(&models.collection.contract),
        (None, Err(why)) => Err(why),
    };
    for input in &mut inputs {
        if input.contract.is_empty() && input.path.is_file() {
            let of = default.map_err(|why| BuildError::NoContract {
                path: input.path.clone(),
                why: why.clone(),
            })?;
            input.contract.clone_from(of);
        }
    }
    let plan = Plan::of(&inputs)?;
    let (contract, dimension) = match &kept {
        Some(kept) => (kept.id.clone(), kept.dimension),
        None => (plan.contract().0.to_owned(), plan.contract().1),
    };
    let of_models = models.as_ref().ok().map(|models| &models.collection);
    let of_models = of_models.filter(|models| models.contract == contract);
    plan.check(
        &contract,
        of_models.map_or(dimension, |models| models.dimension),
    )?;
    let options = CoreOptions {
        data: config.data.clone(),
        same_cosine: cosine(&contract, same_cosine, models)?,
        contract,
        dimension,
        assigner: config.assigner,
        writer_queue: config.writer.queue_max,
    };
    let metrics = CoreMetrics::register(&prometheus::Registry::new())?;
    let core = Core::start(opening, options, metrics)?;
    let mut far = Progress {
        tracks: plan.tracks(),
        ..Progress::default()
    };
    let built = plan.run(&core, |step| {
        match step {
            Step::Tracks(more) => far.done += more,
            Step::People { done, people } => (far.people_done, far.people) = (done, people),
        }
        progress(far);
    });
    let built = built.await;
    let stats = core.view().index.stats();
    core.close().await;
    Ok(Built {
        identities: stats.identities,
        ..built?
    })
}

/// From which cosine two faces are one person's: as said, or as the models of the contract say.
fn cosine(
    contract: &str,
    said: Option<f32>,
    models: Result<LoadedModels, String>,
) -> Result<f32, BuildError> {
    let missing = |why| BuildError::NoModels {
        contract: contract.to_owned(),
        why,
    };
    if let Some(said) = said {
        return Ok(said);
    }
    let collection = models.map_err(missing)?.collection;
    if collection.contract != contract {
        return Err(missing(format!(
            "those found are of {}",
            collection.contract
        )));
    }
    Ok(collection.same_cosine)
}

/// All sources of the inputs, in order: what is to be done.
struct Plan {
    materials: Vec<Box<dyn Material>>,
}

impl Plan {
    /// Looks at the inputs. Blocking; files of vectors are read as a whole.
    ///
    /// # Errors
    /// [`BuildError`]: the first input that cannot be built from.
    fn of(inputs: &[BuildInput]) -> Result<Self, BuildError> {
        let mut materials: Vec<Box<dyn Material>> = Vec::new();
        for input in inputs {
            if input.path.is_dir() {
                if input.names.is_some() || input.sides.identities.is_some() {
                    return Err(BuildError::NotVectors {
                        path: input.path.clone(),
                    });
                }
                let before = materials.len();
                find(input, &input.path, DEPTH_MAX, &mut materials)?;
                if materials.len() > before {
                    continue;
                }
            } else if input.path.is_file() {
                let sources = Vectors::of(input)?;
                materials.extend(sources.into_iter().map(|one| Box::new(one) as _));
                continue;
            }
            return Err(BuildError::Unknown {
                path: input.path.clone(),
            });
        }
        Ok(Self { materials })
    }

    /// Contract and dimension of the first input: those of a new collection. Empty if there is nothing.
    fn contract(&self) -> (&str, usize) {
        self.materials
            .first()
            .map_or(("", 0), |first| first.contract())
    }

    /// Refuses what is of another contract.
    fn check(&self, id: &str, dimension: usize) -> Result<(), BuildError> {
        for one in &self.materials {
            let (found, values) = one.contract();
            if found != id || values != dimension {
                return Err(BuildError::OtherContract {
                    path: one.place().to_owned(),
                    found: format!("{found} ({values} values)"),
                    expected: format!("{id} ({dimension} values)"),
                });
            }
        }
        Ok(())
    }

    /// Tracks in all, about.
    fn tracks(&self) -> u64 {
        self.materials.iter().map(|one| one.tracks()).sum()
    }

    /// Puts everything into the collection; `progress` gets each step.
    ///
    /// The next source is read and checked while one is decided on. Decisions are made one after the other: each
    /// knows those before.
    ///
    /// # Errors
    /// [`BuildError`] at the first input that cannot be used; what was before it is in the collection, and running
    /// the same again goes on there.
    async fn run(self, core: &Core, mut progress: impl FnMut(Step)) -> Result<Built, BuildError> {
        let contract = core.view().contract().clone();
        let mut built = Built::default();
        let mut reading = self
            .materials
            .into_iter()
            .map(|one| Reading::start(one, contract.dimension));
        let mut next = reading.next();
        while let Some(now) = next {
            // Begun before this one is written: it is read meanwhile.
            next = reading.next();
            let given = now.given.clone();
            now.write(core, &mut built, &mut progress).await?;
            if let Some(given) = given {
                given.apply(core, &mut built, &mut progress).await?;
            }
        }
        Ok(built)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Sources that were put into the collection, as a whole or what was missing of them.
    pub sources: u64,
    /// Those that were there already.
    pub known: u64,
    /// Tracks read.
    pub tracks: u64,
    /// Their exemplars.
    pub faces: u64,
    /// Identities of the whole collection.
    pub identities: usize,
    /// What came of identities that were given.
    pub given: GivenOutcome,
}

/// Extracted folders in `folder`, or it itself, in the order of their names.
fn find(
    input: &BuildInput,
    folder: &Path,
    depth: usize,
    found: &mut Vec<Box<dyn Material>>,
) -> Result<(), BuildError> {
    if Extracted::is_one(folder) {
        found.push(Box::new(extracted::open(folder, input.partial)?));
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let failed = |source| BuildError::Io {
        path: folder.to_owned(),
        source,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    for inner in folders {
        find(input, &inner, depth - 1, found)?;
    }
    Ok(())
}

/// Material that is being read on a thread of its own.
struct Reading {
    place: PathBuf,
    source: NewSource,
    pipeline: String,
    /// About.
    tracks: u64,
    given: Option<Arc<Given>>,
    batches: mpsc::Receiver<Vec<Observed>>,
    outcome: tokio::task::JoinHandle<Result<(), BuildError>>,
}

impl Reading {
    fn start(material: Box<dyn Material>, dimension: usize) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let (place, mut source) = (material.place().to_owned(), material.source());
        let (pipeline, tracks) = (material.pipeline(), material.tracks());
        let given = material.given();
        SYSTEM.clone_into(&mut source.author);
        source.request_id = request_id(&source.uri, &material.id());
        let outcome = tokio::task::spawn_blocking(move || read(material, dimension, &sender));
        Self {
            place,
            source,
            pipeline,
            tracks,
            given,
            batches,
            outcome,
        }
    }

    async fn write(
        mut self,
        core: &Core,
        built: &mut Built,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), BuildError> {
        let place = self.place.clone();
        let refused = |source| BuildError::Write {
            path: place.clone(),
            source,
        };
        let taken = |id| BuildError::Taken {
            path: place.clone(),
            uri: self.source.uri.clone(),
            id,
        };
        let made_before = core.catalog().source_of_request(&self.source.request_id)?;
        if made_before.is_none()
            && let Some(id) = core.catalog().source_with_uri(&self.source.uri)?
        {
            // An edited file, or the same video extracted again: all its faces would be there twice.
            return Err(taken(id));
        }
        let id = match core.add_source(self.source.clone()).await {
            Ok(id) => id,
            Err(WriteError::SourceExists { id, .. }) => return Err(taken(id)),
            Err(error) => return Err(refused(error)),
        };
        let run = core.begin_run(id, self.pipeline.clone()).await;
        if let Err(WriteError::SourceFinished { .. }) = run {
            // It is there, to its end: nobody has to read it again.
            drop(self.batches);
            built.known += 1;
            progress(Step::Tracks(self.tracks));
            return ended(self.outcome.await);
        }
        let run = run.map_err(refused)?;
        while let Some(batch) = self.batches.recv().await {
            let (tracks, faces) = tracks_of(&batch);
            core.observe(id, run.id, batch).await.map_err(refused)?;
            built.tracks += tracks;
            built.faces += faces;
            progress(Step::Tracks(tracks));
        }
        let outcome = ended(self.outcome.await);
        core.end_run(id, run.id).await;
        built.sources += u64::from(outcome.is_ok());
        outcome
    }
}

fn ended(
    outcome: Result<Result<(), BuildError>, tokio::task::JoinError>,
) -> Result<(), BuildError> {
    outcome.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Ok(()),
    })
}

/// The same material twice is one source.
fn request_id(uri: &str, material: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(uri);
    hash.update([0]);
    hash.update(material);
    format!("build-{}", to_hex(&hash.finalize()[..16]))
}

fn tracks_of(batch: &[Observed]) -> (u64, u64) {
    let mut count = (0, 0);
    for item in batch {
        if let Observed::Track(track) = item {
            count.0 += u64::from(track.closed);
            count.1 += u64::try_from(track.exemplars.len()).unwrap_or(0);
        }
    }
    count
}

/// Reads and checks everything, a batch after the other.
fn read(
    material: Box<dyn Material>,
    dimension: usize,
    batches: &mpsc::Sender<Vec<Observed>>,
) -> Result<(), BuildError> {
    let place = material.place().to_owned();
    let mut checker = Checker::new(dimension);
    let (mut number, mut batch, mut unfit) = (0, Vec::with_capacity(BATCH), None);
    material.read(&mut |observed| {
        number += 1;
        match check(&mut checker, number, observed) {
            Ok(observed) => batch.push(observed),
            Err(error) => {
                unfit = Some(error);
                return false;
            }
        }
        if batch.len() < BATCH {
            return true;
        }
        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
        batches.blocking_send(full).is_ok()
    })?;
    if let Some(what) = unfit {
        return Err(BuildError::Refused { path: place, what });
    }
    // Whoever does not listen any more has an error of their own.
    let _ = batches.blocking_send(batch);
    Ok(())
}

fn check(checker: &mut Checker, number: u64, observed: Observed) -> Result<Observed, String> {
    use pb::observe_request::Message;
    let message = match observed {
        Observed::Track(track) => Message::Track(track),
        Observed::Checkpoint(checkpoint) => Message::Checkpoint(checkpoint),
        Observed::Finished(finished) => Message::Finished(finished),
    };
    let request = pb::ObserveRequest {
        number,
        message: Some(message),
    };
    match checker.check(request) {
        Ok(Checked::Observed(observed)) => Ok(*observed),
        Ok(Checked::Report(_)) => Err("a report is no observation".to_owned()),
        Err(Unfit::Protocol(what) | Unfit::Embedding(what)) => Err(what),
    }
}

#[cfg(test)]
mod tests;
