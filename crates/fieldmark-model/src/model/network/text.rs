//! The text tower: token ids become one vector a text.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::Module;
use candle_transformers::models::clip::text_model as reference;

use super::{Block, LayerNorm, add, block::forward};
use crate::model::formats::config::Activation;

/// The text tower up to its final layer norm.
///
/// candle-transformers' own is used wherever it computes what the checkpoint was trained with: QuickGELU and an
/// epsilon of 1e-5. For the rest (LAION's GELU and SigLIP, for two) the blocks are ours.
pub(crate) enum TextTower {
    /// candle-transformers' CLIP text model.
    Reference(Box<reference::ClipTextTransformer>),
    /// Our blocks.
    Own(OwnTextTower),
}

impl TextTower {
    /// The hidden states after the final layer norm.
    ///
    /// # Shapes
    /// `ids`: [batch, tokens], u32, at most as many tokens as the context; returns [batch, tokens, width].
    pub(crate) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Reference(tower) => tower.forward_with_mask(ids, usize::MAX),
            Self::Own(tower) => tower.forward(ids),
        }
    }
}

/// The text tower made of [`Block`]s.
pub(crate) struct OwnTextTower {
    /// [vocabulary, width].
    pub(crate) tokens: Tensor,
    /// [context, width].
    pub(crate) positions: Tensor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: LayerNorm,
    /// Whether a token sees only itself and those before it.
    pub(crate) causal: bool,
}

impl OwnTextTower {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let count = ids.dim(D::Minus1)?;
        let embedding = candle_nn::Embedding::new(self.tokens.clone(), self.tokens.dim(1)?);
        let hidden = add(&embedding.forward(ids)?, &self.positions.narrow(0, 0, count)?)?;
        let mask = self.causal.then(|| causal_mask(count, ids.device())).transpose()?;
        self.final_norm.forward(&forward(&self.blocks, hidden, mask.as_ref())?)
    }
}

/// 0 where a token may look, a very negative number where it may not: at tokens after itself.
///
/// # Shapes
/// Returns [count, count].
fn causal_mask(count: usize, device: &Device) -> Result<Tensor> {
    let cell = |index: usize| if index % count > index / count { f32::MIN } else { 0.0 };
    let values: Vec<f32> = (0..count * count).map(cell).collect();
    Tensor::from_vec(values, (count, count), device)?.to_dtype(DType::F32)
}

impl std::fmt::Debug for TextTower {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Reference(_) => "TextTower::Reference",
            Self::Own(_) => "TextTower::Own",
        })
    }
}

/// Whether candle-transformers' text tower computes what a checkpoint with these settings was trained with.
pub(crate) fn reference_is_exact(activation: Activation, epsilon: f64) -> bool {
    activation == Activation::QuickGelu && epsilon == 1e-5
}
