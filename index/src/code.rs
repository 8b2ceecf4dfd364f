//! What a vector is stored as: a 1-bit sketch, which says roughly how similar it is, and an 8-bit
//! code, which says it to a few ten-thousandths.
//!
//! The sketch and its error are those of Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors
//! with a Theoretical Error Bound for Approximate Nearest Neighbor Search", SIGMOD 2024, with one
//! difference: vectors are not centred, so one prepared query serves every cell.

use crate::kernel::{self, Bar, LUT_MAX, NIBBLE, Table};

/// Largest magnitude of a 16-bit query value: 1024 products with 8-bit codes fit 32 bits.
pub(crate) const QUERY_MAX: i16 = 8191;
/// Largest magnitude of an 8-bit code.
const CODE_MAX: f32 = 127.0;
/// The greatest length of a query.
const LONGEST: f32 = 1.001;
/// What a dot product with a vector is off by where its length is not 1 (1e-3), where the vector was
/// rounded to 16 bits after it was encoded (2^-11), and by rounding in 32 bits (1e-4).
const INEXACT: f32 = 1.6e-3;
/// Combinations of signs in a nibble.
const ENTRIES: usize = 1 << NIBBLE;

/// A unit vector, encoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Code {
    /// A nibble for each four values, lowest bit first: set where the value is not negative.
    pub(crate) nibbles: Vec<u8>,
    /// What the dot product of the signs with a query is multiplied by to estimate the cosine.
    pub(crate) scale: f32,
    /// The values, in steps of `step`.
    pub(crate) values: Vec<i8>,
    /// Chosen so that the decoded vector has length 1.
    pub(crate) step: f32,
}

impl Code {
    /// Encodes a rotated vector of length 1.
    pub(crate) fn of(rotated: &[f32]) -> Self {
        let (groups, _) = rotated.as_chunks::<NIBBLE>();
        let bits = |group: &[f32; NIBBLE]| {
            let set = |(at, value): (usize, &f32)| u8::from(*value >= 0.0) << at;
            group.iter().enumerate().map(set).sum()
        };
        let magnitudes: f32 = rotated.iter().map(|value| value.abs()).sum();
        let largest = rotated.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let per_step = CODE_MAX / largest.max(f32::MIN_POSITIVE);
        let values: Vec<i8> = rotated
            .iter()
            .map(|value| i8::try_from(kernel::nearest_small(value * per_step)).unwrap_or(i8::MAX))
            .collect();
        let norm = kernel::norm(values.iter().map(|value| f64::from(*value)));
        Self {
            nibbles: groups.iter().map(bits).collect(),
            // The signs have length sqrt(d); their cosine to the vector is |v|_1 / sqrt(d).
            scale: 1.0 / magnitudes.max(f32::MIN_POSITIVE),
            values,
            step: kernel::round(1.0 / norm.max(1.0)),
        }
    }
}

/// The standard deviation of the estimate that a share of a sketch gives, for vectors of `padded`
/// values whose sketch has this scale: a head alone does not see what the rest would set right.
fn sketch_deviation(scale: f32, padded: usize, share: f32) -> f32 {
    // With f the cosine of a vector to its signs: sqrt((1 - f^2) / f^2 / (d - 1)). The signs of a share of
    // the values, whose cosine to that share of the vector is f too, see the rest of the query as noise.
    #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
    let padded = padded as f32;
    let inverse = scale * padded.sqrt();
    ((inverse * inverse / share - 1.0).max(0.0) / (padded - 1.0)).sqrt()
}

/// A query, prepared for both.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    values: Vec<i16>,
    value_step: f32,
    table: Vec<u8>,
    table_step: f32,
    base: f32,
    /// By group, the sum of the magnitudes.
    spans: Vec<f32>,
}

/// Makes bars of floors, for one query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bars {
    /// From a floor to the least sum of the head: `(floor - slack) * factor + offset`.
    slack: f32,
    factor: f32,
    offset: f32,
}

impl Bars {
    /// Those whose estimates are above `floor`.
    pub(crate) fn above(self, floor: f32) -> Bar {
        let least = floor - self.slack;
        // Below zero the smallest scale would count, not the largest.
        let head = if least > 0.0 {
            let sum = kernel::nearest((least * self.factor + self.offset).ceil());
            u16::try_from(sum.max(0)).unwrap_or(u16::MAX)
        } else {
            0
        };
        Bar { floor, head }
    }
}

