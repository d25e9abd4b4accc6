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

/// Pixels of a map by falling value, NaN left out; equal values are together.
fn by_falling_value(map: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..map.len()).filter(|&pixel| !map[pixel].is_nan()).collect();
    order.sort_unstable_by(|&left, &right| map[right].total_cmp(&map[left]));
    order
}

/// For every distinct value of the map, falling: the value, how many pixels reach it, and how many of those lie in
/// the mask.
fn counts_by_threshold(map: &[f32], mask: &[bool]) -> Vec<(f32, usize, usize)> {
    assert_eq!(map.len(), mask.len(), "map and mask have the same size");
    let order = by_falling_value(map);
    let mut counts = Vec::new();
    let mut in_mask = 0;
    for (position, &pixel) in order.iter().enumerate() {
        in_mask += usize::from(mask[pixel]);
        let last_of_its_value = order.get(position + 1).is_none_or(|&next| map[next] != map[pixel]);
        if last_of_its_value {
            counts.push((map[pixel], position + 1, in_mask));
        }
    }
    counts
}
