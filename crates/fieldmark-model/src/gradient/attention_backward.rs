//! Attention backward: from the embedding through recorded blocks, in closed form.
//!
//! candle's automatic differentiation would give the same, but it takes the gradients of all weights along. With A
//! the attention of a head, O = A V what it gives, c = head width^-½ and d for ∂S/∂:
//!
//! ```text
//! dA = dO Vᵀ      dV = Aᵀ dO      ds = A (dA - Σ_j A dA)      dQ = c ds K      dK = c dsᵀ Q
//! ```
//!
//! Where only the class token counts behind the last block, it is the only query there. Where all tokens are pooled, the
//! backward pass begins in the pooling ([`pooling`](super::pooling)).

use candle_core::{D, Result as TensorResult, Tensor};

use super::LayerTrace;
use crate::{
    error::{Error, Result},
    model::network::{Block, BlockRecord, merge_heads, split_heads},
};

/// Where attention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionLayer {
    /// In the pooling head behind the last block, whose probe is the only query.
    Pool,
    /// In the block of this index.
    Block(usize),
}

/// The gradient with respect to attention, for the tokens that count behind it: in the last block of a tower that ends
/// in its class token this token alone, in every other block all of them.
#[derive(Clone, Debug)]
pub struct AttentionGradient {
    /// The attention itself: [heads, queries, tokens].
    pub attention: Tensor,
    /// With respect to the attention, after its softmax: [heads, queries, tokens].
    pub gradient: Tensor,
}

impl AttentionGradient {
    /// Refuses a gradient that is not finite.
    pub(super) fn new(attention: Tensor, gradient: Tensor) -> Result<Self> {
        if gradient.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Ok(Self { attention, gradient });
        }
        let reason = "expected finite numbers, found NaN or infinity".into();
        Err(Error::Numeric { what: "attention gradient", reason })
    }

    /// With respect to the products of queries and keys, before they are scaled: [heads, queries, tokens].
    pub(super) fn of_scores(&self, head_width: usize) -> TensorResult<Tensor> {
        let Self { attention, gradient } = self;
        let along = (gradient * attention)?.sum_keepdim(D::Minus1)?;
        (gradient.broadcast_sub(&along)? * attention)? / (head_width as f64).sqrt()
    }
}

impl LayerTrace<'_> {
    /// Goes back from the embedding through a pooling head, where there is one, and the recorded blocks to the trace's
    /// layer, the last block first, and calls `visit` with the gradient along `direction` with respect to each attention.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`.
    ///
    /// # Errors
    /// If a block from the trace's layer on was not recorded; [`Error::Numeric`] if a gradient is not finite.
    pub fn attention_gradients(
        &self,
        direction: &Tensor,
        mut visit: impl FnMut(AttentionLayer, &AttentionGradient) -> Result<()>,
    ) -> Result<()> {
        let mut leaving = self.leaving_blocks(direction, &mut visit)?;
        let last = self.tower.layers().saturating_sub(1);
        for (index, block) in self.tower.blocks.iter().enumerate().skip(self.layer).rev() {
            let record = self.recorded().inside(index)?;
            let queries =
                if index == last { self.queries_of_last_block(record)? } else { record.tokens()? };
            let step = Step::new(block, record, &leaving, queries)?;
            visit(AttentionLayer::Block(index), &step.shown)?;
            if index > self.layer {
                leaving = step.entering()?;
            }
        }
        Ok(())
    }

    /// How many tokens count behind the last block.
    pub(super) fn queries_of_last_block(&self, record: &BlockRecord) -> Result<usize> {
        match self.tower.class_token_end() {
            Some(_) => Ok(1),
            None => Ok(record.tokens()?),
        }
    }
}

/// The backward pass through one block.
pub(super) struct Step<'a> {
    block: &'a Block,
    record: &'a BlockRecord,
    pub(super) shown: AttentionGradient,
    /// With respect to the residual stream after attention: [queries, width].
    middle: Tensor,
    /// With respect to what attention gives: [heads, queries, head width].
    attended: Tensor,
}

impl<'a> Step<'a> {
    /// # Shapes
    /// `leaving`, with respect to what leaves the block: [queries, width], or [1, width] where it is the same for all
    /// of them.
    pub(super) fn new(
        block: &'a Block,
        record: &'a BlockRecord,
        leaving: &Tensor,
        queries: usize,
    ) -> Result<Self> {
        let middle = block.after_attention_backward(&record.after(block, queries)?, leaving)?;
        let heads = record.value.dim(0)?;
        let attended = split_heads(&block.attention.output.backward(&middle)?, heads)?;
        let gradient = attended.matmul(&record.value.t()?)?;
        let shown = AttentionGradient::new(record.attention_of(queries)?, gradient)?;
        Ok(Self { block, record, shown, middle, attended })
    }

    /// With respect to what enters the block: [tokens, width].
    fn entering(&self) -> TensorResult<Tensor> {
        let BlockRecord { hidden, query, key, .. } = self.record;
        let (_, queries, head_width) = self.attended.dims3()?;
        let others = self.record.tokens()? - queries;
        let scores = self.shown.of_scores(head_width)?;
        let to_query = scores.matmul(key)?.pad_with_zeros(1, 0, others)?;
        let to_key = scores.t()?.matmul(&query.narrow(1, 0, queries)?)?;
        let to_value = self.shown.attention.t()?.matmul(&self.attended)?;
        let projected =
            Tensor::cat(&[merge_heads(&to_query)?, merge_heads(&to_key)?, merge_heads(&to_value)?], 1)?;
        let activations = self.block.attention.projections.backward(&projected)?;
        self.middle.pad_with_zeros(0, 0, others)? + self.block.ln_1.backward(hidden, &activations)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gradient::Differentiation,
        model::{
            config::Activation,
            network::{Pool, Recording, VisionTower, tests::Source},
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
            let mut attention = crate::model::network::attention_weights(&query, &key, None)?;
            if index == changed {
                attention = (attention + change)?;
            }
            let attended = attention.matmul(&projected.value.squeeze(0)?)?;
            hidden = block.after_attention(&hidden, &attended)?.output;
        }
        let embedding = tower.embedding_of(&hidden.unsqueeze(0)?)?.squeeze(0)?;
        Ok((embedding * direction)?.sum_all()?.to_scalar::<f32>()?)
    }

