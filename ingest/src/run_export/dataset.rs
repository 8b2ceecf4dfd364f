//! A channel's `dataset.csv`, as streamface makes it for those who train on its faces.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use rayon::prelude::*;
use rollcall_ingest::{
    faceset::FaceSet,
    observe::WallTime,
    streamface::{Annotations, Detection, stem, time_of, timestamp},
};
use serde_json::Value;

const COLUMNS: &str = "filename,channel,timestamp,frame_height,frame_width,face_height,face_width,face_size,distance_from_mean,\
intra_class_distance,nearest_class_distance,class,mask,gender,age,race,expression,yaw,pitch,roll";

/// A line for each face that belongs to somebody. `race` is empty, whatever the features say.
pub(crate) fn write(faces: &FaceSet, from: &Path, to: &Path) -> anyhow::Result<()> {
    let table = from.join("metadata/detections.csv");
    ensure!(
        table.is_file(),
        "{}: is not there; dataset.csv is made of a channel's folder",
        table.display()
    );
    let detections = Detection::read_all(&table)?.into_iter();
    let detections: HashMap<String, Detection> = detections
        .map(|face| (stem(&face.name).to_owned(), face))
        .collect();
    let said = Annotations::of_features(from)?;
    let classes = Classes::of(faces);
    ensure!(
        !classes.rows.is_empty(),
        "{}: no face belongs to anybody; cluster them first",
        from.display()
    );
    let distances: Vec<[f32; 3]> = classes
        .rows
        .par_iter()
        .map(|row| classes.distances(faces, *row))
        .collect();
    let mut file = BufWriter::new(File::create(to)?);
    writeln!(file, "{COLUMNS}")?;
    for (row, distances) in classes.rows.iter().zip(&distances) {
        let name = faces.name(*row).context("a channel's faces have names")?;
        let detection = detections.get(name);
        let detection =
            detection.with_context(|| format!("{}: has no line for {name}", table.display()))?;
        let attributes = said.labels.get(name).map(|face| &face.other);
        let attribute = |group: &str| attributes.and_then(|all| all.get("attributes")?.get(group));
        let pose = |angle: &str| {
            attribute("pose")
                .and_then(|pose| pose.get(angle))
                .map_or_else(String::new, Value::to_string)
        };
        let mask = attributes.and_then(|all| all.get("mask")?.as_f64());
        let mask = mask.map_or("", |mask| if mask > 0.5 { "Masked" } else { "Unmasked" });
        let [frame_height, frame_width] = detection
            .frame_size
            .map_or_else(Default::default, |sizes| sizes.map(|size| size.to_string()));
        let time =
            time_of(name).map_or_else(String::new, |us| timestamp(WallTime::from_unix_micros(us)));
        let face = detection.face;
        let [from_mean, own, nearest] = distances.map(number);
        writeln!(
            file,
            "{},{},{time},{frame_height},{frame_width},{},{},{},{from_mean},{own},{nearest},{},{mask},{},{},,{},{},{},{}",
            detection.name,
            name.split('_').next().unwrap_or_default(),
            face.height,
            face.width,
            face.height * face.width,
            classes.of[row],
            likeliest(attribute("gender")),
            likeliest(attribute("age")),
            likeliest(attribute("expression")),
            pose("yaw"),
            pose("pitch"),
            pose("roll"),
        )?;
    }
    file.flush()?;
    Ok(())
}

/// Empty where there is none: a class of one has no distance within, one class alone none to another.
fn number(value: f32) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        String::new()
    }
}

fn likeliest(shares: Option<&Value>) -> String {
    let shares = shares.and_then(Value::as_object);
    let best = shares
        .into_iter()
        .flatten()
        .filter_map(|(word, share)| Some((word, share.as_f64()?)));
    let best = best.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or_else(String::new, |(word, _)| word.clone())
}

/// Faces by class.
struct Classes {
    /// Of each row that has one.
    of: HashMap<usize, u64>,
    rows: Vec<usize>,
    places: HashMap<u64, usize>,
    /// The sum of the faces of each, and their number.
    sums: Vec<(Vec<f32>, f32)>,
}

impl Classes {
    fn of(faces: &FaceSet) -> Self {
        let known = faces.known().iter().enumerate();
        let of: HashMap<usize, u64> = known
            .filter_map(|(row, known)| Some((row, known.identity?)))
            .collect();
        let mut rows: Vec<usize> = of.keys().copied().collect();
        rows.sort_unstable();
        let mut sums: BTreeMap<u64, (Vec<f32>, f32)> = BTreeMap::new();
        for row in &rows {
            let (sum, count) = sums
                .entry(of[row])
                .or_insert_with(|| (vec![0.0; faces.dimension()], 0.0));
            sum.iter_mut()
                .zip(faces.embedding(*row))
                .for_each(|(sum, value)| *sum += value);
            *count += 1.0;
        }
        let places = sums.keys().copied().zip(0..).collect();
        Self {
            of,
            rows,
            places,
            sums: sums.into_values().collect(),
        }
    }

    /// Cosine distances: to the mean of its class; on average to the others of its class; on average to those of the
    /// nearest other class. The last two are what the silhouette compares.
    ///
    /// Faces have length 1, so the mean of distances to a class is 1 less the product with its sum over its number.
    fn distances(&self, faces: &FaceSet, row: usize) -> [f32; 3] {
        let own = self.places[&self.of[&row]];
        let face = faces.embedding(row);
        let products = |sum: &[f32]| -> f32 { face.iter().zip(sum).map(|(a, b)| a * b).sum() };
        let (sum, count) = &self.sums[own];
        let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
        let product = products(sum);
        let others = self
            .sums
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != own);
        let nearest = others.map(|(_, (sum, count))| 1.0 - products(sum) / count);
        [
            1.0 - product / length,
            1.0 - (product - 1.0) / (count - 1.0),
            nearest.fold(f32::INFINITY, f32::min),
        ]
    }
}
