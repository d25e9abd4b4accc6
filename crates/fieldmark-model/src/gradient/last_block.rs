//! The last block's gradients in closed form.
//!
//! After the last block only the class token is used, so everything behind attention is one row, and the keys
//! and values are the only way from the patches to it. With a the class token's attention, q its query and
//! do = ∂S/∂o the gradient at its attended values (per head h and token i, scale c = head width^-½):
//!
//! ```text
//! dV_i = a_i do          da_i = do·V_i          ds_i = a_i (da_i - Σ_j a_j da_j)          dK_i = c ds_i q
//! G_i  = W_kᵀ dK_i + W_vᵀ dV_i
//! ```
//!
//! Grad-CAM needs the mean of G over the patches, which is taken before the products with W. HiResCAM needs
//! G_i·A_i = dK_i·(K_i - b_k) + dV_i·(V_i - b_v), which needs no product with W at all. All of it is linear in
//! the direction of the embedding, and directions are rows here: two hundred cost little more than one.

use candle_core::{D, Tensor};

use crate::{
    error::Result,
    model::network::{
        AfterAttention, Block, BlockInput, ClassTokenEnd, Projected, Queries, VisionTower, add, merge_heads,
        softmax, split_heads, times_row,
    },
};

/// What the class token met on its way from the last `ln_1` to the embedding.
pub(super) struct LastBlock<'a> {
    tower: &'a VisionTower,
    block: &'a Block,
    /// The class token behind attention.
    after: AfterAttention,
    /// `[embedding]`.
    embedding: Tensor,
    /// [heads, 1, head width], times the scale.
    query: Tensor,
    /// [heads, tokens, head width].
    value: Tensor,
    /// Attention scores without the keys' bias, [heads, 1, tokens].
    unbiased_scores: Tensor,
    /// [heads, 1, tokens].
    attention: Tensor,
}

impl<'a> LastBlock<'a> {
    pub(super) fn new(end: ClassTokenEnd<'a>, input: &BlockInput) -> Result<Self> {
        let ClassTokenEnd { tower, block } = end;
        let Projected { query, key, value } = block.project(&input.activations, Queries::Class)?;
        let (query, key, value) = (query.squeeze(0)?, key.squeeze(0)?, value.squeeze(0)?);
        let (heads, tokens, head_width) = value.dims3()?;
        let query = (query / (head_width as f64).sqrt())?;
        let scores = query.matmul(&key.t()?)?;
        let attention = softmax(&scores)?;
        let after =
            block.after_attention(&input.hidden.get(0)?.narrow(0, 0, 1)?, &attention.matmul(&value)?)?;
        let embedding = tower.embedding_of(&after.output.unsqueeze(0)?)?.squeeze(0)?;
        let unbiased_scores = match bias_part(block, heads * head_width, Part::Key, heads)? {
            Some(bias) => scores.sub(&query.matmul(&bias.t()?)?.broadcast_as((heads, 1, tokens))?)?,
            None => scores,
        };
        Ok(Self { tower, block, after, embedding, query, value, unbiased_scores, attention })
    }

    pub(super) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// The mean over the patches, taken before any product with a row a patch: with ā the mean of a_i and v̄ that of
    /// a_i V_i over the patches, and o = Σ_j a_j V_j, the mean of ds_i is do·(v̄ - ā o). It multiplies one query a head,
    /// so W_k meets as many rows as there are heads, for any number of directions.
    pub(super) fn mean_gradients(&self, directions: &Tensor) -> Result<Tensor> {
        let attended = self.attended_gradients(directions)?;
        let (heads, tokens, head_width) = self.value.dims3()?;
        let (width, cells) = (heads * head_width, tokens - 1);
        let attention = self.attention.narrow(2, 1, cells)?.contiguous()?;
        let value = self.value.narrow(1, 1, cells)?.contiguous()?;
        let mean_attention = attention.mean_keepdim(2)?;
        let mean_value = (attention.matmul(&value)? / cells as f64)?;
        let output = self.attention.matmul(&self.value)?;
        let along = mean_value.sub(&output.broadcast_mul(&mean_attention)?)?;
        let scores = attended.matmul(&along.transpose(1, 2)?)?.squeeze(2)?;
        // Each head's query in its own columns: [heads, width].
        let own = Tensor::eye(heads, self.query.dtype(), self.query.device())?.unsqueeze(2)?;
        let queries = own.broadcast_mul(&self.query.transpose(0, 1)?)?.reshape((heads, width))?;
        let projections = &self.block.attention.projections;
        let keys = scores.t()?.matmul(&projections.outputs(width, width)?.backward(&queries)?)?;
        // Each head's mean in its own columns.
        let shares = mean_attention.reshape((heads, 1))?.repeat((1, head_width))?.reshape((1, width))?;
        let to_values = times_row(&merge_heads(&attended)?, &shares)?;
        let values = projections.outputs(2 * width, width)?.backward(&to_values)?;
        Ok(add(&keys, &values)?)
    }

