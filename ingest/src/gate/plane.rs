//! Grey pictures and streamface's measures of them, to the formula of its `OpenCV` calls.

use std::num::NonZeroUsize;

use crate::picture::PictureRef;

/// A grey picture, a byte a pixel, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// The Gaussian of 3 values with a deviation of 0.5, in 256ths, as `OpenCV` rounds it.
const BLUR: [u32; 3] = [27, 202, 27];

impl Plane {
    /// The picture in grey: 0.299 R + 0.587 G + 0.114 B, in 15-bit fixed point.
    #[must_use]
    pub fn of(picture: PictureRef<'_>) -> Self {
        Self {
            width: picture.width() as usize,
            height: picture.height() as usize,
            pixels: picture.rgb().chunks_exact(3).map(grey).collect(),
        }
    }

    /// The picture stretched to `width` x `height` by nearest neighbours, in grey.
    #[must_use]
    pub fn stretched(picture: PictureRef<'_>, width: NonZeroUsize, height: NonZeroUsize) -> Self {
        let (width, height) = (width.get(), height.get());
        let columns = nearest(picture.width() as usize, width);
        let row_bytes = picture.width() as usize * 3;
        let mut pixels = Vec::with_capacity(width * height);
        for y in nearest(picture.height() as usize, height) {
            let row = &picture.rgb()[y * row_bytes..][..row_bytes];
            pixels.extend(columns.iter().map(|x| grey(&row[x * 3..x * 3 + 3])));
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// What is left when `rows` are cut off above and below, and `columns` left and right. At least
    /// one pixel must be left.
    #[must_use]
    pub(super) fn without_border(&self, rows: usize, columns: usize) -> Self {
        let (width, height) = (self.width - 2 * columns, self.height - 2 * rows);
        let pixels = (rows..rows + height)
            .flat_map(|y| &self.pixels[y * self.width + columns..][..width])
            .copied()
            .collect();
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Clarity: the variance of the Laplacian (0 1 0 / 1 -4 1 / 0 1 0) after a Gaussian blur of
    /// 3x3 with a deviation of 0.5, borders mirrored without their last pixel. 0 for one colour.
    ///
    /// Cost: three passes over the picture.
    #[must_use]
    pub fn clarity(&self) -> f64 {
        let smooth = self.blurred();
        let (mut sum, mut squares) = (0i64, 0i64);
        for y in 0..self.height {
            let [above, here, below] =
                mirrored(y, self.height).map(|y| &smooth[y * self.width..][..self.width]);
            for x in 0..self.width {
                let [left, at, right] = mirrored(x, self.width).map(|x| i64::from(here[x]));
                let value = i64::from(above[x]) + i64::from(below[x]) + left + right - 4 * at;
                sum += value;
                squares += value * value;
            }
        }
        let count = self.pixels.len() as f64;
        let mean = sum as f64 / count;
        (squares as f64 / count - mean * mean).max(0.0)
    }

    fn blurred(&self) -> Vec<u8> {
        let mut across = Vec::with_capacity(self.pixels.len());
        for row in self.pixels.chunks_exact(self.width) {
            across.extend((0..self.width).map(|x| {
                let near = mirrored(x, self.width);
                (0..3)
                    .map(|i| BLUR[i] * u32::from(row[near[i]]))
                    .sum::<u32>()
            }));
        }
        let mut both = Vec::with_capacity(self.pixels.len());
        for y in 0..self.height {
            let rows = mirrored(y, self.height).map(|y| &across[y * self.width..][..self.width]);
            both.extend((0..self.width).map(|x| {
                let sum: u32 = (0..3).map(|i| BLUR[i] * rows[i][x]).sum();
                // At most 255 * 65536 + 32768, so the third byte is the rounded value.
                ((sum + (1 << 15)) >> 16).to_le_bytes()[0]
            }));
        }
        both
    }

    /// Similarity: one minus the normalised squared difference, 1 - Σ(a-b)² / √(Σa² Σb²), moved up
    /// to 0; 0 where a picture is black or the sizes differ. 1 for the same picture.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 0.0;
        }
        let sum = |term: fn(u8, u8) -> u32| -> f64 {
            let pairs = self.pixels.iter().zip(&other.pixels);
            pairs.map(|(a, b)| u64::from(term(*a, *b))).sum::<u64>() as f64
        };
        let difference = sum(|a, b| u32::from(a.abs_diff(b)).pow(2));
        let norm = (sum(|a, _| u32::from(a).pow(2)) * sum(|_, b| u32::from(b).pow(2))).sqrt();
        if norm > 0.0 {
            (1.0 - difference / norm).max(0.0)
        } else {
            0.0
        }
    }
}

fn grey(pixel: &[u8]) -> u8 {
    let sum =
        u32::from(pixel[0]) * 9_798 + u32::from(pixel[1]) * 19_235 + u32::from(pixel[2]) * 3_735;
    // The weights sum up to 32768, so this fits.
    ((sum + (1 << 14)) >> 15).to_le_bytes()[0]
}

/// Which of `from` pixels each of `to` takes: the quotient in double precision, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding down is the meaning wanted, and nothing is negative"
)]
fn nearest(from: usize, to: usize) -> Vec<usize> {
    let step = 1.0 / (to as f64 / from as f64);
    (0..to)
        .map(|x| ((x as f64 * step) as usize).min(from - 1))
        .collect()
}

/// A place and its neighbours on a line, mirrored at the first and the last place.
fn mirrored(at: usize, length: usize) -> [usize; 3] {
    let last = length - 1;
    let before = if at == 0 { 1.min(last) } else { at - 1 };
    let after = if at == last {
        last.saturating_sub(1)
    } else {
        at + 1
    };
    [before, at, after]
}
