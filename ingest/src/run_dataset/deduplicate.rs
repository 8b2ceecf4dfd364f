//! `dataset deduplicate`: classes that look like one person.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rollcall_index::vectors::SideFiles;
use rollcall_ingest::{
    cluster::offline::{
        linkage::components,
        matrix::{Rows, normalise, scan},
    },
    faceset::FaceSet,
    files::write_beside,
    streamface::stem,
    table::line,
};

use super::{Faces, check_free};

/// Options of `dataset deduplicate`.
#[derive(Args)]
pub(super) struct Deduplicate {
    /// The dataset.csv of several channels, as `dataset combine` writes it.
    dataset: PathBuf,
    /// The channels' folders, for the embeddings of the faces; or their .pkl files.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<PathBuf>,
    /// Classes are one person's whose means are nearer than this (cosine distance), themselves or through others.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.2)]
    threshold: f32,
    /// Give all faces of such classes to the largest, in the place of leaving out the others.
    #[arg(long)]
    merge: bool,
    /// Where to [default: dataset_processed.csv beside the dataset].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

pub(super) fn deduplicate(options: &Deduplicate) -> anyhow::Result<()> {
    ensure!(
        (0.0..1.0).contains(&options.threshold),
        "--threshold {}: 0 to below 1 is possible; beyond, strangers are one class",
        options.threshold
    );
    let beside = || options.dataset.with_file_name("dataset_processed.csv");
    let to = options.out.clone().unwrap_or_else(beside);
    check_free(std::slice::from_ref(&to), options.force)?;
    let mut classes = Classes::of(&options.dataset)?;
    for channel in &options.channels {
        classes.add(channel)?;
    }
    classes.check_all_there(&options.dataset)?;
    let kept = classes.kept(options.threshold);
    let mut faces = [0_u64; 2];
    write_beside(&to, |beside| {
        faces = write(&options.dataset, &kept, options.merge, beside)?;
        anyhow::Ok(())
    })
    .with_context(|| to.display().to_string())?;
    let others = kept.iter().filter(|(class, kept)| class != kept).count();
    let [written, changed] = faces;
    eprintln!(
        "{others} of {} classes ({changed} faces) look like a larger one and are {}; {written} faces written to {}",
        kept.len(),
        if options.merge {
            "part of it now"
        } else {
            "left out"
        },
        to.display()
    );
    Ok(())
}

/// A face of the dataset.
struct Face {
    class: i64,
    line: usize,
    /// Where its embedding was found.
    channel: Option<PathBuf>,
}

/// The classes of a dataset: how large, and the sums of their embeddings.
struct Classes {
    /// By the stems of their files.
    faces: HashMap<String, Face>,
    /// In order: how many faces.
    sizes: BTreeMap<i64, u64>,
    places: HashMap<i64, usize>,
    dimension: usize,
    sums: Vec<f32>,
}

impl Classes {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let mut dataset = Faces::open(path)?;
        let mut faces: HashMap<String, Face> = HashMap::new();
        let mut sizes: BTreeMap<i64, u64> = BTreeMap::new();
        while let Some((row, class)) = dataset.next_face()? {
            if class < 0 {
                let why = format!("class {class} is noise; `dataset combine` leaves it out");
                return Err(row.wrong(why).into());
            }
            let name = stem(&row.fields[dataset.filename]).to_owned();
            if let Some(Face { line, .. }) = faces.get(&name) {
                let why = format!("{name} is on line {line} already");
                return Err(row.wrong(why).into());
            }
            let (line, channel) = (row.line, None);
            faces.insert(
                name,
                Face {
                    class,
                    line,
                    channel,
                },
            );
            *sizes.entry(class).or_default() += 1;
        }
        ensure!(!faces.is_empty(), "{}: holds no faces", path.display());
        Ok(Self {
            faces,
            places: sizes.keys().copied().zip(0..).collect(),
            sizes,
            dimension: 0,
            sums: Vec::new(),
        })
    }