    /// Asserts that the gradients shown at each block are those of finite differences, for every query.
    fn assert_gradients(tower: &VisionTower, pixels: &Tensor, direction: &Tensor) -> Result<()> {
        let recording = Recording { insides: 0..3, ..Recording::default() };
        let trace = LayerTrace::recording(tower, pixels, 0, Differentiation::Fastest, &recording)?;
        let hidden = trace.recorded().inside(0)?.hidden.clone();
        let (count, alone) = (hidden.dim(0)?, tower.class_token_end().is_some());
        let mut visited = Vec::new();
        trace.attention_gradients(direction, |layer, shown| {
            visited.push(layer);
            let AttentionLayer::Block(index) = layer else { return Ok(()) };
            let (heads, queries, tokens) = shown.gradient.dims3()?;
            assert_eq!((heads, queries, tokens), (2, if index == 2 && alone { 1 } else { count }, count));
            let found = shown.gradient.flatten_all()?.to_vec1::<f32>()?;
            let (mut error, mut size) = (0.0, 0.0);
            for (place, found) in found.iter().enumerate() {
                let (head, rest) = (place / (queries * tokens), place % (queries * tokens));
                let at = |step: f32| {
                    let mut change = vec![0.0_f32; heads * tokens * tokens];
                    change[head * tokens * tokens + rest] = step;
                    let change = Tensor::from_vec(change, (heads, tokens, tokens), pixels.device())?;
                    score(tower, &hidden, index, &change, direction)
                };
                let expected = (at(1e-2)? - at(-1e-2)?) / 2e-2;
                error += (found - expected).powi(2);
                size += expected.powi(2);
            }
            assert!(size > 1e-4, "the check needs a gradient");
            assert!(error.sqrt() < 3e-3 * size.sqrt(), "block {index}: off by {error} of {size}");
            Ok(())
        })?;
        let pool = matches!(tower.pool, Pool::Attention(_)).then_some(AttentionLayer::Pool);
        let expected: Vec<_> = pool.into_iter().chain([2, 1, 0].map(AttentionLayer::Block)).collect();
        assert_eq!(visited, expected);
        Ok(())
    }

    #[test]
    fn attention_gradients_agree_with_finite_differences() -> Result<()> {
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            let mut source = Source::new(31);
            let tower = source.tower(activation);
            assert_gradients(&tower, &source.tensor(&[3, 2, 4]), &source.tensor(&[5]))?;
        }
        Ok(())
    }

    #[test]
    fn so_do_those_of_towers_that_pool_their_tokens() -> Result<()> {
        let mut source = Source::new(32);
        let mut with_class_token = source.tower(Activation::Gelu);
        with_class_token.pool = Pool::MeanBeforeNorm;
        assert_gradients(&with_class_token, &source.tensor(&[3, 2, 4]), &source.tensor(&[5]))?;
        let means = [Pool::MeanOfPatches, Pool::MeanBeforeNorm, Pool::MeanUnnormed, Pool::MeanOfTokens];
        let towers = means.map(|pool| source.pooled_tower(Activation::Gelu, pool));
        for tower in towers.iter().chain([&source.siglip_tower()]) {
            assert_gradients(tower, &source.tensor(&[3, 2, 6]), &source.tensor(&[8]))?;
        }
        Ok(())
    }

    #[test]
    fn so_do_those_of_every_feature_of_a_tower_with_registers() -> Result<()> {
        let mut source = Source::new(34);
        let mut tower = source.tower(Activation::Gelu);
        tower.registers = Some(source.tensor(&[2, 8]));
        let pixels = source.tensor(&[3, 2, 4]);
        for (feature, width) in crate::feature::Feature::of(&tower) {
            let tower = tower.read_as(feature)?;
            let direction = source.tensor(&[width]);
            let recording = Recording { insides: 0..3, ..Recording::default() };
            assert_gradients(&tower, &pixels, &direction)?;
            let trace = LayerTrace::recording(&tower, &pixels, 0, Differentiation::Fastest, &recording)?;
            assert_eq!(trace.patch_activations()?.dims(), [2, 8], "{feature}: registers are no patches");
            let sum = trace.pooling_weights()?.sum_all()?.to_scalar::<f32>()?;
            assert!((sum - 1.0).abs() < 1e-6, "{feature}: {sum}");
        }
        Ok(())
    }

    #[test]
    fn blocks_that_were_not_recorded_are_refused() -> Result<()> {
        let mut source = Source::new(33);
        let pixels = source.tensor(&[3, 4, 4]);
        for (tower, width) in [(source.tower(Activation::Gelu), 5), (source.siglip_tower(), 8)] {
            let recording = Recording { insides: 2..3, ..Recording::default() };
            let trace = LayerTrace::recording(&tower, &pixels, 1, Differentiation::Fastest, &recording)?;
            assert!(trace.attention_gradients(&source.tensor(&[width]), |_, _| Ok(())).is_err());
        }
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
