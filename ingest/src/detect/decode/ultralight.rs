//! Linzaer's Ultra-Light-Fast-Generic-Face-Detector-1MB, RFB and slim: an SSD (Liu et al., "SSD:
//! Single Shot `MultiBox` Detector", ECCV 2016) whose boxes are decoded inside the graph.
//!
//! Outputs: scores (2 values: background, face; softmax inside the graph) and boxes (4: left, top,
//! right, bottom, each 0..1 of the input), over as many anchors as there are. No landmarks.

use super::{Canvas, Expected, face};
use crate::geometry::{DetectedFace, Rect};

pub(super) fn expected() -> Vec<Expected> {
    vec![Expected::AnyRows(2), Expected::AnyRows(4)]
}

pub(super) fn faces(maps: &[&[f32]], canvas: Canvas, score_min: f32) -> Vec<DetectedFace> {
    let &[scores, boxes] = maps else {
        return Vec::new();
    };
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    scores
        .chunks_exact(2)
        .zip(boxes.chunks_exact(4))
        .filter(|(score, _)| score[1] >= score_min)
        .filter_map(|(score, b)| {
            let (x, y) = (b[0] * width, b[1] * height);
            let rect = Rect::new(x, y, b[2] * width - x, b[3] * height - y);
            face(rect, [rect.center(); 5], score[1])
        })
        .collect()
}
