//! `dataset combine`: the datasets of several channels in one.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::{faceset::FaceSet, files::write_beside, table::line};

use super::{Faces, check_free};
use crate::run_export::dataset;

/// The files, each with the classes of so many faces at least.
const FILES: [(&str, u64); 3] = [
    ("dataset.csv", 1),
    ("dataset50.csv", 50),
    ("dataset100.csv", 100),
];
/// Which class was which.
const CLASSES: &str = "classes.csv";
/// Where a channel's folder may have its dataset.
const PLACES: [&str; 2] = ["dataset.csv", "metadata/dataset.csv"];

/// Options of `dataset combine`.
#[derive(Args)]
pub(super) struct Combine {
    /// Each a dataset.csv, or a channel's folder; one that has none is taken as `export --as dataset` would write it.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<PathBuf>,
    /// The folder for dataset.csv, dataset50.csv, dataset100.csv and classes.csv.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace these files if they are there.
    #[arg(long)]
    force: bool,
}

pub(super) fn combine(options: &Combine) -> anyhow::Result<()> {
    let out = &options.out;
    let names = FILES.iter().map(|(name, _)| *name).chain([CLASSES]);
    let files: Vec<PathBuf> = names.map(|name| out.join(name)).collect();
    check_free(&files, options.force)?;
    refuse_twice(&options.channels)?;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut inputs = Vec::with_capacity(options.channels.len());
    for (number, channel) in options.channels.iter().enumerate() {
        inputs.push(Input::of(channel, out, number)?);
    }
    for input in &inputs {
        for file in &files {
            let same = input.path.canonicalize()? == file.canonicalize().unwrap_or_default();
            ensure!(!same, "{} is read: choose another --out", file.display());
        }
    }
    let classes = Classes::of(&inputs)?;
    for ((_, least), to) in FILES.iter().zip(&files) {
        let mut written = 0;
        write_beside(to, |beside| {
            written = write(&inputs, &classes, *least, beside)?;
            anyhow::Ok(())
        })
        .with_context(|| to.display().to_string())?;
        let count = classes.with_at_least(*least);
        eprintln!(
            "{written} faces of {count} classes written to {}",
            to.display()
        );
    }
    let to = out.join(CLASSES);
    write_beside(&to, |beside| classes.write(&options.channels, beside))
        .with_context(|| to.display().to_string())?;
    if classes.left_out > 0 {
        eprintln!("{} faces of classes below 0 left out", classes.left_out);
    }
    Ok(())
}

fn refuse_twice(channels: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = HashMap::new();
    for channel in channels {
        // A channel's folder and the dataset in it are the same.
        let place = dataset_of(channel).unwrap_or_else(|| channel.clone());
        let whole = place.canonicalize();
        let whole = whole.with_context(|| channel.display().to_string())?;
        if let Some(other) = seen.insert(whole, channel) {
            bail!("{} is {} again", channel.display(), other.display());
        }
    }
    Ok(())
}

/// The dataset that a file is, or that a channel's folder has.
fn dataset_of(channel: &Path) -> Option<PathBuf> {
    if !channel.is_dir() {
        return Some(channel.to_owned());
    }
    let mut places = PLACES.iter().map(|place| channel.join(place));
    places.find(|path| path.is_file())
}

/// A dataset; one that was made for this is removed in the end.
struct Input {
    path: PathBuf,
    made: bool,
}

impl Input {
    fn of(channel: &Path, out: &Path, number: usize) -> anyhow::Result<Self> {
        if let Some(path) = dataset_of(channel) {
            return Ok(Self { path, made: false });
        }
        let faces = FaceSet::read(channel, "", &SideFiles::default())?;
        let one = Self {
            path: out.join(format!(".dataset-{}-{number}.tmp", std::process::id())),
            made: true,
        };
        dataset::write(&faces, channel, &one.path)?;
        Ok(one)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The classes of all datasets, numbered by size.
struct Classes {
    columns: Vec<String>,
    /// Of a dataset's class: its number here.
    numbers: HashMap<(usize, i64), u64>,
    /// In the order of their numbers: dataset, class, faces.
    sizes: Vec<(usize, i64, u64)>,
    /// Faces of classes below 0.
    left_out: u64,
}

impl Classes {
    fn of(inputs: &[Input]) -> anyhow::Result<Self> {
        let (mut columns, mut left_out) = (Vec::new(), 0);
        let mut sizes: BTreeMap<(usize, i64), u64> = BTreeMap::new();
        for (place, input) in inputs.iter().enumerate() {
            let mut faces = Faces::open(&input.path)?;
            if place == 0 {
                columns = faces.table.header().to_vec();
            }
            ensure!(
                faces.table.header() == columns,
                "{}: line 1: its columns are {}; those of {} are {}",
                input.path.display(),
                faces.table.header().join(","),
                inputs[0].path.display(),
                columns.join(",")
            );
            while let Some((_, class)) = faces.next_face()? {
                if class < 0 {
                    left_out += 1;
                } else {
                    *sizes.entry((place, class)).or_default() += 1;
                }
            }
        }
        let mut sizes: Vec<_> = sizes
            .into_iter()
            .map(|((place, class), faces)| (place, class, faces))
            .collect();
        // Of equal size: in the order of datasets and classes.
        sizes.sort_by_key(|(_, _, faces)| std::cmp::Reverse(*faces));
        let numbers = sizes.iter().zip(0..);
        Ok(Self {
            columns,
            numbers: numbers
                .map(|((place, class, _), number)| ((*place, *class), number))
                .collect(),
            sizes,
            left_out,
        })
    }

    fn with_at_least(&self, least: u64) -> u64 {
        let enough = self.sizes.iter().filter(|(_, _, faces)| *faces >= least);
        enough.count() as u64
    }

    fn write(&self, channels: &[PathBuf], to: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(to)?);
        writeln!(file, "class,dataset,class_before,images")?;
        for ((place, class, faces), number) in self.sizes.iter().zip(0..) {
            let cells = [
                format!("{number}"),
                channels[*place].display().to_string(),
                class.to_string(),
                faces.to_string(),
            ];
            file.write_all(line(&cells).as_bytes())?;
        }
        file.flush()?;
        Ok(())
    }
}

/// All faces of classes with so many at least. The largest classes have the lowest numbers, so there are no gaps.
fn write(inputs: &[Input], classes: &Classes, least: u64, to: &Path) -> anyhow::Result<u64> {
    let (count, mut written) = (classes.with_at_least(least), 0);
    let mut file = BufWriter::new(File::create(to)?);
    file.write_all(line(&classes.columns).as_bytes())?;
    for (place, input) in inputs.iter().enumerate() {
        let mut faces = Faces::open(&input.path)?;
        while let Some((mut row, class)) = faces.next_face()? {
            let number = classes.numbers.get(&(place, class));
            if let Some(number) = number.filter(|number| **number < count) {
                row.fields[faces.class] = number.to_string();
                file.write_all(line(&row.fields).as_bytes())?;
                written += 1;
            }
        }
    }
    file.flush()?;
    Ok(written)
}
