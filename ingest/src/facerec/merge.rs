//! One film out of its shards: facerec's own, which overlap, or ours, which begin at cuts.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
};

use super::{
    FacerecError, FacerecFolder, SceneChanges, Trajectory,
    features::read_features,
    files::{ShardFiles, Unfinished, read_json},
    read_trajectories, to_line,
    trajectories::iou,
};
use crate::extract::{SHARD_FILE, ShardInfo};
use crate::files::write_whole;

/// What facerec's `merge_shards.py` is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MergeOptions {
    /// Boxes that overlap by more than this (IoU) belong together.
    pub iou_threshold: f64,
    /// Frames at the beginning of a shard in which a trajectory may go on with one of the shard before.
    pub overlap: u64,
    /// A trajectory whose boxes all have a shorter side below this, in pixels, is left out.
    pub min_face_size: i64,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            iou_threshold: 0.5,
            overlap: 5,
            min_face_size: 50,
        }
    }
}

/// What was put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergedFilm {
    /// Shards.
    pub shards: u64,
    /// Cuts.
    pub cuts: u64,
    /// Trajectories that were kept.
    pub trajectories: u64,
    /// Those left out: too small, or without a picture.
    pub left_out: u64,
    /// Faces with an embedding.
    pub features: u64,
}

/// Writes `trajectories.jsonl`, `features.jsonl` and `scene_changes.json` of all shards in `folder`.
/// `clusters.json` and `predictions.json` of an earlier merge are removed: they would not fit.
///
/// Shards that say which part they are (ours) must be there once each, of one video, one model and the same
/// settings; others must follow each other by their names.
///
/// # Errors
/// [`FacerecError`]; then nothing is changed but files named `.unfinished`.
pub fn merge(folder: &FacerecFolder, options: &MergeOptions) -> Result<MergedFilm, FacerecError> {
    let shards = shards_of(folder)?;
    let (mut cuts, mut film) = (BTreeSet::new(), Vec::new());
    for shard in &shards {
        let changes: SceneChanges = read_json(&shard.scenes)?;
        cuts.extend(changes.frame_indices);
    }
    for shard in &shards {
        let found = read_trajectories(&shard.trajectories)?;
        join_shard(
            &mut film,
            chain(found, &cuts, options),
            shard.begin,
            (&cuts, options),
        );
    }
    film.sort_by_key(|trajectory: &Trajectory| trajectory.start);
    let before = film.len();
    film.retain(|trajectory| is_kept(trajectory, folder, options));
    let features = merge_features(folder, &shards)?;
    for name in ["clusters.json", "predictions.json"] {
        let path = folder.path(name);
        if path.exists() {
            fs::remove_file(&path).map_err(FacerecError::io(&path))?;
        }
    }
    write_trajectories(folder, &mut film)?;
    let scenes = SceneChanges {
        frame_indices: cuts.iter().copied().collect(),
        movie_id: Some(folder.movie()),
    };
    let path = folder.path("scene_changes.json");
    write_whole(&path, to_line(&scenes).as_bytes()).map_err(FacerecError::io(&path))?;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(MergedFilm {
        shards: count(shards.len()),
        cuts: count(cuts.len()),
        trajectories: count(film.len()),
        left_out: count(before - film.len()),
        features,
    })
}

/// The files of each shard, in order, none missing and none twice.
fn shards_of(folder: &FacerecFolder) -> Result<Vec<ShardFiles>, FacerecError> {
    let mut spans = folder.spans()?;
    let infos = folder.path("shards");
    if infos.is_dir() {
        let mut parts = Vec::new();
        for entry in fs::read_dir(&infos).map_err(FacerecError::io(&infos))? {
            let path = entry.map_err(FacerecError::io(&infos))?.path();
            if !path.is_dir() {
                continue;
            }
            parts.push((path.clone(), ShardInfo::read(&path.join(SHARD_FILE))?));
        }
        ShardInfo::check_all(&mut parts)?;
        let said: BTreeSet<_> = parts
            .iter()
            .map(|(_, info)| (info.begin, info.end))
            .collect();
        if let Some((begin, end)) = said.iter().find(|span| !spans.contains(span)) {
            return Err(missing(
                folder,
                format!("the files of frames {begin}-{end} are not there"),
            ));
        }
        // Of an earlier extraction into other numbers of shards there may be more.
        spans.retain(|span| said.contains(span));
    }
    check_spans(folder, &spans)?;
    let shards = spans.into_iter().map(|span| {
        let files = folder.files_of(span);
        let beside = [&files.features, &files.scenes];
        if let Some(path) = beside.into_iter().find(|path| !path.exists()) {
            return Err(missing(folder, format!("{} is not there", path.display())));
        }
        Ok(files)
    });
    shards.collect()
}

fn missing(folder: &FacerecFolder, why: String) -> FacerecError {
    FacerecError::Shards {
        code: "SHARD_MISSING",
        path: folder.root().to_owned(),
        why: why + "; extract that shard again",
    }
}

fn check_spans(folder: &FacerecFolder, spans: &[(u64, u64)]) -> Result<(), FacerecError> {
    let mut at = 0;
    for (begin, end) in spans {
        if *begin > at {
            return Err(missing(
                folder,
                format!("the shard of frames {at}-{begin} is not there"),
            ));
        }
        if *begin < at || end < begin {
            return Err(FacerecError::Shards {
                code: "SHARD_DOUBLED",
                path: folder.root().to_owned(),
                why: format!(
                    "frames {begin}-{end} lie in two shards, of extractions into different numbers; \
                     remove the files of one of them"
                ),
            });
        }
        at = *end;
    }
    if spans.is_empty() {
        return Err(missing(folder, "there is no shard".to_owned()));
    }
    Ok(())
}

