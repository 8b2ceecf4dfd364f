//! `metadata/detections.csv`: where each face was in its frame.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use anyhow::{Context, ensure};
use rollcall_ingest::{
    extracted::{Extracted, Told},
    photo::{PhotoLimits, decode},
    streamface::{DETECTION_COLUMNS, stem},
};
use rollcall_log::record::Exemplar;

/// Width and height of an aligned crop.
const ALIGNED: u32 = 112;

/// The longest side of a frame.
const SIDE_MAX: u32 = 65_535;

/// Width and height of frames, as in `1920x1080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSize {
    width: u32,
    height: u32,
}

impl std::str::FromStr for FrameSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']);
        let side = |text: &str| text.parse::<u32>().ok();
        let size = sides.and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let inside = |side: u32| (1..=SIDE_MAX).contains(&side);
        match size {
            Some((width, height)) if inside(width) && inside(height) => Ok(Self { width, height }),
            _ => Err("write width and height in pixels, as in 1920x1080".to_owned()),
        }
    }
}

/// The table of an extraction's faces; `files` are their files, in order, in `pictures`. An extraction does not tell how large
/// frames are: that is `said`, or seen in the video; if neither, there is no table.
pub(super) fn of_extraction(
    from: &Path,
    files: &[String],
    pictures: &Path,
    said: Option<FrameSize>,
) -> anyhow::Result<Option<String>> {
    let one = Extracted::open(from)?;
    let Some(size) = said.or_else(|| size_of_video(&one.uri)) else {
        return Ok(None);
    };
    let (mut text, mut files) = (format!("{DETECTION_COLUMNS}\n"), files.iter());
    let log = one.log()?;
    log.tell::<anyhow::Error>(|told| {
        if let Told::Track(track) = told {
            for exemplar in track.exemplars.values() {
                let file = files.next().context("there are more faces than before")?;
                let row = row(file, exemplar, pictures, size);
                let number = exemplar.number;
                text += &row.with_context(|| {
                    format!(
                        "{}: track {}, exemplar {number}",
                        from.display(),
                        track.last.track_id
                    )
                })?;
            }
        }
        Ok(true)
    })?;
    ensure!(files.next().is_none(), "there are fewer faces than before");
    Ok(Some(text))
}

/// As its first frame is displayed; `None` if it is no file that is there, or cannot be read.
#[cfg(feature = "worker")]
fn size_of_video(uri: &str) -> Option<FrameSize> {
    use rollcall_ingest::{
        capture::{FileSource, Patience, system_clock},
        source::{CaptureStatus, FrameSource as _, Next, StopToken},
    };
    if !Path::new(uri).is_file() {
        return None;
    }
    let location = crate::run_extract::locate(uri).ok()?;
    let (wall, stop) = (system_clock()(), StopToken::default());
    let mut source = FileSource::new(location, Patience::default(), false, None, wall, stop);
    let Ok(Next::Frame(frame)) = source.next(&CaptureStatus::default()) else {
        return None;
    };
    let picture = frame.image.to_picture(SIDE_MAX).ok()?;
    Some(FrameSize {
        width: picture.width(),
        height: picture.height(),
    })
}

/// Nothing here opens videos.
#[cfg(not(feature = "worker"))]
fn size_of_video(_uri: &str) -> Option<FrameSize> {
    None
}

/// Whole pixels, fractions dropped, as streamface has them.
fn row(
    file: &str,
    exemplar: &Exemplar,
    pictures: &Path,
    size: FrameSize,
) -> anyhow::Result<String> {
    let face = exemplar.face.as_ref().context("has no box")?;
    let pixel = |fraction: f32, side: u32| -> anyhow::Result<i64> {
        ensure!(
            (0.0..=1.0).contains(&fraction),
            "a box or point is outside the picture"
        );
        #[expect(clippy::cast_possible_truncation, reason = "0 to 65,535")]
        Ok((f64::from(fraction) * f64::from(side)) as i64)
    };
    let (x, y) = (pixel(face.x, size.width)?, pixel(face.y, size.height)?);
    let right = pixel((face.x + face.width).min(1.0), size.width)?;
    let bottom = pixel((face.y + face.height).min(1.0), size.height)?;
    let (width, height) = ((right - x).max(1), (bottom - y).max(1));
    let mut row = format!(
        "{file},{},\"[{x}, {y}, {width}, {height}]\"",
        face.confidence
    );
    ensure!(exemplar.landmarks.len() == 10, "has no five landmarks");
    for point in exemplar.landmarks.chunks_exact(2) {
        let (x, y) = (pixel(point[0], size.width)?, pixel(point[1], size.height)?);
        row += &format!(",\"({x}, {y})\"");
    }
    let (height, width) = shape(&pictures.join(file));
    row += &format!(
        ",\"({}, {}, 3)\",\"({height}, {width}, 3)\",\"({ALIGNED}, {ALIGNED}, 3)\"\n",
        size.height, size.width
    );
    Ok(row)
}

/// Height and width of a picture; 0 if there is none that can be read.
fn shape(path: &Path) -> (u32, u32) {
    let picture = fs::read(path).ok();
    let picture = picture.and_then(|bytes| decode(&bytes, &PhotoLimits::default()).ok());
    picture.map_or((0, 0), |picture| (picture.height(), picture.width()))
}

/// A channel's own lines about these faces, with the files that they are now; `None` if it has no such table.
pub(super) fn of_channel(
    from: &Path,
    names: &[&str],
    files: &[String],
) -> anyhow::Result<Option<String>> {
    let path = from.join("metadata/detections.csv");
    if !path.is_file() {
        return Ok(None);
    }
    let read = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let files: HashMap<&str, &String> = names.iter().copied().zip(files).collect();
    let mut lines = read.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or(DETECTION_COLUMNS));
    let mut seen = HashSet::new();
    for line in lines {
        let (name, rest) = line.split_once(',').unwrap_or((line, ""));
        if let Some(file) = files.get(stem(name))
            && seen.insert(name)
        {
            text += &format!("{file},{rest}\n");
        }
    }
    Ok(Some(text))
}
