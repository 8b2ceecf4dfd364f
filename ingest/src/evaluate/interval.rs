//! How sure is a share that was counted?

use serde::Serialize;

/// The 97.5 % point of the normal distribution.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;

/// The bounds between which a number lies, 19 times out of 20.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower.
    pub low: f64,
    /// The upper.
    pub high: f64,
}

impl Interval {
    /// What encloses both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }
}

/// The 95 % interval of a share, of which `hits` of `trials` were seen: Wilson, "Probable Inference,
/// the Law of Succession, and Statistical Inference", JASA 22, 1927. Trials count as independent.
/// Without trials anything may be.
#[must_use]
pub fn wilson(hits: f64, trials: f64) -> Interval {
    if trials <= 0.0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let (share, z2) = (hits / trials, Z95 * Z95);
    let middle = (share + z2 / (2.0 * trials)) / (1.0 + z2 / trials);
    let half = Z95 * (share * (1.0 - share) / trials + z2 / (4.0 * trials * trials)).sqrt()
        / (1.0 + z2 / trials);
    Interval {
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}

/// The exact 95 % interval of a share (Clopper and Pearson, "The Use of Confidence or Fiducial
/// Limits", Biometrika 26, 1934): it holds the true share at least so often, however few the hits.
#[must_use]
pub fn clopper_pearson(hits: f64, trials: f64) -> Interval {
    if trials <= 0.0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let low = if hits <= 0.0 {
        0.0
    } else {
        beta_quantile(0.025, hits, trials - hits + 1.0)
    };
    let high = if hits >= trials {
        1.0
    } else {
        beta_quantile(0.975, hits + 1.0, trials - hits)
    };
    Interval { low, high }
}

/// The 95 % interval of a rate from how it differs between groups that know nothing of each other,
/// given as hits and trials: the linear part of its error, on the scale of log odds. Where each trial
/// concerns `sides` members of groups, and is counted at each, as in a U-statistic (Hoeffding, "A Class
/// of Statistics with Asymptotically Normal Distribution", Annals of Mathematical Statistics 19, 1948).
///
/// `None` where it cannot be told: fewer than two groups, or a rate of 0 or 1.
#[must_use]
pub fn of_groups(groups: &[(f64, f64)], rate: f64, sides: f64) -> Option<Interval> {
    let groups = groups.iter().filter(|(_, trials)| *trials > 0.0);
    let count = groups.clone().count() as f64;
    if count < 2.0 || rate <= 0.0 || rate >= 1.0 {
        return None;
    }
    let all: f64 = groups.clone().map(|(_, trials)| trials).sum();
    let squares = groups.map(|(hits, trials)| (hits - rate * trials).powi(2));
    let error = sides * (count / (count - 1.0) * squares.sum::<f64>()).sqrt() / all;
    let odds = (rate / (1.0 - rate)).ln();
    let half = Z95 * error / (rate * (1.0 - rate));
    let back = |odds: f64| 1.0 / (1.0 + (-odds).exp());
    Some(Interval {
        low: back(odds - half),
        high: back(odds + half),
    })
}

/// Where the beta distribution reaches `share`, by halving.
fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..200 {
        // Shares may be very small: halve the exponent as long as they are.
        let middle = if low == 0.0 && high > 1e-300 && high < 1e-3 {
            high * 0.1
        } else {
            f64::midpoint(low, high)
        };
        if beta_cumulative(middle, a, b) < share {
            low = middle;
        } else {
            high = middle;
        }
        if high - low <= 1e-13 * high {
            break;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).
fn beta_cumulative(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cumulative(1.0 - x, b, a);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let tiny = 1e-300;
    let keep = |value: f64| if value.abs() < tiny { tiny } else { value };
    // Lentz's method: numerators d1, d2, .. over ones.
    let (mut c, mut d) = (1.0, 1.0 / keep(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for step in 1..1000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / keep(1.0 + numerator * d);
            c = keep(1.0 + numerator / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// Stirling's series (DLMF 5.11.1), after raising the argument to where it is exact.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 15.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0
        - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse * (1.0 / 1680.0))))
        / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Interval, low: f64, high: f64) {
        assert!((found.low - low).abs() < 1e-9, "{found:?}");
        assert!((found.high - high).abs() < 1e-9, "{found:?}");
    }

    const WILSON_7_50: (f64, f64) = (0.069_508_334_270_162_9, 0.261_861_937_105_855_4);
    const WILSON_0_300: f64 = 0.012_642_971_224_546;
    const EXACT_7_50: (f64, f64) = (0.058_191_700_339_973_4, 0.267_396_002_497_008_5);
    const EXACT_0_300: f64 = 0.012_220_974_694_296_4;
    const EXACT_3_1M: (f64, f64) = (6.186725999192623e-07, 8.76724780590618e-06);
    const EXACT_5_5: f64 = 0.478_176_249_895_018_6;

    /// scipy.stats.binomtest(k, n).proportion_ci(method=..), SciPy 1.17.1.
    #[test]
    fn as_scipy_has_them() {
        check(wilson(7.0, 50.0), WILSON_7_50.0, WILSON_7_50.1);
        check(wilson(0.0, 300.0), 0.0, WILSON_0_300);
        check(clopper_pearson(7.0, 50.0), EXACT_7_50.0, EXACT_7_50.1);
        check(clopper_pearson(0.0, 300.0), 0.0, EXACT_0_300);
        check(clopper_pearson(3.0, 1e6), EXACT_3_1M.0, EXACT_3_1M.1);
        check(clopper_pearson(5.0, 5.0), EXACT_5_5, 1.0);
        check(clopper_pearson(0.0, 0.0), 0.0, 1.0);
    }
}
