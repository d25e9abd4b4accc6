//! The nonlinearities of MLPs, with their derivatives.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{kernels, storage::slice};
use crate::model::formats::config::Activation;

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
            (false, Self::Silu) => input * candle_nn::ops::sigmoid(input)?,
        }
    }

    /// The nonlinearity of x + row in place, for every row of as many values.
    pub(super) fn add_and_apply(self, values: &mut [f32], row: &[f32]) {
        match self {
            Self::QuickGelu => kernels::add_and_apply(values, row, kernels::quick_gelu),
            Self::Gelu => kernels::add_and_apply(values, row, kernels::gelu),
            Self::GeluTanh => kernels::add_and_apply(values, row, kernels::gelu_tanh),
            Self::Silu => kernels::add_and_apply(values, row, kernels::silu),
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
            Self::Silu => {
                let gate = candle_nn::ops::sigmoid(input)?;
                let slope = (input * gate.affine(-1.0, 1.0)?)?;
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
            Self::Silu => kernels::apply(values, &mut output, kernels::silu),
        }
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (gradient * self.derivative(input)?).map(Some)
    }
}
