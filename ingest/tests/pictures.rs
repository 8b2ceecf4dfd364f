//! Decoded rightly: one photo in many dresses (matrices, ranges, bit depths, fields, turns, HDR)
//! looks the same to the analysis.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod clips;

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use clips::{Seen, assets, difference, ffmpeg, read};
use rollcall_ingest::{Assets, DetectSize, ModelOptions, Models, Picture, Rect, photo};

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let assets = Assets::locate(Some(&assets())).expect("run make setup");
    Models::open(&assets, &ModelOptions::default()).expect("the models open; run make setup")
});

fn photo_path() -> PathBuf {
    assets().join("fixtures/astronaut.png")
}

/// The photo as it is: 512x512.
fn plain() -> Picture {
    let bytes = std::fs::read(photo_path()).expect("the fixture is there; run make setup");
    photo::decode(&bytes, &photo::PhotoLimits::default()).unwrap()
}

/// The photo as video: `filters` on it, `encoding` after them.
fn dressed(filters: &str, encoding: &str, output: &Path) -> Seen {
    let arguments = format!(
        "-i {} -vf {filters} -frames:v 1 {encoding}",
        photo_path().display()
    );
    read(&ffmpeg(&arguments, output))
}

/// Where the first face is, in fractions of the picture.
fn face(picture: &Picture) -> Rect {
    let mut detector = MODELS.detector().unwrap();
    let faces = detector
        .detect(picture.view(), DetectSize::default())
        .unwrap();
    let best = faces.first().expect("the astronaut's face is found");
    let size = [picture.width(), picture.height()].map(|side| side.to_string().parse::<f32>());
    let [width, height] = size.map(|side| 1.0 / side.unwrap());
    best.rect.scaled(width, height)
}

fn same_face(name: &str, picture: &Picture) {
    let (expected, found) = (face(&plain()), face(picture));
    assert!(
        found.iou(&expected) > 0.8,
        "{name}: {found:?}, {expected:?}"
    );
}

#[test]
fn matrix_range_and_depth_are_those_that_the_video_states() {
    let folder = tempfile::tempdir().unwrap();
    let ffv1 = "-c:v ffv1";
    let h264 = "-c:v libx264 -qp 0";
    // Matrix, its name as a tag, range, format, codec, mean difference allowed.
    let cases = [
        ("bt601", "smpte170m", "tv", "yuv444p", ffv1, 1.0),
        ("bt601", "smpte170m", "pc", "yuv444p", h264, 1.0),
        ("bt709", "bt709", "tv", "yuv444p", ffv1, 1.0),
        ("bt709", "bt709", "pc", "yuv444p", ffv1, 1.0),
        ("bt709", "bt709", "tv", "yuv420p", h264, 3.0),
        ("bt709", "bt709", "tv", "yuv422p10", ffv1, 2.0),
        ("bt709", "bt709", "pc", "yuv420p10", h264, 3.0),
        ("bt2020", "bt2020nc", "tv", "yuv420p10", ffv1, 3.0),
        ("smpte240m", "smpte240m", "tv", "yuv444p", ffv1, 1.0),
    ];
    for (i, (matrix, tag, range, format, codec, allowed)) in cases.into_iter().enumerate() {
        let name = format!("{matrix} {range} {format} {codec}");
        let seen = dressed(
            &format!("scale=out_color_matrix={matrix}:out_range={range},format={format}"),
            &format!("-colorspace {tag} -color_range {range} {codec}"),
            &folder.path().join(format!("{i}.mkv")),
        );
        let off = difference(&seen.pictures[0], &plain());
        assert!(off < allowed, "{name}: {off}");
    }
}