impl Probe {
    /// Prepares a rotated vector of length 1.
    pub(crate) fn of(rotated: &[f32]) -> Self {
        let largest = rotated.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let value_step = largest.max(f32::MIN_POSITIVE) / f32::from(QUERY_MAX);
        let per_step = 1.0 / value_step;
        let quantise = |value: &f32| {
            i16::try_from(kernel::nearest_small(value * per_step))
                .unwrap_or(QUERY_MAX)
                .clamp(-QUERY_MAX, QUERY_MAX)
        };
        let (groups, _) = rotated.as_chunks::<NIBBLE>();
        let span = |group: &[f32; NIBBLE]| group.iter().map(|v| v.abs()).sum();
        let spans: Vec<f32> = groups.iter().map(span).collect();
        let widest = spans.iter().copied().fold(0.0f32, f32::max);
        let table_step = (2.0 * widest / f32::from(LUT_MAX)).max(f32::MIN_POSITIVE);
        let per_entry = 2.0 / table_step;
        let mut table = vec![0; groups.len() * ENTRIES];
        let (tables, _) = table.as_chunks_mut::<ENTRIES>();
        for (group, table) in groups.iter().zip(tables) {
            fill(group, per_entry, table);
        }
        Self {
            values: rotated.iter().map(quantise).collect(),
            value_step,
            table,
            table_step,
            base: -spans.iter().sum::<f32>(),
            spans,
        }
    }

    /// Cosine to a vector by its 8-bit code.
    pub(crate) fn cosine(&self, values: &[i8], step: f32) -> f32 {
        // The product of the steps is at most 1/127/8191; the sum fits 32 bits.
        #[expect(clippy::cast_precision_loss, reason = "rounded to a ten-millionth")]
        let product = kernel::dot_codes(values, &self.values) as f32;
        // A damaged code has no step: it is like nothing.
        (product * (step * self.value_step)).max(-1.0)
    }

    /// The most that [`Self::cosine`] may differ from the dot product of the query and the vector
    /// itself, whatever the two are, for a code of this step.
    ///
    /// In steps of its own a vector lies within `sqrt(d) / 2` of its code's integers `c`, since each
    /// value is rounded by half a step at most; so the sine of the angle between the two, `s`, is at
    /// most `sqrt(d) / 2 / |c|`, and `1 / |c|` is the code's step. Between vectors of length 1 that
    /// angle spans a chord of `2 sin(asin(s) / 2)`, which is at most `s / sqrt(1 - s^2 / 2)`. The query
    /// is rounded too, by `sqrt(d) / 2` of its steps at most.
    pub(crate) fn error_max(&self, step: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
        let half_diagonal = (self.values.len() as f32).sqrt() / 2.0;
        let sine = (half_diagonal * step).clamp(0.0, 1.0);
        let chord = sine / (1.0 - sine * sine / 2.0).sqrt();
        (chord + half_diagonal * self.value_step) * LONGEST + INEXACT
    }

    /// The standard deviation of that difference, were rounding errors spread evenly and independent.
    pub(crate) fn error_deviation(&self, step: f32) -> f32 {
        step.hypot(self.value_step) / 12.0f32.sqrt()
    }

    /// As sketches are compared with it.
    #[inline]
    pub(crate) fn table(&self) -> Table<'_> {
        Table {
            entries: &self.table,
            step: self.table_step,
            base: self.base,
        }
    }

    /// Makes bars for sketches of which none has a larger scale than `widest`, and whose heads have so many
    /// groups. What a head says may be off by as many of its standard deviations as what the whole sketch
    /// says may be by its own, `deviations`.
    pub(crate) fn bars(&self, widest: f32, head: usize, deviations: f32) -> Bars {
        let groups = self.table.len() / ENTRIES;
        #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
        let share = head as f32 / groups as f32;
        let whole = self.estimate_deviation(widest, 1.0);
        let part = self.estimate_deviation(widest, share);
        let per_step = 1.0 / self.table_step;
        let base: f32 = self.spans.iter().take(head).sum();
        Bars {
            slack: deviations * (part - whole),
            factor: share / widest.max(f32::MIN_POSITIVE) * per_step,
            offset: base * per_step,
        }
    }

    /// The standard deviation of the estimate that a share of a sketch of this scale gives.
    pub(crate) fn estimate_deviation(&self, scale: f32, share: f32) -> f32 {
        let groups = self.table.len() / ENTRIES;
        let table = self.table_deviation(scale) / share.sqrt();
        sketch_deviation(scale, groups * NIBBLE, share).hypot(table)
    }

    /// The standard deviation that rounding the table adds to an estimate.
    fn table_deviation(&self, scale: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
        let groups = (self.table.len() / ENTRIES) as f32;
        // Each of the entries is off by an even spread of one step.
        self.table_step * (groups / 12.0).sqrt() * scale
    }
}

