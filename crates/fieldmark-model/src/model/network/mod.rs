//! The network, written once for both towers, open at every layer and differentiable everywhere.
//!
//! candle-nn's fused layer norm and softmax have no backward: a gradient that should pass through them stops
//! there without an error. The operations here have one each, proven against finite differences; on a GPU the
//! slower forms that candle can differentiate are used.

mod attention;
mod block;
mod inference;
mod kernels;
mod linear;
mod pool;
mod product;
mod record;
mod shuffle;
mod text;
mod vision;
mod weight;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};

pub(crate) use attention::{Attention, Mlp, Projected, attention_weights};
pub use block::Block;
pub(crate) use block::Queries;
pub(crate) use linear::Linear;
pub(crate) use pool::{AttentionPool, Pool};
pub(crate) use product::Kernel;
pub use record::merge_heads;
pub(crate) use record::split_heads;
pub use record::{AfterAttention, BlockRecord, Recorded, Recording};
pub(crate) use text::{OwnTextTower, TextTower, reference_is_exact};
pub(crate) use vision::ClassTokenEnd;
pub use vision::{BlockInput, VisionTower};
use weight::read;
pub(crate) use weight::{Numbers, Weight};

use super::formats::config::Activation;

/// Layer norm over the last dimension.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// # Shapes
    /// `weight`, `bias`: `[width]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor, epsilon: f64) -> Self {
        Self { weight, bias, epsilon }
    }

    /// # Shapes
    /// `input`: [..., width]; returns the same.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if !input.device().is_cpu() {
            return candle_nn::ops::layer_norm_slow(input, &self.weight, &self.bias, self.epsilon as f32);
        }
        let epsilon = self.epsilon;
        input.contiguous()?.apply_op3(&self.weight, &self.bias, LayerNormOp { epsilon })
    }

    /// The gradient with respect to the input, from the gradient with respect to the output.
    ///
    /// # Shapes
    /// `input`: [rows, width], or [1, width] for several gradients at one place; `gradient`: [rows, width]; returns
    /// [rows, width].
    pub(crate) fn backward(&self, input: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        norm_backward(input, &self.weight, self.epsilon, gradient)
    }
}

/// The gradient with respect to a layer norm's input: as [`LayerNorm::backward`] has it, whatever the dimensions before
/// the last.
fn norm_backward(input: &Tensor, weight: &Tensor, epsilon: f64, gradient: &Tensor) -> Result<Tensor> {
    if !gradient.device().is_cpu() {
        let (normal, inverse) = standardized(input, epsilon)?;
        return standardized_backward(&normal, &inverse, &gradient.broadcast_mul(weight)?);
    }
    let (input, gradient) = (input.contiguous()?, gradient.contiguous()?);
    let mut output = vec![0.0; gradient.elem_count()];
    read(&input, |input| {
        read(weight, |weight| {
            read(&gradient, |gradient| {
                kernels::layer_norm_backward(input, weight, epsilon as f32, gradient, &mut output);
            })
        })
    })???;
    Tensor::from_vec(output, gradient.shape(), gradient.device())
}

/// (x - mean) / deviation over the last dimension, and one over the deviation.
fn standardized(input: &Tensor, epsilon: f64) -> Result<(Tensor, Tensor)> {
    let centred = input.broadcast_sub(&input.mean_keepdim(D::Minus1)?)?;
    let inverse = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    Ok((centred.broadcast_mul(&inverse)?, inverse))
}

/// The gradient with respect to x of `normal`, given the gradient with respect to `normal`.
fn standardized_backward(normal: &Tensor, inverse: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let mean = gradient.mean_keepdim(D::Minus1)?;
    let along = gradient.broadcast_mul(normal)?.mean_keepdim(D::Minus1)?;
    let inner = gradient.broadcast_sub(&mean)?.sub(&along.broadcast_mul(normal)?)?;
    inner.broadcast_mul(inverse)
}

struct LayerNormOp {
    epsilon: f64,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = slice(input, input_layout)?;
        let mut output = vec![0.0; values.len()];
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        kernels::layer_norm(values, weight, bias, self.epsilon as f32, &mut output);
        Ok((CpuStorage::F32(output), input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.dim(0)?;
        let to_input = norm_backward(input, weight, self.epsilon, gradient)?;
        let (normal, _) = standardized(input, self.epsilon)?;
        let to_weight = (gradient * normal)?.reshape(((), width))?.sum(0)?;
        let to_bias = gradient.reshape(((), width))?.sum(0)?;
        Ok((Some(to_input), Some(to_weight), Some(to_bias)))
    }
}

/// Softmax over the last dimension.
///
/// # Shapes
/// `scores`: [..., width]; returns the same.
///
/// # Errors
/// If the tensor computation fails.
pub fn softmax(scores: &Tensor) -> Result<Tensor> {
    if scores.device().is_cpu() {
        scores.contiguous()?.apply_op1(SoftmaxOp)
    } else {
        candle_nn::ops::softmax(scores, D::Minus1)
    }
}

struct SoftmaxOp;

impl CustomOp1 for SoftmaxOp {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = slice(scores, layout)?;
        let width = layout.dims().last().copied().unwrap_or(1);
        let mut output = vec![0.0; values.len()];
        kernels::softmax(values, width, &mut output);
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, _scores: &Tensor, shares: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let along = (gradient * shares)?.sum_keepdim(D::Minus1)?;
        (gradient.broadcast_sub(&along)? * shares).map(Some)
    }
}

