//! The way back from the embedding through recorded blocks, in closed form: gradients with respect to attention.
//!
//! candle's automatic differentiation would give the same, but it takes the gradients of all weights along. With A
//! the attention of a head, O = A V what it gives, c = head width^-½ and d for ∂S/∂:
//!
//! ```text
//! dA = dO Vᵀ      dV = Aᵀ dO      ds = A (dA - Σ_j A dA)      dQ = c ds K      dK = c dsᵀ Q
//! ```
//!
//! Behind the last block only the class token counts, so that there only one token asks.

use candle_core::{D, Result as TensorResult, Tensor};

use super::LayerTrace;
use crate::{
    error::{Error, Result},
    model::nn::{Block, BlockRecord, merge_heads, split_heads},
};

/// The gradient with respect to a block's attention, for the tokens whose way out of the block counts: the class
/// token alone at the last block, all tokens before it.
#[derive(Clone, Debug)]
pub struct AttentionGradient {
    /// The attention itself: [heads, asking, tokens].
    pub attention: Tensor,
    /// With respect to the attention, after its softmax: [heads, asking, tokens].
    pub gradient: Tensor,
}

impl LayerTrace<'_> {
    /// Goes back from the embedding through the recorded blocks to the trace's layer, the last block first, and shows
    /// `visit` the gradient along `direction` with respect to each block's attention.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`.
    ///
    /// # Errors
    /// If the tower does not end in its class token, or a block from the trace's layer on was not recorded;
    /// [`Error::Numeric`] if a gradient is not finite.
    pub fn attention_gradients(
        &self,
        direction: &Tensor,
        mut visit: impl FnMut(usize, &AttentionGradient) -> Result<()>,
    ) -> Result<()> {
        let Some(end) = self.tower.class_token_end() else {
            let reason = "expected a tower that ends in its class token, found another".into();
            return Err(Error::Numeric { what: "attention gradient", reason });
        };
        let last = self.tower.layers().saturating_sub(1);
        let output = self.recorded().inside(last)?.after(end.block, 1)?.output;
        let summary = self.tower.project_backward(&direction.unsqueeze(0)?)?;
        let mut leaving = self.tower.post_norm.backward(&output, &summary)?;
        for (index, block) in self.tower.blocks.iter().enumerate().skip(self.layer).rev() {
            let record = self.recorded().inside(index)?;
            let asking = if index == last { 1 } else { record.tokens()? };
            let step = Step::new(block, record, &leaving, asking)?;
            visit(index, &step.shown)?;
            if index > self.layer {
                leaving = step.entering()?;
            }
        }
        Ok(())
    }

    /// How many tokens count behind the last block.
    pub(super) fn behind_last_block(&self, record: &BlockRecord) -> Result<usize> {
        match self.tower.class_token_end() {
            Some(_) => Ok(1),
            None => Ok(record.tokens()?),
        }
    }
}

/// One block on the way back.
pub(super) struct Step<'a> {
    block: &'a Block,
    record: &'a BlockRecord,
    pub(super) shown: AttentionGradient,
    /// With respect to the residual stream after attention: [asking, width].
    middle: Tensor,
    /// With respect to what attention gives: [heads, asking, head width].
    attended: Tensor,
}

