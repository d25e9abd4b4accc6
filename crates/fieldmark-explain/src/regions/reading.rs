//! What all questions about one map share.

use std::cell::OnceCell;

use super::{
    Instance, Peak, Region, Threshold,
    component::{Component, Components, nearest_to_centre},
};
use crate::attribution::{ConceptMap, resample::Resampled, runs::Sums};

/// A region smaller than this part of a patch is a speck: a tip that just reaches the threshold, smaller
/// than anything that the map can resolve. An isolated cell as strong as the peak covers 0.61 of a cell at
/// half its height.
const SPECK_PATCHES: f64 = 0.25;

/// A region with a smaller share of the positive evidence is no instance of the concept.
pub const LEAST_SHARE: f64 = 0.01;

/// The pixel with the largest evidence; none where no pixel has positive evidence.
///
/// Where several pixels tie, as on the flat border outside the outermost cells' centres, it is the one of
/// them that is nearest to their centre of mass.
pub fn peak(map: &ConceptMap) -> Option<Peak> {
    Reading::of(map).map(|reading| reading.peak())
}

/// The largest evidence of any pixel of the photo; none where no pixel has positive evidence.
pub fn peak_evidence(map: &ConceptMap) -> Option<f32> {
    Reading::of(map).map(|reading| reading.highest)
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
    Reading::of(map).map_or(Vec::new(), |reading| reading.instances(threshold))
}

/// A map with positive evidence at the photo's pixels, and what all questions about it begin with.
pub(crate) struct Reading<'map> {
    pub(super) resampled: Resampled<'map>,
    /// The largest evidence, above 0.
    highest: f32,
    sums: OnceCell<Sums>,
}

impl<'map> Reading<'map> {
    /// Reads a map; none if no pixel has positive evidence.
    pub(crate) fn of(map: &'map ConceptMap) -> Option<Self> {
        Self::at_pixels(Resampled::new(map, map.placement().photo))
    }

    /// Reads a map that is seen at the photo's pixels; none if none of them has positive evidence.
    pub(crate) fn at_pixels(resampled: Resampled<'map>) -> Option<Self> {
        let highest = resampled.highest();
        (highest > 0.0).then(|| Self { resampled, highest, sums: OnceCell::new() })
    }

    /// As in [`peak`].
    pub(crate) fn peak(&self) -> Peak {
        nearest_to_centre(&self.resampled.runs(self.highest))
    }

    /// As [`instances`] has them.
    pub(crate) fn instances(&self, threshold: Threshold) -> Vec<Instance> {
        let positive = self.sums().positive;
        self.components(threshold, positive).instances(&self.resampled, positive)
    }

    pub(super) fn sums(&self) -> Sums {
        *self.sums.get_or_init(|| self.resampled.sums())
    }

    /// The connected parts of what reaches the threshold, of which the instances count, the largest share of the
    /// evidence first; `positive`: the sum of all positive evidence.
    pub(super) fn components(&self, threshold: Threshold, positive: f64) -> Components {
        let map = self.resampled.map();
        let mut found = Components::of(self.resampled.runs(threshold.level(map, self.highest)));
        let is_large = |part: &Component| {
            part.area as f64 >= SPECK_PATCHES * map.patch_area() && part.sum >= LEAST_SHARE * positive
        };
        found.parts.retain(|part| is_large(part) || part.max >= self.highest);
        // Ties, and values that only rounding distinguishes, keep the order of reading: the sort is stable.
        found.parts.sort_by(|a, b| (b.sum as f32).total_cmp(&(a.sum as f32)));
        found
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::Range;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::attribution::runs::tests::any_map;
    use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

    /// A map with one cell a pixel, so that the values are the pixels'.
    pub(crate) fn pixels(width: usize, values: &[f32]) -> ConceptMap {
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

    /// The parts of a photo that reach a level, pixel by pixel: each as the places of its pixels.
    fn flooded(pixels: &[f32], width: usize, level: f32) -> Vec<Vec<usize>> {
        let mut open: Vec<bool> = pixels.iter().map(|value| *value >= level && *value > 0.0).collect();
        let mut parts = Vec::new();
        for first in 0..open.len() {
            let (mut part, mut next) = (Vec::new(), vec![first]);
            while let Some(at) = next.pop() {
                if !std::mem::replace(&mut open[at], false) {
                    continue;
                }
                part.push(at);
                let (x, y) = (at % width, at / width);
                let beside = |at: usize, most: usize| at.saturating_sub(1)..(at + 2).min(most);
                let rows = beside(y, pixels.len() / width);
                next.extend(rows.flat_map(|y| beside(x, width).map(move |x| y * width + x)));
            }
            if !part.is_empty() {
                part.sort_unstable();
                parts.push(part);
            }
        }
        parts
    }

    #[test]
    fn instances_are_the_parts_that_a_flood_of_all_pixels_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let thresholds = ["peak:0.5", "peak:0", "peak:0.9", "otsu", "share:0.5", "share:1"];
        for case in 0..60 {
            let map = any_map(&mut random);
            let (pixels, width) = (map.at_photo_size(), map.placement().photo.width as usize);
            let highest = pixels.iter().copied().fold(0.0, f32::max);
            assert_eq!(peak_evidence(&map).unwrap_or(0.0), highest);
            let sum = |part: &[usize]| part.iter().map(|at| f64::from(pixels[*at].max(0.0))).sum::<f64>();
            let all = sum(&(0..pixels.len()).collect::<Vec<_>>());
            for threshold in thresholds.map(|text| text.parse::<Threshold>().unwrap()) {
                let Some(level) = level(&map, threshold) else { continue };
                let mut parts = flooded(&pixels, width, level);
                let found = instances(&map, threshold);
                for Instance { region, evidence, mask } in &found {
                    let row = |(y, run): &(u32, Range<u32>)| {
                        let y = *y as usize * width;
                        run.clone().map(move |x| y + x as usize)
                    };
                    let own: Vec<usize> = mask.runs().iter().flat_map(row).collect();
                    let place = parts.iter().position(|part| *part == own);
                    let part = parts.swap_remove(place.unwrap_or_else(|| panic!("case {case}: no part")));
                    let most = part.iter().map(|at| pixels[*at]).fold(0.0, f32::max);
                    let peak = pixels[region.peak.y as usize * width + region.peak.x as usize];
                    assert_eq!(
                        (*evidence, peak, region.area),
                        (most, most, part.len() as u64),
                        "case {case}"
                    );
                    assert!((region.share - sum(&part) / all).abs() < 1e-5, "case {case}");
                }
                assert!(found.is_sorted_by(|one, other| one.region.share >= other.region.share));
                // What is left is small and does not hold the peak.
                for part in parts {
                    let (area, share) = (part.len() as f64, sum(&part) / all);
                    assert!(
                        area < SPECK_PATCHES * map.patch_area() || share < LEAST_SHARE + 1e-6,
                        "case {case}"
                    );
                    assert!(part.iter().all(|at| pixels[*at] < highest), "case {case}");
                }
            }
        }
    }
}
