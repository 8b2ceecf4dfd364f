use crate::{number::round_u32, source::GreyImage};

/// A picture as shot finders see it: means of 4x4 pixels. Sketches of one size can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sketch {
    width: usize,
    height: usize,
    values: Vec<f32>,
    mean: f32,
    variance: f32,
}

/// How a picture lies between two others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mix {
    /// The share of the second in it: 0 to 1 if it is a mix at all.
    pub(super) share: f32,
    /// What a mix leaves unexplained, as a share of `distance`: 0 in a perfect dissolve.
    pub(super) residual: f32,
    /// How far the two are apart, as a standard deviation of grey values.
    pub(super) distance: f32,
}

/// A picture that deviates less is almost one colour.
const BLANK: f32 = 6.0;
/// How much nearer or farther a camera may have gone.
const ZOOM: f32 = 1.15;
/// Side of the squares that become one value.
const CELL: usize = 4;
/// Values to each side that a value is compared with.
const AROUND: usize = 4;
/// Contrast that counts as none: below it is noise.
const FAINT: f32 = 4.0;

impl Sketch {
    pub(super) fn of(grey: &GreyImage) -> Self {
        let (width, height) = (grey.width().div_ceil(CELL), grey.height().div_ceil(CELL));
        let (mut sums, mut counts) = (vec![0u32; width * height], vec![0u32; width * height]);
        for (y, row) in grey.pixels().chunks_exact(grey.width()).enumerate() {
            let line = y / CELL * width;
            for (x, cell) in row.chunks(CELL).enumerate() {
                sums[line + x] += cell.iter().map(|p| u32::from(*p)).sum::<u32>();
                counts[line + x] += u32::try_from(cell.len()).unwrap_or(1);
            }
        }
        let values = sums.iter().zip(counts).map(|(s, n)| *s as f32 / n as f32);
        Self::new(width, height, values.collect())
    }

    fn new(width: usize, height: usize, values: Vec<f32>) -> Self {
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = (dot(&values, &values) / count - mean * mean).max(0.0);
        Self {
            width,
            height,
            values,
            mean,
            variance,
        }
    }

    pub(super) fn same_size(&self, other: &Self) -> bool {
        (self.width, self.height) == (other.width, other.height)
    }

    /// Standard deviation.
    pub(super) fn deviation(&self) -> f32 {
        self.variance.sqrt()
    }

    /// Whether it is almost one colour.
    pub(super) fn is_blank(&self) -> bool {
        self.deviation() < BLANK
    }

    /// How this picture lies between two others, whatever the light does meanwhile.
    ///
    /// A change of light scales a picture, so whatever is like the fainter of the two is taken
    /// away first, by regression; a picture of one colour takes nothing.
    pub(super) fn mix(&self, from: &Self, to: &Self) -> Mix {
        let backwards = from.variance > to.variance;
        let (faint, strong) = if backwards { (to, from) } else { (from, to) };
        let scale = faint.variance + BLANK * BLANK;
        let (in_strong, in_self) = (faint.covariance(strong), faint.covariance(self));
        let length = (strong.variance - in_strong * in_strong / scale).max(1e-3);
        let along = strong.covariance(self) - in_strong * in_self / scale;
        let own = self.variance - in_self * in_self / scale;
        let share = along / length;
        Mix {
            share: if backwards { 1.0 - share } else { share },
            residual: ((own - share * along).max(0.0) / length).sqrt(),
            distance: length.sqrt(),
        }
    }

    fn covariance(&self, other: &Self) -> f32 {
        let products = dot(&self.values, &other.values);
        products / self.values.len() as f32 - self.mean * other.mean
    }

    /// What is left when light is taken away: each value less the mean around it, by the contrast
    /// there.
    pub(super) fn relief(&self) -> Self {
        let squares: Vec<f32> = self.values.iter().map(|v| v * v).collect();
        let (means, squares) = (self.blurred(&self.values), self.blurred(&squares));
        let values = self.values.iter().zip(means.iter().zip(squares));
        let values = values.map(|(v, (mean, square))| {
            (v - mean) / ((square - mean * mean).max(0.0).sqrt() + FAINT)
        });
        Self::new(self.width, self.height, values.collect())
    }

    /// This picture seen from so many times as near, about its middle.
    pub(super) fn zoomed(&self, times: f32) -> Self {
        let from = |at: usize, size: usize| {
            let middle = (size as f32 - 1.0) / 2.0;
            let place = round_u32((at as f32 - middle) / times + middle) as usize;
            place.min(size - 1)
        };
        let columns: Vec<usize> = (0..self.width).map(|x| from(x, self.width)).collect();
        let rows = (0..self.height).map(|y| from(y, self.height) * self.width);
        let values = rows.flat_map(|row| columns.iter().map(move |x| self.values[row + x]));
        Self::new(self.width, self.height, values.collect())
    }

    fn blurred(&self, values: &[f32]) -> Vec<f32> {
        let rows: Vec<f32> = values
            .chunks_exact(self.width)
            .flat_map(window_means)
            .collect();
        let mut out = vec![0.0; rows.len()];
        for x in 0..self.width {
            let column: Vec<f32> = rows.iter().skip(x).step_by(self.width).copied().collect();
            for (y, mean) in window_means(&column).into_iter().enumerate() {
                out[y * self.width + x] = mean;
            }
        }
        out
    }

    /// How much this picture and `other` look like one scene, -1 to 1: the largest correlation of
    /// their reliefs over some shifts and distances.
    ///
    /// Cost: about a millisecond at 40x23.
    pub(super) fn shows_also(&self, other: &Self) -> f32 {
        let (mine, theirs) = (self.relief(), other.relief());
        let zoomed = [1.0 / ZOOM, ZOOM].map(|times| mine.zoomed(times).likeness(&theirs, 4));
        mine.likeness(&theirs, 6).max(zoomed[0]).max(zoomed[1])
    }

