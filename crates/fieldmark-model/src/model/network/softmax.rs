//! Softmax, with its gradient.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};

use super::{kernels, storage::slice};

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