impl Activation {
    /// The nonlinearity itself.
    ///
    /// # Shapes
    /// Any; returns the same.
    pub(crate) fn forward(self, input: &Tensor) -> Result<Tensor> {
        match (input.device().is_cpu(), self) {
            (true, _) => input.contiguous()?.apply_op1(self),
            (false, Self::QuickGelu) => input * candle_nn::ops::sigmoid(&(input * 1.702)?)?,
            (false, Self::Gelu) => input.gelu_erf(),
            (false, Self::GeluTanh) => input.gelu(),
        }
    }

    /// The nonlinearity of x + row in place, for every row of as many values.
    fn add_and_apply(self, values: &mut [f32], row: &[f32]) {
        match self {
            Self::QuickGelu => kernels::add_and_apply(values, row, kernels::quick_gelu),
            Self::Gelu => kernels::add_and_apply(values, row, kernels::gelu),
            Self::GeluTanh => kernels::add_and_apply(values, row, kernels::gelu_tanh),
        }
    }

    /// The nonlinearity's derivative at `input`.
    ///
    /// # Shapes
    /// Any; returns the same.
    pub(crate) fn derivative(self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::QuickGelu => {
                let gate = candle_nn::ops::sigmoid(&(input * 1.702)?)?;
                let slope = (input * gate.affine(-1.702, 1.702)?)?;
                (slope + 1.0)? * gate
            }
            Self::Gelu => {
                let below = (input / std::f64::consts::SQRT_2)?.erf()?.affine(0.5, 0.5)?;
                let density = (input.sqr()? * -0.5)?.exp()?;
                below + (input * density)? / (2.0 * std::f64::consts::PI).sqrt()
            }
            // (1 + tanh u) / 2 is sigmoid(2 u), and 2 u = a x + b x³.
            Self::GeluTanh => {
                let (a, b) = (kernels::TANH_GELU_LINEAR, kernels::TANH_GELU_CUBIC);
                let square = input.sqr()?;
                let gate = candle_nn::ops::sigmoid(&(input * square.affine(b, a)?)?)?;
                let slope = (input * square.affine(3.0 * b, a)?)?.mul(&gate.affine(-1.0, 1.0)?)?;
                (slope + 1.0)? * gate
            }
        }
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        Activation::name(*self)
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = slice(input, layout)?;
        let mut output = vec![0.0; values.len()];
        match self {
            Self::QuickGelu => kernels::apply(values, &mut output, kernels::quick_gelu),
            Self::Gelu => kernels::apply(values, &mut output, kernels::gelu),
            Self::GeluTanh => kernels::apply(values, &mut output, kernels::gelu_tanh),
        }
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (gradient * self.derivative(input)?).map(Some)
    }
}

/// Every row times one.
///
/// # Shapes
/// `rows`: [rows, width]; `row`: [1, width], or as `rows`; returns [rows, width].
pub(crate) fn times_row(rows: &Tensor, row: &Tensor) -> Result<Tensor> {
    if !rows.device().is_cpu() || row.dim(0)? != 1 {
        return rows.broadcast_mul(row);
    }
    let mut output = vec![0.0; rows.elem_count()];
    read(rows, |rows| read(row, |row| kernels::times_row(rows, row, &mut output)))??;
    Tensor::from_vec(output, rows.shape(), rows.device())
}

/// rows + row, where `row` has the last dimensions of `rows` and is repeated over the others.
///
/// candle's own operations on more than 65,536 numbers wake threads of its own, and these wait for more by spinning, for a
/// millisecond, on cores that the next product wants. So on a CPU, and without a graph, large sums are ours.
pub(crate) fn add(rows: &Tensor, row: &Tensor) -> Result<Tensor> {
    let is_plain =
        |tensor: &Tensor| tensor.device().is_cpu() && !tensor.track_op() && tensor.dtype() == DType::F32;
    let ones = row.dims().iter().take_while(|length| **length == 1).count();
    let is_repeated = rows.dims().ends_with(&row.dims()[ones..]) && row.elem_count() > 0;
    if !is_plain(rows) || !is_plain(row) || !is_repeated {
        return rows.broadcast_add(row);
    }
    let (rows, row) = (rows.contiguous()?, row.contiguous()?);
    let mut output = vec![0.0; rows.elem_count()];
    read(&rows, |rows| read(&row, |row| kernels::plus_row(rows, row, &mut output)))??;
    Tensor::from_vec(output, rows.shape(), rows.device())
}

/// The values behind a contiguous float32 tensor.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a contiguous tensor, found strides {:?}", layout.stride()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
