//! The energy-based pointing game (Wang et al., "Score-CAM", 2020): how much of the evidence lies in the region?

/// The share of the map's positive values that lies in the mask, 0 to 1.
///
/// Negative values are evidence against the concept and count as 0. `None` when the mask is empty; a map without
/// positive evidence puts none of it in the region and scores 0.
///
/// # Panics
/// If `map` and `mask` differ in length.
pub fn energy_pointing(map: &[f32], mask: &[bool]) -> Option<f64> {
    assert_eq!(map.len(), mask.len(), "map and mask have the same size");
    if !mask.contains(&true) {
        return None;
    }
    let (mut inside, mut total) = (0.0, 0.0);
    for (&value, &in_mask) in map.iter().zip(mask) {
        // A NaN is not greater than 0, so uncovered pixels add nothing.
        if value > 0.0 {
            total += f64::from(value);
            inside += if in_mask { f64::from(value) } else { 0.0 };
        }
    }
    Some(if total > 0.0 { inside / total } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_positive_evidence_only() {
        let map = [3.0, 1.0, -5.0, f32::NAN];
        assert_eq!(energy_pointing(&map, &[true, false, true, true]), Some(0.75));
    }

    #[test]
    fn a_map_without_positive_evidence_scores_nothing() {
        assert_eq!(energy_pointing(&[-1.0, 0.0], &[true, false]), Some(0.0));
    }

    #[test]
    fn an_empty_mask_has_no_score() {
        assert_eq!(energy_pointing(&[1.0], &[false]), None);
    }
}
