//! The vision tower: pixels become tokens, tokens pass the blocks, and a pooled one of them becomes the embedding.

use candle_core::{Result, Tensor, bail};

use super::{Block, Kernel, LayerNorm, Linear, Pool, Queries, add};
use crate::{
    error::Error,
    feature::Feature,
    geometry::Grid,
    model::config::{PositionResampling, VisionPooling},
};

/// The most pictures that pass the tower together.
const LARGEST_BATCH: usize = 16;

/// The most memory that the attention scores of a batch should take.
const BATCH_BYTES: usize = 256 << 20;

/// The vision tower of a CLIP-family checkpoint.
#[derive(Clone, Debug)]
pub struct VisionTower {
    /// [width, 3 · patch · patch].
    pub(crate) patches: Linear,
    /// `[width]`, where there is a class token; it goes before the patches.
    pub(crate) class: Option<Tensor>,
    /// [registers, width], where there are any: tokens without a position between the class token and the patches.
    pub(crate) registers: Option<Tensor>,
    /// [tokens of the trained grid, width], the class token's row first.
    pub(crate) positions: Tensor,
    pub(crate) position_resampling: PositionResampling,
    pub(crate) pre_norm: Option<LayerNorm>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) post_norm: LayerNorm,
    pub(crate) pool: Pool,
    /// [embedding, width], where there is one.
    pub(crate) projection: Option<Linear>,
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

/// The last block of a tower that uses only the class token behind it.
pub(crate) struct ClassTokenEnd<'a> {
    pub(crate) tower: &'a VisionTower,
    pub(crate) block: &'a Block,
}

impl VisionTower {
    /// The number of blocks.
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// The same tower; the linear layers of blocks that pass without a graph multiply numbers rounded to bfloat16.
    /// What is differentiated stays in float32.
    pub(crate) fn rounding(mut self, kernel: Kernel) -> Self {
        self.blocks = self.blocks.into_iter().map(|block| block.rounding(kernel)).collect();
        self
    }

    /// The number of attention heads.
    pub(crate) fn heads(&self) -> usize {
        self.blocks.first().map_or(1, |block| block.attention.heads)
    }

    /// How many tokens go before the patches: the class token, where there is one, and the registers.
    pub fn prefix_tokens(&self) -> usize {
        let registers = self.registers.as_ref().map_or(0, |registers| registers.dims()[0]);
        usize::from(self.class.is_some()) + registers
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
        self.run_through(layer, input, |_, input| Ok(input))
    }

    /// The embeddings of pictures, before they are made unit vectors, without a graph.
    ///
    /// # Shapes
    /// `pixels`: [pictures, 3, height, width]; returns [pictures, embedding].
    ///
    /// # Errors
    /// If the sides are not multiples of the patch.
    pub fn embeddings(&self, pixels: &Tensor) -> Result<Tensor> {
        let last = self.layers().saturating_sub(1);
        self.run_from(last, &self.run_until(pixels, last)?)
    }

    /// The blocks, the first one first.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// How the tokens are pooled behind the last block.
    pub fn pooling(&self) -> VisionPooling {
        match self.pool {
            Pool::ClassToken => VisionPooling::ClassToken,
            Pool::MeanOfPatches => VisionPooling::MeanOfPatches,
            Pool::MeanBeforeNorm => VisionPooling::MeanBeforeNorm,
            Pool::MeanUnnormed => VisionPooling::MeanUnnormed,
            Pool::MeanOfTokens => VisionPooling::MeanOfTokens,
            Pool::ClassTokenAndMean => VisionPooling::ClassTokenAndMean,
            Pool::Attention(_) => VisionPooling::Attention,
        }
    }

