//! Multi-head attention and the MLP: what transformer blocks and the pooling head are made of.

use candle_core::{D, Result, Tensor};

use super::{Linear, softmax, times_row};
use crate::model::formats::config::Activation;

/// Multi-head attention.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// Queries, keys and values in one product: [3 · width, width].
    pub(crate) projections: Linear,
    pub(crate) output: Linear,
    pub(crate) heads: usize,
}

/// Queries, keys and values: each [batch, heads, tokens, width / heads].
pub(crate) struct Projected {
    pub(crate) query: Tensor,
    pub(crate) key: Tensor,
    pub(crate) value: Tensor,
}

impl Attention {
    /// Queries, keys and values of every token.
    ///
    /// # Shapes
    /// `tokens`: [batch, tokens, width].
    pub(crate) fn project(&self, tokens: &Tensor) -> Result<Projected> {
        let width = tokens.dim(2)?;
        let all = self.projections.forward(tokens)?;
        let part = |index: usize| self.split(&all.narrow(2, index * width, width)?);
        Ok(Projected { query: part(0)?, key: part(1)?, value: part(2)? })
    }

    /// Queries from one set of tokens, keys and values from another.
    ///
    /// # Shapes
    /// `queries`: [batch, queries, width]; `tokens`: [batch, tokens, width].
    pub(crate) fn project_from(&self, queries: &Tensor, tokens: &Tensor) -> Result<Projected> {
        let width = tokens.dim(2)?;
        let query = self.split(&self.projections.outputs(0, width)?.forward(queries)?)?;
        let rest = self.projections.outputs(width, 2 * width)?.forward(tokens)?;
        let part = |index: usize| self.split(&rest.narrow(2, index * width, width)?);
        Ok(Projected { query, key: part(0)?, value: part(1)? })
    }

    /// # Shapes
    /// `mask`, added to the scores: [tokens, tokens]; returns [batch, queries, width].
    pub(crate) fn attend(&self, projected: &Projected, mask: Option<&Tensor>) -> Result<Tensor> {
        let Projected { query, key, value } = projected;
        let (batch, heads, queries, head_width) = query.dims4()?;
        let attended = attention_weights(query, key, mask)?.matmul(value)?;
        self.output.forward(&attended.transpose(1, 2)?.reshape((batch, queries, heads * head_width))?)
    }

    /// [batch, tokens, width] to [batch, heads, tokens, width / heads].
    fn split(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, count, width) = tokens.dims3()?;
        tokens.reshape((batch, count, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
    }
}

/// softmax(q kᵀ / √head width + mask): the weight of every key for each query.
///
/// # Shapes
/// `query`: [..., queries, head width]; `key`: [..., tokens, head width]; `mask`: [queries, tokens]; returns
/// [..., queries, tokens], rows that sum to 1.
pub(crate) fn attention_weights(query: &Tensor, key: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let scores = (query / (query.dim(D::Minus1)? as f64).sqrt())?.matmul(&key.t()?)?;
    match mask {
        Some(mask) => softmax(&scores.broadcast_add(mask)?),
        None => softmax(&scores),
    }
}

/// Two linear layers with a nonlinearity between them.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    pub(crate) expand: Linear,
    pub(crate) activation: Activation,
    pub(crate) contract: Linear,
}

impl Mlp {
    /// # Shapes
    /// `input`: [..., width]; returns the same.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.contract.forward(&self.activation.forward(&self.expand.forward(input)?)?)
    }

    /// The gradient with respect to the input.
    ///
    /// # Shapes
    /// `expanded`, what the nonlinearity is applied to: [rows, hidden width]; `gradient`, with respect to the output:
    /// [rows, width], where one of the two may have one row for all of the other's; returns [rows, width].
    pub(crate) fn backward(&self, expanded: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let slope = self.activation.derivative(expanded)?;
        self.expand.backward(&times_row(&self.contract.backward(gradient)?, &slope)?)
    }
}
