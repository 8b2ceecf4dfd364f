//! Bytes from outside, changed at random: no reader may panic, hang, or take more than its share of memory.
//!
//! `fuzz [--seconds S] [--targets A,B] [--seed N] [--keep FOLDER]` takes good files of each kind, changes some bytes
//! (flips, inserts, cuts, repeats, numbers at their limits, pieces of other files) and reads them, for so many seconds
//! a target. There is no look at which code is reached. A case that panics, or takes longer than ten seconds, is
//! written to FOLDER (`target/fuzz`), and the exit code is 1. The last line is a JSON object of counts.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use npyz::{WriteOptions, WriterBuilder as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rollcall_index::{Index, vectors::SideFiles};
use rollcall_ingest::{
    Picture,
    crop::{to_jpeg, to_png},
    extract::{CutPlan, FileFingerprint, ShardInfo},
    facerec::{Clusters, read_features, read_trajectories},
    faceset::FaceSet,
    photo::{PhotoLimits, decode},
    pickle::{Pickle, PickleWriter},
    streamface::Annotations,
    table::Table,
};
use rollcall_log::{FileStorage, Log, LogOptions};
use serde_json::json;

/// A case may not take longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Changes of a case at most.
const CHANGES_MAX: usize = 6;
/// Bytes of a file at most.
const BYTES_MAX: usize = 1 << 20;
/// Numbers that are often wrong by one.
const EDGES: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Readers, and bytes that were changed at random.
#[derive(Parser)]
struct Arguments {
    /// For each target.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Names with commas between; all else.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// The same seed gives the same cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where cases that fail are written.
    #[arg(long, default_value = "target/fuzz")]
    keep: PathBuf,
}

/// A file's name and bytes; some readers take several together.
type Files = BTreeMap<String, Vec<u8>>;

/// A reader.
struct Target {
    name: &'static str,
    seeds: Vec<Files>,
    /// Whether what lies in the folder was read.
    read: fn(&Path) -> bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let all = targets()?;
    let known: Vec<_> = all.iter().map(|target| target.name).collect();
    if let Some(unknown) = arguments
        .targets
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        bail!("{unknown} is none of {}", known.join(", "));
    }
    // Cases are told by what is written; the hook would tell of each again.
    std::panic::set_hook(Box::new(|_| ()));
    let (mut counts, mut failed) = (serde_json::Map::new(), 0);
    for target in &all {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|it| it == target.name) {
            let [cases, read, wrong] = run(target, &arguments)?;
            let name = target.name;
            eprintln!("{name}: {cases} cases, {read} read in spite of it, {wrong} failed");
            let told = json!({"cases": cases, "read": read, "failed": wrong});
            counts.insert(name.to_owned(), told);
            failed += wrong;
        }
    }
    println!(
        "{}",
        json!({"seed": arguments.seed, "targets": counts, "failed": failed})
    );
    if failed > 0 {
        bail!(
            "{failed} cases failed; they lie in {}",
            arguments.keep.display()
        );
    }
    Ok(())
}

/// Cases, how many of them were read, and how many failed; no more than ten of the last.
fn run(target: &Target, arguments: &Arguments) -> Result<[u64; 3]> {
    let name = target.name.bytes().fold(arguments.seed, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let mut random = StdRng::seed_from_u64(name);
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() {
        tempfile::tempdir_in(shared)?
    } else {
        tempfile::tempdir()?
    };
    for (number, seed) in target.seeds.iter().enumerate() {
        let at = folder.path().join(format!("seed-{number}"));
        write(&at, seed)?;
        let name = target.name;
        ensure!(
            (target.read)(&at),
            "{name}: file {number} is not read as it is"
        );
    }
    let end = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let [mut cases, mut read, mut failed] = [0; 3];
    while Instant::now() < end && failed < 10 {
        let files = changed(&target.seeds, &mut random);
        let at = folder.path().join("case");
        fs::create_dir(&at)?;
        write(&at, &files)?;
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(&at)));
        let panicked = outcome.is_err();
        cases += 1;
        read += u64::from(outcome.unwrap_or(false));
        if panicked || begun.elapsed() > LONGEST {
            failed += 1;
            let kept = arguments.keep.join(format!("{}-{cases}", target.name));
            write(&kept, &files).with_context(|| kept.display().to_string())?;
            let what = if panicked {
                "panicked"
            } else {
                "took too long"
            };
            eprintln!("{}: {what}: {}", target.name, kept.display());
        }
        fs::remove_dir_all(&at)?;
    }
    Ok([cases, read, failed])
}

