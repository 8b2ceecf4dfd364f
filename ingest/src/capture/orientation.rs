//! Quarter turns and mirror images.

use crate::picture::Picture;

/// A quarter turn or a mirror image, as the container asks for: where a pixel's right and down
/// neighbours go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation {
    right: (i32, i32),
    down: (i32, i32),
}

impl Orientation {
    pub(super) const UPRIGHT: Self = Self {
        right: (1, 0),
        down: (0, 1),
    };

    /// From a display matrix: nine 32-bit numbers in the machine's byte order. Anything that is not
    /// a multiple of a quarter turn is taken for upright.
    #[expect(
        clippy::host_endian_bytes,
        reason = "FFmpeg's side data is in the machine's order"
    )]
    pub(super) fn from_matrix(bytes: &[u8]) -> Self {
        let mut numbers = bytes
            .chunks_exact(4)
            .map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        let matrix: [i32; 9] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
        let (right, down) = ((matrix[0], matrix[1]), (matrix[3], matrix[4]));
        let unit = |(x, y): (i32, i32)| match (x.signum(), y.signum()) {
            (x, 0) if x != 0 => Some((x, 0)),
            (0, y) if y != 0 => Some((0, y)),
            _ => None,
        };
        match (unit(right), unit(down)) {
            (Some(right), Some(down)) if (right.0 == 0) != (down.0 == 0) => Self { right, down },
            _ => Self::UPRIGHT,
        }
    }

    /// Whether width and height change places.
    pub(super) fn swaps_sides(self) -> bool {
        self.right.0 == 0
    }

    /// The picture, turned.
    pub(super) fn apply(self, picture: Picture) -> Picture {
        if self == Self::UPRIGHT {
            return picture;
        }
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let new_width = if self.swaps_sides() { height } else { width };
        // Where the first pixel goes: at the far end of each axis that runs backwards.
        let origin = |step_right: i32, step_down: i32| {
            let back = |step: i32, length: usize| if step < 0 { length - 1 } else { 0 };
            back(step_right, width) + back(step_down, height)
        };
        let (x0, y0) = (
            origin(self.right.0, self.down.0),
            origin(self.right.1, self.down.1),
        );
        let moved = |start: usize, right: i32, x: usize, down: i32, y: usize| {
            let go = |at: usize, step: i32, by: usize| match step {
                1.. => at + by,
                0 => at,
                ..0 => at - by,
            };
            go(go(start, right, x), down, y)
        };
        let mut rgb = vec![0; picture.rgb().len()];
        for (i, pixel) in picture.rgb().chunks_exact(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let to_x = moved(x0, self.right.0, x, self.down.0, y);
            let to_y = moved(y0, self.right.1, x, self.down.1, y);
            let at = (to_y * new_width + to_x) * 3;
            rgb[at..at + 3].copy_from_slice(pixel);
        }
        let (width, height) = if self.swaps_sides() {
            (picture.height(), picture.width())
        } else {
            (picture.width(), picture.height())
        };
        Picture::new(width, height, rgb).expect("turning keeps the number of pixels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3x2 picture whose pixels are 0..6, and what becomes of it.
    fn check(matrix: [i32; 4], size: (u32, u32), expected: &[u8]) {
        let one = 1 << 16;
        let numbers = [
            matrix[0] * one,
            matrix[1] * one,
            0,
            matrix[2] * one,
            matrix[3] * one,
            0,
            0,
            0,
            1 << 30,
        ];
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|n: &i32| {
                if cfg!(target_endian = "big") {
                    n.to_be_bytes()
                } else {
                    n.to_le_bytes()
                }
            })
            .collect();
        let picture = Picture::new(3, 2, (0..6).flat_map(|v| [v; 3]).collect()).unwrap();
        let turned = Orientation::from_matrix(&bytes).apply(picture);
        assert_eq!((turned.width(), turned.height()), size);
        let values: Vec<u8> = turned.rgb().chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(values, expected, "{matrix:?}");
    }

    #[test]
    fn pictures_are_turned_as_the_container_asks() {
        check([1, 0, 0, 1], (3, 2), &[0, 1, 2, 3, 4, 5]);
        // A quarter turn clockwise: the first row becomes the last column.
        check([0, 1, -1, 0], (2, 3), &[3, 0, 4, 1, 5, 2]);
        check([-1, 0, 0, -1], (3, 2), &[5, 4, 3, 2, 1, 0]);
        check([0, -1, 1, 0], (2, 3), &[2, 5, 1, 4, 0, 3]);
        check([-1, 0, 0, 1], (3, 2), &[2, 1, 0, 5, 4, 3]);
        check([0, 0, 0, 0], (3, 2), &[0, 1, 2, 3, 4, 5]);
        assert_eq!(Orientation::from_matrix(&[1, 2, 3]), Orientation::UPRIGHT);
    }
}
