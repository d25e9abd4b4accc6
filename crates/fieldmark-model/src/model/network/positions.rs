//! The vision tower's position embedding, also for grids other than the trained one.
//!
//! The kernel is PyTorch's, in float32: without antialiasing a = -0.75, unlike Pillow's, with which photos are resized; with
//! it a = -0.5, over a support that grows as the grid gets smaller.

use candle_core::{Result, Tensor};

use super::VisionTower;
use crate::{geometry::Grid, model::config::PositionResampling};

impl VisionTower {
    /// The position embedding for a grid: as it is at the trained grid, else interpolated as transformers does
    /// (bicubic, `align_corners = false`, without antialiasing but for DINOv2 with registers; the class token's row stays).
    ///
    /// # Shapes
    /// Returns [tokens, width].
    pub(super) fn positions_for(&self, grid: Grid) -> Result<Tensor> {
        if grid == self.trained {
            return Ok(self.positions.clone());
        }
        let (width, prefix) = (self.positions.dim(1)?, usize::from(self.class.is_some()));
        let values =
            self.positions.narrow(0, prefix, self.trained.cells())?.flatten_all()?.to_vec1::<f32>()?;
        let resample = match self.position_resampling {
            PositionResampling::Bicubic => resample,
            PositionResampling::BicubicAntialiased => resample_antialiased,
        };
        let columns = resample(&values, self.trained.columns, grid.columns, width);
        let rows = resample(&columns, self.trained.rows, grid.rows, width * grid.columns);
        let patches = Tensor::from_vec(rows, (grid.cells(), width), self.positions.device())?;
        match prefix {
            0 => Ok(patches),
            _ => Tensor::cat(&[&self.positions.narrow(0, 0, prefix)?, &patches], 0),
        }
    }
}

/// Bicubic resampling along one axis: the values are lines of `from` items, each item `width` numbers, and each
/// line becomes one of `to` items. Items beyond the ends repeat the outermost.
fn resample(values: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    let scale = from as f32 / to as f32;
    let mut output = Vec::with_capacity(values.len() / from * to);
    for line in values.chunks_exact(from * width) {
        for item in 0..to {
            let centre = (item as f32 + 0.5) * scale - 0.5;
            let first = centre.floor();
            let weights = cubic_weights(centre - first);
            let tap = |offset: i64| {
                let index = (first as i64 + offset).clamp(0, from as i64 - 1) as usize;
                &line[index * width..(index + 1) * width]
            };
            let taps = [tap(-1), tap(0), tap(1), tap(2)];
            output.extend((0..width).map(|at| (0..4).map(|i| taps[i][at] * weights[i]).sum::<f32>()));
        }
    }
    output
}

/// The weights of four neighbours at distances 1 + t, t, 1 - t and 2 - t in PyTorch's bicubic convolution
/// (Keys' kernel with a = -0.75).
fn cubic_weights(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Bicubic resampling along one axis as [`resample`], over all items that a step covers where they become fewer:
/// PyTorch's `antialias = True`. Items beyond the ends do not count, and weights sum to 1.
fn resample_antialiased(values: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    let scale = from as f32 / to as f32;
    let (support, inverse) = if scale >= 1.0 { (2.0 * scale, 1.0 / scale) } else { (2.0, 1.0) };
    let taps = |item: usize| {
        let centre = scale * (item as f32 + 0.5);
        let first = ((centre - support + 0.5) as i64).max(0) as usize;
        let end = ((centre + support + 0.5) as i64).clamp(0, from as i64) as usize;
        let weights = (first..end).map(|at| keys((at as f32 - centre + 0.5) * inverse));
        let weights: Vec<f32> = weights.collect();
        let total: f32 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / total).collect::<Vec<f32>>())
    };
    let taps: Vec<_> = (0..to).map(taps).collect();
    let mut output = Vec::with_capacity(values.len() / from * to);
    for line in values.chunks_exact(from * width) {
        for (first, weights) in &taps {
            let start = output.len();
            output.resize(start + width, 0.0);
            for (weight, item) in weights.iter().zip(line.chunks_exact(width).skip(*first)) {
                output[start..].iter_mut().zip(item).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
    output
}

/// Keys' kernel with a = -0.5, at a distance.
fn keys(distance: f32) -> f32 {
    const A: f32 = -0.5;
    let x = distance.abs();
    match x {
        ..1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        ..2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubic_weights_sum_to_one_and_hit_the_samples() {
        for step in 0..=10 {
            let weights = cubic_weights(step as f32 / 10.0);
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(cubic_weights(0.0), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn resampling_keeps_constants_and_identity() {
        assert_eq!(resample(&[1.0, 2.0, 4.0], 3, 3, 1), [1.0, 2.0, 4.0]);
        assert_eq!(resample_antialiased(&[1.0, 2.0, 4.0], 3, 3, 1), [1.0, 2.0, 4.0]);
        for resample in [resample, resample_antialiased] {
            for to in [2, 5] {
                let constant = resample(&[7.0; 6], 3, to, 2);
                assert_eq!(constant.len(), 2 * to);
                assert!(constant.iter().all(|value| (value - 7.0).abs() < 1e-5));
            }
        }
    }
}