impl<'a> Step<'a> {
    /// # Shapes
    /// `leaving`, with respect to what leaves the block: [asking, width], or [1, width] where it is the same for all
    /// of them.
    pub(super) fn new(
        block: &'a Block,
        record: &'a BlockRecord,
        leaving: &Tensor,
        asking: usize,
    ) -> Result<Self> {
        let middle = block.after_attention_backward(&record.after(block, asking)?, leaving)?;
        let heads = record.value.dim(0)?;
        let attended = split_heads(&block.attention.output.backward(&middle)?, heads)?;
        let gradient = attended.matmul(&record.value.t()?)?;
        if !gradient.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            let reason = "expected finite numbers, found NaN or infinity".into();
            return Err(Error::Numeric { what: "attention gradient", reason });
        }
        let shown = AttentionGradient { attention: record.attention_of(asking)?, gradient };
        Ok(Self { block, record, shown, middle, attended })
    }

    /// With respect to what enters the block: [tokens, width].
    fn entering(&self) -> TensorResult<Tensor> {
        let AttentionGradient { attention, gradient } = &self.shown;
        let BlockRecord { hidden, query, key, .. } = self.record;
        let (_, asking, head_width) = self.attended.dims3()?;
        let silent = self.record.tokens()? - asking;
        let along = (gradient * attention)?.sum_keepdim(D::Minus1)?;
        let scores = ((gradient.broadcast_sub(&along)? * attention)? / (head_width as f64).sqrt())?;
        let to_query = scores.matmul(key)?.pad_with_zeros(1, 0, silent)?;
        let to_key = scores.t()?.matmul(&query.narrow(1, 0, asking)?)?;
        let to_value = attention.t()?.matmul(&self.attended)?;
        let projected =
            Tensor::cat(&[merge_heads(&to_query)?, merge_heads(&to_key)?, merge_heads(&to_value)?], 1)?;
        let activations = self.block.attention.projections.backward(&projected)?;
        self.middle.pad_with_zeros(0, 0, silent)? + self.block.ln_1.backward(hidden, &activations)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gradient::Differentiation,
        model::{
            config::Activation,
            nn::{Recording, VisionTower, tests::Source},
        },
    };

    /// The embedding along `direction`, with `change` added to the attention of one block.
    fn score(
        tower: &VisionTower,
        hidden: &Tensor,
        changed: usize,
        change: &Tensor,
        direction: &Tensor,
    ) -> Result<f32> {
        let mut hidden = hidden.clone();
        for (index, block) in tower.blocks.iter().enumerate() {
            let projected = block.attention.project(&block.ln_1.forward(&hidden.unsqueeze(0)?)?)?;
            let (query, key) = (projected.query.squeeze(0)?, projected.key.squeeze(0)?);
            let mut attention = crate::model::nn::attention_weights(&query, &key, None)?;
            if index == changed {
                attention = (attention + change)?;
            }
            let attended = attention.matmul(&projected.value.squeeze(0)?)?;
            hidden = block.after_attention(&hidden, &attended)?.output;
        }
        let embedding = tower.embedding_of(&hidden.unsqueeze(0)?)?.squeeze(0)?;
        Ok((embedding * direction)?.sum_all()?.to_scalar::<f32>()?)
    }

    #[test]
    fn attention_gradients_agree_with_finite_differences() -> Result<()> {
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            let mut source = Source::new(31);
            let tower = source.tower(activation);
            let pixels = source.tensor(&[3, 2, 4]);
            let direction = source.tensor(&[5]);
            let recording = Recording { insides: 0..3, ..Recording::default() };
            let trace = LayerTrace::recording(&tower, &pixels, 0, Differentiation::Fastest, &recording)?;
            let hidden = trace.recorded().inside(0)?.hidden.clone();
            let mut visited = Vec::new();
            trace.attention_gradients(&direction, |index, shown| {
                visited.push(index);
                let (heads, asking, tokens) = shown.gradient.dims3()?;
                assert_eq!((heads, asking, tokens), (2, if index == 2 { 1 } else { 3 }, 3));
                let found = shown.gradient.flatten_all()?.to_vec1::<f32>()?;
                let (mut error, mut size) = (0.0, 0.0);
                for (place, found) in found.iter().enumerate() {
                    let (head, rest) = (place / (asking * tokens), place % (asking * tokens));
                    let at = |step: f32| {
                        let mut change = vec![0.0_f32; heads * tokens * tokens];
                        change[head * tokens * tokens + rest] = step;
                        let change = Tensor::from_vec(change, (heads, tokens, tokens), pixels.device())?;
                        score(&tower, &hidden, index, &change, &direction)
                    };
                    let expected = (at(1e-2)? - at(-1e-2)?) / 2e-2;
                    error += (found - expected).powi(2);
                    size += expected.powi(2);
                }
                assert!(size > 1e-4, "the check needs a gradient");
                assert!(error.sqrt() < 3e-3 * size.sqrt(), "block {index}: off by {error} of {size}");
                Ok(())
            })?;
            assert_eq!(visited, [2, 1, 0]);
        }
        Ok(())
    }

    #[test]
    fn towers_without_a_class_token_and_blocks_that_were_not_recorded_are_refused() -> Result<()> {
        let mut source = Source::new(32);
        let pixels = source.tensor(&[3, 4, 4]);
        let siglip = source.siglip_tower();
        let recording = Recording { insides: 2..3, ..Recording::default() };
        let trace = LayerTrace::recording(&siglip, &pixels, 2, Differentiation::Fastest, &recording)?;
        assert!(trace.attention_gradients(&source.tensor(&[8]), |_, _| Ok(())).is_err());
        let tower = source.tower(Activation::Gelu);
        let trace = LayerTrace::recording(&tower, &pixels, 1, Differentiation::Fastest, &recording)?;
        assert!(trace.attention_gradients(&source.tensor(&[5]), |_, _| Ok(())).is_err());
        Ok(())
    }

    #[test]
    fn a_recording_does_not_change_the_embedding() -> Result<()> {
        let mut source = Source::new(33);
        for tower in [source.tower(Activation::Gelu), source.siglip_tower()] {
            let pixels = source.tensor(&[3, 4, 6]);
            let plain = LayerTrace::new(&tower, &pixels, 2, Differentiation::Automatic)?.embedding()?;
            for (attention, insides) in [(0..3, 0..0), (0..0, 1..3), (1..3, 2..3), (0..2, 0..1)] {
                let recording = Recording { attention, insides };
                for layer in 0..3 {
                    let differentiation = Differentiation::Fastest;
                    let trace = LayerTrace::recording(&tower, &pixels, layer, differentiation, &recording)?;
                    let distance = (trace.embedding()? - &plain)?.abs()?.max_all()?.to_scalar::<f32>()?;
                    assert!(distance < 1e-5, "layer {layer}, {recording:?}: off by {distance}");
                }
            }
        }
        Ok(())
    }
}
