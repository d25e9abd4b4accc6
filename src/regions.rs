//! A map becomes a peak and regions: where on the photo the evidence is, in whole pixels.
//!
//! Both read the map at the photo's own resolution, row by row, without ever holding it whole: between two
//! cells the map is a straight line, so a row costs a few steps per cell and not one per pixel
//! (`attribution::resample`).

use serde::{Deserialize, Serialize};

use crate::attribution::ConceptMap;
use crate::attribution::resample::{Resampled, Run};

/// The fraction of the peak's evidence that a pixel of a region has at least, unless asked otherwise.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

/// A region smaller than this part of a grid cell is a speck: a tip that just reaches the threshold, smaller
/// than anything that the map can resolve. An isolated cell as strong as the peak covers 0.61 of a cell at
/// half its height.
const SPECK_CELLS: f64 = 0.25;

/// The pixel of the photo with the largest evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
}

/// A connected part of the photo with strong evidence, as the smallest rectangle around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// The connected parts of the photo (8 neighbours) whose evidence is positive and at least
/// `threshold_fraction_of_peak` (0 to 1; [`DEFAULT_THRESHOLD`]) of the largest, the largest share first.
///
/// A region of less than a quarter of a grid cell is dropped, unless it holds the peak. A map without
/// positive evidence has no regions.
pub fn regions(map: &ConceptMap, threshold_fraction_of_peak: f64) -> Vec<Region> {
    let resampled = Resampled::new(map, map.placement().photo);
    let Some(evidence) = Evidence::of(map, &resampled) else { return Vec::new() };
    let level = threshold(evidence.peak, threshold_fraction_of_peak);
    let placement = map.placement();
    let cell = placement.covers.width() * placement.covers.height() / placement.grid.cells() as f64;
    let mut found: Vec<Component> = components(&runs(map, &resampled, level));
    found.retain(|component| component.area as f64 >= SPECK_CELLS * cell || component.max >= evidence.peak);
    // Ties keep the order of reading: the sort is stable.
    found.sort_by(|a, b| b.sum.total_cmp(&a.sum));
    found.iter().map(|component| component.region(evidence.positive)).collect()
}

/// The evidence that a pixel must reach: a fraction of the peak's.
pub(crate) fn threshold(peak: f32, fraction: f64) -> f32 {
    (f64::from(peak) * fraction.clamp(0.0, 1.0)) as f32
}

/// What a whole map holds, over the photo's pixels.
struct Evidence {
    peak: f32,
    positive: f64,
}

impl Evidence {
    fn of(map: &ConceptMap, resampled: &Resampled) -> Option<Self> {
        let mut evidence = Self { peak: 0.0, positive: 0.0 };
        for y in 0..map.placement().photo.height {
            for run in resampled.runs_at_least(y, 0.0) {
                evidence.positive += run.sum;
                evidence.peak = evidence.peak.max(run.max);
            }
        }
        (evidence.peak > 0.0).then_some(evidence)
    }
}

/// Every run of the photo that reaches a level, with its row, in the order of reading.
fn runs(map: &ConceptMap, resampled: &Resampled, level: f32) -> Vec<(usize, Run)> {
    let rows = 0..map.placement().photo.height;
    rows.flat_map(|y| resampled.runs_at_least(y, level).into_iter().map(move |run| (y as usize, run)))
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
}

impl Component {
    fn of(y: usize, run: &Run) -> Self {
        Self {
            left: run.pixels.start,
            right: run.pixels.end,
            top: y,
            bottom: y + 1,
            area: run.pixels.len(),
            sum: run.sum,
            max: run.max,
        }
    }

    fn join(&mut self, other: &Self) {
        self.left = self.left.min(other.left);
        self.right = self.right.max(other.right);
        self.top = self.top.min(other.top);
        self.bottom = self.bottom.max(other.bottom);
        self.area += other.area;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    fn region(&self, positive: f64) -> Region {
        Region {
            x: self.left as u32,
            y: self.top as u32,
            width: (self.right - self.left) as u32,
            height: (self.bottom - self.top) as u32,
            // The two sums are rounded differently, so the quotient may pass 1 by a hair.
            share: (self.sum / positive).min(1.0),
        }
    }
}

/// Joins runs that touch, corners included, in the order in which their first runs are read.
fn components(runs: &[(usize, Run)]) -> Vec<Component> {
    let parents = touching(runs);
    let mut found: Vec<Component> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; runs.len()];
    for (index, (y, run)) in runs.iter().enumerate() {
        let component = Component::of(*y, run);
        let root = root(&parents, index);
        match places[root] {
            Some(place) => found[place].join(&component),
            None => {
                places[root] = Some(found.len());
                found.push(component);
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
    fn pixels(width: usize, values: &[f32]) -> ConceptMap {
        let grid = Grid::new(values.len() / width, width);
        let photo = Size::new(width as u32, grid.rows as u32);
        ConceptMap::new(values.to_vec(), Placement { photo, input: photo, grid, covers: Rect::whole(photo) })
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
        let found = regions(&map, 0.5);
        assert_eq!(
            found,
            [
                Region { x: 2, y: 1, width: 2, height: 2, share: 0.7 },
                Region { x: 0, y: 0, width: 1, height: 1, share: 0.2 },
            ]
        );
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
        assert_eq!(regions(&map, 1.0), [Region { x: 0, y: 0, width: 5, height: 3, share: 1.0 }]);
    }

    #[test]
    fn a_map_without_positive_evidence_has_neither_peak_nor_regions() {
        let map = pixels(2, &[0.0, -1.0, -2.0, 0.0]);
        assert_eq!(peak(&map), None);
        assert_eq!(peak_evidence(&map), None);
        assert!(regions(&map, 0.5).is_empty());
        assert!(regions(&map, 0.0).is_empty());
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
        let found = regions(&map, 0.5);
        // The right cell reaches 0.52 from its centre outwards: half a cell and a little, no speck.
        assert_eq!(found.len(), 2);
        let map = ConceptMap::new(vec![1.0, 0.0, 0.0, 0.52, 0.0], placement);
        assert_eq!(regions(&map, 0.5).len(), 1, "a tip of 8 of 100 pixels");
        // Between its two lower neighbours only the two pixels beside the centre tie for the peak.
        let map = ConceptMap::new(vec![0.0, 0.0, 1.0, 0.0, 0.0], placement);
        let found = regions(&map, 1.0);
        assert_eq!((found.len(), found[0].x, found[0].width), (1, 249, 2));
    }

    #[test]
    fn a_cropped_map_keeps_its_place_on_the_photo() {
        let photo = Size::new(300, 100);
        let covers = Rect { x0: 100.0, y0: 0.0, x1: 200.0, y1: 100.0 };
        let placement = Placement { photo, input: photo, grid: Grid::new(2, 2), covers };
        let map = ConceptMap::new(vec![0.0, 0.0, 0.0, 1.0], placement);
        let found = regions(&map, 0.5);
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
        let Region { x, y, width, height, share } = regions(&map, 0.5)[0];
        assert_eq!((x, y, width, height), (0, 0, 2000, 4000));
        // 1000 columns of 1 and 1000 from 1 to 0.5 are in it, 1000 from 0.5 to 0 are not.
        assert!((share - 1750.0 / 2000.0).abs() < 1e-9);
    }
}
