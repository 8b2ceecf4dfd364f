//! The program `rollcall-index`: what it builds, what it finds, and how it refuses what is wrong.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use parquet::{
    data_type::{FloatType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use serde_json::Value;
use tempfile::TempDir;

const DIMENSION: usize = 64;
const ROWS: usize = 40;
/// Rows in a row belong to the same identity.
const EACH: usize = 4;

/// A folder with files to build from.
struct Case(TempDir);

/// What a run of the program gave.
struct Ran {
    code: i32,
    out: String,
    errors: String,
}

impl Case {
    fn new() -> Self {
        let case = Self(tempfile::tempdir().unwrap());
        case.floats("vectors.npy", &[ROWS, DIMENSION], &vectors().concat());
        let identities: Vec<u8> = (0..ROWS)
            .flat_map(|row| identity(row).to_le_bytes())
            .collect();
        case.npy("identities.npy", "<u8", "False", "(40,)", &identities);
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn npy(&self, name: &str, dtype: &str, fortran: &str, shape: &str, data: &[u8]) {
        let mut header =
            format!("{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        fs::write(self.path(name), bytes).unwrap();
    }

    fn floats(&self, name: &str, shape: &[usize], values: &[f32]) {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let shape: String = shape.iter().map(|length| format!("{length},")).collect();
        self.npy(name, "<f4", "False", &format!("({shape})"), &data);
    }

    /// Runs the program in the folder.
    fn run(&self, arguments: &str) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_rollcall-index"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            errors: String::from_utf8(stderr).unwrap(),
        }
    }

    fn build(&self, arguments: &str) -> Ran {
        self.run(&format!("build --out index --model fake {arguments}"))
    }

    fn built(&self, arguments: &str) -> Value {
        let ran = self.build(arguments);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Building has to fail, name what is wrong, and leave nothing behind.
    #[track_caller]
    fn refused(&self, arguments: &str, because: &[&str]) {
        let before = names(self.0.path());
        let ran = self.build(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.errors);
        for word in because {
            assert!(ran.errors.contains(word), "{word:?} in {}", ran.errors);
        }
        assert_eq!(names(self.0.path()), before);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn identity(row: usize) -> u64 {
    u64::try_from(row / EACH).unwrap()
}

/// One axis an identity, and a little of another one for each row.
fn vectors() -> Vec<Vec<f32>> {
    let vector = |row: usize| {
        let mut vector = vec![0.0; DIMENSION];
        vector[row / EACH] = 1.0;
        vector[ROWS / EACH + row % EACH] = 0.3;
        vector
    };
    (0..ROWS).map(vector).collect()
}

const GIVEN: &str = "--vectors vectors.npy --identities identities.npy";

#[test]
fn what_is_built_is_sound_and_finds_what_is_in_it() {
    let case = Case::new();
    let summary = case.built(GIVEN);
    assert_eq!(
        (&summary["faces"], &summary["identities"]),
        (&40.into(), &10.into())
    );
    let verified = case.run("verify index --model fake");
    assert_eq!(verified.code, 0, "{}", verified.out);
    assert_eq!(
        verified.out,
        "sound: 40 faces in 40 tracks of 10 identities\n"
    );
    let stats: Value = serde_json::from_str(&case.run("stats index --json").out).unwrap();
    assert_eq!(
        (&stats["contract"], &stats["dimension"]),
        (&"fake".into(), &64.into())
    );
    assert_eq!(stats["faces_per_identity"], serde_json::json!([4, 4, 4]));
    assert!(
        case.run("stats index")
            .out
            .contains("40 faces in 40 tracks")
    );

    let who = case.run("who index --vectors vectors.npy -k 1");
    assert_eq!(who.code, 0, "{}", who.errors);
    let lines: Vec<Value> = who
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), ROWS);
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(line["query"], row);
        assert_eq!(line["hits"][0]["identity"], identity(row));
        assert_eq!(line["hits"][0]["best_face"], row);
    }
    let faces = case.run("faces index --vectors vectors.npy -k 2");
    let line: Value = serde_json::from_str(faces.out.lines().nth(7).unwrap()).unwrap();
    assert_eq!((faces.code, &line["hits"][0]["face"]), (0, &7.into()));

    case.floats("stranger.npy", &[1, DIMENSION], &[-1.0; DIMENSION]);
    for question in ["who", "faces"] {
        let nobody = case.run(&format!("{question} index --vectors stranger.npy"));
        assert_eq!(
            (nobody.code, nobody.out.as_str()),
            (1, "{\"hits\":[],\"query\":0}\n")
        );
    }
    case.floats("short.npy", &[1, 3], &[1.0; 3]);
    let other = case.run("who index --vectors short.npy");
    assert_eq!(other.code, 2);
    assert!(other.errors.contains("3 values"), "{}", other.errors);
}

#[test]
fn the_file_that_was_built_from_says_what_cosines_are() {
    let case = Case::new();
    case.built(GIVEN);
    let ask = |truth: &str| {
        case.run(&format!(
            "faces index --vectors vectors.npy -k 4 --truth {truth}"
        ))
    };
    let faces = ask("vectors.npy");
    let (first, others) = (1.0f64, 1.0 / 1.09);
    for (row, line) in faces.out.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        // Itself, then the three others of its person, who are equally near: by number.
        let found: Vec<u64> = (0..EACH)
            .map(|at| line["hits"][at]["face"].as_u64().unwrap())
            .collect();
        let row = u64::try_from(row).unwrap();
        let of_person = (0..4u64)
            .map(|at| row / 4 * 4 + at)
            .filter(|face| *face != row);
        assert_eq!(
            found,
            [row].into_iter().chain(of_person).collect::<Vec<_>>()
        );
        for (at, cosine) in [(0, first), (1, others), (3, others)] {
            assert!((line["hits"][at]["cosine"].as_f64().unwrap() - cosine).abs() < 1e-6);
        }
    }
    assert_eq!((faces.code, faces.out.lines().count()), (0, ROWS));

    case.floats("few.npy", &[3, DIMENSION], &vectors()[..3].concat());
    let mut turned = vectors();
    turned.rotate_left(EACH);
    case.floats("turned.npy", &[ROWS, DIMENSION], &turned.concat());
    for (truth, because) in [
        ("few.npy", "few.npy: has 3 rows"),
        ("turned.npy", "not the one that was inserted"),
        ("none.npy", "none.npy"),
        ("identities.npy", "identities.npy: its shape is [40]"),
    ] {
        let refused = ask(truth);
        assert_eq!(refused.code, 2, "{}", refused.out);
        assert!(refused.errors.contains(because), "{}", refused.errors);
    }
}

