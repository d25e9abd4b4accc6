//! A map becomes an answer in whole pixels: its peak, its regions with their outlines, and points for a segmenter.
//!
//! Everything reads the map at the photo's own resolution, row by row, without ever holding it whole: between two
//! cells the map is a straight line, so a row costs a few steps per cell and not one per pixel
//! (`attribution::resample`).

mod outline;
mod points;
mod threshold;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use outline::{Corner, Mask, RunLengths};
pub(crate) use points::points_between;
pub use points::{Label, MOST_POINTS, Point, points};
pub use threshold::Threshold;

use crate::attribution::ConceptMap;
use crate::attribution::resample::{Resampled, Run};

/// A region smaller than this part of a patch is a speck: a tip that just reaches the threshold, smaller
/// than anything that the map can resolve. An isolated cell as strong as the peak covers 0.61 of a cell at
/// half its height.
const SPECK_PATCHES: f64 = 0.25;

/// A region with a smaller share of the positive evidence is no instance of the concept.
pub const LEAST_SHARE: f64 = 0.01;

/// An outline may be off by this part of the region's size (the root of its area), and by a pixel in a thousand.
const OUTLINE_PART: f64 = 0.05;

/// The pixel of the photo with the largest evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
}

/// A connected part of the photo with strong evidence: the smallest rectangle around it, and its outline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// Pixels from its left to its right edge, at least 1.
    pub width: u32,
    /// Pixels from its top to its bottom edge, at least 1.
    pub height: u32,
    /// The evidence in the region (not in the rectangle) over all positive evidence of the photo, 0 to 1.
    pub share: f64,
    /// The pixels in the region (not in the rectangle).
    pub area: u64,
    /// The pixel of the region with the largest evidence.
    pub peak: Peak,
    /// The region's outer line, clockwise: corners between pixels, the first not repeated. It leaves the exact line
    /// by no more than a pixel (in photos of more than 1000 pixels a side, a thousandth of the side), and knows
    /// nothing of holes.
    pub polygon: Vec<Corner>,
}

/// One of the separate places where the concept is.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Where it is.
    pub region: Region,
    /// The evidence at its peak, in logits.
    pub evidence: f32,
    /// Its pixels.
    pub mask: Mask,
}

/// The pixel with the largest evidence; none where no pixel has positive evidence.
///
/// Where several pixels tie, as on the flat border outside the outermost cells' centres, it is the one of
/// them that is nearest to their centre of mass.
pub fn peak(map: &ConceptMap) -> Option<Peak> {
    let resampled = Resampled::new(map, map.placement().photo);
    let evidence = Evidence::of(map, &resampled)?;
    let ties = runs(map, &resampled, evidence.peak);
    Some(nearest_to_centre(&ties))
}

/// The largest evidence of any pixel of the photo; none where no pixel has positive evidence.
pub fn peak_evidence(map: &ConceptMap) -> Option<f32> {
    Evidence::of(map, &Resampled::new(map, map.placement().photo)).map(|evidence| evidence.peak)
}

/// The evidence that a pixel must have at least to be in a region; none where no pixel has positive evidence.
pub fn level(map: &ConceptMap, threshold: Threshold) -> Option<f32> {
    peak_evidence(map).map(|peak| threshold.level(map, peak))
}

/// The regions of the [`instances`], in their order.
pub fn regions(map: &ConceptMap, threshold: Threshold) -> Vec<Region> {
    instances(map, threshold).into_iter().map(|instance| instance.region).collect()
}

/// The connected parts of the photo (8 neighbours) whose evidence is positive and reaches the threshold, the largest
/// share of the evidence first.
///
/// A part of less than a quarter of a patch, or with less than [`LEAST_SHARE`] of the evidence, is dropped, unless it
/// holds the peak. A map without positive evidence has none.
pub fn instances(map: &ConceptMap, threshold: Threshold) -> Vec<Instance> {
    let resampled = Resampled::new(map, map.placement().photo);
    let Some(evidence) = Evidence::of(map, &resampled) else { return Vec::new() };
    let runs = runs(map, &resampled, threshold.level(map, evidence.peak));
    let mut found: Vec<Component> = components(&runs);
    let is_large = |component: &Component| {
        component.area as f64 >= SPECK_PATCHES * map.patch_area()
            && component.sum >= LEAST_SHARE * evidence.positive
    };
    found.retain(|component| is_large(component) || component.max >= evidence.peak);
    // Ties keep the order of reading: the sort is stable.
    found.sort_by(|a, b| b.sum.total_cmp(&a.sum));
    found.iter().map(|component| component.instance(&resampled, &runs, evidence.positive)).collect()
}

