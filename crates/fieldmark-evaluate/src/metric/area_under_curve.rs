//! The area under a deletion or insertion curve (Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421).

/// The mean height of a curve: the area of its trapezoids, divided by the length of the axis that it covers.
///
/// Its range is that of the scores. Of deletion less is better, of insertion more; the other way round where the
/// least relevant pixels go first. On a curve from 0 to 1 in equal steps this is RISE's
/// (Σ s − s_0 / 2 − s_N / 2) / N, and torchcam's trapezoids over the shares that were really removed. A curve that
/// ends earlier is divided by where it ends, so that presets with different ends have one scale.
///
/// `None` for fewer than two points or a curve of no length.
///
/// # Panics
/// If the two differ in length.
pub fn area_under_curve(shares: &[f64], scores: &[f64]) -> Option<f64> {
    assert_eq!(shares.len(), scores.len(), "a score for every share");
    let length = shares.last()? - shares.first()?;
    let pieces = shares.windows(2).zip(scores.windows(2));
    let area: f64 = pieces.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum();
    (length > 0.0).then(|| area / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_steps_give_the_formula_of_rise() {
        let (shares, scores) = ([0.0, 0.25, 0.5, 0.75, 1.0], [0.9, 0.5, 0.4, 0.2, 0.1]);
        let rise = (scores.iter().sum::<f64>() - 0.45 - 0.05) / 4.0;
        assert!((area_under_curve(&shares, &scores).unwrap() - rise).abs() < 1e-12);
    }

    #[test]
    fn unequal_steps_count_by_their_length() {
        // 0.4 wide at a mean of 0.5, 0.1 wide at a mean of 1.5, over 0.5.
        let area = area_under_curve(&[0.0, 0.4, 0.5], &[0.0, 1.0, 2.0]).unwrap();
        assert!((area - 0.7).abs() < 1e-12);
    }

    #[test]
    fn a_point_has_no_area() {
        assert_eq!(area_under_curve(&[0.0], &[1.0]), None);
        assert_eq!(area_under_curve(&[0.5, 0.5], &[1.0, 1.0]), None);
        assert_eq!(area_under_curve(&[], &[]), None);
    }
}