fn write(folder: &Path, files: &Files) -> std::io::Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// One of the seeds, with one of its files changed.
fn changed(seeds: &[Files], random: &mut StdRng) -> Files {
    let mut files = seeds[random.random_range(0..seeds.len())].clone();
    let other = &seeds[random.random_range(0..seeds.len())];
    let other: Vec<&Vec<u8>> = other.values().collect();
    let other = other[random.random_range(0..other.len())].clone();
    let chosen = random.random_range(0..files.len());
    if let Some(bytes) = files.values_mut().nth(chosen) {
        for _ in 0..=random.random_range(0..CHANGES_MAX) {
            change(bytes, &other, random);
        }
        bytes.truncate(BYTES_MAX);
    }
    files
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let at = random.random_range(0..bytes.len() + 1);
    let longest = if random.random_range(0..4) == 0 {
        256
    } else {
        8
    };
    let length = 1 + random.random_range(0..longest);
    let end = (at + length).min(bytes.len());
    match random.random_range(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = random.random(),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let from = random.random_range(0..other.len() + 1);
            let piece = &other[from..(from + length).min(other.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        5 => bytes.truncate(at),
        6 => {
            // A number in binary, either end first.
            let number =
                EDGES[random.random_range(0..EDGES.len())].wrapping_add(random.random_range(0..3));
            let width = 1 << random.random_range(0..4);
            let little = number.to_le_bytes();
            let mut piece = little[..width].to_vec();
            if random.random_range(0..2) == 0 {
                piece.reverse();
            }
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, piece);
        }
        _ => {
            // A number in text in the place of one.
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            let from = bytes[at..]
                .iter()
                .position(is_digit)
                .map_or(at, |by| at + by);
            let digits = bytes[from..]
                .iter()
                .take_while(|byte| is_digit(byte))
                .count();
            let texts = [
                "",
                "-1",
                "0",
                "1e999",
                "NaN",
                "18446744073709551616",
                "0.5",
                "null",
            ];
            let text = texts[random.random_range(0..texts.len())];
            bytes.splice(from..from + digits, text.bytes());
        }
    }
}

fn one(name: &str, bytes: impl Into<Vec<u8>>) -> Files {
    Files::from([(name.to_owned(), bytes.into())])
}

/// All files below a folder.
fn fixture(folder: &Path) -> Result<Files> {
    let (mut files, mut open) = (Files::new(), vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                files.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn targets() -> Result<Vec<Target>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let log = fixture(&root.join("log/tests/fixtures/v1"))?;
    let index = fixture(&root.join("index/tests/fixtures/v2"))?;
    let target = |name, seeds, read| Target { name, seeds, read };
    Ok(vec![
        target("log", vec![log], read_log),
        target("index", vec![index], read_index),
        target("vectors", vectors()?, read_vectors),
        target("pickle", vec![one("a.pkl", pickle())], read_pickle),
        target("photo", photos()?, read_photo),
        target("table", tables(), read_table),
        target("batch", batch(), read_batch),
        target("facerec", film(), read_film),
    ])
}

fn read_log(folder: &Path) -> bool {
    let Ok(storage) = FileStorage::open(folder) else {
        return false;
    };
    let log = Log::open(Arc::new(storage), LogOptions::default());
    log.is_ok_and(|(log, _)| log.reader().read_after(0).all(|record| record.is_ok()))
}

fn read_index(folder: &Path) -> bool {
    let index = Index::open(folder, "fixture", 8);
    index.is_ok_and(|index| index.newest().verify().is_ok())
}

/// A `.npy` file of rows of 8 values.
fn npy(rows: u16) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let options = WriteOptions::new().default_dtype();
    let mut writer = options
        .shape(&[u64::from(rows), 8])
        .writer(&mut bytes)
        .begin_nd()?;
    writer.extend((0..rows * 8).map(|value| f32::from(value).sin()))?;
    writer.finish()?;
    Ok(bytes)
}

fn vectors() -> Result<Vec<Files>> {
    let line = |i: usize| {
        let values: Vec<f32> = (0..8).map(|j| ((i * 8 + j) as f32).cos()).collect();
        json!({"embedding": values, "identity": i, "track": i, "name": "a", "time_us": 5, "source": 1})
            .to_string()
            + "\n"
    };
    let lines: String = (0..6).map(line).collect();
    Ok(vec![one("a.npy", npy(5)?), one("a.jsonl", lines)])
}

fn read_vectors(folder: &Path) -> bool {
    let paths = ["a.npy", "a.jsonl"].map(|name| folder.join(name));
    let mut there = paths.iter().filter(|path| path.exists());
    there.all(|path| FaceSet::read(path, "", &SideFiles::default()).is_ok())
}

fn pickle() -> Vec<u8> {
    let mut pickle = PickleWriter::dictionary();
    for name in ["a_1.png", "a_2.png"] {
        pickle.text(name);
        pickle.tuple(|tuple| tuple.array(&[0.1, 0.2, 0.3, 0.4]));
    }
    pickle.finish()
}

fn read_pickle(folder: &Path) -> bool {
    let path = folder.join("a.pkl");
    if let Ok(pickle) = Pickle::read(&path) {
        for (name, value) in pickle.root().entries().unwrap_or_default() {
            let _ = (
                name.text(),
                value.array().is_some(),
                value.items().is_some(),
            );
        }
    }
    FaceSet::read(&path, "", &SideFiles::default()).is_ok()
}

fn photos() -> Result<Vec<Files>> {
    let rgb = (0..40 * 30 * 3)
        .map(|i: usize| (i * 7 % 251).to_le_bytes()[0])
        .collect();
    let picture = Picture::new(40, 30, rgb)?;
    let mut bmp = b"BM\x96\x00\x00\x00\x00\x00\x00\x006\x00\x00\x00(\x00\x00\x00".to_vec();
    bmp.extend([8, 0, 0, 0, 4, 0, 0, 0, 1, 0, 24, 0].iter());
    bmp.extend([0; 24]);
    bmp.extend([90; 96]);
    Ok(vec![
        one("photo", to_jpeg(picture.view(), 80)),
        one("photo", to_png(picture.view())),
        one("photo", bmp),
    ])
}

fn read_photo(folder: &Path) -> bool {
    let limits = PhotoLimits {
        pixels_max: 10_000_000,
        ..PhotoLimits::default()
    };
    let bytes = fs::read(folder.join("photo"));
    bytes.is_ok_and(|bytes| decode(&bytes, &limits).is_ok())
}

fn tables() -> Vec<Files> {
    let text = "\u{feff}filename,class,name\r\na_1.png,1,\"Ada, \"\"A\"\"\"\n\n\"two\nlines\",2,\n";
    let labels = r#"{"labels":{"a_1":{"label":3,"mask":null},"a_2":{"label":-1}},"ignore":["1,2"],"x":[1e9]}"#;
    vec![one("t.csv", text), one("a.json", labels)]
}

fn read_table(folder: &Path) -> bool {
    let labels = folder.join("a.json");
    if labels.exists() {
        return Annotations::read(&labels).is_ok();
    }
    let table = Table::open(&folder.join("t.csv"));
    table.is_ok_and(|mut table| table.all(|row| row.is_ok()))
}

fn batch() -> Vec<Files> {
    let file = json!({"bytes": 100, "sha256": "00"});
    let cuts = json!({"format": "rollcall-cuts-1", "file": file, "rules": "r", "frames": 100, "last_us": 4_000_000,
        "cuts": [{"frame": 10, "time_us": 400_000}, {"frame": 50, "time_us": 2_000_000}]});
    let shard = json!({"format": "rollcall-shard-1", "index": 1, "n": 4, "begin": 10, "end": 50, "file": file,
        "contract": "c", "pipeline": "p", "complete": true});
    vec![
        one("cuts.json", cuts.to_string()),
        one("shard.json", shard.to_string()),
    ]
}

fn read_batch(folder: &Path) -> bool {
    let file = FileFingerprint {
        bytes: 100,
        sha256: "00".to_owned(),
    };
    let shard = folder.join("shard.json");
    if shard.exists() {
        return ShardInfo::read(&shard).is_ok();
    }
    let Ok(plan) = CutPlan::read(&folder.join("cuts.json"), &file, "r") else {
        return false;
    };
    let mut spans = [1, 3, 16]
        .into_iter()
        .flat_map(|n| (0..n).map(move |index| (index, n)));
    spans.any(|(index, n)| !plan.span(index, n).is_empty())
}

fn film() -> Vec<Files> {
    let trajectory = "{\"start\":3,\"len\":2,\"bbs\":[[1,2,30,40],[2,2,31,40]],\"detected\":[true,true],\"w\":64,\"h\":48,\"object_type\":\"face\"}\n";
    let feature = "{\"frame\":3,\"tag\":\"1:3:1_2_30_40\",\"embedding\":[0.6,0.8],\"box\":[1,2,30,40],\"keypoints\":{\"left_eye\":[3,4],\"right_eye\":[5,6],\"nose\":[7,8],\"mouth_left\":[9,10],\"mouth_right\":[11,12]},\"w\":64,\"h\":48}\n";
    vec![Files::from([
        (
            "trajectories.jsonl".to_owned(),
            trajectory.repeat(3).into_bytes(),
        ),
        ("features.jsonl".to_owned(), feature.repeat(3).into_bytes()),
        (
            "clusters.json".to_owned(),
            b"{\"clusters\":[0,1,0],\"movie_id\":1}".to_vec(),
        ),
    ])]
}

fn read_film(folder: &Path) -> bool {
    let at = |name: &str| folder.join(name);
    let trajectories = read_trajectories(&at("trajectories.jsonl")).is_ok();
    let features = read_features(&at("features.jsonl"), |_, _| Ok(())).is_ok();
    let clusters = Clusters::read(&at("clusters.json"), 3).is_ok();
    trajectories && features && clusters
}
