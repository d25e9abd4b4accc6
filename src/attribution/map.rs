//! The signed map of evidence: plain numbers on a grid that knows where on the photo it lies.

use crate::geometry::{Grid, Placement};

/// A map of evidence for (positive) and against (negative) a concept, in logits.
///
/// The values are neither rectified nor scaled, so maps of one model can be compared, added and subtracted.
#[derive(Clone, Debug, PartialEq)]
pub struct ConceptMap {
    values: Vec<f32>,
    placement: Placement,
}

impl ConceptMap {
    /// A map from its values, row by row.
    ///
    /// # Panics
    /// If there are not as many values as the placement's grid has cells.
    pub fn new(values: Vec<f32>, placement: Placement) -> Self {
        assert_eq!(values.len(), placement.grid.cells(), "one value a cell");
        Self { values, placement }
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Rows and columns.
    pub fn grid(&self) -> Grid {
        self.placement.grid
    }

    /// Where on the photo the map lies.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The largest value; it is negative where all evidence is against the concept.
    pub fn max(&self) -> f32 {
        self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The largest absolute value.
    pub fn max_abs(&self) -> f32 {
        self.values.iter().fold(0.0, |top, value| top.max(value.abs()))
    }

    /// The map at every pixel of the photo, row by row: bilinear between the cells' centres, constant
    /// outside the outermost ones (`align_corners = false`); NaN where the map does not cover the photo.
    pub fn at_photo_size(&self) -> Vec<f32> {
        let photo = self.placement.photo;
        let columns: Vec<Option<Tap>> =
            (0..photo.width).map(|x| self.tap(f64::from(x) + 0.5, Axis::X)).collect();
        let mut out = Vec::with_capacity(photo.area() as usize);
        for y in 0..photo.height {
            let row = self.tap(f64::from(y) + 0.5, Axis::Y);
            out.extend(columns.iter().map(|column| match (row, *column) {
                (Some(row), Some(column)) => self.blend(row, column),
                _ => f32::NAN,
            }));
        }
        out
    }

    fn tap(&self, at: f64, axis: Axis) -> Option<Tap> {
        let covers = self.placement.covers;
        let (low, high, cells) = match axis {
            Axis::X => (covers.x0, covers.x1, self.grid().columns),
            Axis::Y => (covers.y0, covers.y1, self.grid().rows),
        };
        if at < low || at >= high {
            return None;
        }
        let position = ((at - low) / (high - low) * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
        let first = position as usize;
        Some(Tap { first, second: (first + 1).min(cells - 1), share: (position - first as f64) as f32 })
    }

    fn blend(&self, row: Tap, column: Tap) -> f32 {
        let line = |r: usize| {
            let base = r * self.grid().columns;
            let (left, right) = (self.values[base + column.first], self.values[base + column.second]);
            left + (right - left) * column.share
        };
        let (top, bottom) = (line(row.first), line(row.second));
        top + (bottom - top) * row.share
    }
}

/// Which side of the photo a coordinate runs along.
#[derive(Clone, Copy)]
enum Axis {
    X,
    Y,
}

/// Two neighbouring cells along one axis, and the second one's share.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}