#[test]
fn what_states_nothing_is_taken_for_what_its_size_suggests() {
    let folder = tempfile::tempdir().unwrap();
    let check = |size: &str, matrix: &str| {
        let judged = folder.path().join("judged.rgb");
        let photo = photo_path();
        let scaled = format!("-i {} -vf scale={size}", photo.display());
        ffmpeg(&format!("{scaled} -f rawvideo -pix_fmt rgb24"), &judged);
        let (width, height) = size.split_once(':').unwrap();
        let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
        let judged = Picture::new(width, height, std::fs::read(judged).unwrap()).unwrap();
        let seen = dressed(
            &format!(
                "scale={size},setsar=1,scale=out_color_matrix={matrix}:out_range=tv,format=yuv444p"
            ),
            "-colorspace 2 -c:v ffv1",
            &folder.path().join("clip.mkv"),
        );
        let off = difference(&seen.pictures[0], &judged);
        assert!(off < 1.0, "{size} {matrix}: {off}");
    };
    check("640:480", "bt601");
    check("1280:720", "bt709");
}

#[test]
fn hdr_becomes_an_ordinary_picture() {
    let folder = tempfile::tempdir().unwrap();
    for (transfer, allowed) in [("smpte2084", 10.0), ("arib-std-b67", 14.0)] {
        let seen = dressed(
            &format!(
                "format=gbrp,zscale=tin=iec61966-2-1:pin=709:t={transfer}:p=2020:m=2020_ncl:\
                 r=limited:npl=203,format=yuv420p10"
            ),
            &format!(
                "-color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc \
                 -color_range tv -c:v ffv1"
            ),
            &folder.path().join(format!("{transfer}.mkv")),
        );
        let off = difference(&seen.pictures[0], &plain());
        assert!(off < allowed, "{transfer}: {off}");
        same_face(transfer, &seen.pictures[0]);
    }
}

#[test]
fn of_interlaced_pictures_the_first_field_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    // A pan of eight pixels from field to field: 400 pixels a second.
    let pan = format!(
        "-loop 1 -framerate 50 -t 0.2 -i {} -vf crop=400:512:8*n:0,format=yuv420p",
        photo_path().display()
    );
    let progressive = read(&ffmpeg(
        &format!("{pan} -c:v libx264 -qp 0"),
        &folder.path().join("plain.mp4"),
    ));
    let interlaced = [
        ("top", "-c:v libx264 -qp 0 -x264-params tff=1", "top.mp4"),
        ("bottom", "-c:v mpeg2video -q:v 1 -top 0", "bottom.ts"),
        ("top", "", "none.mkv"),
    ];
    for (first, codec, name) in interlaced {
        // The last says that it is progressive, though it is not.
        let codec = if codec.is_empty() {
            "-c:v ffv1 -field_order progressive".to_owned()
        } else {
            format!("-flags +ildct+ilme {codec}")
        };
        let seen = read(&ffmpeg(
            &format!("{pan},tinterlace=interleave_{first} {codec}"),
            &folder.path().join(name),
        ));
        assert_eq!(seen.frames(), 5, "{name}");
        let off = |i: usize| difference(&seen.pictures[i], &progressive.pictures[2 * i]);
        let worst = (0..5).map(off).fold(0.0, f64::max);
        if name == "none.mkv" {
            assert!(worst > 8.0, "the pan is fast enough to see combs: {worst}");
        } else {
            assert!(worst < 5.0, "{name}: {worst}");
        }
    }
}

#[test]
fn turned_and_stretched_pictures_show_the_face_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let stretched = dressed(
        "scale=256:512,setsar=2",
        "-c:v libx264 -qp 10 -pix_fmt yuv420p",
        &folder.path().join("stretched.mp4"),
    );
    same_face("stretched", &stretched.pictures[0]);
    for (turn, undone) in [
        (90, "transpose=1"),
        (180, "hflip,vflip"),
        (270, "transpose=2"),
    ] {
        // Stored as turned the other way, with a note that says so.
        let stored = folder.path().join(format!("stored-{turn}.mp4"));
        let photo = photo_path();
        ffmpeg(
            &format!(
                "-i {} -vf {undone} -frames:v 1 -c:v libx264 -qp 10 -pix_fmt yuv420p",
                photo.display()
            ),
            &stored,
        );
        let noted = folder.path().join(format!("noted-{turn}.mp4"));
        let seen = read(&ffmpeg(
            &format!(
                "-i {} -c copy -metadata:s:v:0 rotate={turn}",
                stored.display()
            ),
            &noted,
        ));
        same_face(&format!("turned by {turn}"), &seen.pictures[0]);
    }
}
