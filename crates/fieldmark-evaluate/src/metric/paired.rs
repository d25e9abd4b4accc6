//! Is one setting better than another on the same pictures? Two tests of the pictures' differences, and a correction
//! for asking often. Smaller is less likely by chance alone, 0 to 1; no number here says how large a difference is.

use super::rank_correlation::ranks;
use fieldmark_model::random::Random;

/// The sign-flip permutation test (Fisher, 1935) of the mean difference.
///
/// Where two settings are the same, each difference might as well have had the other sign. The p value is the share of
/// all ways to set the signs whose mean is at least as far from 0, two-sided. Nothing is assumed of the differences
/// beyond that; pictures must be independent, so pass one difference a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SignFlip {
    /// How many ways are drawn where there are more than that; where there are not, all are counted.
    pub rounds: usize,
    /// Seeds the draws.
    pub seed: u64,
}

impl Default for SignFlip {
    fn default() -> Self {
        Self { rounds: 10_000, seed: 1 }
    }
}

impl SignFlip {
    /// The p value; `None` without differences or rounds. With drawn signs the way things are counts as one of the
    /// ways, so that p is never 0 (Phipson and Smyth, 2010).
    pub fn p_value(&self, differences: &[f64]) -> Option<f64> {
        // A zero has no sign to flip.
        let differences: Vec<f64> = differences.iter().copied().filter(|value| *value != 0.0).collect();
        if self.rounds == 0 {
            return None;
        }
        let observed: f64 = differences.iter().sum::<f64>().abs();
        // Sums of the same numbers in other orders differ in their last digits.
        let least = observed * (1.0 - 1e-12);
        let all = 1_usize.checked_shl(differences.len() as u32).filter(|all| *all <= self.rounds);
        let (extreme, ways) = match all {
            Some(all) => {
                ((0..all).filter(|way| signed(&differences, *way as u64).abs() >= least).count(), all)
            }
            None => {
                let mut random = Random::new(self.seed);
                let drawn = (0..self.rounds).filter(|_| drawn(&differences, &mut random).abs() >= least);
                (drawn.count() + 1, self.rounds + 1)
            }
        };
        Some(extreme as f64 / ways as f64)
    }
}

/// The sum of the values; those whose bit is set count with the other sign.
fn signed(values: &[f64], bits: u64) -> f64 {
    values
        .iter()
        .enumerate()
        .map(|(at, value)| if bits >> (at % 64) & 1 == 1 { -value } else { *value })
        .sum()
}

/// The sum of the values with random signs.
fn drawn(values: &[f64], random: &mut Random) -> f64 {
    values.chunks(64).map(|values| signed(values, random.bits())).sum()
}

/// The most differences for which Wilcoxon's test is exact.
const EXACT: usize = 50;

/// The p value of Wilcoxon's signed-rank test (1945), two-sided: how far the ranks of the positive differences are from
/// half of all. It asks whether differences lie evenly around 0, and a few large ones weigh little.
///
/// Differences of 0 are left out, equal ones share their ranks. Up to 50 differences the distribution is exact, and
/// knows of equal ones; above, it is taken for normal, with the variance that equal ones leave and no correction for
/// continuity, as in scipy's `wilcoxon`. `None` if no difference is left.
pub fn wilcoxon(differences: &[f64]) -> Option<f64> {
    let differences: Vec<f64> =
        differences.iter().copied().filter(|value| *value != 0.0 && !value.is_nan()).collect();
    if differences.is_empty() {
        return None;
    }
    let ranks = ranks(&differences.iter().map(|value| value.abs()).collect::<Vec<_>>());
    let positive: f64 = ranks.iter().zip(&differences).filter(|(_, d)| **d > 0.0).map(|(rank, _)| rank).sum();
    if differences.len() <= EXACT {
        Some(exact(&ranks, positive))
    } else {
        // The variance of Σ ± r / 2 over all signs, which knows of equal ranks.
        let deviation = ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt() / 2.0;
        let from_middle = positive - ranks.iter().sum::<f64>() / 2.0;
        Some(two_sided(from_middle / deviation))
    }
}

