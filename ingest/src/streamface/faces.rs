use std::{
    collections::{BTreeMap, HashSet},
    fs,
};

use super::{
    ChannelError, ChannelFolder, FramesDone, MatchRules, Matcher, PixelFace, Seen, io_error,
    table::Table, write_png,
};
use crate::{
    detect::{DetectSize, Detector},
    gate::streamface::{FaceThresholds, compared},
    geometry::DetectedFace,
    photo::{self, PhotoLimits},
    picture::PictureRef,
};

/// The columns of `metadata/detections.csv`.
pub const DETECTION_COLUMNS: &str =
    "name,confidence,box,left_eye,right_eye,nose,mouth_left,mouth_right,image,face,crop";
const MATCHES: &str = "Face 1,Face 2";
/// Largest file of a frame that is read, in bytes.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// How faces are found and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaceRules {
    /// Which faces are kept.
    pub thresholds: FaceThresholds,
    /// When faces of two frames are paired.
    pub matches: MatchRules,
    /// How large the detector sees a frame.
    pub detect_size: DetectSize,
}

/// What became of the faces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaceCounts {
    /// Frames searched.
    pub frames: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
    /// Faces found.
    pub found: u64,
    /// Faces written.
    pub kept: u64,
    /// Faces refused, by reason: LOW_CONFIDENCE, FACE_TOO_SMALL, BLURRED.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Pairs of faces of one person.
    pub matches: u64,
}

/// Finds the faces in a channel's frames and writes crops and tables.
pub struct FaceExtractor {
    folder: ChannelFolder,
    detector: Box<dyn Detector>,
    rules: FaceRules,
    matcher: Matcher,
    detections: Table,
    matches: Table,
    done: FramesDone,
    /// Rows of frames that a run before this one did not finish.
    written: HashSet<String>,
    last: String,
    counts: FaceCounts,
}

impl FaceExtractor {
    /// Goes on in `folder` where an earlier run stopped; with `restart` both tables and the list of
    /// frames done are begun anew.
    ///
    /// # Errors
    /// [`ChannelError`] when the folder or a table in it cannot be used.
    pub fn open(
        folder: ChannelFolder,
        detector: Box<dyn Detector>,
        rules: FaceRules,
        restart: bool,
    ) -> Result<Self, ChannelError> {
        let tables = ["detections", "matches"].map(|t| folder.part(&format!("metadata/{t}.csv")));
        if restart {
            FramesDone::forget(&folder)?;
            for table in tables.iter().filter(|table| table.exists()) {
                fs::remove_file(table).map_err(io_error(table))?;
            }
        }
        let done = FramesDone::open(&folder, &frame_names(&folder)?)?;
        let detections = Table::open(&tables[0], DETECTION_COLUMNS)?;
        let stem = |face: &String| face.split("_face_").next().unwrap_or_default().to_owned();
        let unfinished = |face: &String| {
            let stem = stem(face);
            !["png", "jpg"]
                .iter()
                .any(|ext| done.contains(&format!("{stem}.{ext}")))
        };
        let written = detections.names()?.into_iter().filter(unfinished).collect();
        Ok(Self {
            matches: Table::open(&tables[1], MATCHES)?,
            folder,
            detector,
            rules,
            matcher: Matcher::new(rules.matches),
            detections,
            done,
            written,
            last: String::new(),
            counts: FaceCounts::default(),
        })
    }

    /// What became of the faces so far.
    #[must_use]
    pub fn counts(&self) -> &FaceCounts {
        &self.counts
    }

