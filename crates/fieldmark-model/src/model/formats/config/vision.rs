//! The vision tower.

use super::{Projection, TowerConfig};
use crate::geometry::Grid;

/// How the vision tower's tokens, after its last norm unless it says otherwise, become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VisionPooling {
    /// The class token.
    ClassToken,
    /// Multi-head attention by one learned query, then an MLP with a residual: SigLIP's "MAP head".
    Attention,
    /// The mean of the patches.
    MeanOfPatches,
    /// The mean of the patches, with the last norm behind it instead of before it.
    MeanBeforeNorm,
    /// The mean of the patches as they leave the last block, without the last norm.
    MeanUnnormed,
    /// The mean of all tokens.
    MeanOfTokens,
    /// The class token, and behind it the mean of the patches: twice the width.
    ClassTokenAndMean,
}

/// How the position embedding is made to fit a grid that the model was not trained on: bicubic, as PyTorch does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PositionResampling {
    /// Between the four nearest positions.
    #[default]
    Bicubic,
    /// Over as many positions as a step covers, where the grid gets smaller.
    BicubicAntialiased,
}

/// The vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// The blocks.
    pub tower: TowerConfig,
    /// The side of the square that the model was trained on, in pixels.
    pub image_size: usize,
    /// The side of a patch, in pixels.
    pub patch: usize,
    /// Whether a class token goes before the patches.
    pub class_token: bool,
    /// The number of registers between the class token and the patches: tokens without a position.
    pub registers: usize,
    /// Whether the class token has a position.
    pub class_position: bool,
    /// How positions are made to fit another grid.
    pub position_resampling: PositionResampling,
    /// Whether the patch embedding has a bias.
    pub patch_bias: bool,
    /// Whether there is a layer norm before the first block.
    pub pre_norm: bool,
    /// How the tokens become one vector.
    pub pooling: VisionPooling,
    /// From there to the embedding.
    pub projection: Projection,
}

impl VisionConfig {
    /// The square grid that the model was trained on.
    pub fn grid(&self) -> Grid {
        let side = self.image_size / self.patch;
        Grid::new(side, side)
    }

    /// How many tokens go before the patches: the class token, where there is one, and the registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + self.registers
    }

    /// The number of rows of the position embedding.
    pub(crate) fn positions(&self) -> usize {
        usize::from(self.class_token && self.class_position) + self.grid().cells()
    }
}
