//! How the vision tower's tokens, after its last norm, become one vector.

use candle_core::{Result, Tensor};

use super::{
    LayerNorm,
    attention::{Attention, Mlp},
};

/// From tokens to one vector an image.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    /// The first token.
    ClassToken,
    /// The mean of the patches.
    MeanOfPatches,
    /// The mean of the patches before the norm, which follows it.
    MeanBeforeNorm,
    /// The mean of the patches, without any norm.
    MeanUnnormed,
    /// The mean of all tokens.
    MeanOfTokens,
    /// The first token, and behind it the mean of the patches.
    ClassTokenAndMean,
    /// Attention by a learned query.
    Attention(Box<AttentionPool>),
}

/// SigLIP's head, "MAP" (multi-head attention pooling, Zhai et al., arXiv 2106.04560, as transformers'
/// `SiglipMultiheadAttentionPoolingHead` computes it): a learned query, the probe, attends to all tokens;
/// h = attention(probe, tokens), and h + mlp(norm(h)) is the embedding.
#[derive(Clone, Debug)]
pub(crate) struct AttentionPool {
    /// `[width]`.
    pub(crate) probe: Tensor,
    pub(crate) attention: Attention,
    pub(crate) norm: LayerNorm,
    pub(crate) mlp: Mlp,
}

impl AttentionPool {
    /// # Shapes
    /// `tokens`: [batch, tokens, width]; returns [batch, width].
    pub(crate) fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, _, width) = tokens.dims3()?;
        let probe = self.probe.reshape((1, 1, width))?.expand((batch, 1, width))?.contiguous()?;
        let attended = self.attention.attend(&self.attention.project_from(&probe, tokens)?, None)?;
        let pooled = (&attended + self.mlp.forward(&self.norm.forward(&attended)?)?)?;
        pooled.squeeze(1)
    }

    /// What each token gives if it is pooled alone. The probe then has nothing else to attend to, so that the token's
    /// value passes whole and queries and keys play no part.
    ///
    /// # Shapes
    /// `tokens`: [rows, width]; returns the same.
    pub(crate) fn forward_each(&self, tokens: &Tensor) -> Result<Tensor> {
        let width = tokens.dim(1)?;
        let values = self.attention.projections.outputs(2 * width, width)?.forward(tokens)?;
        let attended = self.attention.output.forward(&values)?;
        &attended + self.mlp.forward(&self.norm.forward(&attended)?)?
    }
}
