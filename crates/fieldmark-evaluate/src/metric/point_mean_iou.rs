//! Mean intersection over union at points that people said yes or no to (Benenson and Ferrari, "From colouring-in to
//! pointillism", 2022, arXiv 2210.14142; OpenImages V7).

use super::{Confusion, half_peak};

/// The mean of the foreground's and the background's IoU, counted at points alone: 0 to 1, more is better.
///
/// The map is binarised at half its peak, as LeGrad (Bousselham et al., arXiv 2404.03214) does with its maps scaled to
/// 0 to 1. `yes` and `no` are pixels of the map. Where there is a point of one kind only, that kind's IoU is taken;
/// `None` without a point.
///
/// LeGrad does not say how it goes from pictures to the data set; here every picture and class has its value.
///
/// # Panics
/// If a point is beside the map.
pub fn point_mean_iou(map: &[f32], yes: &[usize], no: &[usize]) -> Option<f64> {
    let found = half_peak(map);
    let known = yes.iter().map(|&pixel| (found[pixel], true));
    Confusion::of(known.chain(no.iter().map(|&pixel| (found[pixel], false)))).mean_iou()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_are_counted() {
        // Found: pixels 0 and 1. Yes at 0 and 2, no at 1 and 3: 1 of 3 and 1 of 3.
        let map = [4.0, 3.0, 1.0, 0.0, 4.0];
        assert_eq!(point_mean_iou(&map, &[0, 2], &[1, 3]), Some(1.0 / 3.0));
        assert_eq!(point_mean_iou(&map, &[0], &[3]), Some(1.0));
        assert_eq!(point_mean_iou(&map, &[0, 1], &[]), Some(1.0));
        assert_eq!(point_mean_iou(&map, &[], &[]), None);
    }
}