    /// The same tower read as a feature: it shares all weights, and differs in how tokens are pooled and in what
    /// follows. [`Feature::Embedding`] and [`Feature::Projected`] are the tower as it is.
    ///
    /// # Errors
    /// [`Error::Option`] if the tower has no such feature: no class token, or no layer that projects the mean of the
    /// patches.
    pub fn read_as(&self, feature: Feature) -> std::result::Result<Self, Error> {
        let refused =
            |reason: &str| Error::Option { option: "feature", reason: format!("{feature}: {reason}") };
        let needs_class = matches!(feature, Feature::ClassToken | Feature::ClassTokenAndMeanPatches);
        if needs_class && self.class.is_none() {
            return Err(refused("expected a tower with a class token, found one without"));
        }
        let behind_mean = matches!(self.pool, Pool::MeanBeforeNorm);
        let mean = if behind_mean { Pool::MeanBeforeNorm } else { Pool::MeanOfPatches };
        let (pool, projection) = match feature {
            Feature::Embedding | Feature::Projected => return Ok(self.clone()),
            Feature::ProjectedMeanPatches if self.projection.is_none() => {
                return Err(refused("expected a tower with a projection, found one without"));
            }
            Feature::ProjectedMeanPatches => (mean, self.projection.clone()),
            Feature::ClassToken => (Pool::ClassToken, None),
            Feature::MeanPatches => (mean, None),
            Feature::ClassTokenAndMeanPatches => (Pool::ClassTokenAndMean, None),
            Feature::MeanTokens => (Pool::MeanOfTokens, None),
            Feature::MeanPatchesRaw => (Pool::MeanUnnormed, None),
        };
        Ok(Self { pool, projection, ..self.clone() })
    }

    /// The numbers in a vector that this tower gives.
    pub fn feature_width(&self) -> usize {
        let width = self.post_norm.width();
        match (&self.projection, &self.pool) {
            (Some(projection), _) => projection.weight.outputs(),
            (None, Pool::ClassTokenAndMean) => 2 * width,
            (None, _) => width,
        }
    }

    /// How many pictures of so many patches should pass the tower together.
    pub fn images_at_once(&self, grid: Grid) -> usize {
        let tokens = self.prefix_tokens() + grid.cells();
        let bytes = self.heads() * tokens * tokens * size_of::<f32>();
        (BATCH_BYTES / bytes.max(1)).clamp(1, LARGEST_BATCH)
    }

    /// [`run_from`](Self::run_from), but what enters each block above `layer` passes through `stop` first, which gets
    /// the block's index.
    pub(crate) fn run_through(
        &self,
        layer: usize,
        input: &BlockInput,
        mut stop: impl FnMut(usize, BlockInput) -> Result<BlockInput>,
    ) -> Result<Tensor> {
        let Some((block, rest)) = self.blocks.get(layer..).and_then(<[Block]>::split_first) else {
            bail!("layer {layer} is not one of {}", self.layers());
        };
        let only_class = matches!(self.pool, Pool::ClassToken);
        let queries =
            |rest: &[Block]| if rest.is_empty() && only_class { Queries::Class } else { Queries::All };
        let mut hidden = block.forward_from(&input.hidden, &input.activations, queries(rest), None)?;
        for (index, block) in rest.iter().enumerate() {
            let activations = block.ln_1.forward(&hidden)?;
            let input = stop(layer + 1 + index, BlockInput { hidden, activations })?;
            hidden =
                block.forward_from(&input.hidden, &input.activations, queries(&rest[index + 1..]), None)?;
        }
        self.embedding_of(&hidden)
    }

    /// What follows the last block: the last norm, one vector of all tokens, and the projection.
    ///
    /// # Shapes
    /// `hidden`: [batch, tokens, width], or the class token alone; returns [batch, embedding].
    pub(crate) fn embedding_of(&self, hidden: &Tensor) -> Result<Tensor> {
        self.project(&self.pooled(hidden)?)
    }

    /// The embedding that each token has if it is pooled alone: in the class token's place, or as the only one that
    /// is pooled, or both where both are read.
    ///
    /// # Shapes
    /// `tokens`, which left a block: [rows, width]; returns [rows, embedding].
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn embed_each(&self, tokens: &Tensor) -> Result<Tensor> {
        if let Pool::MeanUnnormed = self.pool {
            return self.project(tokens);
        }
        let normed = self.post_norm.forward(tokens)?;
        match &self.pool {
            Pool::Attention(pool) => self.project(&pool.forward_each(&normed)?),
            Pool::ClassTokenAndMean => self.project(&Tensor::cat(&[&normed, &normed], 1)?),
            _ => self.project(&normed),
        }
    }

