//! Does the box around what a map calls the concept's overlap the box that is known? (Choe et al., "Evaluating
//! Weakly Supervised Object Localization Methods Right", CVPR 2020, arXiv 2001.07437.)
//!
//! Regions are connected over corners too, as OpenCV's contours are. Boxes are half open, from the outer edges of
//! their first pixels to those of their last ones.

use fieldmark_model::geometry::Rect;

/// The overlaps that count in the second version of the metric.
pub const OVERLAPS: [f64; 3] = [0.3, 0.5, 0.7];

/// A connected region of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Region {
    pixels: usize,
    bounds: Rect,
}

/// 1 if the box around the largest region has an intersection over union of at least 0.5 with one of the boxes that
/// are known, else 0 (MaxBoxAcc). More is better; `None` without a known box.
///
/// Of equally large regions the first one counts, row by row. The largest is that of most pixels; the authors' is that
/// whose contour encloses most. They also choose the threshold that suits the data set best, where
/// `found` comes from a threshold that is fixed: see [`half_peak`](super::half_peak).
///
/// # Panics
/// If `found` is not made of rows of `width`.
pub fn box_accuracy(found: &[bool], width: usize, known: &[Rect]) -> Option<f64> {
    let regions = regions(found, width);
    // `max_by_key` would take the last of equal ones.
    let largest = regions.iter().rev().max_by_key(|region| region.pixels);
    let overlap = largest.map_or(0.0, |region| best_overlap(&[*region], known));
    (!known.is_empty()).then(|| f64::from(u8::from(overlap >= 0.5)))
}

/// The mean over the overlaps 0.3, 0.5 and 0.7 of whether any region's box reaches it with any known one
/// (MaxBoxAccV2): 0, 1/3, 2/3 or 1, more is better. `None` without a known box.
///
/// # Panics
/// As [`box_accuracy`].
pub fn box_accuracy_v2(found: &[bool], width: usize, known: &[Rect]) -> Option<f64> {
    let overlap = best_overlap(&regions(found, width), known);
    let reached = OVERLAPS.iter().filter(|least| overlap >= **least).count();
    (!known.is_empty()).then(|| reached as f64 / OVERLAPS.len() as f64)
}

/// The box around all pixels of a mask; none around nothing.
///
/// # Panics
/// If `mask` is not made of rows of `width`.
pub fn bounding_box(mask: &[bool], width: usize) -> Option<Rect> {
    assert!(width > 0 && mask.len().is_multiple_of(width), "the mask is made of whole rows");
    let inside = (0..mask.len()).filter(|&pixel| mask[pixel]);
    inside.fold(None, |bounds, pixel| Some(with(bounds, pixel, width)))
}

fn best_overlap(regions: &[Region], known: &[Rect]) -> f64 {
    let overlaps = regions.iter().flat_map(|region| known.iter().map(|known| box_iou(region.bounds, *known)));
    overlaps.fold(0.0, f64::max)
}

/// The intersection over union of two boxes.
fn box_iou(one: Rect, other: Rect) -> f64 {
    let width = (one.x1.min(other.x1) - one.x0.max(other.x0)).max(0.0);
    let height = (one.y1.min(other.y1) - one.y0.max(other.y0)).max(0.0);
    let (both, area) = (width * height, |rect: Rect| rect.width() * rect.height());
    both / (area(one) + area(other) - both)
}

/// The bounds with one more pixel.
fn with(bounds: Option<Rect>, pixel: usize, width: usize) -> Rect {
    let (x, y) = ((pixel % width) as f64, (pixel / width) as f64);
    let one = Rect { x0: x, y0: y, x1: x + 1.0, y1: y + 1.0 };
    bounds.map_or(one, |bounds| Rect {
        x0: bounds.x0.min(one.x0),
        y0: bounds.y0.min(one.y0),
        x1: bounds.x1.max(one.x1),
        y1: bounds.y1.max(one.y1),
    })
}

/// The connected regions, by their first pixels.
fn regions(found: &[bool], width: usize) -> Vec<Region> {
    assert!(width > 0 && found.len().is_multiple_of(width), "the picture is made of whole rows");
    let mut left = found.to_vec();
    let mut regions = Vec::new();
    let mut waiting = Vec::new();
    for first in 0..found.len() {
        if !std::mem::take(&mut left[first]) {
            continue;
        }
        waiting.push(first);
        let (mut pixels, mut bounds) = (0, None);
        while let Some(pixel) = waiting.pop() {
            pixels += 1;
            bounds = Some(with(bounds, pixel, width));
            let (row, column) = (pixel / width, pixel % width);
            for y in row.saturating_sub(1)..=(row + 1).min(found.len() / width - 1) {
                for x in column.saturating_sub(1)..=(column + 1).min(width - 1) {
                    if std::mem::take(&mut left[y * width + x]) {
                        waiting.push(y * width + x);
                    }
                }
            }
        }
        regions.extend(bounds.map(|bounds| Region { pixels, bounds }));
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rows: &[&str]) -> (Vec<bool>, usize) {
        (rows.concat().bytes().map(|byte| byte == b'#').collect(), rows[0].len())
    }

    fn rect(x0: f64, y0: f64, x1: f64, y1: f64) -> Rect {
        Rect { x0, y0, x1, y1 }
    }

    #[test]
    fn the_largest_region_decides_and_corners_connect() {
        let (found, width) = picture(&["#.....", ".#....", "....##", "......"]);
        // Two regions of two pixels: the first is 2 x 2, the other 2 x 1.
        assert_eq!(box_accuracy(&found, width, &[rect(0.0, 0.0, 2.0, 2.0)]), Some(1.0));
        assert_eq!(box_accuracy(&found, width, &[rect(4.0, 2.0, 6.0, 3.0)]), Some(0.0));
        assert_eq!(box_accuracy_v2(&found, width, &[rect(4.0, 2.0, 6.0, 3.0)]), Some(1.0));
        // 4 of 8 pixels is just enough.
        assert_eq!(box_accuracy(&found, width, &[rect(0.0, 0.0, 2.0, 4.0)]), Some(1.0));
        assert_eq!(box_accuracy_v2(&found, width, &[rect(0.0, 0.0, 2.0, 4.0)]), Some(2.0 / 3.0));
    }

    #[test]
    fn nothing_found_overlaps_nothing_and_nothing_known_has_no_score() {
        assert_eq!(box_accuracy(&[false; 4], 2, &[rect(0.0, 0.0, 2.0, 2.0)]), Some(0.0));
        assert_eq!(box_accuracy_v2(&[false; 4], 2, &[rect(0.0, 0.0, 2.0, 2.0)]), Some(0.0));
        assert_eq!((box_accuracy(&[true; 4], 2, &[]), box_accuracy_v2(&[true; 4], 2, &[])), (None, None));
    }

    #[test]
    fn a_box_holds_all_pixels_of_a_mask() {
        let (mask, width) = picture(&["....", ".#..", "...#"]);
        assert_eq!(bounding_box(&mask, width), Some(rect(1.0, 1.0, 4.0, 3.0)));
        assert_eq!(bounding_box(&[false; 4], 2), None);
    }
}
