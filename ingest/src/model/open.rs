//! Opening the models: manifest, file, shape, self-test, in that order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::manifest::{DetectorManifest, EmbedderManifest, LandmarkManifest, ModelSection};
use super::{Assets, Contract, ModelError, contract, self_test};
use crate::detect::{Detector, Landmarker, Network};
use crate::embed::{ArcFaceEmbedder, Embedder};
use crate::provider::Provider;
use crate::runtime::{RunOptions, Session, Subnormals};

/// Which models to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOptions {
    /// The detector's id.
    pub detector: String,
    /// The embedder's id.
    pub embedder: String,
    /// What becomes of subnormal numbers.
    pub subnormals: Subnormals,
    /// Threads that share the work of one call, the caller included; at least 1. Answers are the
    /// same.
    pub threads: usize,
    /// What runs the models, if it can be had; else it is [`Provider::Cpu`].
    pub provider: Provider,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            detector: "centerface".to_owned(),
            embedder: "mobilefacenet".to_owned(),
            subnormals: Subnormals::Flush,
            threads: 1,
            provider: Provider::Cpu,
        }
    }
}

/// A detector and an embedder, checked, from which each thread gets its own.
#[derive(Clone)]
pub struct Models {
    library: PathBuf,
    run: RunOptions,
    fallback: Option<String>,
    detector_manifest: Arc<DetectorManifest>,
    embedder_manifest: Arc<EmbedderManifest>,
    detector_bytes: Arc<[u8]>,
    embedder_bytes: Arc<[u8]>,
    /// For a detector without landmarks.
    landmarks: Option<(Arc<LandmarkManifest>, Arc<[u8]>)>,
    contract: Contract,
}

impl Models {
    /// Opens the models that `options` names and checks everything about them: manifest, the file's
    /// hash, inputs and outputs, and that the self-test gives what it must.
    ///
    /// Cost: some 100 ms, once a process; nothing is remembered from one start to the next.
    ///
    /// # Errors
    /// [`ModelError`], each saying what to do.
    pub fn open(assets: &Assets, options: &ModelOptions) -> Result<Self, ModelError> {
        let detector_manifest = DetectorManifest::read(&assets.manifest(&options.detector))?;
        let embedder_manifest = EmbedderManifest::read(&assets.manifest(&options.embedder))?;
        let folder = assets.models();
        let landmarks = match &detector_manifest.output.landmarks {
            None => None,
            Some(id) => {
                let manifest = LandmarkManifest::read(&assets.manifest(id))?;
                let bytes = read_checked(&folder, &manifest.model)?;
                Some((Arc::new(manifest), bytes))
            }
        };
        let mut models = Self {
            landmarks,
            library: assets.runtime_library(),
            run: RunOptions {
                subnormals: options.subnormals,
                threads: options.threads,
                provider: options.provider,
            },
            fallback: None,
            detector_bytes: read_checked(&folder, &detector_manifest.model)?,
            embedder_bytes: read_checked(&folder, &embedder_manifest.model)?,
            contract: Contract::of(&embedder_manifest),
            detector_manifest: Arc::new(detector_manifest),
            embedder_manifest: Arc::new(embedder_manifest),
        };
        if let Err(why) = models.test() {
            if models.run.provider == Provider::Cpu {
                return Err(why);
            }
            let why = if let ModelError::Load { why, .. } = why {
                why
            } else {
                why.to_string()
            };
            models.fallback = Some(format!(
                "{} cannot run the models, the CPU does: {why}",
                models.run.provider
            ));
            models.run.provider = Provider::Cpu;
            models.test()?;
        }
        Ok(models)
    }

