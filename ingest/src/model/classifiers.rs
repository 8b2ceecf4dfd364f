//! Finding and opening classifiers by the names of their tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::manifest::{Kind, read_text};
use super::open::read_checked;
use super::{Assets, ClassifierManifest, ModelError, self_test};
use crate::attribute::{Classifier, OnnxClassifier};
use crate::runtime::{RunOptions, Session, Subnormals};

/// Stands for every classifier there is.
const ALL: &str = "all";

/// The classifiers asked for, checked, from which each thread gets its own. Usually none.
#[derive(Clone)]
pub struct Classifiers {
    library: PathBuf,
    subnormals: Subnormals,
    chosen: Vec<(Arc<ClassifierManifest>, Arc<[u8]>)>,
}

/// As much of a manifest as says what it is about.
#[derive(Deserialize)]
struct Head {
    model: HeadModel,
}

#[derive(Deserialize)]
struct HeadModel {
    kind: Kind,
}

impl Classifiers {
    /// The manifests that `names` ask for: tasks (`age`), ids of models, or `all`. Each once, in
    /// the order of their ids, whatever the order of `names`. Opens no model.
    ///
    /// # Errors
    /// [`ModelError::NoClassifier`] if a name fits none, [`ModelError::SeveralClassifiers`] if two
    /// models that are asked for give an attribute of the same name, and what reading a manifest
    /// may give.
    pub fn find(assets: &Assets, names: &[String]) -> Result<Vec<ClassifierManifest>, ModelError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let all = all_manifests(assets)?;
        let fits = |manifest: &ClassifierManifest, name: &String| {
            name == ALL || *name == manifest.output.task || *name == manifest.model.id
        };
        if let Some(name) = names.iter().find(|n| !all.iter().any(|m| fits(m, n))) {
            let mut known: Vec<_> = all.iter().map(|m| m.output.task.clone()).collect();
            known.sort();
            known.dedup();
            return Err(ModelError::NoClassifier {
                name: name.clone(),
                known,
            });
        }
        let asked = |m: &ClassifierManifest| names.iter().any(|name| fits(m, name));
        let chosen: Vec<_> = all.into_iter().filter(asked).collect();
        let mut given: Vec<(&str, &str)> = Vec::new();
        for manifest in &chosen {
            for attribute in &manifest.output.attributes {
                if let Some((_, first)) = given.iter().find(|(name, _)| *name == attribute.name) {
                    return Err(ModelError::SeveralClassifiers {
                        attribute: attribute.name.clone(),
                        first: (*first).to_owned(),
                        second: manifest.model.id.clone(),
                    });
                }
                given.push((&attribute.name, &manifest.model.id));
            }
        }
        Ok(chosen)
    }

    /// Opens what [`Classifiers::find`] finds and checks everything about it: the files' hashes,
    /// inputs and outputs, and that the self-tests give what they must.
    ///
    /// Cost: nothing for no names; some 10 to 300 ms a model, once a process.
    ///
    /// # Errors
    /// [`ModelError`], each saying what to do.
    pub fn open(
        assets: &Assets,
        names: &[String],
        subnormals: Subnormals,
    ) -> Result<Self, ModelError> {
        let mut chosen = Vec::new();
        for manifest in Self::find(assets, names)? {
            let bytes = read_checked(&assets.models(), &manifest.model)?;
            chosen.push((Arc::new(manifest), bytes));
        }
        let classifiers = Self {
            library: assets.runtime_library(),
            subnormals,
            chosen,
        };
        for (manifest, bytes) in &classifiers.chosen {
            let picture = self_test::input(&manifest.self_test);
            let outputs = classifiers.one(manifest, bytes)?.raw(picture.view())?;
            let values: Vec<f32> = outputs.into_iter().flat_map(|o| o.values).collect();
            let (id, test) = (&manifest.model.id, &manifest.self_test);
            self_test::check(id, "of all tensors", test, 0, &values)?;
        }
        Ok(classifiers)
    }

    /// One of each, for one thread, in the order of their ids. Cost: as [`Classifiers::open`].
    ///
    /// # Errors
    /// [`ModelError::Load`] or [`ModelError::WrongShape`].
    pub fn readers(&self) -> Result<Vec<Box<dyn Classifier>>, ModelError> {
        let mut readers: Vec<Box<dyn Classifier>> = Vec::with_capacity(self.chosen.len());
        for (manifest, bytes) in &self.chosen {
            readers.push(Box::new(self.one(manifest, bytes)?));
        }
        Ok(readers)
    }

    /// Their manifests.
    pub fn manifests(&self) -> impl Iterator<Item = &ClassifierManifest> {
        self.chosen.iter().map(|(manifest, _)| &**manifest)
    }

    /// What the hash of a pipeline is to know about them: a manifest, read again from disk, may say
    /// something else about the same file. Empty if there are none.
    #[must_use]
    pub fn names(&self) -> String {
        let one = |m: &ClassifierManifest| {
            let (input, output) = (&m.input, &m.output);
            format!(" {} {input:?} {output:?}", m.model.sha256)
        };
        self.manifests().map(one).collect()
    }

    fn one(
        &self,
        manifest: &Arc<ClassifierManifest>,
        bytes: &[u8],
    ) -> Result<OnnxClassifier, ModelError> {
        let id = &manifest.model.id;
        let session = Session::load(
            &self.library,
            id,
            bytes,
            RunOptions::one_thread(self.subnormals),
        )?;
        OnnxClassifier::new(session, Arc::clone(manifest))
    }
}

