//! MEASURE: how well a map finds a region that is known. One metric a file, plain numbers in, one number out.
//!
//! A map and its mask are given row by row and in the same size, the photo's or the grid's; which one is the
//! caller's choice, and belongs into the report because it changes the numbers. Pixels where the map is NaN (the
//! photo's parts that the map does not cover) are never pointed at and hold no evidence, but a part of the mask
//! that lies there still counts as missed. A metric that has no meaning for a pair is `None`, never 0.
//!
//! This module knows nothing of models, photos or files.

pub mod average_precision;
pub mod best_iou;
pub mod bootstrap;
pub mod energy_pointing;
pub mod pointing_game;

pub use average_precision::average_precision;
pub use best_iou::{BestIou, best_iou};
pub use bootstrap::{Bootstrap, Interval};
pub use energy_pointing::energy_pointing;
pub use pointing_game::pointing_game;

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
