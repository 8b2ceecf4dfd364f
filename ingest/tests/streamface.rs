//! The commands `capture` and `faces` over a composed clip, with the real models.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![cfg(all(feature = "media", feature = "worker"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod clips;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rollcall_ingest::{
    Picture,
    photo::{self, PhotoLimits},
};
use serde_json::Value;

fn assets() -> PathBuf {
    std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    )
}

/// Five seconds of 640x480, a key frame each: grey; a portrait; the same, darker; the same,
/// blurred; another portrait.
fn compose(clip: &Path) -> PathBuf {
    let photo = |name: &str| {
        let path = assets().join("fixtures").join(name);
        assert!(path.exists(), "run make setup");
        format!("-loop 1 -t 1 -r 10 -i {}", path.display())
    };
    let fit = "scale=640:480:force_original_aspect_ratio=decrease,pad=640:480:-1:-1,setsar=1,format=yuv420p";
    let graph = format!(
        "[0:v]format=yuv420p,setsar=1[grey];[1:v]{fit},split=3[one][a][b];[a]lutyuv=y=val*0.72[dark];\
         [b]gblur=sigma=3[blurred];[2:v]{fit}[two];\
         [grey][one][dark][blurred][two]concat=n=5:v=1:a=0"
    );
    let inputs = format!(
        "-f lavfi -i color=gray:s=640x480:d=1:r=10 {} {}",
        photo("obama.jpg"),
        photo("biden.jpg")
    );
    let coding = "-c:v libx264 -g 10 -bf 0 -sc_threshold 0";
    clips::ffmpeg(&format!("{inputs} -filter_complex {graph} {coding}"), clip)
}

/// Runs the program; gives what it said.
fn ingest(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .args(arguments)
        .env("ROLLCALL_ASSETS", assets())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    told
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The names of the pictures in a folder, sorted.
fn pictures(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".png"))
        .collect();
    names.sort();
    names
}

fn picture(path: &Path) -> Picture {
    photo::decode(&fs::read(path).unwrap(), &PhotoLimits::default()).unwrap()
}

