//! SCRFD: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR
//! 2022. Distances from a cell's corner to the four edges.
//!
//! Outputs: scores (1 value), distances (4) and, if the model has them, landmarks (10), each for all
//! strides; a cell holds `anchors_per_cell` faces, one after the other. With stride `s`, in cell
//! (row, column): `(x, y) = (column s, row s)`, without half a cell; edges at `x - d0 s`,
//! `y - d1 s`, `x + d2 s`, `y + d3 s`; landmark `j` at `(x + k[2j] s, y + k[2j+1] s)`.

use super::{Canvas, Expected, face, points, rows_of_strides};
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::DetectorOutput;

pub(super) fn expected(output: &DetectorOutput, canvas: Option<Canvas>) -> Vec<Expected> {
    let kinds: &[usize] = if output.has_landmarks() {
        &[1, 4, 10]
    } else {
        &[1, 4]
    };
    rows_of_strides(output, canvas, output.anchors_per_cell as usize, kinds)
}

pub(super) fn faces(
    maps: &[&[f32]],
    output: &DetectorOutput,
    canvas: Canvas,
    score_min: f32,
) -> Vec<DetectedFace> {
    let mut found = Vec::new();
    let levels = output.strides.len();
    let per_cell = output.anchors_per_cell as usize;
    for (level, stride) in output.strides.iter().enumerate() {
        let (scores, distances) = (maps[level], maps[levels + level]);
        let landmarks = maps.get(2 * levels + level);
        let (columns, _) = canvas.cells(*stride);
        let s = *stride as f32;
        for (at, (score, d)) in scores.iter().zip(distances.chunks_exact(4)).enumerate() {
            if *score >= score_min {
                let cell = at / per_cell;
                let (x, y) = ((cell % columns) as f32 * s, (cell / columns) as f32 * s);
                let (width, height) = ((d[0] + d[2]) * s, (d[1] + d[3]) * s);
                let rect = Rect::new(x - d[0] * s, y - d[1] * s, width, height);
                let place = |dx, dy| Point::new(x + dx * s, y + dy * s);
                let five = landmarks.and_then(|all| all.get(10 * at..10 * at + 10));
                let five = five.map_or([rect.center(); 5], |pairs| points(pairs, place));
                found.extend(face(rect, five, *score));
            }
        }
    }
    found
}