/// The same faces as JSON lines and as Parquet.
fn write_others(case: &Case) {
    let lines = vectors().into_iter().enumerate().map(|(row, embedding)| {
        let tag = format!("0:{row}:1_2_3_4");
        let line = serde_json::json!({
            "frame": row, "tag": tag, "embedding": embedding, "identity": identity(row),
        });
        format!("{line}\n")
    });
    fs::write(case.path("features.jsonl"), lines.collect::<String>()).unwrap();
    let all = vec![Some(1i16); ROWS];
    write_parquet(case, "faces.parquet", "required", &vectors().concat(), &all);
}

/// `levels`: for each row, its definition level as an optional list would have it, or none if the
/// identity is null.
fn write_parquet(case: &Case, name: &str, element: &str, values: &[f32], there: &[Option<i16>]) {
    let schema = format!(
        "message faces {{ required group embedding (LIST) {{ repeated group list {{
         {element} float element; }} }} optional int64 identity; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = fs::File::create(case.path(name)).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let full = if element == "required" { 1i16 } else { 2 };
    // Two row groups.
    for rows in [0..ROWS / 4, ROWS / 4..ROWS] {
        let mut group = writer.next_row_group().unwrap();
        let values = &values[rows.start * DIMENSION..rows.end * DIMENSION];
        let mut defined: Vec<i16> = vec![full; values.len()];
        let nan = |value: &&f32| !value.is_nan();
        for (level, value) in defined.iter_mut().zip(values) {
            if value.is_nan() {
                *level -= 1;
            }
        }
        let values: Vec<f32> = values.iter().filter(nan).copied().collect();
        let repeated: Vec<i16> = (0..defined.len())
            .map(|at| i16::from(at % DIMENSION != 0))
            .collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<FloatType>();
        typed
            .write_batch(&values, Some(&defined), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        let levels: Vec<i16> = there[rows.clone()]
            .iter()
            .map(|t| i16::from(t.is_some()))
            .collect();
        let ids = rows
            .filter(|row| there[*row].is_some())
            .map(|row| identity(row).cast_signed());
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int64Type>();
        typed
            .write_batch(&ids.collect::<Vec<_>>(), Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn every_format_builds_the_same_files() {
    let case = Case::new();
    write_others(&case);
    case.built(GIVEN);
    let files = |case: &Case| {
        let folder = case.path("index");
        names(&folder)
            .into_iter()
            .map(|name| fs::read(folder.join(name)).unwrap())
            .collect::<Vec<_>>()
    };
    let of_npy = files(&case);
    assert!(of_npy.len() >= 3);
    for other in ["features.jsonl", "faces.parquet"] {
        case.built(&format!("--force --vectors {other}"));
        assert_eq!(files(&case), of_npy, "{other}");
        let who = case.run(&format!("who index -k 1 --vectors {other}"));
        assert_eq!(
            (who.code, who.out.lines().count()),
            (0, ROWS),
            "{}",
            who.errors
        );
    }
}

#[test]
fn identities_are_chosen_where_none_are_given() {
    let case = Case::new();
    let tracks: Vec<u8> = (0..ROWS)
        .flat_map(|row| identity(row / 2).to_le_bytes())
        .collect();
    case.npy("tracks.npy", "<u8", "False", "(40,)", &tracks);
    let summary = case.built("--vectors vectors.npy --assigned assigned.npy --threads 2");
    assert_eq!(summary["identities"], 10);
    let assigned = fs::read(case.path("assigned.npy")).unwrap();
    let (numbers, _) = assigned[assigned.len() - ROWS * 8..].as_chunks::<8>();
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|number| u64::from_le_bytes(*number))
        .collect();
    let expected: Vec<u64> = (0..ROWS).map(|row| identity(row) + 1).collect();
    assert_eq!(numbers, expected);
    // Two people in one track: the track decides.
    let summary = case.built("--force --vectors vectors.npy --tracks tracks.npy --threshold 0.9");
    assert_eq!(summary["identities"], 5);
    case.refused(
        &format!("{GIVEN} --force --assigned other.npy"),
        &["--assigned"],
    );
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let case = Case::new();
    let one = [1.0; DIMENSION];
    case.floats("flat.npy", &[DIMENSION], &one);
    case.refused("--vectors flat.npy", &["flat.npy", "shape is [64]"]);
    case.floats("none.npy", &[0, DIMENSION], &[]);
    case.refused("--vectors none.npy", &["holds no vectors"]);
    case.npy("double.npy", "<f8", "False", "(1, 2)", &[0; 16]);
    case.refused("--vectors double.npy", &["<f8", "float16, float32"]);
    case.refused("--vectors identities.npy", &["identities.npy", "[40]"]);
    case.npy("fortran.npy", "<f4", "True", "(2, 2)", &[0; 16]);
    case.refused("--vectors fortran.npy", &["Fortran order"]);
    let whole = fs::read(case.path("vectors.npy")).unwrap();
    fs::write(case.path("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    case.refused("--vectors cut.npy", &["cut short", "[40, 64]"]);
    fs::write(case.path("text.npy"), "no array").unwrap();
    case.refused("--vectors text.npy", &["text.npy", "not a .npy file"]);
    case.npy(
        "vast.npy",
        "<f4",
        "False",
        "(18446744073709551615, 64)",
        &[],
    );
    case.refused("--vectors vast.npy", &["cut short"]);
    case.refused("--vectors missing.npy", &["missing.npy", "No such file"]);
    case.refused(
        "--vectors Cargo.toml",
        &["neither .npy, .jsonl nor .parquet"],
    );
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut values = vectors();
        values[17][3] = value;
        values[30][3] = value;
        case.floats("holes.npy", &[ROWS, DIMENSION], &values.concat());
        case.refused("--vectors holes.npy", &["row 17", word]);
    }
    let mut values = vectors();
    values[21] = vec![0.0; DIMENSION];
    case.floats("zero.npy", &[ROWS, DIMENSION], &values.concat());
    case.refused("--vectors zero.npy", &["row 21", "no direction"]);
}

#[test]
fn side_arrays_that_do_not_fit_are_refused() {
    let case = Case::new();
    case.npy("few.npy", "<i4", "False", "(3,)", &[0; 12]);
    for side in ["identities", "tracks", "sources", "times"] {
        let side = format!("--vectors vectors.npy --{side} few.npy");
        case.refused(&side, &["few.npy", "3 rows", "40 vectors"]);
    }
    let negative: Vec<u8> = (0..ROWS).flat_map(|_| (-1i64).to_le_bytes()).collect();
    case.npy("negative.npy", "<i8", "False", "(40,)", &negative);
    case.refused(
        "--vectors vectors.npy --identities negative.npy",
        &["row 0: -1"],
    );
    case.refused(
        "--vectors vectors.npy --identities vectors.npy",
        &["[40, 64]"],
    );
    write_others(&case);
    case.refused("--vectors features.jsonl --tracks few.npy", &["3 rows"]);
    case.npy("many.npy", "<i4", "False", "(50,)", &[0; 200]);
    case.refused(
        "--vectors features.jsonl --tracks many.npy",
        &["50 rows", "40 vectors"],
    );
}

#[test]
fn lines_that_are_no_faces_are_refused() {
    let case = Case::new();
    let cases = [
        ("{\"embedding\": [1, 2]}\n{\"embedding\": [1", "line 2"),
        (
            "{\"embedding\": [1, 2]}\n{\"embedding\": [1]}",
            "row 1: 1 values",
        ),
        ("{\"frame\": 3}", "\"embedding\""),
        ("{\"embeddings\": {\"other\": [1, 2]}}", "fake"),
        ("{\"embedding\": [0, 0]}", "no direction"),
        ("{\"embedding\": []}", "empty"),
        (
            "{\"embedding\": [1, 2], \"identity\": 1}\n{\"embedding\": [1, 2]}",
            "row 1",
        ),
        ("", "holds no vectors"),
    ];
    for (text, because) in cases {
        fs::write(case.path("features.jsonl"), text).unwrap();
        case.refused("--vectors features.jsonl", &[because]);
    }
    let of_models = "{\"embeddings\": {\"other\": [1, 2, 3], \"fake\": [1, 2]}}";
    fs::write(case.path("features.jsonl"), of_models).unwrap();
    assert_eq!(case.built("--vectors features.jsonl")["faces"], 1);
}

#[test]
fn parquet_that_does_not_fit_is_refused() {
    let case = Case::new();
    write_others(&case);
    let whole = fs::read(case.path("faces.parquet")).unwrap();
    fs::write(case.path("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    case.refused("--vectors cut.parquet", &["cut.parquet", "cut short"]);
    let mut values = vectors().concat();
    // Written as a null.
    values[33 * DIMENSION + 5] = f32::NAN;
    let all = vec![Some(1); ROWS];
    write_parquet(&case, "null.parquet", "optional", &values, &all);
    case.refused("--vectors null.parquet", &["row 33", "null"]);
    let mut some = all;
    some[12] = None;
    write_parquet(
        &case,
        "some.parquet",
        "optional",
        &vectors().concat(),
        &some,
    );
    case.refused("--vectors some.parquet", &["row 12", "given for some"]);
}

#[test]
fn a_folder_is_replaced_only_if_asked_and_only_if_it_is_an_index() {
    let case = Case::new();
    case.built(GIVEN);
    case.refused(GIVEN, &["--force"]);
    case.built(&format!("{GIVEN} --force"));
    // What fails leaves the old one.
    case.refused("--force --vectors missing.npy", &["missing.npy"]);
    assert_eq!(case.run("verify index").code, 0);
    let held = rollcall_index::Index::open(&case.path("index"), "fake", DIMENSION).unwrap();
    case.refused(&format!("{GIVEN} --force"), &["in use"]);
    assert_eq!(case.run("stats index").code, 2);
    drop(held);
    fs::remove_dir_all(case.path("index")).unwrap();
    fs::create_dir(case.path("index")).unwrap();
    fs::write(case.path("index/diary"), "dear").unwrap();
    case.refused(&format!("{GIVEN} --force"), &["not an index"]);
    assert_eq!(names(&case.path("index")), ["diary"]);
}

#[test]
fn what_is_damaged_is_not_sound() {
    let case = Case::new();
    case.built(GIVEN);
    let other = case.run("verify index --model other");
    assert_eq!(other.code, 2);
    assert!(other.errors.contains("made for fake"), "{}", other.errors);
    for name in ["segment-0000000000000001", "manifest"] {
        let path = case.path("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        let verified = case.run("verify index");
        assert_eq!(verified.code, 1, "{}", verified.errors);
        assert!(verified.out.contains(name), "{}", verified.out);
    }
    assert_eq!(case.run("who index --vectors vectors.npy").code, 2);
    assert_eq!(case.run("verify nowhere").code, 2);
    assert_eq!(case.run("build --nonsense").code, 2);
}
