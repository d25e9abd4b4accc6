//! What a change of the picture does to the model's confidence.

/// How much more the target's probability drops than its rivals' where the pixels that a map names are removed
/// (Zhang et al., Finer-CAM, CVPR 2025, arXiv 2501.11309, Eq. 10):
///
/// RD = (p_c − p*_c) − (p_d − p*_d), p* after the removal, d the rivals; of several the mean is taken.
///
/// From -2 to 2, more is better. The lists hold the target's probability first. `None` without a rival.
///
/// The paper's rival is the class with the most similar classifier weights; here it is the prompt that the map was
/// contrasted with.
pub fn relative_confidence_drop(before: &[f64], after: &[f64]) -> Option<f64> {
    let drops: Vec<f64> = before.iter().zip(after).map(|(before, after)| before - after).collect();
    let (target, rivals) = drops.split_first()?;
    (!rivals.is_empty()).then(|| target - rivals.iter().sum::<f64>() / rivals.len() as f64)
}

/// By which share the score drops where the photo is seen through the map alone: max(0, S − S') / S
/// (Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063).
///
/// From 0 to 1 for scores that are not negative, less is better; the data set's figure is the mean. `None` unless
/// the score before is positive, for then the share has no meaning. torchcam adds 1e-7 to the divisor;
/// pytorch-grad-cam leaves the division out, which is another number.
pub fn average_drop(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| (before - after).max(0.0) / before)
}

/// Whether the score rises where the photo is seen through the map alone: 1 or 0, more is better; the data set's
/// figure is the mean (Grad-CAM++, as [`average_drop`]). `None` if a score is not a number.
pub fn average_increase(before: f64, after: f64) -> Option<f64> {
    before.partial_cmp(&after).map(|order| f64::from(u8::from(order.is_lt())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_drop_is_by_hand() {
        // The target loses 0.5; the rivals gain 0.2 and 0.3.
        let drop = relative_confidence_drop(&[0.8, 0.1, 0.1], &[0.3, 0.3, 0.4]).unwrap();
        assert!((drop - 0.75).abs() < 1e-12);
        assert_eq!(relative_confidence_drop(&[1.0], &[0.2]), None);
        assert_eq!(relative_confidence_drop(&[], &[]), None);
    }

    #[test]
    fn a_rise_is_no_drop() {
        assert_eq!((average_drop(0.5, 0.125), average_increase(0.5, 0.125)), (Some(0.75), Some(0.0)));
        assert_eq!((average_drop(0.5, 0.6), average_increase(0.5, 0.6)), (Some(0.0), Some(1.0)));
        assert_eq!(average_increase(0.5, 0.5), Some(0.0));
        assert_eq!((average_drop(-0.1, -0.2), average_drop(0.0, 0.0)), (None, None));
        assert_eq!(average_increase(f64::NAN, 0.0), None);
    }
}
