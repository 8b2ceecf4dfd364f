//! `dataset remove-infrequent` and `dataset remove-noisy`: labels that are not to be learned from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Args;
use rollcall_ingest::streamface::Annotations;

use super::check_free;

/// Labels of a channel, the first that is there.
const LABELS: [&str; 2] = ["annotations_manual.json", "annotations.json"];
/// How pictures' names end.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Options of `dataset remove-infrequent`.
#[derive(Args)]
pub(super) struct RemoveInfrequent {
    /// annotations.json or annotations_manual.json.
    annotations: PathBuf,
    /// Labels of fewer faces.
    #[arg(long, value_name = "N", default_value_t = 10)]
    least: u64,
    /// Where to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// Options of `dataset remove-noisy`.
#[derive(Args)]
pub(super) struct RemoveNoisy {
    /// The channel's folder.
    channel: PathBuf,
    /// Its labels [default: metadata/annotations_manual.json, else metadata/annotations.json].
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,
    /// Where the labels go that are left [default: metadata/annotations_manual_new.json].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

pub(super) fn remove_infrequent(options: &RemoveInfrequent) -> anyhow::Result<()> {
    check_free(std::slice::from_ref(&options.out), options.force)?;
    let mut annotations = Annotations::read(&options.annotations)?;
    let numbers = negated(&annotations, options.least).with_context(|| {
        let path = options.annotations.display();
        format!("{path}: a label is too large to get a number below 0")
    })?;
    let mut faces = 0;
    for face in annotations.labels.values_mut() {
        if let Some(number) = numbers.get(&face.label) {
            face.label = *number;
            faces += 1;
        }
    }
    annotations.write(&options.out)?;
    eprintln!(
        "{} labels of fewer than {} faces, {faces} faces in all, are below 0 now; written to {}",
        numbers.len(),
        options.least,
        options.out.display()
    );
    for label in [0, 1] {
        if let Some(number) = numbers.get(&label) {
            eprintln!("label {label} has become {number}");
        }
    }
    Ok(())
}

/// The numbers of labels with fewer faces: y becomes -y; but 0, which has no such number, 1, whose is that of noise, and whoever's is
/// taken get the next ones below all that there are. `None` if there are no such numbers.
fn negated(annotations: &Annotations, least: u64) -> Option<BTreeMap<i64, i64>> {
    let mut sizes: BTreeMap<i64, u64> = BTreeMap::new();
    for face in annotations.labels.values() {
        *sizes.entry(face.label).or_default() += 1;
    }
    let mut magnitudes = sizes.keys().map(|label| label.checked_abs());
    let mut free = magnitudes.try_fold(1, |most, label| Some(label?.max(most)))?;
    let few = sizes.iter().filter(|(label, _)| **label >= 0);
    let few = few.filter(|(_, size)| **size < least);
    few.map(|(label, _)| {
        if *label > 1 && !sizes.contains_key(&-label) {
            return Some((*label, -label));
        }
        free = free.checked_add(1)?;
        Some((*label, -free))
    })
    .collect()
}

pub(super) fn remove_noisy(options: &RemoveNoisy) -> anyhow::Result<()> {
    let metadata = options.channel.join("metadata");
    let there = LABELS.iter().map(|name| metadata.join(name));
    let from = match &options.annotations {
        Some(path) => path.clone(),
        None => {
            let found = there.into_iter().find(|path| path.is_file());
            found.with_context(|| format!("{}: there are no annotations", metadata.display()))?
        }
    };
    let new = || metadata.join("annotations_manual_new.json");
    let to = options.out.clone().unwrap_or_else(new);
    check_free(std::slice::from_ref(&to), options.force)?;
    let mut annotations = Annotations::read(&from)?;
    let noisy = |label: i64| label < 0;
    let all = annotations.labels.iter();
    let names: Vec<&String> = all
        .filter(|(_, face)| noisy(face.label))
        .map(|(name, _)| name)
        .collect();
    for name in &names {
        ensure!(
            is_file_name(name),
            "{}: the face {name:?} is no name of a file",
            from.display()
        );
    }
    let (faces, aside) = (
        options.channel.join("faces"),
        options.channel.join("noisy_faces"),
    );
    let mut missing = 0;
    for name in &names {
        missing += u64::from(!set_aside(name, &faces, &aside)?);
    }
    let count = names.len();
    annotations.labels.retain(|_, face| !noisy(face.label));
    // Last: once it is there, all is done.
    annotations.write(&to)?;
    eprintln!(
        "{count} faces with labels below 0 are in {} ({missing} have no picture); {} others written to {}",
        aside.display(),
        annotations.labels.len(),
        to.display()
    );
    Ok(())
}

/// Names come out of a file: none leads elsewhere.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

/// Moves a face's picture; whether there is one. Another of its name is not replaced.
fn set_aside(name: &str, from: &Path, to: &Path) -> anyhow::Result<bool> {
    let mut found = false;
    for ending in ENDINGS {
        let file = format!("{name}.{ending}");
        let (picture, aside) = (from.join(&file), to.join(&file));
        let (is_here, is_aside) = (picture.is_file(), aside.is_file());
        found |= is_here || is_aside;
        if is_here && is_aside {
            ensure!(
                fs::read(&picture)? == fs::read(&aside)?,
                "{} is there already, and is another picture than {}: remove one of them",
                aside.display(),
                picture.display()
            );
            fs::remove_file(&picture).with_context(|| picture.display().to_string())?;
        } else if is_here {
            fs::create_dir_all(to).with_context(|| to.display().to_string())?;
            fs::rename(&picture, &aside).with_context(|| aside.display().to_string())?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rollcall_ingest::streamface::Annotation;

    use super::*;

    fn check(labels: &[i64], least: u64, expected: &[(i64, i64)]) {
        let face = |(at, label): (usize, &i64)| {
            let annotation = Annotation {
                label: *label,
                ..Annotation::default()
            };
            (format!("face_{at}"), annotation)
        };
        let annotations = Annotations {
            labels: labels.iter().enumerate().map(face).collect(),
            ..Annotations::default()
        };
        let numbers = negated(&annotations, least).unwrap();
        assert_eq!(Vec::from_iter(numbers), expected);
    }

    #[test]
    fn no_label_becomes_noise_or_another() {
        check(&[3, 3, 2, 2, 5, 5, 5], 3, &[(2, -2), (3, -3)]);
        check(&[0, 1, 2, 2, 2], 2, &[(0, -3), (1, -4)]);
        check(&[0, 1, -9, -1, 4], 2, &[(0, -10), (1, -11), (4, -4)]);
        check(&[4, -4], 2, &[(4, -5)]);
        check(&[0, -1], 1, &[]);
    }
}
