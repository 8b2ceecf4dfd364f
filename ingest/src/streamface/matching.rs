use std::collections::VecDeque;

use super::PixelFace;
use crate::gate::plane::Plane;

/// How many frames before the present one are compared with it.
const LOOKBACK: usize = 2;

/// When the faces of two frames are those of the same people. Both must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchRules {
    /// Similarity of the frames ([`Plane::similarity`] at 1280x720), 0..=1.
    pub similarity: f64,
    /// Mean intersection over union of their boxes, 0..=1.
    pub iou: f64,
}

impl Default for MatchRules {
    fn default() -> Self {
        Self {
            similarity: 0.75,
            iou: 0.75,
        }
    }
}

/// A frame that was searched, and the faces kept of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As frames are compared: [`crate::gate::streamface::compared`].
    pub compared: Plane,
    /// Each face with the name of its file, in the detector's order.
    pub faces: Vec<(String, PixelFace)>,
}

/// Pairs the faces of a frame with those of the frame before it or of the one before that.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    rules: MatchRules,
    /// Newest first.
    earlier: VecDeque<Seen>,
}

impl Matcher {
    /// A matcher that has seen no frame yet.
    #[must_use]
    pub fn new(rules: MatchRules) -> Self {
        Self {
            rules,
            earlier: VecDeque::new(),
        }
    }

    /// Forgets the frames seen: what comes next does not follow them.
    pub fn restart(&mut self) {
        self.earlier.clear();
    }

    /// Takes the next frame; gives pairs of files, its own face first. The newest earlier frame
    /// that is similar enough, has as many faces and overlaps enough counts; faces are paired in
    /// the detector's order.
    pub fn push(&mut self, frame: Seen) -> Vec<(String, String)> {
        let names = |(now, then): (&(String, PixelFace), &(String, PixelFace))| {
            (now.0.clone(), then.0.clone())
        };
        let earlier = self.earlier.iter().find(|then| self.matches(&frame, then));
        let pairs = earlier.map_or_else(Vec::new, |then| {
            frame.faces.iter().zip(&then.faces).map(names).collect()
        });
        self.earlier.truncate(LOOKBACK - 1);
        self.earlier.push_front(frame);
        pairs
    }

    fn matches(&self, now: &Seen, then: &Seen) -> bool {
        let boxes = |seen: &Seen| seen.faces.iter().map(|(_, face)| *face).collect::<Vec<_>>();
        !now.faces.is_empty()
            && now.faces.len() == then.faces.len()
            && mean_iou(&boxes(now), &boxes(then)) > self.rules.iou
            && now.compared.similarity(&then.compared) > self.rules.similarity
    }
}

/// The mean intersection over union of boxes at the same place in both lists, 0..=1; 0 for no
/// boxes. A box reaches from its left edge to its right edge inclusive, and so has one pixel more
/// than its width says.
#[must_use]
pub fn mean_iou(a: &[PixelFace], b: &[PixelFace]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| iou(a, b)).sum();
    let count = a.len().min(b.len());
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn iou(a: &PixelFace, b: &PixelFace) -> f64 {
    let shared =
        |start: (i64, i64), end: (i64, i64)| (end.0.min(end.1) - start.0.max(start.1) + 1).max(0);
    let both = shared((a.x, b.x), (a.x + a.width, b.x + b.width))
        * shared((a.y, b.y), (a.y + a.height, b.y + b.height));
    let area = |face: &PixelFace| (face.width + 1) * (face.height + 1);
    both as f64 / (area(a) + area(b) - both) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gate::streamface::compared, picture::Picture};

    fn face(x: i64, width: i64) -> PixelFace {
        PixelFace {
            x,
            y: 0,
            width,
            height: 9,
            landmarks: [(0, 0); 5],
        }
    }

    /// A frame of one grey value with faces at these boxes.
    fn frame(name: &str, grey: u8, faces: &[PixelFace]) -> Seen {
        let picture = Picture::filled(32, 18, [grey; 3]).unwrap();
        let named = |(i, face): (usize, &PixelFace)| (format!("{name}{i}"), *face);
        Seen {
            compared: compared(picture.view()),
            faces: faces.iter().enumerate().map(named).collect(),
        }
    }

    #[test]
    fn a_box_has_a_pixel_more_than_its_width() {
        // 10 pixels each, 9 shared: 9 of 11.
        assert_eq!(mean_iou(&[face(0, 9)], &[face(1, 9)]), 9.0 / 11.0);
        // Side by side they still share a column.
        assert_eq!(mean_iou(&[face(0, 9)], &[face(9, 9)]), 1.0 / 19.0);
        assert_eq!(mean_iou(&[face(0, 9)], &[face(20, 9)]), 0.0);
        assert_eq!(
            mean_iou(&[face(0, 9), face(50, 4)], &[face(0, 9), face(90, 4)]),
            0.5
        );
        assert_eq!(mean_iou(&[], &[]), 0.0);
    }

    #[test]
    fn both_thresholds_must_be_exceeded() {
        let pairs = |grey: u8, at: i64, width: i64| {
            let mut matcher = Matcher::default();
            assert!(matcher.push(frame("a", 100, &[face(0, width)])).is_empty());
            matcher.push(frame("b", grey, &[face(at, width)])).len()
        };
        // 1 - (100 - g)^2 / (100 g): exactly 0.75 at nothing whole; 164 gives 0.7502, 165 0.7439.
        assert_eq!([pairs(164, 0, 9), pairs(165, 0, 9)], [1, 0]);
        // 14 pixels, 12 shared: 12 of 16 is 0.75 and not more.
        assert_eq!([pairs(100, 2, 13), pairs(100, 2, 14)], [0, 1]);
    }

    #[test]
    fn the_frame_before_last_counts_when_the_last_does_not() {
        let mut matcher = Matcher::default();
        let one = [face(0, 20)];
        assert!(matcher.push(frame("a", 100, &one)).is_empty());
        assert!(matcher.push(frame("b", 100, &[])).is_empty(), "no faces");
        let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
        assert_eq!(matcher.push(frame("c", 100, &one)), pair("c0", "a0"));
        assert_eq!(matcher.push(frame("d", 100, &one)), pair("d0", "c0"));
        let two = [face(0, 20), face(0, 20)];
        assert!(matcher.push(frame("e", 100, &two)).is_empty(), "one more");
        assert!(matcher.push(frame("f", 100, &[])).is_empty());
        assert!(
            matcher.push(frame("g", 100, &one)).is_empty(),
            "too long ago"
        );
        matcher.restart();
        assert!(matcher.push(frame("h", 100, &one)).is_empty());
    }
}
