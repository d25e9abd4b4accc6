//! How the tokens behind the last block are pooled, forward and backward.

use candle_core::{Result as TensorResult, Tensor};

use super::{AttentionGradient, AttentionLayer, LayerTrace};
use crate::{
    error::Result,
    model::network::{AttentionPool, Pool, attention_weights, merge_heads, split_heads},
};

/// What a pooling head computed for one image.
pub(super) struct PoolRecord<'t> {
    pool: &'t AttentionPool,
    /// The probe's, not yet scaled: [heads, 1, head width].
    pub(super) query: Tensor,
    /// [heads, tokens, head width].
    pub(super) key: Tensor,
    /// [heads, tokens, head width].
    value: Tensor,
    /// What the probe gets: [1, width].
    attended: Tensor,
    /// What the MLP's nonlinearity is applied to: [1, mlp width].
    expanded: Tensor,
}

impl<'t> PoolRecord<'t> {
    /// `tokens`, behind the last norm: [tokens, width].
    pub(super) fn new(pool: &'t AttentionPool, tokens: &Tensor) -> TensorResult<Self> {
        let probe = pool.probe.reshape((1, 1, ()))?;
        let projected = pool.attention.project_from(&probe, &tokens.unsqueeze(0)?)?;
        let (query, key) = (projected.query.squeeze(0)?, projected.key.squeeze(0)?);
        let value = projected.value.squeeze(0)?;
        let merged = merge_heads(&attention_weights(&query, &key, None)?.matmul(&value)?)?;
        let attended = pool.attention.output.forward(&merged)?;
        let expanded = pool.mlp.expand.forward(&pool.norm.forward(&attended)?)?;
        Ok(Self { pool, query, key, value, attended, expanded })
    }

    /// [1, width].
    pub(super) fn pooled(&self) -> TensorResult<Tensor> {
        let mlp = &self.pool.mlp;
        &self.attended + mlp.contracted(&self.expanded)?
    }

    /// What the probe attends to: [heads, 1, tokens].
    pub(super) fn attention(&self) -> TensorResult<Tensor> {
        attention_weights(&self.query, &self.key, None)
    }

    /// From the gradient with respect to the pooled token, [1, width].
    pub(super) fn backward(&self, pooled: &Tensor) -> Result<PoolStep<'_>> {
        let mlp = self.pool.mlp.backward(&self.expanded, pooled)?;
        let attended = (pooled + self.pool.norm.backward(&self.attended, &mlp)?)?;
        let attended = self.pool.attention.output.backward(&attended)?;
        let attended = split_heads(&attended, self.value.dim(0)?)?;
        let gradient = attended.matmul(&self.value.t()?)?;
        let shown = AttentionGradient::new(self.attention()?, gradient)?;
        Ok(PoolStep { record: self, shown, attended })
    }
}

/// The backward pass through a pooling head.
pub(super) struct PoolStep<'a> {
    record: &'a PoolRecord<'a>,
    /// The probe is the only query.
    pub(super) shown: AttentionGradient,
    /// With respect to what attention gives: [heads, 1, head width].
    attended: Tensor,
}

impl PoolStep<'_> {
    /// With respect to the tokens, behind the last norm: [tokens, width].
    fn entering(&self) -> TensorResult<Tensor> {
        let to_key = self.shown.of_scores(self.attended.dim(2)?)?.t()?.matmul(&self.record.query)?;
        let to_value = self.shown.attention.t()?.matmul(&self.attended)?;
        let projected = Tensor::cat(&[merge_heads(&to_key)?, merge_heads(&to_value)?], 1)?;
        let width = projected.dim(1)? / 2;
        self.record.pool.attention.projections.outputs(width, 2 * width)?.backward(&projected)
    }
}

