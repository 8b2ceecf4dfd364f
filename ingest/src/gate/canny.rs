//! Canny's edges, as `OpenCV` finds them.
//!
//! Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8(6), 1986: gradients by a 3x3
//! Sobel filter (borders repeated), their strength as |dx| + |dy|, thinned across the edge in four
//! directions, and kept where a strong one can be reached over weak ones, diagonals included.

use super::plane::Plane;

/// The tangent of 22.5 degrees, times 2^15.
const TANGENT: i64 = 13_573;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Nothing,
    Weak,
    Edge,
}

/// The part of `plane` that is no edge, 0..=1: 1 for one colour. A gradient stronger than `high` is
/// an edge, one stronger than `low` if it hangs together with such a one.
///
/// Cost: some ten passes over the picture, and as many bytes a pixel.
#[must_use]
pub(super) fn emptiness(plane: &Plane, low: i32, high: i32) -> f64 {
    let edges = marks(plane, low, high);
    let count = edges.iter().filter(|mark| **mark == Mark::Edge).count();
    1.0 - count as f64 / plane.pixels().len() as f64
}

/// Gradients of a picture; strengths have a border of zeros.
struct Gradients {
    dx: Vec<i32>,
    dy: Vec<i32>,
    strength: Vec<i32>,
}

fn gradients(plane: &Plane) -> Gradients {
    let (width, height) = (plane.width(), plane.height());
    let wide = width + 2;
    let mut all = Gradients {
        dx: Vec::with_capacity(width * height),
        dy: Vec::with_capacity(width * height),
        strength: vec![0; wide * (height + 2)],
    };
    for y in 0..height {
        let row = |y: usize| &plane.pixels()[y * width..][..width];
        let (above, here, below) = (
            row(y.saturating_sub(1)),
            row(y),
            row((y + 1).min(height - 1)),
        );
        for x in 0..width {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let at = |row: &[u8], x: usize| i32::from(row[x]);
            let across = |row: &[u8]| at(row, right) - at(row, left);
            let sum = |row: &[u8]| at(row, left) + 2 * at(row, x) + at(row, right);
            let (dx, dy) = (
                across(above) + 2 * across(here) + across(below),
                sum(below) - sum(above),
            );
            all.dx.push(dx);
            all.dy.push(dy);
            all.strength[(y + 1) * wide + x + 1] = dx.abs() + dy.abs();
        }
    }
    all
}

/// A mark for each pixel and for a border around them.
fn marks(plane: &Plane, low: i32, high: i32) -> Vec<Mark> {
    let (width, height) = (plane.width(), plane.height());
    let wide = width + 2;
    let all = gradients(plane);
    let mut marks = vec![Mark::Nothing; wide * (height + 2)];
    let mut strong = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let at = (y + 1) * wide + x + 1;
            let i = y * width + x;
            if all.strength[at] <= low || !is_ridge(&all, i, at, wide) {
                continue;
            }
            if all.strength[at] > high {
                marks[at] = Mark::Edge;
                strong.push(at);
            } else {
                marks[at] = Mark::Weak;
            }
        }
    }
    while let Some(at) = strong.pop() {
        for row in [at - wide, at, at + wide] {
            for near in [row - 1, row, row + 1] {
                if marks[near] == Mark::Weak {
                    marks[near] = Mark::Edge;
                    strong.push(near);
                }
            }
        }
    }
    marks
}

/// Whether the gradient of pixel `i` is the strongest across its edge. `at` is its place among the
/// strengths, which are `wide` to a row.
fn is_ridge(all: &Gradients, i: usize, at: usize, wide: usize) -> bool {
    let (dx, dy, strength) = (all.dx[i], all.dy[i], &all.strength);
    let here = strength[at];
    let flat = i64::from(dx.abs()) * TANGENT;
    let rise = i64::from(dy.abs()) << 15;
    if rise < flat {
        here > strength[at - 1] && here >= strength[at + 1]
    } else if rise > flat + (i64::from(dx.abs()) << 16) {
        here > strength[at - wide] && here >= strength[at + wide]
    } else if (dx ^ dy) < 0 {
        here > strength[at - wide + 1] && here > strength[at + wide - 1]
    } else {
        here > strength[at - wide - 1] && here > strength[at + wide + 1]
    }
}