/// What a whole map holds, over the photo's pixels.
struct Evidence {
    peak: f32,
    positive: f64,
}

impl Evidence {
    fn of(map: &ConceptMap, resampled: &Resampled) -> Option<Self> {
        let row = |y: u32| {
            let runs = resampled.runs_at_least(y, 0.0);
            let max = runs.iter().map(|run| run.max).fold(0.0, f32::max);
            (runs.iter().map(|run| run.sum).sum::<f64>(), max)
        };
        // Rows are added in their order, whatever the threads do: sums are the same in every run.
        let rows: Vec<(f64, f32)> = (0..map.placement().photo.height).into_par_iter().map(row).collect();
        let positive = rows.iter().map(|(sum, _)| sum).sum();
        let peak = rows.iter().map(|(_, max)| *max).fold(0.0, f32::max);
        (peak > 0.0).then_some(Self { peak, positive })
    }
}

/// Every run of the photo that reaches a level, with its row, in the order of reading.
fn runs(map: &ConceptMap, resampled: &Resampled, level: f32) -> Vec<(usize, Run)> {
    let rows = (0..map.placement().photo.height).into_par_iter();
    rows.flat_map_iter(|y| resampled.runs_at_least(y, level).into_iter().map(move |run| (y as usize, run)))
        .collect()
}

/// Of the pixels of some runs (at least one), the one nearest to their centre of mass.
fn nearest_to_centre(runs: &[(usize, Run)]) -> Peak {
    let (mut count, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
    for (y, run) in runs {
        let pixels = run.pixels.len() as f64;
        count += pixels;
        sum_x += pixels * (run.pixels.start + run.pixels.end - 1) as f64 / 2.0;
        sum_y += pixels * *y as f64;
    }
    let (centre_x, centre_y) = (sum_x / count, sum_y / count);
    let mut best = (f64::INFINITY, Peak { x: 0, y: 0 });
    for (y, run) in runs {
        let x = centre_x.clamp(run.pixels.start as f64, (run.pixels.end - 1) as f64).round();
        let distance = (x - centre_x).powi(2) + (*y as f64 - centre_y).powi(2);
        if distance < best.0 {
            best = (distance, Peak { x: x as u32, y: *y as u32 });
        }
    }
    best.1
}

/// Runs that touch each other.
struct Component {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    area: usize,
    sum: f64,
    max: f32,
    /// Which of all runs they are, in the order of reading.
    runs: Vec<usize>,
}

impl Component {
    fn of(index: usize, y: usize, run: &Run) -> Self {
        Self {
            left: run.pixels.start,
            right: run.pixels.end,
            top: y,
            bottom: y + 1,
            area: run.pixels.len(),
            sum: run.sum,
            max: run.max,
            runs: vec![index],
        }
    }

    fn join(&mut self, index: usize, y: usize, run: &Run) {
        self.left = self.left.min(run.pixels.start);
        self.right = self.right.max(run.pixels.end);
        self.bottom = self.bottom.max(y + 1);
        self.area += run.pixels.len();
        self.sum += run.sum;
        self.max = self.max.max(run.max);
        self.runs.push(index);
    }

    fn instance(&self, resampled: &Resampled, runs: &[(usize, Run)], positive: f64) -> Instance {
        let photo = resampled.map().placement().photo;
        let own = self.runs.iter().map(|index| &runs[*index]);
        let pixels = own.map(|(y, run)| (*y as u32, run.pixels.start as u32..run.pixels.end as u32));
        let mask = Mask::new(photo, pixels.collect());
        let finest = (f64::from(photo.width.max(photo.height)) / 1000.0).max(1.0);
        let tolerance = finest.min(OUTLINE_PART * (self.area as f64).sqrt());
        let region = Region {
            x: self.left as u32,
            y: self.top as u32,
            width: (self.right - self.left) as u32,
            height: (self.bottom - self.top) as u32,
            // The two sums are rounded differently, so the quotient may pass 1 by a hair.
            share: (self.sum / positive).min(1.0),
            area: self.area as u64,
            peak: self.peak(resampled, runs),
            polygon: mask.polygon(tolerance),
        };
        Instance { region, evidence: self.max, mask }
    }

    /// As [`peak`] has it, of these pixels alone.
    fn peak(&self, resampled: &Resampled, runs: &[(usize, Run)]) -> Peak {
        let highest = self.runs.iter().map(|index| &runs[*index]).filter(|(_, run)| run.max >= self.max);
        let ties = highest.flat_map(|(y, whole)| {
            let tops = resampled.runs_at_least(*y as u32, self.max).into_iter();
            let is_inside = |top: &Run| whole.pixels.contains(&top.pixels.start);
            tops.filter(is_inside).map(|top| (*y, top)).collect::<Vec<_>>()
        });
        nearest_to_centre(&ties.collect::<Vec<_>>())
    }
}

/// Joins runs that touch, corners included, in the order in which their first runs are read.
fn components(runs: &[(usize, Run)]) -> Vec<Component> {
    let parents = touching(runs);
    let mut found: Vec<Component> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; runs.len()];
    for (index, (y, run)) in runs.iter().enumerate() {
        let root = root(&parents, index);
        match places[root] {
            Some(place) => found[place].join(index, *y, run),
            None => {
                places[root] = Some(found.len());
                found.push(Component::of(index, *y, run));
            }
        }
    }
    found
}

