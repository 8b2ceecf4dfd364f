//! Are labelled pairs of photos decided rightly?
//!
//! `cargo run --release -p rollcall-benches --bin pairs -- FOLDER [--assets DIR] [--faces]`: FOLDER
//! holds photos and `pairs.csv` with the columns `file_x,file_y,Decision` (`Yes`: one person).
//! Every photo goes through Rollcall's own decoding, detection, alignment and embedding; of several
//! faces the largest that passes the gates counts. Exit code 1 if any pair is decided wrongly.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rollcall_index::Embedding;
use rollcall_ingest::gate::face::measure;
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{Assets, ModelOptions, Models, PhotoFace, PhotoReader, Picture, align};

/// Decides labelled pairs of photos and counts what is wrong.
#[derive(Parser)]
struct Arguments {
    /// The folder with the photos and pairs.csv.
    folder: PathBuf,
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
    /// The cosine from which on two photos count as one person; the manifest's by default.
    #[arg(long)]
    same: Option<f32>,
    /// Also prints what the gates measure of every face.
    #[arg(long)]
    faces: bool,
}

/// One labelled pair.
struct Pair {
    x: String,
    y: String,
    same: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let models = Models::open(
        &Assets::locate(arguments.assets.as_deref())?,
        &ModelOptions::default(),
    )?;
    let mut reader = PhotoReader::open(&models)?;
    let threshold = arguments.same.unwrap_or_else(|| models.same_cosine());
    let pairs = read_pairs(&arguments)?;
    let mut embeddings: BTreeMap<&str, Embedding> = BTreeMap::new();
    for name in pairs.iter().flat_map(|pair| [&pair.x, &pair.y]) {
        if !embeddings.contains_key(name.as_str()) {
            let embedding = embed(&mut reader, &arguments, name)?;
            embeddings.insert(name, embedding);
        }
    }
    let (mut same, mut different, mut wrong) = (Vec::new(), Vec::new(), 0);
    for pair in &pairs {
        let cosine = embeddings[pair.x.as_str()]
            .dot(&embeddings[pair.y.as_str()])
            .get();
        if pair.same {
            same.push(cosine)
        } else {
            different.push(cosine)
        }
        if (cosine >= threshold) != pair.same {
            wrong += 1;
            let label = if pair.same { "same" } else { "different" };
            println!("wrong: {} {} {label} cosine {cosine:.3}", pair.x, pair.y);
        }
    }
    println!(
        "photos {}  pairs {}  threshold {threshold}",
        embeddings.len(),
        pairs.len()
    );
    println!("right {}  wrong {wrong}", pairs.len() - wrong);
    report("same", &same);
    report("different", &different);
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn read_pairs(arguments: &Arguments) -> Result<Vec<Pair>> {
    let path = arguments.folder.join("pairs.csv");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().trim();
    ensure!(
        header == "file_x,file_y,Decision",
        "{}: unexpected header {header}",
        path.display()
    );
    let mut pairs = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let [x, y, decision] = fields[..] else {
            bail!("{}: {line}", path.display())
        };
        let same = match decision {
            "Yes" => true,
            "No" => false,
            other => bail!("{}: decision {other}, not Yes or No", path.display()),
        };
        pairs.push(Pair {
            x: x.to_owned(),
            y: y.to_owned(),
            same,
        });
    }
    ensure!(!pairs.is_empty(), "{}: no pairs", path.display());
    Ok(pairs)
}

fn embed(reader: &mut PhotoReader, arguments: &Arguments, name: &str) -> Result<Embedding> {
    let path = arguments.folder.join(name);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let picture = photo::decode(&bytes, &PhotoLimits::default()).context(name.to_owned())?;
    let faces = reader.read(&picture)?;
    if arguments.faces {
        faces.iter().for_each(|face| describe(name, &picture, face));
    }
    let Some(face) = faces.iter().find(|face| face.quality.is_ok()) else {
        bail!("{name}: no face passes the gates: {faces:?}");
    };
    Ok(reader.embed(&picture, &[&face.face])?.remove(0))
}

fn describe(name: &str, picture: &Picture, face: &PhotoFace) {
    let crop = align::align(picture.view(), &face.face.landmarks);
    let measures = measure(picture.view(), &face.face, &crop);
    let verdict = match face.quality {
        Ok(quality) => format!("quality {:.2}", quality.get()),
        Err(reason) => reason.code().to_owned(),
    };
    println!(
        "face: {name} score {:.2} side {:.0} inside {:.2} sharpness {:.3} pose {:?} {verdict}",
        face.face.score, measures.side, measures.inside, measures.sharpness, measures.pose
    );
}

fn report(label: &str, cosines: &[f32]) {
    if cosines.is_empty() {
        return;
    }
    let count = cosines.len() as f32;
    let mean = cosines.iter().sum::<f32>() / count;
    let deviation = (cosines.iter().map(|c| (c - mean).powi(2)).sum::<f32>() / count).sqrt();
    let least = cosines.iter().copied().fold(f32::INFINITY, f32::min);
    let most = cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    println!(
        "{label}: {} pairs  cosine mean {mean:.3} sd {deviation:.3} min {least:.3} max {most:.3}",
        cosines.len()
    );
}