/// The share of all ways to set signs that are at least as far from the middle.
fn exact(ranks: &[f64], positive: f64) -> f64 {
    // Ranks are whole or half, so twice a rank is a whole number.
    let doubled: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank).round() as usize).collect();
    let total: usize = doubled.iter().sum();
    let mut ways = vec![0.0_f64; total + 1];
    ways[0] = 1.0;
    for rank in doubled {
        for sum in (rank..=total).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let observed = (2.0 * positive).round() as usize;
    let distance = |sum: usize| (2 * sum).abs_diff(total);
    let far = ways.iter().enumerate().filter(|(sum, _)| distance(*sum) >= distance(observed));
    far.map(|(_, ways)| ways).sum::<f64>() / ways.iter().sum::<f64>()
}

/// The probability that a standard normal number is at least so far from 0.
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    if x < 2.5 {
        // 1 - erf(x), by the power series of erf.
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return (1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI).clamp(0.0, 1.0);
    }
    // Laplace's continued fraction of erfc(x), from its far end.
    let fraction = (1..60).rev().fold(x, |rest, n| x + f64::from(n) / 2.0 / rest);
    (-x * x).exp() / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
}

/// Holm's correction (1979) for several tests of one question: what each p value becomes, in their order. If each
/// is held to 0.05 afterwards, a single false alarm among all of them has a chance of at most 0.05.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, &index) in order.iter().enumerate() {
        largest = largest.max((p_values[index] * (p_values.len() - place) as f64).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_differences_are_counted_out() {
        // Of 8 ways only +++ and --- are as far as 6.
        assert_eq!(SignFlip::default().p_value(&[1.0, 2.0, 3.0]), Some(0.25));
        // 1 + 2 - 3 is 0, and everything is as far.
        assert_eq!(SignFlip::default().p_value(&[1.0, 2.0, -3.0, 0.0]), Some(1.0));
        assert_eq!(SignFlip::default().p_value(&[0.0; 3]), Some(1.0));
        assert_eq!(SignFlip { rounds: 0, seed: 1 }.p_value(&[1.0]), None);
    }

    #[test]
    fn many_differences_are_drawn() {
        let even: Vec<f64> = (0..200).map(|at| if at % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let shifted: Vec<f64> = even.iter().map(|value| value + 0.5).collect();
        let test = SignFlip::default();
        assert_eq!(test.p_value(&even), Some(1.0));
        assert_eq!(test.p_value(&shifted), Some(1.0 / 10_001.0));
        // A mean of 0.14 at a deviation of 1 over 200: z is 2, and p some 0.047.
        let slight: Vec<f64> = even.iter().map(|value| value + 0.1428).collect();
        let p = test.p_value(&slight).unwrap();
        assert!((p - 0.047).abs() < 0.02, "{p}");
        assert_eq!(test.p_value(&slight), Some(p));
        assert_ne!(SignFlip { seed: 2, ..test }.p_value(&slight), Some(p));
    }

    #[test]
    fn wilcoxon_is_exact_for_few() {
        // Of 16 ways to set signs, only all positive and all negative are so far.
        assert_eq!(wilcoxon(&[1.0, 2.0, 3.0, 4.0]), Some(0.125));
        assert_eq!(wilcoxon(&[1.0, 1.0, 0.0]), Some(0.5));
        assert_eq!(wilcoxon(&[0.0, f64::NAN]), None);
    }

    #[test]
    fn the_normal_tail_is_right_on_both_sides_of_its_seam() {
        for (z, expected) in [
            (0.0, 1.0),
            (1.0, 0.317_310_507_862_914_15),
            (3.5, 4.652_581_580_710_500_3e-4),
            (3.6, 3.182_171_803_150_672_7e-4),
            (8.0, 1.244_192_114_854_348e-15),
        ] {
            assert!((two_sided(z) / expected - 1.0).abs() < 1e-9, "{z}: {}", two_sided(z));
        }
    }

    #[test]
    fn holm_multiplies_and_stays_in_order() {
        // 0.01 · 3, then 0.02 · 2, then 0.03 · 1, which may not fall below the one before.
        assert_eq!(holm(&[0.03, 0.01, 0.02]), [0.04, 0.03, 0.04]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