    /// From pooled tokens to embeddings.
    ///
    /// # Shapes
    /// `pooled`: [rows, width]; returns [rows, embedding].
    pub(crate) fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => Ok(pooled.clone()),
        }
    }

    /// The gradient with respect to pooled tokens, from directions of the embedding.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; returns [rows, width].
    pub(crate) fn project_backward(&self, directions: &Tensor) -> Result<Tensor> {
        match &self.projection {
            Some(projection) => projection.backward(directions),
            None => Ok(directions.clone()),
        }
    }

    /// The last norm, and one vector of all tokens.
    ///
    /// # Shapes
    /// As [`embedding_of`](Self::embedding_of); returns [batch, width], or twice the width.
    fn pooled(&self, hidden: &Tensor) -> Result<Tensor> {
        if let Pool::ClassToken = self.pool {
            return self.post_norm.forward(&hidden.narrow(1, 0, 1)?.squeeze(1)?);
        }
        let prefix = self.prefix_tokens();
        let mean = |tokens: &Tensor| tokens.narrow(1, prefix, tokens.dim(1)? - prefix)?.mean(1);
        match &self.pool {
            Pool::Attention(pool) => pool.forward(&self.post_norm.forward(hidden)?),
            Pool::MeanBeforeNorm => self.post_norm.forward(&mean(hidden)?),
            Pool::MeanUnnormed => mean(hidden),
            Pool::MeanOfTokens => self.post_norm.forward(hidden)?.mean(1),
            Pool::ClassTokenAndMean => {
                let normed = self.post_norm.forward(hidden)?;
                Tensor::cat(&[normed.narrow(1, 0, 1)?.squeeze(1)?, mean(&normed)?], 1)
            }
            Pool::ClassToken | Pool::MeanOfPatches => mean(&self.post_norm.forward(hidden)?),
        }
    }

    /// The last block and what follows it, where only the class token counts behind it.
    pub(crate) fn class_token_end(&self) -> Option<ClassTokenEnd<'_>> {
        let block = self.blocks.last().filter(|_| matches!(self.pool, Pool::ClassToken))?;
        Some(ClassTokenEnd { tower: self, block })
    }

    /// Registers between the class token and the patches.
    fn with_registers(&self, tokens: Tensor) -> Result<Tensor> {
        let Some(registers) = &self.registers else { return Ok(tokens) };
        let (batch, count, width) = tokens.dims3()?;
        let class = usize::from(self.class.is_some());
        let registers = registers.unsqueeze(0)?.expand((batch, registers.dim(0)?, width))?;
        let patches = tokens.narrow(1, class, count - class)?;
        Tensor::cat(&[&tokens.narrow(1, 0, class)?, &registers, &patches], 1)
    }

    /// Pixels to tokens, with positions and the norm before the first block.
    pub(super) fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = pixels.dims4()?;
        let grid = Grid::new(height / self.patch, width / self.patch);
        if grid.rows * self.patch != height || grid.columns * self.patch != width || grid.cells() == 0 {
            bail!("expected sides that are multiples of {}, found {width} x {height}", self.patch);
        }
        let cells = pixels
            .reshape(vec![batch, channels, grid.rows, self.patch, grid.columns, self.patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .reshape((batch, grid.cells(), channels * self.patch * self.patch))?;
        let mut tokens = self.patches.forward(&cells)?;
        if let Some(class) = &self.class {
            let width = class.dim(0)?;
            tokens = Tensor::cat(&[&class.reshape((1, 1, width))?.expand((batch, 1, width))?, &tokens], 1)?;
        }
        let tokens = self.with_registers(add(&tokens, &self.positions_for(grid)?)?)?;
        match &self.pre_norm {
            Some(norm) => norm.forward(&tokens),
            None => Ok(tokens),
        }
    }
}