impl std::fmt::Debug for Classifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.manifests().map(|m| &m.model.id);
        f.debug_list().entries(ids).finish()
    }
}

/// Every classifier's manifest, by id.
fn all_manifests(assets: &Assets) -> Result<Vec<ClassifierManifest>, ModelError> {
    let folder = assets.models();
    let unreadable = |error: std::io::Error| ModelError::of_file(&folder, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        if is_classifier(&path)? {
            all.push(ClassifierManifest::read(&path)?);
        }
    }
    Ok(all)
}

/// A manifest of another kind, or of none that is known, is not looked into.
fn is_classifier(path: &Path) -> Result<bool, ModelError> {
    let head: Result<Head, _> = toml::from_str(&read_text(path)?);
    Ok(head.is_ok_and(|head| head.model.kind == Kind::Classifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(manifests: &[(&str, &str)]) -> (tempfile::TempDir, Assets) {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        std::fs::create_dir(&models).unwrap();
        for (name, text) in manifests {
            std::fs::write(models.join(name), text).unwrap();
        }
        let assets = Assets::locate(Some(folder.path())).unwrap();
        (folder, assets)
    }

    fn ids(assets: &Assets, names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let found = Classifiers::find(assets, &names).map_err(|why| why.to_string())?;
        Ok(found.into_iter().map(|m| m.model.id).collect())
    }

    const AGE: &str = include_str!("../../models/ssrnet-age.toml");
    const EYES: &str = include_str!("../../models/eye-state.toml");
    const EMBEDDER: &str = include_str!("../../models/mobilefacenet.toml");

    #[test]
    fn classifiers_are_found_by_task_by_id_and_all() {
        let (_folder, assets) = folder(&[
            ("ssrnet-age.toml", AGE),
            ("eye-state.toml", EYES),
            ("mobilefacenet.toml", EMBEDDER),
            ("notes.toml", "no = 'manifest'"),
        ]);
        assert_eq!(ids(&assets, &[]).unwrap(), [""; 0]);
        assert_eq!(ids(&assets, &["age"]).unwrap(), ["ssrnet-age"]);
        let both = ["eye-state", "ssrnet-age"];
        assert_eq!(ids(&assets, &["age", "eye-state", "age"]).unwrap(), both);
        assert_eq!(ids(&assets, &["all"]).unwrap(), both);
        let why = ids(&assets, &["age", "shoe"]).unwrap_err();
        assert!(why.contains("`shoe`") && why.contains("age, eyes"), "{why}");
        assert!(ids(&assets, &["mobilefacenet"]).is_err());
    }

    #[test]
    fn two_models_of_one_attribute_are_told_apart_by_id() {
        let other = AGE.replace("id = \"ssrnet-age\"", "id = \"other-age\"");
        let (_folder, assets) = folder(&[("other-age.toml", &other), ("ssrnet-age.toml", AGE)]);
        assert_eq!(ids(&assets, &["other-age"]).unwrap(), ["other-age"]);
        let why = ids(&assets, &["age"]).unwrap_err();
        assert!(why.contains("other-age and ssrnet-age"), "{why}");
    }

    #[test]
    fn a_broken_classifier_is_not_passed_over() {
        let broken = AGE.replace("margin = 1.5", "margin = 9.0");
        let (_folder, assets) = folder(&[("ssrnet-age.toml", &broken)]);
        let why = ids(&assets, &["age"]).unwrap_err();
        assert!(
            why.contains("ssrnet-age.toml") && why.contains("margin"),
            "{why}"
        );
    }
}
