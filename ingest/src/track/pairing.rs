//! Which face goes on with which track.
//!
//! By place first: the distance-IoU (Zheng et al., "Distance-IoU Loss", AAAI 2020) of where a track's
//! face should be and a face, which tells near from far where boxes no longer overlap, as they do at a
//! few detections a second. Where place leaves doubt, faces are embedded and looks count too; faces
//! that look like somebody else are kept out. What is left is paired by looks alone, the further away
//! the longer a track was lost.

use super::{TrackRules, assign, embed_all, single::Track};
use crate::{
    detect::InferError, embed::Embedder, exemplar::SeenFace, geometry::Rect, source::FrameStamp,
};

/// A face found for a track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) face: usize,
    /// Place alone did not say so clearly.
    pub(super) doubtful: bool,
}

/// The face of each track, if it has one.
pub(super) fn pair(
    tracks: &[Track],
    faces: &mut [SeenFace],
    now: FrameStamp,
    rules: &TrackRules,
    embedder: &mut dyn Embedder,
) -> Result<Vec<Option<Pair>>, InferError> {
    let places = Places::new(tracks, faces, now, rules);
    if rules.uses_appearance() {
        let doubted = (0..faces.len()).map(|face| places.is_doubted(face, tracks));
        let doubted: Vec<bool> = doubted.collect();
        let wanted = faces
            .iter_mut()
            .zip(doubted)
            .filter(|(_, doubted)| *doubted);
        embed_all(wanted.map(|(face, _)| face), embedder)?;
    }
    let by_place = assign(
        tracks.len(),
        faces.len(),
        places.unpaired(),
        |track, face| {
            let nearness = places.nearness(track, face)?;
            match looks(&tracks[track], &faces[face]) {
                Some(cosine) if cosine < rules.disagree_below => None,
                Some(cosine) if rules.uses_appearance() => {
                    Some(1.0 - nearness - rules.appearance_weight * (cosine - rules.disagree_below))
                }
                Some(_) | None => Some(1.0 - nearness),
            }
        },
    );
    let mut pairs: Vec<Option<Pair>> = Vec::with_capacity(tracks.len());
    for (track, face) in by_place.into_iter().enumerate() {
        pairs.push(face.map(|face| Pair {
            face,
            doubtful: places.overlap(track, face) < rules.overlap_sure,
        }));
    }
    if rules.uses_appearance() {
        pair_by_looks(tracks, faces, &mut pairs, now, rules, embedder)?;
    }
    Ok(pairs)
}

/// Pairs tracks and faces that are left over but look alike.
fn pair_by_looks(
    tracks: &[Track],
    faces: &mut [SeenFace],
    pairs: &mut [Option<Pair>],
    now: FrameStamp,
    rules: &TrackRules,
    embedder: &mut dyn Embedder,
) -> Result<(), InferError> {
    let free = |face: &usize| !pairs.iter().flatten().any(|pair| pair.face == *face);
    let lost: Vec<usize> = (0..tracks.len())
        .filter(|track| pairs[*track].is_none() && !tracks[*track].exemplars.is_empty())
        .collect();
    let reached = |face: &SeenFace| {
        lost.iter()
            .any(|t| within_reach(&tracks[*t], face, now, rules))
    };
    let candidates: Vec<usize> = (0..faces.len())
        .filter(|face| free(face) && faces[*face].good.is_some() && reached(&faces[*face]))
        .collect();
    let wanted = faces.iter_mut().enumerate();
    let wanted = wanted.filter(|(face, _)| candidates.contains(face));
    embed_all(wanted.map(|(_, face)| face), embedder)?;
    let found = assign(lost.len(), candidates.len(), 1.0, |row, column| {
        let (track, face) = (&tracks[lost[row]], &faces[candidates[column]]);
        let cosine = looks(track, face).filter(|cosine| *cosine >= rules.appearance_min)?;
        within_reach(track, face, now, rules).then_some((1.0 - cosine).max(0.0))
    });
    for (row, column) in found.into_iter().enumerate() {
        pairs[lost[row]] = column.map(|column| Pair {
            face: candidates[column],
            doubtful: true,
        });
    }
    Ok(())
}

