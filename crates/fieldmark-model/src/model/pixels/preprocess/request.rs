//! What is asked of the transform, and what it gives.

use crate::{
    error::{Error, Result},
    geometry::{Fit, Grid, Placement, Size, grid_for},
};

/// The largest model input, in pixels.
const INPUT_LIMIT: u64 = 64_000_000;

/// What is asked of [`Preprocess::prepare`](super::Preprocess::prepare), beside the photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitRequest {
    /// How the photo is fitted to the model.
    pub fit: Fit,
    /// The side of the model's patches, in pixels.
    pub patch: usize,
    /// The grid of patches that the model was trained on.
    pub trained: Grid,
    /// How many times the trained resolution [`Fit::Whole`] may use along each side; 1 otherwise.
    pub detail: f64,
}

/// A model's input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prepared {
    /// Normalised values, `[3, height, width]`: channel by channel, each row by row.
    pub pixels: Vec<f32>,
    /// What of the photo they show. `input` is always whole patches.
    pub placement: Placement,
}

/// A part of the resized photo, in its pixels. It may stick out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The resized photo's size.
    pub(super) scaled: Size,
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) size: Size,
}

impl Window {
    pub(super) fn whole(scaled: Size) -> Self {
        Self { scaled, left: 0, top: 0, size: scaled }
    }
}

impl FitRequest {
    /// Checks what does not depend on the photo.
    ///
    /// # Errors
    /// [`Error::Option`] if `detail` is not a finite number above 0, or other than 1 where the fit leaves no choice.
    pub fn check(&self) -> Result<()> {
        let refuse = |option, reason| Err(Error::Option { option, reason });
        if !(self.detail.is_finite() && self.detail > 0.0) {
            return refuse("detail", format!("expected a finite number above 0, found {}", self.detail));
        }
        if self.fit != Fit::Whole && self.detail != 1.0 {
            let reason = format!("expected 1, because only fit whole has a choice, found {}", self.detail);
            return refuse("detail", reason);
        }
        if self.patch == 0 || self.trained.cells() == 0 {
            return refuse("fit", "the model has no patches".into());
        }
        Ok(())
    }

    /// The grid for the whole of a photo.
    pub(super) fn whole_grid(&self, photo: Size) -> Grid {
        let cells = (self.trained.cells() as f64 * self.detail * self.detail).floor();
        // More cells than pixels of the largest input are refused by whoever asks for the input's size.
        grid_for(photo, cells.min(INPUT_LIMIT as f64 * 2.0) as usize)
    }

    /// The model's input for a grid, unless it is absurd.
    pub(super) fn input_size(&self, grid: Grid) -> Result<Size> {
        let side = |cells: usize| cells.checked_mul(self.patch).and_then(|side| u32::try_from(side).ok());
        match (side(grid.columns), side(grid.rows)) {
            (Some(width), Some(height)) if Size::new(width, height).area() <= INPUT_LIMIT => {
                Ok(Size::new(width, height))
            }
            _ => Err(Error::Option {
                option: if self.fit == Fit::Whole { "detail" } else { "fit" },
                reason: format!(
                    "expected a model input of at most {INPUT_LIMIT} pixels, found {} x {} patches of {}",
                    grid.columns, grid.rows, self.patch
                ),
            }),
        }
    }

    /// Cuts a window down to whole patches.
    pub(super) fn whole_patches(&self, window: Window) -> Result<Window> {
        let rows = window.size.height as usize / self.patch;
        let columns = window.size.width as usize / self.patch;
        if rows == 0 || columns == 0 {
            let Size { width, height } = window.size;
            let patch = self.patch;
            let reason =
                format!("expected at least one patch of {patch} pixels, found {width} x {height} pixels");
            return Err(Error::Option { option: "fit", reason });
        }
        let size = self.input_size(Grid::new(rows, columns))?;
        Ok(Window { size, ..window })
    }
}
