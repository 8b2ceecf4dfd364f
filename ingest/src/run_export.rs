//! The command `export`.

mod columns;
pub(crate) mod dataset;
mod detections;
mod folders;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use npyz::WriterBuilder;
use rollcall_index::vectors::{Known, SideFiles};
use rollcall_ingest::{extracted::Extracted, faceset::FaceSet, files::write_beside, table::line};
use serde_json::{Map, Value, json};

/// Options of `export`.
#[derive(Args)]
pub(crate) struct Export {
    /// Faces: .npy, .jsonl, .parquet, .pkl, an extracted folder, or a channel of streamface's.
    from: PathBuf,
    /// The file or folder that is written; it must not be there yet, or be given with --force.
    to: PathBuf,
    /// What is written (default: as the name of the file says).
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Among the embeddings of a .jsonl file that has several: those of this model.
    #[arg(long, value_name = "NAME", default_value = "")]
    model: String,
    /// Whose each face is (.npy of integers, below 0: nobody's), in the place of what is known.
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// Width and height of the video's frames, as in 1920x1080, where an extraction is written as streamface's folder
    /// [default: as the video says, if it is where it was].
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    frame_size: Option<detections::FrameSize>,
}

/// What faces are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `NumPy`: float32, a row a face.
    Npy,
    /// A row a face: embedding, name, identity, track, source, `time_us`.
    Parquet,
    /// An object a line, with the same.
    Jsonl,
    /// A line a face, without its embedding.
    Csv,
    /// streamface's `dataset.csv` of a channel: sizes, distances to classes, attributes.
    Dataset,
    /// A folder that `FiftyOne` opens as `FiftyOneImageClassificationDataset`: pictures and classes.
    Fiftyone,
    /// A channel's folder: features, pairs and annotations.
    Streamface,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        Ok(match extension {
            Some("npy") => Self::Npy,
            Some("parquet") => Self::Parquet,
            Some("jsonl") => Self::Jsonl,
            Some("csv") => Self::Csv,
            _ => bail!(
                "{}: its name does not say what it is to be: .npy, .parquet, .jsonl or .csv; or say --as",
                path.display()
            ),
        })
    }
}

pub(crate) fn export(options: &Export) -> anyhow::Result<()> {
    let to = &options.to;
    let format = match options.format {
        Some(format) => format,
        None => Format::of(to)?,
    };
    if to.exists() && (!options.force || to.is_dir()) {
        bail!(
            "{} is there already{}",
            to.display(),
            if to.is_dir() {
                ""
            } else {
                "; --force replaces it"
            }
        );
    }
    ensure!(
        options.frame_size.is_none()
            || (format == Format::Streamface && Extracted::is_one(&options.from)),
        "--frame-size is for an extraction that is written --as streamface; leave it out"
    );
    let mut faces = FaceSet::read(&options.from, &options.model, &SideFiles::default())?;
    if let Some(path) = &options.identities {
        label(&mut faces, path)?;
    }
    let write: &dyn Fn(&FaceSet, &Path) -> anyhow::Result<()> = match format {
        Format::Npy => &write_npy,
        Format::Parquet => &columns::write_parquet,
        Format::Jsonl => &write_jsonl,
        Format::Csv => &write_csv,
        Format::Dataset => &|faces, to| dataset::write(faces, &options.from, to),
        Format::Fiftyone => return folders::write_fiftyone(&faces, &options.from, to),
        Format::Streamface => {
            return folders::write_streamface(&faces, &options.from, to, options.frame_size);
        }
    };
    let written = write_beside(to, |beside| write(&faces, beside));
    written.with_context(|| to.display().to_string())?;
    eprintln!("{} faces written to {}", faces.len(), to.display());
    Ok(())
}

fn label(faces: &mut FaceSet, path: &Path) -> anyhow::Result<()> {
    let labels: Vec<i64> = rollcall_index::vectors::Array::read_integers(path)?;
    let (found, expected) = (labels.len(), faces.len());
    if found != expected {
        bail!(
            "{}: {found} labels, there are {expected} faces",
            path.display()
        );
    }
    for (known, label) in faces.known_mut().iter_mut().zip(labels) {
        known.identity = u64::try_from(label).ok();
    }
    Ok(())
}

fn write_npy(faces: &FaceSet, to: &Path) -> anyhow::Result<()> {
    let shape = [
        u64::try_from(faces.len())?,
        u64::try_from(faces.dimension())?,
    ];
    let file = BufWriter::new(File::create(to)?);
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
    let mut writer = options.writer(file).begin_nd()?;
    writer.extend(faces.embeddings())?;
    writer.finish()?;
    Ok(())
}

fn write_jsonl(faces: &FaceSet, to: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(to)?);
    for (row, known) in faces.known().iter().enumerate() {
        let mut line = Map::new();
        if let Some(name) = faces.name(row) {
            line.insert("name".to_owned(), name.into());
        }
        for (key, value) in facts(known) {
            if let Some(value) = value {
                line.insert(key.to_owned(), value);
            }
        }
        line.insert("embedding".to_owned(), json!(faces.embedding(row)));
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}

fn write_csv(faces: &FaceSet, to: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(to)?);
    writeln!(file, "row,name,identity,track,source,time_us")?;
    for (row, known) in faces.known().iter().enumerate() {
        let name = faces.name(row).unwrap_or_default();
        let mut fields = vec![row.to_string(), name.to_owned()];
        fields.extend(
            facts(known).map(|(_, value)| value.map_or_else(String::new, |v| v.to_string())),
        );
        file.write_all(line(&fields).as_bytes())?;
    }
    file.flush()?;
    Ok(())
}

/// What is known of a face, under the names that are read again.
fn facts(known: &Known) -> [(&'static str, Option<Value>); 4] {
    [
        ("identity", known.identity.map(Value::from)),
        ("track", known.track.map(Value::from)),
        ("source", known.source.map(Value::from)),
        ("time_us", known.time_us.map(Value::from)),
    ]
}
