//! The models that the server looks at query photos with, and the contract they make.

use crate::config::Config;
use crate::edge::Collection;
use crate::photo_pool::MakeReader;
use rollcall_ingest::cluster::AssignRules;
use rollcall_ingest::{Assets, Classifiers, ModelError, ModelOptions, Models, PhotoReader};
use std::path::PathBuf;
use std::sync::Arc;

/// Models, ready to be given to threads.
#[derive(Clone)]
pub struct Vision {
    /// What the models make of the collection.
    pub collection: Collection,
    /// Where workers find the same models.
    pub assets: PathBuf,
    /// A reader for a thread of its own.
    pub make_reader: MakeReader,
}

impl Vision {
    /// Loads and checks the models. Blocking; takes a second or so.
    ///
    /// # Errors
    /// If a model or ONNX Runtime is missing, damaged or not what it says.
    pub fn load(config: &Config) -> Result<Self, ModelError> {
        let explicit = (!config.assets.as_os_str().is_empty()).then_some(config.assets.as_path());
        let assets = Assets::locate(explicit)?;
        // Workers open them: a name that fits none is said at once, not by each of them.
        Classifiers::find(&assets, &config.ingest.attributes)?;
        let options = ModelOptions {
            detector: config.ingest.detector.clone(),
            ..ModelOptions::default()
        };
        let models = Arc::new(Models::open(&assets, &options)?);
        let id = |id: &str, version: &str| format!("{id} {version}");
        let (detector, embedder) = (models.detector_manifest(), models.embedder_manifest());
        let collection = Collection {
            contract: models.contract().id().to_owned(),
            detector: id(&detector.model.id, &detector.model.version),
            embedder: id(&embedder.model.id, &embedder.model.version),
            dimension: models.contract().dimension(),
            same_cosine: models.same_cosine(),
            margin: AssignRules::for_contract(models.same_cosine()).margin,
        };
        // Workers have another working folder some day: tell them the whole path.
        let folder = assets.folder();
        let assets = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let make_reader: MakeReader =
            Arc::new(move || PhotoReader::open(&models).map_err(|error| error.to_string()));
        Ok(Self {
            collection,
            assets,
            make_reader,
        })
    }
}
