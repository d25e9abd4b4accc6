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
    model::nn::{Block, BlockInput, ClassTokenEnd, LayerNorm, Linear, Projected, Queries},
};

/// What the class token met on its way from the last `ln_1` to the embedding.
pub(super) struct LastBlock {
    block: Block,
    post_norm: LayerNorm,
    projection: Option<Linear>,
    /// After attention, [1, width].
    middle: Tensor,
    /// Before the MLP's nonlinearity: its derivative, [1, mlp width].
    slope: Tensor,
    /// After the block, [1, width].
    end: Tensor,
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

impl LastBlock {
    pub(super) fn new(end: ClassTokenEnd, input: &BlockInput) -> Result<Self> {
        let ClassTokenEnd { block, post_norm, projection } = end;
        let Projected { query, key, value } = block.project(&input.activations, Queries::Class)?;
        let (query, key, value) = (query.squeeze(0)?, key.squeeze(0)?, value.squeeze(0)?);
        let (heads, tokens, head_width) = value.dims3()?;
        let query = (query / (head_width as f64).sqrt())?;
        let scores = query.matmul(&key.t()?)?;
        let attention = crate::model::nn::softmax(&scores)?;
        let width = heads * head_width;
        let attended = attention.matmul(&value)?.reshape((1, width))?;
        let middle = (input.hidden.get(0)?.narrow(0, 0, 1)? + block.attention.output.forward(&attended)?)?;
        let expanded = block.mlp.expand.forward(&block.ln_2.forward(&middle)?)?;
        let end = (&middle + block.mlp.contract.forward(&block.mlp.activation.forward(&expanded)?)?)?;
        let summary = post_norm.forward(&end)?;
        let embedding = match projection {
            Some(projection) => projection.forward(&summary)?.squeeze(0)?,
            None => summary.squeeze(0)?,
        };
        let unbiased_scores = match bias_part(block, width, Part::Key, heads)? {
            Some(bias) => scores.sub(&query.matmul(&bias.t()?)?.broadcast_as((heads, 1, tokens))?)?,
            None => scores,
        };
        Ok(Self {
            slope: block.mlp.activation.derivative(&expanded)?,
            block: block.clone(),
            post_norm: post_norm.clone(),
            projection: projection.cloned(),
            middle,
            end,
            embedding,
            query,
            value,
            unbiased_scores,
            attention,
        })
    }

    pub(super) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    pub(super) fn mean_gradients(&self, directions: &Tensor) -> Result<Tensor> {
        let attended = self.attended_gradients(directions)?;
        let scores = self.score_gradients(&attended.matmul(&self.value.t()?)?)?;
        let cells = self.value.dim(1)? - 1;
        let patch_mean = |tokens: &Tensor| tokens.narrow(D::Minus1, 1, cells)?.mean_keepdim(D::Minus1);
        let to_values = attended.broadcast_mul(&patch_mean(&self.attention)?)?;
        let to_keys = patch_mean(&scores)?.matmul(&self.query)?;
        let (width, projections) = (self.middle.dim(1)?, &self.block.attention.projections);
        let keys = projections.outputs(width, width)?.backward(&merge_heads(&to_keys)?)?;
        let values = projections.outputs(2 * width, width)?.backward(&merge_heads(&to_values)?)?;
        Ok((keys + values)?)
    }

    pub(super) fn gradients_times_activations(&self, directions: &Tensor) -> Result<Tensor> {
        let attended = self.attended_gradients(directions)?;
        let shares = attended.matmul(&self.value.t()?)?;
        let scores = self.score_gradients(&shares)?;
        let (heads, tokens, head_width) = self.value.dims3()?;
        let unbiased_shares = match bias_part(&self.block, heads * head_width, Part::Value, heads)? {
            Some(bias) => shares.broadcast_sub(&attended.matmul(&bias.t()?)?)?,
            None => shares,
        };
        let by_keys = scores.broadcast_mul(&self.unbiased_scores)?;
        let by_values = unbiased_shares.broadcast_mul(&self.attention)?;
        Ok((by_keys + by_values)?.sum(0)?.narrow(1, 1, tokens - 1)?.contiguous()?)
    }

    /// From directions of the embedding back to the class token's attended values.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; returns [heads, rows, head width].
    fn attended_gradients(&self, directions: &Tensor) -> Result<Tensor> {
        let summary = match &self.projection {
            Some(projection) => projection.backward(directions)?,
            None => directions.clone(),
        };
        let end = self.post_norm.backward(&self.end, &summary)?;
        let expanded = self.block.mlp.contract.backward(&end)?.broadcast_mul(&self.slope)?;
        let normed = self.block.mlp.expand.backward(&expanded)?;
        let middle = (&end + self.block.ln_2.backward(&self.middle, &normed)?)?;
        let attended = self.block.attention.output.backward(&middle)?;
        let (heads, _, head_width) = self.value.dims3()?;
        let rows = attended.dim(0)?;
        Ok(attended.reshape((rows, heads, head_width))?.transpose(0, 1)?.contiguous()?)
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

/// [heads, rows, head width] to [rows, heads · head width].
fn merge_heads(tensor: &Tensor) -> Result<Tensor> {
    let (heads, rows, head_width) = tensor.dims3()?;
    Ok(tensor.transpose(0, 1)?.reshape((rows, heads * head_width))?)
}
