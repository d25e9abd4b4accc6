//! A map on its grid becomes rows of pixels, made one at a time so that a large photo needs no array of
//! its own size.
//!
//! Bilinear between the cells' centres and constant outside the outermost ones. The work is separable: a
//! row of pixels first blends two rows of the grid into one line of cells, then runs along that line in
//! *segments*. On a segment the value is a straight line in the pixel's share, so a segment's extremes are
//! at its ends, where it crosses a level is found by bisection, and its sum needs no loop.

use std::ops::Range;

use crate::attribution::ConceptMap;
use crate::geometry::{Placement, Rect, Size};

/// A map seen at another resolution.
pub(crate) struct Resampled<'map> {
    map: &'map ConceptMap,
    rows: Vec<Option<Tap>>,
    segments: Vec<Segment>,
    /// Each pixel column's share of the second cell of its segment.
    shares: Vec<f32>,
    /// Sums of `shares` before each pixel column, one longer than `shares`.
    share_sums: Vec<f64>,
}

/// A run of pixel columns between the same two neighbouring cells.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    pixels: Range<usize>,
    first: usize,
    second: usize,
}

/// A run of pixels of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// The columns of the pixels.
    pub(crate) pixels: Range<usize>,
    /// The sum of the map's values over the pixels.
    pub(crate) sum: f64,
    /// The largest of the values.
    pub(crate) max: f32,
}

impl<'map> Resampled<'map> {
    /// The map as a picture of the whole photo at `size` pixels sees it.
    pub(crate) fn new(map: &'map ConceptMap, size: Size) -> Self {
        Self::of_part(map, Rect::whole(map.placement().photo), size)
    }

    /// The map as a picture of a part of the photo at `size` pixels sees it.
    pub(crate) fn of_part(map: &'map ConceptMap, part: Rect, size: Size) -> Self {
        let Placement { covers, grid, .. } = *map.placement();
        let across = Axis { low: covers.x0, high: covers.x1, cells: grid.columns };
        let down = Axis { low: covers.y0, high: covers.y1, cells: grid.rows };
        let columns = across.taps(size.width, part.x0, part.x1);
        let shares: Vec<f32> = columns.iter().map(|tap| tap.map_or(0.0, |tap| tap.share)).collect();
        let mut share_sums = vec![0.0];
        share_sums.extend(shares.iter().scan(0.0, |sum, share| {
            *sum += f64::from(*share);
            Some(*sum)
        }));
        Self {
            map,
            rows: down.taps(size.height, part.y0, part.y1),
            segments: segments(&columns),
            shares,
            share_sums,
        }
    }

    /// The map itself.
    pub(crate) fn map(&self) -> &'map ConceptMap {
        self.map
    }

    /// The pixel columns that the map covers.
    pub(crate) fn covered_columns(&self) -> Range<usize> {
        let start = self.segments.first().map_or(0, |segment| segment.pixels.start);
        start..self.segments.last().map_or(start, |segment| segment.pixels.end)
    }

    /// The pixel rows that the map covers.
    pub(crate) fn covered_rows(&self) -> Range<usize> {
        let start = self.rows.iter().position(Option::is_some).unwrap_or(0);
        start..self.rows.iter().rposition(Option::is_some).map_or(start, |last| last + 1)
    }

    /// Writes row `y` into `out`, one value a pixel; NaN where the map does not cover the photo.
    pub(crate) fn row(&self, y: u32, out: &mut [f32]) {
        out.fill(f32::NAN);
        let Some(line) = self.line(y) else { return };
        for segment in &self.segments {
            let (from, rise) = segment.ends(&line);
            let shares = &self.shares[segment.pixels.clone()];
            for (value, share) in out[segment.pixels.clone()].iter_mut().zip(shares) {
                *value = from + rise * share;
            }
        }
    }

    /// The runs of row `y` whose values are at least `level` and above zero, from left to right.
    pub(crate) fn runs_at_least(&self, y: u32, level: f32) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let Some(line) = self.line(y) else { return runs };
        for segment in &self.segments {
            let Some(run) = self.run_at_least(segment, &line, level) else { continue };
            match runs.last_mut() {
                Some(last) if last.pixels.end == run.pixels.start => last.append(&run),
                _ => runs.push(run),
            }
        }
        runs
    }

    /// The part of a segment that is at least `level` and above zero.
    fn run_at_least(&self, segment: &Segment, line: &[f32], level: f32) -> Option<Run> {
        let (from, rise) = segment.ends(line);
        let Range { start, end } = segment.pixels;
        let value = |share: f32| from + rise * share;
        let is_in = |share: &f32| value(*share) >= level && value(*share) > 0.0;
        let shares = &self.shares[start..end];
        let pixels = if rise < 0.0 {
            start..start + shares.partition_point(is_in)
        } else {
            start + shares.partition_point(|share| !is_in(share))..end
        };
        let (first, last) = (*self.shares.get(pixels.start)?, *self.shares.get(pixels.end.checked_sub(1)?)?);
        if pixels.is_empty() {
            return None;
        }
        let share_sum = self.share_sums[pixels.end] - self.share_sums[pixels.start];
        let sum = f64::from(from) * pixels.len() as f64 + f64::from(rise) * share_sum;
        Some(Run { pixels, sum, max: value(first).max(value(last)) })
    }

    /// The grid's values along pixel row `y`, one a cell; none where the map does not cover the row.
    fn line(&self, y: u32) -> Option<Vec<f32>> {
        let tap = (*self.rows.get(y as usize)?)?;
        let columns = self.map.grid().columns;
        let row = |index: usize| &self.map.values()[index * columns..(index + 1) * columns];
        let (top, bottom) = (row(tap.first), row(tap.second));
        Some(top.iter().zip(bottom).map(|(top, bottom)| top + (bottom - top) * tap.share).collect())
    }
}

