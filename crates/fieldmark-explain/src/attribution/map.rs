//! The signed map of evidence: plain numbers on a grid that knows where on the photo it lies.

use crate::attribution::resample::Resampled;
use fieldmark_model::geometry::{Grid, Placement, Rect};

/// A map of evidence for (positive) and against (negative) a concept, in logits.
///
/// The values are neither rectified nor scaled, so maps of one model can be compared, added and subtracted.
#[derive(Clone, Debug, PartialEq)]
pub struct ConceptMap {
    values: Vec<f32>,
    placement: Placement,
    patch_area: f64,
}

impl ConceptMap {
    /// A map from its values, row by row.
    ///
    /// # Panics
    /// If there are not as many values as the placement's grid has cells.
    pub fn new(values: Vec<f32>, placement: Placement) -> Self {
        assert_eq!(values.len(), placement.grid.cells(), "one value a cell");
        let patch_area = placement.covers.width() * placement.covers.height() / placement.grid.cells() as f64;
        Self { values, placement, patch_area }
    }

    /// The same evidence on another grid, as fine as it may be: what the model resolved stays what it was.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn on_grid(&self, values: Vec<f32>, placement: Placement) -> Self {
        Self { patch_area: self.patch_area, ..Self::new(values, placement) }
    }

    /// The same map, of a model that resolved patches of so many pixels of the photo; independent of the grid.
    #[must_use]
    pub(crate) fn resolving(self, patch_area: f64) -> Self {
        Self { patch_area, ..self }
    }

    /// The evidence with its sign turned round.
    #[must_use]
    pub fn negated(&self) -> Self {
        self.on_grid(self.values.iter().map(|value| -value).collect(), self.placement)
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

    /// How many pixels of the photo one patch of the model covers: what is much smaller was not resolved, however
    /// fine the grid is.
    pub fn patch_area(&self) -> f64 {
        self.patch_area
    }

    /// The largest value; it is negative where all evidence is against the concept.
    pub fn max(&self) -> f32 {
        self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The largest absolute value.
    pub fn max_abs(&self) -> f32 {
        self.values.iter().fold(0.0, |top, value| top.max(value.abs()))
    }

    /// The sum of the positive values, in logits.
    pub fn positive(&self) -> f64 {
        // A sum of nothing is -0, which would be shown with its sign.
        self.values.iter().map(|value| f64::from(value.max(0.0))).sum::<f64>() + 0.0
    }

    /// This map plus so many times another of the same photo, cell by cell. Of a method that is linear in the gradient
    /// it is the map of that mix.
    ///
    /// # Panics
    /// If the two grids have different numbers of cells.
    #[must_use]
    pub fn plus(&self, times: f64, other: &Self) -> Self {
        assert_eq!(self.values.len(), other.values.len(), "two maps of one grid");
        let sum = |(one, other): (&f32, &f32)| (f64::from(*one) + times * f64::from(*other)) as f32;
        Self::new(self.values.iter().zip(&other.values).map(sum).collect(), self.placement)
    }

    /// The map at every pixel of the photo, row by row: bilinear between the cells' centres, constant
    /// outside the outermost ones (`align_corners = false`); NaN where the map does not cover the photo.
    pub fn at_photo_size(&self) -> Vec<f32> {
        let photo = self.placement.photo;
        let width = photo.width as usize;
        let resampled = Resampled::new(self, photo);
        let mut out = vec![f32::NAN; photo.area() as usize];
        for (y, row) in out.chunks_exact_mut(width.max(1)).enumerate() {
            resampled.row(y as u32, row);
        }
        out
    }

    /// As [`at_photo_size`](Self::at_photo_size); nothing is copied if the map's cells are the photo's pixels.
    pub fn into_photo_size(self) -> Vec<f32> {
        let Placement { photo, grid, covers, .. } = self.placement;
        let is_fine = [grid.columns, grid.rows] == [photo.width as usize, photo.height as usize];
        if is_fine && covers == Rect::whole(photo) { self.values } else { self.at_photo_size() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::Size;

    #[test]
    fn a_map_on_the_photos_pixels_is_its_own_at_photo_size() {
        let photo = Size::new(7, 5);
        let map = |grid: Grid, covers| {
            let values = (0..grid.cells()).map(|cell| (cell as f32 * 1.7).sin() * 1e3).collect();
            ConceptMap::new(values, Placement { photo, input: photo, grid, covers })
        };
        let part = Rect { x0: 1.0, ..Rect::whole(photo) };
        for map in [
            map(Grid::new(5, 7), Rect::whole(photo)),
            map(Grid::new(5, 7), part),
            map(Grid::new(2, 3), Rect::whole(photo)),
        ] {
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(map.clone().into_photo_size()), bits(map.at_photo_size()));
        }
    }
}
