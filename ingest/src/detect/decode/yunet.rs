//! `YuNet`: Wu, Peng and Yu, "`YuNet`: A Tiny Millisecond-level Face Detector", Machine
//! Intelligence Research 20, 2023. One face a cell, no anchors.
//!
//! Outputs: class, object (1 value a cell each), box (4) and landmarks (10), each for all strides.
//! With stride `s`, in cell (row, column): score `sqrt(class object)`, both cut to 0..=1; middle
//! `((column + b0) s, (row + b1) s)`, width `exp(b2) s`, height `exp(b3) s`; landmark `j` at
//! `((column + k[2j]) s, (row + k[2j+1]) s)`.

use super::{Canvas, Expected, face, points, rows_of_strides};
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::DetectorOutput;

/// Values a cell of class, object, box and landmarks.
const VALUES: [usize; 4] = [1, 1, 4, 10];

pub(super) fn expected(output: &DetectorOutput, canvas: Option<Canvas>) -> Vec<Expected> {
    rows_of_strides(output, canvas, 1, &VALUES)
}

pub(super) fn faces(
    maps: &[&[f32]],
    output: &DetectorOutput,
    canvas: Canvas,
    score_min: f32,
) -> Vec<DetectedFace> {
    let mut found = Vec::new();
    let levels = output.strides.len();
    for (level, stride) in output.strides.iter().enumerate() {
        let [class, object, boxes, landmarks] =
            [0, 1, 2, 3].map(|kind| maps[kind * levels + level]);
        let (columns, _) = canvas.cells(*stride);
        let stride = *stride as f32;
        let cells = class
            .iter()
            .zip(object)
            .zip(boxes.chunks_exact(4))
            .zip(landmarks.chunks_exact(10));
        for (cell, (((class, object), b), landmarks)) in cells.enumerate() {
            let score = (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt();
            if score >= score_min {
                let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
                let (width, height) = (b[2].exp() * stride, b[3].exp() * stride);
                let x = (column + b[0]) * stride - width / 2.0;
                let y = (row + b[1]) * stride - height / 2.0;
                let place = |dx, dy| Point::new((column + dx) * stride, (row + dy) * stride);
                found.extend(face(
                    Rect::new(x, y, width, height),
                    points(landmarks, place),
                    score,
                ));
            }
        }
    }
    found
}
