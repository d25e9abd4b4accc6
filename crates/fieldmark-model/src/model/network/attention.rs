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
    /// Whether the first layer gives two halves: the nonlinearity of the one, times the other (SwiGLU).
    pub(crate) gated: bool,
    pub(crate) contract: Linear,
}

impl Mlp {
    /// # Shapes
    /// `input`: [..., width]; returns the same.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.contracted(&self.expand.forward(input)?)
    }

    /// What follows the first layer.
    ///
    /// # Shapes
    /// `expanded`: [..., hidden width], twice that where the MLP is gated; returns [..., width].
    pub(crate) fn contracted(&self, expanded: &Tensor) -> Result<Tensor> {
        if !self.gated {
            return self.contract.forward(&self.activation.forward(expanded)?);
        }
        let (gate, values) = halves(expanded)?;
        self.contract.forward(&(self.activation.forward(&gate)? * values)?)
    }

    /// The gradient with respect to the input.
    ///
    /// # Shapes
    /// `expanded`, what the first layer gives: [rows, hidden width], twice that where the MLP is gated; `gradient`, with
    /// respect to the output: [rows, width], where one of the two may have one row for all of the other's; returns
    /// [rows, width].
    pub(crate) fn backward(&self, expanded: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        if self.gated {
            let (gate, values) = halves(expanded)?;
            let hidden = self.contract.backward(gradient)?;
            let to_gate = times_row(&hidden, &(self.activation.derivative(&gate)? * values)?)?;
            let to_values = times_row(&hidden, &self.activation.forward(&gate)?)?;
            return self.expand.backward(&Tensor::cat(&[to_gate, to_values], 1)?);
        }
        let slope = self.activation.derivative(expanded)?;
        self.expand.backward(&times_row(&self.contract.backward(gradient)?, &slope)?)
    }
}

/// The two halves of the last dimension.
fn halves(tensor: &Tensor) -> Result<(Tensor, Tensor)> {
    let width = tensor.dim(D::Minus1)? / 2;
    let half = |first| tensor.narrow(D::Minus1, first, width)?.contiguous();
    Ok((half(0)?, half(width)?))
}
