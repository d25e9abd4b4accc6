//! The vision tower: pixels become tokens, tokens pass the blocks, and the class token becomes the embedding.

use candle_core::{Result, Tensor, bail};

use super::{Block, LayerNorm, Linear, Queries, block::forward};
use crate::geometry::Grid;

/// The vision tower of a CLIP checkpoint.
#[derive(Clone, Debug)]
pub struct VisionTower {
    /// [width, 3 · patch · patch], without a bias.
    pub(crate) patches: Linear,
    /// `[width]`.
    pub(crate) class: Tensor,
    /// [1 + cells of the trained grid, width].
    pub(crate) positions: Tensor,
    pub(crate) pre_norm: LayerNorm,
    pub(crate) blocks: Vec<Block>,
    pub(crate) post_norm: LayerNorm,
    /// [embedding, width], without a bias.
    pub(crate) projection: Linear,
    pub(crate) trained: Grid,
    pub(crate) patch: usize,
}

/// What enters a block: the head begins here.
#[derive(Clone, Debug)]
pub struct BlockInput {
    /// The residual stream: [batch, tokens, width].
    pub hidden: Tensor,
    /// The output of the block's `ln_1`, which is what maps explain: [batch, tokens, width].
    pub activations: Tensor,
}

impl VisionTower {
    /// The number of blocks.
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// The trunk: runs the blocks before `layer`.
    ///
    /// # Shapes
    /// `pixels`: [batch, 3, height, width], normalised, sides multiples of the patch; tokens are the class token
    /// and then the patches, row by row.
    ///
    /// # Errors
    /// If the sides are not multiples of the patch, or `layer` is not below the number of blocks.
    pub fn run_until(&self, pixels: &Tensor, layer: usize) -> Result<BlockInput> {
        let Some(block) = self.blocks.get(layer) else {
            bail!("layer {layer} is not one of {}", self.layers());
        };
        let hidden = forward(&self.blocks[..layer], self.embed(pixels)?, None)?;
        let activations = block.ln_1.forward(&hidden)?;
        Ok(BlockInput { hidden, activations })
    }

    /// The head: from the output of `ln_1` of block `layer` to the image's embedding, before it is made a unit
    /// vector. It is differentiable in the input's `activations`.
    ///
    /// # Shapes
    /// Returns [batch, embedding].
    ///
    /// # Errors
    /// If `layer` is not below the number of blocks.
    pub fn run_from(&self, layer: usize, input: &BlockInput) -> Result<Tensor> {
        let Some((block, rest)) = self.blocks.get(layer..).and_then(<[Block]>::split_first) else {
            bail!("layer {layer} is not one of {}", self.layers());
        };
        let queries = |rest: &[Block]| if rest.is_empty() { Queries::Class } else { Queries::All };
        let mut hidden = block.forward_from(&input.hidden, &input.activations, queries(rest), None)?;
        for (index, block) in rest.iter().enumerate() {
            let activations = block.ln_1.forward(&hidden)?;
            hidden = block.forward_from(&hidden, &activations, queries(&rest[index + 1..]), None)?;
        }
        let class = hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        self.projection.forward(&self.post_norm.forward(&class)?)
    }

    /// The last block and what follows it: norm and projection of the class token.
    pub(crate) fn end(&self) -> Result<(&Block, &LayerNorm, &Linear)> {
        match self.blocks.last() {
            Some(block) => Ok((block, &self.post_norm, &self.projection)),
            None => bail!("the tower has no blocks"),
        }
    }

    /// Pixels to tokens, with positions and the norm before the first block.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = pixels.dims4()?;
        let grid = Grid::new(height / self.patch, width / self.patch);
        if grid.rows * self.patch != height || grid.columns * self.patch != width || grid.cells() == 0 {
            bail!("expected sides that are multiples of {}, found {width} x {height}", self.patch);
        }
        let cells = pixels
            .reshape(vec![batch, channels, grid.rows, self.patch, grid.columns, self.patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .reshape((batch, grid.cells(), channels * self.patch * self.patch))?;
        let patches = self.patches.forward(&cells)?;
        let token_width = self.class.dim(0)?;
        let class = self.class.reshape((1, 1, token_width))?.expand((batch, 1, token_width))?;
        let tokens = Tensor::cat(&[&class, &patches], 1)?;
        self.pre_norm.forward(&tokens.broadcast_add(&self.positions_for(grid)?)?)
    }

    /// The position embedding for a grid: as it is at the trained grid, else interpolated as transformers does
    /// (bicubic, `align_corners = false`, no antialiasing; the class token's row stays).
    ///
    /// # Shapes
    /// Returns [1 + cells, width].
    fn positions_for(&self, grid: Grid) -> Result<Tensor> {
        if grid == self.trained {
            return Ok(self.positions.clone());
        }
        let width = self.positions.dim(1)?;
        let values = self.positions.narrow(0, 1, self.trained.cells())?.flatten_all()?.to_vec1::<f32>()?;
        let columns = resample(&values, self.trained.columns, grid.columns, width);
        let rows = resample(&columns, self.trained.rows, grid.rows, width * grid.columns);
        let patches = Tensor::from_vec(rows, (grid.cells(), width), self.positions.device())?;
        Tensor::cat(&[&self.positions.narrow(0, 0, 1)?, &patches], 0)
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
        let constant = resample(&[7.0; 6], 3, 5, 2);
        assert_eq!(constant.len(), 10);
        assert!(constant.iter().all(|value| (value - 7.0).abs() < 1e-5));
    }
}
