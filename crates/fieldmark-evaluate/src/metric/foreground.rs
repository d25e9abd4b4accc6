//! A map becomes the pixels that it calls the concept's, at a threshold that does not know the truth.
//!
//! The field's maps are rectified before they are thresholded, so only the positive part of a signed map counts.

/// The pixels of at least half the map's largest value: 0.5 of a map that was scaled to its peak.
///
/// None of them where nothing is positive, and none where the map is NaN.
pub fn half_peak(map: &[f32]) -> Vec<bool> {
    let peak = map.iter().copied().filter(|value| !value.is_nan()).fold(0.0, f32::max);
    map.iter().map(|value| peak > 0.0 && *value >= peak / 2.0).collect()
}

/// The pixels above the mean of the map's positive part, as in the ImageNet-Segmentation protocol (Guillaumin et al.,
/// IJCV 2014; Chefer et al., CVPR 2021, arXiv 2012.09838), which rectifies, scales and takes M > mean(M).
///
/// NaN is left out of the mean and never above it.
pub fn above_mean(map: &[f32]) -> Vec<bool> {
    let covered = || map.iter().filter(|value| !value.is_nan());
    let sum: f64 = covered().map(|value| f64::from(value.max(0.0))).sum();
    let mean = sum / covered().count().max(1) as f64;
    map.iter().map(|value| f64::from(*value) > mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_peak_belongs() {
        assert_eq!(half_peak(&[4.0, 2.0, 1.9, -8.0, f32::NAN]), [true, true, false, false, false]);
        assert_eq!(half_peak(&[-4.0, 0.0]), [false; 2]);
    }

    #[test]
    fn the_mean_is_that_of_the_positive_part() {
        // (4 + 2 + 0) / 3 = 2, which is not above itself.
        assert_eq!(above_mean(&[4.0, 2.0, -60.0, f32::NAN]), [true, false, false, false]);
        assert_eq!(above_mean(&[0.0; 3]), [false; 3]);
        assert_eq!(above_mean(&[-1.0, -3.0]), [false; 2]);
    }
}
