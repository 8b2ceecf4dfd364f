//! From a network's outputs to boxes, whatever the family of the network: one file a decoder, each
//! a pure function over tensors.
//!
//! A decoder is given what it names in [`expected`], checked, and passes over every cell whose
//! numbers are no box (not a number, infinite, far outside).

mod centerface;
mod retinaface;
mod scrfd;
mod ultralight;
mod yunet;

use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::{Decoder, DetectorOutput};
use crate::number::to_f32;

/// Coordinates beyond this, in pixels of input, are no face's.
const REACH_MAX: f32 = 1e6;

/// Width and height of a network's input, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Canvas {
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
}

impl Canvas {
    /// Columns and rows of cells of `stride` pixels, the last of each whole or not.
    fn cells(self, stride: u32) -> (usize, usize) {
        let stride = stride.max(1);
        (
            self.width.div_ceil(stride) as usize,
            self.height.div_ceil(stride) as usize,
        )
    }
}

/// A tensor that came out of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor<'a> {
    /// Its dimensions.
    pub(crate) shape: &'a [usize],
    /// Its values, last dimension fastest.
    pub(crate) values: &'a [f32],
}

/// The shape a decoder needs of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `[1, values, rows, columns]`; `None` while the size of the input is open.
    Planes(usize, Option<(usize, usize)>),
    /// `[1, cells, values]` or `[cells, values]`; `None` while the size of the input is open.
    Rows(usize, Option<usize>),
    /// The same with any number of cells.
    AnyRows(usize),
}

/// Outputs grouped by kind, each kind for all strides: `per_cell` rows a cell, of as many values as
/// `kinds` says.
fn rows_of_strides(
    output: &DetectorOutput,
    canvas: Option<Canvas>,
    per_cell: usize,
    kinds: &[usize],
) -> Vec<Expected> {
    let rows = move |stride: u32| {
        let (columns, rows) = canvas?.cells(stride);
        Some(columns * rows * per_cell)
    };
    let of_kind = |values: &usize| {
        let values = *values;
        let strides = output.strides.iter();
        strides.map(move |stride| Expected::Rows(values, rows(*stride)))
    };
    kinds.iter().flat_map(of_kind).collect()
}

impl Expected {
    /// Does `shape` fit, where `None` stands for a dimension left open?
    pub(crate) fn fits(self, shape: &[Option<usize>]) -> bool {
        let open_or = |found: Option<usize>, wanted: usize| found.is_none_or(|n| n == wanted);
        // What depends on the size of the input is open where that is.
        let same = |found: Option<usize>, wanted: Option<usize>| match wanted {
            Some(wanted) => open_or(found, wanted),
            None => found.is_none(),
        };
        match (self, shape) {
            (Self::Planes(values, cells), [batch, found, rows, columns]) => {
                open_or(*batch, 1)
                    && open_or(*found, values)
                    && same(*rows, cells.map(|(_, rows)| rows))
                    && same(*columns, cells.map(|(columns, _)| columns))
            }
            (Self::Rows(values, cells), [batch, found, last]) => {
                open_or(*batch, 1) && same(*found, cells) && open_or(*last, values)
            }
            (Self::Rows(values, cells), [found, last]) => {
                same(*found, cells) && open_or(*last, values)
            }
            (Self::AnyRows(values), [batch, _, last]) => {
                open_or(*batch, 1) && open_or(*last, values)
            }
            (Self::AnyRows(values), [_, last]) => open_or(*last, values),
            _ => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Planes(values, Some((columns, rows))) => {
                write!(f, "f32 [1, {values}, {rows}, {columns}]")
            }
            Self::Planes(values, None) => write!(f, "f32 [1, {values}, any height, any width]"),
            Self::Rows(values, Some(cells)) => write!(f, "f32 [1, {cells}, {values}]"),
            Self::Rows(values, None) | Self::AnyRows(values) => {
                write!(f, "f32 [1, any number, {values}]")
            }
        }
    }
}

/// What the decoder of `output` needs of each of its tensors, in the order of their names; `canvas`
/// is `None` while the size of the input is open.
pub(crate) fn expected(output: &DetectorOutput, canvas: Option<Canvas>) -> Vec<Expected> {
    match output.decoder {
        Decoder::Centerface => centerface::expected(output, canvas),
        Decoder::Retinaface => retinaface::expected(output, canvas),
        Decoder::Scrfd => scrfd::expected(output, canvas),
        Decoder::Ultralight => ultralight::expected(),
        Decoder::Yunet => yunet::expected(output, canvas),
    }
}

/// The faces in `tensors` with a score of at least `score_min`, in pixels of the canvas, in the
/// order of their cells, before suppression. Without landmarks of its own a detector gives the
/// middle of the box five times.
///
/// # Errors
/// What is wrong, when a tensor has not the shape that [`expected`] says.
pub(crate) fn decode(
    output: &DetectorOutput,
    canvas: Canvas,
    tensors: &[Tensor<'_>],
    score_min: f32,
) -> Result<Vec<DetectedFace>, String> {
    let expected = expected(output, Some(canvas));
    if expected.len() != tensors.len() || expected.len() != output.names.len() {
        let (needed, found) = (expected.len(), tensors.len());
        return Err(format!("{found} outputs, {needed} are needed"));
    }
    for ((expected, tensor), name) in expected.iter().zip(tensors).zip(&output.names) {
        let shape: Vec<Option<usize>> = tensor.shape.iter().copied().map(Some).collect();
        let size = tensor
            .shape
            .iter()
            .try_fold(1usize, |all, d| all.checked_mul(*d));
        if !expected.fits(&shape) || size != Some(tensor.values.len()) {
            return Err(format!(
                "{name} has shape {:?}, not {expected}",
                tensor.shape
            ));
        }
    }
    let maps: Vec<&[f32]> = tensors.iter().map(|tensor| tensor.values).collect();
    Ok(match output.decoder {
        Decoder::Centerface => centerface::faces(&maps, output, canvas, score_min),
        Decoder::Retinaface => retinaface::faces(&maps, output, canvas, score_min),
        Decoder::Scrfd => scrfd::faces(&maps, output, canvas, score_min),
        Decoder::Ultralight => ultralight::faces(&maps, canvas, score_min),
        Decoder::Yunet => yunet::faces(&maps, output, canvas, score_min),
    })
}

/// A face, if its numbers make one.
fn face(rect: Rect, landmarks: [Point; 5], score: f32) -> Option<DetectedFace> {
    let near = |value: f32| value.abs() <= REACH_MAX;
    let sane = [rect.x, rect.y, rect.width, rect.height]
        .into_iter()
        .all(near)
        && landmarks.iter().all(|p| near(p.x) && near(p.y))
        && rect.width > 0.0
        && rect.height > 0.0;
    sane.then(|| DetectedFace {
        rect,
        landmarks,
        score: to_f32(f64::from(score).min(1.0)),
    })
}

/// Five points from ten numbers, each pair moved by `place`.
fn points(pairs: &[f32], place: impl Fn(f32, f32) -> Point) -> [Point; 5] {
    let mut points = [Point::default(); 5];
    for (point, pair) in points.iter_mut().zip(pairs.chunks_exact(2)) {
        *point = place(pair[0], pair[1]);
    }
    points
}

#[cfg(test)]
mod tests;
