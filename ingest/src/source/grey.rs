use crate::number::to_f32;

/// A small grey picture, a byte a pixel, rows from the top. Every measure below compares pictures
/// of one size; pictures of different sizes have nothing in common.
#[derive(Clone, Debug, PartialEq)]
pub struct GreyImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    mean: f32,
    deviation: f32,
}

/// Pixels summed up in 32 bits, which compilers turn into vector instructions, before the sum goes
/// on in 64. The largest term, a product of two bytes, fits 66,051 times.
const CHUNK: usize = 4096;

impl GreyImage {
    /// Width of the copies that capture makes, in pixels.
    pub const WIDTH: u32 = 160;

    /// A grey picture; `None` unless there is at least one pixel and `width` times `height` bytes.
    #[must_use]
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let fits = width.checked_mul(height) == Some(pixels.len()) && !pixels.is_empty();
        if !fits {
            return None;
        }
        let sum = sum_of(&pixels, &pixels, |a, _| u32::from(a));
        let squares = sum_of(&pixels, &pixels, |a, b| u32::from(a) * u32::from(b));
        let count = pixels.len() as f64;
        let mean = sum as f64 / count;
        let variance = (squares as f64 / count - mean * mean).max(0.0);
        let (mean, deviation) = (to_f32(mean), to_f32(variance.sqrt()));
        Some(Self {
            width,
            height,
            pixels,
            mean,
            deviation,
        })
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

    /// Whether `other` can be compared with this one.
    #[must_use]
    pub fn same_size(&self, other: &Self) -> bool {
        self.width == other.width && self.height == other.height
    }

    /// Mean grey value, 0 to 255.
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// Standard deviation of the grey values.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        self.deviation
    }

    /// Mean absolute difference, 0 to 255.
    #[must_use]
    pub fn difference(&self, other: &Self) -> f32 {
        if !self.same_size(other) {
            return 255.0;
        }
        let sum = sum_of(&self.pixels, &other.pixels, |a, b| u32::from(a.abs_diff(b)));
        ratio(sum, self.pixels.len())
    }

    /// Variance of the 3x3 cross Laplacian (0 1 0 / 1 -4 1 / 0 1 0): low in blurred pictures.
    #[must_use]
    pub fn laplacian_variance(&self) -> f32 {
        let (mut sum, mut squares, mut count) = (0i64, 0i64, 0usize);
        for y in 1..self.height.saturating_sub(1) {
            let row = y * self.width;
            for x in 1..self.width.saturating_sub(1) {
                let at = |i: usize| i64::from(self.pixels[i]);
                let i = row + x;
                let value =
                    at(i - self.width) + at(i + self.width) + at(i - 1) + at(i + 1) - 4 * at(i);
                sum += value;
                squares += value * value;
                count += 1;
            }
        }
        if count == 0 {
            return 0.0;
        }
        let mean = sum as f32 / count as f32;
        squares as f32 / count as f32 - mean * mean
    }

    /// Largest mean absolute difference of any 8x8 block: sees a change too small for the mean of
    /// the whole picture.
    #[must_use]
    pub fn block_difference_max(&self, other: &Self) -> f32 {
        const BLOCK: usize = 8;
        if !self.same_size(other) {
            return 255.0;
        }
        let mut largest = 0f32;
        for top in (0..self.height).step_by(BLOCK) {
            for left in (0..self.width).step_by(BLOCK) {
                let (bottom, right) = (
                    (top + BLOCK).min(self.height),
                    (left + BLOCK).min(self.width),
                );
                let sum: u64 = (top..bottom)
                    .map(|y| {
                        let span = y * self.width + left..y * self.width + right;
                        let pairs = self.pixels[span.clone()].iter().zip(&other.pixels[span]);
                        pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
                    })
                    .sum();
                largest = largest.max(ratio(sum, (bottom - top) * (right - left)));
            }
        }
        largest
    }
}

/// The sum of `term` over pairs of pixels.
fn sum_of(a: &[u8], b: &[u8], term: impl Fn(u8, u8) -> u32) -> u64 {
    let chunks = a.chunks(CHUNK).zip(b.chunks(CHUNK));
    chunks
        .map(|(a, b)| u64::from(a.iter().zip(b).map(|(a, b)| term(*a, *b)).sum::<u32>()))
        .sum()
}

/// `sum / count`; sums are below 2^53 for any picture.
fn ratio(sum: u64, count: usize) -> f32 {
    to_f32(sum as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(at: impl Fn(usize, usize) -> u8) -> GreyImage {
        let pixels = (0..24 * 16).map(|i| at(i % 24, i / 24)).collect();
        GreyImage::new(24, 16, pixels).unwrap()
    }

    #[test]
    fn measures_of_known_pictures() {
        let ramp = picture(|x, _| u8::try_from(x * 10).unwrap());
        let darker = picture(|x, _| u8::try_from(x * 5).unwrap());
        let flipped = picture(|x, _| u8::try_from((23 - x) * 10).unwrap());
        assert_eq!(ramp.difference(&ramp), 0.0);
        assert!((ramp.mean() - 115.0).abs() < 1e-3);
        assert!((ramp.difference(&darker) - 57.5).abs() < 1e-3);
        assert!((ramp.difference(&flipped) - 120.0).abs() < 1e-3);
        assert_eq!(ramp.laplacian_variance(), 0.0);
        assert!(picture(|x, y| if (x + y) % 2 == 0 { 0 } else { 200 }).laplacian_variance() > 1e5);
    }

    #[test]
    fn one_changed_corner_shows_in_the_blocks_alone() {
        let a = picture(|_, _| 100);
        let b = picture(|x, y| if x < 8 && y < 8 { 150 } else { 100 });
        assert!(a.difference(&b) < 9.0);
        assert_eq!(a.block_difference_max(&b), 50.0);
    }

    #[test]
    fn sizes_are_checked() {
        assert!(GreyImage::new(2, 2, vec![0; 3]).is_none());
        assert!(GreyImage::new(0, 0, Vec::new()).is_none());
        let (a, b) = (GreyImage::new(1, 1, vec![0]).unwrap(), picture(|_, _| 0));
        assert_eq!(a.difference(&b), 255.0);
        assert_eq!(a.laplacian_variance(), 0.0);
    }
}