    /// Correlation of two reliefs, -1 to 1, at the shift of at most `reach` values in each
    /// direction where it is largest.
    pub(super) fn likeness(&self, other: &Self, reach: usize) -> f32 {
        if !self.same_size(other) {
            return 0.0;
        }
        let shifts = |size: usize| reach.min(size / 2);
        let (across, down) = (shifts(self.width), shifts(self.height));
        let mut best = -1f32;
        for dy in 0..=2 * down {
            for dx in 0..=2 * across {
                best = best.max(self.correlation(other, (dx, across), (dy, down)));
            }
        }
        best
    }

    /// Correlation where both are, with the other one moved by the difference of each pair.
    fn correlation(&self, other: &Self, dx: (usize, usize), dy: (usize, usize)) -> f32 {
        let span = |(by, zero): (usize, usize), size: usize| {
            let (mine, theirs) = (by.saturating_sub(zero), zero.saturating_sub(by));
            (mine, theirs, size - mine - theirs)
        };
        let (x, other_x, columns) = span(dx, self.width);
        let (y, other_y, rows) = span(dy, self.height);
        let (mut both, mut mine, mut theirs) = (0f32, 1e-3f32, 1e-3f32);
        for row in 0..rows {
            let (at, other_at) = (
                (y + row) * self.width + x,
                (other_y + row) * self.width + other_x,
            );
            let a = &self.values[at..at + columns];
            let b = &other.values[other_at..other_at + columns];
            both += dot(a, b);
            mine += dot(a, a);
            theirs += dot(b, b);
        }
        both / (mine * theirs).sqrt()
    }
}

/// The sum of products, in eight sums that compilers add side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Means over [`AROUND`] values to each side, as far as there are any.
fn window_means(values: &[f32]) -> Vec<f32> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0f32);
    for value in values {
        sums.push(sums[sums.len() - 1] + value);
    }
    (0..values.len())
        .map(|i| {
            let (low, high) = (i.saturating_sub(AROUND), (i + AROUND + 1).min(values.len()));
            (sums[high] - sums[low]) / (high - low) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sketch of 40x20 values.
    fn sketch(at: impl Fn(f32, f32) -> f32) -> Sketch {
        let values = (0u16..800).map(|i| at(f32::from(i % 40), f32::from(i / 40)));
        Sketch::new(40, 20, values.collect())
    }

    fn texture(seed: f32, x: f32, y: f32) -> f32 {
        128.0 + 40.0 * (x * 0.5 * seed + seed).sin() + 30.0 * (y * 0.6 + x * 0.2 * seed).cos()
    }

    #[test]
    fn cells_are_means_of_their_pixels() {
        let pixels = (0u8..60).map(|i| if i % 10 < 4 { 10 } else { 40 });
        let sketch = Sketch::of(&GreyImage::new(10, 6, pixels.collect()).unwrap());
        assert_eq!((sketch.width, sketch.height), (3, 2));
        assert_eq!(sketch.values, [10.0, 40.0, 40.0, 10.0, 40.0, 40.0]);
    }

    #[test]
    fn a_dissolve_is_a_mix_and_a_wipe_is_none() {
        let (a, b) = (
            sketch(|x, y| texture(1.0, x, y)),
            sketch(|x, y| texture(2.3, x, y)),
        );
        let third = sketch(|x, y| texture(1.0, x, y) * 0.7 + texture(2.3, x, y) * 0.3);
        let mix = third.mix(&a, &b);
        assert!(
            (mix.share - 0.3).abs() < 0.03 && mix.residual < 0.05,
            "{mix:?}"
        );
        let back = third.mix(&b, &a);
        assert!((back.share - 0.7).abs() < 0.03, "{back:?}");
        let wipe = sketch(|x, y| texture(if x < 20.0 { 1.0 } else { 2.3 }, x, y));
        assert!(wipe.mix(&a, &b).residual > 0.45);
    }

    #[test]
    fn light_puts_no_distance_between_pictures_but_fades_do() {
        let at = |light: f32| sketch(move |x, y| texture(1.0, x, y) * light);
        assert!(at(0.8).mix(&at(1.0), &at(0.6)).distance < 10.0);
        let fade = at(0.5).mix(&at(1.0), &at(0.0));
        assert!(fade.distance > 30.0 && fade.residual < 0.01, "{fade:?}");
        assert!((fade.share - 0.5).abs() < 0.01, "{fade:?}");
        assert!(at(0.02).is_blank() && !at(0.5).is_blank());
    }

    #[test]
    fn scenes_are_known_again_moved_lit_and_from_nearer() {
        let a = sketch(|x, y| texture(1.0, x, y));
        let moved = sketch(|x, y| texture(1.0, x + 4.0, y - 2.0) * 0.6 + 30.0);
        let nearer = sketch(|x, y| texture(1.0, 19.5 + (x - 19.5) / 1.1, 9.5 + (y - 9.5) / 1.1));
        let other = sketch(|x, y| texture(2.3, x, y));
        assert!(a.shows_also(&moved) > 0.9 && a.shows_also(&nearer) > 0.7);
        assert!(a.relief().likeness(&moved.relief(), 0) < a.shows_also(&moved));
        assert!(a.relief().likeness(&other.relief(), 4) < 0.45);
        let small = Sketch::new(4, 2, vec![1.0; 8]);
        assert_eq!(a.likeness(&small, 4), 0.0);
    }
}