    /// Why another provider runs the models than was asked for, if so.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// What runs the models.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.run.provider
    }

    /// A new detector, for one thread. Cost: some 20 ms.
    ///
    /// # Errors
    /// [`ModelError::Load`] or [`ModelError::WrongShape`].
    pub fn detector(&self) -> Result<Box<dyn Detector>, ModelError> {
        Ok(Box::new(self.network()?))
    }

    /// A new embedder, for one thread. Cost: some 20 ms.
    ///
    /// # Errors
    /// [`ModelError::Load`] or [`ModelError::WrongShape`].
    pub fn embedder(&self) -> Result<Box<dyn Embedder>, ModelError> {
        Ok(Box::new(self.arc_face()?))
    }

    /// What embeddings of these models must have in common with others to be compared.
    #[must_use]
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Two photos with at least this cosine show one person, by the manifest.
    #[must_use]
    pub fn same_cosine(&self) -> f32 {
        self.embedder_manifest.decision.same
    }

    /// The detector's manifest.
    #[must_use]
    pub fn detector_manifest(&self) -> &DetectorManifest {
        &self.detector_manifest
    }

    /// The embedder's manifest.
    #[must_use]
    pub fn embedder_manifest(&self) -> &EmbedderManifest {
        &self.embedder_manifest
    }

    /// What shapes the detector's answers: files by hash, and all that the manifests say of inputs,
    /// outputs and thresholds.
    #[must_use]
    pub fn detector_key(&self) -> String {
        let manifest = &self.detector_manifest;
        let (input, output, decision) = (&manifest.input, &manifest.output, &manifest.decision);
        let landmarks = self
            .landmarks
            .as_ref()
            .map(|(manifest, _)| (&manifest.model.sha256, &manifest.input, &manifest.output));
        format!(
            "{} {input:?} {output:?} {decision:?} {landmarks:?}",
            manifest.model.sha256
        )
    }

    fn network(&self) -> Result<Network, ModelError> {
        let id = &self.detector_manifest.model.id;
        let session = Session::load(&self.library, id, &self.detector_bytes, self.run)?;
        Network::new(
            session,
            Arc::clone(&self.detector_manifest),
            self.landmarker()?,
        )
    }

    fn landmarker(&self) -> Result<Option<Landmarker>, ModelError> {
        let Some((manifest, bytes)) = &self.landmarks else {
            return Ok(None);
        };
        let session = Session::load(&self.library, &manifest.model.id, bytes, self.run)?;
        Landmarker::new(session, Arc::clone(manifest)).map(Some)
    }

    fn arc_face(&self) -> Result<ArcFaceEmbedder, ModelError> {
        let id = &self.embedder_manifest.model.id;
        let session = Session::load(&self.library, id, &self.embedder_bytes, self.run)?;
        ArcFaceEmbedder::new(session, Arc::clone(&self.embedder_manifest))
    }

    fn test(&self) -> Result<(), ModelError> {
        self.test_detector()?;
        self.test_embedder()?;
        self.test_landmarks()
    }

    fn test_detector(&self) -> Result<(), ModelError> {
        let manifest = &self.detector_manifest;
        let outputs = self
            .network()?
            .raw(self_test::input(&manifest.self_test).view())?;
        for (at, (name, output)) in manifest.output.names.iter().zip(&outputs).enumerate() {
            self_test::check(
                &manifest.model.id,
                name,
                &manifest.self_test,
                at,
                &output.values,
            )?;
        }
        Ok(())
    }

    fn test_landmarks(&self) -> Result<(), ModelError> {
        let Some((manifest, _)) = &self.landmarks else {
            return Ok(());
        };
        let Some(mut landmarker) = self.landmarker()? else {
            return Ok(());
        };
        let output = landmarker.raw(&[self_test::input(&manifest.self_test)])?;
        let (id, name) = (&manifest.model.id, &manifest.output.name);
        self_test::check(id, name, &manifest.self_test, 0, &output.values)
    }

    fn test_embedder(&self) -> Result<(), ModelError> {
        let manifest = &self.embedder_manifest;
        let picture = self_test::input(&manifest.self_test);
        let output = self.arc_face()?.raw(&[picture.view()])?;
        let name = &manifest.output.name;
        self_test::check(
            &manifest.model.id,
            name,
            &manifest.self_test,
            0,
            &output.values,
        )
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models")
            .field("detector", &self.detector_manifest.model.id)
            .field("embedder", &self.embedder_manifest.model.id)
            .field("contract", &self.contract.id())
            .finish_non_exhaustive()
    }
}

/// The bytes of the model file, which are those the manifest speaks of. The session is made from
/// these very bytes, so a file that changes later changes nothing.
pub(super) fn read_checked(folder: &Path, model: &ModelSection) -> Result<Arc<[u8]>, ModelError> {
    let path = folder.join(&model.file);
    let bytes = std::fs::read(&path).map_err(|error| ModelError::of_file(&path, &error))?;
    let found = contract::hex(&Sha256::digest(&bytes));
    if found != model.sha256 {
        return Err(ModelError::WrongHash {
            path,
            expected: model.sha256.clone(),
            found,
        });
    }
    Ok(bytes.into())
}
