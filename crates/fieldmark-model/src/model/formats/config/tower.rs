//! What both towers have.

use super::Activation;

/// The shape of a stack of pre-norm transformer blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerConfig {
    /// Numbers in a token.
    pub width: usize,
    /// Numbers in the hidden layer of an MLP.
    pub mlp_width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// The nonlinearity of the MLPs.
    pub activation: Activation,
    /// What is added to the variance in layer norms.
    pub epsilon: f64,
    /// Whether what a block adds to the residual stream is scaled by learned numbers, one a channel (`ls_1` and
    /// `ls_2` in open_clip, `LayerScale` in timm).
    pub layer_scale: bool,
    /// Whether the MLPs are gated (SwiGLU): their first layer gives two halves of `mlp_width` numbers, and the
    /// nonlinearity of the first half is multiplied with the second.
    pub gated: bool,
}

/// The linear layer between a tower's summary and the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Projection {
    /// There is none: the summary is the embedding.
    None,
    /// A matrix.
    Linear,
    /// A matrix and a bias.
    LinearWithBias,
}
