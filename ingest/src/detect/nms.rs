//! Non-maximum suppression: one box a face.

use crate::geometry::DetectedFace;

/// `faces` without those that overlap a better one by more than `iou_max` (0..=1), best score
/// first; among equal scores the earlier one is better.
///
/// Greedy, as every detector here was tuned with. Cost: faces times faces kept.
#[must_use]
pub fn suppress(mut faces: Vec<DetectedFace>, iou_max: f32) -> Vec<DetectedFace> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<DetectedFace> = Vec::new();
    for face in faces {
        if kept
            .iter()
            .all(|better| better.rect.iou(&face.rect) <= iou_max)
        {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Point, Rect};
    use proptest::prelude::*;

    fn face(x: f32, y: f32, side: f32, score: f32) -> DetectedFace {
        let rect = Rect::new(x, y, side, side);
        DetectedFace {
            rect,
            landmarks: [Point::default(); 5],
            score,
        }
    }

    #[test]
    fn the_better_of_two_overlapping_faces_stays() {
        let kept = suppress(
            vec![
                face(0.0, 0.0, 10.0, 0.6),
                face(1.0, 0.0, 10.0, 0.9),
                face(50.0, 0.0, 10.0, 0.7),
            ],
            0.3,
        );
        let scores: Vec<f32> = kept.iter().map(|f| f.score).collect();
        assert_eq!(scores, [0.9, 0.7]);
    }

    proptest! {
        #[test]
        fn nothing_kept_overlaps_and_everything_dropped_has_a_better_one(
            faces in prop::collection::vec((0f32..50.0, 0f32..50.0, 1f32..30.0, 0f32..1.0), 0..30),
            iou_max in 0.1f32..0.9,
        ) {
            let faces: Vec<_> = faces.into_iter().map(|(x, y, s, p)| face(x, y, s, p)).collect();
            let kept = suppress(faces.clone(), iou_max);
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[i + 1..] {
                    prop_assert!(a.score >= b.score);
                    prop_assert!(a.rect.iou(&b.rect) <= iou_max);
                }
            }
            for dropped in faces.iter().filter(|f| !kept.contains(f)) {
                let better = |k: &DetectedFace| {
                    k.score >= dropped.score && k.rect.iou(&dropped.rect) > iou_max
                };
                let has_better = kept.iter().any(better);
                prop_assert!(has_better);
            }
        }
    }
}
