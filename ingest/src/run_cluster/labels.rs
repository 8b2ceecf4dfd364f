//! Files of labels.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, bail};
use npyz::WriterBuilder;
use rollcall_index::vectors::Array;
use rollcall_ingest::{faceset::FaceSet, files::write_beside, table::line};
use serde_json::{Value, json};

use super::{input::table, is_named};

/// The label of each face; -1 is nobody's.
pub(crate) struct LabelFile {
    /// Of each face, or none.
    pub(crate) names: Vec<String>,
    pub(crate) labels: Vec<i64>,
}

impl LabelFile {
    /// Labels of these faces, in their order.
    pub(crate) fn of(faces: &FaceSet, labels: Vec<i64>) -> Self {
        let names = (0..labels.len()).filter_map(|row| faces.name(row));
        Self {
            names: names.map(str::to_owned).collect(),
            labels,
        }
    }

    /// Refuses a name that says no format.
    pub(crate) fn check_name(path: &Path) -> anyhow::Result<()> {
        if !["npy", "csv", "json"]
            .iter()
            .any(|extension| is_named(path, extension))
        {
            bail!("{}: neither .npy, .csv nor .json", path.display());
        }
        Ok(())
    }

    /// `.npy`: 64-bit integers. `.csv`: `row,label` or `name,label`. `.json`: `{"labels": […]}`, with names
    /// `{"labels": {"NAME": {"label": 3}, …}}`, as in streamface's annotations.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        Self::check_name(path)?;
        let written = write_beside(path, |beside| {
            if is_named(path, "npy") {
                self.write_npy(beside)
            } else if is_named(path, "csv") {
                self.write_csv(beside)
            } else {
                self.write_json(beside)
            }
        });
        written.with_context(|| path.display().to_string())
    }

    /// Reads what [`Self::write`] writes, and what names are not known by rows.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Self::check_name(path)?;
        if is_named(path, "npy") {
            let labels = Array::read_integers(path)?;
            return Ok(Self {
                names: Vec::new(),
                labels,
            });
        }
        if is_named(path, "csv") {
            return Self::read_csv(path);
        }
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let read = Self::of_json(&value);
        read.with_context(|| {
            format!(
                "{}: no labels as `cluster --out` writes them",
                path.display()
            )
        })
    }

    /// The labels in the order of these faces: by their names if both have some, else by row.
    pub(crate) fn in_order(self, path: &Path, faces: &FaceSet) -> anyhow::Result<Vec<i64>> {
        super::input::check_rows(path, self.labels.len(), faces.len())?;
        if self.names.is_empty() || faces.name(0).is_none() {
            return Ok(self.labels);
        }
        let by_name: BTreeMap<&str, i64> = self
            .names
            .iter()
            .map(String::as_str)
            .zip(self.labels.iter().copied())
            .collect();
        let label = |row| {
            let name = faces.name(row).unwrap_or_default();
            by_name
                .get(name)
                .copied()
                .with_context(|| format!("{}: has no label of {name}", path.display()))
        };
        (0..faces.len()).map(label).collect()
    }

    fn of_json(value: &Value) -> Option<Self> {
        match value.get("labels")? {
            Value::Array(labels) => {
                let labels = labels.iter().map(Value::as_i64).collect::<Option<_>>()?;
                Some(Self {
                    names: Vec::new(),
                    labels,
                })
            }
            Value::Object(labels) => {
                let of_each = labels.values().map(|face| face.get("label")?.as_i64());
                Some(Self {
                    names: labels.keys().cloned().collect(),
                    labels: of_each.collect::<Option<_>>()?,
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }

    fn read_csv(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let by_row = text
            .lines()
            .next()
            .is_some_and(|first| first.starts_with("row,"));
        let (mut names, mut labels) = (Vec::new(), Vec::new());
        for (line, [name, label]) in table(path)? {
            let wrong = || format!("{}: line {line}: {name:?},{label:?}", path.display());
            labels.push(label.parse().with_context(wrong)?);
            if by_row && name.parse() != Ok(labels.len() - 1) {
                bail!(
                    "{}: line {line}: row {name}, {} is to come",
                    path.display(),
                    labels.len() - 1
                );
            }
            names.push(name);
        }
        if by_row {
            names.clear();
        }
        Ok(Self { names, labels })
    }

    fn write_npy(&self, path: &Path) -> anyhow::Result<()> {
        let file = BufWriter::new(File::create(path)?);
        let shape = [u64::try_from(self.labels.len())?];
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(file).begin_nd()?;
        writer.extend(&self.labels)?;
        Ok(writer.finish()?)
    }

    fn write_csv(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(
            file,
            "{},label",
            if self.names.is_empty() { "row" } else { "name" }
        )?;
        for (row, label) in self.labels.iter().enumerate() {
            match self.names.get(row) {
                Some(name) => file.write_all(line(&[name, &label.to_string()]).as_bytes())?,
                None => writeln!(file, "{row},{label}")?,
            }
        }
        Ok(file.flush()?)
    }

    fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let labels = if self.names.is_empty() {
            json!(self.labels)
        } else {
            let faces = self.names.iter().zip(&self.labels);
            faces
                .map(|(name, label)| (name.clone(), json!({ "label": label })))
                .collect()
        };
        Ok(fs::write(
            path,
            serde_json::to_string(&json!({ "labels": labels }))? + "\n",
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_commas_and_quotes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let names = ["a, \"b\"", "c"].map(str::to_owned).to_vec();
        let labels = vec![3, -1];
        let file = LabelFile { names, labels };
        file.write(&path).unwrap();
        let again = LabelFile::read(&path).unwrap();
        assert_eq!((again.names, again.labels), (file.names, file.labels));
    }
}