    /// Adds the embeddings of a channel's faces.
    fn add(&mut self, channel: &Path) -> anyhow::Result<()> {
        let set = FaceSet::read(channel, "", &SideFiles::default())?;
        if self.dimension == 0 {
            self.dimension = set.dimension();
            self.sums = vec![0.0; self.sizes.len() * self.dimension];
        }
        ensure!(
            set.dimension() == self.dimension,
            "{}: embeddings of {} values, others have {}",
            channel.display(),
            set.dimension(),
            self.dimension
        );
        for row in 0..set.len() {
            let name = set.name(row).with_context(|| {
                format!(
                    "{}: its faces have no names; a channel is wanted",
                    channel.display()
                )
            })?;
            let Some(face) = self.faces.get_mut(name) else {
                continue;
            };
            if let Some(other) = face.channel.replace(channel.to_owned()) {
                bail!(
                    "{name} is a face in {} and in {}: which of them the dataset means is not to be told; name the faces of one otherwise",
                    other.display(),
                    channel.display()
                );
            }
            let sum = &mut self.sums[self.places[&face.class] * self.dimension..][..self.dimension];
            sum.iter_mut()
                .zip(set.embedding(row))
                .for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    fn check_all_there(&self, path: &Path) -> anyhow::Result<()> {
        let missing = || self.faces.iter().filter(|(_, face)| face.channel.is_none());
        if let Some((name, Face { line, .. })) = missing().min_by_key(|(_, face)| face.line) {
            bail!(
                "{}: line {line}: none of the channels given has an embedding of {name}, nor of {} others",
                path.display(),
                missing().count() - 1
            );
        }
        Ok(())
    }

    /// Of each class, the largest of those that are nearer than `threshold` to it, or to one that is; of equal ones the lowest.
    /// That is single linkage, cut at `threshold`.
    ///
    /// Cost: the products of each mean with each.
    fn kept(mut self, threshold: f32) -> BTreeMap<i64, i64> {
        normalise(&mut self.sums, self.dimension);
        let means = Rows::new(&self.sums, self.dimension);
        let near = scan(
            means,
            means,
            |_| Vec::new(),
            |near: &mut Vec<u32>, one, from, products| {
                for (other, product) in (from..).zip(products) {
                    if other > one && 1.0 - product < threshold {
                        near.extend(u32::try_from(other));
                    }
                }
            },
        );
        let links = near.into_iter().zip(0..);
        let links = links.flat_map(|(near, one)| near.into_iter().map(move |other| (one, other)));
        let groups = components(self.sizes.len(), links);
        let mut largest: HashMap<u32, (u64, i64)> = HashMap::new();
        for ((class, size), group) in self.sizes.iter().zip(&groups) {
            let best = largest.entry(*group).or_insert((*size, *class));
            if *size > best.0 {
                *best = (*size, *class);
            }
        }
        let classes = self.sizes.keys().zip(&groups);
        classes
            .map(|(class, group)| (*class, largest[group].1))
            .collect()
    }
}

/// How many faces were written, and how many are of classes that were not kept.
fn write(
    dataset: &Path,
    kept: &BTreeMap<i64, i64>,
    merge: bool,
    to: &Path,
) -> anyhow::Result<[u64; 2]> {
    let mut faces = Faces::open(dataset)?;
    let mut file = BufWriter::new(File::create(to)?);
    file.write_all(line(faces.table.header()).as_bytes())?;
    let [mut written, mut changed] = [0, 0];
    while let Some((mut row, class)) = faces.next_face()? {
        let into = kept.get(&class).copied().unwrap_or(class);
        changed += u64::from(into != class);
        if into == class || merge {
            row.fields[faces.class] = into.to_string();
            file.write_all(line(&row.fields).as_bytes())?;
            written += 1;
        }
    }
    file.flush()?;
    Ok([written, changed])
}
