//! Where things are: photo pixels, the model's input, the grid of patches, and the way between them.
//!
//! Plain numbers only: no tensors, no images. A *photo* is upright (EXIF orientation applied); its
//! coordinates are in pixels, x to the right and y down, with the origin at the outer corner of the
//! top-left pixel, so that the centre of that pixel is (0.5, 0.5).

use serde::{Deserialize, Serialize};

use crate::named;

/// A width and a height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// A size of `width` by `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Width times height.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// A rectangle of the photo, in pixels; `x1` and `y1` are outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x0: f64,
    /// Top edge.
    pub y0: f64,
    /// Right edge.
    pub x1: f64,
    /// Bottom edge.
    pub y1: f64,
}

impl Rect {
    /// The rectangle that covers a whole picture of this size.
    pub fn whole(size: Size) -> Self {
        Self { x0: 0.0, y0: 0.0, x1: f64::from(size.width), y1: f64::from(size.height) }
    }

    /// Right edge minus left edge.
    pub fn width(self) -> f64 {
        self.x1 - self.x0
    }

    /// Bottom edge minus top edge.
    pub fn height(self) -> f64 {
        self.y1 - self.y0
    }
}

/// Rows and columns of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
}

impl Grid {
    /// A grid of `rows` by `columns`.
    pub const fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns }
    }

    /// Rows times columns: the number of patches.
    pub const fn cells(self) -> usize {
        self.rows * self.columns
    }
}

/// How a photo of any shape becomes the model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fit {
    /// The whole photo at its own aspect, on as many patches as the model was trained on.
    #[default]
    Whole,
    /// The whole photo, resized to the model's square.
    Squash,
    /// The checkpoint's own preprocessing: shortest edge resized, centre cropped.
    Crop,
}

named!(Fit, "fit", Whole => "whole", Squash => "squash", Crop => "crop");

/// What of the photo the model saw, and on which grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The upright photo's size.
    pub photo: Size,
    /// The model input's size.
    pub input: Size,
    /// The grid of patches on the model's input.
    pub grid: Grid,
    /// The rectangle of the photo that the grid covers.
    pub covers: Rect,
}

impl Placement {
    /// The photo's coordinates of a point of the grid (column and row, in cells; the centre of the first
    /// cell is at 0.5, 0.5).
    pub fn to_photo(&self, column: f64, row: f64) -> (f64, f64) {
        (
            self.covers.x0 + column / self.grid.columns as f64 * self.covers.width(),
            self.covers.y0 + row / self.grid.rows as f64 * self.covers.height(),
        )
    }

    /// The grid's coordinates (column and row, in cells) of a point of the photo.
    pub fn to_grid(&self, x: f64, y: f64) -> (f64, f64) {
        (
            (x - self.covers.x0) / self.covers.width() * self.grid.columns as f64,
            (y - self.covers.y0) / self.covers.height() * self.grid.rows as f64,
        )
    }
}

/// The grid of at most `cells` cells that serves a photo best; every side has at least one cell.
///
/// A grid distorts the photo by the ratio of the two aspects, and it gives up the resolution (cells per
/// length) of the cells that it leaves unused. The grid with the smallest product of the two ratios is
/// taken; of equal ones, that with fewer rows (for an upright photo, fewer columns). So a square photo gets
/// the largest square, and a photo turned by 90 degrees gets the same grid turned by 90 degrees.
pub fn grid_for(photo: Size, cells: usize) -> Grid {
    if photo.height > photo.width {
        let turned = grid_for(Size::new(photo.height, photo.width), cells);
        return Grid::new(turned.columns, turned.rows);
    }
    let wanted = f64::from(photo.width.max(1)) / f64::from(photo.height.max(1));
    let cells = cells.max(1);
    let mut best = Grid::new(1, 1);
    let mut best_cost = f64::INFINITY;
    // With more rows than columns, a wide photo would be served better by the grid turned by 90 degrees.
    for rows in 1..=cells.isqrt() {
        // For given rows the cost falls up to the photo's aspect and rises from there on.
        let exact = rows as f64 * wanted;
        for columns in [exact.floor(), exact.ceil()] {
            let grid = Grid::new(rows, (columns as usize).clamp(1, cells / rows));
            let cost = fit_cost(grid, wanted, cells);
            if cost < best_cost {
                (best, best_cost) = (grid, cost);
            }
        }
    }
    best
}

