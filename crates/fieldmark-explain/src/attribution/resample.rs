//! A map on its grid becomes rows of pixels, made one at a time so that a large photo needs no array of
//! its own size.
//!
//! Bilinear between the cells' centres and constant outside the outermost ones. The work is separable: a
//! row of pixels first blends two rows of the grid into one line of cells, then runs along that line in
//! *segments*, each between the same two cells. What is asked of a whole photo is answered in `runs`.

use std::ops::Range;
use std::sync::Arc;

use crate::attribution::ConceptMap;
use fieldmark_model::geometry::{Placement, Rect, Size};

/// A map seen at another resolution.
pub struct Resampled<'map> {
    pub(super) map: &'map ConceptMap,
    samples: Arc<Samples>,
}

/// Where the pixels of a picture lie between the cells of a grid.
pub(super) struct Samples {
    pub(super) rows: Line,
    pub(super) columns: Line,
}

/// One side of a picture.
pub(super) struct Line {
    taps: Vec<Option<Tap>>,
    pub(super) segments: Vec<Segment>,
    /// Each pixel's share of the second cell of its segment.
    pub(super) shares: Vec<f32>,
    /// Sums of the shares before each pixel, one longer than `shares`.
    share_sums: Vec<f64>,
}

/// A run of pixels between the same two neighbouring cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) pixels: Range<usize>,
    pub(super) cells: [usize; 2],
}

impl<'map> Resampled<'map> {
    /// The map as a picture of the whole photo at `size` pixels sees it.
    pub fn new(map: &'map ConceptMap, size: Size) -> Self {
        Self::of_part(map, Rect::whole(map.placement().photo), size)
    }

    /// The map as a picture of a part of the photo at `size` pixels sees it.
    pub fn of_part(map: &'map ConceptMap, part: Rect, size: Size) -> Self {
        let Placement { covers, grid, .. } = *map.placement();
        let across = Axis { low: covers.x0, high: covers.x1, cells: grid.columns };
        let down = Axis { low: covers.y0, high: covers.y1, cells: grid.rows };
        let columns = Line::new(across.taps(size.width, part.x0, part.x1));
        let rows = Line::new(down.taps(size.height, part.y0, part.y1));
        Self { map, samples: Arc::new(Samples { rows, columns }) }
    }

    /// Another map of the same placement, seen alike.
    pub fn of_other<'other>(&self, map: &'other ConceptMap) -> Resampled<'other> {
        debug_assert_eq!(map.placement(), self.map.placement());
        Resampled { map, samples: Arc::clone(&self.samples) }
    }

    /// The map itself.
    pub fn map(&self) -> &'map ConceptMap {
        self.map
    }

    /// Where the pixels lie.
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The pixel columns that the map covers.
    pub fn covered_columns(&self) -> Range<usize> {
        self.samples.columns.covered()
    }

    /// The pixel rows that the map covers.
    pub fn covered_rows(&self) -> Range<usize> {
        self.samples.rows.covered()
    }

    /// Writes row `y` into `out`, one value a pixel; NaN where the map does not cover the photo.
    pub fn row(&self, y: u32, out: &mut [f32]) {
        out.fill(f32::NAN);
        let mut line = Vec::new();
        if !self.line(y as usize, &mut line) {
            return;
        }
        let columns = &self.samples.columns;
        for segment in &columns.segments {
            let (from, rise) = segment.ends(&line);
            let shares = &columns.shares[segment.pixels.clone()];
            for (value, share) in out[segment.pixels.clone()].iter_mut().zip(shares) {
                *value = from + rise * share;
            }
        }
    }

    /// Replaces `line` by the grid's values along pixel row `y`, one a cell; false where the map does not cover it.
    pub(super) fn line(&self, y: usize, line: &mut Vec<f32>) -> bool {
        let Some(Some(tap)) = self.samples.rows.taps.get(y) else { return false };
        let columns = self.map.grid().columns;
        let row = |index: usize| &self.map.values()[index * columns..(index + 1) * columns];
        let (top, bottom) = (row(tap.first), row(tap.second));
        line.clear();
        let share = tap.share as f32;
        line.extend(top.iter().zip(bottom).map(|(top, bottom)| top + (bottom - top) * share));
        true
    }
}

impl Line {
    fn new(taps: Vec<Option<Tap>>) -> Self {
        let share = |tap: &Option<Tap>| tap.map_or(0.0, |tap| tap.share);
        let shares = taps.iter().map(|tap| share(tap) as f32).collect();
        let mut share_sums = Vec::with_capacity(taps.len() + 1);
        share_sums.push(0.0);
        share_sums.extend(taps.iter().scan(0.0, |sum, tap| {
            *sum += share(tap);
            Some(*sum)
        }));
        Self { segments: segments(&taps), taps, shares, share_sums }
    }

    fn covered(&self) -> Range<usize> {
        let start = self.segments.first().map_or(0, |segment| segment.pixels.start);
        start..self.segments.last().map_or(start, |segment| segment.pixels.end)
    }

    /// The two cells beside a pixel, and its share of the second; none where the map does not cover it.
    pub(super) fn at(&self, pixel: usize) -> Option<([usize; 2], f32)> {
        self.taps.get(pixel).copied().flatten().map(|tap| ([tap.first, tap.second], tap.share as f32))
    }

    /// The shares of some pixels of one segment, at least one: the first one's, and how much more each next one has.
    #[inline(always)]
    pub(super) fn series(&self, pixels: &Range<usize>) -> [f64; 2] {
        let [first, last] =
            [pixels.start, pixels.end - 1].map(|at| self.taps[at].map_or(0.0, |tap| tap.share));
        [first, (last - first) / (pixels.len() - 1).max(1) as f64]
    }

    /// The sum of the shares of some pixels.
    #[inline(always)]
    pub(super) fn share_sum(&self, pixels: &Range<usize>) -> f64 {
        self.share_sums[pixels.end] - self.share_sums[pixels.start]
    }
}

impl Segment {
    /// The value at the first cell, and how much higher the second is.
    pub(super) fn ends(&self, line: &[f32]) -> (f32, f32) {
        let [from, to] = self.cells.map(|cell| line[cell]);
        (from, to - from)
    }
}

/// Two neighbouring cells along one axis, and the second one's share.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    first: usize,
    second: usize,
    share: f64,
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
        Some(Tap { first, second: first + 1, share: position - first as f64 })
    }
}

/// Gathers neighbouring pixels that lie between the same two cells.
fn segments(taps: &[Option<Tap>]) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for (at, tap) in taps.iter().enumerate() {
        let Some(Tap { first, second, .. }) = *tap else { continue };
        match out.last_mut() {
            Some(last) if (last.cells, last.pixels.end) == ([first, second], at) => {
                last.pixels.end = at + 1;
            }
            _ => out.push(Segment { pixels: at..at + 1, cells: [first, second] }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::Grid;

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
}