/// Whether `face` is near enough to be that of a track last seen some time ago.
pub(super) fn within_reach(
    track: &Track,
    face: &SeenFace,
    now: FrameStamp,
    rules: &TrackRules,
) -> bool {
    let rect = track.motion.rect();
    let seconds = now.time.since(track.last().time).as_secs_f32();
    let reach = rules.appearance_reach * (1.0 + 2.0 * seconds);
    let size = rect.width.max(rect.height);
    let near = |rect: &Rect| rect.center().distance(face.face.rect.center()) <= reach * size;
    near(&rect) || near(&track.last_rect())
}

/// How alike a face and the exemplars of a track are; `None` where one of them is not known.
pub(super) fn looks(track: &Track, face: &SeenFace) -> Option<f32> {
    track.exemplars.similarity(face.embedding()?)
}

/// How tracks and faces lie to each other.
struct Places<'a> {
    rules: &'a TrackRules,
    faces: usize,
    /// Overlap and nearness, a row a track.
    cells: Vec<(f32, f32)>,
    /// Tracks lost for so long that place alone does not bring them back.
    far: Vec<bool>,
}

impl<'a> Places<'a> {
    fn new(tracks: &[Track], faces: &[SeenFace], now: FrameStamp, rules: &'a TrackRules) -> Self {
        let mut cells = Vec::with_capacity(tracks.len() * faces.len());
        for track in tracks {
            let rect = track.motion.rect();
            cells.extend(faces.iter().map(|face| {
                let overlap = rect.iou(&face.face.rect);
                let apart = if rules.facerec {
                    0.0
                } else {
                    apart(&rect, &face.face.rect)
                };
                (overlap, overlap - apart)
            }));
        }
        let far = tracks
            .iter()
            .map(|track| track.is_lost(now, rules))
            .collect();
        Self {
            rules,
            faces: faces.len(),
            cells,
            far,
        }
    }

    fn overlap(&self, track: usize, face: usize) -> f32 {
        self.cells[track * self.faces + face].0
    }

    /// How near they are, up to 1; `None` when too far to be paired by place.
    fn nearness(&self, track: usize, face: usize) -> Option<f32> {
        let nearness = self.cells[track * self.faces + face].1;
        (nearness >= self.rules.nearness_min && !self.far[track]).then_some(nearness)
    }

    /// The cost of leaving a track without a face.
    fn unpaired(&self) -> f32 {
        // facerec's matrix has a similarity of -1 where it allows no pair.
        let similarity = if self.rules.facerec {
            -1.0
        } else {
            self.rules.nearness_min
        };
        1.0 - similarity
    }

    /// Whether place leaves doubt whose `face` is: it fits no track well, or two of them, or one that
    /// was missed or has another face nearby.
    fn is_doubted(&self, face: usize, tracks: &[Track]) -> bool {
        let near = |track: usize, face: usize| self.nearness(track, face);
        let all = (0..tracks.len()).filter_map(|track| Some((track, near(track, face)?)));
        let Some((track, own)) = all.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return false;
        };
        let rivals = |nearness: Option<f32>| {
            nearness.is_some_and(|nearness| nearness >= own - self.rules.rival_within)
        };
        let mut others = (0..tracks.len()).filter(|other| *other != track);
        let mut faces = (0..self.faces).filter(|other| *other != face);
        self.overlap(track, face) < self.rules.overlap_sure
            || tracks[track].missed > 0
            || others.any(|other| rivals(near(other, face)))
            || faces.any(|other| rivals(near(track, other)))
    }
}

/// The squared distance of two centres over the squared diagonal of what encloses both, 0..=1.
fn apart(a: &Rect, b: &Rect) -> f32 {
    let distance = a.center().distance(b.center());
    let width = a.right().max(b.right()) - a.x.min(b.x);
    let height = a.bottom().max(b.bottom()) - a.y.min(b.y);
    distance * distance / (width * width + height * height).max(1e-6)
}
