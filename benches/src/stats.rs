//! Times, summed up.

use serde_json::{Value, json};

/// Times in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one, in seconds.
    pub fn add(&mut self, seconds: f64) {
        self.0.push(seconds * 1e3);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mean, in milliseconds; NaN when there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The value below which `percent` of the times lie, in milliseconds; 0 when there are none.
    #[must_use]
    pub fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }

    /// `{"count", "p50_ms", "p99_ms", "max_ms"}`, rounded to microseconds.
    #[must_use]
    pub fn summary(&self) -> Value {
        let rounded = |milliseconds: f64| (milliseconds * 1e3).round() / 1e3;
        json!({
            "count": self.0.len(),
            "p50_ms": rounded(self.at(50)),
            "p99_ms": rounded(self.at(99)),
            "max_ms": rounded(self.at(100)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_any_number_of_times() {
        let mut times = Times::default();
        assert_eq!((times.at(50), times.at(100)), (0.0, 0.0));
        (1..=100)
            .rev()
            .for_each(|milliseconds| times.add(f64::from(milliseconds) / 1e3));
        assert_eq!(
            (times.at(0), times.at(50), times.at(99), times.at(100)),
            (1.0, 51.0, 100.0, 100.0)
        );
    }
}