impl Segment {
    /// The value at the first cell, and how much higher the second is.
    fn ends(&self, line: &[f32]) -> (f32, f32) {
        (line[self.first], line[self.second] - line[self.first])
    }
}

impl Run {
    fn append(&mut self, next: &Run) {
        self.pixels.end = next.pixels.end;
        self.sum += next.sum;
        self.max = self.max.max(next.max);
    }
}

/// Two neighbouring cells along one axis, and the second one's share.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

/// One side of the photo: from where to where the map covers it, and with how many cells.
struct Axis {
    low: f64,
    high: f64,
    cells: usize,
}

impl Axis {
    /// A tap for each of `pixels` pixels that divide a stretch of the photo evenly.
    fn taps(&self, pixels: u32, start: f64, end: f64) -> Vec<Option<Tap>> {
        let step = (end - start) / f64::from(pixels.max(1));
        (0..pixels).map(|pixel| self.tap(start + (f64::from(pixel) + 0.5) * step)).collect()
    }

    fn tap(&self, at: f64) -> Option<Tap> {
        if self.cells == 0 || !(self.low..self.high).contains(&at) {
            return None;
        }
        let last = self.cells - 1;
        let position = (at - self.low) / (self.high - self.low) * self.cells as f64 - 0.5;
        if position <= 0.0 || position >= last as f64 {
            // Constant outside the outermost centres: the two cells are one.
            let cell = if position <= 0.0 { 0 } else { last };
            return Some(Tap { first: cell, second: cell, share: 0.0 });
        }
        let first = position as usize;
        Some(Tap { first, second: first + 1, share: (position - first as f64) as f32 })
    }
}

/// Gathers neighbouring pixel columns that lie between the same two cells.
fn segments(columns: &[Option<Tap>]) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for (x, tap) in columns.iter().enumerate() {
        let Some(Tap { first, second, .. }) = *tap else { continue };
        match out.last_mut() {
            Some(last) if (last.first, last.second, last.pixels.end) == (first, second, x) => {
                last.pixels.end = x + 1;
            }
            _ => out.push(Segment { pixels: x..x + 1, first, second }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;

    fn map(values: &[f32], grid: Grid, photo: Size, covers: Rect) -> ConceptMap {
        ConceptMap::new(values.to_vec(), Placement { photo, input: photo, grid, covers })
    }

    #[test]
    fn interpolates_between_centres_and_is_constant_outside_them() {
        let photo = Size::new(8, 1);
        let map = map(&[0.0, 4.0], Grid::new(1, 2), photo, Rect::whole(photo));
        assert_eq!(map.at_photo_size(), [0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]);
    }

    #[test]
    fn is_not_a_number_outside_what_the_map_covers() {
        let photo = Size::new(4, 1);
        let covers = Rect { x0: 1.0, y0: 0.0, x1: 3.0, y1: 1.0 };
        let values = map(&[7.0], Grid::new(1, 1), photo, covers).at_photo_size();
        assert!(values[0].is_nan() && values[3].is_nan());
        assert_eq!(values[1..3], [7.0, 7.0]);
    }

    #[test]
    fn a_smaller_picture_sees_the_same_map() {
        let photo = Size::new(80, 10);
        let map = map(&[0.0, 4.0], Grid::new(1, 2), photo, Rect::whole(photo));
        let mut row = [0.0; 8];
        Resampled::new(&map, Size::new(8, 1)).row(0, &mut row);
        assert_eq!(row, [0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]);
    }

    #[test]
    fn a_run_knows_its_pixels_sum_and_largest_value() {
        let photo = Size::new(8, 1);
        let map = map(&[0.0, 4.0], Grid::new(1, 2), photo, Rect::whole(photo));
        let runs = Resampled::new(&map, photo).runs_at_least(0, 1.0);
        // Pixels 3 to 7 hold 1.5, 2.5, 3.5, 4 and 4.
        assert_eq!(runs, [Run { pixels: 3..8, sum: 15.5, max: 4.0 }]);
    }

    #[test]
    fn runs_agree_with_the_pixels_one_by_one() {
        let photo = Size::new(37, 23);
        let values: Vec<f32> = (0..20).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let map = map(&values, Grid::new(4, 5), photo, Rect { x0: 2.0, y0: 1.0, x1: 35.0, y1: 23.0 });
        let resampled = Resampled::new(&map, photo);
        let pixels = map.at_photo_size();
        for level in [0.0, 0.7, 2.5] {
            for y in 0..photo.height {
                let row = &pixels[(y * photo.width) as usize..][..photo.width as usize];
                let expected: Vec<usize> =
                    (0..row.len()).filter(|x| row[*x] >= level && row[*x] > 0.0).collect();
                let runs = resampled.runs_at_least(y, level);
                let found: Vec<usize> = runs.iter().flat_map(|run| run.pixels.clone()).collect();
                assert_eq!(found, expected, "row {y} at level {level}");
                for run in runs {
                    let sum: f64 = row[run.pixels.clone()].iter().map(|value| f64::from(*value)).sum();
                    assert!((run.sum - sum).abs() < 1e-4, "row {y} at level {level}");
                    assert_eq!(run.max, row[run.pixels].iter().copied().fold(f32::MIN, f32::max));
                }
            }
        }
    }
}
