//! Intersection over union at the threshold that suits the picture best.

use super::for_each_threshold;

/// The best overlap that any threshold gives.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BestIou {
    /// Intersection over union of the mask and the pixels at or above the threshold, 0 to 1.
    pub iou: f64,
    /// The threshold, in the map's units: the highest of those that give this overlap.
    pub threshold: f32,
}

/// The best intersection over union of the mask and `map >= threshold`, over all thresholds that are values of the
/// map. An upper bound on what a fixed threshold reaches, because the mask itself chooses it. `None` when the mask
/// is empty or the map has no value that is a number.
///
/// # Panics
/// If `map` and `mask` differ in length.
pub fn best_iou(map: &[f32], mask: &[bool]) -> Option<BestIou> {
    let in_mask = mask.iter().filter(|&&in_mask| in_mask).count();
    if in_mask == 0 {
        return None;
    }
    let mut best: Option<BestIou> = None;
    for_each_threshold(map, mask, |threshold, reached, hits| {
        let iou = hits as f64 / (in_mask + reached - hits) as f64;
        if best.is_none_or(|best| iou > best.iou) {
            best = Some(BestIou { iou, threshold });
        }
    });
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_threshold_that_cuts_out_the_mask() {
        let best = best_iou(&[5.0, 4.0, 1.0, -3.0], &[true, true, false, false]);
        assert_eq!(best, Some(BestIou { iou: 1.0, threshold: 4.0 }));
    }

    #[test]
    fn weighs_a_wrong_pixel_against_a_missed_one() {
        // At 3: 1 of 2 (one missed). At 2: 1 of 3. At 1: 2 of 3, the best.
        let best = best_iou(&[3.0, 2.0, 1.0, 0.0], &[true, false, true, false]);
        assert_eq!(best, Some(BestIou { iou: 2.0 / 3.0, threshold: 1.0 }));
    }

    #[test]
    fn a_flat_map_overlaps_by_the_share_of_the_mask() {
        assert_eq!(
            best_iou(&[0.0; 4], &[true, false, false, false]),
            Some(BestIou { iou: 0.25, threshold: 0.0 })
        );
    }

    #[test]
    fn has_no_score_without_a_mask_or_a_map() {
        assert_eq!(best_iou(&[1.0], &[false]), None);
        assert_eq!(best_iou(&[f32::NAN], &[true]), None);
    }
}
