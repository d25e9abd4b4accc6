//! Structural similarity of two maps (Wang et al., IEEE TIP 2004), as scikit-image computes it.

/// The side of the window, in cells; a smaller map has the largest odd one that fits it.
const WINDOW: usize = 7;
/// The constants that keep the quotients stable, for a range of 1.
const STABLE: [f64; 2] = [0.01 * 0.01, 0.03 * 0.03];

/// The mean structural similarity of two maps, each scaled to 0 to 1 first: -1 to 1, 1 for maps that differ in scale
/// and offset alone.
///
/// Windows of 7 x 7 cells with equal weights, sample variances, K1 = 0.01 and K2 = 0.03, only where a window lies
/// inside: scikit-image's `structural_similarity` with `data_range=1`. A flat map is 0 everywhere. `None` where the
/// map has fewer than three rows or columns, or a value is not a number.
///
/// # Panics
/// If the two differ in length or are not made of rows of `width`.
pub fn ssim(one: &[f32], other: &[f32], width: usize) -> Option<f64> {
    assert_eq!(one.len(), other.len(), "two maps of one grid");
    assert!(width > 0 && one.len().is_multiple_of(width), "the map is made of whole rows");
    let height = one.len() / width;
    let side = WINDOW.min(width).min(height);
    let side = side - usize::from(side.is_multiple_of(2) && side > 0);
    if side < 3 || one.iter().chain(other).any(|value| value.is_nan()) {
        return None;
    }
    let (one, other) = (scaled(one), scaled(other));
    let (rows, columns) = (height - side + 1, width - side + 1);
    let windows = (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y)));
    let sum: f64 = windows
        .map(|(x, y)| {
            let cells = || (y..y + side).flat_map(|y| (x..x + side).map(move |x| y * width + x));
            similarity(cells().map(|cell| (one[cell], other[cell])), (side * side) as f64)
        })
        .sum();
    Some(sum / (rows * columns) as f64)
}

/// The similarity of two windows of so many cells.
fn similarity(cells: impl Iterator<Item = (f64, f64)> + Clone, count: f64) -> f64 {
    let [a, b] = cells.clone().fold([0.0; 2], |[a, b], (x, y)| [a + x, b + y]).map(|sum| sum / count);
    let moments = cells.fold([0.0; 3], |[xx, yy, xy], (x, y)| {
        [xx + (x - a) * (x - a), yy + (y - b) * (y - b), xy + (x - a) * (y - b)]
    });
    let [variance_a, variance_b, covariance] = moments.map(|sum| sum / (count - 1.0));
    let [first, second] = STABLE;
    let means = (2.0 * a * b + first) / (a * a + b * b + first);
    means * (2.0 * covariance + second) / (variance_a + variance_b + second)
}

/// The values from 0 to 1; all 0 where they are equal.
fn scaled(map: &[f32]) -> Vec<f64> {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let range = f64::from(map.iter().copied().fold(f32::NEG_INFINITY, f32::max)) - f64::from(low);
    let scale = |value: &f32| (f64::from(*value) - f64::from(low)) / if range > 0.0 { range } else { 1.0 };
    map.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_offset_play_no_part() {
        let map: Vec<f32> = (0..63).map(|cell| ((cell * 17) % 23) as f32).collect();
        let other: Vec<f32> = map.iter().map(|value| value * 0.5 - 3.0).collect();
        assert!((ssim(&map, &other, 9).unwrap() - 1.0).abs() < 1e-9);
        let turned: Vec<f32> = map.iter().map(|value| -value).collect();
        assert!(ssim(&map, &turned, 9).unwrap() < -0.5);
    }

    #[test]
    fn one_window_is_by_hand() {
        // 3 x 3, of which one corner is 1: means 1/9, variances 1/9, covariance -1/72.
        let (mut one, mut other) = ([0.0; 9], [0.0; 9]);
        (one[0], other[8]) = (1.0, 1.0);
        let expected = (-2.0 / 72.0 + 9e-4) / (2.0 / 9.0 + 9e-4);
        assert!((ssim(&one, &other, 3).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_window_has_no_similarity() {
        assert_eq!(ssim(&[1.0; 8], &[1.0; 8], 4), None);
        assert_eq!(ssim(&[f32::NAN; 9], &[1.0; 9], 3), None);
        assert_eq!(ssim(&[2.0; 9], &[5.0; 9], 3), Some(1.0));
    }
}
