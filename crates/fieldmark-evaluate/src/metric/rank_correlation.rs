//! Spearman's rank correlation: how alike two maps order their cells; only ranks count.

/// The correlation of the ranks, -1 to 1; equal values share the mean of their ranks, as in scipy's `spearmanr`.
///
/// `None` where one of the two is flat or has fewer than two cells, or a value is not a number: then there is no
/// order.
///
/// # Panics
/// If the two differ in length.
pub fn rank_correlation(one: &[f32], other: &[f32]) -> Option<f64> {
    assert_eq!(one.len(), other.len(), "two maps of one grid");
    if one.iter().chain(other).any(|value| value.is_nan()) {
        return None;
    }
    let values = |map: &[f32]| -> Vec<f64> { map.iter().map(|value| f64::from(*value)).collect() };
    let (one, other) = (ranks(&values(one)), ranks(&values(other)));
    // All ranks together are always the same, so both have this mean.
    let mean = (one.len() + 1) as f64 / 2.0;
    let sum = |one: &[f64], other: &[f64]| -> f64 {
        one.iter().zip(other).map(|(one, other)| (one - mean) * (other - mean)).sum()
    };
    let spread = (sum(&one, &one) * sum(&other, &other)).sqrt();
    (spread > 0.0).then(|| (sum(&one, &other) / spread).clamp(-1.0, 1.0))
}

/// The ranks of values, from 1; equal values share their mean.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for same in order.chunk_by(|&left, &right| values[left] == values[right]) {
        let rank = before as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|&index| ranks[index] = rank);
        before += same.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_counts() {
        assert_eq!(rank_correlation(&[1.0, 2.0, 9.0], &[-5.0, 0.0, 0.1]), Some(1.0));
        assert_eq!(rank_correlation(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        // One exchange of neighbours among three: 1 - 6 · 2 / (3 · 8).
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[2.0, 1.0, 3.0]), Some(0.5));
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0, -0.0]), [4.5, 3.0, 4.5, 1.5, 1.5]);
    }

    #[test]
    fn without_an_order_there_is_no_correlation() {
        assert_eq!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(rank_correlation(&[f32::NAN, 1.0], &[1.0, 2.0]), None);
        assert_eq!(rank_correlation(&[], &[]), None);
    }
}
