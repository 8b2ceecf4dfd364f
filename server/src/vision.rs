//! The models that the server looks at pictures with: those of the contract in service, and while a
//! migration is on, those of the other one.

use crate::config::Config;
use crate::core::Core;
use crate::edge::Collection;
use crate::photo_pool::MakeReader;
use arc_swap::ArcSwap;
use rollcall_ingest::{
    Assets, Classifiers, Embedder, ModelError, ModelOptions, Models, PhotoReader,
};
use rollcall_log::record::Model;
use std::path::PathBuf;
use std::sync::Arc;

/// Makes an embedder for a thread.
pub type MakeEmbedder = Arc<dyn Fn() -> Result<Box<dyn Embedder>, ModelError> + Send + Sync>;
/// Loads and checks the models with the embedder of an id, or with the default one. Blocking; takes
/// a second or so.
pub type LoadModels = Arc<dyn Fn(Option<&str>) -> Result<LoadedModels, ModelError> + Send + Sync>;

/// Where models come from.
#[derive(Clone)]
pub struct Vision {
    /// Where workers find the same ones.
    pub assets: PathBuf,
    /// Loads some.
    pub load: LoadModels,
}

/// Models, ready to be given to threads.
#[derive(Clone)]
pub struct LoadedModels {
    /// What they make of the collection.
    pub collection: Collection,
    /// The embedder, as the log tells of it.
    pub embedder: Model,
    /// A reader for a thread of its own.
    pub make_reader: MakeReader,
    /// An embedder for a thread of its own.
    pub make_embedder: MakeEmbedder,
}

impl std::fmt::Debug for LoadedModels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModels")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

impl Vision {
    /// Finds the models. Which ones are loaded, the collection says.
    ///
    /// # Errors
    /// If there is no folder of models, or an attribute that no model gives.
    pub fn find(config: &Config) -> Result<Self, ModelError> {
        let explicit = (!config.assets.as_os_str().is_empty()).then_some(config.assets.as_path());
        let assets = Assets::locate(explicit)?;
        // Workers open them: a name that fits none is said at once, not by each of them.
        Classifiers::find(&assets, &config.ingest.attributes)?;
        // Workers have another working folder some day: tell them the whole path.
        let folder = assets.folder();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let detector = config.ingest.detector.clone();
        let load: LoadModels = Arc::new(move |embedder| {
            let default = ModelOptions::default();
            let options = ModelOptions {
                detector: detector.clone(),
                embedder: embedder.map_or(default.embedder, str::to_owned),
                ..ModelOptions::default()
            };
            Ok(loaded(Arc::new(Models::open(&assets, &options)?)))
        });
        Ok(Self {
            assets: folder,
            load,
        })
    }
}

fn loaded(models: Arc<Models>) -> LoadedModels {
    let id = |id: &str, version: &str| format!("{id} {version}");
    let (detector, embedder) = (models.detector_manifest(), models.embedder_manifest());
    let (contract, same_cosine) = (models.contract(), models.same_cosine());
    let collection = Collection {
        contract: contract.id().to_owned(),
        detector: id(&detector.model.id, &detector.model.version),
        embedder: id(&embedder.model.id, &embedder.model.version),
        dimension: contract.dimension(),
        same_cosine,
    };
    let embedder = Model {
        contract: contract.id().to_owned(),
        embedder: embedder.model.id.clone(),
        version: embedder.model.version.clone(),
        sha256: embedder.model.sha256.clone(),
        dimension: u32::try_from(contract.dimension()).unwrap_or(u32::MAX),
        alignment: embedder.input.align.name().to_owned(),
        same_cosine,
    };
    let of = Arc::clone(&models);
    LoadedModels {
        collection,
        embedder,
        make_reader: Arc::new(move || PhotoReader::open(&of).map_err(|error| error.to_string())),
        make_embedder: Arc::new(move || models.embedder()),
    }
}

/// The models that are loaded. Those of the contract in service always are.
#[derive(Debug)]
pub struct InService {
    core: Core,
    loaded: ArcSwap<Vec<Arc<LoadedModels>>>,
}

impl InService {
    /// `models` are those of the contract that is in service in `core`.
    pub fn new(core: Core, models: LoadedModels) -> Self {
        Self {
            core,
            loaded: ArcSwap::from_pointee(vec![Arc::new(models)]),
        }
    }

    /// The models of the contract in service.
    pub fn newest(&self) -> Arc<LoadedModels> {
        // A switch waits until the models are loaded, and nothing is unloaded that is in service: if it is not
        // here, it has been added since the list was read.
        loop {
            if let Some(models) = self.of(&self.core.view().contract().id) {
                return models;
            }
        }
    }

    /// The models of a contract, if they are loaded.
    pub fn of(&self, contract: &str) -> Option<Arc<LoadedModels>> {
        let loaded = self.loaded.load();
        let mut all = loaded.iter();
        all.find(|models| models.collection.contract == contract)
            .cloned()
    }

    /// Keeps more models at hand.
    pub(crate) fn add(&self, models: LoadedModels) -> Arc<LoadedModels> {
        let models = Arc::new(models);
        self.loaded.rcu(|loaded| {
            let contract = &models.collection.contract;
            let mut all = Vec::clone(loaded);
            all.retain(|other| other.collection.contract != *contract);
            all.push(Arc::clone(&models));
            all
        });
        models
    }

    /// Lets go of models of contracts that the collection does not have any more.
    pub(crate) fn unload(&self) {
        let contracts = Arc::clone(&self.core.view().contracts);
        let kept = |models: &LoadedModels| {
            let id = &models.collection.contract;
            let other = contracts
                .other()
                .filter(|_| contracts.migrating().is_some_and(|on| on.phase.embeds()));
            *id == contracts.in_service().id || other.is_some_and(|other| other.id == *id)
        };
        self.loaded.rcu(|loaded| {
            let all = loaded.iter().filter(|models| kept(models));
            all.cloned().collect::<Vec<_>>()
        });
    }
}