    pub(super) fn gradients_times_activations(&self, directions: &Tensor) -> Result<Tensor> {
        let attended = self.attended_gradients(directions)?;
        let shares = attended.matmul(&self.value.t()?)?;
        let scores = self.score_gradients(&shares)?;
        let (heads, tokens, head_width) = self.value.dims3()?;
        let unbiased_shares = match bias_part(self.block, heads * head_width, Part::Value, heads)? {
            Some(bias) => shares.broadcast_sub(&attended.matmul(&bias.t()?)?)?,
            None => shares,
        };
        let by_keys = scores.broadcast_mul(&self.unbiased_scores)?;
        let by_values = unbiased_shares.broadcast_mul(&self.attention)?;
        Ok((by_keys + by_values)?.sum(0)?.narrow(1, 1, tokens - 1)?.contiguous()?)
    }

    /// The gradient along one direction, whole.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`; returns [cells, width].
    pub(super) fn patch_gradients(&self, direction: &Tensor) -> Result<Tensor> {
        let attended = self.attended_gradients(&direction.unsqueeze(0)?)?;
        let scores = self.score_gradients(&attended.matmul(&self.value.t()?)?)?;
        let to_keys = scores.transpose(1, 2)?.broadcast_mul(&self.query)?;
        let to_values = self.attention.transpose(1, 2)?.broadcast_mul(&attended)?;
        let (width, projections) = (self.after.middle.dim(1)?, &self.block.attention.projections);
        let keys = projections.outputs(width, width)?.backward(&merge_heads(&to_keys)?)?;
        let values = projections.outputs(2 * width, width)?.backward(&merge_heads(&to_values)?)?;
        Ok((keys + values)?.narrow(0, 1, self.value.dim(1)? - 1)?.contiguous()?)
    }

    /// From directions of the embedding back to the class token's attended values.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; returns [heads, rows, head width].
    fn attended_gradients(&self, directions: &Tensor) -> Result<Tensor> {
        let pooled = self.tower.project_backward(directions)?;
        let end = self.tower.post_norm.backward(&self.after.output, &pooled)?;
        let middle = self.block.after_attention_backward(&self.after, &end)?;
        Ok(split_heads(&self.block.attention.output.backward(&middle)?, self.value.dim(0)?)?)
    }

    /// Through the softmax: from the gradients of the attention to those of the scores.
    ///
    /// # Shapes
    /// `shares`: [heads, rows, tokens]; returns the same.
    fn score_gradients(&self, shares: &Tensor) -> Result<Tensor> {
        let along = shares.broadcast_mul(&self.attention)?.sum_keepdim(D::Minus1)?;
        Ok(shares.broadcast_sub(&along)?.broadcast_mul(&self.attention)?)
    }
}

#[derive(Clone, Copy)]
enum Part {
    Key = 1,
    Value = 2,
}

/// The bias of the keys or values: [heads, 1, head width].
fn bias_part(block: &Block, width: usize, part: Part, heads: usize) -> Result<Option<Tensor>> {
    let Some(bias) = block.attention.projections.bias() else { return Ok(None) };
    let part = bias.narrow(0, part as usize * width, width)?;
    Ok(Some(part.reshape((heads, 1, width / heads))?))
}
