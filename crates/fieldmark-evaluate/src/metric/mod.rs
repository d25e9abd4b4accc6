//! MEASURE: how good a map is, and how sure that is. One metric a file, plain numbers in, one number out.
//!
//! - Against a known region: [`pointing_game()`], [`energy_pointing()`], [`average_precision()`], [`best_iou()`]; with the
//!   pixels that a map calls the concept's ([`half_peak`], [`above_mean`]): [`Confusion`], [`box_accuracy()`],
//!   [`box_accuracy_v2`]; against points: [`point_mean_iou()`].
//! - Of the model's answers to changed pictures: [`relevance_order`], [`area_under_curve()`],
//!   [`relative_confidence_drop`], [`average_drop`], [`average_increase`], and ROAD's way to change them, [`road`].
//! - Of two maps: [`rank_correlation()`], [`ssim()`].
//! - Of many pictures: [`Bootstrap`], [`SignFlip`], [`wilcoxon`], [`holm`].
//!
//! A map and its mask are given row by row and in the same size, the photo's or the grid's; which one is the
//! caller's choice, and belongs into the report because it changes the numbers. Pixels where the map is NaN (the
//! photo's parts that the map does not cover) are never pointed at and hold no evidence, but a part of the mask
//! that lies there still counts as missed. A metric that has no meaning for a pair is `None`, never 0.
//!
//! This module knows nothing of models, photos or files.

pub mod area_under_curve;
pub mod average_precision;
pub mod best_iou;
pub mod bootstrap;
pub mod box_accuracy;
pub mod confidence;
pub mod confusion;
pub mod energy_pointing;
pub mod foreground;
pub mod order;
pub mod paired;
pub mod point_mean_iou;
pub mod pointing_game;
pub mod rank_correlation;
pub mod road;
pub mod ssim;

pub use area_under_curve::area_under_curve;
pub use average_precision::average_precision;
pub use best_iou::{BestIou, best_iou};
pub use bootstrap::{Bootstrap, Interval};
pub use box_accuracy::{bounding_box, box_accuracy, box_accuracy_v2};
pub use confidence::{average_drop, average_increase, relative_confidence_drop};
pub use confusion::Confusion;
pub use energy_pointing::energy_pointing;
pub use foreground::{above_mean, half_peak};
pub use order::{count_of, relevance_order};
pub use paired::{SignFlip, holm, wilcoxon};
pub use point_mean_iou::point_mean_iou;
pub use pointing_game::pointing_game;
pub use rank_correlation::rank_correlation;
pub use ssim::ssim;

/// Visits every distinct value of the map, falling: the value, how many pixels reach it, and how many of those lie in
/// the mask. NaN is left out. Beside the map it takes four bytes for each pixel.
fn for_each_threshold(map: &[f32], mask: &[bool], mut visit: impl FnMut(f32, usize, usize)) {
    assert_eq!(map.len(), mask.len(), "map and mask have the same size");
    let sorted = |wanted: bool| {
        let here = map.iter().zip(mask).filter(|(value, inside)| **inside == wanted && !value.is_nan());
        let mut values = Vec::with_capacity(here.clone().count());
        values.extend(here.map(|(value, _)| *value));
        values.sort_unstable_by(|left, right| right.total_cmp(left));
        values
    };
    let (inside, outside) = (sorted(true), sorted(false));
    let (mut hits, mut misses) = (0, 0);
    loop {
        let value = match (inside.get(hits), outside.get(misses)) {
            (Some(one), Some(other)) => one.max(*other),
            (Some(one), None) | (None, Some(one)) => *one,
            (None, None) => return,
        };
        hits += inside[hits..].iter().take_while(|other| **other == value).count();
        misses += outside[misses..].iter().take_while(|other| **other == value).count();
        visit(value, hits + misses, hits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_fall_and_equal_values_are_one() {
        let map = [1.0, 2.0, f32::NAN, 1.0, -0.0, 0.0, f32::NEG_INFINITY, 3.0];
        let mask = [true, false, true, false, true, false, false, true];
        let mut found = Vec::new();
        for_each_threshold(&map, &mask, |value, reached, hits| found.push((value, reached, hits)));
        let expected = [(3.0, 1, 1), (2.0, 2, 1), (1.0, 4, 2), (0.0, 6, 3), (f32::NEG_INFINITY, 7, 3)];
        assert_eq!(found, expected);
        for_each_threshold(&[f32::NAN], &[true], |_, _, _| panic!("there is none"));
    }
}
