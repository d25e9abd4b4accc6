//! Layer norm, with its gradient.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};

use super::{
    kernels,
    storage::{read, slice},
};

/// Layer norm over the last dimension.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) epsilon: f64,
}

impl LayerNorm {
    /// # Shapes
    /// `weight`, `bias`: `[width]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor, epsilon: f64) -> Self {
        Self { weight, bias, epsilon }
    }

    /// The numbers in a row.
    pub(super) fn width(&self) -> usize {
        self.weight.elem_count()
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

/// The gradient with respect to a layer norm's input: as in [`LayerNorm::backward`], for any dimensions before
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