/// For each run a run that it is joined to, or itself: following them leads to one run per component.
fn touching(runs: &[(usize, Run)]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..runs.len()).collect();
    let mut above = 0;
    for index in 0..runs.len() {
        let (y, run) = &runs[index];
        // Runs above that end before this one begins touch none of the later ones in this row either.
        while above < index && (runs[above].0 + 1 < *y || is_left_of(&runs[above], *y, run)) {
            above += 1;
        }
        let mut other = above;
        while other < index && runs[other].0 < *y && runs[other].1.pixels.start <= run.pixels.end {
            let (a, b) = (root(&parents, other), root(&parents, index));
            parents[a.max(b)] = a.min(b);
            other += 1;
        }
        parents[index] = root(&parents, index);
    }
    parents
}

/// Whether a run of the row above ends before the run of row `y` begins, with no corner shared.
fn is_left_of(above: &(usize, Run), y: usize, run: &Run) -> bool {
    above.0 < y && above.1.pixels.end < run.pixels.start
}

fn root(parents: &[usize], mut index: usize) -> usize {
    while parents[index] != index {
        index = parents[index];
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, Placement, Rect, Size};

    /// A map with one cell a pixel, so that the values are the pixels'.
    pub(super) fn pixels(width: usize, values: &[f32]) -> ConceptMap {
        let grid = Grid::new(values.len() / width, width);
        let photo = Size::new(width as u32, grid.rows as u32);
        ConceptMap::new(values.to_vec(), Placement { photo, input: photo, grid, covers: Rect::whole(photo) })
    }

    fn bounds(region: &Region) -> [u32; 4] {
        [region.x, region.y, region.width, region.height]
    }

    #[test]
    fn regions_are_connected_over_corners_and_sorted_by_share() {
        #[rustfmt::skip]
        let map = pixels(5, &[
            2.0, 0.0, 0.0,  0.0, 0.0,
            0.0, 0.0, 0.0,  4.0, 0.0,
            0.0, 0.0, 3.0,  0.0, 0.0,
            0.0, 0.0, 0.0, -9.0, 1.0,
        ]);
        let found = regions(&map, Threshold::Peak(0.5));
        let [large, small] = &found[..] else { panic!("{found:?}") };
        assert_eq!((bounds(large), large.share, large.area), ([2, 1, 2, 2], 0.7, 2));
        assert_eq!((bounds(small), small.share, small.area), ([0, 0, 1, 1], 0.2, 1));
        assert_eq!((large.peak, small.peak), (Peak { x: 3, y: 1 }, Peak { x: 0, y: 0 }));
        assert_eq!(small.polygon, [[0, 0], [1, 0], [1, 1], [0, 1]]);
        assert_eq!(peak(&map), Some(Peak { x: 3, y: 1 }));
    }

    #[test]
    fn arms_that_meet_below_are_one_region() {
        #[rustfmt::skip]
        let map = pixels(5, &[
            1.0, 0.0, 1.0, 0.0, 1.0,
            1.0, 0.0, 1.0, 0.0, 1.0,
            1.0, 1.0, 1.0, 1.0, 1.0,
        ]);
        let found = regions(&map, Threshold::Peak(1.0));
        assert_eq!(
            (found.len(), bounds(&found[0]), found[0].share, found[0].area),
            (1, [0, 0, 5, 3], 1.0, 11)
        );
    }

    #[test]
    fn a_map_without_positive_evidence_has_neither_peak_nor_regions() {
        let map = pixels(2, &[0.0, -1.0, -2.0, 0.0]);
        assert_eq!(peak(&map), None);
        assert_eq!(peak_evidence(&map), None);
        assert!(regions(&map, Threshold::Peak(0.5)).is_empty());
        assert!(regions(&map, Threshold::Peak(0.0)).is_empty());
    }

    #[test]
    fn the_peak_of_ties_is_a_tied_pixel_nearest_to_their_centre() {
        assert_eq!(peak(&pixels(5, &[0.0, 1.0, 1.0, 1.0, 0.0])), Some(Peak { x: 2, y: 0 }));
        // The centre of the two, pixel 2, has no evidence.
        assert_eq!(peak(&pixels(5, &[1.0, 0.0, 0.0, 0.0, 1.0])), Some(Peak { x: 0, y: 0 }));
        // One cell over the whole photo: every pixel ties.
        let photo = Size::new(101, 51);
        let placement = Placement { photo, input: photo, grid: Grid::new(1, 1), covers: Rect::whole(photo) };
        assert_eq!(peak(&ConceptMap::new(vec![2.0], placement)), Some(Peak { x: 50, y: 25 }));
    }

    #[test]
    fn specks_are_dropped_but_never_the_peak() {
        let photo = Size::new(500, 100);
        let placement = Placement { photo, input: photo, grid: Grid::new(1, 5), covers: Rect::whole(photo) };
        let map = ConceptMap::new(vec![1.0, 0.0, 0.0, 0.0, 0.52], placement);
        let found = regions(&map, Threshold::Peak(0.5));
        // The right cell reaches 0.52 from its centre outwards: half a cell and a little, no speck.
        assert_eq!(found.len(), 2);
        let map = ConceptMap::new(vec![1.0, 0.0, 0.0, 0.52, 0.0], placement);
        assert_eq!(regions(&map, Threshold::Peak(0.5)).len(), 1, "a tip of 8 of 100 pixels");
        // Between its two lower neighbours only the two pixels beside the centre tie for the peak.
        let map = ConceptMap::new(vec![0.0, 0.0, 1.0, 0.0, 0.0], placement);
        let found = regions(&map, Threshold::Peak(1.0));
        assert_eq!((found.len(), found[0].x, found[0].width), (1, 249, 2));
    }

    #[test]
    fn a_cropped_map_keeps_its_place_on_the_photo() {
        let photo = Size::new(300, 100);
        let covers = Rect { x0: 100.0, y0: 0.0, x1: 200.0, y1: 100.0 };
        let placement = Placement { photo, input: photo, grid: Grid::new(2, 2), covers };
        let map = ConceptMap::new(vec![0.0, 0.0, 0.0, 1.0], placement);
        let found = regions(&map, Threshold::Peak(0.5));
        assert_eq!((found[0].x + found[0].width, found[0].y + found[0].height), (200, 100));
        let top = peak(&map).unwrap();
        assert!((175..200).contains(&top.x) && (75..100).contains(&top.y));
    }

    #[test]
    fn a_large_photo_keeps_exact_edges() {
        let photo = Size::new(6000, 4000);
        let placement = Placement { photo, input: photo, grid: Grid::new(2, 3), covers: Rect::whole(photo) };
        let map = ConceptMap::new(vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0], placement);
        // From the first centre at 1000 to the second at 3000 the evidence falls from 1 to 0.
        let found = instances(&map, Threshold::Peak(0.5)).remove(0);
        assert_eq!(bounds(&found.region), [0, 0, 2000, 4000]);
        // 1000 columns of 1 and 1000 from 1 to 0.5 are in it, 1000 from 0.5 to 0 are not.
        assert!((found.region.share - 1750.0 / 2000.0).abs() < 1e-9);
        assert_eq!((found.region.area, found.mask.area()), (8_000_000, 8_000_000));
        assert_eq!(found.region.polygon, [[0, 0], [2000, 0], [2000, 4000], [0, 4000]]);
    }

    #[test]
    fn a_part_with_hardly_any_evidence_is_no_instance() {
        let mut values = vec![0.0; 400];
        values[..100].fill(1.0);
        values[300] = 0.9;
        assert_eq!(regions(&pixels(20, &values), Threshold::default()).len(), 1);
        values[301] = 0.9;
        assert_eq!(regions(&pixels(20, &values), Threshold::default()).len(), 2);
    }

    #[test]
    fn regions_of_a_share_hold_that_share() {
        let values: Vec<f32> = (0..100).map(|i| if i % 7 < 4 { (i % 13) as f32 } else { -1.0 }).collect();
        let map = pixels(10, &values);
        for share in [0.3, 0.8, 1.0] {
            let level = level(&map, Threshold::Share(share)).unwrap();
            let reached: f32 = values.iter().filter(|value| **value >= level && **value > 0.0).sum();
            let above: f32 = values.iter().filter(|value| **value > level).sum();
            let all: f32 = values.iter().filter(|value| **value > 0.0).sum();
            assert!(reached >= share as f32 * all - 1e-3 && above < share as f32 * all, "{share}");
        }
    }
}
