//! The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016): does the map's highest
//! point lie in the region?

/// 1 if the map's largest value lies in the mask, 0 if not.
///
/// Where several pixels share the largest value, the result is the share of them that hit: what picking one of them
/// at random would score on average, so that a flat map scores the mask's share of the picture. The map's sign plays
/// no part.
///
/// `tolerance` counts pixels: a point hits when a pixel of the mask is at most that far away (Euclidean, between
/// pixel centres). 0 asks for the mask itself; TorchRay uses 15.
///
/// `None` when the mask is empty or the map has no value that is a number.
///
/// # Panics
/// If `map` and `mask` differ in length or are not rows of `width`.
pub fn pointing_game(map: &[f32], mask: &[bool], width: usize, tolerance: f32) -> Option<f64> {
    assert_eq!(map.len(), mask.len(), "map and mask have the same size");
    assert!(width > 0 && map.len().is_multiple_of(width), "the map is made of whole rows");
    if !mask.contains(&true) {
        return None;
    }
    let largest = map.iter().copied().filter(|value| !value.is_nan()).max_by(f32::total_cmp)?;
    let points = || (0..map.len()).filter(|&pixel| map[pixel] == largest);
    let hits = points().filter(|&point| is_near_mask(point, mask, width, tolerance)).count();
    Some(hits as f64 / points().count() as f64)
}

fn is_near_mask(point: usize, mask: &[bool], width: usize, tolerance: f32) -> bool {
    if mask[point] {
        return true;
    }
    // Only the rows and columns that the tolerance can reach are looked at; a negative one reaches nothing.
    let reach = tolerance.max(0.0);
    let whole = reach as usize;
    let (row, column) = (point / width, point % width);
    let rows = row.saturating_sub(whole)..=row.saturating_add(whole).min(mask.len() / width - 1);
    rows.into_iter().any(|y| {
        let mut columns = column.saturating_sub(whole)..=column.saturating_add(whole).min(width - 1);
        columns.any(|x| {
            let squared = row.abs_diff(y).pow(2) + column.abs_diff(x).pow(2);
            mask[y * width + x] && squared as f64 <= f64::from(reach) * f64::from(reach)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows of four; the region is the right column.
    const MASK: [bool; 12] =
        [false, false, false, true, false, false, false, true, false, false, false, true];

    fn peak_at(pixel: usize) -> [f32; 12] {
        let mut map = [-1.0; 12];
        map[pixel] = 2.0;
        map
    }

    #[test]
    fn a_peak_in_the_mask_hits_and_one_beside_it_misses() {
        assert_eq!(pointing_game(&peak_at(7), &MASK, 4, 0.0), Some(1.0));
        assert_eq!(pointing_game(&peak_at(6), &MASK, 4, 0.0), Some(0.0));
    }

    #[test]
    fn the_tolerance_is_a_distance_between_pixel_centres() {
        assert_eq!(pointing_game(&peak_at(6), &MASK, 4, 1.0), Some(1.0));
        assert_eq!(pointing_game(&peak_at(5), &MASK, 4, 1.9), Some(0.0));
        let mut corner = [false; 12];
        corner[0] = true;
        assert_eq!(pointing_game(&peak_at(5), &corner, 4, 1.4), Some(0.0));
        assert_eq!(pointing_game(&peak_at(5), &corner, 4, 1.5), Some(1.0));
    }

    #[test]
    fn tied_peaks_score_the_share_that_hits() {
        assert_eq!(pointing_game(&[0.5; 12], &MASK, 4, 0.0), Some(0.25));
    }

    #[test]
    fn uncovered_pixels_are_never_the_peak() {
        let mut map = peak_at(7);
        map[0] = f32::NAN;
        assert_eq!(pointing_game(&map, &MASK, 4, 0.0), Some(1.0));
        assert_eq!(pointing_game(&[f32::NAN; 12], &MASK, 4, 0.0), None);
    }

    #[test]
    fn an_empty_mask_has_no_score() {
        assert_eq!(pointing_game(&peak_at(0), &[false; 12], 4, 0.0), None);
    }
}