/// How badly a grid serves a photo: the log of the distortion plus the log of the resolution given up.
///
/// Distortion alone would choose 1 x 1 for every square photo and 2 x 3 for many others; resolution alone
/// would distort. Both are logs of ratios of lengths, so they add.
fn fit_cost(grid: Grid, wanted: f64, cells: usize) -> f64 {
    let aspect = grid.columns as f64 / grid.rows as f64;
    let distortion = (aspect / wanted).ln().abs();
    let resolution = 0.5 * (cells as f64 / grid.cells() as f64).ln();
    distortion + resolution
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Photos of many shapes, from 1:150 to 150:1.
    fn shapes() -> impl Iterator<Item = Size> {
        let sides = [1, 7, 20, 97, 224, 225, 333, 640, 1000, 1001, 3000];
        sides.into_iter().flat_map(move |width| sides.map(|height| Size::new(width, height)))
    }

    #[test]
    fn a_grid_never_has_more_cells_than_allowed() {
        for photo in shapes() {
            for cells in [0, 1, 2, 3, 5, 49, 196, 256, 576, 784] {
                let grid = grid_for(photo, cells);
                assert!((1..=cells.max(1)).contains(&grid.cells()), "{photo:?} on {cells}: {grid:?}");
            }
        }
    }

    #[test]
    fn a_square_photo_gets_the_largest_square() {
        for cells in 1..800_usize {
            let side = cells.isqrt();
            assert_eq!(grid_for(Size::new(500, 500), cells), Grid::new(side, side));
        }
    }

    #[test]
    fn a_turned_photo_gets_the_turned_grid() {
        for photo in shapes() {
            let (grid, turned) = (grid_for(photo, 196), grid_for(Size::new(photo.height, photo.width), 196));
            assert_eq!((grid.rows, grid.columns), (turned.columns, turned.rows), "{photo:?}");
        }
    }

    #[test]
    fn known_shapes_get_known_grids() {
        assert_eq!(grid_for(Size::new(3000, 20), 196), Grid::new(1, 150));
        assert_eq!(grid_for(Size::new(1, 1), 196), Grid::new(14, 14));
        assert_eq!(grid_for(Size::new(1800, 1200), 196), Grid::new(11, 17));
        assert_eq!(grid_for(Size::new(4000, 3000), 196), Grid::new(12, 16));
        assert_eq!(grid_for(Size::new(20_000, 10), 196), Grid::new(1, 196));
    }

    #[test]
    fn the_best_grid_is_the_best_of_all() {
        for photo in shapes() {
            let wanted = f64::from(photo.width) / f64::from(photo.height);
            for cells in [1, 2, 6, 49, 196] {
                let found = fit_cost(grid_for(photo, cells), wanted, cells);
                let all = (1..=cells)
                    .flat_map(|rows| (1..=cells / rows).map(move |columns| Grid::new(rows, columns)));
                let best = all.map(|grid| fit_cost(grid, wanted, cells)).fold(f64::INFINITY, f64::min);
                assert!((found - best).abs() < 1e-12, "{photo:?} on {cells}: {found} against {best}");
            }
        }
    }

    #[test]
    fn ordinary_photos_are_hardly_distorted_and_use_most_cells() {
        for (width, height) in
            [(1000, 1000), (4000, 3000), (3000, 2000), (1920, 1080), (2000, 1000), (2100, 900)]
        {
            let grid = grid_for(Size::new(width, height), 196);
            let distortion = grid.columns as f64 / grid.rows as f64 / (f64::from(width) / f64::from(height));
            assert!(
                (0.94..1.07).contains(&distortion),
                "{width} x {height}: {grid:?} distorts by {distortion}"
            );
            assert!(grid.cells() >= 176, "{width} x {height}: {grid:?}");
        }
    }

    #[test]
    fn photo_and_grid_coordinates_are_inverse() {
        let placement = Placement {
            photo: Size::new(480, 320),
            input: Size::new(224, 224),
            grid: Grid::new(7, 7),
            covers: Rect { x0: 80.0, y0: -4.0, x1: 400.0, y1: 324.0 },
        };
        assert_eq!(placement.to_photo(0.0, 7.0), (80.0, 324.0));
        let (column, row) = placement.to_grid(240.0, 160.0);
        assert_eq!((column, row), (3.5, 3.5));
    }
}