impl LayerTrace<'_> {
    /// The weight of each token behind the last block in the pooled one: 1 for the class token, the same for every patch
    /// where their mean is taken (a half each where both are read), and the attention of a pooling head's probe, averaged
    /// over its heads.
    ///
    /// # Shapes
    /// Returns [1, tokens], which sums to 1.
    ///
    /// # Errors
    /// If the tower has a pooling head and the inside of the last block was not recorded.
    pub fn pooling_weights(&self) -> Result<Tensor> {
        let Pool::Attention(pool) = &self.tower.pool else { return self.fixed_pooling_weights() };
        let tokens = self.tower.post_norm.forward(&self.behind_blocks()?)?;
        Ok(PoolRecord::new(pool, &tokens)?.attention()?.mean(0)?)
    }

    /// The pooling weights that do not depend on the photo; all 0 where a pooling head decides: [1, tokens].
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn fixed_pooling_weights(&self) -> Result<Tensor> {
        let (tokens, prefix) = (self.input.hidden.dim(1)?, self.tower.prefix_tokens());
        let each = 1.0 / (tokens - prefix).max(1) as f32;
        let share = |token: usize| match self.tower.pool {
            Pool::ClassToken => f32::from(u8::from(token == 0)),
            Pool::MeanOfPatches | Pool::MeanBeforeNorm | Pool::MeanUnnormed if token >= prefix => each,
            Pool::MeanOfTokens => 1.0 / tokens.max(1) as f32,
            Pool::ClassTokenAndMean if token == 0 => 0.5,
            Pool::ClassTokenAndMean if token >= prefix => 0.5 * each,
            _ => 0.0,
        };
        Ok(Tensor::from_iter((0..tokens).map(share), self.input.hidden.device())?.unsqueeze(0)?)
    }

    /// The gradient along `direction`, `[embedding]`, with respect to what leaves the last block, for the tokens that
    /// count there: [queries, width]. `visit` is called with a pooling head on the way.
    pub(super) fn leaving_blocks(
        &self,
        direction: &Tensor,
        visit: &mut impl FnMut(AttentionLayer, &AttentionGradient) -> Result<()>,
    ) -> Result<Tensor> {
        let (tower, output) = (self.tower, self.behind_blocks()?);
        let pooled = tower.project_backward(&direction.unsqueeze(0)?)?;
        Ok(match &tower.pool {
            Pool::ClassToken => tower.post_norm.backward(&output, &pooled)?,
            Pool::Attention(pool) => {
                let record = PoolRecord::new(pool, &tower.post_norm.forward(&output)?)?;
                let step = record.backward(&pooled)?;
                visit(AttentionLayer::Pool, &step.shown)?;
                tower.post_norm.backward(&output, &step.entering()?)?
            }
            Pool::MeanOfPatches | Pool::MeanOfTokens => {
                tower.post_norm.backward(&output, &self.fixed_pooling_weights()?.t()?.matmul(&pooled)?)?
            }
            Pool::MeanUnnormed => self.fixed_pooling_weights()?.t()?.matmul(&pooled)?,
            Pool::ClassTokenAndMean => {
                let width = pooled.dim(1)? / 2;
                let (class, mean) = (pooled.narrow(1, 0, width)?, pooled.narrow(1, width, width)?);
                // Each half of the weights sums to a half.
                let shares = (self.fixed_pooling_weights()? * 2.0)?.t()?;
                let others = shares.dim(0)? - 1;
                let to_class = class.pad_with_zeros(0, 0, others)?;
                let to_mean = shares.narrow(0, 1, others)?.contiguous()?.matmul(&mean.contiguous()?)?;
                tower.post_norm.backward(&output, &(to_class + to_mean.pad_with_zeros(0, 1, 0)?)?)?
            }
            Pool::MeanBeforeNorm => {
                let shares = self.fixed_pooling_weights()?;
                shares.t()?.matmul(&tower.post_norm.backward(&shares.matmul(&output)?, &pooled)?)?
            }
        })
    }

    /// What leaves the last block, of the tokens that count there: [queries, width].
    fn behind_blocks(&self) -> Result<Tensor> {
        let last = self.tower.layers().saturating_sub(1);
        let record = self.recorded().inside(last)?;
        Ok(record.after(&self.tower.blocks[last], self.queries_of_last_block(record)?)?.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gradient::Differentiation,
        model::{
            config::Activation,
            network::{Recording, tests::Source},
        },
    };

    #[test]
    fn shares_are_the_class_tokens_the_patches_or_the_probes() -> Result<()> {
        let mut source = Source::new(51);
        let pixels = source.tensor(&[3, 2, 4]);
        let recording = Recording { insides: 2..3, ..Recording::default() };
        let shares = |tower: &crate::model::network::VisionTower| -> Result<Vec<f32>> {
            let trace = LayerTrace::recording(tower, &pixels, 2, Differentiation::Fastest, &recording)?;
            Ok(trace.pooling_weights()?.get(0)?.to_vec1()?)
        };
        let mut tower = source.tower(Activation::Gelu);
        assert_eq!(shares(&tower)?, [1.0, 0.0, 0.0]);
        tower.pool = Pool::MeanBeforeNorm;
        assert_eq!(shares(&tower)?, [0.0, 0.5, 0.5], "a class token is no patch");
        assert_eq!(shares(&source.pooled_tower(Activation::Gelu, Pool::MeanOfPatches))?, [0.5, 0.5]);
        let probed = shares(&source.siglip_tower())?;
        assert!((probed.iter().sum::<f32>() - 1.0).abs() < 1e-6 && probed[0] != probed[1], "{probed:?}");
        Ok(())
    }
}
