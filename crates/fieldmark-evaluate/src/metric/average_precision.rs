//! Pixel average precision: the map read as a ranking of pixels.

use super::for_each_threshold;

/// The area under the precision-recall curve of the pixels of one picture, 0 to 1.
///
/// As scikit-learn's `average_precision_score`: the sum over falling thresholds of the gain in recall times the
/// precision there, with no interpolation; pixels of equal value enter together. Pixels where the map is NaN are
/// never retrieved. `None` when the mask is empty.
///
/// # Panics
/// If `map` and `mask` differ in length.
pub fn average_precision(map: &[f32], mask: &[bool]) -> Option<f64> {
    let relevant = mask.iter().filter(|&&in_mask| in_mask).count();
    if relevant == 0 {
        return None;
    }
    let mut found_before = 0;
    let mut sum = 0.0;
    for_each_threshold(map, mask, |_, retrieved, found| {
        let precision = found as f64 / retrieved as f64;
        sum += precision * (found - found_before) as f64 / relevant as f64;
        found_before = found;
    });
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_ranking_scores_one() {
        assert_eq!(average_precision(&[4.0, 3.0, -1.0, -2.0], &[true, true, false, false]), Some(1.0));
    }

    #[test]
    fn precision_is_averaged_over_the_hits() {
        // Hits at ranks 1 and 3: (1/1 + 2/3) / 2.
        let score = average_precision(&[0.9, 0.8, 0.7, 0.1], &[true, false, true, false]).unwrap();
        assert!((score - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_enter_together_whatever_their_order() {
        assert_eq!(average_precision(&[1.0, 1.0], &[true, false]), Some(0.5));
        assert_eq!(average_precision(&[1.0, 1.0], &[false, true]), Some(0.5));
    }

    #[test]
    fn a_part_that_the_map_does_not_cover_is_missed() {
        assert_eq!(average_precision(&[1.0, f32::NAN], &[true, true]), Some(0.5));
    }

    #[test]
    fn an_empty_mask_has_no_score() {
        assert_eq!(average_precision(&[1.0], &[false]), None);
    }
}
