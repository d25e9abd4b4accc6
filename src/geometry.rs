//! Where things are: photo pixels, the model's input, the grid of patches, and the way between them.
//!
//! Plain numbers only: no tensors, no images. A *photo* is upright (EXIF orientation applied); its
//! coordinates are in pixels, x to the right and y down, with the origin at the outer corner of the
//! top-left pixel, so that the centre of that pixel is (0.5, 0.5).

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole photo at its own aspect, on as many patches as the model was trained on.
    #[default]
    Whole,
    /// The whole photo, resized to the model's square.
    Squash,
    /// The checkpoint's own preprocessing: shortest edge resized, centre cropped.
    Crop,
}

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

/// The grid of at most `cells` cells whose aspect is nearest to the photo's.
///
/// Nearness is the ratio of the two aspects (the larger over the smaller); of grids that are equally near,
/// the one with more cells is taken. Every side has at least one cell.
pub fn grid_for(photo: Size, cells: usize) -> Grid {
    let wanted = f64::from(photo.width) / f64::from(photo.height);
    let cells = cells.max(1);
    // More columns than this would leave less than one row.
    let ideal = |rows: usize| (rows as f64 * wanted).round().max(1.0) as usize;
    let mut best = Grid::new(1, 1);
    let mut best_cost = f64::INFINITY;
    for rows in 1..=cells {
        let columns = ideal(rows).min(cells / rows);
        let grid = Grid::new(rows, columns);
        let cost = fit_cost(grid, wanted, cells);
        if cost < best_cost {
            (best, best_cost) = (grid, cost);
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
