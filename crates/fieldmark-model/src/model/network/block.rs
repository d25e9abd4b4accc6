//! One pre-norm transformer block, shared by the vision and the text tower.

use candle_core::{Result, Tensor};

use super::{
    Kernel, LayerNorm,
    attention::{Attention, Mlp, Projected},
    inference, merge_heads,
};

/// Which tokens ask in attention; all tokens answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queries {
    /// Every token.
    All,
    /// The class token only: of the last block, a tower that ends in it uses nothing else.
    Class,
}

/// u = x + attention(ln_1(x)); x' = u + mlp(ln_2(u)).
#[derive(Clone, Debug)]
pub struct Block {
    pub(crate) ln_1: LayerNorm,
    pub(crate) attention: Attention,
    pub(crate) ln_2: LayerNorm,
    pub(crate) mlp: Mlp,
}

/// Runs blocks one after the other: without a graph where nothing upstream is tracked.
///
/// # Shapes
/// As [`Block::forward`].
pub(crate) fn forward(blocks: &[Block], hidden: Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    if !without_graph(&hidden) {
        return blocks.iter().try_fold(hidden, |hidden, block| block.forward(&hidden, mask));
    }
    Ok(inference::run(blocks, &[hidden], mask)?.remove(0))
}

/// [`forward`] of several tensors, in their order: without a graph all pass together, elsewhere those of one shape that
/// follow each other.
///
/// # Shapes
/// As [`Block::forward`] for each; the numbers of tokens may differ.
pub(crate) fn forward_each(blocks: &[Block], hidden: Vec<Tensor>) -> Result<Vec<Tensor>> {
    if hidden.iter().all(without_graph) {
        return inference::run(blocks, &hidden, None);
    }
    let mut leaving = Vec::with_capacity(hidden.len());
    for alike in hidden.chunk_by(|one, other| one.dims() == other.dims()) {
        let together = forward(blocks, Tensor::cat(alike, 0)?, None)?;
        let batch = together.dim(0)? / alike.len();
        for index in 0..alike.len() {
            leaving.push(together.narrow(0, index * batch, batch)?);
        }
    }
    Ok(leaving)
}

fn without_graph(hidden: &Tensor) -> bool {
    hidden.device().is_cpu() && !hidden.track_op()
}

impl Block {
    /// The norm before attention.
    ///
    /// # Shapes
    /// `hidden`: [..., width]; returns the same.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn pre_attention_norm(&self, hidden: &Tensor) -> Result<Tensor> {
        self.ln_1.forward(hidden)
    }

    /// What attention adds to the residual stream: the output layer of the heads' outputs.
    ///
    /// # Shapes
    /// `heads`: [heads, tokens, head width]; returns [tokens, width].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn attention_output(&self, heads: &Tensor) -> Result<Tensor> {
        self.attention.output.forward(&merge_heads(heads)?)
    }

    pub(super) fn rounding(self, kernel: Kernel) -> Self {
        let Self { attention, mlp, .. } = self;
        let attention = Attention {
            projections: attention.projections.rounding(kernel),
            output: attention.output.rounding(kernel),
            ..attention
        };
        let mlp = Mlp { expand: mlp.expand.rounding(kernel), contract: mlp.contract.rounding(kernel), ..mlp };
        Self { attention, mlp, ..self }
    }

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
        let attended = self.attention.attend(&self.project(activations, queries)?, mask)?;
        let residual = match queries {
            Queries::All => hidden.clone(),
            Queries::Class => hidden.narrow(1, 0, 1)?,
        };
        let hidden = (residual + attended)?;
        &hidden + self.mlp.forward(&self.ln_2.forward(&hidden)?)?
    }

    /// Queries, keys and values of the block's attention.
    ///
    /// # Shapes
    /// `activations`: [batch, tokens, width].
    pub(crate) fn project(&self, activations: &Tensor, queries: Queries) -> Result<Projected> {
        match queries {
            Queries::All => self.attention.project(activations),
            Queries::Class => {
                self.attention.project_from(&activations.narrow(1, 0, 1)?.contiguous()?, activations)
            }
        }
    }
}
