//! `CenterFace`: Xu et al., "`CenterFace`: Joint Face Detection and Alignment Using Face as Point",
//! 2019. No anchors: each cell of a heat map says how likely a face's middle lies in it.
//!
//! Outputs: heat (1 plane, sigmoid inside the graph), scale (2), offset (2), landmarks (10). With
//! stride `s`, in cell (row, column): height `exp(scale0) s`, width `exp(scale1) s`, middle
//! `((column + offset1 + 0.5) s, (row + offset0 + 0.5) s)`; landmark `j` lies `lm[2j+1]` widths to
//! the right of the left edge and `lm[2j]` heights below the top: in every pair y comes first.

use super::{Canvas, Expected, face};
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::DetectorOutput;

/// Planes of heat, scale, offset and landmarks.
const PLANES: [usize; 4] = [1, 2, 2, 10];

pub(super) fn expected(output: &DetectorOutput, canvas: Option<Canvas>) -> Vec<Expected> {
    let cells = canvas.map(|canvas| canvas.cells(stride(output)));
    PLANES
        .map(|planes| Expected::Planes(planes, cells))
        .to_vec()
}

pub(super) fn faces(
    maps: &[&[f32]],
    output: &DetectorOutput,
    canvas: Canvas,
    score_min: f32,
) -> Vec<DetectedFace> {
    let &[heat, scale, offset, landmarks] = maps else {
        return Vec::new();
    };
    let (columns, size) = (canvas.cells(stride(output)).0, heat.len());
    let stride = stride(output) as f32;
    let read = |cell: usize| {
        let (row, column) = (cell / columns, cell % columns);
        let height = scale[cell].exp() * stride;
        let width = scale[size + cell].exp() * stride;
        let y = (row as f32 + offset[cell] + 0.5) * stride - height / 2.0;
        let x = (column as f32 + offset[size + cell] + 0.5) * stride - width / 2.0;
        let mut points = [Point::default(); 5];
        for (j, point) in points.iter_mut().enumerate() {
            point.y = landmarks[2 * j * size + cell] * height + y;
            point.x = landmarks[(2 * j + 1) * size + cell] * width + x;
        }
        face(Rect::new(x, y, width, height), points, heat[cell])
    };
    (0..size)
        .filter(|cell| heat[*cell] >= score_min)
        .filter_map(read)
        .collect()
}

fn stride(output: &DetectorOutput) -> u32 {
    output.strides.first().copied().unwrap_or(1)
}