/// Both tables as Python reads them: `[detections, matches]`.
fn tables(channel: &Path) -> Value {
    let script = "\
import ast, csv, datetime, json, sys
rows = list(csv.DictReader(open(sys.argv[1] + '/metadata/detections.csv', newline='')))
for row in rows:
    row.update({k: ast.literal_eval(v) for k, v in row.items() if k != 'name'})
    parts = row['name'].split('_')
    assert len(parts) == 5, parts
    row['time'] = datetime.datetime.strptime(parts[2], '%Y%m%d%H%M%S%f').isoformat()
pairs = csv.DictReader(open(sys.argv[1] + '/metadata/matches.csv', newline=''))
print(json.dumps([rows, [[pair['Face 1'], pair['Face 2']] for pair in pairs]]))";
    let output = Command::new("python3")
        .args(["-B", "-c", script])
        .arg(channel)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// 1 - sum of squared differences over the root of the product of sums of squares, of 640x480
/// pictures stretched to 1280x720.
fn similarity(a: &Picture, b: &Picture) -> f64 {
    let grey = |p: &Picture, x: u32, y: u32| {
        let [r, g, b] = p.view().pixel(x / 2, y * 480 / 720).unwrap().map(f64::from);
        (0.299 * r + 0.587 * g + 0.114 * b).round()
    };
    let (mut difference, mut first, mut second) = (0.0, 0.0, 0.0);
    for (x, y) in (0..720).flat_map(|y| (0..1280).map(move |x| (x, y))) {
        let (u, v) = (grey(a, x, y), grey(b, x, y));
        difference += (u - v) * (u - v);
        first += u * u;
        second += v * v;
    }
    1.0 - difference / f64::sqrt(first * second)
}

fn overlap(a: &Value, b: &Value) -> f64 {
    let box_of = |v: &Value| -> [f64; 4] { std::array::from_fn(|i| v["box"][i].as_f64().unwrap()) };
    let ([ax, ay, aw, ah], [bx, by, bw, bh]) = (box_of(a), box_of(b));
    let side = |a: f64, aw: f64, b: f64, bw: f64| ((a + aw).min(b + bw) - a.max(b) + 1.0).max(0.0);
    let both = side(ax, aw, bx, bw) * side(ay, ah, by, bh);
    both / ((aw + 1.0) * (ah + 1.0) + (bw + 1.0) * (bh + 1.0) - both)
}

/// What `matches.csv` should hold, from the frames and the table of detections alone.
fn expected_matches(channel: &Path, detections: &[Value]) -> Vec<[String; 2]> {
    let mut by_frame: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for frame in pictures(&channel.join("frames")) {
        by_frame.insert(frame.trim_end_matches(".png").to_owned(), Vec::new());
    }
    let name = |face: &Value| face["name"].as_str().unwrap().to_owned();
    for face in detections {
        let frame = name(face).split("_face_").next().unwrap().to_owned();
        by_frame.get_mut(&frame).unwrap().push(face);
    }
    let frames: Vec<_> = by_frame.into_iter().collect();
    let load = |stem: &str| picture(&channel.join("frames").join(format!("{stem}.png")));
    let mut pairs = Vec::new();
    for (i, (stem, now)) in frames.iter().enumerate() {
        let found = (1..=2.min(i))
            .map(|back| &frames[i - back])
            .find(|(then, faces)| {
                let total: f64 = now.iter().zip(faces).map(|(a, b)| overlap(a, b)).sum();
                now.len() == faces.len()
                    && total / now.len() as f64 > 0.75
                    && similarity(&load(stem), &load(then)) > 0.75
            });
        if let Some((_, faces)) = found.filter(|_| !now.is_empty()) {
            pairs.extend(now.iter().zip(faces).map(|(a, b)| [name(a), name(b)]));
        }
    }
    pairs
}

#[test]
fn a_channel_is_captured_as_streamface_would() {
    let root = tempfile::tempdir().unwrap();
    let clip = compose(&root.path().join("clip.mp4"));
    let channel = root.path().join("channel");
    let (clip, out) = (clip.to_str().unwrap(), channel.to_str().unwrap());
    let start = ["--start", "2026-01-31T12:00:00Z"];
    // The default is for scores of streamface's own detector.
    let score = ["--score-min", "0.5"];
    let capture = ["capture", clip, "--name", "demo", "--out", out, "--faces"];
    let told = ingest(&[&capture[..], &start, &score].concat());
    assert!(
        told.contains("5 key frames, 3 kept, BLURRED 1, EMPTY 1"),
        "{told}"
    );

    let frames = pictures(&channel.join("frames"));
    let named = |second: u32| format!("demo_frame_202601311200{second:02}000000.png");
    assert_eq!(frames, [named(1), named(2), named(4)], "{told}");
    let manifest = text(&channel.join("frames/manifest.jsonl"));
    let images: Vec<Value> = manifest
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["image"].clone())
        .collect();
    assert_eq!(images, frames);
    let log = fs::read_dir(channel.join("logs")).unwrap().next().unwrap();
    let log = text(&log.unwrap().path());
    assert!(
        log.lines().all(|line| line.split('\t').count() == 3),
        "{log}"
    );

    let found = tables(&channel);
    let detections = found[0].as_array().unwrap();
    let names: Vec<&str> = detections
        .iter()
        .map(|d| d["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "one face a frame: {told}");
    assert_eq!(detections[0]["time"], "2026-01-31T12:00:01");
    for folder in ["faces", "aligned_faces"] {
        assert_eq!(pictures(&channel.join(folder)), names);
    }
    for face in detections {
        let shape = |p: &Picture| serde_json::json!([p.height(), p.width(), 3]);
        let name = face["name"].as_str().unwrap();
        let loose = picture(&channel.join("faces").join(name));
        let aligned = picture(&channel.join("aligned_faces").join(name));
        assert_eq!(face["crop"], serde_json::json!([128, 128, 3]));
        assert_eq!(
            (&face["face"], &face["crop"]),
            (&shape(&loose), &shape(&aligned))
        );
        assert_eq!(face["image"], serde_json::json!([480, 640, 3]));
        assert!(
            face["left_eye"][0].as_i64() < face["right_eye"][0].as_i64(),
            "{face}"
        );
    }
    let matches: Vec<[String; 2]> = serde_json::from_value(found[1].clone()).unwrap();
    assert_eq!(matches, expected_matches(&channel, detections));
    assert_eq!(matches, [[names[1].to_owned(), names[0].to_owned()]]);

    // The frames alone give the same tables.
    let kept = ["detections", "matches"].map(|t| channel.join(format!("metadata/{t}.csv")));
    let before = kept.each_ref().map(|path| text(path));
    let told = ingest(&[&["faces", out, "--restart"][..], &score].concat());
    assert!(told.contains("3 frames searched"), "{told}");
    assert_eq!(kept.each_ref().map(|path| text(path)), before);
    assert!(ingest(&["faces", out]).contains("0 frames wait"));

    // A late frame is searched and a broken one passed over.
    let late = channel.join("frames/demo_frame_20260131110000000000.png");
    fs::copy(channel.join("frames").join(named(4)), late).unwrap();
    let broken = channel.join("frames/demo_frame_20260131130000000000.png");
    fs::write(broken, "no picture").unwrap();
    let told = ingest(&[&["faces", out][..], &score].concat());
    assert!(
        told.contains("1 frames searched (1 unreadable), 1 faces, 1 kept"),
        "{told}"
    );
    assert!(told.contains("\tERR\t"), "{told}");
    let lines = text(&channel.join("frames/processed.txt"));
    assert_eq!(
        lines.lines().last(),
        Some("demo_frame_20260131130000000000.png")
    );
    assert_eq!(tables(&channel)[0].as_array().unwrap().len(), 4);
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("channel");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let out = out.to_str().unwrap();
    let told = run(&["capture", "x.mp4", "--name", "sky_news", "--out", out]);
    assert!(told.contains("cannot name a channel"), "{told}");
    let told = run(&["capture", "gone.mp4", "--name", "sky", "--out", out]);
    assert!(
        told.contains("gone.mp4") && told.contains("does not exist"),
        "{told}"
    );
    assert!(
        !Path::new(out).exists(),
        "nothing is made before the source is known"
    );
    let told = run(&["faces", out]);
    assert!(told.contains("no folder frames"), "{told}");
}