    /// Frames in the folder that were not searched yet, in order.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn waiting(&self) -> Result<Vec<String>, ChannelError> {
        let mut names = frame_names(&self.folder)?;
        names.retain(|name| !self.done.contains(name));
        Ok(names)
    }

    /// Searches the frame in the file `name` of the folder. A file that is no picture is counted,
    /// passed over and returned as what is wrong with it.
    ///
    /// # Errors
    /// [`ChannelError`] when something cannot be written or the detector fails.
    pub fn search_file(&mut self, name: &str) -> Result<Option<String>, ChannelError> {
        let path = self.folder.part("frames").join(name);
        let limits = PhotoLimits {
            bytes_max: FRAME_BYTES_MAX,
            ..PhotoLimits::default()
        };
        let picture = fs::read(&path)
            .map_err(|why| why.to_string())
            .and_then(|bytes| photo::decode(&bytes, &limits).map_err(|why| why.to_string()));
        match picture {
            Ok(picture) => {
                self.search(name, picture.view())?;
                Ok(None)
            }
            Err(why) => {
                self.counts.unreadable += 1;
                self.done.add(name)?;
                Ok(Some(format!("{}: {why}", path.display())))
            }
        }
    }

    /// Searches `frame`, which lies in the file `name` of the folder.
    ///
    /// # Errors
    /// [`ChannelError`] when something cannot be written or the detector fails.
    pub fn search(&mut self, name: &str, frame: PictureRef<'_>) -> Result<(), ChannelError> {
        if name < self.last.as_str() {
            // A late frame follows none of those before it.
            self.matcher.restart();
        }
        name.clone_into(&mut self.last);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (mut rows, mut faces) = (Vec::new(), Vec::new());
        for face in self.detector.detect(frame, self.rules.detect_size)? {
            self.counts.found += 1;
            if let Some(reason) = self.rules.thresholds.judge(frame, &face) {
                *self.counts.rejected.entry(reason.code()).or_default() += 1;
                continue;
            }
            let file = format!("{stem}_face_{}.png", faces.len());
            let pixels = PixelFace::of(&face, frame);
            if let Some(row) = self.write_face(&file, &face, &pixels, frame)? {
                faces.push((file, pixels));
                rows.push(row);
            }
        }
        rows.retain(|row| !self.written.contains(&row[0]));
        let compared = compared(frame);
        let pairs = self.matcher.push(Seen { compared, faces });
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.counts.frames += 1;
        self.counts.kept += count(rows.len());
        self.counts.matches += count(pairs.len());
        self.detections.append(&rows)?;
        let pairs: Vec<Vec<String>> = pairs.into_iter().map(|(a, b)| vec![a, b]).collect();
        self.matches.append(&pairs)?;
        self.done.add(name)
    }

    /// Writes both crops of a face; gives its row. `None` if its box is empty.
    fn write_face(
        &self,
        file: &str,
        face: &DetectedFace,
        pixels: &PixelFace,
        frame: PictureRef<'_>,
    ) -> Result<Option<Vec<String>>, ChannelError> {
        let Some((loose, aligned)) = pixels.loose(frame).zip(pixels.aligned(frame)) else {
            return Ok(None);
        };
        write_png(&self.folder.part("faces").join(file), loose.view())?;
        write_png(
            &self.folder.part("aligned_faces").join(file),
            aligned.view(),
        )?;
        let PixelFace {
            x,
            y,
            width,
            height,
            landmarks,
        } = pixels;
        let shape = |p: PictureRef<'_>| format!("({}, {}, 3)", p.height(), p.width());
        // `Debug` writes a float as Python does, with a point in any case.
        let mut row = vec![
            file.to_owned(),
            format!("{:?}", face.score),
            format!("[{x}, {y}, {width}, {height}]"),
        ];
        row.extend(landmarks.iter().map(|(x, y)| format!("({x}, {y})")));
        row.extend([frame, loose.view(), aligned.view()].map(shape));
        Ok(Some(row))
    }
}

/// The names of the frames in a folder, sorted.
fn frame_names(folder: &ChannelFolder) -> Result<Vec<String>, ChannelError> {
    let frames = folder.part("frames");
    let mut names = Vec::new();
    for entry in fs::read_dir(&frames).map_err(io_error(&frames))? {
        let name = entry.map_err(io_error(&frames))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if [".png", ".jpg"].iter().any(|ext| name.ends_with(ext)) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