/// Joins trajectories of one shard of which one begins right behind the other, in its place.
fn chain(found: Vec<Trajectory>, cuts: &BTreeSet<u64>, options: &MergeOptions) -> Vec<Trajectory> {
    let mut chained: Vec<Trajectory> = Vec::new();
    // Which of them end where, by the frame after.
    let mut ends: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut sorted = found;
    sorted.sort_by_key(|trajectory| trajectory.start);
    for next in sorted {
        let overlap = |earlier: &Trajectory| match (earlier.bbs.last(), next.bbs.first()) {
            (Some(last), Some(first)) if earlier.end() == next.start => iou(last, first),
            _ => 0.0,
        };
        let here = ends
            .get(&next.start)
            .filter(|_| !cuts.contains(&next.start));
        let best = here.and_then(|here| best_of(&chained, here, overlap, options.iou_threshold));
        let at = best.unwrap_or(chained.len());
        ends.entry(next.end()).or_default().push(at);
        match best {
            Some(at) => append(&mut chained[at], next),
            None => chained.push(next),
        }
    }
    chained
}

/// Adds the trajectories of the shard that begins at `begin` to those of the shards before.
fn join_shard(
    film: &mut Vec<Trajectory>,
    found: Vec<Trajectory>,
    begin: u64,
    (cuts, options): (&BTreeSet<u64>, &MergeOptions),
) {
    // What the shard before saw only after its end, this one has seen too.
    film.retain(|earlier| earlier.start < begin);
    let running: Vec<usize> = (0..film.len())
        .filter(|at| film[*at].end() > begin)
        .collect();
    for next in found {
        let early = begin > 0 && next.start < begin.saturating_add(options.overlap);
        let joins = early && !cuts.contains(&next.start);
        let overlap = |earlier: &Trajectory| match (earlier.box_at(next.start), next.bbs.first()) {
            (Some(there), Some(first)) => iou(there, first),
            _ => 0.0,
        };
        let best = joins.then(|| best_of(film, &running, overlap, options.iou_threshold));
        match best.flatten() {
            Some(at) => append(&mut film[at], next),
            None => film.push(next),
        }
    }
}

/// Which `of` all overlaps most, if by more than `least`; of equals the first of all.
fn best_of(
    all: &[Trajectory],
    of: &[usize],
    overlap: impl Fn(&Trajectory) -> f64,
    least: f64,
) -> Option<usize> {
    let mut best = (least, None);
    for at in of {
        let overlap = overlap(&all[*at]);
        let is_first = overlap == best.0 && best.1.is_some_and(|first| *at < first);
        if overlap > best.0 || is_first {
            best = (overlap, Some(*at));
        }
    }
    best.1
}

/// Lets `next` take over where it begins.
fn append(earlier: &mut Trajectory, next: Trajectory) {
    let keep = usize::try_from(next.start.saturating_sub(earlier.start)).unwrap_or(usize::MAX);
    earlier.bbs.truncate(keep);
    earlier.detected.truncate(keep);
    earlier.bbs.extend(next.bbs);
    earlier.detected.extend(next.detected);
    earlier.len = u64::try_from(earlier.bbs.len()).unwrap_or(u64::MAX);
}

/// Whether it is large enough somewhere, and has a picture.
fn is_kept(trajectory: &Trajectory, folder: &FacerecFolder, options: &MergeOptions) -> bool {
    let large = trajectory.bbs.iter().any(|b| {
        let (width, height) = (b[2].saturating_sub(b[0]), b[3].saturating_sub(b[1]));
        width.min(height) >= options.min_face_size
    });
    let mut boxes = (trajectory.start..).zip(&trajectory.bbs);
    large && boxes.any(|(frame, face)| folder.image(&folder.tag(frame, face)).exists())
}

/// All lines as they are, each face once.
fn merge_features(folder: &FacerecFolder, shards: &[ShardFiles]) -> Result<u64, FacerecError> {
    let path = folder.path("features.jsonl");
    let mut file = Unfinished::create(&path)?;
    let (mut seen, mut dimension, mut lines) = (HashSet::new(), None, Vec::new());
    for (at, shard) in shards.iter().enumerate() {
        let last = at + 1 == shards.len();
        let mut found: Option<(usize, usize)> = None;
        read_features(&shard.features, |text, line| {
            let values = line.vector().len();
            if *dimension.get_or_insert(values) != values {
                found = dimension.map(|expected| (expected, values));
                return Err("embeddings of another model".to_owned());
            }
            if seen.insert(line.tag.clone()) {
                lines.push((line.frame, text.to_owned()));
            }
            Ok(())
        })
        .map_err(|why| match found {
            Some((expected, values)) => FacerecError::OtherModel {
                path: shard.features.clone(),
                why: format!("{values} values an embedding, and {expected} in the shards before"),
            },
            None => why,
        })?;
        // Faces that a shard saw after its end come before those of the next.
        lines.sort_by_key(|(frame, _)| *frame);
        let end = if last { u64::MAX } else { shard.end };
        let count = lines.partition_point(|(frame, _)| *frame < end);
        for (_, text) in lines.drain(..count) {
            file.line(&text)?;
        }
    }
    file.complete()?;
    Ok(u64::try_from(seen.len()).unwrap_or(u64::MAX))
}

fn write_trajectories(folder: &FacerecFolder, film: &mut [Trajectory]) -> Result<(), FacerecError> {
    let path = folder.path("trajectories.jsonl");
    let mut file = Unfinished::create(&path)?;
    for (index, trajectory) in (0..).zip(film) {
        trajectory.index = Some(index);
        trajectory.movie_id = Some(folder.movie());
        file.line(&to_line(trajectory))?;
    }
    file.complete()
}

#[cfg(test)]
mod tests;
