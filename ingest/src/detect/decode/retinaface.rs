//! `RetinaFace`: Deng et al., "`RetinaFace`: Single-stage Dense Face Localisation in the Wild",
//! 2019, in biubug6's form. Boxes relative to square anchors (priors).
//!
//! Outputs: boxes (4 values), scores (2: background, face; softmax inside the graph) and landmarks
//! (10), each over the anchors of all strides, row by row, the anchors of a cell one after the
//! other. With an anchor of side `a` at the middle `c` of its cell: middle `c + 0.1 a loc01`, size
//! `a exp(0.2 loc23)`, landmark `j` at `c + 0.1 a k_j`. Rows and columns are rounded up.

use super::{Canvas, Expected, face, points};
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::DetectorOutput;

/// How far a unit of offset moves a middle or a landmark, in sides of the anchor.
const CENTER_VARIANCE: f32 = 0.1;
/// How far a unit of size scales, as an exponent.
const SIZE_VARIANCE: f32 = 0.2;

pub(super) fn expected(output: &DetectorOutput, canvas: Option<Canvas>) -> Vec<Expected> {
    let of_stride = |canvas: Canvas, (stride, sides): (&u32, &Vec<f32>)| {
        let (columns, rows) = canvas.cells(*stride);
        columns * rows * sides.len()
    };
    let levels = || output.strides.iter().zip(&output.anchors);
    let anchors = canvas.map(|canvas| levels().map(|level| of_stride(canvas, level)).sum());
    [4, 2, 10]
        .map(|values| Expected::Rows(values, anchors))
        .to_vec()
}

pub(super) fn faces(
    maps: &[&[f32]],
    output: &DetectorOutput,
    canvas: Canvas,
    score_min: f32,
) -> Vec<DetectedFace> {
    let &[boxes, scores, landmarks] = maps else {
        return Vec::new();
    };
    let anchors = anchors(output, canvas);
    let cells = boxes
        .chunks_exact(4)
        .zip(scores.chunks_exact(2))
        .zip(landmarks.chunks_exact(10));
    cells
        .zip(anchors)
        .filter(|(((_, score), _), _)| score[1] >= score_min)
        .filter_map(|(((loc, score), landmarks), (middle, side))| {
            let place = |dx: f32, dy: f32| {
                let step = CENTER_VARIANCE * side;
                Point::new(middle.x + dx * step, middle.y + dy * step)
            };
            let center = place(loc[0], loc[1]);
            let [width, height] = [loc[2], loc[3]].map(|v| side * (v * SIZE_VARIANCE).exp());
            let rect = Rect::new(
                center.x - width / 2.0,
                center.y - height / 2.0,
                width,
                height,
            );
            face(rect, points(landmarks, place), score[1])
        })
        .collect()
}

/// Middle and side of each anchor, in the network's order.
fn anchors(output: &DetectorOutput, canvas: Canvas) -> impl Iterator<Item = (Point, f32)> {
    let levels = output.strides.iter().zip(&output.anchors);
    levels.flat_map(move |(stride, sides)| {
        let (columns, rows) = canvas.cells(*stride);
        let step = *stride as f32;
        (0..rows * columns).flat_map(move |cell| {
            let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
            let middle = Point::new((column + 0.5) * step, (row + 0.5) * step);
            sides.iter().map(move |side| (middle, *side))
        })
    })
}
