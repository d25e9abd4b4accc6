//! How far a mean over pictures may be off: the percentile bootstrap (Efron, 1979).

use fieldmark_model::random::Random;

/// A mean and the interval that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// The mean of the values as they are.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How to resample. The same settings and values give the same interval on every machine.
///
/// For the difference of two settings over the same pictures, pass the pictures' differences: that is the paired
/// bootstrap, and narrower than comparing two intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many times the values are drawn anew, with replacement.
    pub rounds: usize,
    /// The share of resampled means inside the interval, above 0 and below 1.
    pub coverage: f64,
    /// Seeds the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { rounds: 2000, coverage: 0.95, seed: 1 }
    }
}

impl Bootstrap {
    /// The mean of the values with its percentile interval; `None` without values or rounds.
    pub fn mean(&self, values: &[f64]) -> Option<Interval> {
        if values.is_empty() || self.rounds == 0 {
            return None;
        }
        let mut random = Random::new(self.seed);
        let mut means: Vec<f64> = (0..self.rounds)
            .map(|_| {
                let sum: f64 = values.iter().map(|_| values[random.below(values.len())]).sum();
                sum / values.len() as f64
            })
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.coverage.clamp(0.0, 1.0)) / 2.0;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Interval { mean, low: quantile(&means, tail), high: quantile(&means, 1.0 - tail) })
    }
}

/// The quantile of sorted values, linear between neighbours (NumPy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_leave_no_doubt() {
        let interval = Bootstrap::default().mean(&[0.5; 7]).unwrap();
        assert_eq!(interval, Interval { mean: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn the_interval_of_a_coin_is_that_of_the_binomial() {
        // 100 values, half of them 1: the normal approximation gives 0.5 -+ 1.96 * 0.05.
        let coins: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let interval = Bootstrap::default().mean(&coins).unwrap();
        assert_eq!(interval.mean, 0.5);
        assert!((interval.low - 0.402).abs() < 0.015, "{interval:?}");
        assert!((interval.high - 0.598).abs() < 0.015, "{interval:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let first = Bootstrap::default().mean(&values);
        assert_eq!(first, Bootstrap::default().mean(&values));
        assert_ne!(first, Bootstrap { seed: 2, ..Bootstrap::default() }.mean(&values));
    }

    #[test]
    fn wider_coverage_is_wider() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let narrow = Bootstrap { coverage: 0.5, ..Bootstrap::default() }.mean(&values).unwrap();
        let wide = Bootstrap::default().mean(&values).unwrap();
        assert!(wide.low < narrow.low && narrow.high < wide.high);
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    }

    #[test]
    fn nothing_has_no_interval() {
        assert_eq!(Bootstrap::default().mean(&[]), None);
        assert_eq!(Bootstrap { rounds: 0, ..Bootstrap::default() }.mean(&[1.0]), None);
    }
}