/// For each combination of signs, how far the dot product with the group lies above its least.
fn fill(group: &[f32; NIBBLE], per_entry: f32, table: &mut [u8; ENTRIES]) {
    let mut sums = [0.0f32; ENTRIES];
    // All signs negative: that agrees with the negative values. Each set bit then adds its value.
    sums[0] = group.iter().map(|value| (-value).max(0.0)).sum();
    for (bit, value) in group.iter().enumerate() {
        let (known, rest) = sums.split_at_mut(1 << bit);
        for (known, next) in known.iter().zip(rest) {
            *next = known + value;
        }
    }
    for (entry, sum) in table.iter_mut().zip(sums) {
        let steps = kernel::nearest_small(sum * per_entry);
        *entry = u8::try_from(steps.clamp(0, i32::from(LUT_MAX))).unwrap_or(LUT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::BLOCK;
    use proptest::{prelude::*, test_runner::RngSeed};

    fn unit(values: Vec<f32>) -> Vec<f32> {
        let norm = kernel::round(kernel::norm(values.iter().map(|v| f64::from(*v))));
        values.into_iter().map(|value| value / norm).collect()
    }

    /// The estimate, lane 5 of a block.
    fn estimate(code: &Code, probe: &Probe) -> f32 {
        let block: Vec<u8> = code
            .nibbles
            .iter()
            .flat_map(|nibble| {
                let mut bytes = [0u8; 16];
                bytes[5] = *nibble;
                bytes
            })
            .collect();
        let (mut estimates, mut sums) = ([0.0; BLOCK], [0; BLOCK]);
        let scales = [code.scale; BLOCK];
        let table = probe.table();
        kernel::add(&block, table.entries, &mut sums);
        kernel::estimate(&sums, &scales, table, -2.0, &mut estimates);
        estimates[5]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(3),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn codes_and_sketches_say_about_the_same_as_the_vectors(
            pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 512),
            mix in 0.0f32..1.0,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let b = unit(a.iter().zip(&b).map(|(a, b)| a * mix + b * (1.0 - mix)).collect());
            let a = unit(a);
            let (code, probe) = (Code::of(&a), Probe::of(&b));
            let truth = kernel::dot(&a, &b);
            let cosine = probe.cosine(&code.values, code.step);
            prop_assert!((cosine - truth).abs() < 3e-3, "{cosine} {truth}");
            let deviation = sketch_deviation(code.scale, 512, 1.0) + probe.table_deviation(code.scale);
            let estimate = estimate(&code, &probe);
            prop_assert!((estimate - truth).abs() < 5.0 * deviation, "{estimate} {truth} {deviation}");
            prop_assert!(deviation < 0.05);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(4),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn no_code_is_off_by_more_than_it_can_be(
            pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 512),
            groups in 1usize..=8,
            peaks in 0i32..4,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().take(64 * groups).unzip();
            // Few values that are much larger than the others make wide steps.
            let peaked = |values: Vec<f32>| unit(values.into_iter().map(|v| v.powi(2 * peaks + 1)).collect());
            let (a, b) = (peaked(a), peaked(b));
            prop_assert!(off(&a, &b) <= Probe::of(&b).error_max(Code::of(&a).step));
        }

        #[test]
        fn no_code_is_off_by_more_than_it_can_be_where_all_errors_add_up(
            whole in prop::collection::vec((1i8..=120, any::<bool>()), 512),
            rest in 0.0f32..0.5,
        ) {
            let sign = |positive: bool| if positive { 1.0 } else { -1.0 };
            let steps = |(steps, positive): &(i8, bool)| (f32::from(*steps) + rest) * sign(*positive);
            let mut a: Vec<f32> = whole.iter().map(steps).collect();
            // The largest value is a whole number of steps: so the others are off by `rest`.
            a[0] = 127.0;
            let (a, signs) = (unit(a), whole.iter().map(|one| sign(one.1)).collect());
            let (b, code) = (unit(signs), Code::of(&a));
            let most = Probe::of(&b).error_max(code.step);
            prop_assert!(off(&a, &b) <= most);
            let along = kernel::dot(&a, &b);
            let across = unit(b.iter().zip(&a).map(|(b, a)| b - along * a).collect());
            prop_assert!(off(&a, &across) <= Probe::of(&across).error_max(code.step));
        }

        #[test]
        fn codes_are_off_by_their_deviation(
            pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 64 * 64),
        ) {
            let mut squares = 0.0;
            for pair in pairs.chunks(64) {
                let (a, b): (Vec<f32>, Vec<f32>) = pair.iter().copied().unzip();
                let (a, b) = (unit(a), unit(b));
                let deviations = off(&a, &b) / Probe::of(&b).error_deviation(Code::of(&a).step);
                prop_assert!(deviations < 4.5, "{deviations}");
                squares += deviations * deviations;
            }
            let root_mean_square = (squares / 64.0).sqrt();
            prop_assert!((0.6..1.4).contains(&root_mean_square), "{root_mean_square}");
        }
    }

    /// How far the cosine by code is off.
    fn off(a: &[f32], b: &[f32]) -> f32 {
        let code = Code::of(a);
        let by_code = Probe::of(b).cosine(&code.values, code.step);
        (by_code - kernel::dot(a, b)).abs()
    }

    #[test]
    fn a_vector_along_one_axis_is_encoded_too() {
        let mut axis = vec![0.0; 64];
        axis[7] = -1.0;
        let code = Code::of(&axis);
        assert_eq!((code.values[7], code.values[0]), (-127, 0));
        assert!((Probe::of(&axis).cosine(&code.values, code.step) - 1.0).abs() < 1e-3);
    }
}
