//! The order in which a map's pixels are removed.

/// The pixels by falling value; pixels of equal value in their own order, row by row from the top left, and those
/// where the map is NaN last. torchcam's order (a stable sort). The least relevant first is this order reversed.
///
/// -0 and 0 are equal.
pub fn relevance_order(map: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..map.len()).collect();
    // A NaN is below everything; adding 0 makes a negative zero positive.
    let key = |pixel: usize| if map[pixel].is_nan() { f32::NEG_INFINITY } else { map[pixel] + 0.0 };
    order.sort_by(|&left, &right| {
        key(right).total_cmp(&key(left)).then_with(|| map[left].is_nan().cmp(&map[right].is_nan()))
    });
    order
}

/// How many of `all` pixels a share is, rounded up; a share that is a whole number of pixels but for the rounding of
/// floating point is that number.
pub fn count_of(share: f64, all: usize) -> usize {
    ((share * all as f64 - 1e-9).ceil().max(0.0) as usize).min(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_keep_their_place_and_nan_comes_last() {
        assert_eq!(relevance_order(&[0.0, 2.0, f32::NAN, -0.0, 2.0, -1.0]), [1, 4, 0, 3, 5, 2]);
        assert_eq!(relevance_order(&[f32::NAN, f32::NEG_INFINITY, 1.0]), [2, 1, 0]);
        assert_eq!(relevance_order(&[]), [0; 0]);
    }

    #[test]
    fn shares_are_whole_numbers_of_pixels() {
        assert_eq!(count_of(0.05, 50_176), 2509);
        assert_eq!((count_of(0.1, 30), count_of(0.0, 30), count_of(1.0, 30)), (3, 0, 30));
        assert_eq!((count_of(f64::NAN, 30), count_of(7.0, 30)), (0, 30));
    }
}
