//! Does the box around what a map calls the concept's overlap the box that is known? (Choe et al., "Evaluating
//! Weakly Supervised Object Localization Methods Right", CVPR 2020, arXiv 2001.07437.)
//!
//! Regions are connected over corners too, as OpenCV's contours are. Boxes are half open, from the outer edges of
//! their first pixels to those of their last ones.

use std::cmp::Reverse;

use fieldmark_model::geometry::Rect;

/// The overlaps that count in the second version of the metric.
pub const OVERLAPS: [f64; 3] = [0.3, 0.5, 0.7];

/// A connected region of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Region {
    /// The number of its first pixel, row by row.
    first: usize,
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
    let mut largest: Option<Region> = None;
    for_each_region(found, width, |region| {
        let rank = |region: &Region| (region.pixels, Reverse(region.first));
        if largest.is_none_or(|largest| rank(&region) > rank(&largest)) {
            largest = Some(region);
        }
    });
    let overlap = largest.map_or(0.0, |region| best_overlap(region, known));
    (!known.is_empty()).then(|| f64::from(u8::from(overlap >= 0.5)))
}

/// The mean over the overlaps 0.3, 0.5 and 0.7 of whether any region's box reaches it with any known one
/// (MaxBoxAccV2): 0, 1/3, 2/3 or 1, more is better. `None` without a known box.
///
/// # Panics
/// As [`box_accuracy`].
pub fn box_accuracy_v2(found: &[bool], width: usize, known: &[Rect]) -> Option<f64> {
    let mut overlap = 0.0_f64;
    for_each_region(found, width, |region| overlap = overlap.max(best_overlap(region, known)));
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

fn best_overlap(region: Region, known: &[Rect]) -> f64 {
    known.iter().map(|known| box_iou(region.bounds, *known)).fold(0.0, f64::max)
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

/// A run of found pixels in a row, from `start` to before `end`, and the number of the region that it is a part of.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    region: usize,
}

/// Visits the connected regions, each when the rows have passed it. What is kept are the runs of two rows and the regions
/// that they belong to.
fn for_each_region(found: &[bool], width: usize, mut visit: impl FnMut(Region)) {
    assert!(width > 0 && found.len().is_multiple_of(width), "the picture is made of whole rows");
    let (mut above, mut open) = (Vec::new(), Open::default());
    for (row, pixels) in found.chunks_exact(width).enumerate() {
        let mut runs = Vec::new();
        let mut column = 0;
        while let Some(start) = pixels[column..].iter().position(|found| *found).map(|gap| column + gap) {
            let end = pixels[start..].iter().position(|found| !found).map_or(width, |length| start + length);
            let bounds = Rect { x0: start as f64, y0: row as f64, x1: end as f64, y1: row as f64 + 1.0 };
            let region = open.add(Region { first: row * width + start, pixels: end - start, bounds });
            runs.push(Run { start, end, region });
            column = end;
        }
        open.join(&above, &runs);
        above = open.keep(runs, &mut visit);
    }
    open.keep(Vec::new(), &mut visit);
}

/// Regions that go on in the last row, and those that began in the one below it.
#[derive(Default)]
struct Open {
    regions: Vec<Region>,
    /// The region that each was joined to; itself, if to none.
    joined: Vec<usize>,
}

impl Open {
    fn add(&mut self, region: Region) -> usize {
        self.regions.push(region);
        self.joined.push(self.joined.len());
        self.joined.len() - 1
    }

    /// The region that a region is a part of by now.
    fn root(&mut self, mut region: usize) -> usize {
        while self.joined[region] != region {
            self.joined[region] = self.joined[self.joined[region]];
            region = self.joined[region];
        }
        region
    }

    /// Joins the runs of two rows that touch, at corners as well.
    fn join(&mut self, above: &[Run], below: &[Run]) {
        let mut first = 0;
        for run in below {
            while above.get(first).is_some_and(|other| other.end < run.start) {
                first += 1;
            }
            for other in above[first..].iter().take_while(|other| other.start <= run.end) {
                let (one, two) = (self.root(run.region), self.root(other.region));
                if one != two {
                    let (kept, gone) = (one.min(two), one.max(two));
                    self.regions[kept] = joined(self.regions[kept], self.regions[gone]);
                    self.joined[gone] = kept;
                }
            }
        }
    }

    /// Visits the regions that none of these runs belongs to, and numbers the others anew.
    fn keep(&mut self, mut runs: Vec<Run>, visit: &mut impl FnMut(Region)) -> Vec<Run> {
        let mut numbers = vec![None; self.regions.len()];
        let mut kept = Vec::new();
        for run in &mut runs {
            let root = self.root(run.region);
            run.region = *numbers[root].get_or_insert_with(|| {
                kept.push(self.regions[root]);
                kept.len() - 1
            });
        }
        for (region, number) in numbers.iter().enumerate() {
            if number.is_none() && self.joined[region] == region {
                visit(self.regions[region]);
            }
        }
        self.joined = (0..kept.len()).collect();
        self.regions = kept;
        runs
    }
}

fn joined(one: Region, other: Region) -> Region {
    let (a, b) = (one.bounds, other.bounds);
    Region {
        first: one.first.min(other.first),
        pixels: one.pixels + other.pixels,
        bounds: Rect { x0: a.x0.min(b.x0), y0: a.y0.min(b.y0), x1: a.x1.max(b.x1), y1: a.y1.max(b.y1) },
    }
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
    /// Pixel by pixel, with a list of those that wait.
    fn flooded(found: &[bool], width: usize) -> Vec<Region> {
        let mut left = found.to_vec();
        let (mut regions, mut waiting) = (Vec::new(), Vec::new());
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
            regions.push(Region { first, pixels, bounds: bounds.unwrap() });
        }
        regions
    }

    #[test]
    fn regions_of_any_picture_are_those_of_a_flood() {
        let mut state = 8_u64;
        let mut below = |limit: u64| {
            // Knuth's generator; its high digits are good enough.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for round in 0..2000 {
            let (width, rows, share) = (1 + below(11) as usize, 1 + below(11) as usize, below(100));
            let found: Vec<bool> = (0..width * rows).map(|_| below(100) < share).collect();
            let mut regions = Vec::new();
            for_each_region(&found, width, |region| regions.push(region));
            regions.sort_by_key(|region| region.first);
            assert_eq!(regions, flooded(&found, width), "round {round}: {found:?}, rows of {width}");
        }
    }
}
