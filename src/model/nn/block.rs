//! One pre-norm transformer block, shared by the vision and the text tower.

use candle_core::{Result, Tensor};

use super::{Activation, LayerNorm, Linear, inference, softmax};

/// Which tokens ask in attention; all tokens answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queries {
    /// Every token.
    All,
    /// The class token only: of the last block, nothing else is used.
    Class,
}

/// u = x + attention(ln_1(x)); x' = u + mlp(ln_2(u)).
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) ln_1: LayerNorm,
    /// Queries, keys and values in one product: [3 · width, width].
    pub(crate) projections: Linear,
    pub(crate) output: Linear,
    pub(crate) ln_2: LayerNorm,
    pub(crate) expand: Linear,
    pub(crate) activation: Activation,
    pub(crate) contract: Linear,
    pub(crate) heads: usize,
}

/// Runs blocks one after the other: without a graph where nothing upstream is tracked.
///
/// # Shapes
/// As [`Block::forward`].
pub(crate) fn forward(blocks: &[Block], hidden: Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    match hidden.device().is_cpu() && !hidden.track_op() {
        true => inference::run(blocks, &hidden, mask),
        false => blocks.iter().try_fold(hidden, |hidden, block| block.forward(&hidden, mask)),
    }
}

impl Block {
    /// # Shapes
    /// `hidden`: [batch, tokens, width]; `mask`, added to the attention scores: [tokens, tokens]; returns
    /// [batch, tokens, width].
    pub(crate) fn forward(&self, hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        self.forward_from(hidden, &self.ln_1.forward(hidden)?, Queries::All, mask)
    }

    /// The block from the output of its `ln_1` on.
    ///
    /// # Shapes
    /// `hidden`, `activations`: [batch, tokens, width]; returns [batch, queries, width].
    pub(crate) fn forward_from(
        &self,
        hidden: &Tensor,
        activations: &Tensor,
        queries: Queries,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let attended = self.attention(activations, queries, mask)?;
        let residual = match queries {
            Queries::All => hidden.clone(),
            Queries::Class => hidden.narrow(1, 0, 1)?,
        };
        let hidden = (residual + attended)?;
        &hidden + self.mlp(&self.ln_2.forward(&hidden)?)?
    }

    fn mlp(&self, input: &Tensor) -> Result<Tensor> {
        self.contract.forward(&self.activation.forward(&self.expand.forward(input)?)?)
    }

    fn attention(&self, activations: &Tensor, queries: Queries, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, _, width) = activations.dims3()?;
        let (query, key, value) = self.project(activations, queries)?;
        let scale = 1.0 / ((width / self.heads) as f64).sqrt();
        let scores = (query * scale)?.matmul(&key.t()?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let attended = softmax(&scores)?.matmul(&value)?;
        let asking = attended.dim(2)?;
        self.output.forward(&attended.transpose(1, 2)?.reshape((batch, asking, width))?)
    }

    /// Queries, keys and values.
    ///
    /// # Shapes
    /// `activations`: [batch, tokens, width]; returns three of [batch, heads, tokens, width / heads].
    pub(crate) fn project(&self, activations: &Tensor, queries: Queries) -> Result<(Tensor, Tensor, Tensor)> {
        let width = activations.dim(2)?;
        match queries {
            Queries::All => {
                let all = self.projections.forward(activations)?;
                let part = |index: usize| self.split(&all.narrow(2, index * width, width)?);
                Ok((part(0)?, part(1)?, part(2)?))
            }
            Queries::Class => {
                let class = activations.narrow(1, 0, 1)?.contiguous()?;
                let query = self.split(&self.projections.outputs(0, width)?.forward(&class)?)?;
                let rest = self.projections.outputs(width, 2 * width)?.forward(activations)?;
                let part = |index: usize| self.split(&rest.narrow(2, index * width, width)?);
                Ok((query, part(0)?, part(1)?))
            }
        }
    }

    /// [batch, tokens, width] to [batch, heads, tokens, width / heads].
    fn split(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, count, width) = tokens.dims3()?;
        tokens.reshape((batch, count, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
    }
}
